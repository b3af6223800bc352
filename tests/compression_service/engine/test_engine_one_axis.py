"""A convolution of one axis is a product, and takes dynamic int8 as one."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from onnx import helper

from compression_service.engine import graph
from compression_service.engine.calibration import augment
from compression_service.engine.passes import int8_dynamic
from compression_service.engine.passes.base import PassContext, inputs_told


def network(kernel: int = 1, bias: bool = True, **attributes):
    rng = np.random.default_rng(0)
    weights = [models._weights(rng, "w", 48, 32, kernel), models._weights(rng, "m", 48, 40)]
    inputs = ["x", "w"]
    if bias:
        weights.append(models._weights(rng, "b", 48))
        inputs.append("b")
    nodes = [
        helper.make_node("Conv", inputs, ["c"], **attributes), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["t", "m"], ["y"]),
    ]  # fmt: skip
    return models.model(nodes, [models._value("x", [1, 32, 7])], [models._value("y", [1, "l", 40])], weights)


def row(seed: int = 0):
    return {"x": np.random.default_rng(seed).standard_normal((1, 32, 7)).astype(np.float32)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (1, {}), (1, {"auto_pad": "SAME_UPPER"}), (1, {"pads": [0, 0], "strides": [1]}), (1, {"strides": [2]}), (1, {"pads": [1, 2]}),
        (3, {}), (3, {"pads": [1, 1]}), (3, {"pads": [2, 0], "strides": [2]}), (2, {"dilations": [3], "auto_pad": "VALID"}),
        (5, {"pads": [2, 2], "strides": [3]}),
    ],
)  # fmt: skip
def test_it_becomes_an_integer_product(tmp_path, kernel, attributes, bias):
    given = network(kernel, bias, **attributes)
    assert int8_dynamic.verdict(given) is None
    made = int8_dynamic.apply(given, {}, PassContext(work=tmp_path))
    assert graph.operators(made.model).get("Conv") is None and made.changed.startswith("2 matrices")
    a, b = models.run(given, row())[0], models.run(made.model, row())[0]
    assert a.shape == b.shape and np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)


@pytest.mark.parametrize(("kernel", "attributes"), [(3, {"auto_pad": "SAME_UPPER"}), (17, {"pads": [8, 8]})])
def test_one_whose_padding_is_not_stated_or_whose_kernel_is_wide_stays(tmp_path, kernel, attributes):
    made = int8_dynamic.apply(network(kernel, **attributes), {}, PassContext(work=tmp_path))
    assert graph.operators(made.model)["Conv"] == 1


@pytest.mark.parametrize("attributes", [{}, {"pads": [2, 0, 2, 0]}, {"strides": [2, 1], "pads": [0, 1, 1, 1]}])
def test_a_kernel_of_two_axes_which_looks_along_one_is_taken_too(tmp_path, attributes):
    """magika's convolution has a kernel of 5 × 1."""
    rng = np.random.default_rng(0)
    weights = [models._weights(rng, "w", 24, 16, 5, 1), models._weights(rng, "b", 24)]
    given = models.model(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)], [models._value("x", [1, 16, 12, 3])],
        [models._value("y", [1, 24, "h", "w"])], weights,
    )  # fmt: skip
    made = int8_dynamic.apply(given, {}, PassContext(work=tmp_path))
    feed = {"x": rng.standard_normal((1, 16, 12, 3)).astype(np.float32)}
    a, b = models.run(given, feed)[0], models.run(made.model, feed)[0]
    assert "Conv" not in graph.operators(made.model)
    assert a.shape == b.shape and np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)


def test_networks_of_images_keep_their_convolutions():
    assert "ConvInteger" in int8_dynamic.verdict(models.cnn())


def test_inputs_are_made_when_they_are_asked_for_and_told_so():
    specs = [{"name": "x", "role": "signal"}]
    feeds = [row(0), row(1)]
    grown, words = augment.more(feeds, specs, 100, np.random.default_rng(3))
    assert len(grown) == 100 and words == "noise" and grown[1] is feeds[1]
    context = PassContext(calibration=feeds)
    assert inputs_told(grown, context) == "2 inputs"
    seventh = grown[6]["x"]
    assert inputs_told(grown, context) == "7 inputs, 5 of them made from the calibration inputs"
    again, _ = augment.more(feeds, specs, 100, np.random.default_rng(3))
    assert np.array_equal(again[6]["x"], seventh) and len(list(again)) == 100 and len(again[:10]) == 10
    with pytest.raises(IndexError):
        again[100]
