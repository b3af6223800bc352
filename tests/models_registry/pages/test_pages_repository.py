"""A repository's page, its files and its history."""

import io
import json
import re

import pytest
from django.core.cache import cache

from models_registry.accounts.actors import Actor
from models_registry.datasets.services import record_rows
from models_registry.pages.views import files as file_pages
from models_registry.repos.entries import entry_at
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import create_branch
from models_registry.scanning.services import record_scan
from tests import factories

EVIL = "<script>alert(1)</script>"
PAGES = ("", "/tree/main", "/blob/main/.gitattributes", "/commits/main", "/jobs", "/progress")


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


@pytest.mark.parametrize("kind", [RepoType.MODEL, RepoType.DATASET])
def test_every_page_answers_its_owner_and_hides_what_is_private(kind, visitor, bob_browser, alice_browser, alice):
    repository = factories.make_repository(alice, "hidden", kind, private=True, files={"data.csv": b"a,b\n1,2\n"})
    sha = branch_head(repository)
    for page in (*PAGES, f"/commit/{sha}", "/blob/main/data.csv"):
        url = f"/{repository.path}{page}"
        assert alice_browser.get(url).status_code == 200, url
        for client in (visitor, bob_browser):
            refused = client.get(url)
            assert refused.status_code == 404, url
            assert "There is no such repository" in refused.content.decode()
            assert "initial commit" not in refused.content.decode()


def test_what_is_private_looks_like_what_is_missing(bob_browser, alice):
    factories.make_repository(alice, "is-there", private=True)
    there, missing = (bob_browser.get(f"/alice/{name}").content.decode() for name in ("is-there", "is-not-there"))
    secret = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
    assert secret.sub("", there).replace("is-there", "is-not-there") == secret.sub("", missing)


def test_a_card_is_shown_and_does_nothing(visitor, alice):
    words = f"{EVIL}\n[x](javascript:alert(1)) <img src=x onerror=alert(1)> <p onclick=alert(1)>hi</p>"
    card = f"---\nlicense: mit\ntags: ['{EVIL}']\n---\n# Title\n\n{words}\n"
    factories.make_repository(alice, "m", files={"README.md": card.encode()})
    page = visitor.get("/alice/m").content.decode()
    shown = page.partition('<div class="panel card">')[2].partition("</section>")[0]
    assert "Title</h1>" in shown and "<p>hi</p>" in shown
    assert "<script" not in shown.partition("</div>")[0]
    assert '="javascript:' not in shown and "onerror" not in shown and "onclick" not in shown
    assert EVIL not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page  # the tag, as text
    assert "script-src 'self'" in visitor.get("/alice/m")["Content-Security-Policy"]


def test_names_titles_and_contents_are_text(visitor, alice):
    name = "<img src=x onerror=alert(1)>.txt"
    repository = factories.make_repository(alice, "m")
    sha = factories.push(repository, alice, {name: EVIL.encode()}, title=f"Add {EVIL}")
    for page in ("", "/tree/main", f"/blob/main/{name}", "/commits/main", f"/commit/{sha}"):
        answer = visitor.get(f"/alice/m{page}")
        assert answer.status_code == 200
        assert EVIL not in answer.content.decode() and "<img src=x" not in answer.content.decode(), page
    assert "&lt;script&gt;" in visitor.get(f"/alice/m/blob/main/{name}").content.decode()


def test_no_page_has_a_script_of_its_own(visitor, alice):
    factories.make_repository(alice, "m", files={"README.md": b"# hi"})
    for url in ("/", "/models", "/login", "/alice", "/alice/m", "/alice/m/tree/main"):
        page = visitor.get(url).content.decode()
        assert page.count("<script") == page.count("<script src=") and " onclick=" not in page, url


def test_paths_with_special_characters_lead_where_they_should(visitor, alice):
    name = "a#b?c%20d&é.txt"
    factories.make_repository(alice, "m", files={name: b"odd", f"sub/{name}": b"deeper"})
    page = visitor.get("/alice/m/tree/main").content.decode()
    link = "/alice/m/blob/main/a%23b%3Fc%2520d%26%C3%A9.txt"
    assert f'href="{link}"' in page
    assert "odd" in visitor.get(link).content.decode()
    assert visitor.get(link.replace("/blob/main/", "/blob/main/sub/")).status_code == 200


