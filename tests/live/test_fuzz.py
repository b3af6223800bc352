"""Seeded fuzzers: every route with odd parts, and right requests with one thing wrong. Never a broken hub."""

import json
import os
import random
import time
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.live import right_requests
from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
SEED = int(os.environ.get("LIVE_SEED", "20261122"))
REQUESTS, SECONDS = 2500, 60
NOT_OFFERED = (501, 503, 507)  # said on purpose
MORE_ROUTES = (
    ("get", "/"), ("get", "/models"), ("get", "/datasets"), ("get", "/{namespace}"), ("get", "/{namespace}/{name}"),
    ("get", "/datasets/{namespace}/{name}"), ("get", "/{namespace}/{name}/tree/{rest}"), ("get", "/{namespace}/{name}/blob/{rest}"),
    ("get", "/{namespace}/{name}/commits/{rest}"), ("get", "/{namespace}/{name}/commit/{revision}"),
    ("get", "/{namespace}/{name}/jobs"), ("get", "/{namespace}/{name}/progress"), ("get", "/{namespace}/{name}/resolve/{rest}"),
    ("head", "/{namespace}/{name}/resolve/{rest}"), ("get", "/{namespace}/{name}/raw/{rest}"), ("get", "/login"), ("get", "/new"),
    ("post", "/login"), ("post", "/new"), ("post", "/logout"), ("get", "/settings/tokens"), ("get", "/lfs/{rest}"), ("put", "/lfs/{rest}"),
    ("post", "/{namespace}/{name}.git/info/lfs/objects/batch"), ("post", "/{namespace}/{name}/info/lfs/objects/batch"),
    ("post", "/{namespace}/{name}.git/info/lfs/verify"), ("post", "/cas/{rest}"), ("post", "/cas/v1/shards"),
    ("get", "/cas/v1/reconstructions/{revision}"), ("get", "/{namespace}/{name}/info/refs"), ("get", "/static/{rest}"),
)  # fmt: skip
ODD = [
    "", " ", ".", "..", "../..", "/", "//", "a/b", "%", "%00", "\0", "\n", "\t", "\\", "'", '"', "<script>", "{}", "[]", "null", "-1", "0",
    "1e309", "NaN", "9" * 40, "x" * 3000, "ünïcode", "文件", "\ud83d\ude00", "a" * 255, "refs/heads/main", "refs/pr/1", "HEAD", "main^{tree}",
    "@", "fit@", "main/../x", ".git", ".git/config", "--help", "; ls", "0" * 40, "f" * 7, "abcdef", "\u202e", "\ufeff", "\u0130", "ß", "\x7f",
]  # fmt: skip
KEYS = [
    "memory",
    "latency",
    "size",
    "fidelity",
    "load",
    "energy",
    "throughput",
    "device",
    "threads",
    "goal",
    "opset",
    "format",
    "",
    "x",
]
VALUES = [
    "1",
    "512MB",
    "20ms",
    "0.98",
    "-5",
    "1e5",
    "1GiB",
    "99999999999999999999",
    "NaN",
    "inf",
    "0",
    "١٢",
    "1,2",
    "5XB",
    "",
    " 1",
    "1 MB",
    "onnx",
]
QUERY = [
    "search", "author", "filter", "sort", "limit", "cursor", "expand", "expand[]", "full", "blobs", "recursive", "p", "pipeline_tag", "gated",
    "create_pr", "direction", "cardData", "securityStatus", "q", "page", "next", "tab", *KEYS,
]  # fmt: skip
FIELDS = [
    "name", "type", "organization", "private", "visibility", "files", "path", "size", "sample", "gitAttributes", "paths", "tag", "message",
    "startingPoint", "overwrite", "operation", "objects", "oid", "content", "repoType", "key", "value", "summary", "title", "csrfmiddlewaretoken",
]  # fmt: skip


