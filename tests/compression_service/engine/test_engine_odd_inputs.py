"""Inputs whose shapes, kinds and rows leave much to be guessed."""

from __future__ import annotations

import json

import engine_models as models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression_service.engine import __main__ as engine_main
from compression_service.engine import graph, inputs
from compression_service.engine.calibration import generated, mapping, roles
from compression_service.engine.calibration.rows import Table
from compression_service.engine.errors import NotApplicableError, RefusedError
from compression_service.engine.passes import int8_static
from compression_service.engine.passes.base import PassContext


def with_free_input(made: onnx.ModelProto, *dims) -> onnx.ModelProto:
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims)))
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    return made


@pytest.mark.parametrize(
    ("made", "dims", "found"),
    [
        (models.cnn(), (None, None, None, None), [None, 3, None, None]),
        (models.mlp(), (None, None), [None, 64]),
        (models.mlp(), (-1, -1), [None, 64]),
    ],
)
def test_free_dimensions_are_those_which_the_first_weight_needs(tmp_path, made, dims, found):
    free = with_free_input(made, *dims)
    assert roles.specs(free, None)[0]["shape"] == found
    path = models.saved(free, tmp_path / "model.onnx")
    prepared = inputs.prepare({"model": (free, path)}, inputs.Request(seconds_cap=4), tmp_path / "work")
    assert prepared.evaluation_count >= 4


def test_no_candidate_is_larger_than_the_machine():
    spec = {"name": "x", "dtype": "float32", "shape": [None, None, None, None], "role": "signal"}
    for shapes in generated.shape_candidates([spec], {}):
        assert np.prod(shapes["x"], dtype=np.float64) <= generated.LARGEST_FEED_NUMBERS


def test_what_is_no_tensor_is_refused_by_name(tmp_path):
    made = models.mlp()
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    made.graph.input.append(helper.make_value_info("perhaps", kind))
    with pytest.raises(RefusedError, match="input perhaps of model is of the kind optional"):
        inputs.prepare({"model": (made, tmp_path / "none.onnx")}, inputs.Request(), tmp_path / "work")


def test_static_int8_of_a_model_without_inputs_is_not_applicable(tmp_path):
    with pytest.raises(NotApplicableError, match="needs calibration inputs"):
        int8_static.apply(models.mlp(), {"methods": ("min-max",)}, PassContext(calibration=[{}], work=tmp_path))


def test_a_figure_which_overflowed_is_unknown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine_main.write_result({"a": float("inf"), "b": [{"c": float("nan")}, 1.5]})
    assert json.loads((tmp_path / "result.json").read_text()) == {"a": None, "b": [{"c": None}, 1.5]}


TABLE = Table("all", {"x": [[1.0, 2.0]] * 9, "label": [0] * 9}, ["a.csv"])
SPECS = [{"name": "x", "dtype": "float32", "shape": [None, 2]}]


@pytest.mark.parametrize("config", [{"scale": None}, {"scale": "abc"}, {"scale": 1e308}, {"scale": 0}, {"scale": True}])
def test_a_scale_which_is_none_is_said(config):
    with pytest.raises(mapping.MappingError, match="scale"):
        mapping.find(TABLE, SPECS, config, None)


@pytest.mark.parametrize("config", [{"inputs": {"x": 5}}, {"inputs": {"x": None}}, {"inputs": {"x": {"a": 1}}}])
def test_columns_which_are_no_columns_are_said(config):
    with pytest.raises(mapping.MappingError, match="which is not there"):
        mapping.find(TABLE, SPECS, config, None)


@pytest.mark.parametrize(("values", "labels"), [([0, 1, 2], [0, 1, 2]), ([0.5, 1.0, 2.0], None), ([-1, 0, 1], None)])
def test_only_class_numbers_are_labels(values, labels):
    table = Table("all", {"label": values}, ["a.csv"])
    found = mapping.labels(table, mapping.Mapping({}, None, "label", 1.0, ""), [0, 1, 2], {})
    assert (found.tolist() if found is not None else None) == labels


def test_a_gap_in_a_column_of_numbers_is_called_that():
    table = Table("all", {"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]}, ["a.csv"])
    found = mapping.find(table, SPECS, {}, None)
    with pytest.raises(mapping.MappingError, match="row 1 has missing values"):
        mapping.feeds(table, found, SPECS, [0, 1, 2], None)


def test_a_broken_tokenizer_is_said(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model":')
    specs = [{"name": "input_ids", "dtype": "int64", "shape": [None, None]}]
    table = Table("all", {"text": ["a", "b"]}, ["a.csv"])
    found = mapping.find(table, specs, {}, tmp_path / "tokenizer.json")
    with pytest.raises(mapping.MappingError, match="json cannot be read"):
        mapping.feeds(table, found, specs, [0, 1], tmp_path / "tokenizer.json")


def test_a_dimension_below_one_is_free():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 0, 3])
    assert graph.value_spec(value)["shape"] == [None, None, 3]


def test_splits_may_name_their_columns_differently(tmp_path):
    rows = tmp_path / "dataset"
    rows.mkdir()
    rng = np.random.default_rng(0)
    for split, names in (("train", [f"a{n}" for n in range(64)]), ("test", [f"b{n}" for n in range(64)])):
        lines = [",".join([*names, "label"])]
        lines += [",".join(f"{v:.3f}" for v in rng.normal(size=64)) + f",{n % 10}" for n in range(30)]
        (rows / f"{split}.csv").write_text("\n".join(lines))
    made = models.mlp()
    path = models.saved(made, tmp_path / "model.onnx")
    request = inputs.Request(dataset=rows, dataset_info={"repository": "me/rows", "commit": "c" * 40}, seconds_cap=4)
    prepared = inputs.prepare({"model": (made, path)}, request, tmp_path / "work")
    assert prepared.kind == "dataset" and prepared.evaluation_count == 30 and "not used" not in str(prepared.notes)
