"""The `hf` command line and curl against a running hub."""

import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.live import results
from tests.live.hub_process import Hub, outer_environment

pytestmark = pytest.mark.live
WEIGHTS = random.Random(4).randbytes(2_000_000)


def hf(
    hub: Hub, *arguments: str, cwd: Path | None = None, user: str = "alice", **more: str
) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("hf"))
    environment = hub.client_environment(user=user) | {"NO_COLOR": "1"} | more
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(autouse=True)
def kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """The outcome of each test is its line of the table."""
    before = request.session.testsfailed
    yield
    word, _, title = request.node.originalname.removeprefix("test_").partition("_")
    if hasattr(request.node, "callspec"):
        title += f" {request.node.callspec.params['span']}"
    outcome = "ok" if request.session.testsfailed == before else "FAILED"
    argv = ["curl", "--version"] if word == "curl" else [str(Path(sys.executable).with_name("hf")), "version"]
    said = subprocess.run(argv, env=outer_environment(), capture_output=True, text=True, check=False).stdout.split()
    version = next(text for text in said if text[:1].isdigit())
    results.add(results.TOOLS, word, version, {title.replace("_", " "): outcome})


@pytest.fixture(scope="module")
def pushed(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository which `hf upload` made of a folder."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "weights.bin").write_bytes(WEIGHTS)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# By the command line\n")
    done = hf(hub, "upload", "alice/by-hf", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    return "alice/by-hf"


def test_hf_whoami(hub: Hub) -> None:
    done = hf(hub, "auth", "whoami")
    assert done.returncode == 0 and "alice" in done.stdout, done


def test_hf_download_gives_the_same_bytes(hub: Hub, pushed: str, tmp_path: Path) -> None:
    done = hf(hub, "download", pushed, "--local-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weights.bin").read_bytes() == WEIGHTS


def test_hf_download_of_a_fit(hub: Hub, fitted: str, tmp_path: Path) -> None:
    done = hf(hub, "download", fitted, "--revision", "fit@memory=1GB", "--local-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("onnx/*.onnx"))


def test_hf_says_why_nothing_fits(hub: Hub, fitted: str, tmp_path: Path) -> None:
    """The client keeps the hub's sentence for HF_DEBUG=1, as its hint says."""
    argv = ("download", fitted, "--revision", "fit@size=1B", "--local-dir", str(tmp_path))
    done = hf(hub, *argv)
    assert done.returncode != 0 and "Revision not found" in done.stderr, done
    done = hf(hub, *argv, HF_DEBUG="1")
    assert done.returncode != 0 and "nearest" in done.stderr + done.stdout, done


def test_hf_upload_to_someone_else_is_refused(hub: Hub, pushed: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    done = hf(hub, "upload", pushed, "x.txt", cwd=tmp_path, user="bob")
    assert done.returncode != 0 and "403" in done.stderr + done.stdout, done


class Curl:
    """`curl` on one URL: (status, headers in lower case, body)."""

    def __init__(self, url: str, folder: Path) -> None:
        program = shutil.which("curl")
        if program is None:
            skip_or_fail("curl is not installed")
        self.program, self.url, self.folder = str(program), url, folder

    def __call__(self, *arguments: str) -> tuple[int, dict[str, str], bytes]:
        head, body = self.folder / "head", self.folder / "body"
        body.write_bytes(b"")
        argv = [self.program, "--silent", "--show-error", "--dump-header", str(head), "--output", str(body)]
        subprocess.run([*argv, *arguments, self.url], check=True, timeout=60)
        first, *lines = head.read_text().strip().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return int(first.split()[1]), headers, body.read_bytes()


@pytest.fixture
def curl(hub: Hub, pushed: str, tmp_path: Path) -> Curl:
    return Curl(f"{hub.url}/{pushed}/resolve/main/weights.bin", tmp_path)


def test_curl_whole_file_and_head(curl: Curl) -> None:
    status, headers, body = curl()
    assert (status, body) == (200, WEIGHTS)
    assert headers["etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    status, head, body = curl("--head")
    assert (status, body[:0]) == (200, b"") and head["content-length"] == "2000000"
    assert head["etag"] == headers["etag"] and len(head["x-repo-commit"]) == 40


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [("0-99", 0, 100), ("1000000-1000063", 1_000_000, 1_000_064), ("1999990-", 1_999_990, 2_000_000), ("-7", 1_999_993, 2_000_000), ("5-9999999", 5, 2_000_000)],
)  # fmt: skip
def test_curl_range(curl: Curl, span: str, start: int, end: int) -> None:
    status, headers, body = curl("--range", span)
    assert (status, body) == (206, WEIGHTS[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/2000000"


def test_curl_range_behind_the_end(curl: Curl) -> None:
    status, headers, _ = curl("--range", "2000000-")
    assert (status, headers["content-range"]) == (416, "bytes */2000000")


def test_curl_conditions(curl: Curl) -> None:
    etag = curl("--head")[1]["etag"]
    assert curl("--header", f"If-None-Match: {etag}")[::2] == (304, b"")
    assert curl("--header", 'If-None-Match: "another"')[0] == 200
    same = curl("--range", "10-19", "--header", f"If-Range: {etag}")
    assert same[::2] == (206, WEIGHTS[10:20])
    assert curl("--range", "10-19", "--header", 'If-Range: "another"')[::2] == (200, WEIGHTS)


def test_curl_resumes(curl: Curl) -> None:
    target = curl.folder / "resumed"
    target.write_bytes(WEIGHTS[:700_001])
    argv = [curl.program, "--silent", "--show-error", "--continue-at", "-", "--output", str(target), curl.url]
    subprocess.run(argv, check=True, timeout=60)
    assert target.read_bytes() == WEIGHTS


def test_curl_pulls_a_fit(hub: Hub, fitted: str, tmp_path: Path) -> None:
    fit = hub.get(f"/api/models/{fitted}/fit?memory=1GB")
    revision = f"fit@{fit['budget']}"
    family = hub.family(fitted)
    chosen = next(variant for variant in family["variants"] if variant["name"] == fit["variant"])
    for file in chosen["files"]:
        status, headers, body = Curl(f"{hub.url}/{fitted}/resolve/{revision}/{file['path']}", tmp_path)()
        assert status == 200 and headers["x-repo-commit"] == fit["commit"]
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file["size_bytes"], file["sha256"])


def test_curl_wrong_token_and_missing_file(hub: Hub, curl: Curl, tmp_path: Path) -> None:
    status, headers, _ = curl("--header", "Authorization: Bearer hf_wrong")
    assert (status, headers["x-error-message"]) == (401, "invalid credentials in authorization header")
    status, headers, _ = Curl(f"{hub.url}/alice/by-hf/resolve/main/nope.bin", tmp_path)()
    assert (status, headers["x-error-code"]) == (404, "entrynotfound")
