"""Acts on pull requests: open, push, conflicts, merge, bring up to date; and what readers may send."""

import hashlib
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compression_service.jobs.models import Job
from models_registry.accounts.actors import Actor
from models_registry.community.discussions import merging, pulls, services
from models_registry.community.discussions.models import Discussion, Event, Offer
from models_registry.community.discussions.offers import offer_blob
from models_registry.errors import BadRequest, Conflict, Forbidden, GatedRepo, HeadMoved, RevisionNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.commits import AddContent, AddFile, Delete
from models_registry.repos.entries import entry_at, list_entries, read_small
from models_registry.repos.models import Ref, RepositoryBlob
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import create_branch, delete_branch
from models_registry.storage.services import take_in
from tests.factories import make_repository, make_user, push

LINES = b"1\n2\n3\n4\n5\n6\n7\n8\n"


@pytest.fixture
def carol(db):
    return make_user("carol")


@pytest.fixture
def model(alice):
    return make_repository(alice, "m", files={"t.txt": LINES, "keep.txt": b"kept\n"})


def propose(model, user, files, **options):
    """A pull request which writes these files; None removes one."""
    operations = [AddFile(path, data) if data is not None else Delete(path) for path, data in files.items()]
    return pulls.open_with_commit(Actor(user), model, options.pop("branch", "main"), operations, "A change", **options)[
        0
    ]


def text_at(model, path, revision="main"):
    head = Ref.objects.get(repository=model, name=f"refs/heads/{revision}").oid
    return read_small(model, entry_at(model, head, path))


def kinds(pull):
    return [event.kind for event in services.events_of(pull)]


# --- opening and pushing ------------------------------------------------------------------------------------------
def test_a_draft_begins_at_mains_head_without_a_commit(model, bob):
    draft = pulls.open_draft(Actor(bob), model, "A draft", "to come")
    state = pulls.state_of(draft)
    assert draft.status == "draft" and state.head == branch_head(model) == state.base and state.is_empty
    assert kinds(draft) == ["comment"] and services.open_discussion(Actor(bob), model, "Talk", "x").number == 2


def test_a_commit_opens_a_pull_request(model, bob):
    head = branch_head(model)
    pull = propose(model, bob, {"new.txt": b"new\n"}, description="Because.")
    state = pulls.state_of(pull)
    assert (
        pull.status == "open" and branch_head(model) == head and git.read_commit(model, state.head).parents == (head,)
    )
    assert kinds(pull) == ["comment", "commit"]
    first, second = services.events_of(pull)
    assert first.body == "Because." and second.data == {"subject": "A change", "oid": state.head}
    assert second.author == bob and not state.conflicts


def test_nothing_is_left_of_a_pull_request_whose_commit_is_refused(model, bob):
    with pytest.raises(BadRequest):
        pulls.open_with_commit(Actor(bob), model, "main", [AddContent("w.bin", "0" * 64)], "A change")
    assert not Discussion.objects.exists() and not Ref.objects.filter(name__startswith="refs/pr/").exists()
    assert propose(model, bob, {"a": b"1"}).number == 1


def test_a_pull_request_stands_on_the_commit_which_is_named(model, alice, bob):
    old = branch_head(model)
    push(model, alice, {"later.txt": b"1"})
    for parent in (old, old[:8]):
        pull = propose(model, bob, {f"{parent}.txt": b"new\n"}, parent=parent)
        assert git.read_commit(model, pulls.state_of(pull).head).parents == (old,) and pull.base_oid == old
    for parent in ("zz", "main", "0" * 40, "1" * 8):
        with pytest.raises(RevisionNotFound):
            propose(model, bob, {"b": b"1"}, parent=parent)


@pytest.mark.parametrize("branch", ["nope", "refs/pr/1", "refs/variants/x", "", "a\0b"])
def test_only_into_branches_can_be_merged(model, bob, branch):
    propose(model, bob, {"a": b"1"})
    for asked in (branch, branch_head(model)):
        with pytest.raises(RevisionNotFound):
            propose(model, bob, {"a": b"1"}, branch=asked)


def test_its_author_and_writers_push(model, alice, bob, carol):
    pull = propose(model, bob, {"a.txt": b"1"})
    for user in (bob, alice):
        pulls.commit_to(Actor(user), pull, [AddFile(f"{user.username}.txt", b"x")], "More")
    with pytest.raises(Forbidden):
        pulls.commit_to(Actor(carol), pull, [AddFile("c.txt", b"x")], "More")
    assert [event.author.username for event in services.events_of(pull) if event.kind == "commit"] == [
        "bob",
        "bob",
        "alice",
    ]
    with pytest.raises(HeadMoved):
        pulls.commit_to(Actor(bob), pull, [AddFile("d.txt", b"x")], "More", parent="0" * 40)


