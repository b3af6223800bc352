"""The acts as a job runner calls them: TASK.json in, progress on stdout, result.json out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import engine_models as models
import numpy as np
import pytest
from onnx import helper

from compression_service.engine.calibration import mapping, rows
from compression_service.engine.calibration.linked import split as _split
from compression_service.engine.measure import feeds, harness

PROJECT = Path(__file__).parents[3]


def engine(folder: Path, **task):
    """(exit code, result, progress lines, stderr) of one task."""
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "result.json").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "compression_service.engine", "task.json"],
        cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT)}, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    result = json.loads((folder / "result.json").read_text()) if (folder / "result.json").is_file() else None
    return done.returncode, result, lines, done.stderr


def digits(folder: Path, count: int = 400) -> None:
    """A dataset of 64 columns and a label which the tiny MLP itself gives, in two splits."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 17, (count, 64))
    labels = [int(models.run(models.mlp(), {"x": row[None].astype(np.float32) / 16})[0].argmax()) for row in x]
    folder.mkdir()
    for name, part in (("train.csv", slice(0, 100)), ("test.csv", slice(100, count))):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"p{i}" for i in range(64)), "label"])
            writer.writerows([*row, label] for row, label in zip(x[part].tolist(), labels[part], strict=True))


def test_convert_make_and_measure_with_a_dataset(tmp_path):
    models.saved(models.mlp(), tmp_path / "source" / "model.onnx")
    (tmp_path / "source" / "config.json").write_text("{}")
    digits(tmp_path / "dataset")
    code, converted, lines, errors = engine(tmp_path, act="convert", source="source", out="baseline")
    assert code == 0, errors
    assert lines[-1]["progress"] == 1.0
    assert converted["files"] == ["onnx/model.onnx"]
    assert converted["support_files"] == ["config.json"]
    assert (tmp_path / "baseline/onnx/model.onnx").read_bytes() == (tmp_path / "source/model.onnx").read_bytes()

    info = {"repository": "me/digits", "commit": "0123456789abcdef", "config": {"label": "label", "scale": 1 / 16}}
    task = {"baseline": "baseline", "source": "source", "dataset": "dataset", "dataset_info": info, "seed": 0}
    code, made, _, errors = engine(tmp_path, act="make", recipe="int8-dynamic", out="v", **task)
    assert code == 0, errors
    assert made["files"] == ["onnx/model_int8.onnx"]
    assert made["fidelity_metric"] == "top1_agreement"
    assert made["fidelity"] > 0.95
    assert made["metric"]["source_value"] == 1.0
    assert made["metric"]["low"] < made["metric"]["value"] <= made["metric"]["high"]
    inputs = made["fidelity_inputs"]
    assert (inputs["kind"], inputs["count"], inputs["calibration_count"]) == ("dataset", 300, 100)
    assert inputs["source"].startswith("me/digits@0123456789ab, evaluated on split test, calibrated on split train")
    first = (tmp_path / "v/onnx/model_int8.onnx").read_bytes()
    engine(tmp_path, act="make", recipe="int8-dynamic", out="w", **task)
    assert (tmp_path / "w/onnx/model_int8.onnx").read_bytes() == first

    broken = tmp_path / "broken" / "onnx"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"\x08\x08nonsense")
    code, measured, _, errors = engine(
        tmp_path, act="measure", seconds=0.1, threads=[1],
        source={"root": "baseline", "components": [{"name": "model", "path": "onnx/model.onnx"}]},
        variants=[
            {"name": "int8-dynamic", "version": "1", "root": "v", "components": made["components"]},
            {"name": "broken", "root": "broken", "components": [{"name": "model", "path": "onnx/model.onnx"}]},
        ],
        inputs={key: task[key] for key in ("source", "dataset", "dataset_info", "seed")},
    )  # fmt: skip
    assert code == 0, errors
    source, int8, failed = measured["records"]
    assert failed["variant"] == "broken" and failed["error"]
    assert source["ratio_to_source"]["p50"] == 1.0
    assert int8["ratio_to_source"]["size"] < 0.5
    assert int8["size_bytes"] == int8["wire_bytes"] == len(first)
    assert int8["latency_ms"]["count"] >= 662 and int8["latency_ms"]["p99"] >= int8["latency_ms"]["p50"]
    assert len(int8["samples_ms"]) <= 2000
    assert int8["peak_memory_bytes"] > int8["baseline_memory_bytes"] > 10_000_000
    assert int8["input_shapes"]["model"]["x"] == {"shape": [1, 64], "dtype": "float32", "range": [0.0, 1.0]}
    assert measured["identity"]["variants"]["int8-dynamic"]["files"].keys() == {"onnx/model_int8.onnx"}
    assert measured["drift"]["1"]["first_p50_ms"] > 0


