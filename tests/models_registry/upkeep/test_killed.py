"""kill -9 in the middle of a collection: what is named reads back at once, and the next collection leaves nothing over."""

from datetime import timedelta

import pytest
from django.utils import timezone

from compression_service.jobs.models import Job
from models_registry.accounts.actors import Actor
from models_registry.repos import sweeping
from models_registry.repos.commits import Delete, commit
from models_registry.repos.models import RepositoryBlob, RepoType
from models_registry.repos.services import delete_repository
from models_registry.repos.squash import squash
from models_registry.storage.blobstore import blob_store
from models_registry.storage.local import LocalBlobStore
from models_registry.storage.models import Blob
from models_registry.upkeep import garbage
from models_registry.upkeep.chunking import chunk_contents
from models_registry.upkeep.garbage import Grace, collect
from models_registry.xet.models import Xorb, XorbUse
from tests.factories import make_repository, make_user, push
from tests.killing import killed_at
from tests.models_registry.upkeep.checks import expect_whole
from tests.models_registry.upkeep.test_chunking import BASE, TUNED

NO_GRACE = Grace(0, 0)
MOMENTS = [
    (sweeping, "_take_objects", 1, False), (sweeping, "_take_objects", 1, True), (sweeping, "_take_rights", 1, True),
    (garbage, "_take_contents", 1, False), (garbage, "_delete_copy", 1, False), (garbage, "_delete_copy", 1, True),
    *((LocalBlobStore, "delete", call, after) for call in (1, 2, 3, 4) for after in (False, True)),
    (garbage, "_take_strays", 1, False),
]  # fmt: skip


def later():
    return timezone.now() + timedelta(days=60)


@pytest.fixture
def lives(data_folder, transactional_db):
    """A repository which keeps things, whole and in chunks, and what was squashed, deleted and never committed."""
    ann = make_user("ann")
    space = make_repository(ann, "s", RepoType.SPACE)
    push(space, ann, {"old.bin": b"old", "d/x.txt": b"1"})
    push(space, ann, {"base.bin": BASE, "kept.bin": b"kept", "d/x.txt": b"2"})
    gone = make_repository(ann, "gone", RepoType.SPACE)
    push(gone, ann, {"other.bin": TUNED[::-1], "b.bin": b"gone"})
    chunk_contents()
    squash(Actor(ann), space, "main")
    push(space, ann, {"base.bin": BASE, "kept.bin": b"kept"})

    commit(Actor(ann), space, "main", [Delete("old.bin")], "let go")
    squash(Actor(ann), space, "main")
    delete_repository(Actor(ann), gone)
    Job.objects.update(state=Job.State.DONE)  # what a job works on stays
    return space


@pytest.mark.parametrize(("owner", "name", "call", "after"), MOMENTS)
def test_killed_in_a_sweep(lives, owner, name, call, after):
    collect(Grace(1, 1), now=timezone.now())  # the grace of what no ref leads to begins
    assert killed_at(lambda: collect(NO_GRACE, now=later()), owner, name, call, after=after), "that moment never came"
    expect_whole(lives)
    for days in (1, 2, 3):  # commits, then contents, then what only they kept
        collect(NO_GRACE, now=later() + timedelta(days=days))
    expect_whole(lives)
    whole = {f"blobs/{blob.pk}" for blob in Blob.objects.filter(is_whole=True)}
    assert set(blob_store().keys("blobs")) == whole and len(whole) == 1, "kept.bin alone lies whole"
    named = set(XorbUse.objects.values_list("xorb", flat=True))
    assert (
        {key.partition("/")[2] for key in blob_store().keys("xorbs")} == named == {row.pk for row in Xorb.objects.all()}
    )
    assert set(RepositoryBlob.objects.values_list("blob", flat=True)) == set(Blob.objects.values_list("pk", flat=True))
    assert collect(NO_GRACE, now=later() + timedelta(days=60)).stored_bytes == 0


def test_a_reader_who_saw_the_whole_copy_gets_the_chunks(lives):
    from models_registry.storage.services import blob_key, read_range

    blob = Blob.objects.get(size_bytes=len(BASE))
    assert blob.is_whole and blob.xet_hash
    blob_store().delete(blob_key(blob.pk))
    assert b"".join(read_range(blob, 10, 5000)) == BASE[10:5010]
