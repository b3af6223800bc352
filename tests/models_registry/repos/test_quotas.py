"""Quotas: public and private apart, told before bytes are sent, with the figure that is missing; nothing goes around them."""

import hashlib
import io
import os
import threading

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.services import create_organization
from models_registry.errors import QuotaExceeded
from models_registry.repos.models import Repository, RepositoryBlob, RepoType
from models_registry.repos.moving import move_repository
from models_registry.repos.quotas import quota_of
from models_registry.repos.services import grant_blob, update_settings
from models_registry.storage.services import take_in
from models_registry.xet.models import XetFile
from tests.factories import make_repository, make_user, push, store
from tests.models_registry.buckets.test_buckets import add, batch, cas
from tests.models_registry.xet.test_cas import FILES, send, send_shard, token_of

MB = 1_000_000


@pytest.fixture
def limited(alice, model):
    """alice may keep 5 MB in public and 1 MB in private repositories, and keeps 4 MB in alice/m."""
    alice.namespace.public_quota_bytes, alice.namespace.private_quota_bytes = 5 * MB, MB
    alice.namespace.save()
    push(model, alice, {"kept.bin": os.urandom(4 * MB)})
    model.refresh_from_db()
    return model


def preupload(client, *files, name="alice/m"):
    rows = [{"path": path, "size": size, "sample": "AAAA"} for path, size in files]
    return client.post(f"/api/models/{name}/preupload/main", {"files": rows}, content_type="application/json")


def test_preupload_says_what_is_missing(as_alice, limited):
    assert preupload(as_alice, ("a.bin", MB)).status_code == 200
    answer = preupload(as_alice, ("a.bin", MB), ("b.bin", 500_000))
    assert answer.status_code == 403 and "500,000 bytes are missing" in answer.json()["error"]
    assert "4,000,000 of 5,000,000 bytes in public repositories" in answer.json()["error"]
    assert preupload(as_alice, ("kept.bin", 4 * MB)).status_code == 200, "what is there already is no more"
    assert preupload(as_alice, ("notes.txt", 100)).status_code == 200


def test_private_and_public_are_apart(as_alice, alice, limited):
    make_repository(alice, "hidden", private=True)
    assert preupload(as_alice, ("a.bin", MB), name="alice/hidden").status_code == 200
    answer = preupload(as_alice, ("a.bin", MB + 7), name="alice/hidden")
    assert answer.status_code == 403 and " 7 bytes are missing" in answer.json()["error"]
    assert quota_of(alice.namespace, private=True).used_bytes == 0
    with pytest.raises(QuotaExceeded, match="3,000,000 bytes are missing"):
        update_settings(Actor(alice), limited, private=True)
    assert not Repository.objects.get(pk=limited.pk).private


def test_lfs_is_asked_for_what_is_new(as_alice, limited):
    kept = RepositoryBlob.objects.get(repository=limited).blob_id
    objects = [{"oid": kept, "size": 4 * MB}, {"oid": "0" * 64, "size": MB}]
    body = {"operation": "upload", "objects": objects}
    url = "/alice/m.git/info/lfs/objects/batch"
    assert as_alice.post(url, body, content_type="application/json").status_code == 200
    objects[1]["size"] = MB + 1
    answer = as_alice.post(url, body, content_type="application/json")
    assert answer.status_code == 403 and " 1 bytes are missing" in answer.json()["message"]


def test_a_shard_which_goes_around_preupload_is_refused(anonymous, as_alice, alice, limited):
    size = sum(file.size_bytes for file in FILES)
    alice.namespace.public_quota_bytes = 4 * MB + size - 1
    alice.namespace.save()
    send(anonymous, token_of(as_alice))
    answer = send_shard(anonymous, token_of(as_alice))
    assert answer.status_code == 403 and " 1 bytes are missing" in answer.json()["error"]
    assert not XetFile.objects.exists() and RepositoryBlob.objects.count() == 1
    alice.namespace.public_quota_bytes += 1
    alice.namespace.save()
    assert send_shard(anonymous, token_of(as_alice)).status_code == 200
    assert send_shard(anonymous, token_of(as_alice)).status_code == 200, "sent again, it is no more"


def test_buckets_count_and_copies_do(anonymous, as_alice, alice, as_bob, bob, model):
    for client, name in ((as_alice, "alice"), (as_bob, "bob")):
        client.post(f"/api/buckets/{name}/b", {}, content_type="application/json")
    send(anonymous, cas(as_alice))
    assert send_shard(anonymous, cas(as_alice)).status_code == 200
    assert batch(as_alice, add("x")).status_code == 200
    bob.namespace.public_quota_bytes = FILES[0].size_bytes - 5
    bob.namespace.save()
    copy = add("c") | {"type": "copyFile", "sourceRepoType": "bucket", "sourceRepoId": "alice/b"}
    answer = batch(as_bob, copy, name="bob/b")
    assert answer.status_code == 422 and " 5 bytes are missing" in answer.json()["failed"][0]["error"]


