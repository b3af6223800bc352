"""A fast part of the shared models: each has something that once stopped a tool."""

from __future__ import annotations

import shutil

import engine_models as models
import pytest

from compression_service.engine.convert.act import convert
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make
from compression_service.engine.recipes import RECIPES


def baseline(name: str, file: str, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copyfile(models.assets() / name / file, source / file)
    return convert(source, tmp_path / "baseline", tmp_path / "work")


def made(recipe: str, tmp_path, seconds_cap: float = 4.0):
    request = Request(support=tmp_path / "source", seconds_cap=seconds_cap)
    return make(recipe, tmp_path / "baseline", tmp_path / "v" / recipe, request, tmp_path / "work")


def reasons(converted) -> dict[str, str]:
    return {one["name"]: one["reason"] for one in converted["recipes"] if not one["applies"]}


def test_weights_in_constant_nodes(tmp_path):
    converted = baseline("models/ppocr-v2-cls", "ch_ppocr_mobile_v2.0_cls_infer.onnx", tmp_path)
    assert converted["components"][0]["weights_bytes"] > 500_000
    result = made("fp16", tmp_path)
    size = sum((tmp_path / "v/fp16" / file).stat().st_size for file in result["files"])
    assert size < 0.6 * converted["components"][0]["size_bytes"] and result["fidelity"] > 0.999


def test_weights_in_if_branches_and_state(tmp_path):
    baseline("models/silero-vad", "silero_vad.onnx", tmp_path)
    result = made("int8-dynamic", tmp_path)
    assert any("recurrent layers in int8" in entry["changed"] for entry in result["passes"])
    assert result["fidelity"] > 0.97
    assert "sr int64 []: 16000" in result["fidelity_inputs"]["source"]


def test_removed_operators_of_opset_seven(tmp_path):
    converted = baseline("models/fns-candy-style", "candy.onnx", tmp_path)
    assert "int8-dynamic" in reasons(converted)
    with pytest.raises(NotApplicableError, match="ImageScaler"):
        made("int8-static", tmp_path, seconds_cap=1.0)


def test_external_data_travels_and_quantized_models_are_recognised(tmp_path):
    source = models.assets() / "models/onnx-external-data"
    converted = convert(source, tmp_path / "baseline", tmp_path / "work")
    assert converted["files"] == ["onnx/model.onnx", "onnx/conv_qdq_external_ini.bin"]
    found = reasons(converted)
    assert all("Mapping pays from" in found.pop(name) for name in ("onnx-mapped", "onnx-low-memory"))
    assert all("already quantized" in reason for reason in found.values()) and len(found) == len(RECIPES) - 3


def test_classic_machine_learning_operators_say_why_not(tmp_path):
    converted = baseline("models/mnist-classic-ml", "lr_mnist_scikit.onnx", tmp_path)
    assert set(reasons(converted)) == {one["name"] for one in converted["recipes"]} - {"onnx"}


def test_a_half_precision_classifier_becomes_int8(tmp_path):
    converted = baseline("models/squeezenet-fp16-imagenet", "SqueezeNet_fp16.onnx", tmp_path)
    assert reasons(converted)["fp16"] == "The weights are fp16 already."
    result = made("int8-static", tmp_path)
    size = (tmp_path / "v/int8-static" / result["files"][0]).stat().st_size
    assert size < 0.6 * converted["components"][0]["size_bytes"]
