"""Damaged bytes are found and told with the commits which they touch, and are whole again when they are sent again."""

import os

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob, Damage
from models_registry.storage.services import blob_key, read_range
from models_registry.upkeep.verifying import touched_by, verify
from models_registry.xet.models import Xorb, XorbSender
from models_registry.xet.services import xorb_key
from tests.factories import api_commit, make_user, push, store
from tests.models_registry.upkeep.checks import expect_whole
from tests.models_registry.xet.test_cas import FILES, HASH, send, send_shard, token_of
from tests.models_registry.xet.test_dedupe import ask


def spoil(key, how="flip"):
    path = blob_store().local_path(key)
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "flip":
        data[len(data) // 2] ^= 1
    elif how == "cut":
        del data[-1:]
    if how != "gone":
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_damaged_content_is_told_with_its_commits(alice, as_alice, model, how, capsys):
    data = os.urandom(5000)
    push(model, alice, {"other.bin": b"fine"})
    commit = push(model, alice, {"d/a.bin": data})
    push(model, alice, {"later.txt": b"x"})
    sha256 = Blob.objects.get(size_bytes=5000).pk
    assert verify().damaged == {}
    spoil(blob_key(sha256), how)
    done = verify()
    assert list(done.damaged) == [blob_key(sha256)] and done.objects == 2
    [touched] = touched_by(blob_key(sha256))
    assert (touched.repository, touched.ref, touched.commit) == ("alice/m", "refs/heads/main", commit)
    with pytest.raises(CommandError, match="1 objects are damaged"):
        call_command("verify_storage")
    assert f"commit {commit}" in capsys.readouterr().out
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": 5000}]}
    answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
    assert "actions" in answer["objects"][0], "who has it is asked to send it again"
    store(model, data)
    assert not Damage.objects.exists() and verify().damaged == {}
    expect_whole(model)


def test_a_damaged_xorb_is_told_and_sent_again(anonymous, as_alice, model):
    headers = token_of(as_alice)
    send(anonymous, headers)
    send_shard(anonymous, headers)
    line = {"path": "x.bin", "algo": "sha256", "oid": FILES[0].sha256_hex, "size": FILES[0].size_bytes}
    commit = api_commit(as_alice, model, {"key": "lfsFile", "value": line}).json()["commitOid"]
    assert ask(anonymous, headers).status_code == 200
    spoil(xorb_key(HASH))
    assert list(verify().damaged) == [xorb_key(HASH)]
    assert [touched.commit for touched in touched_by(xorb_key(HASH))] == [commit]
    assert ask(anonymous, headers).status_code == 404, "nobody is told to build on it"
    send(anonymous, headers)
    assert not Damage.objects.exists() and verify().damaged == {}
    assert b"".join(read_range(Blob.objects.get(pk=FILES[0].sha256_hex)))


def test_a_run_with_little_time_goes_on_later(model):
    for number in range(3):
        store(model, b"%d" % number)
    done = verify(seconds=0)
    assert not done.complete and done.objects == 0
    assert verify().objects == 3 and not Blob.objects.filter(verified_at=None).exists() and not Xorb.objects.exists()


@pytest.mark.django_db
def test_a_xorb_whose_sender_died_before_its_bytes_came_is_no_damage(data_folder):
    Xorb.objects.create(hash="a" * 64, size_bytes=5, index=b"")
    assert not verify().damaged and not Damage.objects.exists()
    XorbSender.objects.create(xorb_id="a" * 64, user=make_user("ann"))
    assert verify().damaged == {f"xorbs/{'a' * 64}": "its bytes are gone"}