def test_a_branch_with_a_slash_keeps_its_name(visitor, alice):
    repository = factories.make_repository(alice, "m", files={"deep/er/x.txt": b"x"})
    create_branch(Actor(alice), repository, "dev/new")
    page = visitor.get("/alice/m/tree/dev/new/deep").content.decode()
    assert 'href="/alice/m/tree/dev/new/deep/er"' in page and 'href="/alice/m/tree/dev/new"' in page
    assert 'aria-current="true">dev/new</a>' in page
    assert visitor.get("/alice/m/tree/dev/new/deep/er/x.txt")["Location"] == "/alice/m/blob/dev/new/deep/er/x.txt"
    assert visitor.get("/alice/m/blob/dev/new/deep")["Location"] == "/alice/m/tree/dev/new/deep"


@pytest.mark.parametrize(
    "page", ["/tree/nope", "/blob/main/nope.txt", "/tree/main/nope", "/commits/nope", "/commit/abcdef0"]
)
def test_what_is_not_there_is_said(page, visitor, model):
    answer = visitor.get(f"/alice/m{page}")
    assert answer.status_code == 404 and "This is not here" in answer.content.decode()


def test_a_folder_says_who_changed_what_last(visitor, alice):
    repository = factories.make_repository(alice, "m", files={"a.txt": b"1", "sub/b.txt": b"2"})
    sha = factories.push(repository, alice, {"sub/b.txt": b"two and a half"}, title="Change the second")
    page = visitor.get("/alice/m/tree/main").content.decode()
    assert page.index("sub<") < page.index("a.txt")
    assert f'href="/alice/m/commit/{sha}">Change the second' in page and "Add files" in page
    assert "14 B" in visitor.get("/alice/m/tree/main/sub").content.decode()


def test_long_folders_come_in_pages(visitor, alice, monkeypatch):
    monkeypatch.setattr(file_pages, "FILES_A_PAGE", 3)
    factories.make_repository(alice, "m", files={f"f{number}.txt": b"x" for number in range(6)})
    first, last = (visitor.get(f"/alice/m/tree/main?page={page}").content.decode() for page in (1, 3))
    assert "Page 1 of 3" in first and "f5.txt" not in first
    assert "f5.txt" in last and 'rel="next"' not in last


def test_more_files_and_more_commits_ask_no_more_queries(visitor, alice, django_assert_max_num_queries):
    repository = factories.make_repository(alice, "m")
    for number in range(15):
        factories.push(repository, alice, {f"sub/f{number}.txt": b"x%d" % number})
    for page, most in {
        "": 26,
        "/tree/main": 13,
        "/tree/main/sub": 14,
        "/blob/main/sub/f0.txt": 17,
        "/commits/main": 7,
    }.items():
        with django_assert_max_num_queries(most):
            assert visitor.get(f"/alice/m{page}").status_code == 200


def test_a_file_page_previews_text_and_says_what_is_binary(visitor, alice):
    big = b"line\n" * 60_000
    repository = factories.make_repository(
        alice, "m", files={"a.py": b"print('<hi>')\n", "big.txt": big, "w.bin": b"\0\1\2", "latin.txt": b"\xff\xfe\x00"}
    )
    page = visitor.get("/alice/m/blob/main/a.py").content.decode()
    assert "print(&#x27;&lt;hi&gt;&#x27;)" in page and 'href="/alice/m/resolve/main/a.py"' in page
    oid = entry_at(repository, branch_head(repository), "a.py").oid
    assert oid in page
    cut = visitor.get("/alice/m/blob/main/big.txt").content.decode()
    assert "The first 200 KB of 300 KB" in cut and len(cut) < 230_000
    pointer = visitor.get("/alice/m/blob/main/w.bin").content.decode()
    assert "This file is binary" in pointer and "pointer of" in pointer and "Not scanned yet" in pointer
    assert "This file is binary" in visitor.get("/alice/m/blob/main/latin.txt").content.decode()


