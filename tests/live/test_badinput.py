"""Bad input over real sockets and by the stock client: the right status and sentence, nothing kept, nothing executed."""

import hashlib
import http.client
import json
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import onnx
import pytest
from onnx import TensorProto, helper

from models_registry.xet.formats import chunk_hash, hash_to_hex
from tests.conftest import ASSETS, skip_or_fail
from tests.live.hub_process import Answer, Hub
from tests.models_registry.xet import xet_encoder as xet

pytestmark = pytest.mark.live
REPO = "alice/bad-input"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module", autouse=True)
def repository(hub: Hub) -> None:
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": REPO}])[0]


@pytest.fixture
def nothing_changes(hub: Hub) -> Any:
    """After the test the repository, the store and the staging folder are what they were."""
    before = state(hub)
    yield
    deadline = time.monotonic() + 10
    while state(hub) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state(hub) == before


def state(hub: Hub) -> tuple[str, list[str]]:
    storage = hub.data / "storage"
    files = [path.name for path in storage.rglob("*") if path.is_file()]
    return hub.get(f"/api/models/{REPO}/revision/main")["sha"], sorted(files)


# --- bodies which are cut off ------------------------------------------------------------------------------------
def send_half(hub: Hub, method: str, path: str, headers: dict[str, str], body: bytes, *, reset: bool) -> Answer | None:
    """Announce the whole body, send half of it, and hang up. The answer, if the hub gave one before it saw that."""
    head = {"Host": f"127.0.0.1:{hub.port}", "Content-Length": str(len(body)), "Connection": "close"} | headers
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    with socket.create_connection(("127.0.0.1", hub.port), timeout=15) as line:
        line.sendall("\r\n".join(lines).encode() + body[: len(body) // 2])
        time.sleep(0.2)
        if reset:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return None
        line.shutdown(socket.SHUT_WR)
        data = b""
        try:
            while block := line.recv(65536):
                data += block
        except OSError:
            pass
    if not data:
        return None
    first, _, rest = data.partition(b"\r\n")
    return Answer(int(first.split()[1]), {}, rest.partition(b"\r\n\r\n")[2])


def commit_request(hub: Hub) -> tuple[str, str, dict[str, str], bytes]:
    content = "YWJj" * 30_000
    lines = [
        {"key": "header", "value": {"summary": "half"}},
        {"key": "file", "value": {"path": "first.txt", "content": "YQ=="}},
        {"key": "file", "value": {"path": "second.txt", "content": content}},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    return "POST", f"/api/models/{REPO}/commit/main", NDJSON | bearer(hub.tokens["alice"]), body


def lfs_upload(hub: Hub, seed: str) -> tuple[bytes, dict[str, Any]]:
    """Bytes which the repository does not hold, and the actions by which to send them."""
    data = random.Random(seed).randbytes(400_000)
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [wanted]}
    answer = hub.call("POST", f"/{REPO}.git/info/lfs/objects/batch", batch, token=hub.tokens["alice"])
    return data, answer.json()["objects"][0]["actions"]


def lfs_request(hub: Hub) -> tuple[str, str, dict[str, str], bytes]:
    data, actions = lfs_upload(hub, "lfs")
    return "PUT", urlsplit(actions["upload"]["href"]).path, {}, data


def xorb_parts() -> tuple[list[bytes], str, bytes]:
    plains = [random.Random(n).randbytes(40_000) for n in range(4)]
    return plains, hash_to_hex(xet.xorb_hash(plains)), xet.encode_xorb(list(zip(plains, [0, 1, 0, 1], strict=True)))


def cas(hub: Hub, right: str = "write") -> tuple[str, dict[str, str]]:
    """The CAS's path and the header for it."""
    token = hub.get(f"/api/models/{REPO}/xet-{right}-token/main")
    return urlsplit(token["casUrl"]).path, bearer(token["accessToken"])


def xorb_request(hub: Hub) -> tuple[str, str, dict[str, str], bytes]:
    path, headers = cas(hub)
    _, name, body = xorb_parts()
    return "POST", f"{path}/v1/xorbs/default/{name}", headers, body


def shard_of(sha256: str | None = None, name: str | None = None) -> bytes:
    plains, own, body = xorb_parts()
    name = name or own
    sha256 = sha256 or hashlib.sha256(b"".join(plains)).hexdigest()
    file = xet.encode_file({name: plains}, [(name, 0, len(plains))], sha256)
    return xet.encode_shard([file], [xet.encode_xorb_block(name, plains, len(body))])


def shard_request(hub: Hub) -> tuple[str, str, dict[str, str], bytes]:
    path, headers = cas(hub)
    return "POST", f"{path}/v1/shards", headers, shard_of()


REQUESTS = [commit_request, lfs_request, xorb_request, shard_request]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("request_of", REQUESTS, ids=["commit", "lfs", "xorb", "shard"])
def test_half_a_body(
    request_of: Callable[[Hub], tuple[str, str, dict[str, str], bytes]], reset: bool, hub: Hub, nothing_changes: None
) -> None:
    answer = send_half(hub, *request_of(hub), reset=reset)
    if answer is not None:
        assert answer.status == 400 and b"send it again" in answer.body, answer


def test_the_same_bodies_whole(hub: Hub) -> None:
    """What was cut off above is good when it comes whole: the refusals were for the cut."""
    for request_of in (lfs_request, xorb_request, shard_request, commit_request):
        method, path, headers, body = request_of(hub)
        answer = hub.call(method, path, body, headers=headers)
        assert answer.status == 200, (path, answer)


# --- xorbs and shards --------------------------------------------------------------------------------------------
def hostile_xorbs() -> dict[str, tuple[str, bytes]]:
    plains, name, body = xorb_parts()
    bomb = bytes(16_000_000)
    return {
        "noise": (name, random.Random(1).randbytes(5000)),
        "a flipped bit": (name, body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]),
        "another's hash": ("0" * 64, body),
        "cut": (name, body[:-100]),
        "a chunk too large": (hash_to_hex(chunk_hash(bomb)), xet.encode_xorb([(bomb, 1)])),
        "lengths which lie": (name, xet.record(b"abc", 0, 2**24 - 1, packed_len=2**24 - 1)),
        "unknown scheme": (name, xet.record(plains[0], 9, len(plains[0]))),
        "empty": (name, b""),
    }


@pytest.mark.parametrize("kind", list(hostile_xorbs()))
def test_hostile_xorb(kind: str, hub: Hub, nothing_changes: None) -> None:
    path, headers = cas(hub)
    name, body = hostile_xorbs()[kind]
    answer = hub.call("POST", f"{path}/v1/xorbs/default/{name}", body, headers=headers)
    assert answer.status == 400 and answer.error, answer


@pytest.fixture
def held_xorb(hub: Hub) -> None:
    """The store holds the xorb of which the shards speak, before anything is compared."""
    method, path, headers, body = xorb_request(hub)
    assert hub.call(method, path, body, headers=headers).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0" * 48, random.Random(2).randbytes(4000), shard_of()[:-60], shard_of(sha256="0" * 64),
        shard_of(name="f" * 64), xet.SHARD_TAG + struct.pack("<QQ", 2, 0) + struct.pack("<32sIIQ", b"x" * 32, 0, 2**32 - 1, 0),
        xet.SHARD_TAG + struct.pack("<QQ", 2**63, 2**63),
    ],
    ids=["empty", "zeros", "noise", "cut", "wrong sha256", "xorb not here", "four billion segments", "version"],
)  # fmt: skip
def test_hostile_shard(body: bytes, hub: Hub, held_xorb: None, nothing_changes: None) -> None:
    path, headers = cas(hub)
    answer = hub.call("POST", f"{path}/v1/shards", body, headers=headers)
    assert answer.status == 400 and answer.error, answer


