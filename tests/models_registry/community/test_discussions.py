"""Acts on discussions: numbers, rights, comments, statuses, signals, limits."""

import pytest

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.community.discussions import events, services
from models_registry.community.discussions.models import Discussion, Event
from models_registry.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from models_registry.repos.services import delete_repository
from tests.factories import make_repository


@pytest.fixture
def talk(model, bob):
    """A discussion of bob's on alice's model."""
    return services.open_discussion(Actor(bob), model, "A question", "What is *this*?")


def statuses(discussion):
    return [event.data["status"] for event in services.events_of(discussion) if event.kind == "status-change"]


def test_numbers_count_up_for_each_repository(model, alice, bob):
    other = make_repository(alice, "other")
    made = [services.open_discussion(Actor(bob), model, f"Title {n}", "words") for n in range(3)]
    assert [row.number for row in made] == [1, 2, 3]
    assert services.open_discussion(Actor(bob), other, "Title", "words").number == 1


def test_who_may_open(model, alice, bob):
    with pytest.raises(Unauthorized):
        services.open_discussion(ANONYMOUS, model, "Title", "words")
    services.open_discussion(Actor(bob), model, "Title", "words")
    assert Discussion.objects.get().author == bob


@pytest.mark.parametrize("title", ["", "  ", "ab", "x" * 201, "a\0bc"])
def test_titles_have_bounds(model, bob, title):
    with pytest.raises(BadRequest):
        services.open_discussion(Actor(bob), model, title, "words")
    assert not Discussion.objects.exists()


@pytest.mark.parametrize("text", ["", "  \n", "x" * (services.MAX_COMMENT + 1), "a\0b"])
def test_comments_have_bounds(talk, alice, text):
    with pytest.raises(BadRequest):
        services.comment(Actor(alice), talk, text)
    assert Event.objects.count() == 1


def test_a_discussion_has_room_for_so_much(talk, alice):
    Discussion.objects.update(event_count=services.MAX_EVENTS)
    talk.refresh_from_db()
    with pytest.raises(BadRequest, match="open a new one"):
        services.comment(Actor(alice), talk, "more")
    services.change_status(Actor(alice), talk, "closed")


def test_comments_are_edited_by_who_wrote_them(talk, alice, bob):
    first = services.events_of(talk)[0]
    with pytest.raises(Forbidden):
        services.edit_comment(Actor(alice), first, "not what bob said")
    services.edit_comment(Actor(bob), first, "two")
    services.edit_comment(Actor(bob), services.find_comment(talk, first.public_id), "three")
    now = services.events_of(talk)[0]
    assert (
        now.body == "three"
        and now.edited_at
        and [row.body for row in now.versions.all()]
        == [
            "What is *this*?",
            "two",
        ]
    )


def test_hidden_words_are_gone(talk, model, alice, bob, django_user_model):
    mine = services.comment(Actor(alice), talk, "secret")
    services.edit_comment(Actor(alice), mine, "hidden secret")
    carol = django_user_model.objects.create(username="carol")
    for actor in (Actor(bob), Actor(carol)):
        with pytest.raises(Forbidden):
            services.hide_comment(actor, mine)
    services.hide_comment(Actor(alice), mine)
    kept = services.find_comment(talk, mine.public_id)
    assert kept.hidden and kept.body == "" and not kept.versions.exists()
    with pytest.raises(Conflict):
        services.edit_comment(Actor(alice), kept, "back again")
    # Whoever may write may hide what others said.
    services.hide_comment(Actor(alice), services.events_of(talk)[0])


def test_closing_and_opening_again(talk, alice, bob, django_user_model):
    carol = django_user_model.objects.create(username="carol")
    with pytest.raises(Forbidden):
        services.change_status(Actor(carol), talk, "closed")
    with pytest.raises(Conflict, match="already"):
        services.change_status(Actor(bob), talk, "open")
    for status in ("merged", "draft", "x"):
        with pytest.raises(BadRequest):
            services.change_status(Actor(bob), talk, status)
    services.change_status(Actor(bob), talk, "closed", "done")
    services.change_status(Actor(alice), talk, "open")
    assert statuses(talk) == ["closed", "open"]
    assert [event.body for event in services.events_of(talk) if event.kind == "comment"] == ["What is *this*?", "done"]


