"""Structured pruning, clean-up, mapped weights and folded QDQ: the graph changes, what it computes hardly does."""

from __future__ import annotations

import engine_models as models
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from test_engine_passes import agreement, context

from compression_service.engine import graph
from compression_service.engine.calibration.activations import convolution_rows
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes import (
    bias_correction,
    clean,
    external_data,
    fold_qdq,
    int8_static,
    prune_compensated,
    prune_magnitude,
    prune_neurons,
)
from compression_service.engine.passes.base import PassContext
from compression_service.engine.passes.regions import regions


def redundant_mlp(copies: int = 2, width: int = 32) -> onnx.ModelProto:
    """A network whose hidden neurons come in equal copies: half of them can go and nothing is lost."""
    made = models.mlp(hidden=width)
    for tensor in made.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        axis = {"w1": 1, "b1": 0, "w2": 0}.get(tensor.name)
        if axis is not None:
            part = np.take(array, range(width // copies), axis)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([part] * copies, axis), tensor.name))
    return made


def test_neurons_which_are_copies_go_without_a_loss(tmp_path):
    made = redundant_mlp()
    outcome = prune_neurons.apply(made, {"share": 0.5, "multiple": 1}, context(made, tmp_path))
    assert graph.Scope(outcome.model.graph).array("w1").shape == (64, 16)
    assert agreement(made, outcome.model) > 0.9995
    assert outcome.layers[0]["error"] < 0.02 and "16 of 32" in outcome.layers[0]["note"]


def test_least_squares_repairs_more_than_it_would_lose(tmp_path):
    """Pruned by the same choice but without the repair, the network is further from its source."""
    made = models.mlp()
    repaired = prune_neurons.apply(made, {"share": 0.5}, PassContext(correlated_feeds(200), work=tmp_path)).model
    kept = graph.Scope(repaired.graph).array("w1")
    whole = graph.Scope(made.graph).array("w1")
    places = [int(np.argmin(np.abs(whole - kept[:, [i]]).sum(0))) for i in range(kept.shape[1])]
    bare = onnx.ModelProto()
    bare.CopyFrom(repaired)
    for tensor in bare.graph.initializer:
        if tensor.name in ("w2", "b2"):
            source = graph.Scope(made.graph).array(tensor.name)
            cut = source[places] if tensor.name == "w2" else source
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(cut), tensor.name))
    fresh = correlated_feeds(50, seed=5)
    losses = [
        sum(float(((models.run(made, f)[0] - models.run(one, f)[0]) ** 2).sum()) for f in fresh)
        for one in (repaired, bare)
    ]
    assert losses[0] < 0.7 * losses[1]


def correlated_feeds(count: int, seed: int = 3) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).standard_normal((8, 64))
    rows = rng.standard_normal((count, 8)) @ mix + 0.05 * rng.standard_normal((count, 64))
    return [{"x": row.astype(np.float32)[None]} for row in rows]


def test_channels_of_convolutions_go_and_the_next_one_is_cut_along(tmp_path):
    made = models.cnn()
    outcome = prune_neurons.apply(made, {"share": 0.4, "multiple": 1}, context(made, tmp_path))
    first, second = (graph.Scope(outcome.model.graph).array(name).shape for name in ("k1", "k2"))
    assert first[0] == second[1] < 16 and second[0] == 10
    assert agreement(made, outcome.model) > 0.8


