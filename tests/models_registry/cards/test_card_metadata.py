import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_registry.cards.metadata import (
    Card,
    CardError,
    infer_library,
    infer_pipeline_tag,
    read_card,
    split_card,
)
from models_registry.cards.tags import hub_tags
from models_registry.cards.validation import validate

CARD = """---
license: mit
language: [en, no]
pipeline_tag: image-classification
datasets:
  - ada/digits
base_model: google/vit
tags: [vision, onnx]
model-index:
  - name: digits
    results: []
fithub:
  calibration: {split: train, rows: 64}
date: 2026-11-22
---
# Digits

See https://arxiv.org/abs/1706.03762 and arXiv:2004.12832.
"""


def test_a_card_is_split_and_read():
    card = read_card(CARD)
    assert card.body.startswith("# Digits")
    assert (card.licenses, card.languages, card.pipeline_tag) == (["mit"], ["en", "no"], "image-classification")
    assert (card.datasets, card.base_models, card.tags) == (["ada/digits"], ["google/vit"], ["vision", "onnx"])
    assert card.model_index == [{"name": "digits", "results": []}]
    assert card.fithub == {"calibration": {"split": "train", "rows": 64}}
    assert card.metadata["date"] == "2026-11-22"
    assert json.loads(json.dumps(card.metadata, allow_nan=False)) == card.metadata
    assert validate(CARD) == ([], [])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n"])
def test_line_ends_and_byte_order_marks_do_not_matter(newline, before):
    card = read_card(before + CARD.replace("\n", newline))
    assert card.licenses == ["mit"] and card.body.startswith("# Digits")


@pytest.mark.parametrize(
    "text", ["", "# Only text\n", "---\nnever closed: true\n", "text\n---\na: b\n---\n", "---\n---\nx"]
)
def test_no_metadata_is_a_warning_and_no_error(text):
    assert validate(text) == ([], ["empty or missing yaml metadata in repo card"])


def test_hub_tags():
    tags = hub_tags(read_card(CARD), ["config.json", "model.safetensors", "onnx/model.onnx"])
    assert tags == [
        "transformers", "onnx", "safetensors", "image-classification", "vision", "en", "no", "dataset:ada/digits", "arxiv:1706.03762",
        "arxiv:2004.12832", "base_model:google/vit", "base_model:finetune:google/vit", "license:mit",
    ]  # fmt: skip
    assert hub_tags(Card({"tags": [f"t{n}" for n in range(9999)]})).__len__() == 500


