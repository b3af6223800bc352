"""Weights which stay in their files: a model too large to be held is a graph whose tensors are read one at a time.

Such a tensor is marked as external data with an absolute path; `array` maps it, and `write` copies it. What passes make
goes to a file of its own after each pass (`spill`), so that memory holds one tensor and not the model. Source: ONNX
external data specification (onnx/docs/ExternalData.md).
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from compression_service.engine.limits import STREAMED_FROM_BYTES as STREAMED_FROM_BYTES

SMALLEST_BYTES = 64 * 1024  # smaller tensors are kept in the graph
ALIGNMENT = 4096  # runtimes map whole pages
CHUNK_BYTES = 16 * 1024 * 1024

_watchers: list[Callable[[int], None]] = []


@contextmanager
def watched(told: Callable[[int], None]) -> Iterator[None]:
    """While inside, `told` gets the bytes of each tensor that is read from its file."""
    _watchers.append(told)
    try:
        yield
    finally:
        _watchers.remove(told)


def located(tensor: TensorProto) -> tuple[Path, int, int] | None:
    """(file, offset, bytes) of a tensor which stays in its file, None for any other."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    fields = {entry.key: entry.value for entry in tensor.external_data}
    path = Path(fields["location"])
    if not path.is_absolute():
        return None
    return path, int(fields.get("offset", 0)), int(fields.get("length", 0))


def locate(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    """Mark a tensor as staying in a file; its own bytes go."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", str(path)), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def array(tensor: TensorProto) -> np.ndarray:
    """The numbers of any tensor; those of one in a file are mapped, read-only."""
    place = located(tensor)
    if place is None:
        return numpy_helper.to_array(tensor)
    path, offset, length = place
    for told in _watchers:
        told(length)
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        whole = TensorProto(dims=tensor.dims, data_type=tensor.data_type)
        whole.raw_data = np.fromfile(path, np.uint8, length, offset=offset).tobytes()
        return numpy_helper.to_array(whole)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if not length:
        return np.zeros(tuple(tensor.dims), dtype)
    mapped = np.memmap(path, np.uint8, "r", offset, (length,))
    return np.asarray(mapped).view(dtype).reshape(tuple(tensor.dims))


def resolved(tensors: Iterable[TensorProto], folder: Path) -> None:
    """Mark the tensors of a graph that was read without its external data, so that they stay in their files."""
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            fields = {entry.key: entry.value for entry in tensor.external_data}
            path, offset = (folder / fields["location"]).resolve(), int(fields.get("offset", 0))
            length = fields.get("length")
            locate(tensor, path, offset, int(length) if length else path.stat().st_size - offset)


def spill(model: ModelProto, tensors: Iterable[TensorProto]) -> ModelProto:
    """The model with the larger of these tensors moved to a file of this process, which goes when it ends."""
    held = [tensor for tensor in tensors if len(tensor.raw_data) >= SMALLEST_BYTES]
    if not held:
        return model
    handle, name = tempfile.mkstemp(prefix="weights-", suffix=".spill", dir=Path.cwd())
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        for tensor in held:
            offset = _padded(file)
            file.write(tensor.raw_data)
            locate(tensor, Path(name), offset, file.tell() - offset)
    # A message keeps the memory of what was cleared: only a new one is small.
    return ModelProto.FromString(model.SerializeToString())


def write(
    model: ModelProto, path: Path, weights: Callable[[ModelProto], Iterable[TensorProto]], linked: bool = False
) -> list[Path]:
    """Write a model whose `weights` may be in files to `path` and `<path>_data`; returns the files, the graph first.

    `linked`: a scratch copy for a runtime, with links to the files where the file system has them.
    """
    data = path.parent / (path.name + "_data")
    skeleton = ModelProto()
    skeleton.CopyFrom(model)
    links: dict[Path, Path] = {}
    with data.open("wb") as file:
        for tensor in weights(skeleton):
            place = located(tensor)
            if place is not None and linked and (link := _linked(place[0], path, links)) is not None:
                locate(tensor, Path(link.name), place[1], place[2])
                continue
            if place is None and len(tensor.raw_data) < SMALLEST_BYTES:
                continue
            offset = _padded(file)
            if place is None:
                file.write(tensor.raw_data)
            else:
                _copied(place, file)
            locate(tensor, Path(data.name), offset, file.tell() - offset)
    path.write_bytes(skeleton.SerializeToString(deterministic=True))
    return [path, data, *links.values()]


def _padded(file: Any) -> int:
    """The offset at which the next tensor begins."""
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    return int(file.tell())


def _copied(place: tuple[Path, int, int], file: Any) -> None:
    path, offset, left = place
    with path.open("rb") as source:
        source.seek(offset)
        while left:
            chunk = source.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise OSError(f"{path.name} ended {left:,} bytes too early")
            file.write(chunk)
            left -= len(chunk)


def _linked(origin: Path, path: Path, links: dict[Path, Path]) -> Path | None:
    if origin not in links:
        link = path.parent / f"{path.name}_link{len(links)}"
        link.unlink(missing_ok=True)
        try:
            os.link(origin, link)
        except OSError:  # another file system
            return None
        links[origin] = link
    return links[origin]
