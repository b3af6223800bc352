"""What `fuse` and `row_sums` rewrite gives the same numbers; what only looks alike stays."""

from __future__ import annotations

import engine_models as models
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes import fuse, int8_static, row_sums
from compression_service.engine.passes.base import PassContext

ROWS, WIDTH = 12, 32
IDS = np.array([[0, 5, 11, 3, -1, 12, 400, -400]], np.int32)


def run(model, **feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def fused(model):
    return fuse.apply(model, {}, PassContext()).model


def free(name, rank):
    return models._value(name, [f"{name}{axis}" for axis in range(rank)])


def constant(name, values, kind=np.float32):
    return numpy_helper.from_array(np.asarray(values, kind), name)


def compared(counted=tuple(range(ROWS)), expand=True, last=1):
    """ids [1, 8] as a one-hot matrix by comparing with 0 … ROWS - 1, times a table."""
    nodes = [helper.make_node("Unsqueeze", ["ids", "last"], ["column"])]
    if expand:
        nodes.append(helper.make_node("Expand", ["column", "whole"], ["wide"]))
    nodes += [
        helper.make_node("Equal", ["wide" if expand else "column", "counted"], ["hit"]),
        helper.make_node("Cast", ["hit"], ["one_hot"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["one_hot", "table"], ["y"]),
    ]
    weights = [
        constant("last", [-1], np.int64), constant("whole", [1, 8, ROWS], np.int64),
        constant("counted", [[counted]], np.int32), models._weights(np.random.default_rng(0), "table", ROWS, WIDTH),
    ]  # fmt: skip
    inputs = [models._value("ids", [1, 8], TensorProto.INT32)]
    return models.model(nodes, inputs, [models._value("y", [1, 8, WIDTH])], weights)


@pytest.mark.parametrize("expand", [True, False])
def test_a_compared_one_hot_matrix_times_a_table_is_a_look_up(expand):
    model = compared(expand=expand)
    made = fused(model)
    found = graph.operators(made)
    assert "Gather" in found and not {"MatMul", "Equal"} & set(found)
    assert np.array_equal(run(model, ids=IDS), run(made, ids=IDS))  # ids outside of the table give zeros


@pytest.mark.parametrize("axis", [-1, 2])
def test_a_one_hot_operator_times_a_table_is_a_look_up_with_its_negative_ids(axis):
    nodes = [
        helper.make_node("OneHot", ["ids", "depth", "values"], ["one_hot"], axis=axis),
        helper.make_node("MatMul", ["one_hot", "table"], ["y"]),
    ]
    weights = [
        constant("depth", [ROWS], np.int64), constant("values", [0, 1]),
        models._weights(np.random.default_rng(0), "table", ROWS, WIDTH),
    ]  # fmt: skip
    inputs = [models._value("ids", [1, 8], TensorProto.INT64)]
    model = models.model(nodes, inputs, [models._value("y", [1, 8, WIDTH])], weights)
    made, ids = fused(model), IDS.astype(np.int64)
    assert "Gather" in graph.operators(made) and "OneHot" not in graph.operators(made)
    assert np.array_equal(run(model, ids=ids), run(made, ids=ids))


def test_what_is_no_one_hot_matrix_stays():
    shuffled = (1, 0, *range(2, ROWS))
    with pytest.raises(NotApplicableError):
        fused(compared(counted=shuffled))


GELUS = {
    "cube by products": "x3 = x*x; x3 = x3*x; s = x3*c; s = x+s; t = s*r; t = tanh(t); t = t+one; h = x*half; y = h*t",
    "cube by power": "x3 = x**three; s = c*x3; s = x+s; t = r*s; t = tanh(t); t = one+t; h = t*half; y = x*h",
    "factored": "q = x*x; q = q*c; q = q+one; t = x*q; t = t*r; t = tanh(t); t = t+one; y = x*t; y = y/two",
}
NUMBERS = {"c": 0.044715, "r": 0.7978846, "one": 1.0, "half": 0.5, "two": 2.0, "three": 3.0}
KINDS = {"**": "Pow", "*": "Mul", "+": "Add", "/": "Div"}


def spelled(text, **numbers):
    """A graph of the statements, behind a product by 2 so that x itself is one, and a product."""
    nodes, now = [helper.make_node("Mul", ["given", "two"], ["x"])], {"x": "x"}
    for number, statement in enumerate(text.split("; ")):
        name, _, expression = statement.partition(" = ")
        made = "y0" if number == text.count(";") else f"{name}_{number}"
        kind = next((one for one in KINDS if one in expression), None)
        if kind is None:
            operands, operator = [expression[5:-1]], "Tanh"
        else:
            operands, operator = expression.split(kind), KINDS[kind]
        nodes.append(helper.make_node(operator, [now.get(one, one) for one in operands], [made]))
        now[name] = made
    nodes.append(helper.make_node("MatMul", ["y0", "w"], ["y"]))
    weights = [constant(name, value) for name, value in {**NUMBERS, **numbers}.items()]
    weights = [one for one in weights if any(one.name in node.input for node in nodes)]
    weights.append(models._weights(np.random.default_rng(1), "w", WIDTH, 16))
    return models.model(nodes, [models._value("given", [4, WIDTH])], [models._value("y", [4, 16])], weights)


@pytest.mark.parametrize("text", GELUS.values(), ids=GELUS)
def test_gelu_by_tanh_is_one_operator_however_it_is_spelled(text):
    model = spelled(text)
    made = fused(model)
    found = graph.operators(made)
    assert found["com.microsoft:FastGelu"] == 1 and "Tanh" not in found and len(made.graph.node) == 3
    given = np.random.default_rng(2).standard_normal((4, WIDTH)).astype(np.float32)
    assert np.allclose(run(model, given=given), run(made, given=given), atol=1e-5)


@pytest.mark.parametrize("number", [{"c": 0.05}, {"r": 0.9}, {"half": 0.4}, {"one": 1.1}])
def test_what_only_looks_like_gelu_stays(number):
    with pytest.raises(NotApplicableError):
        fused(spelled(GELUS["cube by power"], **number))


def test_static_int8_knows_the_types_behind_gelu(tmp_path):
    model = fused(spelled(GELUS["factored"]))
    rng = np.random.default_rng(3)
    feeds = [{"given": rng.standard_normal((4, WIDTH)).astype(np.float32)} for _ in range(4)]
    made = int8_static.apply(model, {"methods": ("min-max",)}, PassContext(calibration=feeds, work=tmp_path)).model
    assert graph.operators(made)["QuantizeLinear"] >= 1
    assert np.allclose(run(model, **feeds[0]), run(made, **feeds[0]), atol=0.1)


def followed(nodes, outputs=(), **weights):
    made = [helper.make_node("Gather", ["table", "ids"], ["e"]), *nodes]
    kept = [constant(name, value) for name, value in weights.items()]
    kept.append(models._weights(np.random.default_rng(0), "table", ROWS, WIDTH))
    inputs = [models._value("ids", [1, 4], TensorProto.INT64)]
    rank = max([3, *(np.ndim(value) for value in weights.values())])
    given = [free("y", rank), *(free(name, 3) for name in outputs)]
    return models.model(made, inputs, given, kept)


def test_a_table_takes_in_what_follows_number_by_number():
    nodes = [
        helper.make_node("Mul", ["e", "scale"], ["scaled"]), helper.make_node("Add", ["bias", "scaled"], ["moved"]),
        helper.make_node("Tanh", ["moved"], ["bent"]), helper.make_node("Softmax", ["bent"], ["y"]),
    ]  # fmt: skip
    bias = np.random.default_rng(1).standard_normal((1, 1, WIDTH))
    model = followed(nodes, scale=np.float32(5.6), bias=bias)
    made = fused(model)
    assert list(graph.operators(made)) == ["Gather", "Softmax"]
    ids = np.array([[0, 3, 11, 7]])
    assert np.allclose(run(model, ids=ids), run(made, ids=ids), atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "outputs", "weights"),
    [
        ([helper.make_node("Tanh", ["e"], ["y"])], ("e",), {}),  # the rows themselves are asked for
        ([helper.make_node("Tanh", ["e"], ["t"]), helper.make_node("Add", ["t", "e"], ["y"])], (), {}),
        ([helper.make_node("Add", ["e", "b"], ["y"])], (), {"b": np.ones((4, 1))}),  # a number for each place
        ([helper.make_node("Add", ["e", "b"], ["y"])], (), {"b": np.ones((3, 1, 1, WIDTH))}),  # more than there was
    ],
)
def test_what_is_not_done_to_each_row_alone_stays_outside(nodes, outputs, weights):
    with pytest.raises(NotApplicableError):
        fused(followed(nodes, outputs, **weights))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "goes"),
    [
        ([0, 0], [10**9, 2**63 - 1], [0, 1], True), ([0], [WIDTH], [1], True), ([0], [WIDTH - 1], [1], False),
        ([1], [10**9], [1], False), ([0], [4], [0], False),
    ],
)  # fmt: skip
def test_slices_which_keep_everything_go(starts, ends, axes, goes):
    nodes = [helper.make_node("Slice", ["x", "s", "e", "a"], ["cut"]), helper.make_node("Relu", ["cut"], ["y"])]
    weights = [constant(name, value, np.int64) for name, value in (("s", starts), ("e", ends), ("a", axes))]
    model = models.model(nodes, [models._value("x", ["n", WIDTH])], [free("y", 2)], weights)
    if not goes:
        with pytest.raises(NotApplicableError):
            fused(model)
        return
    made = fused(model)
    x = np.random.default_rng(0).standard_normal((6, WIDTH)).astype(np.float32)
    assert "Slice" not in graph.operators(made) and np.array_equal(run(model, x=x), run(made, x=x))


