"""docs/deploy/page.html and pipeline.html in Chromium: a page of another origin loads what a budget names, and runs it."""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import onnxruntime
import pytest

from tests.live.conftest import node_package
from tests.live.encoder import TEXT, expected, write_encoder
from tests.live.hub_process import PROJECT, Hub, outer_environment
from tests.live.test_node import VERSION as RUNTIME
from tests.live.test_transformers_js import PACKAGE, VERSION

pytestmark = pytest.mark.live
DEPLOY = PROJECT / "docs" / "deploy"
PATIENCE_S = 120.0
PROBE = """<!doctype html><pre id="said">loading …</pre><script type="module">
const [hub, path] = new URLSearchParams(location.search).getAll("at");
const found = {};
const tried = { plain: {}, range: { headers: { Range: "bytes=2-5" } }, cookies: { credentials: "include" },
  token: { headers: { Authorization: "Bearer hf_wrong" } }, post: { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" } };
for (const [name, options] of Object.entries(tried)) {
  try {
    const answer = await fetch(hub + path, options);
    const headers = ["X-Repo-Commit", "ETag", "Content-Range", "Content-Length", "X-Linked-Size", "X-Error-Message", "Set-Cookie"];
    found[name] = { status: answer.status, bytes: (await answer.arrayBuffer()).byteLength };
    for (const header of headers) found[name][header] = answer.headers.get(header);
  } catch (error) { found[name] = { error: error.message }; }
}
document.getElementById("said").textContent = JSON.stringify(found);
</script>"""


# Tells the test what the page wrote in the end.
WATCH = b"""<script>new MutationObserver(() => {
  const text = document.getElementById("said")?.textContent ?? "";
  if (text.startsWith("{")) fetch("/said", { method: "POST", body: text });
}).observe(document, { subtree: true, childList: true, characterData: true });</script>"""


class _Site(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html",
    }  # fmt: skip

    def __init__(self, *arguments: Any, heard: "queue.Queue[str]", **more: Any) -> None:
        self.heard = heard
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html":
            super().do_GET()
            return
        page = WATCH + path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self) -> None:
        self.heard.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def site(folder: Path, heard: "queue.Queue[str]") -> Iterator[str]:
    """The folder as an origin of its own."""
    handler = functools.partial(_Site, directory=str(folder), heard=heard)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def said(browser: list[str], tmp_path: Path) -> Callable[..., Any]:
    """What a page wrote in the end, as JSON."""

    def run(folder: Path, page: str, *pairs: tuple[str, str]) -> Any:
        heard: queue.Queue[str] = queue.Queue()
        log = tmp_path / "browser.log"
        with site(folder, heard) as origin, log.open("w") as written:
            argv = [*browser, "--remote-debugging-port=0", f"{origin}/{page}?{urlencode(pairs)}"]
            process = subprocess.Popen(argv, env=outer_environment(), stdout=written, stderr=written)
            try:
                return json.loads(heard.get(timeout=PATIENCE_S))
            except queue.Empty:
                lines = [line for line in log.read_text().splitlines() if ":CONSOLE" in line]
                pytest.fail(f"{page} never said anything; the console: {lines[-5:]}")
            finally:
                process.terminate()
                process.wait()

    return run


def test_a_page_of_another_origin_runs_the_variant_of_a_budget(
    hub: Hub, fitted: str, said: Callable[..., Any], tmp_path: Path
):
    folder = node_package("onnxruntime-web", RUNTIME)
    for name in ("page.html", "session.mjs"):
        shutil.copy(DEPLOY / name, folder)
    budget = "size=1MB,fidelity=0.99"
    found = said(folder, "page.html", ("hub", hub.url), ("model", fitted), ("budget", budget))
    answer = hub.get(f"/api/models/{fitted}/fit?{budget.replace(',', '&')}")
    assert found.get("commit") == answer["commit"], found
    path = tmp_path / "model.onnx"
    path.write_bytes(hub.call("GET", f"/{fitted}/resolve/{answer['commit']}/{found['graph']}").body)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {session.get_inputs()[0].name: np.ones((1, 64), np.float32)})[0].ravel()[:10]
    assert np.allclose(found["output"], wanted, rtol=1e-2, atol=1e-3)
    found = said(folder, "page.html", ("hub", hub.url), ("model", fitted), ("budget", "memory=1B"))
    assert "nearest" in found["error"], "the hub's own sentence reaches the page"


def test_a_page_of_another_origin_runs_a_pipeline(hub: Hub, said: Callable[..., Any], tmp_path: Path):
    repo, budget = "alice/encoder-page", "fidelity=1"
    hub.push(repo, write_encoder(tmp_path / "encoder"))
    assert hub.wait_family(repo)["source"]["status"] == "ready"
    folder = node_package(PACKAGE, VERSION)
    for name in ("pipeline.html", "pipeline.mjs"):
        shutil.copy(DEPLOY / name, folder)
    asked = {"hub": hub.url, "model": repo, "budget": budget, "task": "feature-extraction", "text": TEXT}
    found = said(folder, "pipeline.html", *asked.items())
    assert found.get("commit") == hub.get(f"/api/models/{repo}/fit?{budget}")["commit"], found
    wanted = expected(hub, repo, found["commit"], found["graph"], tmp_path)
    assert found["dims"] == list(wanted.shape)
    assert np.allclose(found["data"], wanted.ravel(), rtol=1e-2, atol=1e-3)


def test_what_another_origin_may_read_and_what_not(hub: Hub, fitted: str, said: Callable[..., Any], tmp_path: Path):
    (tmp_path / "probe.html").write_text(PROBE)
    found = said(tmp_path, "probe.html", ("at", hub.url), ("at", f"/{fitted}/resolve/fit%40size=1MB/onnx/model.onnx"))
    plain, ranged = found["plain"], found["range"]
    assert plain["status"] == 200 and plain["bytes"] == int(plain["Content-Length"]) > 0
    assert len(plain["X-Repo-Commit"]) == 40 and plain["ETag"]
    assert ranged["status"] == 206 and ranged["bytes"] == 4 and ranged["Content-Range"].startswith("bytes 2-5/")
    assert found["token"]["status"] == 401 and "Invalid" in found["token"]["X-Error-Message"], "it may send a token"
    assert "error" in found["cookies"], "never the visitor's cookies"
    assert "error" in found["post"], "it may not write"
    found = said(tmp_path, "probe.html", ("at", hub.url), ("at", f"/api/models/{fitted}/fit?size=1MB"))
    assert found["plain"]["status"] == 200 and "error" in found["post"]
    found = said(tmp_path, "probe.html", ("at", hub.url), ("at", f"/{fitted}"))
    assert all("error" in one for one in found.values()), "the hub's own pages are not for others"
