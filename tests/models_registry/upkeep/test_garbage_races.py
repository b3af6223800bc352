"""Pushes, squashes and deletes at the same time as collections without any grace: what is named afterwards is whole."""

import hashlib
import io
import random
import threading
import time

import pytest
from django.db import connection

from models_registry.accounts.actors import Actor
from models_registry.errors import HubError
from models_registry.repos.commits import AddContent, AddFile, commit
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import create_branch, delete_branch, grant_blob
from models_registry.repos.squash import squash
from models_registry.storage.models import Blob
from models_registry.storage.services import take_in
from models_registry.upkeep.garbage import Grace, collect
from tests.factories import make_repository, make_user
from tests.models_registry.upkeep.checks import expect_whole

SECONDS, PUSHERS = 4.0, 3


@pytest.mark.django_db(transaction=True)
def test_collections_without_grace_beside_pushes(data_folder):
    ann = make_user("ann")
    repositories = [make_repository(ann, f"r{number}", RepoType.SPACE) for number in range(2)]
    ended, failures, pushed = time.monotonic() + SECONDS, [], []

    def live(number: int) -> None:
        rng, actor = random.Random(number), Actor(ann)
        try:
            while time.monotonic() < ended:
                repository = Repository.objects.select_related("namespace").get(pk=rng.choice(repositories).pk)
                data = f"content {rng.randrange(9)}".encode()  # few contents: they are sent again and again
                sha256 = hashlib.sha256(data).hexdigest()
                try:
                    blob = take_in(io.BytesIO(data), sha256, len(data))
                    time.sleep(rng.random() * 0.05)
                    grant_blob(repository, blob)
                    files = [AddContent(f"{number}.bin", sha256), AddFile(f"{number}/{rng.randrange(3)}.txt", data)]
                    pushed.append(commit(actor, repository, "main", files, "a push"))
                    if rng.random() < 0.3:
                        squash(actor, repository, "main")
                    if rng.random() < 0.3:
                        create_branch(actor, repository, f"b{number}", rng.choice(pushed), overwrite=True)
                    if rng.random() < 0.2:
                        delete_branch(actor, repository, f"b{number}")
                except HubError:
                    continue  # cleared away between sending and naming: the client is told to send it again
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    def sweep() -> None:
        try:
            while time.monotonic() < ended:
                collect(Grace(days=0, xorb_days=0))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=live, args=(number,)) for number in range(PUSHERS)]
    threads += [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert len(pushed) > 5, "hardly anything was pushed"
    for repository in repositories:
        expect_whole(repository)
    collect(Grace(days=0, xorb_days=0))
    for repository in repositories:
        expect_whole(repository)
    assert {key.partition("/")[2] for key in _keys()} == set(Blob.objects.values_list("pk", flat=True))


def _keys():
    from models_registry.storage.blobstore import blob_store

    return blob_store().keys("blobs")
