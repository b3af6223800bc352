"""Keras, SavedModel and TFLite sources. TensorFlow runs in children only: it is slow to start and prints."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest

from compression_service.engine.convert import keras_files, saved_model, tensorflow_graphs, tflite_files
from compression_service.engine.convert.act import convert
from compression_service.engine.errors import RefusedError

PROJECT = Path(__file__).parents[3]
EXTRA = all(importlib.util.find_spec(name) for name in ("tensorflow", "tf2onnx"))
needs_tensorflow = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(not EXTRA, reason="tensorflow and tf2onnx (the tensorflow extra) are not installed"),
]
MAKE = """
import sys, keras, numpy as np, tensorflow as tf
from pathlib import Path
root = Path(sys.argv[1])
def folder(name):
    (root / name).mkdir(); return root / name
keras.utils.set_random_seed(0)
image = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
                          keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(5, activation="softmax")])
image.save(folder("keras") / "image.keras")
image.save(folder("h5") / "image.h5")
image.save_weights(folder("weights") / "image.weights.h5")
a, b = keras.Input((4,), name="left"), keras.Input((None, 3), name="right")
two = keras.Model([a, b], [keras.layers.Dense(2)(a), keras.layers.LSTM(3)(b)])
two.save(folder("two") / "two.keras")
keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)]).save(folder("lambda") / "l.keras")
image.export(folder("saved") / "model")
lite = tf.lite.TFLiteConverter.from_keras_model(image)
(folder("tflite") / "image.tflite").write_bytes(lite.convert())
lite.optimizations = [tf.lite.Optimize.DEFAULT]
lite.representative_dataset = lambda: ([np.random.rand(1, 8, 8, 3).astype("float32")] for _ in range(20))
lite.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
lite.inference_input_type = lite.inference_output_type = tf.uint8
(root / "tflite" / "a_quant.tflite").write_bytes(lite.convert())
(folder("quantized") / "q.tflite").write_bytes((root / "tflite" / "a_quant.tflite").read_bytes())
class Texts(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, text): return {"length": tf.strings.length(text)}
t = Texts(); tf.saved_model.save(t, str(folder("texts") / "m"), signatures=t.__call__)
class Files(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def __call__(self, x): return {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)}
f = Files(); tf.saved_model.save(f, str(folder("files") / "m"), signatures=f.__call__)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    done = subprocess.run([sys.executable, "-c", MAKE, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def converted(source: Path, work: Path):
    """The result of the act `convert`, run as a job runs it."""
    (work / "task.json").write_text(json.dumps({"act": "convert", "source": str(source), "out": "out"}))
    subprocess.run(
        [sys.executable, "-m", "compression_service.engine", "task.json"],
        cwd=work, capture_output=True, check=False, env={"PYTHONPATH": str(PROJECT), "HOME": str(work)},
    )  # fmt: skip
    return json.loads((work / "result.json").read_text())


class TestWithTensorflow:
    pytestmark = needs_tensorflow

    @pytest.mark.parametrize(
        ("name", "source_format", "shown"),
        [
            ("keras", "keras", "image.keras"),
            ("h5", "keras", "image.h5"),
            ("saved", "saved_model", "model/saved_model.pb"),
            ("tflite", "tflite", "image.tflite"),
        ],
    )
    def test_the_same_network_comes_out_of_every_format(self, sources, tmp_path, name, source_format, shown):
        result = converted(sources / name, tmp_path)
        assert result.get("error") is None, result["error"]
        assert result["format"] == source_format
        assert 0 <= result["evidence"]["max_difference_to_tensorflow"] < 1e-5
        (component,) = result["components"]
        assert component["source_path"] == shown
        assert component["inputs"][0]["shape"][1:] == [8, 8, 3]
        model = onnx.load(tmp_path / "out/onnx/model.onnx")
        assert {"Conv"} <= {node.op_type for node in model.graph.node}
        assert [recipe["name"] for recipe in result["recipes"] if recipe["applies"]][:2] == ["onnx", "int8-static"]

    def test_several_inputs_and_a_free_axis(self, sources, tmp_path):
        result = converted(sources / "two", tmp_path)
        assert result.get("error") is None, result["error"]
        assert {one["name"]: one["shape"][0] for one in result["components"][0]["inputs"]} == {
            "left": "batch", "right": "batch",
        }  # fmt: skip

    def test_a_quantized_file_alone_is_taken_as_it_is(self, sources, tmp_path):
        result = converted(sources / "quantized", tmp_path)
        assert result.get("error") is None, result["error"]
        assert result["components"][0]["inputs"][0]["dtype"] == "uint8"
        assert [recipe["name"] for recipe in result["recipes"] if recipe["applies"]] == ["onnx"]

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("weights", "weights without a description of the network"),
            ("lambda", "Keras cannot load l.keras"),
            ("texts", "works on texts"),
            ("files", "ReadFile"),
        ],
    )
    def test_what_cannot_or_must_not_be_run_is_refused(self, sources, tmp_path, name, why):
        error = converted(sources / name, tmp_path)["error"]
        assert error["kind"] == "refused" and why in error["reason"], error

    def test_a_cut_off_file_is_refused(self, sources, tmp_path):
        for name, file in (("keras", "image.keras"), ("h5", "image.h5"), ("tflite", "image.tflite")):
            work, source = tmp_path / name, tmp_path / name / "source"
            source.mkdir(parents=True)
            (source / file).write_bytes((sources / name / file).read_bytes()[:3000])
            error = converted(source, work)["error"]
            assert error["kind"] == "refused" and file in error["reason"], error


def test_without_the_extra_the_refusal_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # an import of it fails, installed or not
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(RefusedError, match=r"m\.tflite.*make convert-tensorflow"):
        convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")


def test_a_keras_file_which_expands_is_refused_unopened(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\0" * (80 * 1024 * 1024))
    with pytest.raises(RefusedError, match="expands to 83,886,080 bytes"):
        convert(tmp_path, tmp_path / "out", tmp_path / "work")


def test_the_best_file_of_several_is_found(tmp_path):
    for name, size in (
        ("b/x.keras", 1),
        ("old.h5", 9),
        ("small.tflite", 1),
        ("large.tflite", 5),
        ("m/saved_model.pb", 1),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert keras_files.find(tmp_path).name == "x.keras"
    assert [path.name for path in tflite_files.find(tmp_path)] == ["large.tflite", "small.tflite"]
    assert saved_model.find(tmp_path) == tmp_path / "m"


def test_inputs_to_compare_with_fit_their_types():
    feeds = tensorflow_graphs.feeds_of(
        {"pixels": ([None, None, None, 3], "float32"), "byte": ([1, 4], "int8"), "ids": ([None, 7], "int32")}
    )
    assert [feed["pixels"].shape for feed in feeds] == [(1, 32, 32, 3), (2, 32, 32, 3), (3, 32, 32, 3)]
    assert all(feed["byte"].shape == (1, 4) and feed["ids"].max() <= 1 for feed in feeds)
