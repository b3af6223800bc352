"""One suite for both stores: a folder, and S3 (moto; in CI also Swift, which checks signatures)."""

import errno
import hashlib
import io
import os

import pytest

from models_registry.errors import BadRequest, StorageFull, TooLarge
from models_registry.storage import services
from models_registry.storage.local import LocalBlobStore
from models_registry.storage.models import Blob
from models_registry.storage.s3 import S3BlobStore

DATA = os.urandom(700_000)
KEY = "blobs/" + "ab" * 32


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return LocalBlobStore(tmp_path / "store")
    return request.getfixturevalue("bucket")


def put(store, tmp_path, key=KEY, data=DATA):
    path = tmp_path / "incoming"
    path.write_bytes(data)
    store.put_file(key, path)
    assert not path.exists()


def opened_below(folder):
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [path for link in links if os.path.lexists(link) and (path := os.readlink(link)).startswith(str(folder))]


def test_what_is_put_comes_back_whole_and_in_ranges(store, tmp_path):
    put(store, tmp_path)
    assert store.exists(KEY) and store.size(KEY) == len(DATA)
    assert b"".join(store.read_range(KEY, 0, len(DATA))) == DATA
    assert b"".join(store.read_range(KEY, 300_001, 277)) == DATA[300_001:300_278]
    assert b"".join(store.read_range(KEY, 5, 0)) == b""
    with store.open(KEY) as file:
        file.seek(123_456)
        assert file.read(1000) == DATA[123_456:124_456]


def test_a_range_which_nobody_reads_leaves_no_file_open(tmp_path):
    store = LocalBlobStore(tmp_path / "store")
    put(store, tmp_path)
    unread = store.read_range(KEY, 0, len(DATA))
    assert opened_below(tmp_path), "at once, so that what is missing is a KeyError here"
    unread.close()
    assert not opened_below(tmp_path)


def test_putting_twice_is_harmless(store, tmp_path):
    put(store, tmp_path)
    put(store, tmp_path)
    assert list(store.keys("blobs")) == [KEY]


def test_what_is_missing_is_a_key_error(store):
    assert not store.exists(KEY)
    with pytest.raises(KeyError):
        store.size(KEY)
    with pytest.raises(KeyError):
        store.open(KEY)


def test_delete(store, tmp_path):
    put(store, tmp_path)
    store.delete(KEY)
    assert not store.exists(KEY)
    store.check()


@pytest.mark.parametrize("key", ["blobs/../../etc/passwd", "../x/aa", "blobs/", "blobs/a"])
def test_a_local_key_never_leaves_the_folder(tmp_path, key):
    with pytest.raises(KeyError):
        LocalBlobStore(tmp_path).open(key)


def test_the_s3_store_signs_urls():
    store = S3BlobStore("bucket", None, "x", "y")
    assert "X-Amz-Signature=" in store.presigned_url(KEY)


# --- taking streams in --------------------------------------------------------------------------------------------
def staged_files(data_folder):
    return list((data_folder / "storage" / "staging").iterdir())


@pytest.mark.django_db
def test_take_in_verifies_and_keeps(data_folder):
    sha256 = hashlib.sha256(DATA).hexdigest()
    blob = services.take_in(io.BytesIO(DATA), sha256, len(DATA))
    assert b"".join(services.read_range(blob)) == DATA
    assert b"".join(services.read_range(blob, 10, 20)) == DATA[10:30]
    assert staged_files(data_folder) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sent", "announced", "error"),
    [(DATA[:-1], len(DATA), BadRequest), (DATA + b"x", len(DATA), TooLarge), (b"x" * len(DATA), len(DATA), BadRequest)],
)
def test_what_does_not_verify_leaves_nothing(data_folder, sent, announced, error):
    with pytest.raises(error):
        services.take_in(io.BytesIO(sent), hashlib.sha256(DATA).hexdigest(), announced)
    assert staged_files(data_folder) == [] and not Blob.objects.exists()


@pytest.mark.django_db
def test_a_full_disk_is_said_and_nothing_is_left(data_folder):
    class Filling(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull, match="disk is full"):
        services.take_in(Filling(), "0" * 64)
    assert staged_files(data_folder) == [] and not Blob.objects.exists()
