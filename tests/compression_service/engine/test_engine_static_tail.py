"""Behind the last layer with weights nothing is quantized: a coarse answer would save nothing."""

from __future__ import annotations

import engine_models as models
import numpy as np
from onnx import helper

from compression_service.engine import graph
from compression_service.engine.calibration import roles
from compression_service.engine.passes import int8_static
from compression_service.engine.passes.base import PassContext


def tail_of_averages():
    """Conv → Relu → GlobalAveragePool → Softmax, as SqueezeNet ends."""
    rng = np.random.default_rng(3)
    kernel = models._weights(rng, "k", 12, 3, 3, 3)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]), helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]  # fmt: skip
    return models.model(nodes, [models._value("x", [1, 3, 16, 16])], [models._value("y", [1, 12, 1, 1])], [kernel])


def feeds(count, shape, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def test_what_follows_the_last_convolution_stays_in_float(tmp_path):
    given, rows = tail_of_averages(), feeds(24, (1, 3, 16, 16))
    made = int8_static.apply(given, {"methods": ["min-max"]}, PassContext(rows, work=tmp_path)).model
    kinds = graph.operators(made)
    assert kinds["QuantizeLinear"] == 2 and kinds["GlobalAveragePool"] == 1  # the input, and behind the convolution
    answers = np.ravel([models.run(made, row)[0] for row in rows])
    assert len(np.unique(np.round(answers, 7))) > 150  # 8 bits would leave at most 256 values, most of them unused
    assert np.abs(answers - np.ravel([models.run(given, row)[0] for row in rows])).max() < 0.01


def test_the_last_product_gives_floats_out(tmp_path):
    given, rows = models.cnn(), None
    shape = [dim.dim_value or 1 for dim in given.graph.input[0].type.tensor_type.shape.dim]
    rows = [{given.graph.input[0].name: row["x"]} for row in feeds(16, shape)]
    made = int8_static.apply(given, {"methods": ["min-max"]}, PassContext(rows, work=tmp_path)).model
    makers = {name: node.op_type for node in made.graph.node for name in node.output}
    assert makers[made.graph.output[0].name] != "DequantizeLinear"
    assert [value.name for value in made.graph.output] == [value.name for value in given.graph.output]


def test_a_graph_with_branches_keeps_its_pairs():
    given = models.branching()
    before = given.SerializeToString()
    int8_static.float_tail(given)
    assert given.SerializeToString() == before


def test_ids_are_followed_through_what_selects_a_column():
    """A tabular network takes its categories out of one input: each has a table of its own height."""
    rng = np.random.default_rng(0)
    tables = [models._weights(rng, f"t{i}", rows, 4) for i, rows in enumerate((12, 5, 31))]
    nodes, parts = [], []
    for i in range(3):
        nodes.append(helper.make_node("Constant", [], [f"i{i}"], value_int=i))
        nodes.append(helper.make_node("Gather", ["cat", f"i{i}"], [f"c{i}"], axis=1))
        nodes.append(helper.make_node("Gather", [f"t{i}", f"c{i}"], [f"e{i}"]))
        parts.append(f"e{i}")
    nodes.append(helper.make_node("Concat", parts, ["y"], axis=1))
    from onnx import TensorProto

    made = models.model(
        nodes, [models._value("cat", ["b", 3], TensorProto.INT64)], [models._value("y", ["b", 12])], tables
    )
    assert roles.specs(made, None)[0]["highest"] == 5
