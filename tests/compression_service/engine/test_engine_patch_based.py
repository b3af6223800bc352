"""The first layers in bands of rows: the same numbers to the last bit, in less memory."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from test_engine_fuse import free, run

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes import fold_qdq, int8_static, patch_based
from compression_service.engine.passes.base import PassContext


def network(height=192, width=160, kernel=3, stride=2, pads=(1, 1), dilation=1, pool="MaxPool", group=1, **more):
    """Convolution, activation, depthwise convolution, pooling, and a small convolution behind a sum with itself."""
    rng = np.random.default_rng(0)
    before, after = pads
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 0]}
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["c"], strides=[stride, 1], pads=[before, 1, after, 1], dilations=[dilation, 1],
            group=group, **more,
        ),
        helper.make_node("Clip", ["c", "low"], ["r"]), helper.make_node("Mul", ["r", "scale"], ["s"]),
        helper.make_node("Conv", ["s", "d"], ["e"], group=16), helper.make_node(pool, ["e"], ["p"], **window),
        helper.make_node("Sigmoid", ["p"], ["g"]), helper.make_node("Mul", ["p", "g"], ["v"]),
        helper.make_node("Conv", ["v", "last"], ["y"]),
    ]  # fmt: skip
    weights = [
        models._weights(rng, "w", 16, 4 // group, kernel, 3), models._weights(rng, "b", 16),
        models._weights(rng, "d", 16, 1, 3, 3), models._weights(rng, "last", 4, 16, 1, 1),
        numpy_helper.from_array(np.float32(-0.1), "low"), models._weights(rng, "scale", 16, 1, 1),
    ]  # fmt: skip
    return models.model(nodes, [models._value("x", ["n", 4, height, width])], [free("y", 4)], weights)


def image(model, seed=0):
    _, channels, height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    return np.random.default_rng(seed).standard_normal((1, channels, height, width)).astype(np.float32)


def test_the_chain_runs_in_bands_and_what_lies_behind_it_once():
    model = network()
    outcome = patch_based.apply(model, {}, PassContext())
    found, bands = graph.operators(outcome.model), outcome.params["bands"]
    assert found["Slice"] == bands and found["MaxPool"] == bands and found["Sigmoid"] == 1 and bands > 1
    assert f"the first 5 layers in {bands} bands of rows: by their shapes" in outcome.changed
    x = image(model)
    assert np.array_equal(run(model, x=x), run(outcome.model, x=x))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(60, 200), kernel=st.integers(1, 5), stride=st.integers(1, 3), dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)), pool=st.sampled_from(["MaxPool", "AveragePool"]),
    group=st.sampled_from([1, 2]),
)  # fmt: skip
def test_bands_give_the_same_numbers_for_any_window(height, kernel, stride, dilation, pads, pool, group):
    model = network(height=height, kernel=kernel, stride=stride, dilation=dilation, pads=pads, pool=pool, group=group)
    try:
        outcome = patch_based.apply(model, {}, PassContext())
    except NotApplicableError:
        assume(False)
    x = image(model)
    assert np.array_equal(run(model, x=x), run(outcome.model, x=x))


def test_integer_convolutions_run_in_bands(tmp_path):
    model = network()
    context = PassContext(calibration=[{"x": image(model, seed)} for seed in range(4)], work=tmp_path)
    quantized = int8_static.apply(model, {"methods": ("min-max",)}, context).model
    folded = fold_qdq.apply(quantized, {}, context).model
    outcome = patch_based.apply(folded, {}, context)
    assert graph.operators(outcome.model)["QLinearConv"] > graph.operators(folded)["QLinearConv"]
    x = image(model, 9)
    assert np.array_equal(run(folded, x=x), run(outcome.model, x=x))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"height": 0}, "a height which is free"),
        ({"height": 12, "width": 16}, "too small to pay"),
        ({"auto_pad": "SAME_UPPER"}, "padding which depends on the whole height"),
    ],
)
def test_where_bands_would_not_do(given, shown):
    model = network(**given)
    if given.get("auto_pad"):
        model.graph.node[0].attribute.remove(next(one for one in model.graph.node[0].attribute if one.name == "pads"))
    if not given.get("height", 1):
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "h"
    with pytest.raises(NotApplicableError, match="No chain of convolutions"):
        patch_based.apply(model, {}, PassContext())
        pytest.fail(shown)


def test_a_value_which_is_asked_for_stays_whole():
    model = network()
    model.graph.output.append(free("r", 4))  # behind the first convolution, where it is as large as ever
    with pytest.raises(NotApplicableError):
        patch_based.apply(model, {}, PassContext())


def sequence(constant):
    """A convolution along one axis, where the last axis is the one of rows."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[2, 2]), helper.make_node("Mul", ["c", "by"], ["m"]),
        helper.make_node("MaxPool", ["m"], ["p"], kernel_shape=[4], strides=[4]),
        helper.make_node("Softmax", ["p"], ["y"]),
    ]  # fmt: skip
    by = numpy_helper.from_array(rng.standard_normal(constant).astype(np.float32), "by")
    weights = [models._weights(rng, "w", 32, 4, 5), by]
    return models.model(nodes, [models._value("x", [1, 4, 8192])], [free("y", 3)], weights)


@pytest.mark.parametrize(("constant", "layers"), [((), 3), ((32, 1), 3), ((1,), 3), ((8192,), 0), ((1, 8192), 0)])
def test_of_a_sequence_only_what_is_the_same_along_it_is_cut(constant, layers):
    model = sequence(constant)
    x = np.random.default_rng(1).standard_normal((1, 4, 8192)).astype(np.float32)
    if not layers:  # the convolution alone would leave its large result whole
        with pytest.raises(NotApplicableError):
            patch_based.apply(model, {}, PassContext())
        return
    outcome = patch_based.apply(model, {}, PassContext())
    assert outcome.params["layers"] == layers
    assert np.array_equal(run(model, x=x), run(outcome.model, x=x))


def test_networks_without_convolutions_are_left_alone():
    assert "No chain of convolutions" in (patch_based.verdict(graph.normalise(models.mlp())) or "")
