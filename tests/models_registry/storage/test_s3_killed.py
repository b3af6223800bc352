"""kill -9 while an upload which went to S3 itself is completed: nothing half-visible, the retry succeeds, nothing stays."""

import hashlib
import json
import os
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from models_registry.hfapi import lfs, lfs_parts
from models_registry.repos.models import RepositoryBlob
from models_registry.storage.models import Blob
from models_registry.storage.s3 import S3BlobStore
from models_registry.storage.services import read_range
from models_registry.upkeep.garbage import Grace, collect
from tests.factories import api_commit, client_of, make_repository, make_user
from tests.killing import killed_at
from tests.models_registry.storage.test_s3 import MB, http

DATA = os.urandom(6 * MB)
OID = hashlib.sha256(DATA).hexdigest()
MOMENTS = [
    (S3BlobStore, "finish_parts", 1, False), (S3BlobStore, "finish_parts", 1, True),
    (lfs_parts, "adopt", 1, False), (S3BlobStore, "copy", 1, True),
    (S3BlobStore, "delete", 1, False), (S3BlobStore, "delete", 1, True),
    (lfs, "grant_blob", 1, False), (lfs, "grant_blob", 1, True),
]  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("owner", "name", "call", "after"), MOMENTS)
def test_killed_while_an_upload_is_completed(hub_on_s3, data_folder, monkeypatch, owner, name, call, after):
    monkeypatch.setattr(lfs_parts, "PART_BYTES", 5 * MB)
    ann = make_user("ann")
    repository, client = make_repository(ann, "m"), client_of(ann)
    body = {"operation": "upload", "transfers": ["multipart"], "objects": [{"oid": OID, "size": len(DATA)}]}
    answer = client.post("/ann/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
    action = answer["objects"][0]["actions"]["upload"]
    urls = [url for number, url in sorted(action["header"].items()) if number.isdecimal()]
    etags = [http("PUT", url, DATA[at * 5 * MB :][: 5 * MB]).headers["ETag"] for at, url in enumerate(urls)]
    parts = {"oid": OID, "parts": [{"partNumber": at, "etag": etag} for at, etag in enumerate(etags, 1)]}
    link = action["href"].removeprefix("http://testserver")

    def complete():
        return Client().post(link, json.dumps(parts), content_type="application/json")

    assert killed_at(complete, owner, name, call, after=after), "that moment never came"
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": OID, "size": len(DATA)}}
    arrived = RepositoryBlob.objects.exists()
    assert arrived == ((name, after) == ("grant_blob", True) or name == "delete"), "it is named once it was granted"
    assert api_commit(client, repository, line).status_code == (200 if arrived else 400)
    assert complete().status_code == 200
    assert api_commit(client, repository, line).status_code == 200
    assert b"".join(read_range(Blob.objects.get(pk=OID))) == DATA
    collect(Grace(0), now=timezone.now() + timedelta(days=2))
    assert list(hub_on_s3.keys("incoming")) == [] and list(hub_on_s3.keys("blobs")) == [f"blobs/{OID}"]
    assert b"".join(read_range(Blob.objects.get(pk=OID))) == DATA


@pytest.mark.django_db(transaction=True)
def test_what_was_put_together_and_never_verified_does_not_stay_for_ever(hub_on_s3, data_folder):
    hub_on_s3.client.put_object(Bucket=hub_on_s3.bucket, Key="incoming/left", Body=b"left")
    collect(Grace(0), now=timezone.now())
    assert list(hub_on_s3.keys("incoming")) == ["incoming/left"], "an upload of today may still be completed"
    collect(Grace(0), now=timezone.now() + timedelta(days=2))
    assert list(hub_on_s3.keys("incoming")) == []