def test_renaming(talk, alice, bob, django_user_model):
    carol = django_user_model.objects.create(username="carol")
    with pytest.raises(Forbidden):
        services.rename(Actor(carol), talk, "Carol's")
    event = services.rename(Actor(alice), talk, "  A better   title ")
    assert event.data == {"from": "A question", "to": "A better title"} and talk.title == "A better title"


def test_pinning_is_for_writers(talk, alice, bob):
    with pytest.raises(Forbidden):
        services.set_pinned(Actor(bob), talk, pinned=True)
    services.set_pinned(Actor(alice), talk, pinned=True)
    talk.refresh_from_db()
    assert talk.pinned


def test_lists_are_filtered(model, alice, bob):
    for number in range(4):
        services.open_discussion(Actor(bob if number % 2 else alice), model, f"Title {number}", "words")
    services.change_status(Actor(alice), services.find_discussion(model, 2), "closed")
    numbers = lambda **asked: [row.number for row in services.list_discussions(model, **asked)]  # noqa: E731
    assert numbers() == [4, 3, 2, 1]
    assert numbers(status="open") == [4, 3, 1] and numbers(status="closed") == [2]
    assert numbers(author="bob") == [4, 2] and numbers(author="nobody") == numbers(author="a\0") == []
    assert numbers(kind="pull_request") == [] and numbers(kind="discussion") == [4, 3, 2, 1]
    assert numbers(words="title 3") == [4]
    for wrong in ({"kind": "x"}, {"status": "x"}):
        with pytest.raises(BadRequest):
            services.list_discussions(model, **wrong)


def test_what_is_not_there(model, talk):
    with pytest.raises(NotFound):
        services.find_discussion(model, 2)
    for name in ("", "zz", "0" * 24, "f" * 24, "0" * 23 + "9", "-" + "1" * 23):
        with pytest.raises(NotFound):
            services.find_comment(talk, name)


def test_signals_tell_other_rooms(model, bob, alice):
    heard = []
    receivers = []
    for name in ("discussion_opened", "discussion_commented", "comment_changed", "discussion_renamed",
                 "discussion_status_changed"):  # fmt: skip

        def receiver(sender, name=name, **about):
            heard.append((name, about["discussion"].number, about["actor"].name, about["event"].kind))

        getattr(events, name).connect(receiver)
        receivers.append((name, receiver))
    try:
        talk = services.open_discussion(Actor(bob), model, "Title", "words")
        mine = services.comment(Actor(alice), talk, "more")
        services.edit_comment(Actor(alice), mine, "else")
        services.hide_comment(Actor(alice), mine)
        services.rename(Actor(alice), talk, "Another")
        services.change_status(Actor(bob), talk, "closed", "bye")
    finally:
        for name, receiver in receivers:
            getattr(events, name).disconnect(receiver)
    assert heard == [
        ("discussion_opened", 1, "bob", "comment"),
        ("discussion_commented", 1, "alice", "comment"),
        ("comment_changed", 1, "alice", "comment"),
        ("comment_changed", 1, "alice", "comment"),
        ("discussion_renamed", 1, "alice", "title-change"),
        ("discussion_commented", 1, "bob", "comment"),
        ("discussion_status_changed", 1, "bob", "status-change"),
    ]


def test_a_deleted_repository_takes_its_discussions_along(model, talk, alice):
    services.comment(Actor(alice), talk, "more")
    delete_repository(Actor(alice), model)
    assert not Discussion.objects.exists() and not Event.objects.exists()


def test_discussions_turned_off(talk, model, bob):
    model.discussions_disabled = True
    model.save()
    for refused in (
        lambda: services.open_discussion(Actor(bob), model, "Title", "words"),
        lambda: services.comment(Actor(bob), talk, "more"),
        lambda: services.list_discussions(model),
        lambda: services.find_discussion(model, 1),
        lambda: services.change_status(Actor(bob), talk, "closed"),
    ):
        with pytest.raises(Forbidden, match="disabled"):
            refused()
