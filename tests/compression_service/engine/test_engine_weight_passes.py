"""Weight-only quantization, embeddings and 4-bit storage: what is written runs, is small, and is as true as it says."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from test_engine_passes import agreement, context

from compression_service.engine import graph
from compression_service.engine.applicability import PASSES, choices
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes import (
    embeddings,
    int4_storage,
    int8_dynamic,
    int8_static,
    int8_storage,
    weight_only,
)
from compression_service.engine.passes.base import PassContext
from compression_service.engine.passes.rounding import inverse_factor, relative_error, rounded, two_level
from compression_service.engine.recipes import RECIPES, recipe


def correlated(rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Inputs [rows, width] which a few directions explain, as the activations of real networks are."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, 6)) @ rng.standard_normal((6, width))).astype(np.float32) + 0.1 * (
        rng.standard_normal((rows, width)).astype(np.float32)
    )


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weight_only_runs_like_its_source(tmp_path, bits, symmetric):
    for made in (models.embedding(), models.mlp(inputs=70), models.branching()):
        outcome = weight_only.apply(made, {"bits": bits, "symmetric": symmetric}, context(made, tmp_path))
        assert agreement(made, outcome.model) > (0.98 if bits == 4 else 0.9995)
        assert graph.operators(outcome.model)["com.microsoft:MatMulNBits"] >= 1
        assert outcome.model.ir_version <= 8
        for layer in outcome.layers:
            assert layer["bits"] == bits and layer["bytes_after"] < layer["bytes_before"] / (2 if bits == 8 else 4)
            assert 0 < layer["error"] < 0.05


def test_gptq_loses_less_than_rounding_to_nearest():
    weights = np.random.default_rng(1).standard_normal((96, 40)).astype(np.float32)
    inputs = correlated(400, 96).astype(np.float64)
    gram = inputs.T @ inputs
    nearest, compensated = (rounded(weights, 4, 32, g) for g in (None, gram))
    errors = [relative_error(weights, one.values(), gram) for one in (nearest, compensated)]
    assert errors[1] < 0.5 * errors[0]


def test_gptq_with_blocks_wider_than_its_lazy_updates_is_the_same_as_in_one_go(monkeypatch):
    from compression_service.engine.passes import rounding

    weights = np.random.default_rng(2).standard_normal((256, 8)).astype(np.float32)
    inputs = correlated(600, 256).astype(np.float64)
    gram = inputs.T @ inputs
    lazy = rounded(weights, 4, 128, gram)
    monkeypatch.setattr(rounding, "LAZY", 256)
    assert np.mean(lazy.codes != rounded(weights, 4, 128, gram).codes) < 0.01


def test_mixed_bits_keep_the_most_sensitive_layer_wide(tmp_path):
    made = models.mlp()
    outcome = weight_only.apply(made, {"keep8": 0.1}, context(made, tmp_path))
    kept = [layer for layer in outcome.layers if layer["bits"] == 8]
    assert len(kept) == 1 and kept[0]["sensitivity"] > 0 and "1 layer kept in 8 bits" in outcome.changed
    assert agreement(made, outcome.model) > 0.98


@pytest.mark.parametrize("bits", [4, 8])
def test_embedding_tables_are_looked_up_in_blocks(tmp_path, bits):
    made = models.embedding(rows=600)
    outcome = embeddings.apply(made, {"bits": bits, "block": 32}, context(made, tmp_path))
    assert graph.operators(outcome.model)["com.microsoft:GatherBlockQuantized"] == 1
    assert agreement(made, outcome.model) > (0.98 if bits == 4 else 0.9999)
    assert len(outcome.model.SerializeToString()) < len(made.SerializeToString()) * (0.5 if bits == 8 else 0.4)
    small = models.embedding(rows=200)
    for other in (models.mlp(), small):
        assert "no embedding table of at least 32,768 numbers" in (embeddings.verdict(graph.normalise(other)) or "")
        with pytest.raises(NotApplicableError):
            embeddings.apply(other, {}, context(other, tmp_path))


def test_four_bits_are_stored_and_eight_bits_compute(tmp_path):
    for made, make_int8, params in (
        (models.cnn(), int8_static, {"methods": ("min-max",)}),
        (models.mlp(), int8_static, {"methods": ("min-max",)}),
        (models.mlp(), int8_dynamic, {}),
    ):
        given_context = context(made, tmp_path)
        int8 = make_int8.apply(made, params, given_context).model
        outcome = int4_storage.apply(int8, {}, given_context)
        assert agreement(made, outcome.model) > 0.97
        assert all(
            layer["bits"] == 4 and layer["bytes_after"] < 0.6 * layer["bytes_before"] for layer in outcome.layers
        )
    with pytest.raises(NotApplicableError, match="int8 weight"):
        int4_storage.apply(models.mlp(), {}, context(models.mlp(), tmp_path))


def test_storage_can_spare_the_worst_and_the_outer_layers(tmp_path):
    made = models.mlp(inputs=64, hidden=64, classes=64)
    given_context = context(made, tmp_path)
    int8 = int8_dynamic.apply(made, {}, given_context).model
    outcome = int4_storage.apply(int8, {"keep8": 0.4}, given_context)
    assert sorted(layer["bits"] for layer in outcome.layers) == [4, 8]


@settings(max_examples=40, deadline=None)
@given(
    inputs=st.integers(1, 70), outputs=st.integers(1, 9), bits=st.sampled_from([4, 8]),
    block=st.sampled_from([16, 32]), symmetric=st.booleans(), scale=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
    compensated=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_codes_stay_in_their_range_whatever_the_weights(
    inputs, outputs, bits, block, symmetric, scale, compensated, seed
):
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal((inputs, outputs)) * scale).astype(np.float32)
    seen = rng.standard_normal((5, inputs))
    made = rounded(weights, bits, block, seen.T @ seen if compensated else None, symmetric)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    assert made.codes.min() >= low and made.codes.max() <= high
    assert np.isfinite(made.values()).all()
    if not compensated:
        step = np.abs(made.scales).max()
        assert np.abs(made.values() - weights).max() <= 4.5 * step + 1e-6


@settings(max_examples=40, deadline=None)
@given(outputs=st.integers(1, 7), blocks=st.integers(1, 4), seed=st.integers(0, 99), compensated=st.booleans())
def test_two_levels_always_fit_int8(outputs, blocks, seed, compensated):
    rng = np.random.default_rng(seed)
    integers = rng.integers(-127, 128, (blocks * 16, outputs)).astype(np.int8)
    seen = rng.standard_normal((40, blocks * 16))
    made = two_level(integers, 16, seen.T @ seen if compensated else None)
    products = made.codes.astype(int) * np.repeat(made.factors.astype(int), 16, 0)
    assert products.min() >= -128 and products.max() <= 127
    assert made.codes.min() >= -8 and made.codes.max() <= 7 and made.factors.min() >= 1


def test_inputs_never_seen_do_not_break_the_factor():
    gram = np.zeros((4, 4))
    gram[0, 0] = 2.0
    assert np.isfinite(inverse_factor(gram)).all()


def test_without_calibration_weights_are_rounded_to_nearest(tmp_path):
    outcome = weight_only.apply(models.mlp(), {}, PassContext(work=tmp_path))
    assert "rounded to nearest" in outcome.changed


@pytest.mark.parametrize(
    "name", [one.name for one in RECIPES if one.name.startswith(("int4-storage", "prune-neurons-25+int4"))]
)
def test_recipes_which_store_four_bits_leave_them_in_the_file(tmp_path, name):
    """Folding the graph afterwards would unpack them: the file would be int8's and claim to be more."""
    made = models.cnn() if "mixed" not in name else models.mlp(inputs=64, hidden=64, classes=64)
    current, given_context = made, context(made, tmp_path)
    for step in recipe(name).steps:
        for chosen in choices(step, graph.normalise(current)):
            try:
                current = PASSES[chosen.name].apply(current, dict(chosen.params), given_context).model
                break
            except NotApplicableError:
                continue
    weights = [t for t in graph.tensors(current) if t.data_type == TensorProto.INT8 and len(t.dims) >= 2]
    packed = [t for t in graph.tensors(current) if t.data_type == TensorProto.UINT8 and len(t.dims) == 3]
    assert packed
    if "mixed" not in name:
        assert sum(map(graph.elements, weights)) < sum(map(graph.elements, packed))


