"""Downloads: the headers which caches rely on, ranges, conditions, and what is missing (RFC 9110, hub-protocol §2.5)."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, push

DATA = bytes(range(256)) * 40
URL = "/alice/m/resolve/main/w.bin"


@pytest.fixture
def pushed(model, alice):
    push(
        model,
        alice,
        {"w.bin": DATA, "a.txt": b"hello", "page.html": b"<script>alert(1)</script>", "d/sp ace#.txt": b"x"},
    )
    return model


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_a_stored_content(anonymous, pushed):
    answer = anonymous.get(URL)
    assert answer.status_code == 200 and body(answer) == DATA
    assert answer["X-Repo-Commit"] == branch_head(pushed) and answer["X-Linked-Size"] == str(len(DATA))
    assert answer["X-Linked-Etag"] == answer["ETag"] and len(answer["ETag"]) == 66
    assert answer["Content-Length"] == str(len(DATA)) and answer["Accept-Ranges"] == "bytes"
    assert 'filename="w.bin"' in answer["Content-Disposition"]


def test_a_small_file(anonymous, pushed):
    answer = anonymous.get("/alice/m/resolve/main/a.txt")
    assert body(answer) == b"hello" and len(answer["ETag"]) == 42 and "X-Linked-Etag" not in answer


def test_head_tells_the_same_without_the_bytes(anonymous, pushed):
    head, get = anonymous.head(URL), anonymous.get(URL)
    assert head.content == b"" and head["Content-Length"] == str(len(DATA))
    for name in ("ETag", "X-Repo-Commit", "X-Linked-Size", "Content-Length"):
        assert head[name] == get[name]


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=10000-", 10000, len(DATA)), ("bytes=-5", len(DATA) - 5, len(DATA)),
     ("bytes=0-999999", 0, len(DATA)), ("bytes=-999999", 0, len(DATA))],
)  # fmt: skip
def test_ranges(anonymous, pushed, span, start, end):
    answer = anonymous.get(URL, headers={"Range": span})
    assert answer.status_code == 206 and body(answer) == DATA[start:end]
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}" and answer["Content-Length"] == str(
        end - start
    )


@pytest.mark.parametrize("span", ["bytes=5-2", "bytes=-", "items=0-1", "bytes=0-1,5-6", "nonsense", "bytes=a-b"])
def test_what_is_no_range_is_answered_whole(anonymous, pushed, span):
    answer = anonymous.get(URL, headers={"Range": span})
    assert answer.status_code == 200 and body(answer) == DATA


@pytest.mark.parametrize("span", [f"bytes={len(DATA)}-", "bytes=99999999-", "bytes=-0"])
def test_416(anonymous, pushed, span):
    answer = anonymous.get(URL, headers={"Range": span})
    assert answer.status_code == 416 and answer["Content-Range"] == f"bytes */{len(DATA)}"


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(DATA) + 50), st.integers(0, len(DATA) + 50))
def test_any_range_is_what_slicing_gives(anonymous, pushed, start, length):
    answer = anonymous.get(URL, headers={"Range": f"bytes={start}-{start + length}"})
    if start >= len(DATA):
        assert answer.status_code == 416
    else:
        assert body(answer) == DATA[start : start + length + 1]


def test_conditions(anonymous, pushed):
    etag = anonymous.head(URL)["ETag"]
    assert anonymous.get(URL, headers={"If-None-Match": etag}).status_code == 304
    assert anonymous.get(URL, headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304
    assert anonymous.get(URL, headers={"If-None-Match": '"x"'}).status_code == 200
    assert anonymous.get(URL, headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    assert anonymous.get(URL, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200


def test_missing_entries_name_the_commit(anonymous, pushed):
    for path in ("nope.bin", "d", "a.txt/x", "d/nope"):
        answer = anonymous.head(f"/alice/m/resolve/main/{path}")
        assert answer.status_code == 404 and answer["X-Error-Code"] == "EntryNotFound"
        assert answer["X-Repo-Commit"] == branch_head(pushed)
    assert anonymous.head("/alice/m/resolve/nope/a.txt")["X-Error-Code"] == "RevisionNotFound"
    assert anonymous.head("/alice/x/resolve/main/a.txt")["X-Error-Code"] == "RepoNotFound"


def test_odd_names_and_raw(anonymous, pushed):
    assert body(anonymous.get("/alice/m/resolve/main/d/sp%20ace%23.txt")) == b"x"
    assert body(anonymous.get("/alice/m/raw/main/w.bin")).startswith(b"version https://git-lfs")


def test_a_pushed_page_never_runs_on_our_origin(anonymous, pushed):
    answer = anonymous.get("/alice/m/resolve/main/page.html")
    assert answer["Content-Type"].startswith("text/plain") and "sandbox" in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_a_private_file_needs_the_right(alice, as_alice, as_bob, anonymous):
    make_repository(alice, "secret", private=True, files={"a.txt": b"s"})
    url = "/alice/secret/resolve/main/a.txt"
    assert anonymous.get(url).status_code == 401 and as_bob.get(url).status_code == 404
    assert body(as_alice.get(url)) == b"s"


def test_downloads_are_counted_once_a_file(anonymous, pushed):
    anonymous.head(URL)
    anonymous.get(URL, headers={"Range": "bytes=5-"})
    anonymous.get(URL)
    pushed.refresh_from_db()
    assert pushed.downloads == 1


def test_posting_to_a_file_is_refused(as_alice, pushed):
    assert as_alice.post(URL).status_code == 405


def test_accel_hands_over_to_nginx(anonymous, pushed, settings):
    settings.FILE_DELIVERY = "accel"
    answer = anonymous.get(URL)
    assert answer["X-Accel-Redirect"].startswith("/fithub-storage/blobs/") and answer["X-Repo-Commit"]


def test_resolving_costs_few_queries(anonymous, pushed, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        anonymous.head("/alice/m/resolve/main/d/sp%20ace%23.txt")


def test_head_is_the_default_branch(as_alice, alice):
    repository = make_repository(alice, "headed", files={"a.txt": b"a"})
    for path in (
        "/api/models/alice/headed/revision/HEAD",
        "/api/models/alice/headed/tree/HEAD",
        "/alice/headed/resolve/HEAD/a.txt",
    ):
        assert as_alice.get(path).status_code == 200, path
    sha = as_alice.get("/api/models/alice/headed/revision/HEAD").json()["sha"]
    assert sha == branch_head(repository)
