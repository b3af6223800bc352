"""Ifs which ranks and fixed sizes decide: gone where they are known, left alone where they are not."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine import branching, graph
from compression_service.engine.passes import clean
from compression_service.engine.passes.base import PassContext

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def ints(name, *values, scalar=False):
    return numpy_helper.from_array(np.asarray(values[0] if scalar else values, np.int64), name)


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def branch(nodes, outputs, initializers=()):
    return helper.make_graph(nodes, "branch", [], [value(name) for name in outputs], list(initializers))


def model_of(nodes, inputs, outputs, initializers=()):
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def asks_a_size(name, x, dim, wanted, prefix):
    """Nodes for: is size `dim` of x the wanted one?"""
    return [
        helper.make_node("Shape", [x], [prefix + "s"]), helper.make_node("Gather", [prefix + "s", dim], [prefix + "d"]),
        helper.make_node("Equal", [prefix + "d", wanted], [name]),
    ]  # fmt: skip


def squeezed(dims, then_name="t", else_name="e"):
    """As torch.jit squeezes: x [dims] without dimension 1 where that is 1, times two."""
    then = branch([helper.make_node("ReduceSum", ["x", "one"], [then_name], keepdims=0)], [then_name])
    other = branch([helper.make_node("Identity", ["x"], [else_name])], [else_name])
    nodes = [
        *asks_a_size("c", "x", "first", "size", "a"), helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Mul", ["y", "two"], ["out"]),
    ]  # fmt: skip
    weights = [ints("one", 1), ints("first", 1, scalar=True), ints("size", 1, scalar=True)]
    weights.append(numpy_helper.from_array(np.float32(2), "two"))
    return model_of(nodes, [value("x", dims)], [value("out")], weights)


def decided(model):
    made = graph.normalise(model)
    count = branching.decide(made)
    return made, count


def same(model, made, feeds):
    one, other = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
        for m in (model, made)
    )
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def ifs(model):
    return sum(node.op_type == "If" for node in graph.nodes(model))


@pytest.mark.parametrize(("dims", "left"), [(["n", 1, 4], 0), (["n", 3, 4], 0), (["n", "m", 4], 1), (None, 1)])
def test_a_size_which_is_fixed_decides(dims, left):
    model = squeezed(dims)
    made, count = decided(model)
    assert (ifs(made), count) == (left, 1 - left)
    if not left:
        assert {node.op_type for node in made.graph.node} <= {"ReduceSum", "Mul", "Identity"}
    width = dims[1] if dims and isinstance(dims[1], int) and dims[1] else 1
    assert same(model, made, {"x": np.random.default_rng(0).random((2, width, 4), np.float32)})


def test_a_size_of_0_is_an_exporter_s_word_for_unknown():
    assert decided(squeezed(["n", 0, 4]))[1] == 0


def test_a_rank_decides_and_inner_branches_follow_under_names_of_their_own():
    """Two Ifs with equal names inside, one of them within the other's branch; what the first decides, decides the second."""

    def by_rank(x, out, prefix, inner):
        then = branch([helper.make_node("Add", [x, "w"], ["same"]), *inner], ["same" if not inner else "deep"], [
            numpy_helper.from_array(np.full(4, 3, np.float32), "w")])  # fmt: skip
        other = branch([helper.make_node("Neg", [x], ["same"])], ["same"])
        return [
            helper.make_node("Shape", [x], [prefix + "s"]), helper.make_node("Size", [prefix + "s"], [prefix + "r"]),
            helper.make_node("Equal", [prefix + "r", "rank"], [prefix + "c"]),
            helper.make_node("If", [prefix + "c"], [out], then_branch=then, else_branch=other),
        ]  # fmt: skip

    inner = [
        helper.make_node("Shape", ["same"], ["is"]), helper.make_node("Size", ["is"], ["ir"]),
        helper.make_node("Equal", ["ir", "rank"], ["ic"]),
        helper.make_node("If", ["ic"], ["deep"], then_branch=branch([helper.make_node("Mul", ["same", "w"], ["d"])], ["d"]),
                         else_branch=branch([helper.make_node("Identity", ["same"], ["d"])], ["d"])),
    ]  # fmt: skip
    nodes = [*by_rank("x", "a", "p", inner), *by_rank("a", "b", "q", [])]
    model = model_of(nodes, [value("x", ["n", 4])], [value("b")], [ints("rank", 2, scalar=True)])
    made, count = decided(model)
    assert (ifs(made), count) == (0, 3) and [node.op_type for node in made.graph.node] == ["Add", "Mul", "Add"]
    assert same(model, made, {"x": np.random.default_rng(1).random((3, 4), np.float32)})