@pytest.mark.parametrize("made", [models.gru(), models.cnn(), models.branching(), models.mlp(), models.embedding()])
def test_weights_stored_in_8_bits_are_a_quarter_of_the_file_and_true_with_any_operator(made, tmp_path):
    if int8_storage.verdict(graph.normalise(made)):
        pytest.skip("this network has no weight that is large enough")
    outcome = int8_storage.apply(made, {}, context(made, tmp_path))
    assert agreement(made, outcome.model) > 0.999
    assert all(one["bits"] == 8 and 0 <= one["error"] < 1e-3 for one in outcome.layers)
    assert not [
        t
        for t in graph.tensors(outcome.model)
        if t.data_type == TensorProto.FLOAT and graph.elements(t) > 1024 and len(t.dims) > 1 and t.dims[0] > 1
    ]


def test_a_gru_is_stored_in_8_and_in_4_bits(tmp_path):
    made = models.gru()
    assert int8_dynamic.verdict(graph.normalise(made)) is not None
    eight = int8_storage.apply(made, {}, context(made, tmp_path)).model
    four = int4_storage.apply(eight, {}, context(made, tmp_path)).model
    assert agreement(made, four) > 0.97
    assert four.ByteSize() < eight.ByteSize() < 0.4 * made.ByteSize()