def test_a_stored_text_is_previewed_from_its_first_bytes(visitor, alice, monkeypatch):
    monkeypatch.setattr(file_pages, "_TEXTS", (".bin",))
    monkeypatch.setattr(file_pages, "PREVIEW_BYTES", 5)
    factories.make_repository(alice, "m", files={"t.bin": "ab€€".encode()})
    page = visitor.get("/alice/m/blob/main/t.bin").content.decode()
    assert ">ab€</pre>" in page


def test_the_scans_verdict_stands_at_the_file(visitor, alice):
    repository = factories.make_repository(alice, "m", files={"w.pkl": b"\x80\x04."})
    sha256 = entry_at(repository, branch_head(repository), "w.pkl").sha256
    record_scan(sha256, "unsafe", f"Loading it would run posix.system {EVIL}.", ["posix.system"])
    assert 'class="badge unsafe"' in visitor.get("/alice/m/tree/main").content.decode()
    page = visitor.get("/alice/m/blob/main/w.pkl").content.decode()
    assert "Loading it would run posix.system" in page and "<code>posix.system</code>" in page and EVIL not in page


def test_a_commit_says_what_changed(visitor, alice):
    from models_registry.repos.commits import AddFile, Delete, commit

    repository = factories.make_repository(alice, "m", files={"keep.txt": b"1", "drop.txt": b"2", "grow.txt": b"3"})
    operations = [AddFile("new.txt", b"4"), AddFile("grow.txt", b"33"), Delete("drop.txt")]
    sha = commit(Actor(alice), repository, "main", operations, "Move on", "With a longer\ndescription")
    page = visitor.get(f"/alice/m/commit/{sha[:10]}").content.decode()
    assert "1 added, 1 changed, 1 removed" in page and "With a longer" in page
    assert "new.txt" in page and "drop.txt" in page and "1 B → 2 B" in page and "keep.txt" not in page


def test_history_comes_in_pages(visitor, alice, monkeypatch):
    from models_registry.pages.views import history

    monkeypatch.setattr(history, "COMMITS_A_PAGE", 2)
    repository = factories.make_repository(alice, "m")
    for number in range(4):
        factories.push(repository, alice, {"a.txt": b"%d" % number}, title=f"change {number}")
    page = visitor.get("/alice/m/commits/main?page=2").content.decode()
    assert "change 1" in page and "change 0" in page and "change 3" not in page and "Page 2 of 3" in page


@pytest.fixture
def dataset(alice):
    files = {"a.csv": b"n,t\n1,x\n", "b.jsonl": json.dumps({"q": 1}).encode(), "README.md": b"# Rows"}
    return factories.make_repository(alice, "d", RepoType.DATASET, files=files)


def test_a_datasets_page_shows_rows_waits_and_says_errors(visitor, dataset):
    url = "/datasets/alice/d"
    assert "have not been read yet" in visitor.get(url).content.decode()
    head = branch_head(dataset)
    columns = [{"name": "n", "type": "int64"}, {"name": EVIL, "type": "string"}]
    read = {"format": "csv", "columns": columns, "rows": [[1, EVIL], [None, "y"]], "num_rows": 7000, "truncated": True}
    record_rows(entry_at(dataset, head, "a.csv").oid, read)
    record_rows(entry_at(dataset, head, "b.jsonl").oid, {"error": "It is cut off in the middle."})
    page = visitor.get(url).content.decode()
    assert (
        "2 of 7,000 rows" in page and '<td class="number">1</td>' in page and '<span class="null">null</span>' in page
    )
    assert EVIL not in page and "&lt;script&gt;" in page
    assert "It is cut off in the middle." in visitor.get(f"{url}?file=b.jsonl").content.decode()
    assert "2 of 7,000 rows" in visitor.get(f"{url}?file=/etc/passwd").content.decode()


def test_an_empty_repository_tells_its_owner_how_to_push(visitor, alice_browser, model):
    assert "hf upload alice/m ." in alice_browser.get("/alice/m").content.decode()
    assert "hf upload" not in visitor.get("/alice/m").content.decode()


def test_a_picture_is_shown(visitor, alice):
    factories.make_repository(alice, "m", files={"p.png": io.BytesIO(b"\x89PNG\r\n").getvalue()})
    assert '<img src="/alice/m/resolve/main/p.png"' in visitor.get("/alice/m/blob/main/p.png").content.decode()