def test_cas_tokens(hub: Hub, nothing_changes: None) -> None:
    path, reading = cas(hub, "read")
    _, name, xorb = xorb_parts()
    target = f"{path}/v1/xorbs/default/{name}"
    assert hub.call("POST", target, xorb, headers=reading).status == 403
    assert hub.call("POST", target, xorb).status == 401
    assert hub.call("POST", target, xorb, headers=bearer("xet_forged")).status == 401
    assert hub.call("POST", target, xorb, token=hub.tokens["alice"]).status == 401


# --- paths, headers, lines ---------------------------------------------------------------------------------------
BAD_PATHS = [
    "../x", "a/../../x", "/etc/passwd", "a//b", "./a", ".git/config", "a/.git/hooks/post-commit", ".GIT/config", "a\0b",
    "", ".", "..", "a/", "x" * 5000, "a\nb", "C:\\x\0", "a/./b",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:20]))
def test_bad_path_in_a_commit(path: str, hub: Hub, nothing_changes: None) -> None:
    oid = hashlib.sha256(random.Random("lfs").randbytes(400_000)).hexdigest()
    for line in (
        {"key": "file", "value": {"path": path, "content": "YQ=="}},
        {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid, "size": 400_000}},
        {"key": "file", "value": {"path": path, "oldPath": ".gitattributes"}},
    ):
        body = json.dumps({"key": "header", "value": {"summary": "bad"}}) + "\n" + json.dumps(line)
        answer = hub.call(
            "POST", f"/api/models/{REPO}/commit/main", body.encode(), headers=NDJSON | bearer(hub.tokens["alice"])
        )
        assert answer.status == 422 and answer.error, (line["key"], answer)
    preupload = {"files": [{"path": path, "sample": "", "size": 1}]}
    answer = hub.call("POST", f"/api/models/{REPO}/preupload/main", preupload, token=hub.tokens["alice"])
    assert answer.status == 422 and answer.error, answer


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:20]))
def test_bad_path_in_a_request(path: str, hub: Hub, nothing_changes: None) -> None:
    """Reading never leaves the repository: not found or refused, and never a file of the machine."""
    for text in (quote(path, safe=""), quote(path)):
        for route in ("resolve/main", "raw/main", "blob/main"):
            answer = hub.call("GET", f"/{REPO}/{route}/{text}")
            assert answer.status in (301, 302, 400, 404, 414), (route, text[:40], answer.status)
            assert b"root:" not in answer.body
        answer = hub.call("GET", f"/api/models/{REPO}/tree/main/{text}")
        assert answer.status in (200, 400, 404, 414) and (answer.status != 200 or path.strip("/.") == ""), (
            text[:40],
            answer,
        )


