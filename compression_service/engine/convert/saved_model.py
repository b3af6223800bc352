"""A TensorFlow SavedModel (a folder with saved_model.pb) → ONNX, by tf2onnx, through its serving signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compression_service.engine.convert import tensorflow_graphs as tf_graphs
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError, first_line

NAME = "saved_model"
PREFERRED = ("serving_default", "predict")


def find(source: Path) -> Path | None:
    """The folder of the saved_model.pb nearest to the root."""
    files = [path for path in source.rglob("saved_model.pb") if path.is_file() and ".git" not in path.parts]
    return min((path.parent for path in files), key=lambda p: (len(p.parts), p), default=None)


def convert(source: Path, folder: Path, out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any]]:
    """Write out/onnx/model.onnx; (components, evidence). Raises RefusedError with the reason."""
    shown = (folder / "saved_model.pb").relative_to(source).as_posix()
    tensorflow, _ = tf_graphs.packages(shown)
    tf_graphs.refuse_unsafe(_operators(folder, shown), shown)
    try:
        loaded = tensorflow.saved_model.load(str(folder))
        signatures = dict(loaded.signatures)
    except Exception as error:  # tensorflow raises whatever the folder leads it to
        raise RefusedError(f"TensorFlow cannot load {shown}: {first_line(error)}") from error
    if not signatures:
        raise RefusedError(f"{shown} has no signature, so nobody can tell its inputs; save it with one, or push ONNX.")
    chosen = next((name for name in PREFERRED if name in signatures), min(signatures))
    function = signatures[chosen]
    specs = dict(function.structured_input_signature[1])
    texts = [name for name, spec in (*specs.items(), *function.structured_outputs.items()) if spec.dtype == "string"]
    if texts:
        raise RefusedError(
            f"The signature {chosen} of {shown} works on texts ({', '.join(sorted(texts)[:3])}), which ONNX does not"
            " compute; save one which takes and gives numbers."
        )
    names = list(specs)
    feeds = tf_graphs.feeds_of(
        {name: (spec.shape.as_list(), spec.dtype.as_numpy_dtype) for name, spec in specs.items()}
    )

    def original(feed: tf_graphs.Feed) -> list[Any]:
        made = function(**{name: tensorflow.constant(value) for name, value in feed.items()})
        return [made[name].numpy() for name in sorted(made)]

    def flat(*tensors: Any) -> list[Any]:
        made = function(**dict(zip(names, tensors, strict=True)))
        return [tensorflow.identity(made[name], name=name) for name in sorted(made)]

    signature = [tensorflow.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()]
    target = tf_graphs.exported_function(flat, signature, out, shown, progress)
    return tf_graphs.finished(target, shown, feeds, original, {"signature": chosen})


def _operators(folder: Path, shown: str) -> set[str]:
    """Every operator of the graph and of its functions, read as data."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel()
    try:
        parsed.ParseFromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise RefusedError(f"{shown} is not a readable SavedModel (corrupt or cut off); push it again.") from error
    graphs = [meta.graph_def for meta in parsed.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return {node.op for node in nodes}
