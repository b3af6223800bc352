"""A seeded fuzzer over every route, with odd revisions, budgets, paths, queries and bodies: never a broken hub."""

import json
import os
import random
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
SEED = int(os.environ.get("LIVE_SEED", "20261122"))
REQUESTS = 1200
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
        chosen = (
            right[name] if rng.random() < (0.9 if name in ("types", "namespace", "name") else 0.6) else rng.choice(ODD)
        )
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


def test_no_request_breaks_the_hub(hub: Hub, fitted: str) -> None:
    rng = random.Random(SEED)
    victim = "bob/fuzzed"
    hub.client([{"call": "create_repo", "repo_id": victim, "exist_ok": True}], user="bob")
    tokens = [hub.tokens["bob"], hub.tokens["bob"], hub.tokens["alice:read"], None, "hf_wrong"]
    all_routes = [route for route in routes() if route[1] != "/api/repos/delete"]
    statuses: dict[int, int] = {}
    broken = []
    for number in range(REQUESTS):
        method, template = all_routes[number % len(all_routes)]
        method, path, body, headers = Fuzzer(rng, rng.choice([victim, fitted]), tokens).request(method, template)
        answer = hub.call(method, path, body, headers=headers, timeout=30)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status >= 500 and answer.status not in NOT_OFFERED:
            broken.append(f"{method} {path[:300]} {(body or b'')[:300]!r} {headers}: {answer.status}")
    print(f"seed {SEED}: {dict(sorted(statuses.items()))}")
    assert not broken, f"{len(broken)} of {REQUESTS}:\n" + "\n".join(broken[:20])
    assert len({status // 100 for status in statuses}) >= 3 and statuses.get(200, 0) > REQUESTS / 20, statuses
    assert hub.call("GET", "/healthz").status == 200
    assert hub.family(fitted)["source"]["status"] == "ready"