@pytest.mark.parametrize(
    "name", ["../x", ".git", "a/b/c", "a\0b", "x" * 300, "", "-x", "x.git", "a b", "ünï", "..", "x--y" * 30]
)
def test_bad_repository_name(name: str, hub: Hub) -> None:
    answer = hub.call("POST", "/api/repos/create", {"name": name, "type": "model"}, token=hub.tokens["alice"])
    assert answer.status in (400, 403) and answer.error, (name, answer)


def test_huge_headers_and_addresses(hub: Hub, nothing_changes: None) -> None:
    for path, headers in (
        ("/api/models", {"X-Large": "x" * 300_000}),
        ("/api/models", {"Authorization": "Bearer " + "x" * 60_000}),
        ("/api/models?" + "search=x&" * 20_000, {}),
        ("/" + "a/" * 30_000, {}),
    ):
        try:
            status = hub.call("GET", path, headers=headers).status
        except OSError:
            continue  # the server hung up: as good an answer
        assert status in (200, 400, 401, 404, 414, 431), (path[:30], status)
    assert hub.call("GET", "/healthz").status == 200


def test_a_refusal_arrives_while_the_body_is_sent(hub: Hub, nothing_changes: None) -> None:
    """Nobody reads 50 MB of a stranger's commit, and still the stranger hears why."""
    body = b"x" * 50_000_000
    for token, status in ((hub.tokens["bob"], 403), ("hf_wrong", 401)):
        answer = hub.call("POST", f"/api/models/{REPO}/commit/main", body, headers=NDJSON | bearer(token))
        assert answer.status == status and answer.error, answer
    path, _ = cas(hub)
    answer = hub.call("POST", f"{path}/v1/xorbs/default/{'0' * 64}", body + body, headers=bearer("xet_forged"))
    assert answer.status == 401, answer


def test_a_body_which_comes_late_and_nobody_needs(hub: Hub) -> None:
    """`verify` knows the answer before its body is there: the connection has to serve the next request all the same."""
    data, actions = lfs_upload(hub, "late")
    assert hub.call("PUT", urlsplit(actions["upload"]["href"]).path, data).status == 200
    body = b"{}"
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        for _ in range(3):
            connection.putrequest("POST", urlsplit(actions["verify"]["href"]).path)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            line = connection.sock
            time.sleep(0.3)
            connection.send(body)
            verified = connection.getresponse()
            assert verified.status == 200, verified.read()
            verified.read()
            connection.request("GET", "/healthz")
            alive = connection.getresponse()
            assert alive.status == 200 and connection.sock is line, "the connection was closed after the answer"
            alive.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\n\n", b"not json", b"[]", b'{"key": 1}', b'{"key":"header"}', b'{"key":"file","value":{}}', b"[" * 100_000,
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"file","value":{"path":"a","content":"%%%"}}',
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"unknown","value":{"path":"a"}}',
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"lfsFile","value":{"path":"a","oid":"' + b"0" * 64 + b'","size":1}}',
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"deletedFile","value":{"path":"not-there"}}',
        b'{"key":"header","value":{"summary":5}}', b"\xff\xfe\x00", b'{"key":"header","value":{"summary":"\\ud800"}}\n',
        b'{"key":"header","value":{"summary":"x","parentCommit":"zz"}}\n{"key":"file","value":{"path":"a","content":"YQ=="}}',
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"file","value":{"path":"\\ud800","content":"YQ=="}}',
    ],
    ids=range(17),
)  # fmt: skip
def test_bad_commit_lines(body: bytes, hub: Hub, nothing_changes: None) -> None:
    answer = hub.call("POST", f"/api/models/{REPO}/commit/main", body, headers=NDJSON | bearer(hub.tokens["alice"]))
    assert answer.status in (400, 404, 412, 413, 422) and answer.error, answer


