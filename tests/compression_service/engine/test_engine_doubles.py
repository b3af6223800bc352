"""Models of 64-bit floats: brought to 32 bits for every pass, with their inputs and outputs as they were."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine.convert.act import convert
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make


def network(kind: int):
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = [
        numpy_helper.from_array((rng.standard_normal(shape) / 8).astype(dtype), name)
        for name, shape in (("a", (64, 128)), ("b", (128, 8)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]  # fmt: skip
    return models.model(nodes, [models._value("x", [1, 64], kind)], [models._value("y", [1, 8], kind)], weights)


@pytest.mark.parametrize("recipe", ["int8-dynamic", "fp16", "int4-weights", "int8-storage", "prune-neurons-25+int8"])
def test_doubles_take_every_pass(tmp_path, recipe):
    source = tmp_path / "source"
    source.mkdir()
    models.saved(network(TensorProto.DOUBLE), source / "model.onnx")
    converted = convert(source, tmp_path / "baseline", tmp_path / "work")
    assert next(one for one in converted["recipes"] if one["name"] == recipe)["applies"]
    result = make(recipe, tmp_path / "baseline", tmp_path / "out", Request(seconds_cap=4), tmp_path / "work")
    size = sum((tmp_path / "out" / name).stat().st_size for name in result["files"])
    assert (
        size < 0.35 * (tmp_path / "baseline/onnx/model.onnx").stat().st_size and result["fidelity"] > 0.92
    )  # random weights have no neuron to spare
    assert result["passes"][0]["changed"].startswith("64-bit floats in 32 bits first; ")


def test_bfloat16_is_refused_with_what_to_push(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    models.saved(network(TensorProto.BFLOAT16), source / "model.onnx")
    with pytest.raises(RefusedError, match="bfloat16 is the usual reason, export the model in float32"):
        convert(source, tmp_path / "baseline", tmp_path / "work")
