"""The models of the benchmark, prepared once: source folder, ONNX baseline, rows, and a dataset for FitHub's engine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine import runner
from tests.benchmarks.compression import family, store
from tests.benchmarks.compression.tasks import audio, images, octets, text
from tests.benchmarks.compression.tasks.base import SINGLE, Feed, MissingAssetError, Rows

__all__ = ["MODELS", "MissingAssetError", "prepare"]

VERSION = "2"  # raise it when rows change: the models whose rows did not are not made again
MODELS: dict[str, Callable[[str, Path], Rows]] = {
    "mnist_mlp": images.mnist,
    "mnist_cnn": images.mnist,
    "resnet20": images.cifar,
    "minilm": text.minilm,
    "squeezenet": images.imagenet,
    "magika": octets.magika,
    "silero": audio.silero,
    "ultraface": images.faces,
    "dtln": audio.dtln,
}
DIGESTED = ("path", "calibration", "held_back", "evaluation", "timing")
TIMED_BYTES = 1024 * 1024
TIMED_FEEDS = 4


def prepare(model: str) -> dict[str, Any]:
    """What is known of a model (task.json), made where it is missing. MissingAssetError, or what the engine raises.

    {"model", "version", "source", "baseline", "components": [{"name", "path", "calibration", "evaluation", "timing",
    "carry"}], "dataset", "dataset_info", "judged", "kind", "labels", "reference", "notes", "digest"}
    """
    folder = store.model_folder(model)
    known = store.read(folder / "task.json")
    if known and known["version"] == VERSION:
        return known
    rows = MODELS[model](model, store.assets())
    source, kept = folder / "source", folder / "rows"
    for place in (source, kept, folder / "baseline"):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    for name, origin in rows.files.items():
        shutil.copyfile(origin, source / name)
    converted = family.convert(source, folder / "baseline", folder / "convert")
    components = []
    for path in [folder / "baseline" / one["path"] for one in converted["components"]]:
        name = path.stem if path.stem in rows.calibration else SINGLE
        timing = rows.timing.get(name) or _timed(rows.evaluation[name])
        component: dict[str, Any] = {"name": name, "path": str(path), "carry": rows.carry.get(name, {})}
        for kind, feeds in (
            ("calibration", rows.calibration[name]), ("evaluation", rows.evaluation[name]), ("timing", timing),
            ("held_back", rows.held_back[name]),
        ):  # fmt: skip
            component[kind] = str(kept / f"{kind}-{name}.npz")
            runner.save_feeds(feeds, Path(component[kind]))
        components.append(component)
    labels = None
    if rows.labels is not None:
        labels = str(kept / "labels.npz")
        np.savez(labels, labels=rows.labels)
    task = {
        "model": model, "version": VERSION, "source": str(source), "baseline": str(folder / "baseline"),
        "components": components, "judged": rows.judged, "kind": rows.kind, "labels": labels,
        "reference": str(kept / "reference.npz"), "notes": rows.notes, **_dataset(rows, folder / "dataset"),
        "digest": store.sha256([Path(one[kind]) for one in components for kind in DIGESTED]),
    }  # fmt: skip
    store.write(folder / "task.json", task)
    return task


def _timed(feeds: list[Feed]) -> list[Feed]:
    size_bytes = sum(array.nbytes for array in feeds[0].values())
    return feeds[: max(1, min(TIMED_FEEDS, TIMED_BYTES // max(1, size_bytes)))]


def _dataset(rows: Rows, folder: Path) -> dict[str, Any]:
    """The calibration rows as the dataset which a contributor would link: split train, and split test held back."""
    if len(rows.calibration) != 1:
        return {"dataset": None, "dataset_info": None}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = list(rows.calibration[SINGLE][0])
    config: dict[str, Any] = {"inputs": {name: name for name in names}}
    if rows.texts:
        for split, texts in zip(("train", "test"), rows.texts, strict=True):
            lines = [json.dumps({"text": sentence}) for sentence in texts]
            (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        config = {"inputs": {"input_ids": "text"}}
    else:
        for split, feeds in (("train", rows.calibration[SINGLE]), ("test", rows.held_back[SINGLE])):
            _write_parquet(folder / f"{split}.parquet", feeds, names)
    info = {"repository": "benchmark/rows", "commit": VERSION, "files": [], "config": config}
    return {"dataset": str(folder), "dataset_info": info}


def _write_parquet(path: Path, feeds: list[Feed], names: list[str]) -> None:
    """One row a feed, one column of flat lists an input."""
    import duckdb

    connection = duckdb.connect(":memory:")
    for position, name in enumerate(names):
        values = np.concatenate([feed[name].ravel() for feed in feeds])
        count = feeds[0][name].size
        table = {
            "row": np.repeat(np.arange(len(feeds)), count), "place": np.tile(np.arange(count), len(feeds)), "x": values
        }  # fmt: skip
        connection.register("given", table)
        connection.execute(
            f"CREATE TABLE t{position} AS SELECT row, list(x ORDER BY place) AS x FROM given GROUP BY row"
        )
    columns = ", ".join(f't{position}.x AS "{name}"' for position, name in enumerate(names))
    joined = " ".join(f"JOIN t{position} USING (row)" for position in range(1, len(names)))
    connection.execute(f"COPY (SELECT {columns} FROM t0 {joined} ORDER BY row) TO '{path}' (FORMAT parquet)")
    connection.close()
