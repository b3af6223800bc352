"""The Community tab: the list, a discussion, a pull request and its changes, and every form on them."""

import re

import pytest

from models_registry.accounts.actors import Actor
from models_registry.community.discussions import pulls, services
from models_registry.community.discussions.models import Discussion
from models_registry.repos.commits import AddContent, AddFile, Delete
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, push, store

BASE = "/alice/m/discussions"


@pytest.fixture
def model(alice):
    return make_repository(alice, "m", files={"t.txt": b"1\n2\n3\n"})


@pytest.fixture
def talk(model, bob):
    return services.open_discussion(Actor(bob), model, "A <b>question</b>", "What *is* <script>alert(1)</script> this?")


@pytest.fixture
def pull(model, bob):
    operations = [AddFile("t.txt", b"one\n2\n3\n"), AddFile("a <i>.txt", b"<i>new</i>\n")]
    return pulls.open_with_commit(Actor(bob), model, "main", operations, "A change")[0]


def text(answer):
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def said(answer):
    """The page after a form, with its notices."""
    assert answer.redirect_chain and answer.status_code == 200
    return answer.content.decode()


def test_the_list_filters_and_escapes(visitor, talk, pull, model, bob):
    page = text(visitor.get(BASE))
    assert "A &lt;b&gt;question&lt;/b&gt;" in page and "A change" in page and 'aria-current="page">Community' in page
    assert "A change" not in text(visitor.get(f"{BASE}?type=discussion"))
    assert "Nothing is open" not in text(visitor.get(f"{BASE}?status=all")) and "question" not in text(
        visitor.get(f"{BASE}?q=change")
    )
    services.change_status(Actor(bob), talk, "closed")
    assert "question" not in text(visitor.get(BASE)) and "question" in text(visitor.get(f"{BASE}?status=closed"))
    assert visitor.get(f"{BASE}?status=x").status_code == 400
    assert "No title here holds" in text(visitor.get(f"{BASE}?q=nothing+like+it"))


def test_pinned_stand_first_and_pages_keep_their_filters(visitor, talk, model, alice, monkeypatch):
    monkeypatch.setattr("models_registry.pages.views.discussions.PAGE", 2)
    for number in range(3):
        services.open_discussion(Actor(alice), model, f"Later {number}", "x")
    services.set_pinned(Actor(alice), talk, pinned=True)
    page = text(visitor.get(f"{BASE}?type=discussion"))
    assert page.index("question") < page.index("Later 2") and "Later 0" not in page
    older = re.search(r'href="([^"]+)" rel="next"', page)[1].replace("&amp;", "&")
    assert "type=discussion" in older and "Later 0" in text(visitor.get(older))


def test_a_discussion_is_safe_to_read(visitor, talk):
    page = text(visitor.get(f"{BASE}/1"))
    assert "<em>is</em>" in page and "<script>alert" not in page and "Sign in" in page
    assert "/comment" not in page  # nothing to send for who is not signed in


def test_talking(alice_browser, bob_browser, talk):
    assert "An <strong>answer</strong>" in said(
        alice_browser.post(f"{BASE}/1/comment", {"comment": "An **answer**"}, follow=True)
    )
    mine = services.events_of(talk)[1].public_id
    page = said(alice_browser.post(f"{BASE}/1/comment/{mine}/edit", {"content": "A better one"}, follow=True))
    assert "A better one" in page and "An **answer**" in page and "edited" in page
    assert "Only who wrote" in said(bob_browser.post(f"{BASE}/1/comment/{mine}/edit", {"content": "x"}, follow=True))
    page = said(alice_browser.post(f"{BASE}/1/comment/{mine}/hide", follow=True))
    assert "has been hidden" in page and "better one" not in page
    page = said(bob_browser.post(f"{BASE}/1/title", {"title": "Another title"}, follow=True))
    assert "Another title" in page and "renamed it" in page
    page = said(bob_browser.post(f"{BASE}/1/status", {"status": "closed", "comment": "Done."}, follow=True))
    assert "Done." in page and "closed it" in page and "Open it again" in page
    assert "already" in said(bob_browser.post(f"{BASE}/1/status", {"status": "closed"}, follow=True))
    assert "needs words" in said(bob_browser.post(f"{BASE}/1/comment", {"comment": " "}, follow=True))
    said(alice_browser.post(f"{BASE}/1/pin", {"pinned": "yes"}, follow=True))
    talk.refresh_from_db()
    assert talk.pinned


def test_opening_one(bob_browser, visitor, model):
    assert visitor.get(f"{BASE}/new").headers["Location"].startswith("/login?next=")
    assert "Open it" in text(bob_browser.get(f"{BASE}/new"))
    page = said(bob_browser.post(f"{BASE}/new", {"title": "A title", "description": "Words"}, follow=True))
    assert "A title" in page and Discussion.objects.get().author.username == "bob"
    short = bob_browser.post(f"{BASE}/new", {"title": "x", "description": "What I wrote"})
    assert short.status_code == 400 and "What I wrote" in short.content.decode()
    page = said(bob_browser.post(f"{BASE}/new", {"title": "A draft", "type": "pull_request"}, follow=True))
    assert "No commits yet" in page and "--revision refs/pr/2" in page and "Open it for merging" in page


