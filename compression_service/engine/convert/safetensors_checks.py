"""The header of a safetensors file, judged before any loader opens it.

Source: the safetensors format: 8 bytes little-endian header length, JSON header, then the tensors' bytes without
holes. The limit of 100 MB for the header is the format's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compression_service.engine.errors import RefusedError

HEADER_LIMIT_BYTES = 100_000_000
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


def check(path: Path, shown_as: str) -> dict[str, Any]:
    """The header's tensors, name → {"dtype", "shape", "data_offsets"}. Raises RefusedError when it does not hold."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size_bytes < 8 or length > min(HEADER_LIMIT_BYTES, size_bytes - 8):
            raise _refused(shown_as, f"its header claims {length:,} bytes and the file has {size_bytes:,}")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _refused(shown_as, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _refused(shown_as, "its header is not a JSON object")
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    spans = sorted(_span(name, entry, shown_as) for name, entry in tensors.items())
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise _refused(shown_as, "its tensors overlap or leave holes")
        end = stop
    if end != size_bytes - 8 - length:
        raise _refused(shown_as, f"its tensors end at {end:,} of {size_bytes - 8 - length:,} bytes")
    return tensors


def _span(name: str, entry: Any, shown_as: str) -> tuple[int, int]:
    try:
        begin, end = (int(offset) for offset in entry["data_offsets"])
        bits = DTYPE_BITS[entry["dtype"]]
        for dim in entry["shape"]:
            bits *= _dimension(dim)
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(shown_as, f"the entry of tensor {name[:60]!r} is malformed") from error
    if begin < 0 or (end - begin) * 8 != bits:
        raise _refused(shown_as, f"tensor {name[:60]!r} has {end - begin:,} bytes and its shape needs {bits // 8:,}")
    return begin, end


def _dimension(dim: Any) -> int:
    if not isinstance(dim, int) or dim < 0:
        raise ValueError(dim)
    return dim


def _refused(shown_as: str, why: str) -> RefusedError:
    return RefusedError(f"{shown_as} is not a valid safetensors file: {why}; push it again.")
