from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from compression_service.engine import applicability, graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.measure.machine import has_vnni
from compression_service.engine.passes import (
    clean,
    embeddings,
    fp16,
    int8_dynamic,
    int8_static,
    prune_magnitude,
    prune_neurons,
    weight_only,
)
from compression_service.engine.passes.base import PassContext
from compression_service.engine.recipes import RECIPES, STATIC_METHODS


def feeds(made, count: int = 12):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(count):
        feed = {}
        for value in graph.real_inputs(made.graph):
            spec = graph.value_spec(value)
            shape = [dim if isinstance(dim, int) else 1 for dim in spec["shape"]]
            kind = spec["dtype"]
            feed[spec["name"]] = (
                rng.integers(0, 2 if kind == "bool" else 100, shape).astype(kind)
                if not kind.startswith("float")
                else rng.standard_normal(shape).astype(kind)
            )
        found.append(feed)
    return found


def cosine(a, b):
    return float(np.dot(a.ravel(), b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b))


def agreement(left, right):
    return min(
        cosine(a, b)
        for feed in feeds(left)
        for a, b in zip(models.run(left, feed), models.run(right, feed), strict=True)
    )


def context(made, tmp_path):
    return PassContext(calibration=feeds(made, 16), work=tmp_path, vnni=has_vnni())


@pytest.mark.parametrize("opset", [7, 9, 10, 13, 17, 21])
def test_dynamic_int8_runs_from_opset_7_on(tmp_path, opset):
    made = models.mlp(opset=opset)
    outcome = int8_dynamic.apply(made, {}, context(made, tmp_path))
    assert agreement(made, outcome.model) > 0.999
    assert outcome.changed.startswith("2 matrices in int8")
    expected = "com.microsoft:DynamicQuantizeMatMul" if opset < 11 else "MatMulInteger"
    assert graph.operators(outcome.model)[expected] == 2


def test_dynamic_int8_takes_lstms_embeddings_and_branches(tmp_path):
    for made, word in (
        (models.lstm_with_state(), "1 matrix, 1 recurrent layer"),
        (models.embedding(), "1 matrix, 1 embedding table"),
        (models.branching(), "2 matrices"),
    ):
        outcome = int8_dynamic.apply(made, {}, context(made, tmp_path))
        assert outcome.changed.startswith(word)
        assert agreement(made, outcome.model) > 0.999


def test_without_vnni_seven_bits_are_used(tmp_path):
    made = models.mlp()
    given = context(made, tmp_path)
    given.vnni = False
    outcome = int8_dynamic.apply(made, {}, given)
    stored = [numpy_helper.to_array(t) for t in graph.tensors(outcome.model) if t.data_type == TensorProto.INT8]
    assert max(int(np.abs(array).max()) for array in stored) == 63
    assert agreement(made, outcome.model) > 0.999


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_static_int8_of_convolutions(tmp_path, opset):
    made = models.cnn(opset=opset)
    outcome = int8_static.apply(made, {"methods": STATIC_METHODS}, context(made, tmp_path))
    assert graph.operators(outcome.model)["QuantizeLinear"] > 2
    assert agreement(made, outcome.model) > 0.99
    assert outcome.params["calibration_count"] == 12


def test_static_int8_prints_nothing(tmp_path, capfd):
    made = models.cnn()
    int8_static.apply(made, {"methods": ("percentile",)}, context(made, tmp_path))
    assert capfd.readouterr().out == ""


def test_fp16_keeps_its_inputs_and_outputs(tmp_path):
    for made in (models.mlp(), models.cnn(), models.branching(), models.lstm_with_state()):
        outcome = fp16.apply(made, {}, context(made, tmp_path))
        specs = [[graph.value_spec(v)["dtype"] for v in m.graph.input] for m in (made, outcome.model)]
        assert specs[0] == specs[1]
        assert agreement(made, outcome.model) > 0.9999