def block(tail: str) -> onnx.ModelProto:
    """Conv, batch norm, Relu, a depthwise Conv, Conv; with `tail` residual its sum with the input of the block."""
    rng = np.random.default_rng(8)
    make = models._weights
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "kd"], ["d1"], pads=[1, 1, 1, 1], group=16),
        helper.make_node("Conv", ["d1", "k2"], ["c2"]),
        helper.make_node("Add", ["c2", "x"], ["s"]) if tail == "residual" else helper.make_node("Relu", ["c2"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    weights = [
        make(rng, "k1", 16, 8, 3, 3), make(rng, "g", 16), make(rng, "b", 16), make(rng, "m", 16),
        onnx.numpy_helper.from_array(rng.random(16).astype(np.float32) + 0.5, "v"),
        make(rng, "kd", 16, 1, 3, 3), make(rng, "k2", 8, 16, 1, 1), make(rng, "w", 8, 10),
    ]  # fmt: skip
    shape = ["batch", 8, 10, 10]
    return models.model(nodes, [models._value("x", shape)], [models._value("y", ["batch", 10])], weights)


def test_a_residual_sum_keeps_its_channels_and_what_is_inside_loses_them(tmp_path):
    made = block("residual")
    assert [(r.producer.output[0], len(r.depthwise)) for r in regions(graph.normalise(made))] == [("c1", 1)]
    outcome = prune_neurons.apply(made, {"share": 0.4, "multiple": 1}, context(made, tmp_path))
    shapes = {name: graph.Scope(outcome.model.graph).array(name).shape for name in ("k1", "g", "v", "kd", "k2")}
    left = shapes["k1"][0]
    assert left < 16 and shapes == {"k1": (left, 8, 3, 3), "g": (left,), "v": (left,), "kd": (left, 1, 3, 3),
                                    "k2": (8, left, 1, 1)}  # fmt: skip
    assert agreement(made, outcome.model) > 0.9


def test_a_gelu_of_many_nodes_is_one_region():
    rng = np.random.default_rng(9)
    scalar = lambda name, value: onnx.numpy_helper.from_array(np.asarray(value, np.float32), name)  # noqa: E731
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"]),
        helper.make_node("Add", ["m", "b1"], ["h"]),
        helper.make_node("Div", ["h", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["h", "a"], ["t"]),
        helper.make_node("Mul", ["t", "half"], ["u"]),
        helper.make_node("MatMul", ["u", "w2"], ["y"]),
    ]
    weights = [models._weights(rng, "w1", 16, 64), models._weights(rng, "b1", 64), models._weights(rng, "w2", 64, 16),
               scalar("root", 1.414), scalar("one", 1.0), scalar("half", 0.5)]  # fmt: skip
    made = models.model(nodes, [models._value("x", [1, 4, 16])], [models._value("y", [1, 4, 16])], weights)
    (region,) = regions(made)
    assert region.channels == 64 and sorted(s.tensor for s in region.slices) == ["b1", "w1"]
    # What else reads the hidden values would miss the neurons.
    made.graph.output.append(helper.make_tensor_value_info("e", models.FLOAT, [1, 4, 64]))
    assert regions(made) == []


def test_pruning_says_why_it_cannot(tmp_path):
    with pytest.raises(NotApplicableError, match="calibration inputs"):
        prune_neurons.apply(models.mlp(), {}, PassContext(work=tmp_path))
    assert "hidden neurons or channels" in prune_neurons.verdict(models.embedding())


def test_clean_up_changes_no_number_and_keeps_what_callers_name(tmp_path):
    for made in (models.mlp(), models.cnn(), models.branching(), models.lstm_with_state()):
        for node in made.graph.node:
            node.doc_string, node.name = "from a file of the exporter, line 12", f"/encoder/layer.0/{node.output[0]}"
        outcome = clean.apply(made, {}, context(made, tmp_path))
        assert agreement(made, outcome.model) > 0.999999
        assert len(outcome.model.SerializeToString()) < len(made.SerializeToString())
        for kind in ("input", "output"):
            names = [[v.name for v in getattr(m.graph, kind)] for m in (made, outcome.model)]
            assert names[0] == names[1]


def test_mapped_weights_stand_beside_the_graph_and_load(tmp_path):
    made = models.embedding(rows=5000)
    assert external_data.verdict(models.mlp()) is not None and external_data.verdict(made) is None
    outcome = external_data.apply(made, {}, context(made, tmp_path))
    files = graph.save(outcome.model, tmp_path / "out" / "model.onnx", outcome.external)
    assert [f.name for f in files] == ["model.onnx", "model.onnx_data"] and files[0].stat().st_size < 4096
    again = graph.save(outcome.model, tmp_path / "out" / "model.onnx", outcome.external)
    assert again[1].stat().st_size == 5000 * 64 * 4 + 64 * 32 * 4
    onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])