class Fuzzer:
    """Draws requests. A third of the parts are right, so that the odd ones reach further than the door."""

    def __init__(self, rng: random.Random, repo: str, tokens: list[str | None]) -> None:
        self.rng, self.tokens = rng, tokens
        self.namespace, self.name = repo.split("/")

    def revision(self) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            parts = [f"{rng.choice(KEYS)}={rng.choice(VALUES + ODD)}" for _ in range(rng.randint(0, 4))]
            return "fit@" + ",".join(parts)
        return rng.choice(["main", "v1", "dev/x", *ODD])

    def part(self, name: str) -> str:
        rng = self.rng
        right = {
            "types": "models", "namespace": self.namespace, "name": self.name, "revision": self.revision(), "branch": "dev/x",
            "rest": f"{self.revision()}/{rng.choice(['model.onnx', 'README.md', *ODD])}" if rng.random() < 0.6 else self.revision(),
            "right": "write", "job_id": str(rng.choice([1, 2, 0, 10**30])), "variant": "onnx",
        }  # fmt: skip
        known = right.get(name, rng.choice(["1", "alice", "bob", "pending", "main", "0" * 24, "a-slug-" + "0" * 24]))
        chosen = known if rng.random() < (0.9 if name in ("types", "namespace", "name") else 0.6) else rng.choice(ODD)
        return quote(chosen.encode("utf-8", "surrogatepass"), safe=rng.choice(["", "/", "/@=,"]))

    def value(self, depth: int = 0) -> Any:
        rng = self.rng
        plain = [None, True, 0, -1, 2**70, 1.5, "", "a", *ODD, *VALUES]
        if depth > 2 or rng.random() < 0.6:
            return rng.choice(plain)
        if rng.random() < 0.5:
            return [self.value(depth + 1) for _ in range(rng.randint(0, 3))]
        return {rng.choice(FIELDS): self.value(depth + 1) for _ in range(rng.randint(0, 5))}

    def body(self, path: str) -> tuple[bytes, str]:
        rng, shape = self.rng, self.rng.random()
        if shape < 0.1:
            return rng.randbytes(rng.randint(0, 3000)), rng.choice(
                ["application/json", "application/x-ndjson", "text/plain", "", "x"]
            )
        data = {rng.choice(FIELDS): self.value() for _ in range(rng.randint(0, 6))}
        if shape < 0.3:
            return "&".join(
                f"{k}={quote(str(v).encode('utf-8', 'replace'))}" for k, v in data.items()
            ).encode(), "application/x-www-form-urlencoded"
        if "commit" in path:
            kinds = ["header", "file", "lfsFile", "deletedFile", "deletedFolder", "x"]
            lines = [
                {"key": rng.choice(kinds), "value": rng.choice([data, self.value()])} for _ in range(rng.randint(0, 5))
            ]
            return "\n".join(map(json.dumps, lines)).encode(), "application/x-ndjson"
        return json.dumps(data if rng.random() < 0.9 else self.value()).encode(), "application/json"

    def request(self, method: str, template: str) -> tuple[str, str, bytes | None, dict[str, str]]:
        rng, path = self.rng, template
        while "{" in path:
            name = path[path.index("{") + 1 : path.index("}")]
            path = path.replace("{" + name + "}", self.part(name), 1)
        query = [
            (rng.choice(QUERY), rng.choice([*ODD, *VALUES, "true", "2"])) for _ in range(rng.choice([0, 0, 1, 2, 4]))
        ]
        text = "&".join(f"{quote(k)}={quote(v.encode('utf-8', 'surrogatepass'))}" for k, v in query)
        body, kind = self.body(path) if method in ("post", "put", "delete", "patch") else (None, "")
        headers = {"Content-Type": kind} if kind else {}
        if rng.random() < 0.3:
            headers["Accept"] = rng.choice(["text/html", "*/*", "application/json", "x", "text/plain"])
        if rng.random() < 0.2:
            headers[rng.choice(["Range", "If-Range", "If-None-Match", "X-Request-Id", "HX-Request"])] = rng.choice(
                ["bytes=0-", "bytes=5-1", "bytes=-0", "bytes=" + "9" * 30 + "-", "x", '"', "true"]
            )
        token = rng.choice(self.tokens)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return method.upper(), path + ("?" + text if text else ""), body, headers


def routes() -> list[tuple[str, str]]:
    """Every route of the API's description, and those which it does not describe."""
    described = yaml.safe_load((PROJECT / "docs" / "openapi.yaml").read_text())["paths"]
    methods = ("get", "post", "put", "delete", "patch")
    return [(method, path) for path, item in described.items() for method in item if method in methods] + list(
        MORE_ROUTES
    )


def actors(hub: Hub) -> list[str | None]:
    """Owner, a stranger, a reader, nobody, and a token which nobody has."""
    return [hub.tokens["bob"], hub.tokens["bob"], hub.tokens["alice"], hub.tokens["alice:read"], None, "hf_wrong"]


