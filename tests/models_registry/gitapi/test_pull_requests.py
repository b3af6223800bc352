"""git pushes to `refs/pr/<number>`: by its author, without the right to write, and by nobody else."""

import io

import pytest

from models_registry.accounts.actors import Actor
from models_registry.community.discussions import pulls, services
from models_registry.community.discussions.models import Offer
from models_registry.community.discussions.offers import offer_blob
from models_registry.repos.git_objects import pointer_text
from models_registry.repos.models import Ref, RepositoryBlob
from models_registry.repos.revisions import branch_head
from models_registry.storage.services import take_in
from tests.factories import make_user, push


@pytest.fixture
def model(make_model):
    return make_model(files={"t.txt": b"1\n2\n3\n"})


@pytest.fixture
def draft(model, bob):
    return pulls.open_draft(Actor(bob), model, "A draft", "to come")


@pytest.fixture
def folder(git, model, draft, bob):
    """bob's clone, on the pull request's ref."""
    clone = git.clone(model, bob)
    git.run("fetch", "-q", "origin", "refs/pr/1:pr/1", cwd=clone)
    git.run("checkout", "-q", "pr/1", cwd=clone)
    return clone


def test_its_author_pushes_and_solves_a_conflict(git, folder, model, draft, alice) -> None:
    first = git.commit(folder, {"t.txt": b"one\n2\n3\n"}, "first")
    git.run("push", "-q", "origin", "pr/1:refs/pr/1", cwd=folder)
    assert pulls.state_of(draft).head == first
    main = push(model, alice, {"t.txt": b"uno\n2\n3\n"})
    assert pulls.state_of(draft).conflicts == ("t.txt",)
    git.run("fetch", "-q", "origin", cwd=folder)
    git.run("merge", "-q", "-s", "ours", "-m", "take mine", "origin/main", cwd=folder)
    second = git.head(folder)
    git.run("push", "-q", "origin", "HEAD:refs/pr/1", cwd=folder)
    assert pulls.state_of(draft).conflicts == () and branch_head(model) == main
    subjects = [event.data["oid"] for event in services.events_of(draft) if event.kind == "commit"]
    assert subjects == [first, second]


def test_to_nothing_else(git, folder, model, draft, bob) -> None:
    git.commit(folder, {"a": b"a"})
    before = dict(Ref.objects.filter(repository=model).values_list("name", "oid"))
    for target in ("refs/heads/main", "refs/heads/new", "refs/tags/v1", "refs/pr/2", "refs/pr/x", "refs/variants/x"):
        git.run("push", "origin", f"HEAD:{target}", cwd=folder, fails=True)
    assert "close pull request 1" in git.run("push", "origin", ":refs/pr/1", cwd=folder, fails=True)
    assert dict(Ref.objects.filter(repository=model).values_list("name", "oid")) == before
    services.change_status(Actor(bob), draft, "closed")
    git.run("push", "origin", "HEAD:refs/pr/1", cwd=folder, fails=True)


def test_nobody_else_but_writers(git, folder, model, alice) -> None:
    git.commit(folder, {"a": b"a"})
    git.run("push", git.url(model, make_user("carol")), "HEAD:refs/pr/1", cwd=folder, fails=True)
    git.run("push", "-q", git.url(model, alice), "HEAD:refs/pr/1", cwd=folder)
    assert Ref.objects.get(repository=model, name="refs/pr/1").oid == git.head(folder)


def test_contents_which_its_author_sent(git, folder, model, bob) -> None:
    import hashlib

    data = b"bob's weights"
    sha256 = hashlib.sha256(data).hexdigest()
    git.commit(folder, {"w.bin": pointer_text(sha256, len(data))})
    assert "never uploaded" in git.run("push", "origin", "HEAD:refs/pr/1", cwd=folder, fails=True)
    offer_blob(model, bob.pk, take_in(io.BytesIO(data), sha256, len(data)))
    git.run("push", "-q", "origin", "HEAD:refs/pr/1", cwd=folder)
    assert RepositoryBlob.objects.filter(repository=model, blob=sha256).exists() and not Offer.objects.exists()
    model.refresh_from_db()
    assert model.used_storage_bytes == len(data)
