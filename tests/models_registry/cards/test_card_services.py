"""What listings know of a card: kept in columns when main moves."""

import pytest

from models_registry.cards.services import card_at
from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, push

CARD = b"""---
license: mit
tags: [tiny]
datasets: [alice/rows]
pipeline_tag: image-classification
---
# A model

![picture](x.png)

It is **small**, see [the paper](https://example.org/a) and `code`.

More.
"""


@pytest.mark.django_db
def test_the_card_of_mains_head_fills_the_columns(alice):
    model = make_repository(alice, "m", files={"README.md": CARD, "model.onnx": b"x"})
    model.refresh_from_db()
    assert model.summary == "It is small, see the paper and code."
    assert (model.pipeline_tag, model.library_name, model.card["license"]) == ("image-classification", "onnx", "mit")
    tags = set(model.tag_rows.values_list("tag", flat=True))
    assert {"onnx", "tiny", "license:mit", "dataset:alice/rows"} <= tags
    push(model, alice, {"README.md": b"# Other"})
    model.refresh_from_db()
    assert model.card == {} and "tiny" not in set(model.tag_rows.values_list("tag", flat=True))


@pytest.mark.django_db
def test_a_card_on_another_branch_changes_nothing(alice, model):
    from models_registry.accounts.actors import Actor
    from models_registry.repos.services import create_branch

    create_branch(Actor(alice), model, "dev")
    push(model, alice, {"README.md": CARD}, branch="dev")
    model.refresh_from_db()
    assert model.card == {} and card_at(model, branch_head(model, "dev")).licenses == ["mit"]