def test_what_is_over_takes_no_commits(model, alice, bob):
    pull = propose(model, bob, {"a.txt": b"1"})
    services.change_status(Actor(bob), pull, "closed")
    with pytest.raises(Conflict, match="open it again"):
        pulls.commit_to(Actor(bob), pull, [AddFile("b.txt", b"x")], "More")
    services.change_status(Actor(bob), pull, "open")
    merging.merge(Actor(alice), pull)
    with pytest.raises(Conflict, match="new one"):
        pulls.commit_to(Actor(bob), pull, [AddFile("b.txt", b"x")], "More")
    with pytest.raises(Conflict, match="merged"):
        services.change_status(Actor(alice), pull, "open")


def test_a_gate_is_shut_for_proposals_too(model, bob):
    model.gated = "manual"
    model.save()
    for refused in (
        lambda: propose(model, bob, {"a": b"1"}),
        lambda: pulls.open_draft(Actor(bob), model, "Draft", "x"),
    ):
        with pytest.raises(GatedRepo):
            refused()


# --- contents which readers send ----------------------------------------------------------------------------------
def offer(model, user, data):
    sha256 = hashlib.sha256(data).hexdigest()
    offer_blob(model, user.pk, take_in(io.BytesIO(data), sha256, len(data)))
    return sha256


def test_an_offer_is_for_its_authors_pull_requests_only(model, alice, bob, carol):
    sha256 = offer(model, bob, b"weights")
    op = AddContent("w.bin", sha256)
    from models_registry.repos.commits import commit

    with pytest.raises(BadRequest, match="never uploaded"):
        commit(Actor(alice), model, "main", [op], "mine now")
    with pytest.raises(BadRequest, match="never uploaded"):
        pulls.open_with_commit(Actor(carol), model, "main", [op], "mine now")
    pointer = AddFile("w.txt", git.pointer_text(sha256, 7))
    with pytest.raises(BadRequest, match="never uploaded"):
        pulls.open_with_commit(Actor(carol), model, "main", [pointer], "mine now")
    other = make_repository(alice, "other")
    with pytest.raises(BadRequest, match="never uploaded"):
        pulls.open_with_commit(Actor(bob), other, "main", [op], "elsewhere")
    assert not RepositoryBlob.objects.filter(blob=sha256).exists()
    pull, _ = pulls.open_with_commit(Actor(bob), model, "main", [op, pointer], "A change")
    assert RepositoryBlob.objects.filter(repository=model, blob=sha256).exists() and not Offer.objects.exists()
    merging.merge(Actor(alice), pull)
    assert entry_at(model, branch_head(model), "w.bin").sha256 == sha256


def test_knowing_a_hash_gives_a_reader_nothing(model, alice, bob):
    secret = make_repository(alice, "secret", private=True)
    push(secret, alice, {"w.bin": b"private weights"})
    sha256 = hashlib.sha256(b"private weights").hexdigest()
    for op in (AddContent("w.bin", sha256), AddFile("w.txt", git.pointer_text(sha256, 15))):
        with pytest.raises(BadRequest, match="never uploaded"):
            pulls.open_with_commit(Actor(bob), model, "main", [op], "give me")


def test_offers_have_a_bound(model, bob, monkeypatch):
    monkeypatch.setattr("models_registry.community.discussions.offers.MAX_WAITING_BYTES", 5)
    offer(model, bob, b"123456")
    with pytest.raises(Forbidden, match="commit them"):
        offer(model, bob, b"1")


# --- merging ------------------------------------------------------------------------------------------------------
def test_a_merge_is_a_commit_with_two_parents(model, alice, bob):
    pull = propose(model, bob, {"new.txt": b"new\n", "keep.txt": None})
    main = push(model, alice, {"by-alice.txt": b"1"})
    oid = merging.merge(Actor(alice), pull, "Thanks!")
    commit = git.read_commit(model, oid)
    assert branch_head(model) == oid == pull.merge_oid and commit.parents == (main, pulls.state_of(pull).head)
    assert commit.author == "alice" and commit.title == "A change (#1)" and "- A change (" in commit.description
    names = {entry.path for entry in list_entries(model, oid)}
    assert names == {".gitattributes", "t.txt", "new.txt", "by-alice.txt"}
    assert kinds(pull) == ["comment", "commit", "comment", "status-change"]
    state = pulls.state_of(Discussion.objects.get(pk=pull.pk))
    assert (state.target, state.conflicts, state.is_empty) == (main, (), False)


