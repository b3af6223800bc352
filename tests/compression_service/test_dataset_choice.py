"""What a card may say of its data, and which files of a dataset are taken."""

from __future__ import annotations

import pytest

from compression_service.variants import datasets
from models_registry.cards.metadata import Card
from models_registry.cards.validation import validate
from models_registry.pages.templatetags.figures import of_metric, percent
from models_registry.repos.entries import Entry


def card(fithub: str) -> str:
    return f"---\nlicense: mit\nfithub:\n{fithub}---\n# M\n"


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("  metric: bleu\n", 4, '"fithub.metric" must be one of [accuracy'),
        ("  scale: 2\n  metric: {name: iou, treshold: 1}\n", 5, '"fithub.metric.treshold" is not known here'),
        ("  preprocessing:\n    size: 224\n    channels: GBR\n", 6, "must be one of [RGB, BGR, L]"),
        ("  preprocessing: {std: 0}\n", 4, "must be a number above 0"),
        ("  labels: cats\n", 4, "must be an array with the name of each class"),
        ("  calibration: {split: holdout}\n", 4, "must be one of [train, validation, test, all]"),
        ("  metrik: accuracy\n", 4, '"fithub.metrik" is not known here'),
    ],
)
def test_a_wrong_word_is_refused_with_its_line(block, line, words):
    errors, _ = validate(card(block))
    assert len(errors) == 1 and errors[0].line == line and words in errors[0].message, errors


def test_a_right_block_passes_and_datasets_are_not_asked():
    block = "  dataset: me/rows\n  inputs: {x: [a, b]}\n  metric: {name: iou, threshold: 0.4}\n  goal: latency\n"
    assert validate(card(block)) == ([], [])
    assert validate(card("  anything: 1\n"), "dataset")[0] == []


def test_the_block_chooses_before_the_list():
    assert datasets.named_datasets(Card({"datasets": ["a/b"], "fithub": {"dataset": "c/d"}})) == ["c/d"]
    assert datasets.named_datasets(Card({"datasets": ["a/b"], "fithub": {"dataset": 5}})) == ["a/b"]


def entries(folder, count):
    return [Entry(f"{folder}/{i}.png", "0" * 40, False, 1000) for i in range(count)]


def test_of_many_files_every_folder_gives_some_in_turn(monkeypatch):
    monkeypatch.setattr(datasets, "MEDIA_LIMIT_FILES", 10)
    chosen = datasets._within_limits([*entries("cat", 500), *entries("dog", 6)])
    assert len(chosen) == 10 and sum(path.startswith("dog") for path in chosen) == 5
    assert chosen == datasets._within_limits([*entries("cat", 500), *entries("dog", 6)])
    pairs = datasets._within_limits([*entries("images", 50), *entries("masks", 50)])
    assert {p.split("/")[1] for p in pairs if "images" in p} == {p.split("/")[1] for p in pairs if "masks" in p}
    monkeypatch.setattr(datasets, "MEDIA_LIMIT_BYTES", 3500)
    assert len(datasets._within_limits(entries("cat", 500))) == 3


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"value": 0.5}, "50.0 %"), ({"value": 0.5, "unit": "share"}, "50.0 %"), ({"value": 12.34, "unit": "dB"}, "12.34 dB"),
        ({"value": 31.5, "unit": ""}, "31.50"), ({"value": None, "unit": "dB"}, percent(None)),
    ],
)  # fmt: skip
def test_a_figure_stands_in_its_metric_s_unit(metric, words):
    assert of_metric(metric, "value") == words
