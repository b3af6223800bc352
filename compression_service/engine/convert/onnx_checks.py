"""What is looked at in a pushed ONNX file before any loader or runtime opens it.

The file is parsed as protobuf without its external data, so nothing that the file names is touched until it was
judged. Sources: ONNX external data specification (onnx/docs/ExternalData.md); CVE-2022-25882 and CVE-2024-5187
(paths that leave the model's folder).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression_service.engine import graph
from compression_service.engine.errors import RefusedError

EXPANSION_RATIO = 50
EXPANSION_FLOOR_BYTES = 32 * 1024 * 1024
MAKERS = ("ConstantOfShape", "Expand", "Tile", "Range")


def checked_model(path: Path, shown_as: str) -> ModelProto:
    """Parse and judge `path`; the proto comes back without its external data. Raises RefusedError with the reason."""
    model = _parsed(path, shown_as)
    if not model.graph.node and not model.graph.output:
        raise RefusedError(f"{shown_as} holds no graph; push the whole ONNX file.")
    if not model.graph.node:
        raise RefusedError(f"{shown_as} holds an empty graph: without operators it computes nothing.")
    if not model.graph.output:
        raise RefusedError(f"{shown_as} has no outputs: whatever it computes, nobody gets it. Export it with outputs.")
    if not model.opset_import:
        raise RefusedError(f"{shown_as} names no operator set, so no runtime can read it; export the model again.")
    for tensor in graph.tensors(model):
        _check_tensor(tensor, path, shown_as)
    _check_expansion(model, path, shown_as)
    return model


def external_files(model: ModelProto, folder: Path) -> list[Path]:
    """The external data files that a checked model names, each once, in order of first use."""
    found: dict[Path, None] = {}
    for tensor in graph.tensors(model):
        fields = graph.external_fields(tensor)
        if fields is not None:
            found[folder / fields["location"]] = None
    return list(found)


def _parsed(path: Path, shown_as: str) -> ModelProto:
    try:
        return onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise RefusedError(f"{shown_as} is not a readable ONNX file (corrupt or cut off); push it again.") from error


def _check_tensor(tensor: TensorProto, path: Path, shown_as: str) -> None:
    if any(dim < 0 for dim in tensor.dims):
        raise RefusedError(f"{shown_as}: tensor {tensor.name!r} has a negative dimension; export the model again.")
    fields = graph.external_fields(tensor)
    if fields is not None:
        _check_external(tensor, fields, path, shown_as)
        return
    if tensor.HasField("raw_data") and len(tensor.raw_data) != -(-graph.elements(tensor) * _bits(tensor) // 8):
        raise RefusedError(
            f"{shown_as}: tensor {tensor.name!r} claims {graph.tensor_bytes(tensor):,} bytes but holds"
            f" {len(tensor.raw_data):,}; the file is corrupt, push it again."
        )


def _bits(tensor: TensorProto) -> int:
    return int(graph.item_bytes(tensor.data_type) * 8)


def _check_external(tensor: TensorProto, fields: dict[str, str], path: Path, shown_as: str) -> None:
    location = fields.get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    leaves = posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in posix.parts + windows.parts
    if not location or leaves or "\0" in location:
        raise RefusedError(
            f"{shown_as}: tensor {tensor.name!r} keeps its data at {location!r}, outside the model's folder; save the"
            " external data beside the .onnx file."
        )
    target = path.parent / location
    for step in (target, *target.parents):
        if step == path.parent:
            break
        if step.is_symlink():
            raise RefusedError(f"{shown_as}: external data {location!r} is a symbolic link; push the real file.")
    if not target.is_file():
        raise RefusedError(f"{shown_as} needs the external data file {location!r}, which was not pushed; push it too.")
    try:
        offset, length = int(fields.get("offset", 0)), int(fields.get("length", graph.tensor_bytes(tensor)))
    except ValueError as error:
        raise RefusedError(f"{shown_as}: tensor {tensor.name!r} has an unreadable external offset.") from error
    if offset < 0 or length < 0 or offset + length > target.stat().st_size:
        raise RefusedError(
            f"{shown_as}: tensor {tensor.name!r} reads past the end of {location!r}; push the complete file."
        )


def _check_expansion(model: ModelProto, path: Path, shown_as: str) -> None:
    made = sum(made_bytes(model))
    stored = path.stat().st_size + sum(file.stat().st_size for file in external_files(model, path.parent))
    if made > EXPANSION_FLOOR_BYTES and made > EXPANSION_RATIO * stored:
        raise RefusedError(
            f"{shown_as} has {stored:,} bytes but its {', '.join(MAKERS[:3])} nodes expand to {made:,} bytes when it is"
            " loaded; push the model with its real weights."
        )


def made_bytes(model: ModelProto) -> Iterator[int]:
    """Bytes of each tensor that a node makes out of constants alone: a runtime folds them while loading."""
    for scope in graph.scopes(model.graph):
        constants = {
            node.output[0]: graph.constant_value(node)
            for node in scope.graph.node
            if node.op_type == "Constant" and node.output
        }
        for node in scope.graph.node:
            if node.op_type in MAKERS:
                yield _made_by(node, scope, constants)


def _made_by(node: NodeProto, scope: graph.Scope, constants: dict[str, TensorProto | None]) -> int:
    def numbers(position: int) -> np.ndarray | None:
        if position >= len(node.input):
            return None
        tensor = scope.find(node.input[position]) or constants.get(node.input[position])
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL or graph.elements(tensor) > 64:
            return None
        return numpy_helper.to_array(tensor).astype(np.float64).reshape(-1)

    if node.op_type == "Range":
        start, limit, step = numbers(0), numbers(1), numbers(2)
        if start is None or limit is None or step is None or not step.size or step[0] == 0:
            return 0
        return int(max(0.0, (limit[0] - start[0]) / step[0])) * 8
    shape = numbers(0 if node.op_type == "ConstantOfShape" else 1)
    if shape is None:
        return 0
    count = float(np.prod(np.maximum(shape, 1.0)))
    if node.op_type == "Tile":
        tensor = scope.find(node.input[0]) or constants.get(node.input[0])
        count *= graph.elements(tensor) if tensor is not None else 0
    return int(min(count, 2.0**62)) * 4