def summed(kind, keepdims, opset, axis=1, rows=40):
    nodes = [helper.make_node(kind, ["x"], ["y"], axes=[axis], keepdims=keepdims)]
    weights = []
    if opset >= 18 or (kind == "ReduceSum" and opset >= 13):
        nodes, weights = (
            [helper.make_node(kind, ["x", "axes"], ["y"], keepdims=keepdims)],
            [constant("axes", [axis], np.int64)],
        )
    return models.model(nodes, [models._value("x", ["b", rows, 24])], [free("y", 2 + keepdims)], weights, opset)


@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_sums_over_rows_are_products(kind, keepdims, opset):
    model = summed(kind, keepdims, opset)
    made = row_sums.apply(model, {}, PassContext()).model
    assert "MatMul" in graph.operators(made) and kind not in graph.operators(made)
    x = np.random.default_rng(0).standard_normal((3, 40, 24)).astype(np.float32)
    left, right = run(model, x=x), run(made, x=x)
    assert left.shape == right.shape and np.allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("given", [{"axis": 2}, {"axis": 0}, {"rows": "n"}, {"rows": 4}])
def test_other_sums_stay(given):
    with pytest.raises(NotApplicableError):
        row_sums.apply(summed("ReduceSum", 1, 17, **given), {}, PassContext())
