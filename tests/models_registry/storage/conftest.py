"""S3 for tests: moto as a server on loopback, or the real thing named by FITHUB_TEST_S3 (`endpoint bucket key secret`)."""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from models_registry.storage.s3 import S3BlobStore


@pytest.fixture(scope="session")
def s3_place() -> Iterator[tuple[str, str, str]]:
    """(endpoint, access key, secret key)."""
    if given := os.environ.get("FITHUB_TEST_S3"):
        endpoint, key, secret = given.split()
        yield endpoint, key, secret
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}", "x", "y"
    server.stop()


@pytest.fixture
def bucket(s3_place) -> S3BlobStore:
    """An empty bucket."""
    endpoint, key, secret = s3_place
    store = S3BlobStore(f"b{uuid.uuid4().hex}", endpoint, key, secret)
    store.client.create_bucket(Bucket=store.bucket)
    return store


@pytest.fixture
def hub_on_s3(bucket, settings) -> S3BlobStore:
    """The hub's store is this bucket, to which clients go by themselves."""
    from models_registry.storage import blobstore

    endpoint = bucket.client.meta.endpoint_url
    key = bucket.client._request_signer._credentials
    settings.S3_BUCKET, settings.S3_ENDPOINT_URL = bucket.bucket, endpoint
    settings.S3_ACCESS_KEY, settings.S3_SECRET_KEY = key.access_key, key.secret_key
    settings.FILE_DELIVERY = "presigned"
    blobstore.forget()
    return bucket


class BrokenStore:
    """A server which takes connections and answers 500, nothing at all, or the beginning of a body."""

    def __init__(self, how: str) -> None:
        self.how, self.requests = how, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            self.requests += 1
            if self.how == "500":
                connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                self.ended.wait(60)

    def close(self) -> None:
        self.ended.set()
        self.listener.close()
        time.sleep(0.05)


@pytest.fixture(params=["500", "hangs"])
def broken(request, monkeypatch) -> Iterator[S3BlobStore]:
    from models_registry.storage import s3

    monkeypatch.setattr(s3, "READ_SECONDS", 0.4)
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    server = BrokenStore(request.param)
    yield S3BlobStore("bucket", server.url, "x", "y")
    server.close()
