"""Used bytes: of a repository, its refs and its owner; shared bytes apart, and only with what the reader may see."""

import os

from hypothesis import given
from hypothesis import strategies as st

from models_registry.accounts.actors import Actor
from models_registry.repos.models import Repository
from models_registry.repos.services import create_branch, update_settings
from models_registry.upkeep import usage as usage_room
from models_registry.upkeep.usage import usage_of
from models_registry.xet.models import Xorb
from tests.factories import api_commit, make_repository, push
from tests.models_registry.xet.test_cas import FILES, send, send_shard, token_of


def test_whole_contents_are_told_apart(alice, model):
    push(model, alice, {"a.bin": b"a" * 100, "b.bin": b"b" * 10})
    create_branch(Actor(alice), model, "side")
    push(model, alice, {"c.bin": b"c" * 1000}, branch="side")
    push(model, alice, {"d.bin": b"d" * 7}, branch="main")
    make_repository(alice, "other", files={"x.bin": b"a" * 100})
    usage = usage_of(Actor(alice), model)
    assert (usage.files, usage.size_bytes, usage.stored_bytes) == (4, 1117, 1117)
    assert (usage.shared_bytes, usage.own_bytes) == (100, 1017)
    refs = {ref.name: (ref.files, ref.size_bytes, ref.own_bytes) for ref in usage.refs}
    assert refs == {"refs/heads/main": (3, 117, 7), "refs/heads/side": (3, 1110, 1000)}


def test_old_versions_count_to_their_ref(alice, model):
    push(model, alice, {"a.bin": b"1" * 50})
    push(model, alice, {"a.bin": b"2" * 60})
    [ref] = usage_of(Actor(alice), model).refs
    assert (ref.files, ref.size_bytes) == (2, 110)


def test_chunks_count_once_and_packed(anonymous, as_alice, alice, model):
    headers = token_of(as_alice)
    send(anonymous, headers)
    send_shard(anonymous, headers)
    usage = usage_of(Actor(alice), model)
    assert usage.size_bytes == sum(file.size_bytes for file in FILES)
    assert 0 < usage.stored_bytes <= Xorb.objects.get().size_bytes and usage.shared_bytes == 0
    other = make_repository(alice, "other")
    send_shard(anonymous, token_of(as_alice, name="alice/other"))
    usage = usage_of(Actor(alice), model)
    assert usage.shared_bytes == usage.stored_bytes and usage.own_bytes == 0
    assert usage_of(Actor(alice), other).shared_bytes == usage.stored_bytes


def test_what_a_stranger_keeps_in_private_is_not_told(alice, bob, as_bob, model):
    secret = os.urandom(500)
    hidden = make_repository(alice, "hidden", private=True, files={"s.bin": secret})
    guess = make_repository(bob, "guess", files={"s.bin": secret})
    assert usage_of(Actor(bob), guess).shared_bytes == 0
    assert usage_of(Actor(alice), hidden).shared_bytes == 500, "bob's is public"
    update_settings(Actor(alice), hidden, private=False)
    assert as_bob.get("/api/models/bob/guess/storage").json()["shared"] == 500


def test_over_the_api(as_alice, as_bob, alice, anonymous, model):
    push(model, alice, {"a.bin": b"a" * 100})
    answer = as_alice.get("/api/models/alice/m/storage").json()
    assert answer["files"] == 1 and answer["own"] == 100 and answer["refs"][0]["ref"] == "refs/heads/main"
    assert as_bob.get("/api/models/alice/m/storage").status_code == 403
    assert anonymous.get("/api/models/alice/m/storage").status_code == 401
    as_alice.post("/api/buckets/alice/b", {}, content_type="application/json")
    assert as_alice.get("/api/buckets/alice/b/storage").json()["refs"] == []
    owner = as_alice.get("/api/storage/alice").json()
    assert owner["public"] == {"used": 100, "limit": None} and owner["private"]["used"] == 0
    assert owner["repositories"][0] == {"id": "alice/m", "type": "model", "private": False, "size": 100}
    assert as_bob.get("/api/storage/alice").status_code == 403
    assert as_bob.get("/api/storage/nobody").status_code == 404


def test_pages(alice_browser, bob_browser, visitor, alice, model):
    push(model, alice, {"a.bin": b"a" * 100})
    alice.namespace.public_quota_bytes = 200
    alice.namespace.save()
    page = alice_browser.get("/alice/m/settings/storage").content.decode()
    assert "refs/heads/main" in page and "100 B" in page
    assert "of 200 B" in alice_browser.get("/settings/storage").content.decode()
    assert b"settings/storage" in alice_browser.get("/alice/m/settings").content
    assert bob_browser.get("/alice/m/settings/storage").status_code == 403
    assert bob_browser.get("/organizations/alice/storage").status_code == 403
    assert visitor.get("/settings/storage").status_code == 302
    Repository.objects.update(private=True)
    assert bob_browser.get("/alice/m/settings/storage").status_code == 404


def test_a_commit_by_the_api_counts(as_alice, alice, model):
    content = {"path": "t.txt", "content": "aGk=", "encoding": "base64"}
    assert api_commit(as_alice, model, {"key": "file", "value": content}).status_code == 200
    assert usage_of(Actor(alice), model).size_bytes == 0, "small files lie in git"


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8),
)
def test_runs_of_chunks_are_what_sets_of_them_are(one, other):
    def numbers(runs):
        return {number for start, end in runs for number in range(start, end)}

    first, second = ([(start, start + length) for start, length in rows] for rows in (one, other))
    merged = [usage_room._merged(first), usage_room._merged(second)]
    assert [numbers(runs) for runs in merged] == [numbers(first), numbers(second)]
    both = list(usage_room._in_both(*merged))
    assert numbers(both) == numbers(first) & numbers(second)
    assert sum(end - start for start, end in both) == len(numbers(both)), "each once"