def test_what_a_branch_hands_through_or_gives_twice_stays_right():
    then = branch(
        [helper.make_node("Relu", ["x"], ["r"])],
        ["r", "r2", "k"],
        [numpy_helper.from_array(np.ones(2, np.float32), "k")],
    )
    then.node.append(helper.make_node("Identity", ["r"], ["r2"]))
    other = branch([helper.make_node("Neg", ["x"], [name]) for name in ("u", "v", "w")], ["u", "v", "w"])
    nodes = [
        *asks_a_size("c", "x", "first", "size", "a"),
        helper.make_node("If", ["c"], ["p", "q", "k_out"], then_branch=then, else_branch=other),
    ]  # fmt: skip
    weights = [ints("first", 1, scalar=True), ints("size", 4, scalar=True)]
    model = model_of(nodes, [value("x", ["n", 4])], [value("p"), value("q"), value("k_out")], weights)
    made, count = decided(model)
    assert (ifs(made), count) == (0, 1)
    assert same(model, made, {"x": np.random.default_rng(2).standard_normal((2, 4)).astype(np.float32)})


def test_an_output_which_nobody_wants_takes_nothing_with_it():
    then = branch([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["m"])], ["r", "m"])
    other = branch([helper.make_node("Neg", ["x"], [name]) for name in ("u", "v")], ["u", "v"])
    nodes = [
        *asks_a_size("c", "x", "first", "size", "a"), helper.make_node("If", ["c"], ["", "y"], then_branch=then, else_branch=other),
    ]  # fmt: skip
    weights = [ints("first", 1, scalar=True), ints("size", 4, scalar=True)]
    made, count = decided(model_of(nodes, [value("x", ["n", 4])], [value("y")], weights))
    assert count == 1 and [node.op_type for node in made.graph.node] == ["Relu", "Neg"]
    run = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run
    assert run(None, {"x": np.array([[1, -2, 3, -4]], np.float32)})[0].tolist() == [[-1, 0, -3, 0]]


def test_what_is_true_of_one_turn_of_a_loop_decides_nothing():
    """The carried value grows by a column each turn: its size is 1 in the first turn only."""
    body_nodes = [
        *asks_a_size("c", "v", "first", "size", "a"),
        helper.make_node("If", ["c"], ["w"], then_branch=branch([helper.make_node("Neg", ["v"], ["n"])], ["n"]),
                         else_branch=branch([helper.make_node("Identity", ["v"], ["n"])], ["n"])),
        helper.make_node("Concat", ["w", "v"], ["v_out"], axis=1), helper.make_node("Identity", ["on"], ["on_out"]),
    ]  # fmt: skip
    body = helper.make_graph(
        body_nodes, "body", [value("i", [], INT64), value("on", [], TensorProto.BOOL), value("v", ["n", 1])],
        [value("on_out", [], TensorProto.BOOL), value("v_out")],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)]
    weights = [ints("turns", 3, scalar=True), ints("first", 1, scalar=True), ints("size", 1, scalar=True)]
    made = graph.normalise(model_of(nodes, [value("x", ["n", 1])], [value("y")], weights))
    assert branching.decide(made) == 0 and ifs(made) == 1


def test_a_condition_which_is_fed_decides_nothing():
    then, other = (branch([helper.make_node(op, ["x"], [op])], [op]) for op in ("Neg", "Relu"))
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    model = model_of(nodes, [value("x", [2]), value("c", [], TensorProto.BOOL)], [value("y")])
    made, count = decided(model)
    assert (ifs(made), count) == (1, 0) and made == graph.normalise(model)


def test_the_clean_up_tells_of_it(tmp_path):
    model = squeezed(["n", 1, 4])
    outcome = clean.apply(model, {}, PassContext([], work=tmp_path))
    assert "1 condition decided by ranks and fixed sizes" in outcome.changed and ifs(outcome.model) == 0
    assert same(model, outcome.model, {"x": np.ones((2, 1, 4), np.float32)})