def test_folded_pairs_run_the_same(tmp_path):
    made = models.cnn()
    given = context(made, tmp_path)
    quantized = int8_static.apply(made, {"methods": ("min-max",)}, given).model
    outcome = fold_qdq.apply(quantized, {}, given)
    assert graph.operators(outcome.model)["QLinearConv"] == 2
    assert agreement(quantized, outcome.model) > 0.9999
    with pytest.raises(NotApplicableError, match="no pairs"):
        fold_qdq.apply(made, {}, given)


@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_compensated_zeros_cost_less_than_the_smallest_weights(tmp_path, pattern):
    made = models.mlp()
    feeds = correlated_feeds(200)
    outcome = prune_compensated.apply(made, {"pattern": pattern}, PassContext(feeds, work=tmp_path))
    plain = prune_magnitude.apply(made, {"sparsity": 0.5}, PassContext(feeds, work=tmp_path)).model
    weights = graph.Scope(outcome.model.graph).array("w1")
    assert np.mean(weights == 0) == pytest.approx(0.5, abs=0.01)
    if pattern:
        assert ((weights.reshape(-1, 4, weights.shape[1]) == 0).sum(1) == 2).all()
    fresh = correlated_feeds(50, seed=5)
    losses = [
        sum(float(((models.run(made, f)[0] - models.run(one, f)[0]) ** 2).sum()) for f in fresh)
        for one in (outcome.model, plain)
    ]
    assert losses[0] < (0.5 if pattern else 0.3) * losses[1]  # the pattern leaves less to choose from
    with pytest.raises(NotApplicableError, match="2:4 or none"):
        prune_compensated.apply(made, {"pattern": "1:9"}, PassContext(feeds, work=tmp_path))


def test_compensated_pruning_takes_convolutions(tmp_path):
    made = models.cnn()
    outcome = prune_compensated.apply(made, {}, context(made, tmp_path))
    assert [layer["operator"] for layer in outcome.layers] == ["Conv", "Conv"]
    assert agreement(made, outcome.model) > 0.9


def test_a_moved_mean_is_put_right_in_the_bias(tmp_path):
    made = models.mlp()
    moved = onnx.ModelProto()
    moved.CopyFrom(made)
    for tensor in moved.graph.initializer:
        if tensor.name in ("b1", "b2"):
            array = onnx.numpy_helper.to_array(tensor) + 0.3
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    given = PassContext(correlated_feeds(60), work=tmp_path, source=made)
    outcome = bias_correction.apply(moved, {"inputs": 60}, given)
    for name in ("b1", "b2"):
        assert np.allclose(*(graph.Scope(m.graph).array(name) for m in (made, outcome.model)), atol=1e-4)
    given.runs_like = lambda _source, one: 0.5  # as close before as after
    with pytest.raises(NotApplicableError, match="did not help"):
        bias_correction.apply(moved, {}, given)
    with pytest.raises(NotApplicableError, match="source model"):
        bias_correction.apply(moved, {}, PassContext(correlated_feeds(2), work=tmp_path))
    assert "constant bias" in bias_correction.verdict(models.embedding())


def test_convolution_rows_are_what_a_convolution_multiplies():
    """x → rows · W is the convolution itself, with strides, pads and dilations."""
    rng = np.random.default_rng(11)
    for attributes in (
        {},
        {"pads": [1, 0, 2, 1]},
        {"strides": [2, 1], "dilations": [1, 2]},
        {"auto_pad": "SAME_UPPER"},
    ):
        kernel = models._weights(rng, "k", 5, 3, 3, 2)
        node = helper.make_node("Conv", ["x", "k"], ["y"], **attributes)
        made = models.model(
            [node], [models._value("x", [1, 3, 9, 8])], [models._value("y", [1, 5, "h", "w"])], [kernel]
        )
        x = rng.standard_normal((1, 3, 9, 8)).astype(np.float32)
        rows = convolution_rows(node, (3, 2))(x, 4096)
        expected = np.moveaxis(models.run(made, {"x": x})[0], 1, -1).reshape(-1, 5)
        weights = onnx.numpy_helper.to_array(kernel).reshape(5, -1).T
        assert np.allclose(rows @ weights, expected, atol=1e-4), attributes
        few = convolution_rows(node, (3, 2))(x, 5)
        assert 0 < len(few) <= 5 and all((rows == row).all(1).any() for row in few)
