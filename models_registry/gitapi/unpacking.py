"""Reading a pack which a client sends: from disk, one object in memory at a time, nothing believed.

Sizes are bounded before anything is inflated or pieced together, so that neither a zip bomb nor a delta bomb grows.
"""

import hashlib
import mmap
import os
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from models_registry.errors import BadRequest, TooLarge
from models_registry.gitapi.pktlines import Reader
from models_registry.repos.commits import MAX_INLINE_BYTES
from models_registry.repos.git_objects import BLOB, COMMIT, TAG, TREE
from models_registry.storage.blobstore import full_disk_said, staging_folder

MAX_PACK_BYTES = 2 * 1024**3
MAX_INFLATED_BYTES = 16 * 1024**3
MAX_OBJECTS = 5_000_000
MAX_OTHER_BYTES = 32 * 1024 * 1024  # a tree, a commit, a tag, a delta
_BLOCK_BYTES = 1024 * 1024
_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_BY_OFFSET, _BY_OID = 6, 7
_DAMAGED = "The pack was damaged on its way: nothing was kept, push again."
# Gives (kind, bytes) of an object which is here already, or None: a thin pack's deltas lean on those.
Lookup = Callable[[str], tuple[int, bytes] | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an object's bytes are: in the pack (compressed) or in the spool (as they are)."""

    kind: int
    offset: int
    size: int
    in_pack: bool


@dataclass(frozen=True, slots=True)
class _Delta:
    entry: int
    offset: int
    size: int


@dataclass
class Unpacked:
    """The objects of a pack. `oversized`: files beyond the limit, of which only name and size are known."""

    pack: mmap.mmap
    spool: BinaryIO
    places: dict[str, _Place] = field(default_factory=dict)
    oversized: dict[str, int] = field(default_factory=dict)
    spooled: int = 0
    inflated: int = 0

    def kind(self, oid: str) -> int | None:
        place = self.places.get(oid)
        return place.kind if place else BLOB if oid in self.oversized else None

    def size(self, oid: str) -> int:
        place = self.places.get(oid)
        return place.size if place else self.oversized[oid]

    def read(self, oid: str) -> bytes:
        return self.read_place(self.places[oid])

    def read_place(self, place: _Place) -> bytes:
        if place.in_pack:
            return _inflate(self.pack, place.offset, place.size)[0]
        return os.pread(self.spool.fileno(), place.size, place.offset)

    def count(self, size: int) -> None:
        self.inflated += size
        if self.inflated > MAX_INFLATED_BYTES:
            raise TooLarge(f"The pack unfolds to more than {MAX_INFLATED_BYTES:,} bytes: push the history in parts.")


@contextmanager
def unpacked(stream: Reader, lookup: Lookup) -> Iterator[Unpacked]:
    """The pack which follows in the stream. Raises BadRequest, TooLarge, StorageFull. Its files are gone afterwards."""
    with _staged() as file, _staged() as spool:
        with full_disk_said():
            _receive(stream, file)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pack:
            result = Unpacked(pack, spool)
            with full_disk_said():
                _Reading(result, lookup).run()
                spool.flush()
            yield result


@contextmanager
def _staged() -> Iterator[BinaryIO]:
    descriptor, name = tempfile.mkstemp(dir=staging_folder(), prefix="push-")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
    finally:
        Path(name).unlink(missing_ok=True)


def _receive(stream: Reader, file: BinaryIO) -> None:
    """Write the pack to disk and check its SHA-1, which is its last 20 bytes."""
    digest, total, tail = hashlib.sha1(usedforsecurity=False), 0, b""
    while block := stream.read(_BLOCK_BYTES):
        total += len(block)
        if total > MAX_PACK_BYTES:
            raise TooLarge(f"A push has at most {MAX_PACK_BYTES:,} bytes: push large files with git-lfs.")
        file.write(block)
        data = tail + block
        digest.update(data[:-20])
        tail = data[-20:]
    file.flush()
    if total < 32 or digest.digest() != tail:
        raise BadRequest(_DAMAGED)


class _Reading:
    """One pass over the pack finds every object; then deltas are pieced together, bases first."""

    def __init__(self, result: Unpacked, lookup: Lookup) -> None:
        self.result, self.lookup, self.pack = result, lookup, result.pack
        self.by_offset: dict[int, list[_Delta]] = defaultdict(list)
        self.by_oid: dict[str, list[_Delta]] = defaultdict(list)
        self.entries: list[tuple[int, str]] = []  # of the objects which are no deltas

    def run(self) -> None:
        pack = self.pack
        if pack[:4] != b"PACK" or int.from_bytes(pack[4:8], "big") not in (2, 3):
            raise BadRequest(_DAMAGED)
        count = int.from_bytes(pack[8:12], "big")
        if count > MAX_OBJECTS:
            raise TooLarge(f"A push has at most {MAX_OBJECTS:,} objects: push the history in parts.")
        position = 12
        for _ in range(count):
            position = self._entry(position)
        if position != len(pack) - 20:
            raise BadRequest(_DAMAGED)
        for entry, oid in self.entries:
            if self.by_offset.get(entry) or self.by_oid.get(oid):
                self._resolve(oid, entry)
        self._resolve_thin()

    def _entry(self, entry: int) -> int:
        """Take in the object at this place; returns where the next one begins."""
        kind, size, position = _entry_head(self.pack, entry)
        if kind in _NAMES:
            return self._whole(entry, kind, size, position)
        if size > MAX_OTHER_BYTES:
            raise TooLarge("A change in this pack is too large: push files of more than 10 MiB with git-lfs.")
        if kind == _BY_OFFSET:
            distance, position = _distance(self.pack, position)
            self.by_offset[entry - distance].append(_Delta(entry, position, size))
        elif kind == _BY_OID:
            base, position = self.pack[position : position + 20].hex(), position + 20
            self.by_oid[base].append(_Delta(entry, position, size))
        else:
            raise BadRequest(_DAMAGED)
        self.result.count(size)
        return _inflate(self.pack, position, size, keep=False)[1]

    def _whole(self, entry: int, kind: int, size: int, position: int) -> int:
        self.result.count(size)
        limit = MAX_INLINE_BYTES if kind == BLOB else MAX_OTHER_BYTES
        if size > limit and kind != BLOB:
            raise TooLarge(f"A folder, commit or tag of this push has {size:,} bytes: that is too large.")
        digest = hashlib.sha1(b"%s %d\0" % (_NAMES[kind], size), usedforsecurity=False)
        _, end = _inflate(self.pack, position, size, keep=False, see=digest.update)
        oid = digest.hexdigest()
        if size <= limit:
            self.result.places[oid] = _Place(kind, position, size, in_pack=True)
            self.entries.append((entry, oid))
        else:
            self.result.oversized[oid] = size
        return end

    def _resolve(self, oid: str, entry: int | None) -> None:
        """Piece together what leans on this object, and what leans on that, holding one base at a time."""
        todo: list[tuple[_Place | tuple[int, bytes], str, int | None]] = []
        place = self.result.places.get(oid)
        if place is not None:
            todo.append((place, oid, entry))
        elif found := self.lookup(oid):
            todo.append((found, oid, None))
        while todo:
            where, base_oid, base_entry = todo.pop()
            deltas = self.by_oid.pop(base_oid, [])
            deltas += self.by_offset.pop(base_entry, []) if base_entry is not None else []
            if not deltas:
                continue
            kind, base = (where.kind, self.result.read_place(where)) if isinstance(where, _Place) else where
            for delta in deltas:
                made = self._apply(kind, base, delta)
                if made is not None:
                    todo.append((self.result.places[made], made, delta.entry))

    def _apply(self, kind: int, base: bytes, delta: _Delta) -> str | None:
        """Keep the object which a delta makes; None when it is over the limit and only its name is kept."""
        instructions, _ = _inflate(self.pack, delta.offset, delta.size)
        size, parts = unfold(base, instructions, MAX_INFLATED_BYTES)
        self.result.count(size)
        limit = MAX_INLINE_BYTES if kind == BLOB else MAX_OTHER_BYTES
        digest = hashlib.sha1(b"%s %d\0" % (_NAMES[kind], size), usedforsecurity=False)
        if size > limit:
            if kind != BLOB:
                raise TooLarge(f"A folder of this push has {size:,} bytes: that is too large.")
            for part in parts:
                digest.update(part)
            self.result.oversized[digest.hexdigest()] = size
            return None
        data = b"".join(parts)
        digest.update(data)
        oid = digest.hexdigest()
        if oid not in self.result.places:
            self.result.places[oid] = _Place(kind, self.result.spooled, size, in_pack=False)
            self.result.spool.write(data)
            self.result.spool.flush()
            self.result.spooled += size
        return oid

    def _resolve_thin(self) -> None:
        """What leans on objects which are here already."""
        while self.by_oid:
            before = len(self.by_oid)
            for oid in list(self.by_oid):
                self._resolve(oid, None)
            if len(self.by_oid) == before:
                break
        if (self.by_oid or self.by_offset) and not self.result.oversized:
            raise BadRequest("The pack leans on objects which are neither in it nor here: fetch, then push again.")


def unfold(base: bytes, delta: bytes, limit: int) -> tuple[int, Iterator[bytes | memoryview]]:
    """(size, parts) of what a delta makes of its base. The parts are checked as they are taken.

    Raises BadRequest for a delta which is wrong or would make more than `limit` bytes.
    """
    source_size, position = _delta_size(delta, 0)
    size, position = _delta_size(delta, position)
    if source_size != len(base) or size > limit:
        raise BadRequest(_DAMAGED)
    return size, _parts(memoryview(base), memoryview(delta), position, size)


def _parts(base: memoryview, delta: memoryview, position: int, size: int) -> Iterator[memoryview]:
    made, end = 0, len(delta)
    while position < end:
        command = delta[position]
        position += 1
        if command & 0x80:
            offset = length = 0
            for bit in range(7):
                if command & (1 << bit):
                    if position >= end:
                        raise BadRequest(_DAMAGED)
                    if bit < 4:
                        offset |= delta[position] << (8 * bit)
                    else:
                        length |= delta[position] << (8 * (bit - 4))
                    position += 1
            part = base[offset : offset + (length or 0x10000)]
            wanted = length or 0x10000
        elif command:
            part, wanted = delta[position : position + command], command
            position += command
        else:
            raise BadRequest(_DAMAGED)
        made += wanted
        if len(part) != wanted or made > size:
            raise BadRequest(_DAMAGED)
        yield part
    if made != size:
        raise BadRequest(_DAMAGED)


def _delta_size(delta: bytes, position: int) -> tuple[int, int]:
    size = shift = 0
    while position < len(delta) and shift < 64:
        byte = delta[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, position
    raise BadRequest(_DAMAGED)


def _entry_head(pack: mmap.mmap, position: int) -> tuple[int, int, int]:
    """(kind, size, where the content begins) of the entry at this place."""
    head = pack[position : position + 10]
    if not head:
        raise BadRequest(_DAMAGED)
    kind, size, shift = (head[0] >> 4) & 7, head[0] & 0x0F, 4
    index = 0
    while head[index] & 0x80:
        index += 1
        if index >= len(head):
            raise BadRequest(_DAMAGED)
        size |= (head[index] & 0x7F) << shift
        shift += 7
    return kind, size, position + index + 1


def _distance(pack: mmap.mmap, position: int) -> tuple[int, int]:
    head = pack[position : position + 10]
    if not head:
        raise BadRequest(_DAMAGED)
    index, distance = 0, head[0] & 0x7F
    while head[index] & 0x80:
        index += 1
        if index >= len(head):
            raise BadRequest(_DAMAGED)
        distance = ((distance + 1) << 7) | (head[index] & 0x7F)
    return distance, position + index + 1


def _inflate(
    pack: mmap.mmap, position: int, size: int, *, keep: bool = True, see: Callable[[bytes], object] | None = None
) -> tuple[bytes, int]:
    """(the bytes, where their compressed form ends). Stops at the first byte beyond `size`."""
    stream, parts, total, end = zlib.decompressobj(), [], 0, len(pack) - 20
    step = min(size + 64, 256 * 1024)
    while not stream.eof:
        chunk = pack[position : min(position + step, end)]
        if not chunk:
            raise BadRequest(_DAMAGED)
        try:
            data = stream.decompress(chunk, min(size - total + 1, _BLOCK_BYTES))
        except zlib.error as error:
            raise BadRequest(_DAMAGED) from error
        position += len(chunk) - len(stream.unconsumed_tail) - len(stream.unused_data)
        total += len(data)
        if total > size:
            raise BadRequest(_DAMAGED)
        if keep and data:
            parts.append(data)
        if see and data:
            see(data)
    if total != size:
        raise BadRequest(_DAMAGED)
    return (parts[0] if len(parts) == 1 else b"".join(parts)), position
