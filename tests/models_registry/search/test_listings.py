"""Listings: filters, orders, cursors, who sees what; and that no query reads the whole table."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.accounts.models import Membership
from models_registry.accounts.services import create_organization
from models_registry.errors import BadRequest
from models_registry.repos.models import Repository, RepoType
from models_registry.search import listings
from models_registry.search.listings import Filters, count_repositories, find_repositories, read_amounts
from tests.factories import make_repository

pytestmark = pytest.mark.django_db
CARD = "---\nlicense: %s\ntags: [%s]\n---\n# %s\nSome words of the card.\n"


def names(actor=ANONYMOUS, kind=RepoType.MODEL, limit=50, cursor="", **filters):
    return [row.name for row in find_repositories(actor, kind, Filters(**filters), limit, cursor).rows]


def make(owner, name, license="mit", tag="vision", **options):
    return make_repository(owner, name, files={"README.md": (CARD % (license, tag, name)).encode()}, **options)


@pytest.fixture(params=["few", "many"])
def strategy(request, monkeypatch):
    """Every filter is answered in both ways: by its own index, and by walking the order's."""
    if request.param == "many":
        monkeypatch.setattr(listings, "FEW", -1)
    return request.param


@pytest.fixture
def shelf(alice, bob):
    make(alice, "distilbert-tiny")
    make(alice, "t5-small", "apache-2.0", "text")
    make(bob, "bert-base")
    make(bob, "hidden-bert", private=True)
    make_repository(alice, "bert-rows", RepoType.DATASET)


FOUND = [
        ({}, ["bert-base", "t5-small", "distilbert-tiny"]),
        ({"search": ("bert",)}, ["bert-base", "distilbert-tiny"]),
        ({"search": ("BERT tiny",)}, ["distilbert-tiny"]), ({"search": ("bert", "base")}, ["bert-base"]),
        ({"search": ("alice/t5",)}, ["t5-small"]), ({"search": ("t5",)}, ["t5-small"]), ({"search": ("5",)}, []),
        ({"search": ("words",)}, ["bert-base", "t5-small", "distilbert-tiny"]), ({"search": ("license:apa",)}, ["t5-small"]),
        ({"search": ('"%_',)}, []), ({"search": ("hidden",)}, []),
        ({"author": "ALICE"}, ["t5-small", "distilbert-tiny"]), ({"author": "nobody"}, []),
        ({"tags": ("license:mit",)}, ["bert-base", "distilbert-tiny"]), ({"tags": ("license:mit", "text")}, []),
        ({"author": "bob", "tags": ("vision",), "search": ("base",)}, ["bert-base"]),
        ({"gated": True}, []), ({"gated": False, "author": "bob"}, ["bert-base"]), ({"nothing": True}, []),
        ({"parameters": (10, 20)}, ["bert-base"]), ({"parameters": (None, 5)}, []), ({"linked": True}, []),
        ({"sort": "createdAt"}, ["bert-base", "t5-small", "distilbert-tiny"]),
        ({"sort": "downloads"}, ["t5-small", "bert-base", "distilbert-tiny"]),
        ({"sort": "likes", "search": ("bert",)}, ["distilbert-tiny", "bert-base"]),
]  # fmt: skip


def test_filters_and_orders(shelf, strategy):
    Repository.objects.filter(name="t5-small").update(downloads=5)
    Repository.objects.filter(name="distilbert-tiny").update(likes=5)
    Repository.objects.filter(name="bert-base").update(num_parameters=15)
    for filters, found in FOUND:
        assert names(**filters) == found, filters
        assert count_repositories(ANONYMOUS, RepoType.MODEL, Filters(**filters)) == len(found), filters


def test_private_ones_are_for_those_who_may_see_them(shelf, strategy, alice, bob, django_user_model):
    assert names(Actor(bob), search=("bert",)) == ["hidden-bert", "bert-base", "distilbert-tiny"]
    assert names(Actor(alice), search=("bert",)) == names(search=("bert",)) == ["bert-base", "distilbert-tiny"]
    admin = django_user_model.objects.create_superuser("root", password="x" * 12)
    assert "hidden-bert" in names(Actor(admin))
    team = create_organization("team", bob)
    Membership.objects.create(namespace=team, user=alice, role="read")
    Repository.objects.filter(name="hidden-bert").update(namespace=team)
    assert "hidden-bert" in names(Actor(alice)) and "hidden-bert" in names(Actor(alice), search=("hidden",))


