"""A TFLite file → ONNX, by tf2onnx. Of several, the float one is the source: the others are its variants."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from compression_service.engine.convert import tensorflow_graphs as tf_graphs
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError, first_line

NAME = "tflite"
IDENTIFIER = b"TFL3"  # at byte 4 of every TFLite flatbuffer


def find(source: Path) -> list[Path]:
    """All TFLite files, the one nearest to the root first, and of one folder the largest: float weights are."""
    files = [path for path in source.rglob("*.tflite") if path.is_file() and ".git" not in path.parts]
    return sorted(files, key=lambda p: (len(p.parts), -p.stat().st_size, p))


def convert(source: Path, files: list[Path], out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any]]:
    """Write out/onnx/model.onnx; (components, evidence). Raises RefusedError with the reason."""
    path = files[0]
    shown = path.relative_to(source).as_posix()
    with path.open("rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise RefusedError(f"{shown} is not a TFLite file (corrupt or cut off); push it again.")
    tensorflow, tf2onnx = tf_graphs.packages(shown)
    _check_whole(path, shown)
    try:
        interpreter = _interpreter(tensorflow, path)
    except Exception as error:  # the interpreter raises whatever the file leads it to
        raise RefusedError(f"TensorFlow cannot load {shown}: {first_line(error)}") from error
    inputs = interpreter.get_input_details()
    feeds = tf_graphs.feeds_of({one["name"]: ([int(n) for n in one["shape"]], one["dtype"]) for one in inputs})

    def original(feed: tf_graphs.Feed) -> list[Any]:
        for one in inputs:
            interpreter.set_tensor(one["index"], feed[one["name"]])
        interpreter.invoke()
        return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]

    target = tf_graphs.exported(
        out, shown, progress,
        lambda target: tf2onnx.convert.from_tflite(str(path), opset=tf_graphs.OPSET, output_path=target),
    )  # fmt: skip
    others = [one.relative_to(source).as_posix() for one in files[1:]]
    return tf_graphs.finished(target, shown, feeds, original, {"left_out": others} if others else {})


def _check_whole(path: Path, shown: str) -> None:
    """The interpreter follows offsets past the end of a file which was cut off, and dies; Python's reader raises."""
    from tensorflow.lite.python import schema_py_generated as schema

    try:
        schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    except Exception as error:  # struct, numpy and unicode errors, wherever an offset leads
        raise RefusedError(f"{shown} is not a readable TFLite file (corrupt or cut off); push it again.") from error


def _interpreter(tensorflow: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a package which takes its place one day
        made = tensorflow.lite.Interpreter(str(path), num_threads=1)
    made.allocate_tensors()
    return made
