"""A server which speaks as much of LFS as the stock client asks, and throws away what it sends: how long the client takes.

It hashes nothing, writes nothing, checks nothing. No hub can be faster to this client; see storage.py for its use.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BLOCK = 1024 * 1024


class Sink:
    """`with Sink() as sink`: its `url`; `taken_bytes` is what was sent to it as files."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def taken_bytes(self) -> int:
        return _Handler.taken_bytes

    def __enter__(self) -> "Sink":
        _Handler.taken_bytes = 0
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    taken_bytes = 0

    def log_message(self, *_: object) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        self._answer({"sha": "0" * 40, "siblings": []})

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, _BLOCK))):
            left -= len(block)
            _Handler.taken_bytes += len(block)
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        base = f"http://{self.headers['Host']}"
        if self.path.endswith("/objects/batch"):
            objects = [one | {"actions": {"upload": {"href": f"{base}/put"}}} for one in json.loads(body)["objects"]]
            self._answer({"transfer": "basic", "objects": objects})
        elif "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "lfs"} for one in json.loads(body)["files"]]
            self._answer({"files": [one | {"shouldIgnore": False} for one in files]})
        elif "/commit/" in self.path:
            self._answer({"commitUrl": f"{base}/alice/sink/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True})
        else:
            self._answer({"url": f"{base}/alice/sink"})

    def _answer(self, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
