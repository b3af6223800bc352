"""Home, listings, and what one owner has."""

import re

import pytest
from django.test import Client

from models_registry.accounts.services import create_organization
from models_registry.pages.views.home import ROWS_A_PAGE
from models_registry.repos.models import Repository, RepoType
from tests import factories

CARD = b"---\nlicense: mit\npipeline_tag: image-classification\ntags: [%s]\n---\n# A card\nReads digits from scans.\n"


def test_home_shows_the_newest_and_what_the_hub_is(visitor, alice):
    factories.make_repository(alice, "reader", files={"README.md": CARD % b"digits"})
    factories.make_repository(alice, "scans", RepoType.DATASET)
    page = visitor.get("/").content.decode()
    assert "FitHub is an open hub" in page
    assert 'href="/alice/reader"' in page and "Reads digits from scans." in page
    assert 'href="/datasets/alice/scans"' in page


def test_private_repositories_are_in_no_list_of_others(visitor, alice_browser, bob_browser, alice):
    factories.make_repository(alice, "secret-thing", private=True, files={"README.md": CARD % b"hidden-tag"})
    for url in ("/", "/models", "/alice", "/models?q=secret-thing"):
        for client in (visitor, bob_browser):
            page = client.get(url).content.decode()
            assert "/alice/secret-thing" not in page and "hidden-tag" not in page, url
        assert "/alice/secret-thing" in alice_browser.get(url).content.decode()


def test_listing_filters_by_words_tag_task_and_author(visitor, alice, bob):
    factories.make_repository(alice, "one", files={"README.md": CARD % b"digits"})
    factories.make_repository(bob, "two", files={"README.md": b"---\ntags: [speech]\n---\nHears words.\n"})
    for query, found in {"q=digits": "one", "q=hears": "two", "tag=speech": "two", "author=bob": "two"}.items():
        page = visitor.get(f"/models?{query}").content.decode()
        other = {"one": "bob/two", "two": "alice/one"}[found]
        assert f"/{found}" in page and other not in page, query
    page = visitor.get("/models?task=image-classification&tag=digits").content.decode()
    assert "/alice/one" in page and "bob/two" not in page
    assert "Remove the filter digits" in page and 'href="/models?task=image-classification"' in page


@pytest.mark.django_db
def test_a_listing_without_a_match_says_what_to_do(visitor):
    assert "Nothing matches" in visitor.get("/models?q=nothing-like-this").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "status"), [("sort=sideways", 400), ("q=%00", 400), ("page=abc", 200), ("page=999", 200)]
)
def test_odd_parameters_are_a_sentence_or_a_page(visitor, query, status):
    assert visitor.get(f"/models?{query}").status_code == status


def test_pages_of_a_listing_keep_its_filters(visitor, alice):
    for number in range(ROWS_A_PAGE + 2):
        factories.make_repository(alice, f"model-{number:02}")
    first = visitor.get("/models?q=model").content.decode()
    assert first.count('class="row-link"') == ROWS_A_PAGE
    assert "First page" not in first and f"{ROWS_A_PAGE + 2}</span>" in first
    following = re.search(r'href="(/models\?q=model&amp;cursor=[^"]+)" rel="next"', first)[1].replace("&amp;", "&")
    second = visitor.get(following).content.decode()
    assert second.count('class="row-link"') == 2 and 'href="/models?q=model">First page' in second


def test_a_listing_is_narrowed_by_size_and_by_tags_in_groups(visitor, alice):
    small = factories.make_repository(alice, "small", files={"README.md": b"---\ntags: [tiny]\n---\n"})
    factories.make_repository(alice, "plain")
    Repository.objects.filter(pk=small.pk).update(num_parameters=22_700_000)
    page = visitor.get("/models?size=max:100M").content.decode()
    assert page.count('class="row-link"') == 1 and "22.7M" in page and "<summary>Other tags</summary>" in page
    assert 'href="/models?size=max%3A100M&amp;tag=tiny"' in page
    assert visitor.get("/models?size=huge").status_code == visitor.get("/models?cursor=x").status_code == 400


@pytest.mark.parametrize("url", ["/", "/models", "/alice"])
def test_more_rows_ask_no_more_queries(url, alice, django_assert_max_num_queries):
    client = Client(headers={"accept": "text/html"})
    for number in range(12):
        factories.make_repository(alice, f"m{number}", files={"README.md": CARD % f"t{number}, u, v, w, x, y".encode()})
    with django_assert_max_num_queries(11):
        client.get(url)


def test_owner_pages_show_people_and_organisations(visitor, alice):
    organisation = create_organization("lab", alice, "The Lab")
    factories.make_repository(alice, "mine")
    page = visitor.get("/lab").content.decode()
    assert "Organisation" in page and "The Lab" in page and 'href="/alice"' in page
    assert organisation.name == "lab" and "alice/mine" not in page
    assert "/alice/mine" in visitor.get("/ALICE").content.decode()
    missing = visitor.get("/nobody-here")
    assert missing.status_code == 404 and "There is no user or organisation" in missing.content.decode()


@pytest.mark.django_db
def test_an_unknown_address_is_a_page(visitor):
    answer = visitor.get("/alice/m/no-such-page/at-all")
    assert answer.status_code == 404 and "There is no such page" in answer.content.decode()
