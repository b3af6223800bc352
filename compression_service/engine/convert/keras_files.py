"""A whole Keras model (`.keras`, or `.h5`/`.hdf5` with its configuration) → ONNX, by tf2onnx.

Layers which hold Python code (Lambda) are refused by Keras' own safe mode: pushed code is never run.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from compression_service.engine.convert import tensorflow_graphs as tf_graphs
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError, first_line

NAME = "keras"
ENDINGS = (".keras", ".h5", ".hdf5")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
EXPANSION_RATIO = 50
EXPANSION_FLOOR_BYTES = 64 * 1024 * 1024


def find(source: Path) -> Path | None:
    """The Keras file nearest to the root; `.keras` goes before the older formats."""
    files = [path for path in source.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
    files = [path for path in files if ".git" not in path.parts and not path.is_symlink()]
    return min(files, key=lambda p: (ENDINGS.index(p.suffix.lower()), len(p.parts), p), default=None)


def convert(source: Path, path: Path, out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any]]:
    """Write out/onnx/model.onnx; (components, evidence). Raises RefusedError with the reason."""
    shown = path.relative_to(source).as_posix()
    _check(path, shown)
    tensorflow, _ = tf_graphs.packages(shown)
    import keras

    _check_whole(path, shown)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # keras raises whatever the file leads it to
        raise RefusedError(f"Keras cannot load {shown}: {first_line(error)}") from error
    specs = {one.name: (list(one.shape), one.dtype) for one in model.inputs}
    feeds = tf_graphs.feeds_of(specs)
    signature = [tensorflow.TensorSpec(one.shape, one.dtype, name=one.name) for one in model.inputs]

    def flat(*tensors: Any) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one tensor for a list of one is right
            made = model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        return list(tensorflow.nest.flatten(made))

    def original(feed: tf_graphs.Feed) -> list[Any]:
        return [tensor.numpy() for tensor in flat(*(tensorflow.constant(value) for value in feed.values()))]

    target = tf_graphs.exported_function(flat, signature, out, shown, progress)
    return tf_graphs.finished(target, shown, feeds, original, {"keras": keras.__version__})


def _check(path: Path, shown: str) -> None:
    """What is looked at before Keras opens the file."""
    if path.suffix.lower() == ".keras":
        try:
            with zipfile.ZipFile(path) as archive:
                total = sum(one.file_size for one in archive.infolist())
        except (zipfile.BadZipFile, OSError) as error:
            raise RefusedError(f"{shown} is not a readable Keras file (corrupt or cut off); push it again.") from error
        if total > max(EXPANSION_FLOOR_BYTES, EXPANSION_RATIO * path.stat().st_size):
            raise RefusedError(f"{shown} expands to {total:,} bytes when it is opened; push the model as it was saved.")
    elif path.read_bytes()[:8] != HDF5_SIGNATURE:
        raise RefusedError(f"{shown} is not a readable HDF5 file (corrupt or cut off); push it again.")


def _check_whole(path: Path, shown: str) -> None:
    if path.suffix.lower() == ".keras":
        return
    import h5py

    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
    except (OSError, RuntimeError) as error:
        raise RefusedError(f"{shown} is not a readable HDF5 file (corrupt or cut off); push it again.") from error
    if not whole:
        raise RefusedError(
            f"{shown} holds weights without a description of the network; push the whole model (model.save), or ONNX."
        )
