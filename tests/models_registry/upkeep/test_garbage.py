"""Garbage collection takes what nothing names, after its grace, and nothing else; a dry run says the same figures."""

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from compression_service.jobs.models import Job
from compression_service.variants.models import SourceModel
from models_registry.accounts.actors import Actor
from models_registry.community.discussions import pulls
from models_registry.community.discussions.offers import offer_blob
from models_registry.repos.contents import delete_contents
from models_registry.repos.models import Abandoned, GitObject, RepositoryBlob
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import create_branch, delete_branch, delete_repository
from models_registry.repos.squash import squash
from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob
from models_registry.storage.services import blob_key, take_in
from models_registry.upkeep.garbage import Grace, collect
from models_registry.xet.models import XetFile, Xorb, XorbHolder, XorbUse
from tests.factories import make_repository, push, store
from tests.models_registry.upkeep.checks import expect_whole
from tests.models_registry.xet.test_cas import FILES, HASH, send, send_shard, token_of

GRACE = Grace(days=7)
WEEK, MONTH = timedelta(days=8), timedelta(days=29)


def collect_after(delay, grace=GRACE):
    """What a dry run promises, and what the collection does, `delay` from now, when no job works on anything."""
    Job.objects.update(state=Job.State.DONE)
    SourceModel.objects.filter(status="making").update(status="failed")
    now = timezone.now() + delay
    before = (GitObject.objects.count(), Blob.objects.count(), Xorb.objects.count(), RepositoryBlob.objects.count())
    planned = collect(grace, dry_run=True, now=now)
    after = (GitObject.objects.count(), Blob.objects.count(), Xorb.objects.count(), RepositoryBlob.objects.count())
    assert before == after
    freed = collect(grace, now=now)
    assert freed == planned
    return freed


def blob_keys():
    return {key.partition("/")[2] for key in blob_store().keys("blobs")}


def test_what_a_ref_names_stays_for_ever(alice, model):
    first = push(model, alice, {"a.bin": b"first", "d/x.txt": b"1"})
    push(model, alice, {"a.bin": b"second"})
    freed = collect_after(timedelta(days=1000))
    assert freed.objects == freed.contents == freed.stored_bytes == 0
    expect_whole(model)
    expect_whole(model, {first})


def test_what_was_squashed_away_goes_after_its_grace(alice, model):
    old = push(model, alice, {"a.bin": b"old", "d/x.txt": b"1"})
    push(model, alice, {"a.bin": b"new"})
    squash(Actor(alice), model, "main")
    assert collect_after(timedelta()).objects == 0  # the first look begins the grace
    expect_whole(model, {old})
    assert collect_after(timedelta(days=6)).objects == 0
    expect_whole(model, {old})
    freed = collect_after(WEEK)
    assert freed.objects > 3 and len(freed.repositories["alice/m"].contents) == 1 and freed.contents == 0
    freed = collect_after(2 * WEEK)
    assert freed.contents == 1 and freed.content_bytes == len(b"old")
    assert not GitObject.objects.filter(oid=old).exists() and not Abandoned.objects.exists()
    assert len(blob_keys()) == 1
    expect_whole(model)
    model.refresh_from_db()
    assert model.used_storage_bytes == len(b"new")


def test_a_commit_which_came_back_has_a_whole_grace_again(alice, model):
    old = push(model, alice, {"a.bin": b"old"}, branch="main")
    create_branch(Actor(alice), model, "side")
    squash(Actor(alice), model, "main")
    delete_branch(Actor(alice), model, "side")
    collect_after(timedelta())
    create_branch(Actor(alice), model, "back", old)
    collect_after(WEEK)
    expect_whole(model, {old})
    delete_branch(Actor(alice), model, "back")
    collect_after(timedelta(days=40))
    expect_whole(model, {old})
    assert collect_after(timedelta(days=48)).objects


def test_what_was_uploaded_and_never_committed_goes_after_its_grace(model):
    sha256 = store(model, b"waiting")
    assert collect_after(timedelta(days=6)).contents == 0
    assert collect_after(WEEK).contents == 0 and len(blob_keys()) == 1, "its bytes have a grace of their own"
    freed = collect_after(2 * WEEK)
    assert freed.contents == 1 and freed.content_bytes == 7 and not blob_keys()
    assert not Blob.objects.filter(pk=sha256).exists()


def test_an_answer_that_it_is_here_begins_the_grace_anew(as_alice, model):
    sha256 = store(model, b"waiting")
    RepositoryBlob.objects.update(used_at=timezone.now() - timedelta(days=30))
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": 7}]}
    answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json")
    assert "actions" not in answer.json()["objects"][0]
    assert collect_after(timedelta(days=6)).contents == 0


def test_a_deleted_repository_leaves_only_what_others_hold(alice, model):
    other = make_repository(alice, "other", files={"a.bin": b"shared"})
    push(model, alice, {"a.bin": b"shared", "b.bin": b"own"})
    Blob.objects.update(used_at=timezone.now() - timedelta(days=100))
    delete_repository(Actor(alice), model)
    assert collect_after(timedelta(days=6)).contents == 0, "a backup of yesterday names it"
    freed = collect_after(WEEK)
    assert freed.contents == 1 and freed.content_bytes == len(b"own")
    expect_whole(other)


