"""A proxy which falls silent in the middle of an answer, as a bad line does. Standard library only."""

import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class CuttingProxy:
    """Listens on a free port of this machine and hands everything to `target`, one request a connection.

    Of the first answer with more than `cut_after` bytes only that many are passed on, then it is silent until it is closed. `ranges` keeps the Range headers seen.
    """

    def __init__(self, target: str, cut_after: int) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname or "", parts.port or 80)
        self.cut_after = cut_after
        self.cuts = 0
        self.ranges: list[str] = []
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "CuttingProxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self.server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head, body = self._read_head(client)
            if not head:
                return
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            for line in lines:
                if line.lower().startswith(b"range:"):
                    self.ranges.append(line.decode())
            length = next((int(x.split(b":")[1]) for x in lines if x.lower().startswith(b"content-length:")), 0)
            with socket.create_connection(self.target) as hub:
                hub.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
                missing = length - len(body)
                while missing > 0 and (block := client.recv(min(65536, missing))):
                    hub.sendall(block)
                    missing -= len(block)
                self._pass_on(hub, client)

    @staticmethod
    def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            block = client.recv(65536)
            if not block:
                return b"", b""
            data += block
        head, _, body = data.partition(b"\r\n\r\n")
        return head, body

    def _pass_on(self, hub: socket.socket, client: socket.socket) -> None:
        passed = 0
        while block := hub.recv(65536):
            passed += len(block)
            with self.lock:
                cut = self.cuts == 0 and passed > self.cut_after
                self.cuts += cut
            try:
                client.sendall(block)
            except OSError:
                return
            if cut:
                self.closed.wait()
                return
