"""Models whose weights stay in their files: the same answers as in memory, one tensor at a time."""

from __future__ import annotations

from pathlib import Path

import engine_models as models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from compression_service.engine import graph, runner, streamed
from compression_service.engine.applicability import verdicts
from compression_service.engine.convert.act import convert
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make
from compression_service.engine.recipes import recipe

RECIPES = ("int8-dynamic", "int8-weights", "int4-weights", "fp16", "int8-storage", "onnx-mapped")


@pytest.fixture
def from_the_first_byte(monkeypatch, tmp_path):
    monkeypatch.setattr(streamed, "STREAMED_FROM_BYTES", 1)
    monkeypatch.setattr(streamed, "SMALLEST_BYTES", 1024)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)  # where spilled weights lie


def large() -> onnx.ModelProto:
    return models.mlp(inputs=64, hidden=2048, classes=96)


@pytest.mark.parametrize("external", [False, True])
def test_a_streamed_model_holds_no_weight_and_is_written_whole(tmp_path, from_the_first_byte, external):
    made, path = large(), tmp_path / "source" / "model.onnx"
    path.parent.mkdir()
    whole = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    onnx.save(made, path, save_as_external_data=external, location="model.onnx_data", size_threshold=0)
    loaded = graph.load(path)
    assert graph.is_streamed(loaded) and loaded.ByteSize() < 8_000
    for tensor in loaded.graph.initializer:
        assert np.array_equal(streamed.array(tensor), whole[tensor.name])
    files = graph.save(loaded, tmp_path / "out" / "model.onnx")
    read = onnx.load(files[0])
    assert {t.name: numpy_helper.to_array(t).tobytes() for t in read.graph.initializer} == {
        name: array.tobytes() for name, array in whole.items()
    }
    scratch = graph.save(loaded, tmp_path / "scratch" / "model.onnx", scratch=True)
    assert len(scratch) == 3 and scratch[2].stat().st_nlink == 2
    feed = {"x": np.ones((1, 64), np.float32)}
    for path in (files[0], scratch[0]):
        opened = runner.session(str(path))
        assert np.array_equal(next(iter(runner.outputs_of(opened, feed).values())), models.run(large(), feed)[0])


def test_bytes_are_told_while_they_are_read(tmp_path, from_the_first_byte):
    loaded = graph.load(models.saved(large(), tmp_path / "model.onnx"))
    told = []
    with streamed.watched(told.append):
        for tensor in loaded.graph.initializer:
            streamed.array(tensor)
    streamed.array(loaded.graph.initializer[0])
    assert sum(told) == sum(place[2] for t in loaded.graph.initializer if (place := streamed.located(t)))


@pytest.mark.parametrize("name", RECIPES)
def test_a_streamed_family_is_as_true_as_one_in_memory(tmp_path, from_the_first_byte, name):
    models.saved(large(), tmp_path / "source" / "model.onnx")
    converted = convert(tmp_path / "source", tmp_path / "base", tmp_path / "work-convert")
    assert {one["name"]: one["applies"] for one in converted["recipes"]}[name]
    said = []
    made = make(
        name, tmp_path / "base", tmp_path / "out", Request(seconds_cap=10), tmp_path / "work",
        lambda _share, message: said.append(message),
    )  # fmt: skip
    assert made["fidelity"] > 0.98
    assert made["files"] == [f"onnx/model{recipe(name).suffix}.onnx", f"onnx/model{recipe(name).suffix}.onnx_data"]
    size = sum((tmp_path / "out" / file).stat().st_size for file in made["files"])
    whole = large().ByteSize()
    least = {"onnx-mapped": 0.9, "fp16": 0.45}.get(name, 0.1)
    assert least * whole < size < (1.1 if name == "onnx-mapped" else 0.75) * whole
    assert name == "onnx-mapped" or any("GB read of a model of" in message for message in said)
    assert any((tmp_path / "base").rglob("*.onnx"))


def test_what_would_hold_everything_says_so(tmp_path, from_the_first_byte):
    loaded = graph.load(models.saved(large(), tmp_path / "model.onnx"))
    found = {one["name"]: one for one in verdicts({"model": loaded})}
    assert "one tensor is read at a time" in found["prune-neurons-25"]["reason"]
    models.saved(large(), tmp_path / "source" / "model.onnx")
    convert(tmp_path / "source", tmp_path / "base", tmp_path / "work-convert")
    with pytest.raises(NotApplicableError, match="one tensor is read at a time"):
        make("prune-50", tmp_path / "base", tmp_path / "out", Request(seconds_cap=5), tmp_path / "work")


def test_a_large_half_precision_model_is_not_widened(tmp_path, from_the_first_byte):
    made = large()
    for tensor in made.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    found = {one["name"]: one for one in verdicts({"model": graph.load(models.saved(made, tmp_path / "m.onnx"))})}
    assert "widen all fp16 weights" in found["int8-dynamic"]["reason"]


def test_a_file_which_ends_too_early_is_an_error(tmp_path, from_the_first_byte):
    path = tmp_path / "model.onnx"
    onnx.save(large(), path, save_as_external_data=True, location="weights", size_threshold=0)
    loaded = graph.load(path)
    (tmp_path / "weights").write_bytes(b"short")
    with pytest.raises(OSError, match=r"ended .* bytes too early"):
        graph.save(loaded, tmp_path / "out" / "model.onnx")


def test_four_bit_tensors_are_read_from_files_too(tmp_path):
    values = np.arange(-8, 8, dtype=np.int8)
    tensor = onnx.helper.make_tensor("w", TensorProto.INT4, [16], values)
    (tmp_path / "w").write_bytes(tensor.raw_data or bytes(tensor.int32_data))
    expected = numpy_helper.to_array(tensor)
    streamed.locate(tensor, tmp_path / "w", 0, 8)
    assert np.array_equal(streamed.array(tensor).astype(np.int8), expected.astype(np.int8))
