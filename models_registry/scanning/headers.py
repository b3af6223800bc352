"""What the headers of weight files say: pure parsing of a bounded beginning, nothing of it is ever run.

Sources: the safetensors format (8 bytes of length, then JSON); the GGUF specification (ggml docs/gguf.md, 2 and 3).
"""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

# read(start, length) gives that part of the file, or less at its end.
Reader = Callable[[int, int], bytes]

SAFETENSORS_MAX_HEADER_BYTES = 25_000_000  # the client's own bound is 25 MB
GGUF_MAX_HEADER_BYTES = 16_000_000
_MAX_TENSORS = 200_000
_MAX_NUMBER = 2**62
_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_GGUF_TEXT, _GGUF_ARRAY = 8, 9
_GGUF_KEPT_TEXT = 20_000


class HeaderError(ValueError):
    """The header can not be read. The message is one sentence for the contributor."""


def safetensors_parameters(read: Reader) -> dict[str, int]:
    """Parameters by data type (`{"F32": 1200}`) of one safetensors file. Raises HeaderError."""
    start = read(0, 8)
    if len(start) < 8:
        raise HeaderError("The file is shorter than a safetensors header.")
    (length,) = struct.unpack("<Q", start)
    if not 2 <= length <= SAFETENSORS_MAX_HEADER_BYTES:
        raise HeaderError(f"Its header says that it has {length:,} bytes; at most 25,000,000 are read.")
    try:
        header = json.loads(read(8, length))
    except (ValueError, RecursionError) as error:
        raise HeaderError("Its header is not JSON.") from error
    if not isinstance(header, dict) or len(header) > _MAX_TENSORS:
        raise HeaderError("Its header is not an object of tensors.")
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        kind = tensor.get("dtype") if isinstance(tensor, dict) else None
        if not isinstance(kind, str) or len(kind) > 20 or not isinstance(shape, list) or not _are_sizes(shape):
            raise HeaderError(f"The tensor {name[:60]!r} has no shape and type.")
        counts[kind] = counts.get(kind, 0) + math.prod(shape)
        if counts[kind] > _MAX_NUMBER:
            raise HeaderError(f"The tensor {name[:60]!r} is larger than any file.")
    return counts


def gguf_facts(read: Reader) -> dict[str, Any]:
    """`{"total", "architecture"?, "context_length"?, "chat_template"?, "bos_token"?, "eos_token"?}` of a GGUF file."""
    try:
        return _Gguf(read(0, GGUF_MAX_HEADER_BYTES)).facts()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise HeaderError("Its GGUF header ends too early or is longer than 16 MB.") from error


class _Gguf:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def facts(self) -> dict[str, Any]:
        if self.data[:4] != b"GGUF":
            raise HeaderError("It does not begin as a GGUF file.")
        self.at = 4
        if self._number("<I") not in (2, 3):
            raise HeaderError("Its GGUF version is neither 2 nor 3.")
        tensors, pairs = self._number("<Q"), self._number("<Q")
        if tensors > _MAX_TENSORS or pairs > _MAX_TENSORS:
            raise HeaderError("Its GGUF header counts more tensors or values than any model has.")
        values = {}
        tokens: tuple[int, int] | None = None
        for _ in range(pairs):
            key, kind = self._text(), self._number("<I")
            if key == "tokenizer.ggml.tokens" and kind == _GGUF_ARRAY:
                tokens = (self.at, self._array_end())
            else:
                values[key] = self._value(kind)
        total = sum(self._tensor() for _ in range(tensors))
        if total > _MAX_NUMBER:
            raise HeaderError("Its tensors are larger than any file.")
        architecture = values.get("general.architecture")
        facts: dict[str, Any] = {"total": total}
        for name, value in (
            ("architecture", architecture),
            ("context_length", values.get(f"{architecture}.context_length")),
            ("chat_template", values.get("tokenizer.chat_template")),
            ("bos_token", self._token(tokens, values.get("tokenizer.ggml.bos_token_id"))),
            ("eos_token", self._token(tokens, values.get("tokenizer.ggml.eos_token_id"))),
        ):
            if isinstance(value, str | int) and (not isinstance(value, str) or len(value) <= _GGUF_KEPT_TEXT):
                facts[name] = value
        return facts

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value  # type: ignore[no-any-return]

    def _text(self) -> str:
        length = self._number("<Q")
        if self.at + length > len(self.data):
            raise IndexError
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _GGUF_TEXT:
            return self._text()
        if kind == _GGUF_ARRAY:
            self.at = self._array_end()
            return None
        if kind not in _GGUF_FORMATS:
            raise HeaderError("Its GGUF header holds a value of an unknown type.")
        return self._number(_GGUF_FORMATS[kind])

    def _array_end(self) -> int:
        kind, count = self._number("<I"), self._number("<Q")
        if kind in _GGUF_SIZES:
            return self._within(self.at + count * _GGUF_SIZES[kind])
        if kind != _GGUF_TEXT:
            raise HeaderError("Its GGUF header holds an array inside an array.")
        at = self.at
        for _ in range(count):
            at += 8 + int.from_bytes(self.data[at : at + 8], "little")
            self._within(at)
        self.at = at
        return at

    def _within(self, at: int) -> int:
        if at > len(self.data):
            raise IndexError
        return at

    def _tensor(self) -> int:
        self._text()
        dimensions = self._number("<I")
        if dimensions > 8:
            raise HeaderError("A tensor has more than 8 dimensions.")
        size = math.prod(self._number("<Q") for _ in range(dimensions))
        self.at += 12  # its type and its place
        self._within(self.at)
        return size

    def _token(self, tokens: tuple[int, int] | None, number: Any) -> str | None:
        if tokens is None or not isinstance(number, int) or number < 0:
            return None
        here, self.at = self.at, tokens[0]
        kind, count = self._number("<I"), self._number("<Q")
        found = None
        if kind == _GGUF_TEXT and number < count:
            for _ in range(number):
                self.at += 8 + int.from_bytes(self.data[self.at : self.at + 8], "little")
            found = self._text()
        self.at = here
        return found


def _are_sizes(shape: list[Any]) -> bool:
    return len(shape) <= 64 and all(type(size) is int and 0 <= size <= _MAX_NUMBER for size in shape)