@pytest.mark.parametrize("sort", ["lastModified", "createdAt", "downloads", "likes", "trendingScore"])
@pytest.mark.parametrize("filters", [{}, {"tags": ("license:mit",)}])
def test_pages_hold_every_row_once_whatever_is_pushed_meanwhile(alice, strategy, sort, filters):
    for number in range(7):
        make(alice, f"m{number}", private=number == 3)
    actor, seen, cursor = Actor(alice), [], ""
    while True:
        page = find_repositories(actor, RepoType.MODEL, Filters(sort=sort, **filters), 2, cursor)
        seen += [row.name for row in page.rows]
        if page.next is None:
            break
        cursor = page.next
        if len(seen) == 2:
            make(alice, "newer")
            Repository.objects.filter(name="newer").update(downloads=9, likes=9, trending=9e9)
    assert [name for name in seen if name != "newer"] == [f"m{number}" for number in reversed(range(7))]


def test_cursors_can_not_be_made_up_or_moved(alice, anonymous):
    for number in range(3):
        make_repository(alice, f"m{number}")
    page = anonymous.get("/api/models?limit=1&sort=likes")
    cursor = re.search(r"cursor=([^>]+)>", page["Link"])[1]
    assert anonymous.get(f"/api/models?limit=1&sort=likes&cursor={cursor}").json()[0]["id"] == "alice/m1"
    for bad in (
        f"sort=downloads&cursor={cursor}",
        f"sort=likes&cursor={cursor}x",
        f"sort=likes&cursor=x{cursor}",
        "cursor=0",
        "cursor=e30.x",
    ):
        answer = anonymous.get(f"/api/models?{bad}")
        assert answer.status_code == 400 and "cursor" in answer.json()["error"], bad
    assert anonymous.get(f"/api/datasets?sort=likes&cursor={cursor}").status_code == 400


@pytest.mark.parametrize("text", ["6B", "min:", "min:x", "min:1,min:2", "max:-1", "min:6B;max:7B", "min:1e9"])
def test_amounts_which_are_not_understood(text):
    with pytest.raises(BadRequest, match="min:6B,max:128B"):
        read_amounts(text)


def test_amounts():
    assert read_amounts("min:6B,max:128B") == (6 * 10**9, 128 * 10**9)
    assert read_amounts("max:1.5k") == (None, 1500) and read_amounts("min:999999999999999T") == (2**62, None)


def test_a_search_follows_the_card_and_the_name(shelf, alice):
    from tests.factories import push

    row = Repository.objects.get(name="t5-small")
    push(row, alice, {"README.md": b"# T\nA zebra."})
    assert names(search=("zebra",)) == ["t5-small"] and "t5-small" not in names(search=("words",))
    row.delete()
    assert names(search=("zebra",)) == []


# --- no query reads the whole table -------------------------------------------------------------------------------
ASKED = [
    {}, {"sort": "createdAt"}, {"sort": "downloads"}, {"sort": "likes"}, {"sort": "trendingScore"},
    {"author": "alice"}, {"author": "alice", "sort": "likes"}, {"tags": ("license:mit",)}, {"tags": ("license:mit", "vision"), "sort": "likes"},
    {"search": ("bert",)}, {"search": ("bert", "t5"), "sort": "downloads"}, {"parameters": (1, 20)}, {"pipeline_tag": "x"}, {"gated": True},
]  # fmt: skip


@pytest.mark.parametrize("who", ["anonymous", "bob", "root"])
def test_plans_use_indexes(shelf, strategy, who, bob, django_user_model):
    actor = {"anonymous": ANONYMOUS, "bob": Actor(bob)}.get(who) or Actor(
        django_user_model.objects.create_superuser("root")
    )
    with CaptureQueriesContext(connection) as captured:
        for filters in ASKED:
            page = find_repositories(actor, RepoType.MODEL, Filters(**filters), 1)
            find_repositories(actor, RepoType.MODEL, Filters(**filters), 1, page.next or "")
            count_repositories(actor, RepoType.MODEL, Filters(**filters))
    if connection.vendor != "sqlite":
        return  # that they run is what is asked of PostgreSQL: its planner reads so few rows whole, and is right
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"].replace("%", "%%"))
            plan = [row[3] for row in cursor.fetchall()]
        # "SCAN … USING INDEX" only walks the index of an order, and stops at LIMIT; a bare SCAN reads all rows.
        bare = [
            step
            for step in plan
            if re.match(r"SCAN repos_repository(?! USING)|SCAN (repos_repositorytag|search_searchtext|accounts_)", step)
        ]
        assert not bare, (query["sql"], plan)
        if strategy == "many" and 'ORDER BY "repos_repository' in query["sql"]:
            assert who == "bob" or "USE TEMP B-TREE FOR ORDER BY" not in plan, (query["sql"], plan)
            assert any("USING INDEX" in step and "repos_repository" in step for step in plan), plan


def test_query_counts_do_not_grow(shelf, alice, django_assert_max_num_queries):
    for number in range(12):
        make(alice, f"bert-t5-{number}")
    for filters in ASKED:
        with django_assert_max_num_queries(5):
            find_repositories(Actor(alice), RepoType.MODEL, Filters(**filters), 50)