def test_no_request_breaks_the_hub(hub: Hub, fitted: str) -> None:
    rng = random.Random(SEED)
    victim = "bob/fuzzed"
    hub.client([{"call": "create_repo", "repo_id": victim, "exist_ok": True}], user="bob")
    tokens = [token for token in actors(hub) if token != hub.tokens["alice"]]
    all_routes = [route for route in routes() if route[1] not in ("/api/repos/delete", "/api/repos/move")]
    rng.shuffle(all_routes)
    statuses: dict[int, int] = {}
    broken, ends, number = [], time.monotonic() + SECONDS, 0
    while number < REQUESTS and (time.monotonic() < ends or number < 3 * len(all_routes)):
        method, template = all_routes[number % len(all_routes)]
        method, path, body, headers = Fuzzer(rng, rng.choice([victim, fitted]), tokens).request(method, template)
        answer = hub.call(method, path, body, headers=headers, timeout=30)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status >= 500 and answer.status not in NOT_OFFERED:
            broken.append(f"{method} {path[:300]} {(body or b'')[:300]!r} {headers}: {answer.status}")
        number += 1
    print(f"seed {SEED}: {dict(sorted(statuses.items()))}")
    assert not broken, f"{len(broken)} of {number}:\n" + "\n".join(broken[:20])
    assert len({status // 100 for status in statuses}) >= 3 and statuses.get(200, 0) > number / 20, statuses
    assert hub.call("GET", "/healthz").status == 200
    assert hub.family(fitted)["source"]["status"] == "ready"


def spoiled(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """The same JSON with one thing wrong: a value of another type, a missing or a strange key, far too much of it."""
    odd = [None, True, False, 0, -1, 2**70, 1.5, "", "x" * 70_000, [], {}, ["a"] * 3000, [[[]]], {"a": {"b": []}}, *ODD]
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.7):
        copy, key = dict(value), rng.choice(list(value))
        how = rng.random()
        if how < 0.15:
            del copy[key]
        elif how < 0.25:
            copy[rng.choice([*ODD, *FIELDS])] = rng.choice(odd)
        else:
            copy[key] = spoiled(rng, value[key], depth + 1)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], spoiled(rng, value[place], depth + 1), *value[place + 1 :]]
    return rng.choice(odd)


def sent(body: Any) -> tuple[bytes | None, dict[str, str]]:
    """A body of lines is sent as a commit is, anything else as JSON."""
    if body is None:
        return None, {}
    if isinstance(body, tuple):
        lines = (json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") for line in body)
        return b"\n".join(lines), {"Content-Type": "application/x-ndjson"}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def test_right_requests_with_one_thing_wrong(hub: Hub) -> None:
    """Each template is first sent as it is, and must be taken: only then do its spoiled copies reach far enough."""
    rng, names = random.Random(SEED + 1), right_requests.prepare(hub)
    refused, statuses, broken = [], {}, []
    for method, path, body in right_requests.of(names, "right"):
        data, headers = sent(body)
        answer = hub.call(method, path, data, token=hub.tokens["bob"], headers=headers, timeout=30)
        if answer.status >= 400:
            refused.append(f"{method} {path} {body}: {answer.status} {answer.body[:300]!r}")
    assert not refused, "\n".join(refused)
    ends, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < ends and number < REQUESTS:
        if number % 300 == 0:
            names = right_requests.prepare(hub)
        method, path, body = rng.choice(right_requests.of(names, f"wrong-{number}"))
        if rng.random() < 0.25:
            parts = path.split("/")
            place = rng.randrange(1, len(parts))
            parts[place] = quote(rng.choice(ODD).encode("utf-8", "surrogatepass"), safe=rng.choice(["", "/?&"])) or "x"
            path = "/".join(parts)
        if isinstance(body, tuple):
            place = rng.randrange(len(body))
            body = (*body[:place], spoiled(rng, body[place]), *body[place + 1 :])
        elif body is not None:
            body = spoiled(rng, body)
        data, headers = sent(body)
        token = rng.choice(actors(hub))
        answer = hub.call(method, path, data, token=token, headers=headers, timeout=30)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status >= 500 and answer.status not in NOT_OFFERED:
            broken.append(f"{method} {path[:300]} {(data or b'')[:300]!r} {headers}: {answer.status}")
        number += 1
    print(f"seed {SEED}: {number} requests, {dict(sorted(statuses.items()))}")
    assert not broken, f"{len(broken)} of {number}:\n" + "\n".join(broken[:20])
    assert hub.call("GET", "/healthz").status == 200