@pytest.mark.parametrize("opset", [7, 9, 10])
def test_four_bits_are_stored_in_graphs_of_old_opsets(tmp_path, opset):
    made = models.mlp(opset=opset)
    eight = int8_storage.apply(made, {}, context(made, tmp_path)).model
    four = int4_storage.apply(eight, {}, context(made, tmp_path)).model
    assert agreement(made, four) > 0.97
    assert ("Mod" in graph.operators(four)) == (opset >= 10)


def test_what_cannot_be_held_in_8_bits_stays_and_an_old_opset_is_told():
    made = models.mlp(hidden=128, classes=20)
    broken = numpy_helper.to_array(made.graph.initializer[0]).copy()
    broken[0, 0] = np.inf
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, made.graph.initializer[0].name))
    outcome = int8_storage.apply(made, {}, PassContext())
    assert made.graph.initializer[0].name in {t.name for t in outcome.model.graph.initializer}
    assert "needs opset 7" in (int8_storage.verdict(models.mlp(opset=6)) or "")


def test_scales_and_other_rows_are_no_weights(tmp_path):
    made = models.embedding(rows=1500)
    int8 = int8_dynamic.apply(made, {}, context(made, tmp_path)).model
    assert any(list(t.dims) == [1500, 1] for t in graph.tensors(int8))
    assert "left which 8 bits" in (int8_storage.verdict(graph.normalise(int8)) or "")
    wide = models.mlp(inputs=64, hidden=1200)  # its own scales have more than 1,024 numbers
    outcome = int8_storage.apply(wide, {}, context(wide, tmp_path))
    assert len(outcome.layers) == 2 and agreement(wide, outcome.model) > 0.999


def test_static_int8_takes_recurrent_layers_along_and_stores_the_rest():
    steps = [{name for name, _ in step.passes} for step in recipe("int8-static").steps]
    static = steps.index({"int8_static"})
    assert steps[static + 1] == {"int8_dynamic", "keep"} and {"int8_storage", "keep"} in steps[static:]
