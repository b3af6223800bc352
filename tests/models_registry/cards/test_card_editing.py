"""One key of a card's metadata is changed, the rest stays byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.accounts.actors import Actor
from models_registry.cards.editing import with_value
from models_registry.cards.metadata import CardError, read_card
from models_registry.cards.services import change_card
from models_registry.errors import BadRequest, Conflict, Forbidden, HeadMoved
from models_registry.repos.entries import entry_at, read_small
from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, push

BLOCK = {"dataset": "me/rows", "inputs": {"x": ["c0", "c1"]}, "evaluation": {"split": "test", "rows": 500}}
HEAD = "# what this is\nlicense: mit   # as the code\nname: 'Ünïcødé ☃ 𝒳'\n"
TAIL = "# of the next\ntags: [a,   b]\n"


def test_the_lines_around_stay_as_they_were():
    text = f"---\n{HEAD}fithub:  # ours\n  dataset: old/rows\n  # lost with it\n  scale: 2\n\n{TAIL}---\n# M\n\ntext\n"
    made = with_value(text, "fithub", BLOCK)
    assert made.startswith(f"---\n{HEAD}fithub:\n  dataset: me/rows\n") and made.endswith(
        f"\n\n{TAIL}---\n# M\n\ntext\n"
    )
    assert read_card(made).metadata == read_card(text).metadata | {"fithub": BLOCK}
    assert with_value(made, "fithub", BLOCK) == made
    assert with_value(made, "fithub", None) == f"---\n{HEAD}\n{TAIL}---\n# M\n\ntext\n"


@pytest.mark.parametrize(
    "text",
    ["", "# M\n", "---\n---\nx", "---\n\n---\nx", "---\nlicense: mit\n---", "\ufeff---\nlicense: mit\n---\nx", "---\n# only words\n---\nx",
     "---\r\nlicense: mit\r\nfithub: {scale: 2}\r\n---\r\nx\r\n", "---\n{license: mit, fithub: {scale: 2}}\n---\nx", "\n\n---\na: |\n  b\n---\n",
     "---\nfithub: 5\n---\n", "---\nfithub:\na: b\n---\n", "---\n'fithub': {}\n---\n"],
)  # fmt: skip
def test_every_shape_of_a_card_takes_it(text):
    made = with_value(text, "fithub", BLOCK)
    assert read_card(made).metadata == {**read_card(text).metadata, "fithub": BLOCK}
    assert read_card(made).body == read_card(text).body
    gone = with_value(made, "fithub", None)
    assert "fithub" not in read_card(gone).metadata and read_card(gone).body == read_card(text).body


words = st.text("abc: #'\"\n-[]{}&*!|>%@`\\\t~é☃𝒳0123", max_size=12)


@given(
    before=words,
    value=st.dictionaries(words, words | st.integers(-9, 9) | st.booleans() | st.lists(words, max_size=3), max_size=4),
)
def test_whatever_is_in_it_can_be_read_again(before, value):
    text = with_value("---\nlicense: mit\n---\nx", "before", before)
    made = with_value(with_value(text, "after", "z"), "fithub", value)
    assert read_card(made).metadata == {"license": "mit", "before": before, "after": "z", "fithub": value}
    assert with_value(made, "fithub", None) == with_value(text, "after", "z")


def test_a_card_which_can_not_be_read_is_not_touched():
    with pytest.raises(CardError):
        with_value("---\na: [\n---\n", "fithub", {})


def text_of(model):
    return read_small(model, entry_at(model, branch_head(model), "README.md")).decode()


def test_the_change_is_a_commit_to_main(alice, bob, model):
    empty = branch_head(model)
    first = change_card(Actor(alice), model, "fithub", {"scale": 2}, "Say the scale", empty)
    assert branch_head(model) == first and text_of(model) == "---\nfithub:\n  scale: 2\n---\n"
    with pytest.raises(Conflict, match="says so already"):
        change_card(Actor(alice), model, "fithub", {"scale": 2}, "x", first)
    with pytest.raises(HeadMoved):
        change_card(Actor(alice), model, "fithub", {"scale": 3}, "x", empty)
    with pytest.raises(Forbidden):
        change_card(Actor(bob), model, "fithub", {"scale": 3}, "x", first)
    with pytest.raises(BadRequest, match="Line 3"):
        change_card(Actor(alice), model, "fithub", {"scale": "much"}, "x", first)
    assert branch_head(model) == first


@pytest.mark.parametrize(("card", "words"), [(b"---\na: [\n---\n", "not valid YAML"), (b"\xff\xfe", "UTF-8")])
def test_a_card_which_can_not_be_changed_says_what_to_do(alice, card, words):
    model = make_repository(alice, "n")
    head = push(model, alice, {"README.md": card})
    with pytest.raises(BadRequest, match=words):
        change_card(Actor(alice), model, "fithub", {"scale": 3}, "x", head)