def test_lines_of_both_sides_come_together(model, alice, bob):
    one = propose(model, bob, {"t.txt": LINES.replace(b"1", b"one")})
    two = propose(model, bob, {"t.txt": LINES.replace(b"8", b"eight")})
    merging.merge(Actor(alice), one)
    merging.merge(Actor(alice), two)
    assert text_at(model, "t.txt") == b"one\n2\n3\n4\n5\n6\n7\neight\n"


def test_a_conflict_changes_nothing(model, alice, bob):
    pull = propose(model, bob, {"t.txt": LINES.replace(b"1", b"one"), "new.txt": b"x"})
    main = push(model, alice, {"t.txt": LINES.replace(b"1", b"uno")})
    before = Event.objects.count()
    with pytest.raises(Conflict, match=r"t\.txt") as refusal:
        merging.merge(Actor(alice), pull, "Thanks!")
    assert refusal.value.body == {"filesWithConflicts": ["t.txt"]} and pulls.state_of(pull).conflicts == ("t.txt",)
    assert branch_head(model) == main and Event.objects.count() == before
    pull.refresh_from_db()
    assert pull.status == "open"


@pytest.mark.parametrize(("keep", "kept"), [("ours", b"one"), ("theirs", b"uno")])
def test_a_conflict_is_solved_by_choosing_a_side(model, alice, bob, carol, keep, kept):
    pull = propose(model, bob, {"t.txt": LINES.replace(b"1", b"one"), "new.txt": b"x"})
    main = push(model, alice, {"t.txt": LINES.replace(b"1", b"uno"), "other.txt": b"y"})
    with pytest.raises(Conflict):
        merging.bring_up_to_date(Actor(bob), pull)
    with pytest.raises(Forbidden):
        merging.bring_up_to_date(Actor(carol), pull, keep)
    oid = merging.bring_up_to_date(Actor(bob), pull, keep)
    assert git.read_commit(model, oid).parents[1] == main and kinds(pull) == ["comment", "commit", "commit"]
    assert pulls.state_of(pull).conflicts == () and branch_head(model) == main
    with pytest.raises(BadRequest, match="already"):
        merging.bring_up_to_date(Actor(bob), pull)
    merging.merge(Actor(alice), pull)
    assert text_at(model, "t.txt") == LINES.replace(b"1", kept) and text_at(model, "other.txt") == b"y"


def test_who_merges_and_what(model, alice, bob):
    draft = pulls.open_draft(Actor(bob), model, "A draft", "to come")
    with pytest.raises(Forbidden):
        merging.merge(Actor(bob), draft)
    with pytest.raises(BadRequest, match="draft"):
        merging.merge(Actor(alice), draft)
    services.change_status(Actor(bob), draft, "open")
    with pytest.raises(BadRequest, match="changes nothing"):
        merging.merge(Actor(alice), draft)
    pulls.commit_to(Actor(bob), draft, [AddFile("a.txt", b"1")], "Now")
    services.change_status(Actor(alice), draft, "closed")
    with pytest.raises(Conflict, match="closed"):
        merging.merge(Actor(alice), draft)
    services.change_status(Actor(alice), draft, "open")
    merging.merge(Actor(alice), draft)
    with pytest.raises(Conflict, match="merged"):
        merging.merge(Actor(alice), draft)
    talk = services.open_discussion(Actor(bob), model, "Talk", "x")
    with pytest.raises(BadRequest, match="no pull request"):
        merging.merge(Actor(alice), talk)
    with pytest.raises(RevisionNotFound):
        pulls.find_pull_request(model, talk.number)


def test_a_merge_passes_the_cards_gate(model, alice, bob):
    """Each side's card is right; together they would be wrong."""
    card = b"---\nlicense: mit\n# a\n# b\n# c\n# d\ntags: [x]\n---\n# Hi\n"
    push(model, alice, {"README.md": card})
    pull = propose(model, bob, {"README.md": card.replace(b"license: mit\n", b"model-index: []\n")})
    other = propose(model, bob, {"README.md": card.replace(b"tags: [x]\n", b"model-index: []\ntags: [x]\n")})
    merging.merge(Actor(alice), pull)
    head = branch_head(model)
    with pytest.raises(BadRequest, match=r"README\.md"):
        merging.merge(Actor(alice), other)
    assert branch_head(model) == head