# --- models and files which mean harm ----------------------------------------------------------------------------
def outside_model(location: str) -> bytes:
    """A network whose weights are said to lie at `location`."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        weight.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "outside", [x], [y], [weight])
    made: bytes = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return made


def safetensors_model(header: bytes, length: int | None = None) -> dict[str, bytes]:
    body = struct.pack("<Q", len(header) if length is None else length) + header + bytes(64)
    return {"model.safetensors": body, "config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}"}


def hostile_models() -> dict[str, dict[str, bytes]]:
    return {
        "outside-absolute": {"model.onnx": outside_model("/etc/passwd")},
        "outside-relative": {"model.onnx": outside_model("../../../../../../etc/passwd")},
        "outside-missing": {"model.onnx": outside_model("weights.bin")},
        "not-onnx": {"model.onnx": b"\x08\x07" + random.Random(3).randbytes(20_000)},
        "empty-onnx": {"model.onnx": b""},
        "text-onnx": {"model.onnx": b"version https://git-lfs.github.com/spec/v1\n"},
        "safetensors-long-header": safetensors_model(b"{}", 2**60),
        "safetensors-no-json": safetensors_model(b"\xff\xff{{"),
        "safetensors-overlap": safetensors_model(
            b'{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"b":{"dtype":"F32","shape":[99],"data_offsets":[0,999]}}'
        ),
    }


@pytest.fixture(scope="module")
def hostile(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every hostile model's family, all pushed before the first is looked at."""
    if not ASSETS.is_dir():
        skip_or_fail("../shared/assets is not beside the project")
    folder = tmp_path_factory.mktemp("hostile")
    for name, files in hostile_models().items():
        for path, data in files.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / path).write_bytes(data)
    bad = ASSETS / "badinput"
    folders = {path.name: path for path in folder.iterdir()} | {
        "expanding": bad / "onnx-expanding",
        "odd": bad / "onnx-odd",
    }
    folders |= {"pickles": bad / "picklescan-data", "basic": bad / "modelaudit-basic"}
    calls: list[dict[str, Any]] = []
    for name, source in folders.items():
        calls.append({"call": "create_repo", "repo_id": f"alice/hostile-{name}"})
        calls.append({"call": "upload_folder", "repo_id": f"alice/hostile-{name}", "folder_path": str(source)})
    for call, result in zip(calls, hub.client(list(map(dict, calls))), strict=True):
        assert "error" not in result, (call, result)
    return {name: hub.wait_family(f"alice/hostile-{name}") for name in folders}


@pytest.mark.parametrize("name", [*hostile_models(), "expanding", "odd", "pickles", "basic"])
def test_hostile_model_is_refused_with_a_sentence(name: str, hostile: dict[str, dict[str, Any]]) -> None:
    source = hostile[name]["source"]
    assert source["status"] == "refused" and len(source["reason"].split()) >= 4, source
    assert "Traceback" not in source["reason"] and "root:" not in source["reason"]
    assert not [variant for variant in hostile[name]["variants"] if variant["status"] == "ready"]


def test_pickles_are_scanned_and_shown(hub: Hub, hostile: dict[str, dict[str, Any]]) -> None:
    path, deadline = "/api/models/alice/hostile-pickles/tree/main?expand=true", time.monotonic() + 60
    while True:
        rows = {row["path"]: row["securityFileStatus"]["status"] for row in hub.get(path)}
        if "queued" not in rows.values() or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    assert {rows[f"malicious{n}.pkl"] for n in (0, 1, 10, 11) if f"malicious{n}.pkl" in rows} == {"unsafe"}, rows
    assert rows["benign0_v3.pkl"] == "safe"


def test_bad_data_files_end_with_a_word(hub: Hub) -> None:
    if not ASSETS.is_dir():
        skip_or_fail("../shared/assets is not beside the project")
    hub.push("alice/bad-parquet", ASSETS / "badinput" / "parquet-bad", "dataset")
    deadline = time.monotonic() + 120
    while {job["state"] for job in hub.get("/api/datasets/alice/bad-parquet/jobs")} & {"queued", "running"}:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    for job in hub.get("/api/datasets/alice/bad-parquet/jobs"):
        assert job["state"] in ("done", "failed") and "administrator" not in (job["error"] or ""), job
    assert hub.call("GET", "/datasets/alice/bad-parquet", headers={"Accept": "text/html"}).status == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
