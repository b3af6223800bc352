"""A TCP proxy in front of a hub which counts the bytes that clients send and get."""

import socket
import threading
from contextlib import suppress

BLOCK_BYTES = 256 * 1024


class CountingProxy:
    """`with CountingProxy(port) as proxy:` listens at `proxy.url`; `sent` and `got` are bytes so far."""

    def __init__(self, port: int) -> None:
        self.port, self.sent, self.got = port, 0, 0
        self._lock = threading.Lock()
        self._ended: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "CountingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def reset(self) -> None:
        with self._lock:
            self.sent = self.got = 0

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for source, sink, name in ((client, server, "sent"), (server, client, "got")):
                    threading.Thread(target=self._pump, args=(source, sink, name), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK_BYTES):
                with self._lock:
                    setattr(self, name, getattr(self, name) + len(block))
                sink.sendall(block)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:  # both ways have ended
            if {source, sink} <= self._ended:
                source.close()
                sink.close()
            self._ended |= {source, sink}
