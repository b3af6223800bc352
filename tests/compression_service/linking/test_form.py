"""From the fields of the page to the card's block, and back."""

import pytest

from compression_service.linking.form import FormError, block_of, fields_of, without_choice

FIELDS = {
    "input:x": "[c0, c1]", "input:y": " a column, with a comma ", "label": "kind", "labels": "cat\ndog, or wolf\n", "metric": "iou",
    "options": "{threshold: 0.6}", "calibration.split": "train", "calibration.rows": "64", "evaluation.rows": "",
    "preprocessing.size": "[224, 192]", "preprocessing.mean": "0.5", "preprocessing.normalize": "false", "scale": "0.25",
    "preprocessing.features": "{a: magnitude}", "preprocessing.channels": "BGR",
}  # fmt: skip


def test_the_fields_become_a_block_and_come_back():
    kept = {"goal": "size", "recipes": {"pin": ["fp16"]}, "label": "old", "scale": 9}
    block = block_of(FIELDS, kept, "me/rows", "c" * 40)
    assert block == {
        "dataset": "me/rows", "dataset_revision": "c" * 40, "inputs": {"x": ["c0", "c1"], "y": "a column, with a comma"},
        "label": "kind", "labels": ["cat", "dog, or wolf"], "metric": {"name": "iou", "threshold": 0.6}, "scale": 0.25,
        "calibration": {"split": "train", "rows": 64}, "goal": "size", "recipes": {"pin": ["fp16"]},
        "preprocessing": {"size": [224, 192], "mean": 0.5, "normalize": False, "features": {"a": "magnitude"}, "channels": "BGR"},
    }  # fmt: skip
    again = fields_of(block)
    assert block_of(again, kept, "me/rows", "c" * 40) == block
    assert (
        without_choice(block) == {"goal": "size", "recipes": {"pin": ["fp16"]}}
        and without_choice({"label": "a"}) is None
    )


def test_few_words_are_enough():
    assert block_of({}, {}, "me/rows", "c" * 40) == {"dataset": "me/rows", "dataset_revision": "c" * 40}
    assert block_of({"metric": "f1", "labels": "a, b"}, {}, "d", "c")["labels"] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "bleu"}, "metric must be one of [accuracy"),
        ({"metric": "iou", "options": "0.6"}, "written {name: value}"),
        ({"metric": "iou", "options": "{treshold: 1}"}, "metric.treshold is not known here"),
        ({"scale": "much"}, "scale must be a number"),
        ({"preprocessing.size": "[1, 2"}, "The field preprocessing.size is not valid YAML"),
        ({"preprocessing.std": "0"}, "preprocessing.std must be a number above 0"),
        ({"calibration.rows": "-1"}, "calibration.rows must be a whole number from 1"),
        ({"evaluation.split": "holdout"}, "evaluation.split must be one of [train"),
        ({"input:x": "[]"}, "inputs.x must be the name of a column"),
        ({"label": "a\0b"}, "NUL"),
        ({"labels": "a," * 20_000}, "longer than 20,000 characters"),
    ],
)
def test_what_the_card_could_not_hold_is_a_sentence(fields, words):
    with pytest.raises(FormError) as refused:
        block_of(fields, {}, "me/rows", "c" * 40)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "block", [{"inputs": 5, "metric": [], "preprocessing": "x", "labels": 3, "dataset": None, "calibration": []}]
)
def test_an_old_card_of_any_shape_fills_no_field(block):
    assert fields_of(block) == {}