@pytest.mark.parametrize(
    ("front", "error"),
    [
        ("license: my-own", '"license" must be one of [apache-2.0, mit,'),
        ("license: 7", '"license" must be one of ['),
        ("license: [mit, my-own]", '"license" must be one of ['),
        ("model-index: {name: x}", '"model-index" must be an array'),
        ("model-index: text", '"model-index" must be an array'),
        ("pipeline_tag: [a]", '"pipeline_tag" must be a string'),
        ("tags: {a: b}", '"tags" must be a string or an array of strings'),
        ("language: [1]", '"language" must be a string or an array of strings'),
        ("fithub: 7", '"fithub" must be an object'),
        ("a: [1, 2", "not valid YAML at line 3"),
        ("a: 1\nb: c: d", "not valid YAML at line 3"),
        ("a: 1\na: 2", "at line 3: the key 'a' stands twice"),
        ("x:\n  b: 1\n  b: 2", "at line 4: the key 'b' stands twice"),
        ("- a\n- b", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("a: &x 1\nb: *x", "at line 3: aliases"),
        ("a: !!python/object/apply:os.system [id]", "at line 2: tags"),
        ("a: !!binary aGk=", "at line 2: tags"),
        ("a: " + "[" * 40 + "]" * 40, "more than 32 levels"),
        ("a: \x07", "characters which YAML does not allow"),
        ("a: \ud800", "characters which YAML does not allow"),
        ("a: " + "x" * 1_000_001, "longer than 1 MB"),
    ],
)
def test_errors_name_the_line_or_the_key(front, error):
    errors, warnings = validate(f"---\n{front}\n---\ntext")
    assert len(errors) == 1 and error in errors[0].message and warnings == []


INDEX = "model-index:\n- name: m\n  results:\n  - task: {type: t}\n    dataset: {type: d, name: D}\n    metrics:\n    - {type: acc, value: 1}\n"


@pytest.mark.parametrize(
    ("front", "line", "error"),
    [
        ("tags: [a]\nlicense: nope", 3, '"license" must be one of'),
        ("a: 1\nmodel-index: x", 3, '"model-index" must be an array'),
        (INDEX.replace("name: m", "nom: m"), 3, '"model-index[0].name" is required'),
        (INDEX.replace("task: {type: t}", "task: {}"), 5, '"model-index[0].results[0].task.type" is required'),
        (INDEX.replace("dataset: {type: d, name: D}", "args: 1"), 5, '"model-index[0].results[0].dataset" is required'),
        (INDEX.replace(", value: 1", ""), 8, '"model-index[0].results[0].metrics[0]" must be an object'),
        ("model-index:\n- name: m\n  results: 3", 4, '"model-index[0].results" must be an array'),
        ("model-index: [3]", 2, '"model-index[0]" must be an object'),
    ],
)
def test_each_problem_has_its_line(front, line, error):
    problems, _ = validate(f"---\n{front}\n---\ntext")
    assert [problem.line for problem in problems] == [line] and problems[0].message.startswith(error)


def test_a_whole_model_index_and_a_bare_one_are_right():
    assert validate(f"---\n{INDEX}---\n") == ([], [])
    assert validate("---\nmodel-index:\n- name: m\n  results: []\n---\n") == ([], [])


def test_each_kind_has_rules_of_its_own():
    assert (
        validate("---\nsdk: rails\n---\n", "space")[0][0].message
        == '"sdk" must be one of [gradio, streamlit, docker, static]'
    )
    assert validate("---\ncolorFrom: beige\n---\n", "space")[0] and validate("---\nsdk: rails\n---\n") == ([], [])
    assert validate("---\ntask_ids: 3\n---\n", "dataset")[0][0].line == 2
    assert "official list" in validate("---\npipeline_tag: dreaming\n---\n")[1][0]


@pytest.mark.parametrize(
    "text",
    [
        "---\ntags: [" + "1," * 490_000 + "1]\n---\nx",
        "\n" * 10_000_000,
        "---\nlicense: mit\n---\n" + "arxiv:2004.12832 " * 600_000,
    ],
    ids=["many values", "empty lines", "long text"],
)
def test_no_card_costs_more_than_a_moment(text):
    began = time.process_time()
    validate(text)
    try:
        hub_tags(read_card(text))
    except CardError as error:
        assert "at most 100,000 values" in str(error)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["other", "apache-2.0", "openrail", "cc-by-4.0", "MIT", "llama3.1"])
def test_licenses_of_the_hub_are_known(name):
    assert validate(f"---\nlicense: {name}\n---\n") == ([], [])


def test_a_bomb_costs_nothing():
    bomb = "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    started = time.process_time()
    with pytest.raises(CardError, match="aliases"):
        read_card(bomb + "---\n")
    with pytest.raises(CardError):
        read_card("---\n" + "[" * 900_000 + "\n---\n")
    assert time.process_time() - started < 5


def test_numbers_stay_json():
    card = read_card("---\na: 1e999\nb: " + "9" * 5000 + "\nc: 1.5\nd: .nan\n1: x\ne: yes\nf: true\ng: ~\n---\n")
    assert card.metadata == {
        "a": "inf", "b": "9" * 5000, "c": 1.5, "d": ".nan", "1": "x", "e": "yes", "f": True, "g": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "library"),
    [
        (["config.json"], "transformers"),
        (["config.json", "modules.json"], "sentence-transformers"),
        (["config.json", "adapter_config.json"], "peft"),
        (["model_index.json"], "diffusers"),
        (["onnx/model.onnx"], "onnx"),
        (["model.gguf"], "gguf"),
        (["sub/config.json", "README.md"], None),
    ],
)
def test_the_library_is_told_from_files(names, library):
    assert infer_library(Card(), names) == library
    assert infer_library(Card({"library_name": "timm"}), names) == "timm"


def test_the_task_is_told_from_card_tags_or_configuration():
    config = {"architectures": ["BertForSequenceClassification"]}
    assert infer_pipeline_tag(Card({"pipeline_tag": "x"}), [], config) == "x"
    assert infer_pipeline_tag(Card({"tags": ["a", "translation"]}), [], config) == "translation"
    assert infer_pipeline_tag(Card(), [], config) == "text-classification"
    assert infer_pipeline_tag(Card(), ["modules.json"]) == "sentence-similarity"
    assert infer_pipeline_tag(Card(), [], {"architectures": 7}) is None


@given(st.text(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_card_or_a_card_error(text, wrapped):
    text = f"---\n{text}\n---\n" if wrapped else text
    try:
        card = read_card(text)
    except CardError:
        return
    json.dumps(card.metadata, allow_nan=False)
    assert split_card(text)[1] == card.body
    hub_tags(card, ["a.onnx"])