def test_state_is_carried_and_generated_inputs_are_described(tmp_path):
    models.saved(models.lstm_with_state(), tmp_path / "source" / "model.onnx")
    assert engine(tmp_path, act="convert", source="source", out="baseline")[0] == 0
    code, made, _, errors = engine(
        tmp_path, act="make", recipe="int8-dynamic", baseline="baseline", source="source", out="v", seed=0
    )
    assert code == 0, errors
    assert "carried from the model's own output" in made["fidelity_inputs"]["source"]
    assert made["fidelity_inputs"]["count"] == 256
    assert made["metric"] is None


def test_several_files_are_one_pipeline(tmp_path):
    models.saved(models.mlp(), tmp_path / "source" / "a.onnx")
    models.saved(models.cnn(), tmp_path / "source" / "b.onnx")
    code, converted, _, errors = engine(tmp_path, act="convert", source="source", out="baseline")
    assert code == 0, errors
    assert converted["files"] == ["onnx/a.onnx", "onnx/b.onnx"]
    code, made, _, errors = engine(
        tmp_path, act="make", recipe="int4-weights", baseline="baseline", source="source", out="v", seed=0
    )
    assert code == 0, errors
    assert made["files"] == ["onnx/a_q4.onnx", "onnx/b_q4.onnx"]
    first = {entry["component"]: entry for entry in reversed(made["passes"]) if entry["pass"] != "keep"}
    assert first["a"]["pass"] == "weight_only" and first["a"]["layers"][0]["bits"] == 4
    assert first["b"]["pass"] is None and "block-wise kernels" in first["b"]["changed"]


def test_a_variant_which_disagrees_is_quarantined_with_its_figures(tmp_path):
    made = models.mlp()
    for tensor in made.graph.initializer:
        # Every weight matters alike, so that losing half of them breaks the network.
        if tensor.name.startswith("w"):
            signs = np.sign(models.numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(models.numpy_helper.from_array(signs, tensor.name))
    models.saved(made, tmp_path / "source" / "model.onnx")
    assert engine(tmp_path, act="convert", source="source", out="baseline")[0] == 0
    code, result, _, _ = engine(
        tmp_path, act="make", recipe="prune-50", baseline="baseline", source="source", out="v", seed=0
    )
    assert code == 3
    assert result["error"]["kind"] == "quarantined"
    assert result["fidelity"] < 0.9 and "at least 90%" in result["error"]["reason"]


def test_refusals_leave_with_code_three(tmp_path):
    (tmp_path / "source").mkdir()
    code, result, _, errors = engine(tmp_path, act="convert", source="source", out="baseline")
    assert (code, result["error"]["kind"]) == (3, "refused"), errors
    custom = helper.make_model(
        helper.make_graph(
            [helper.make_node("Mystery", ["x"], ["y"], domain="nobody")],
            "g",
            [helper.make_tensor_value_info("x", 1, [1])],
            [helper.make_tensor_value_info("y", 1, [1])],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)],
    )
    models.saved(custom, tmp_path / "source" / "model.onnx")
    code, result, _, errors = engine(tmp_path, act="convert", source="source", out="baseline")
    assert code == 3 and "cannot load model.onnx" in result["error"]["reason"], errors
    models.saved(models.cnn(), tmp_path / "source" / "model.onnx")
    assert engine(tmp_path, act="convert", source="source", out="baseline")[0] == 0
    code, result, _, _ = engine(
        tmp_path, act="make", recipe="int4-weights", baseline="baseline", source="source", out="v", seed=0
    )
    assert (code, result["error"]["kind"]) == (3, "not_applicable")


def test_the_harness_imports_nothing_but_numpy_and_onnxruntime():
    program = (
        "import sys; import compression_service.engine.measure.harness, numpy, onnxruntime;"
        "print([m for m in ('onnx', 'duckdb', 'tokenizers', 'django', 'compression_service.engine.graph')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT)}, check=True
    )
    assert done.stdout.strip() == "[]"