def test_fp16_falls_back_to_storage_when_arithmetic_loses(tmp_path):
    made = models.mlp()
    given = context(made, tmp_path)
    given.runs_like = lambda _left, _right: 0.5
    outcome = fp16.apply(made, {}, given)
    assert outcome.params["mode"] == "storage"
    assert "0.5000" in outcome.changed
    assert agreement(made, outcome.model) > 0.9999
    assert len(outcome.model.SerializeToString()) < 0.7 * len(made.SerializeToString())


def test_pruning_reaches_its_sparsity(tmp_path):
    made = models.mlp()
    outcome = prune_magnitude.apply(made, {"sparsity": 0.5}, context(made, tmp_path))
    for name in ("w1", "w2"):
        weights = graph.Scope(outcome.model.graph).array(name)
        assert np.count_nonzero(weights == 0) == weights.size // 2
    thin = prune_magnitude.apply(made, {"threshold": 0.25}, context(made, tmp_path))
    before, after = (graph.Scope(m.graph).array("w1") for m in (made, thin.model))
    assert np.array_equal(after == 0, np.abs(before) < 0.25 * before.std())


def test_every_pass_gives_the_same_bytes_again(tmp_path):
    for number, (made, module, params) in enumerate(
        (
            (models.mlp(), int8_dynamic, {}),
            (models.lstm_with_state(), int8_dynamic, {}),
            (models.cnn(), int8_static, {"methods": STATIC_METHODS}),
            (models.embedding(), weight_only, {}),
            (models.embedding(rows=600), embeddings, {}),
            (models.mlp(), prune_neurons, {}),
            (models.cnn(), prune_neurons, {}),
            (models.mlp(), clean, {}),
            (models.cnn(), fp16, {}),
            (models.mlp(), prune_magnitude, {"sparsity": 0.5}),
        )
    ):
        written = []
        for turn in ("a", "b"):
            work = tmp_path / f"{number}-{turn}"
            work.mkdir()
            outcome = module.apply(made, dict(params), context(made, work))
            written.append(graph.save(outcome.model, work / "out.onnx")[0].read_bytes())
        assert written[0] == written[1], module.__name__


def verdict(made, recipe: str):
    return next(v for v in applicability.verdicts({"model": made}) if v["name"] == recipe)


def test_recipes_which_do_not_apply_say_why(tmp_path):
    refused = {v["name"]: v["reason"] for v in applicability.verdicts({"m": models.mlp()}) if not v["applies"]}
    words = ("mapped", "low-memory", "+emb4", "layers")
    assert set(refused) == {one.name for one in RECIPES if any(word in one.name for word in words)}
    assert "Mapping pays from" in refused["onnx-mapped"] and "no embedding table" in refused["int8-dynamic+emb4"]
    assert "convolutions" in verdict(models.cnn(), "int8-dynamic")["reason"]
    assert "block-wise kernels" in verdict(models.cnn(), "int4-weights")["reason"]
    half = fp16.apply(models.mlp(), {}, context(models.mlp(), tmp_path)).model
    assert verdict(half, "fp16")["reason"] == "The weights are fp16 already."
    quantized = int8_dynamic.apply(models.mlp(), {}, context(models.mlp(), tmp_path)).model
    for name in ("fp16", "int8-dynamic", "int8-static", "int4-weights", "prune-50"):
        assert verdict(quantized, name)["applies"] is False
        assert "already quantized" in verdict(quantized, name)["reason"]
    assert "If or Loop" in verdict(models.branching(), "int8-static")["reason"]


def test_a_gru_is_not_called_a_convolution():
    reason = int8_dynamic.verdict(models.gru())
    assert reason is not None
    assert "LSTM or Gather" in reason and "onvolution" not in reason


def test_static_int8_without_calibration_is_not_applicable(tmp_path):
    with pytest.raises(NotApplicableError, match="calibration inputs"):
        int8_static.apply(models.cnn(), {"methods": STATIC_METHODS}, PassContext(work=tmp_path))


def test_a_half_precision_source_can_become_int8(tmp_path):
    half = fp16._converted(models.cnn())
    inside = [t for t in graph.tensors(half) if t.data_type == TensorProto.FLOAT16]
    assert inside
    outcome = int8_static.apply(half, {"methods": ("min-max",)}, context(half, tmp_path))
    assert agreement(half, outcome.model) > 0.99
