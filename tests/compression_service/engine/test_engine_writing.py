"""How graphs are written: numbers packed, weights which layers share kept once."""

from __future__ import annotations

import engine_models as models
import numpy as np
from onnx import helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.passes import fp16, int4_storage, int8_dynamic, int8_storage, weight_only
from compression_service.engine.passes.base import PassContext


def agreement(left, right, rows) -> float:
    pairs = [(models.run(left, row)[0].ravel(), models.run(right, row)[0].ravel()) for row in rows]
    return min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)


def test_numbers_in_repeated_fields_are_packed_and_can_be_mapped(tmp_path):
    """onnxruntime's fp16 converter leaves them so: larger by a quarter, and never written beside the graph."""
    made = fp16.apply(models.mlp(), {}, PassContext([], work=tmp_path)).model
    for tensor in made.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.int32_data[:] = array.view(np.uint16).ravel().astype(np.int32).tolist()
    expected = models.run(made, {"x": np.ones((1, 64), np.float32)})[0]
    for external in (False, True):
        files = graph.save(made, tmp_path / f"{external}" / "model.onnx", external)
        assert len(files) == 1 + external and all(file.is_file() for file in files)
        assert sum(file.stat().st_size for file in files) < 2 * sum(map(graph.elements, made.graph.initializer)) + 2000
        assert np.array_equal(models.run(graph.load(files[0]), {"x": np.ones((1, 64), np.float32)})[0], expected)


def test_external_data_of_a_model_with_small_weights_only_is_one_file(tmp_path):
    made = models.mlp(inputs=4, hidden=4, classes=2)
    files = graph.save(made, tmp_path / "model.onnx", external=True)
    assert [file.name for file in files] == ["model.onnx"] and graph.load(files[0]).graph.initializer


def shared_layers(times: int = 4):
    """One weight in several products, as ALBERT has: handed on by Identity nodes, as torch's exporter writes it."""
    rng = np.random.default_rng(0)
    weight = models._weights(rng, "w", 64, 64)
    nodes, value = [], "x"
    for i in range(times):
        name = "w" if not i else f"w{i}"
        if i:
            nodes.append(helper.make_node("Identity", ["w"], [name]))
        nodes += [helper.make_node("MatMul", [value, name], [f"m{i}"]), helper.make_node("Tanh", [f"m{i}"], [f"t{i}"])]
        value = f"t{i}"
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    return models.model(nodes, [models._value("x", [1, 5, 64])], [models._value("y", [1, 5, 64])], [weight])


def test_a_weight_which_layers_share_is_rounded_and_stored_once(tmp_path):
    given = shared_layers()
    rows = [{"x": np.random.default_rng(i).standard_normal((1, 5, 64)).astype(np.float32)} for i in range(16)]
    packed = weight_only.apply(given, {"bits": 4, "block": 32}, PassContext(rows, work=tmp_path))
    assert packed.changed.startswith("1 matrix") and len(packed.layers) == 1
    assert graph.operators(packed.model)["com.microsoft:MatMulNBits"] == 4
    assert sum(len(t.dims) == 3 for t in packed.model.graph.initializer) == 1
    for first in (int8_dynamic, int8_storage):
        eight = first.apply(given, {}, PassContext(rows, work=tmp_path)).model
        four = int4_storage.apply(eight, {"block": 32}, PassContext(rows, work=tmp_path))
        assert four.changed.startswith("1 int8 weight stored in 4 bits"), first.__name__
        assert eight.ByteSize() - four.model.ByteSize() > 1000  # of 4,096 bytes half, less the nodes which unpack
        assert agreement(given, four.model, rows) > 0.97
