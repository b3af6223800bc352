"""git's pkt-lines (gitprotocol-common): four hex digits of length, then the line; 0000 ends, 0001 separates."""

from collections.abc import Iterator
from typing import Protocol

from models_registry.errors import BadRequest

FLUSH, DELIMITER = b"0000", b"0001"
MAX_LINE_BYTES = 65520
BAND_BYTES = MAX_LINE_BYTES - 5  # what one line of a side band carries
PACK, PROGRESS, FATAL = b"\1", b"\2", b"\3"


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def line(data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return b"%04x" % (len(data) + 4) + data


def band(channel: bytes, data: bytes | memoryview) -> Iterator[bytes]:
    """The data on a channel of the side band, in as many lines as it needs."""
    for start in range(0, len(data), BAND_BYTES):
        part = data[start : start + BAND_BYTES]
        yield b"%04x" % (len(part) + 5) + channel
        yield bytes(part)


def read_exactly(stream: Reader, size: int) -> bytes:
    """Raises BadRequest when the body ends before."""
    parts, left = [], size
    while left:
        part = stream.read(left)
        if not part:
            raise BadRequest("The request was cut off: nothing was changed, try again.")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_lines(stream: Reader, most: int = 200_000) -> Iterator[bytes | None]:
    """Lines until the stream ends, without their newline. None stands for a flush, b"\\x01" for a delimiter.

    Raises BadRequest for what is no pkt-line.
    """
    for _ in range(most):
        head = stream.read(4)
        if not head:
            return
        if len(head) < 4:
            head += read_exactly(stream, 4 - len(head))
        try:
            size = int(head, 16)
        except ValueError as error:
            raise BadRequest("The body is not what git sends: a pkt-line begins with four hex digits.") from error
        if size == 0:
            yield None
        elif size == 1:
            yield b"\1"
        elif size < 4 or size > MAX_LINE_BYTES:
            raise BadRequest("The body is not what git sends: a pkt-line has 4 to 65,520 bytes.")
        else:
            yield read_exactly(stream, size - 4).removesuffix(b"\n")
    raise BadRequest(f"A request has at most {most:,} lines.")