def test_what_was_deleted_for_good_goes(alice, model):
    push(model, alice, {"a.bin": b"secret", "b.bin": b"kept"})
    sha256 = RepositoryBlob.objects.get(blob__size_bytes=6).blob_id
    delete_contents(Actor(alice), model, [sha256])
    collect_after(WEEK)
    assert sha256 not in blob_keys()
    expect_whole(model)


def test_pull_requests_keep_what_they_compare(alice, bob, model):
    push(model, alice, {"a.txt": b"1"})
    blob = take_in(io.BytesIO(b"offered"), __import__("hashlib").sha256(b"offered").hexdigest())
    offer_blob(model, bob.pk, blob)
    from models_registry.repos.commits import AddContent

    pull, oid = pulls.open_with_commit(Actor(bob), model, "main", [AddContent("x.bin", blob.pk)], "t", "", None)
    base = pull.base_oid
    squash(Actor(alice), model, "main")
    collect_after(timedelta())
    collect_after(timedelta(days=1000))
    expect_whole(model, {base, oid})


def test_offers_which_came_to_nothing_go(alice, bob, model):
    sha256 = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
    offer_blob(model, bob.pk, take_in(io.BytesIO(b"0"), sha256))
    assert collect_after(timedelta(days=6)).offers == 0
    freed = collect(GRACE, now=timezone.now() + WEEK)
    assert freed.offers == 1 and freed.contents == 1 and not blob_keys()


def test_bytes_without_a_row_go_and_half_an_upload_can_be_sent_again(model, data_folder):
    sha256 = store(model, b"0")
    path = data_folder / "stray"
    path.write_bytes(b"stray")
    blob_store().put_file(blob_key("ab" * 32), path)
    freed = collect_after(timedelta())
    assert freed.strays == 1 and freed.stray_bytes == 5 and blob_keys() == {sha256}
    assert not Blob.objects.filter(pk="ab" * 32).exists()
    # A process which died between bytes and row's deletion leaves a row alone; the upload comes again.
    blob_store().delete(blob_key(sha256))
    store(model, b"0")
    assert blob_keys() == {sha256}


def test_the_same_bytes_are_not_kept_whole_beside_chunks(anonymous, as_alice, model):
    headers = token_of(as_alice)
    send(anonymous, headers)
    send_shard(anonymous, headers)
    from models_registry.storage.services import read_range

    sha256 = FILES[0].sha256_hex
    data = b"".join(read_range(Blob.objects.get(pk=sha256)))
    store(model, data)
    assert not blob_keys()


def test_a_xorb_stays_four_weeks_after_its_last_use_and_as_long_as_a_file_is_made_of_it(
    anonymous, as_alice, alice, model
):
    headers = token_of(as_alice)
    send(anonymous, headers)
    send_shard(anonymous, headers)
    assert XorbUse.objects.count() == len(FILES)
    for number, file in enumerate(FILES):
        from tests.factories import api_commit

        line = {"path": f"{number}.bin", "algo": "sha256", "oid": file.sha256_hex, "size": file.size_bytes}
        assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200
    assert collect_after(timedelta(days=1000)).xorbs == 0
    expect_whole(model)
    model.delete()
    freed = collect_after(timedelta(days=27))
    assert freed.contents == len(FILES) and freed.xorbs == 0 and not XetFile.objects.exists()
    make_repository(alice, "m")
    assert send_shard(anonymous, token_of(as_alice)).status_code == 200, "a client which remembers"
    collect_after(timedelta())
    assert collect_after(MONTH).xorbs == 0, "the file's own grace begins"
    freed = collect_after(2 * MONTH)
    assert freed.xorbs == 1 and list(blob_store().keys("xorbs")) == []
    assert not XorbHolder.objects.exists() and not Xorb.objects.filter(pk=HASH).exists()
    assert send_shard(anonymous, token_of(as_alice)).status_code == 400, "upload it again"


def test_a_second_way_to_cut_a_content_goes(model):
    sha256 = store(model, b"0")
    XetFile.objects.create(hash="f" * 64, sha256=sha256, size_bytes=1, terms=[])
    collect_after(WEEK)
    assert not XetFile.objects.exists()


def test_sources_of_variants_stay(alice, model):
    from tests.factories import make_family

    push(model, alice, {"a.bin": b"source"})
    source = make_family(model, {"onnx": (400, 4.0, 100, 1.0)})
    squash(Actor(alice), model, "main")
    collect_after(timedelta())
    collect_after(WEEK)
    expect_whole(model, {source.commit, source.variants.get().commit})
    assert branch_head(model) != source.commit


def test_the_command_says_what_it_does(model, capsys):
    store(model, b"waiting")
    call_command("collect_garbage", "--dry-run", "--days", "0")
    assert "alice/m: 0 objects (0 bytes), 1 contents let go" in capsys.readouterr().out and len(blob_keys()) == 1
    with pytest.raises(CommandError, match="three weeks"):
        call_command("collect_garbage", "--xorb-days", "1")
    call_command("collect_garbage", "--days", "0")
    call_command("collect_garbage", "--days", "0")
    assert "7 bytes of storage freed" in capsys.readouterr().out and not blob_keys()