def table(split: str, count: int, **columns):
    return rows.Table(split, columns or {"a": list(range(count))}, [])


def test_calibration_and_evaluation_rows_are_never_the_same():
    (_, calibration), (_, evaluation), _ = _split({"all": table("all", 700)}, seed=3)
    assert not set(calibration) & set(evaluation)
    assert (len(calibration), len(evaluation)) == (140, 560)
    splits = {name: table(name, 50) for name in ("test", "validation")}
    (first, _), (second, _), _ = _split(splits, seed=3)
    assert (first.split, second.split) == ("validation", "test")


@pytest.mark.parametrize(
    ("path", "split"),
    [("data/train-00000-of-00001.parquet", "train"), ("test.csv", "test"), ("dev/x.jsonl", "validation"),
     ("training_set.csv", "train"), ("latest.csv", "all"), ("constrain.csv", "all")],
)  # fmt: skip
def test_splits_go_by_names(path, split):
    assert rows.split_of(path) == split


def test_rows_are_read_from_every_format_inside_the_folder_only(tmp_path):
    import duckdb

    folder = tmp_path / "dataset"
    folder.mkdir()
    connection = duckdb.connect()
    connection.execute(f"COPY (SELECT range AS a, [range, 1] AS l FROM range(20)) TO '{folder}/train.parquet'")
    connection.execute(f"COPY (SELECT range AS a FROM range(30)) TO '{folder}/test.json'")
    connection.close()
    found = rows.read(folder, seed=0)
    assert {name: len(one) for name, one in found.items()} == {"train": 20, "test": 30}
    stated = rows.read(folder, seed=0, stated=dict.fromkeys(found["train"].files, "validation"))
    assert "train" not in stated and stated["validation"].columns == found["train"].columns
    assert rows.read(folder, seed=0)["train"].columns == found["train"].columns
    (folder / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read"):
        rows.read(folder, seed=0)


def test_columns_find_their_input():
    spec = {"name": "x", "dtype": "float32", "shape": ["batch", 1, 2, 2], "role": "image"}
    lists = table("all", 2, pixels=[[1, 2, 3, 4], [5, 6, 7, 8]], label=[0, 1])
    found = mapping.find(lists, [spec], {"scale": 0.5}, None)
    feed = mapping.feeds(lists, found, [spec], [1], None)[0]
    np.testing.assert_array_equal(feed["x"], np.asarray([[[[2.5, 3], [3.5, 4]]]], np.float32))
    assert mapping.labels(lists, found, [1, 0], {}).tolist() == [1, 0]
    wide = table("all", 1, a=[1.0], b=[2.0], c=[3.0], d=[4.0], y=[1])
    assert mapping.find(wide, [spec], {}, None).numeric == {"x": ["a", "b", "c", "d"]}
    with pytest.raises(mapping.MappingError, match="takes 4 numbers and the rows have 1"):
        mapping.find(table("all", 1, a=[1.0]), [spec], {}, None)
    with pytest.raises(mapping.MappingError, match="the card names nowhere"):
        mapping.find(wide, [spec], {"inputs": {"x": ["nowhere"]}}, None)
    with pytest.raises(mapping.MappingError, match="neither images nor sounds"):
        mapping.find(table("all", 1, image=[{"bytes": b"x"}]), [spec], {}, None)


def test_the_value_of_a_setting_is_published_and_that_of_data_is_not():
    rate, other = np.array(16000, np.int64), np.array([8000], np.int64)
    assert feeds.described(rate, [rate, rate]) == {"shape": [], "dtype": "int64", "value": 16000}
    assert feeds.described(other, [other, rate.reshape(1)]) == {"shape": [1], "dtype": "int64", "range": [8000, 16000]}
    assert "value" not in feeds.described(np.zeros((1,), np.float32), [np.zeros((1,), np.float32)])
    assert "value" not in feeds.described(np.zeros((2,), np.int64), [np.zeros((2,), np.int64)])


def test_a_slow_model_is_warmed_by_two_runs():
    """A peak which was taken after the first run was a quarter too low for a network with large activations."""

    class Slow:
        ran = 0

        def run(self, index):
            self.ran += 1

    pipeline = Slow()
    wanted = {"runs": 10, "seconds": 5.0, "seconds_cap": 0.0, "window_runs": 5, "difference": 0.03}
    assert harness._warm_up(pipeline, wanted)["runs"] == pipeline.ran == 2
