"""Recipes as data: to JSON and back, what is refused, and a recipe which the engine has never heard of."""

from __future__ import annotations

import json

import engine_models as models
import pytest

from compression_service.engine import applicability, graph, recipes
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make

OWN = {
    "name": "prune-30+fp16",
    "version": "1",
    "title": "A third pruned, then 16 bits",
    "suffix": "_pruned30_fp16",
    "why": "For a test.",
    "steps": [[["prune_magnitude", {"sparsity": 0.3}]], [["fp16", {}]]],
}


@pytest.mark.parametrize("one", recipes.RECIPES, ids=lambda one: one.name)
def test_every_recipe_survives_json(one):
    assert recipes.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_name_or_a_definition():
    assert recipes.named_or_defined("fp16") is recipes.recipe("fp16")
    assert recipes.named_or_defined(OWN).as_json() == OWN
    with pytest.raises(RefusedError, match="There is no recipe 'fp17'; known are onnx, int8-dynamic"):
        recipes.named_or_defined("fp17")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Prune"}, "is no name for a recipe"),
        ({"name": "../main"}, "is no name for a recipe"),
        ({"name": "a..b"}, "is no name for a recipe"),
        ({"name": "a.lock"}, "is no name for a recipe"),
        ({"name": "x" * 62}, "at most 61 characters"),
        ({"name": None}, "is no name for a recipe"),
        ({"steps": []}, "it would be the baseline again"),
        ({"steps": {}}, "steps as a list of at most"),
        ({"steps": [[]]}, "step 1, is a list of one to"),
        ({"steps": [[["fp16"]]]}, "needs each pass as"),
        ({"steps": [[["fp16", {}]], [["os", {}]]]}, "step 2, names the pass 'os'; known are bias_correction, "),
        ({"steps": [[["fp16", {"x": float("nan")}]]]}, "parameters which are not JSON"),
        ({"steps": [[["fp16", {"x": "y" * 5000}]]]}, "more than 4000 characters"),
        ({"suffix": "fp16"}, "begins with _"),
        ({"suffix": "_fp16"}, "which is that of fp16"),
        ({"suffix": ""}, "begins with _"),
        ({"version": 1}, "needs version as a text"),
        ({"title": "two\nlines"}, "not one line"),
        ({"why": " "}, "needs why as a text"),
        ({"code": "print()"}, "has 'code', which no recipe has"),
    ],
)
def test_a_wrong_definition_is_refused_with_a_sentence(change, sentence):
    with pytest.raises(RefusedError, match=sentence):
        recipes.from_json(OWN | change)


def test_no_object_is_no_recipe():
    with pytest.raises(RefusedError, match="A recipe is an object"):
        recipes.from_json([1])


def test_a_recipe_of_which_the_engine_has_never_heard_is_judged_and_made(tmp_path):
    models.saved(models.mlp(), tmp_path / "baseline/onnx/model.onnx")
    own = recipes.from_json(OWN)
    (verdict,) = applicability.verdicts({"model": models.mlp()}, [own])
    assert (verdict["applies"], verdict["definition"]) == (True, OWN)
    made = make(OWN, tmp_path / "baseline", tmp_path / "v", Request(), tmp_path / "work")
    assert (made["recipe"], made["files"]) == ("prune-30+fp16", ["onnx/model_pruned30_fp16.onnx"])
    assert [entry["pass"] for entry in made["passes"]] == ["prune_magnitude", "fp16"]
    assert graph.load(tmp_path / "v/onnx/model_pruned30_fp16.onnx")
