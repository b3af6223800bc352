"""How often tags are used, facets, and what is wanted now."""

import time

import pytest

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import delete_repository
from models_registry.search import trending
from models_registry.search.facets import facets_of
from models_registry.search.models import TagUse
from models_registry.search.tag_uses import tags_by_type
from tests.factories import make_repository, push

pytestmark = pytest.mark.django_db
CARD = b"---\nlicense: mit\nlanguage: en\ntags: [tiny]\npipeline_tag: fill-mask\n---\n"


def uses(tag):
    row = TagUse.objects.filter(type="model", tag=tag).first()
    return row.uses if row else 0


def test_uses_follow_cards_visibility_and_deletion(alice):
    model = make_repository(alice, "m", files={"README.md": CARD})
    other = make_repository(alice, "n", files={"README.md": CARD}, private=True)
    assert uses("tiny") == uses("license:mit") == 1
    push(other, alice, {"README.md": b"---\nlicense: mit\n---\n"})
    push(model, alice, {"README.md": b"---\nlicense: mit\n---\n"})
    assert (uses("tiny"), uses("license:mit")) == (0, 1)
    delete_repository(Actor(alice), model)
    assert uses("license:mit") == 0
    assert tags_by_type(RepoType.MODEL) == {}


def test_uses_follow_visibility(alice, as_alice):
    make_repository(alice, "m", files={"README.md": CARD})
    put = {"path": "/api/models/alice/m/settings", "content_type": "application/json"}
    as_alice.put(data='{"private": true}', **put)
    assert uses("tiny") == 0
    as_alice.put(data='{"private": true}', **put)
    as_alice.put(data='{"private": false}', **put)
    assert uses("tiny") == 1


def test_tags_have_their_type(alice, anonymous):
    make_repository(alice, "m", files={"README.md": CARD, "config.json": b'{"model_type": "bert"}'})
    found = anonymous.get("/api/models-tags-by-type").json()
    assert found["license"] == [{"id": "license:mit", "label": "mit", "type": "license"}]
    assert found["pipeline_tag"][0]["id"] == "fill-mask" and found["language"][0]["id"] == "en"
    assert {row["id"] for row in found["other"]} == {"tiny", "bert"} and found["library"][0]["id"] == "transformers"


def test_facets_are_counted_among_what_was_found(alice, bob):
    first = make_repository(alice, "m", files={"README.md": CARD})
    make_repository(alice, "n", files={"README.md": CARD})
    secret = make_repository(bob, "s", files={"README.md": CARD}, private=True)
    everywhere = {group.title: group.tags for group in facets_of(ANONYMOUS, RepoType.MODEL, None)}
    assert everywhere["Tasks"] == [("fill-mask", "fill-mask", 2)] and everywhere["Licenses"] == [
        ("license:mit", "mit", 2)
    ]
    among = {group.title: group.tags for group in facets_of(ANONYMOUS, RepoType.MODEL, [first.pk, secret.pk])}
    assert among["Languages"] == [("en", "en", 1)]


def test_trending_counts_what_is_recent(model):
    def now(days=0.0):
        model.refresh_from_db()
        return trending.score(model.trending, time.time() + days * 86400)

    assert now() == 0
    for _ in range(6):
        trending.note(model.pk, trending.DOWNLOAD)
    assert now() == 6
    trending.note(model.pk, trending.LIKE, likes=1)
    assert now() == 16 and now(7) == 8 and now(14) == 4 and now(365) == 0
    assert model.likes == 1


def test_a_download_is_wanted_now(as_alice, alice, model):
    push(model, alice, {"a.txt": b"x"})
    as_alice.get("/alice/m/resolve/main/a.txt")
    assert as_alice.get("/api/models/alice/m?expand=trendingScore&expand=downloads").json()["trendingScore"] == 1
    assert Repository.objects.get(pk=model.pk).downloads == 1
