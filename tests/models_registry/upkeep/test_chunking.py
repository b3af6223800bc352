"""What came whole is cut into chunks: kept once, readable at any moment, and telling nobody of a stranger's files."""

import hashlib
import random
import shutil
from datetime import timedelta
from types import SimpleNamespace

import hf_xet
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from models_registry.errors import Conflict, StorageFull
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import grant_blob
from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob, Damage
from models_registry.storage.services import blob_key, read_range
from models_registry.upkeep.chunking import chunk_contents
from models_registry.upkeep.garbage import Grace, collect
from models_registry.upkeep.verifying import verify
from models_registry.xet import chunking
from models_registry.xet.models import ChunkPlace, XetFile, Xorb, XorbHolder, XorbUse
from tests.factories import make_repository, make_user, push
from tests.killing import killed_at
from tests.models_registry.upkeep.checks import expect_whole
from tests.models_registry.xet.test_cas import token_of
from tests.models_registry.xet.test_reconstruction import rebuilt

MB, MONTH = 1000**2, timedelta(days=29)
BASE = random.Random(1).randbytes(3 * MB)
TUNED = BASE[: 1 * MB] + b"inserted" + BASE[1 * MB : 2 * MB] + random.Random(2).randbytes(MB // 5) + BASE[2 * MB :]


def kept_bytes() -> int:
    return sum(blob_store().size(key) for kind in ("blobs", "xorbs") for key in blob_store().keys(kind))


def body(client, url="/alice/m/resolve/main/tuned.bin", **headers):
    answer = client.get(url, headers=headers)
    assert answer.status_code in (200, 206), answer.content
    return b"".join(answer.streaming_content)


@pytest.fixture
def pair(model, alice):
    push(model, alice, {"base.bin": BASE, "small.bin": BASE[:1000]})
    push(model, alice, {"tuned.bin": TUNED})
    return model


def test_two_files_which_are_nearly_alike_are_kept_as_one_and_the_difference(pair, anonymous):
    assert kept_bytes() == len(BASE) + 1000 + len(TUNED)
    done = chunk_contents()
    assert (done.files, done.size_bytes, done.failed) == (2, len(BASE) + len(TUNED), 0)
    assert done.new_bytes < len(BASE) + MB // 5 + 600_000, "the difference, in whole chunks of up to 128 KiB"
    assert body(anonymous) == TUNED, "the whole copy is served while it is there"
    collect(Grace(28), now=timezone.now() + timedelta(days=27))
    assert Blob.objects.filter(is_whole=True).count() == 3, "a backup of yesterday knows the whole copies"
    freed = collect(Grace(28), now=timezone.now() + MONTH)
    assert freed.copies == 2 and freed.copy_bytes == len(BASE) + len(TUNED)
    assert kept_bytes() == done.new_bytes + 1000
    assert body(anonymous) == TUNED
    assert body(anonymous, range=f"bytes={MB - 5}-{MB + 20}") == TUNED[MB - 5 : MB + 21]
    assert verify().damaged == {}
    expect_whole(pair)
    assert chunk_contents().files == 0, "there is nothing left to cut"


def test_xet_clients_read_it_in_chunks_under_the_name_which_they_reckon_themselves(pair, as_alice, anonymous, tmp_path):
    (tmp_path / "tuned").write_bytes(TUNED)
    name = hf_xet.hash_files([str(tmp_path / "tuned")])[0].hash
    chunk_contents()
    head = anonymous.head("/alice/m/resolve/main/tuned.bin")
    assert head["X-Xet-Hash"] == name
    answer = anonymous.get(f"/cas/v1/reconstructions/{name}", headers=token_of(as_alice, "read"))
    assert rebuilt(anonymous, answer.json()) == TUNED


def test_a_fresh_machine_is_told_of_chunks_which_came_by_lfs(pair, as_alice, anonymous):
    chunk_contents()
    first = ChunkPlace.objects.first().chunk
    headers = token_of(as_alice)
    assert anonymous.get(f"/cas/v1/chunks/default/{first}", headers=headers).status_code == 200


def test_strangers_private_files_are_cut_apart(alice, bob):
    """Else bob would learn from his file's xorbs that alice keeps one like it."""
    private = make_repository(alice, "private", private=True, files={"base.bin": BASE})
    push(make_repository(bob, "mine", private=True), bob, {"tuned.bin": TUNED})
    chunk_contents()
    of_alice = set(XorbHolder.objects.filter(repository=private).values_list("xorb", flat=True))
    of_bob = set(XorbHolder.objects.exclude(repository=private).values_list("xorb", flat=True))
    assert of_alice and of_bob and not of_alice & of_bob


@pytest.mark.parametrize(("first", "second", "shares"), [(False, True, True), (True, True, True), (True, False, False)])
def test_chunks_are_shared_where_every_reader_may_read_both(alice, first, second, shares):
    make_repository(alice, "first", private=first, files={"base.bin": BASE})
    make_repository(alice, "second", private=second, files={"tuned.bin": TUNED})
    done = chunk_contents()
    assert (done.new_bytes < len(BASE) + MB) == shares


def test_what_lies_behind_a_gate_is_shared_with_nobody(alice, model):
    Repository.objects.filter(pk=model.pk).update(gated="manual")
    push(model, alice, {"base.bin": BASE})
    make_repository(alice, "open", files={"tuned.bin": TUNED})
    assert chunk_contents().new_bytes > len(BASE) + len(TUNED) - MB


def test_small_contents_and_a_hub_which_does_not_want_it(pair, settings):
    settings.CHUNK_FROM_MB = 0
    assert chunk_contents().files == 0
    settings.CHUNK_FROM_MB = 3.1
    assert chunk_contents().files == 1 and XetFile.objects.get().size_bytes == len(TUNED)


def test_background_work_does_not_fill_the_disk(pair, monkeypatch):
    free = len(TUNED) + 100
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10 * free, free=free))
    done = chunk_contents(keep_free=0.1)
    assert done.files == 0 and not done.complete and not XetFile.objects.exists()
    assert chunk_contents(keep_free=0).files == 2