def test_moves_duplicates_and_grants_are_asked_too(as_alice, alice, limited):
    lab = create_organization("lab", alice)
    lab.public_quota_bytes = MB
    lab.save()
    with pytest.raises(QuotaExceeded, match="3,000,000 bytes are missing"):
        move_repository(Actor(alice), limited, "lab/m")
    assert Repository.objects.get(pk=limited.pk).full_name == "alice/m"
    copy = as_alice.post("/api/models/alice/m/duplicate", {"repository": "lab/m"}, content_type="application/json")
    assert copy.status_code == 403 and "missing" in copy.json()["error"]
    made = make_repository(alice, "own", RepoType.DATASET)
    body = {
        "target": {"type": "dataset", "name": "alice/own"},
        "files": [{"sha256": RepositoryBlob.objects.get(repository=limited).blob_id}],
    }
    answer = as_alice.post("/api/models/alice/m/lfs-files/duplicate", body, content_type="application/json")
    assert answer.status_code == 403 and not RepositoryBlob.objects.filter(repository=made).exists()


def test_the_hubs_own_limits_and_the_command(settings, alice, as_alice, model, capsys):
    settings.QUOTA_PUBLIC_GB = 0.001
    assert preupload(as_alice, ("a.bin", MB + 1)).status_code == 403
    call_command("set_quota", "alice", "--public", "0.5")
    assert "of 500,000,000 bytes" in capsys.readouterr().out
    assert preupload(as_alice, ("a.bin", MB + 1)).status_code == 200
    call_command("set_quota", "alice", "--public", "default", "--private", "0")
    assert preupload(as_alice, ("a.bin", MB + 1)).status_code == 403
    for text in ("much", "-1", "nan"):
        with pytest.raises(CommandError, match="no number of GB"):
            call_command("set_quota", "alice", "--public", text)
    with pytest.raises(CommandError, match="no user or organisation"):
        call_command("set_quota", "nobody")


def test_without_limits_nothing_is_refused(as_alice, model):
    assert preupload(as_alice, ("a.bin", 10**15)).status_code == 200
    assert hashlib.sha256(b"x").hexdigest() == store(model, b"x")


def lfs_links(client, *contents, name="alice/m"):
    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)} for data in contents]
    body = {"operation": "upload", "objects": objects}
    answer = client.post(f"/{name}.git/info/lfs/objects/batch", body, content_type="application/json")
    return [row["actions"]["upload"]["href"].removeprefix("http://testserver") for row in answer.json()["objects"]]


def test_of_two_uploads_which_were_both_let_in_the_second_is_refused(as_alice, anonymous, alice, limited):
    one, two = os.urandom(MB), os.urandom(MB)
    first, second = lfs_links(as_alice, one)[0], lfs_links(as_alice, two)[0]
    assert anonymous.put(first, one, content_type="x/y").status_code == 200
    assert anonymous.put(first, one, content_type="x/y").status_code == 200, "sent again, it is no more"
    answer = anonymous.put(second, two, content_type="x/y")
    assert answer.status_code == 403 and "1,000,000 bytes are missing" in answer.json()["error"]
    assert quota_of(alice.namespace, private=False).used_bytes == 5 * MB


@pytest.mark.django_db(transaction=True)
def test_uploads_at_the_same_time_never_exceed_the_limit(data_folder):
    ann = make_user("ann")
    repositories = [make_repository(ann, f"r{number}") for number in range(2)]
    Namespace.objects.filter(pk=ann.namespace.pk).update(public_quota_bytes=3 * MB)
    contents = [os.urandom(MB) for _ in range(8)]
    blobs = [take_in(io.BytesIO(data), hashlib.sha256(data).hexdigest()) for data in contents]
    start, refused, failures = threading.Barrier(len(blobs)), [], []

    def send_one(number: int) -> None:
        try:
            repository = Repository.objects.select_related("namespace").get(pk=repositories[number % 2].pk)
            start.wait()
            grant_blob(repository, blobs[number])
        except QuotaExceeded as error:
            refused.append(error.missing_bytes)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send_one, args=(number,)) for number in range(len(blobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and refused == [MB] * 5
    assert quota_of(ann.namespace, private=False).used_bytes == 3 * MB
    assert RepositoryBlob.objects.count() == 3


def test_what_the_hub_itself_makes_is_counted_and_never_refused(alice, limited):
    data = os.urandom(2 * MB)
    grant_blob(limited, take_in(io.BytesIO(data), hashlib.sha256(data).hexdigest()), by_hub=True)
    assert quota_of(alice.namespace, private=False).used_bytes == 6 * MB


def test_a_move_and_a_change_of_visibility_are_held_to_the_room_of_that_moment(alice, limited):
    hidden = make_repository(alice, "hidden", private=True)
    store(hidden, b"x")
    update_settings(Actor(alice), hidden, private=False)
    assert quota_of(alice.namespace, private=False).used_bytes == 4 * MB + 1
    alice.namespace.private_quota_bytes = 0
    alice.namespace.save()
    empty = make_repository(alice, "empty")
    update_settings(Actor(alice), empty, private=True)
    with pytest.raises(QuotaExceeded, match=" 1 bytes are missing"):
        update_settings(Actor(alice), Repository.objects.get(pk=hidden.pk), private=True)