def test_only_main_starts_compression(alice, bob):
    model = make_repository(alice, "compressed", files={"keep.txt": b"1"})
    Job.objects.all().delete()
    pull, _ = pulls.open_with_commit(
        Actor(bob), model, "main", [AddContent("m.onnx", offer(model, bob, b"a model"))], "Model"
    )
    pulls.commit_to(Actor(bob), pull, [AddContent("m2.pkl", offer(model, bob, b"pickle"))], "More")
    assert not Job.objects.exists()
    merging.merge(Actor(alice), pull)
    assert Job.objects.filter(kind="convert").exists() and Job.objects.filter(kind="scan_files").exists()


def test_a_pull_request_goes_into_its_own_branch(model, alice, bob):
    create_branch(Actor(alice), model, "dev")
    pull = propose(model, bob, {"dev.txt": b"1"}, branch="dev")
    gone = propose(model, bob, {"gone.txt": b"1"}, branch="dev")
    main = branch_head(model)
    merging.merge(Actor(alice), pull)
    assert text_at(model, "dev.txt", "dev") == b"1" and branch_head(model) == main and pull.target == "refs/heads/dev"
    delete_branch(Actor(alice), model, "dev")
    with pytest.raises(Conflict, match="gone"):
        merging.merge(Actor(alice), gone)
    with pytest.raises(Conflict, match="gone"):
        merging.bring_up_to_date(Actor(bob), gone)


def test_a_commit_between_working_out_and_merging_is_kept(model, alice, bob, monkeypatch):
    pull = propose(model, bob, {"new.txt": b"x"})
    real, calls = merging._worked_out, []

    def meanwhile(found, state):
        ready = real(found, state)
        if not calls:
            calls.append(push(model, alice, {"meanwhile.txt": b"1"}))
        return ready

    monkeypatch.setattr(merging, "_worked_out", meanwhile)
    oid = merging.merge(Actor(alice), pull)
    assert git.read_commit(model, oid).parents[0] == calls[0]
    assert {"meanwhile.txt", "new.txt"} <= {entry.path for entry in list_entries(model, oid)}


def test_a_merge_comes_through_though_the_branch_never_stands_still(model, alice, bob, monkeypatch):
    pull = propose(model, bob, {"new.txt": b"x"})
    real, pushed = merging._worked_out, []

    def meanwhile(found, state):
        if len(pushed) < merging._TRIES:
            pushed.append(push(model, alice, {f"{len(pushed)}.txt": b"x"}))
        return real(found, state)

    monkeypatch.setattr(merging, "_worked_out", meanwhile)
    oid = merging.merge(Actor(alice), pull)
    assert git.read_commit(model, oid).parents[0] == pushed[-1] and len(pushed) == merging._TRIES
    assert {"0.txt", "1.txt", "2.txt", "new.txt"} <= {entry.path for entry in list_entries(model, oid)}


def test_everything_may_be_removed(model, alice, bob):
    names = [entry.path for entry in list_entries(model, branch_head(model))]
    pull = propose(model, bob, dict.fromkeys(names))
    oid = merging.merge(Actor(alice), pull)
    assert list_entries(model, oid) == []


def test_histories_which_share_nothing_compare_with_where_they_parted(model, alice, bob):
    """A squashed pull request has no past: it changes what it changed since it was opened."""
    pull = propose(model, bob, {"new.txt": b"x"})
    state = pulls.state_of(pull)
    squashed = merging.make_commit(git.read_commit(model, state.head).tree, [], "bob", "squashed")
    git.put(model, [squashed])
    Ref.objects.filter(repository=model, name=pull.ref).update(oid=squashed.id.decode())
    push(model, alice, {"later.txt": b"1"})
    assert pulls.state_of(pull).base == pull.base_oid and pulls.state_of(pull).conflicts == ()
    merging.merge(Actor(alice), pull)
    assert {"later.txt", "new.txt"} <= {entry.path for entry in list_entries(model, branch_head(model))}


def test_a_merge_costs_no_more_in_a_larger_repository(alice, bob):
    counts = []
    for number, size in enumerate((3, 60)):
        repository = make_repository(
            alice, f"r{number}", files={f"d{n}/t.txt": LINES for n in range(size)} | {"t.txt": LINES}
        )
        for _ in range(size // 10):
            services.open_discussion(Actor(bob), repository, "Talk", "x")
        pull = propose(repository, bob, {"d1/t.txt": b"x"})
        with CaptureQueriesContext(connection) as captured:
            merging.merge(Actor(alice), pull)
        counts.append(len(captured))
    assert counts[0] == counts[1], counts
