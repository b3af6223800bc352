"""Behind the last layer with weights nothing is quantized: a coarse answer would save nothing."""

from __future__ import annotations

import engine_models as models
import numpy as np
from onnx import TensorProto, helper, numpy_helper

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

    made = models.model(
        nodes, [models._value("cat", ["b", 3], TensorProto.INT64)], [models._value("y", ["b", 12])], tables
    )
    assert roles.specs(made, None)[0]["highest"] == 5


def wide_range():
    """Between its convolutions stand sums of powers: uint8 with one scale for all of them keeps nothing of most."""
    rng = np.random.default_rng(5)
    first, last = models._weights(rng, "a", 8, 3, 3, 3), models._weights(rng, "b", 6, 8, 3, 3)
    spread = numpy_helper.from_array(np.logspace(-3, 3, 8, dtype=np.float32).reshape(1, 8, 1, 1), "s")
    inverse = numpy_helper.from_array(np.logspace(3, -3, 8, dtype=np.float32).reshape(1, 8, 1, 1), "i")
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Mul", ["r", "s"], ["m"]),
        helper.make_node("Add", ["m", "m"], ["d"]), helper.make_node("Mul", ["d", "i"], ["n"]),
        helper.make_node("Conv", ["n", "b"], ["y"]),
    ]  # fmt: skip
    return models.model(
        nodes,
        [models._value("x", [1, 3, 12, 12])],
        [models._value("y", [1, 6, 10, 10])],
        [first, last, spread, inverse],
    )


def test_where_everything_in_8_bits_costs_too_much_only_the_products_are(tmp_path):
    given, rows = wide_range(), feeds(20, (1, 3, 12, 12))

    def cosine(left, right):
        a, b = (np.ravel([models.run(model, row)[0] for row in rows[:4]]) for model in (left, right))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    context = PassContext(rows, work=tmp_path, runs_like=cosine)
    outcome = int8_static.apply(given, {"methods": ["min-max"]}, context)
    assert outcome.params["scope"] == "products" and "between the layers in float" in outcome.changed
    assert cosine(given, outcome.model) > 0.999