def test_the_changes_of_a_pull_request(visitor, pull, model, alice):
    page = text(visitor.get(f"{BASE}/1/files"))
    assert "2 files" in page and '<span class="came">+one\n</span>' in page and '<span class="went">-1\n</span>' in page
    assert "a &lt;i&gt;.txt" in page and "+&lt;i&gt;new&lt;/i&gt;" in page and "/blob/" in page
    patch = visitor.get(f"{BASE}/1.diff")
    assert patch["Content-Type"] == "text/plain; charset=utf-8" and patch.content.startswith(b"diff --git a/a <i>.txt")
    push(model, alice, {"t.txt": b"uno\n2\n3\n"})
    assert "in conflict" in text(visitor.get(f"{BASE}/1/files"))


def test_what_is_not_shown_by_lines(visitor, model, alice, monkeypatch):
    monkeypatch.setattr("models_registry.pages.views.discussions.MAX_SHOWN_LINES", 5)
    operations = [
        AddContent("w.bin", store(model, b"weights")),
        AddFile("nul.dat", b"\0"),
        AddFile("long.txt", b"x\n" * 50),
        Delete("t.txt"),
    ]
    pulls.open_with_commit(Actor(alice), model, "main", operations, "Much")
    page = text(visitor.get(f"{BASE}/1/files"))
    assert "A stored content" in page and "Not a text" in page and "in <a href" in page and "removed" in page
    assert "oid sha256" not in page


def test_merging_by_the_page(visitor, bob_browser, alice_browser, pull, model):
    assert "Merge it" not in text(bob_browser.get(f"{BASE}/1")) and "can be merged" in text(visitor.get(f"{BASE}/1"))
    assert "Only who may write" in said(bob_browser.post(f"{BASE}/1/merge", follow=True))
    page = said(alice_browser.post(f"{BASE}/1/merge", follow=True))
    assert "Merged into main" in page and "Merge it" not in page and branch_head(model)[:8] in page
    assert "+one" in text(visitor.get(f"{BASE}/1/files"))


@pytest.mark.parametrize(("keep", "kept"), [("ours", b"one\n2\n3\n"), ("theirs", b"uno\n2\n3\n")])
def test_a_conflict_is_solved_by_the_page(alice_browser, bob_browser, pull, model, alice, keep, kept):
    push(model, alice, {"t.txt": b"uno\n2\n3\n"})
    page = text(bob_browser.get(f"{BASE}/1"))
    assert "1 file in conflict with main" in page and "<code>t.txt</code>" in page and "Merge it" not in page
    assert "conflicts with main" in said(alice_browser.post(f"{BASE}/1/merge", follow=True))
    assert "holds all of main" in said(bob_browser.post(f"{BASE}/1/update", {"keep": keep}, follow=True))
    assert "Merged into main" in said(alice_browser.post(f"{BASE}/1/merge", follow=True))
    served = alice_browser.get("/alice/m/resolve/main/t.txt")
    assert b"".join(served.streaming_content) == kept


@pytest.mark.parametrize("tail", ["", "/1", "/1/files", "/1.diff", "/new"])
def test_outsiders_see_nothing_of_a_private_repository(bob_browser, pull, model, tail):
    model.private = True
    model.save()
    assert bob_browser.get(BASE + tail).status_code == 404


@pytest.mark.parametrize("tail", ["/2", "/0", "/9999999999", "/1/files", "/1.diff", "/1/comment/zz/edit", "/1/merge"])
def test_what_is_not_there(visitor, talk, tail):
    assert visitor.get(BASE + tail).status_code in (404, 302, 405)


def test_a_gate_hides_the_changes(bob_browser, visitor, pull, model):
    model.gated = "manual"
    model.save()
    assert visitor.get(f"{BASE}/1/files").status_code in (401, 403) and visitor.get(f"{BASE}/1.diff").status_code in (
        401,
        403,
    )
    assert "Files changed" not in text(visitor.get(f"{BASE}/1"))


def test_turned_off(visitor, talk, model):
    model.discussions_disabled = True
    model.save()
    answer = visitor.get(BASE)
    assert answer.status_code == 403 and "disabled" in answer.content.decode()


def test_forms_need_their_token(browser_of, bob, talk):
    strict = browser_of(bob, enforce_csrf_checks=True)
    assert strict.post(f"{BASE}/1/comment", {"comment": "x"}).status_code == 403


def test_datasets_have_it_too(visitor, alice):
    data = make_repository(alice, "d", RepoType.DATASET)
    services.open_discussion(Actor(alice), data, "About the rows", "x")
    assert "About the rows" in text(visitor.get("/datasets/alice/d/discussions"))
    assert "About the rows" in text(visitor.get("/datasets/alice/d/discussions/1"))


def test_attachments_in_comments(visitor, talk, bob):
    name = "0" * 32
    words = (
        f"![x](http://other.example/uploads/{name}.png)\n\nhttp://hub/uploads/{name}.mp4\n\n"
        f'<audio controls src="/uploads/{name}.mp3"></audio>\n\n![far](http://other.example/x.png)'
    )
    services.comment(Actor(bob), talk, words)
    page = text(visitor.get(f"{BASE}/1"))
    assert f'<img src="/uploads/{name}.png"' in page and f'src="/uploads/{name}.mp4"></video>' in page
    assert f'src="/uploads/{name}.mp3"></audio>' in page and '<img src="http' not in page
