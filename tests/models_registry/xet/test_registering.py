"""Shards of many small files, as folders of images bring them."""

import hashlib
import struct

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.repos.models import RepositoryBlob
from models_registry.storage.models import Blob
from models_registry.xet import registering, services
from models_registry.xet.formats import hash_to_hex
from models_registry.xet.models import ChunkPlace, XetFile, XorbHolder, XorbUse
from tests.models_registry.xet.test_cas import send, send_shard, token_of
from tests.models_registry.xet.xet_encoder import encode_file, encode_shard, encode_xorb, xorb_hash

PLAINS = [b"small file %d" % number for number in range(120)]
NAME = hash_to_hex(xorb_hash(PLAINS))


def shard_of(numbers):
    files = [
        encode_file({NAME: PLAINS}, [(NAME, number, number + 1)], hashlib.sha256(PLAINS[number]).hexdigest())
        for number in numbers
    ]
    return encode_shard(files, [])


@pytest.fixture
def headers(as_alice, anonymous, model):
    headers = token_of(as_alice)
    assert send(anonymous, headers, encode_xorb([(plain, 0) for plain in PLAINS]), NAME).status_code == 200
    return headers


def queries_of(client, headers, numbers):
    with CaptureQueriesContext(connection) as queries:
        assert send_shard(client, headers, shard_of(numbers)).status_code == 200
    return len(queries)


def test_a_hundred_files_take_as_many_queries_as_one(anonymous, headers, model):
    one = queries_of(anonymous, headers, [0])
    assert queries_of(anonymous, headers, range(1, 101)) <= one + 3  # what sends many rows may open a savepoint
    again = queries_of(anonymous, headers, range(101))
    assert again <= one + 3
    assert XetFile.objects.count() == XorbUse.objects.count() == RepositoryBlob.objects.count() == 101
    assert XorbHolder.objects.count() == 1
    model.refresh_from_db()
    assert model.used_storage_bytes == sum(map(len, PLAINS[:101]))
    chunks = {hash_to_hex(services.indexes_of([NAME])[NAME].hashes[32 * n : 32 * n + 32]) for n in range(101)}
    assert chunks <= set(ChunkPlace.objects.values_list("chunk", flat=True)), "fresh machines find each file's first"


def test_parts_are_recorded_one_after_the_other(anonymous, headers, monkeypatch):
    monkeypatch.setattr(registering, "_AT_ONCE", 7)
    queries_of(anonymous, headers, range(30))
    assert set(XetFile.objects.values_list("sha256", flat=True)) == {
        hashlib.sha256(plain).hexdigest() for plain in PLAINS[:30]
    }
    assert Blob.objects.exclude(xet_hash="").count() == RepositoryBlob.objects.count() == 30


def test_one_wrong_file_among_many_leaves_nothing_of_its_shard(anonymous, headers):
    right = encode_file({NAME: PLAINS}, [(NAME, 0, 1)], hashlib.sha256(PLAINS[0]).hexdigest())
    wrong = encode_file({NAME: PLAINS}, [(NAME, 1, 2)], "0" * 64)
    answer = send_shard(anonymous, headers, encode_shard([right, wrong], []))
    assert answer.status_code == 400 and "upload it again" in answer.json()["error"]
    assert not XetFile.objects.exists() and not Blob.objects.exists()


def test_the_store_is_opened_once_for_neighbours(anonymous, headers, monkeypatch):
    opened, real = [], services.open_xorb
    monkeypatch.setattr(services, "open_xorb", lambda name: opened.append(name) or real(name))
    queries_of(anonymous, headers, range(50))
    assert opened == [NAME]


def test_xorbs_are_used_in_one_order(headers, model):
    with CaptureQueriesContext(connection) as queries:
        assert registering.use_xorbs([NAME, "0" * 64]) == 1
    locking, update = [query["sql"] for query in queries if "xet_xorb" in query["sql"]]
    assert locking.startswith("SELECT") and "ORDER BY" in locking and update.startswith("UPDATE")
    assert "FOR UPDATE" in locking or connection.vendor == "sqlite"


def test_a_shard_which_names_more_xorbs_than_a_database_takes_is_refused_at_once(anonymous, headers, data_folder):
    count = 262_000
    segments = b"".join(number.to_bytes(32, "big") + struct.pack("<IIII", 0, 1, 0, 1) for number in range(count))
    head = bytes(31) + b"1" + struct.pack("<IIQ", 3 << 30, count, 0)
    with CaptureQueriesContext(connection) as queries:
        answer = send_shard(anonymous, headers, encode_shard([head + segments + bytes(48 * count + 48)], []))
    assert answer.status_code == 400 and "upload it again" in answer.json()["error"]
    assert len(queries) < 30


def test_a_small_shard_which_would_take_gigabytes_of_tables_is_refused(anonymous, headers, monkeypatch):
    monkeypatch.setattr(services, "SHARD_MAX_CHUNKS", len(PLAINS) - 1)
    answer = send_shard(anonymous, headers, shard_of([0]))
    assert answer.status_code == 400 and "upload fewer files" in answer.json()["error"]
    assert not XetFile.objects.exists()