def test_damaged_bytes_stay_as_they_are_and_the_command_says_so(pair):
    path = blob_store().local_path(blob_key(hashlib.sha256(BASE).hexdigest()))
    path.chmod(0o644)
    path.write_bytes(BASE[:-1] + b"?")
    with pytest.raises(CommandError, match="1 contents stay whole"):
        call_command("chunk_contents")
    assert [file.sha256 for file in XetFile.objects.all()] == [hashlib.sha256(TUNED).hexdigest()]


def test_a_damaged_xorb_is_not_built_on_and_keeps_the_whole_copies(pair, model, alice):
    chunk_contents()
    xorb = Xorb.objects.order_by("created_at").first()
    Damage.objects.create(key=f"xorbs/{xorb.pk}", problem="its bytes are gone")
    push(model, alice, {"third.bin": b"x" + BASE})
    assert chunk_contents().new_bytes > 2 * MB
    freed = collect(Grace(28), now=timezone.now() + MONTH)
    assert freed.copies == 1, "only the third does not need the damaged one"


def test_a_xorb_whose_bytes_never_arrived_is_written_again(pair):
    """A process died between the row and the bytes."""
    chunk_contents()
    XorbUse.objects.all().delete()
    XetFile.objects.all().delete()
    Blob.objects.update(xet_hash="")
    for key in list(blob_store().keys("xorbs")):
        blob_store().delete(key)
    assert chunk_contents().files == 2
    collect(Grace(0), now=timezone.now() + MONTH)
    expect_whole(pair)


def test_who_may_read_it_changed_meanwhile(pair, bob, monkeypatch):
    other = make_repository(bob, "other")
    blob = Blob.objects.get(size_bytes=len(BASE))
    original = chunking.file_sha256

    def slow(*args):
        grant_blob(other, blob)
        return original(*args)

    monkeypatch.setattr(chunking, "file_sha256", slow)
    with pytest.raises(Conflict, match="changed meanwhile"):
        chunking.chunk_content(blob)
    assert not XetFile.objects.exists() and Blob.objects.get(pk=blob.pk).xet_hash == ""


def test_xorbs_collected_meanwhile_and_a_full_disk_leave_the_whole_content(pair, monkeypatch):
    blob = Blob.objects.get(size_bytes=len(BASE))
    with monkeypatch.context() as patch:
        original = chunking.file_sha256

        def late(*args):
            found = original(*args)
            Xorb.objects.all().delete()
            return found

        patch.setattr(chunking, "file_sha256", late)
        assert chunk_contents().failed == 2
    for key in list(blob_store().keys("xorbs")):
        blob_store().delete(key)
    with monkeypatch.context() as patch:
        patch.setattr(type(blob_store()), "put_file", lambda *_: (_ for _ in ()).throw(StorageFull("full")))
        with pytest.raises(StorageFull):
            chunk_contents()
        with pytest.raises(CommandError, match="full"):
            call_command("chunk_contents")
    assert b"".join(read_range(Blob.objects.get(pk=blob.pk))) == BASE
    assert chunk_contents().files == 2


def test_repetitions_are_stored_once(alice, model):
    push(model, alice, {"zeros.bin": bytes(3 * MB) + BASE[:MB] + bytes(MB)})
    assert chunk_contents().new_bytes < MB + 300_000
    collect(Grace(0), now=timezone.now() + MONTH)
    expect_whole(model)


MOMENTS = [
    ("put_file", False), ("put_file", True), ("record_files", False), ("record_files", True), ("file_sha256", True),
]  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("name", "after"), MOMENTS)
def test_killed_at_any_moment_nothing_is_lost_and_the_next_attempt_succeeds(data_folder, name, after):
    ann = make_user("ann")
    space = make_repository(ann, "s", RepoType.SPACE)
    push(space, ann, {"base.bin": BASE})
    owner = type(blob_store()) if name == "put_file" else chunking
    assert killed_at(chunk_contents, owner, name, after=after)
    assert not XetFile.objects.exists(), "nothing half-done is seen"
    expect_whole(space)
    collect(Grace(0))
    assert chunk_contents().files == 1
    collect(Grace(0), now=timezone.now() + MONTH)
    collect(Grace(0), now=timezone.now() + MONTH)
    expect_whole(space)
    xorbs = XorbUse.objects.values_list("xorb", flat=True).distinct().count()
    assert xorbs == Xorb.objects.count() == len(list(blob_store().keys("xorbs"))), "nothing is left over"
    assert not list(blob_store().keys("blobs"))
