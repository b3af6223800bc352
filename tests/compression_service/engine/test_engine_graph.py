from __future__ import annotations

import engine_models as models
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.sharing import share_equal_weights


def test_weights_in_branches_are_seen():
    facts = graph.describe(models.branching())
    assert facts["weights_bytes"] == 2 * 32 * 32 * 4
    assert facts["operators"] == {"Constant": 2, "MatMul": 2, "If": 1}
    assert [entry["name"] for entry in facts["inputs"]] == ["x", "flag"]


def test_normalise_takes_initializers_out_of_the_inputs_and_keeps_the_outputs():
    made = models.mlp()
    made.ir_version = 3
    made.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in made.graph.initializer)
    normal = graph.normalise(made)
    assert [value.name for value in normal.graph.input] == ["x"]
    assert normal.ir_version >= 4
    x = {"x": np.ones((1, 64), np.float32)}
    np.testing.assert_array_equal(models.run(made, x)[0], models.run(normal, x)[0])


def test_weights_behind_a_reshape_are_folded():
    flat = numpy_helper.from_array(np.arange(512, dtype=np.float32) / 512, "flat")
    shape = numpy_helper.from_array(np.asarray([16, 32]), "shape")
    nodes = [helper.make_node("Reshape", ["flat", "shape"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])]
    made = models.model(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])],
        [flat, shape],
    )
    normal = graph.normalise(made)
    assert [node.op_type for node in normal.graph.node] == ["MatMul"]
    assert list(normal.graph.initializer[0].dims) == [16, 32]


def test_equal_weights_of_two_branches_are_stored_once():
    made = graph.normalise(models.branching())
    before = len(made.SerializeToString())
    share_equal_weights(made)
    assert len(made.SerializeToString()) < before * 0.6
    x = np.ones((1, 32), np.float32)
    for flag in (True, False):
        feed = {"x": x, "flag": np.asarray(flag)}
        np.testing.assert_array_equal(models.run(made, feed)[0], models.run(models.branching(), feed)[0])


def test_the_lowest_ir_version_is_written():
    assert graph.lowest_ir(models.mlp(opset=17)) == 8
    assert graph.lowest_ir(models.mlp(opset=11)) == 6
