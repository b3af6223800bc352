"""Attention heads: found in the forms that exporters write, removed where they cost least, left alone elsewhere."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_engine_passes import agreement

from compression_service.engine import graph
from compression_service.engine.passes import prune_neurons
from compression_service.engine.passes.attention import attention_regions
from compression_service.engine.passes.base import PassContext

WIDTH, HEADS, OUT = 32, 4, 16


def attention(shape: str = "initializer", idle: tuple[int, ...] = (), heads_entry: int = HEADS):
    """One attention over [batch, length, 32]; the values of `idle` heads are zero, so they can go without a loss."""
    rng = np.random.default_rng(8)
    weights = {name: rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 6 for name in ("wq", "wk", "wv")}
    weights["wo"] = rng.standard_normal((WIDTH, OUT)).astype(np.float32) / 6
    weights |= {f"b{letter}": rng.standard_normal(WIDTH).astype(np.float32) / 10 for letter in "qkv"}
    for head in idle:
        weights["wv"][:, head * 8 : head * 8 + 8] = 0
        weights["bv"][head * 8 : head * 8 + 8] = 0
    made = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = []

    def shaped(name: str, entries: list[int]) -> str:
        if shape == "initializer":
            made.append(numpy_helper.from_array(np.asarray(entries, np.int64), name))
            return name
        parts = []
        for place, entry in enumerate(entries):
            parts.append(f"{name}{place}")
            if shape == "computed" and place == 1:
                nodes.append(helper.make_node("Shape", ["x"], [parts[-1]], start=1, end=2))
            else:
                made.append(numpy_helper.from_array(np.asarray([entry], np.int64), parts[-1]))
        nodes.append(helper.make_node("Concat", parts, [name], axis=0))
        return name

    for letter in "qkv":
        nodes += [
            helper.make_node("MatMul", ["x", f"w{letter}"], [f"{letter}0"]),
            helper.make_node("Add", [f"b{letter}", f"{letter}0"], [f"{letter}1"]),
        ]
        nodes.append(
            helper.make_node("Reshape", [f"{letter}1", shaped(f"{letter}s", [1, 6, heads_entry, 8])], [f"{letter}2"])
        )
        perm = [0, 2, 3, 1] if letter == "k" else [0, 2, 1, 3]
        nodes.append(helper.make_node("Transpose", [f"{letter}2"], [f"{letter}3"], perm=perm))
    made.append(numpy_helper.from_array(np.float32(0.35), "scale"))
    nodes += [
        helper.make_node("MatMul", ["q3", "k3"], ["s0"]),
        helper.make_node("Mul", ["s0", "scale"], ["s1"]),
        helper.make_node("Softmax", ["s1"], ["s2"], axis=-1),
        helper.make_node("MatMul", ["s2", "v3"], ["o0"]),
        helper.make_node("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["o1", shaped("os", [1, 6, WIDTH])], ["o2"]),
        helper.make_node("MatMul", ["o2", "wo"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, [1, 6, WIDTH])]
    return models.model(nodes, inputs, [value("y", TensorProto.FLOAT, [1, 6, OUT])], made)


def context(tmp_path, runs_like=None):
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal((1, 6, WIDTH)).astype(np.float32)} for _ in range(40)]
    return PassContext(calibration=feeds, work=tmp_path, runs_like=runs_like)


@pytest.mark.parametrize(
    ("shape", "entry"), [("initializer", HEADS), ("initializer", -1), ("constants", HEADS), ("computed", -1)]
)
def test_heads_which_do_nothing_go_without_a_loss(tmp_path, shape, entry):
    made = attention(shape, idle=(1, 3), heads_entry=entry)
    (region,) = attention_regions(graph.normalise(made))
    assert (region.channels, region.spread) == (HEADS, 8)
    outcome = prune_neurons.apply(made, {"share": 0.5}, context(tmp_path))
    weights = {t.name: list(t.dims) for t in outcome.model.graph.initializer}
    assert [weights[name] for name in ("wq", "wk", "wv", "wo")] == [[32, 16]] * 3 + [[16, OUT]]
    assert outcome.layers[0]["note"] == "2 of 4 heads removed" and "heads removed" in outcome.changed
    assert agreement(made, outcome.model) > 0.9995


def test_other_heads_cost_more_and_are_repaired(tmp_path):
    made = attention()
    outcome = prune_neurons.apply(made, {"share": 0.25}, context(tmp_path))
    assert outcome.layers[0]["note"] == "1 of 4 heads removed"
    assert 0.7 < agreement(made, outcome.model) < 0.9999


def test_a_model_which_does_not_run_without_its_heads_keeps_them(tmp_path):
    from compression_service.engine.errors import NotApplicableError
    from compression_service.engine.runner import RunError

    def refused(_left, _right):
        raise RunError("a shape does not fit")

    with pytest.raises(NotApplicableError):
        prune_neurons.apply(attention(), {"share": 0.25}, context(tmp_path, refused))


def test_an_attention_with_another_reader_is_left_alone():
    made = attention()
    made.graph.output.append(helper.make_tensor_value_info("s2", TensorProto.FLOAT, None))
    assert attention_regions(graph.normalise(made)) == []
