from __future__ import annotations

import json
import os

import engine_models as models
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine.convert import onnx_checks, onnx_files, safetensors_checks
from compression_service.engine.convert.act import convert
from compression_service.engine.errors import RefusedError


def external(location: str, length: int | None = None):
    made = models.mlp()
    tensor = made.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": "0", "length": str(length or size)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return made


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret.bin", "a/../../secret.bin", "C:\\x.bin", "..\\x.bin", ""]
)
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(b"x" * 20_000)
    path = models.saved(external(location), tmp_path / "repo" / "model.onnx")
    with pytest.raises(RefusedError, match="outside the model's folder"):
        onnx_checks.checked_model(path, "model.onnx")


def test_external_data_behind_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"x" * 20_000)
    path = models.saved(external("data.bin"), tmp_path / "repo" / "model.onnx")
    os.symlink(tmp_path / "secret.bin", tmp_path / "repo" / "data.bin")
    with pytest.raises(RefusedError, match="symbolic link"):
        onnx_checks.checked_model(path, "model.onnx")


def test_external_data_which_is_missing_or_short_is_refused(tmp_path):
    path = models.saved(external("data.bin"), tmp_path / "model.onnx")
    with pytest.raises(RefusedError, match="was not pushed"):
        onnx_checks.checked_model(path, "model.onnx")
    (tmp_path / "data.bin").write_bytes(b"x" * 100)
    with pytest.raises(RefusedError, match="past the end"):
        onnx_checks.checked_model(path, "model.onnx")


def test_corrupt_and_lying_files_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.mlp().SerializeToString()[:-500])
    with pytest.raises(RefusedError, match="corrupt"):
        onnx_checks.checked_model(path, "model.onnx")
    made = models.mlp()
    made.graph.initializer[0].dims[0] = 10**9
    with pytest.raises(RefusedError, match="claims"):
        onnx_checks.checked_model(models.saved(made, path), "model.onnx")


@pytest.mark.parametrize("maker", ["ConstantOfShape", "Expand", "Tile"])
def test_a_graph_that_expands_is_refused_with_the_figure(tmp_path, maker):
    shape = numpy_helper.from_array(np.asarray([4000, 4000]), "shape")
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    inputs = ["shape"] if maker == "ConstantOfShape" else ["one", "shape"]
    nodes = [helper.make_node(maker, inputs, ["big"]), helper.make_node("MatMul", ["x", "big"], ["y"])]
    made = models.model(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4000])],
        [shape, one],
    )
    with pytest.raises(RefusedError, match="expand to 64,000,000 bytes"):
        onnx_checks.checked_model(models.saved(made, tmp_path / "model.onnx"), "model.onnx")


def safetensors(header, body: bytes) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff" * 8 + b"{}", "claims"),
        (safetensors(b"not json", b""), "not JSON"),
        (safetensors(b"[" * 50_000, b""), "not JSON"),
        (safetensors([], b""), "not a JSON object"),
        (safetensors(GOOD, b"x" * 7), "end at 8 of 7"),
        (safetensors(GOOD, b"x" * 9), "end at 8 of 9"),
        (safetensors({"a": {**GOOD["a"], "shape": [3]}}, b"x" * 8), "its shape needs 12"),
        (safetensors({"a": {**GOOD["a"], "shape": [-2]}}, b"x" * 8), "malformed"),
        (safetensors({"a": {**GOOD["a"], "data_offsets": [4, 12]}}, b"x" * 12), "holes"),
        (safetensors({"a": GOOD["a"], "b": GOOD["a"]}, b"x" * 8), "overlap"),
    ],
)
def test_safetensors_headers_are_judged_before_any_loader(tmp_path, content, why):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=why):
        safetensors_checks.check(path, "model.safetensors")


def test_a_good_safetensors_header_passes(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({**GOOD, "__metadata__": {"format": "pt"}}, b"x" * 8))
    assert list(safetensors_checks.check(path, "model.safetensors")) == ["a"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.pth", "pickles are never loaded"),
        ("weights.bin", "pickles are never loaded"),
        ("model.h5", "not a readable HDF5 file"),
        ("model.keras", "not a readable Keras file"),
        ("model.tflite", "not a TFLite file"),
        ("frozen.pb", "conversion from TensorFlow's frozen graphs is not there yet"),
        ("weights.npz", "NumPy"),
        ("model.safetensors", "config.json"),
        ("README.md", "no model in this repository"),
    ],
)
def test_what_cannot_be_converted_says_what_to_push(tmp_path, name, sentence):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_bytes(b"whatever")
    with pytest.raises(RefusedError, match=sentence):
        convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")


def test_the_contributors_own_variants_are_not_components(tmp_path):
    for name in ("onnx/model.onnx", "onnx/model_int8.onnx", "onnx/model_q4.onnx", "encoder_fp16.onnx"):
        models.saved(models.mlp(), tmp_path / name)
    found = [path.relative_to(tmp_path).as_posix() for path in onnx_files.find(tmp_path)]
    assert found == ["encoder_fp16.onnx", "onnx/model.onnx"]


def test_shared_bad_input_is_refused():
    for name, why in (
        ("onnx-odd/corrupt-model.onnx", "corrupt"),
        ("onnx-odd/bad_names.onnx", "operator set"),
        ("onnx-odd/model_with_external_initializers.onnx", "Pads.bin"),
        ("onnx-expanding/light_resnet50.onnx", "102,433,440 bytes"),
    ):
        path = models.assets() / "badinput" / name
        with pytest.raises(RefusedError, match=why):
            onnx_checks.checked_model(path, path.name)
