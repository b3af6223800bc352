"""The act of cutting what came whole (by LFS, git, a job) into chunks, so that what files share is kept once.

Nothing is taken away here. The whole copy stays and is served until garbage collection lets it go, a grace after the
chunks were read back and found to be the same bytes. Whatever is written before the process dies is found again by the
next attempt, or collected as any xorb of which no file is made.
"""

import hashlib
import logging
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from django.db import transaction

from models_registry.errors import Conflict
from models_registry.repos.models import Repository
from models_registry.storage.blobstore import blob_store, full_disk_said, staging_folder
from models_registry.storage.models import Blob, Damage
from models_registry.storage.services import blob_key, read_range
from models_registry.xet.formats.answers import is_noted
from models_registry.xet.formats.chunking import cut
from models_registry.xet.formats.files import file_sha256
from models_registry.xet.formats.hashes import HASH_BYTES, chunk_hash, file_hash, hash_to_hex
from models_registry.xet.formats.packing import XorbWriter
from models_registry.xet.formats.shard import Segment
from models_registry.xet.formats.xorb import XorbIndex
from models_registry.xet.models import ChunkPlace, XetFile, XorbHolder
from models_registry.xet.registering import VerifiedFile, record_files
from models_registry.xet.services import (
    announce_xorb,
    indexes_of,
    open_xorb,
    xorb_key,
)

logger = logging.getLogger(__name__)
_ASKED_AT_ONCE, _FILES = 400, 16


@dataclass(frozen=True)
class Chunked:
    """A content which now lies as chunks too. `new_bytes`: what they take in the store beyond what was there."""

    size_bytes: int
    new_bytes: int


class _Cut(NamedTuple):
    """The chunks of a content: their hashes one after the other, and their lengths in bytes."""

    hashes: bytes
    lengths: "array[int]"

    def hash_of(self, number: int) -> bytes:
        return self.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]

    def all_hashes(self) -> Iterator[bytes]:
        return (self.hash_of(number) for number in range(len(self.lengths)))


Places = dict[bytes, tuple[str, int]]  # a chunk's hash -> its xorb, and its number there


def chunk_content(blob: Blob) -> Chunked:
    """Cut a whole content, store the chunks which are new, read all back, and record of what the file is made.

    Raises Conflict: its bytes are damaged, or things changed meanwhile; nothing was recorded. StorageFull.
    """
    if blob.is_whole is False or blob.xet_hash:
        raise Conflict(f"The content {blob.pk} does not lie whole alone.")
    readers = _readers(blob)
    found = _cut(blob)
    indexes = _shared(readers, found)
    places = _places_in(indexes, found)
    new_bytes = 0
    for index, size_bytes in _store_new(blob, found, places):
        indexes[index.hash_hex] = index
        new_bytes += size_bytes
    segments = list(_segments(found, places, indexes))
    try:
        same = file_sha256(segments, indexes, open_xorb) == blob.sha256
    except KeyError as error:
        raise Conflict(f"The bytes of {error} went away meanwhile: another attempt sends them again.") from error
    if not same:
        raise Conflict(f"The chunks of {blob.pk} do not give its bytes again.")
    pairs = zip(found.all_hashes(), found.lengths, strict=True)
    _record(blob, hash_to_hex(file_hash(pairs)), segments, indexes, readers)
    logger.info("cut %s into %d chunks, %d of %d bytes new", blob.pk, len(found.lengths), new_bytes, blob.size_bytes)
    return Chunked(blob.size_bytes, new_bytes)


def _cut(blob: Blob) -> _Cut:
    digest, hashes, lengths = hashlib.sha256(), bytearray(), array("I")
    try:
        for chunk in cut(read_range(blob)):
            digest.update(chunk)
            hashes += chunk_hash(chunk)
            lengths.append(len(chunk))
    except KeyError as error:
        raise Conflict(f"The bytes of {blob.pk} are not in the store.") from error
    if digest.hexdigest() != blob.sha256:
        raise Conflict(f"The stored bytes of {blob.pk} have the SHA-256 {digest.hexdigest()}: they are damaged.")
    return _Cut(bytes(hashes), lengths)


def _readers(blob: Blob) -> list[Repository]:
    return list(Repository.objects.filter(blob_rows__blob=blob.pk).order_by("pk"))


def _shared(readers: list[Repository], found: _Cut) -> dict[str, XorbIndex]:
    """The chunk tables of xorbs on which this content may build, found by the chunks whose places are remembered."""
    asked = {hash_ for hash_ in found.all_hashes() if is_noted(hash_)} | {found.hash_of(0)}
    names: dict[str, None] = {}
    for part in _parts(sorted(map(hash_to_hex, asked))):
        names |= dict.fromkeys(ChunkPlace.objects.filter(chunk__in=part).values_list("xorb", flat=True))
    for part in _parts(list(names)):  # files run through several xorbs; some of them may have no such chunk
        files = XetFile.objects.filter(uses__xorb__in=part).order_by("-created_at").values_list("terms", flat=True)
        names |= dict.fromkeys(term[0] for terms in files[:_FILES] for term in terms)
    indexes: dict[str, XorbIndex] = {}
    for part in _parts(list(names)):
        indexes |= indexes_of(_buildable(readers, part))
    return indexes


def _buildable(readers: list[Repository], names: list[str]) -> list[str]:
    """Those which lie here whole, and in repositories whose files all may read who may read this content.

    Else the way in which a file is cut would tell that a stranger keeps something like it in private.
    """
    holders: dict[str, list[Repository]] = {}
    for row in XorbHolder.objects.filter(xorb__in=names).select_related("repository"):
        holders.setdefault(row.xorb_id, []).append(row.repository)
    damaged = set(Damage.objects.filter(key__in=map(xorb_key, names)).values_list("key", flat=True))
    return [
        name
        for name in names
        if all(any(_open_to(reader, holder) for holder in holders.get(name, [])) for reader in readers)
        and xorb_key(name) not in damaged
        and blob_store().exists(xorb_key(name))
    ]


def _open_to(reader: Repository, holder: Repository) -> bool:
    """Whether everybody who may read the one's files may read the other's."""
    if reader.pk == holder.pk or (not holder.private and not holder.gated):
        return True
    return reader.private and holder.namespace_id == reader.namespace_id and not holder.gated


def _places_in(indexes: dict[str, XorbIndex], found: _Cut) -> Places:
    wanted, places = set(found.all_hashes()), Places()
    for name, index in indexes.items():
        for number in range(len(index)):
            hash_ = index.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]
            if hash_ in wanted:
                places.setdefault(hash_, (name, number))
    return places


def _store_new(blob: Blob, found: _Cut, places: Places) -> Iterator[tuple[XorbIndex, int]]:
    """Write the chunks which have no place yet into xorbs; gives each, and the bytes which were new in the store."""
    chunks = _new_chunks(blob, found, places)
    chunk = next(chunks, None)
    while chunk is not None:
        with tempfile.NamedTemporaryFile(dir=staging_folder(), delete=False) as file:
            path = Path(file.name)
            try:
                writer, numbers = XorbWriter(cast(BinaryIO, file)), dict[bytes, int]()
                with full_disk_said():
                    while chunk is not None and writer.has_room():
                        plain, hash_ = chunk
                        if hash_ not in numbers and hash_ not in places:
                            numbers[hash_] = writer.add(plain, hash_)
                        chunk = next(chunks, None)
                    file.flush()
                if not len(writer):  # only repetitions were left
                    return
                index = writer.index()
                places |= {hash_: (index.hash_hex, number) for hash_, number in numbers.items()}
                yield index, _put(index, writer.size_bytes, path)
            finally:
                path.unlink(missing_ok=True)


def _put(index: XorbIndex, size_bytes: int, path: Path) -> int:
    """Store a xorb unless it is here; returns the bytes which were new."""
    key = xorb_key(index.hash_hex)
    _, created = announce_xorb(index, size_bytes)
    damage = Damage.objects.filter(key=key)
    if not created and blob_store().exists(key) and not damage.exists():
        return 0
    blob_store().put_file(key, path)
    damage.delete()
    return size_bytes


def _new_chunks(blob: Blob, found: _Cut, places: Places) -> Iterator[tuple[bytes, bytes]]:
    """(bytes, hash) of the chunks without a place; those which have one are not read."""
    start = number = 0
    while number < len(found.lengths):
        first, begin = number, start
        while number < len(found.lengths) and found.hash_of(number) not in places:
            start += found.lengths[number]
            number += 1
        if number > first:
            yield from _read(blob, begin, start, found, first)
        else:
            start += found.lengths[number]
            number += 1


def _read(blob: Blob, start: int, end: int, found: _Cut, number: int) -> Iterator[tuple[bytes, bytes]]:
    held = bytearray()
    for block in blob_store().read_range(blob_key(blob.sha256), start, end - start):
        held += block
        while held and len(held) >= (length := found.lengths[number]):
            yield bytes(held[:length]), found.hash_of(number)
            del held[:length]
            number += 1


def _segments(found: _Cut, places: Places, indexes: dict[str, XorbIndex]) -> Iterator[Segment]:
    """The content as runs of chunks, as long as they can be."""
    name, start, end, length = "", 0, 0, 0
    for number, size in enumerate(found.lengths):
        hash_ = found.hash_of(number)
        if name and indexes[name].hashes[end * HASH_BYTES : (end + 1) * HASH_BYTES] == hash_:
            end, length = end + 1, length + size
            continue
        if name:
            yield Segment(name, length, start, end)
        name, start = places[hash_]
        end, length = start + 1, size
    yield Segment(name, length, start, end)


def _record(
    blob: Blob, name: str, segments: list[Segment], indexes: dict[str, XorbIndex], readers: list[Repository]
) -> None:
    with transaction.atomic():
        fresh = Blob.objects.filter(pk=blob.pk, is_whole=True, xet_hash="")
        if not fresh.update(xet_hash=name):
            raise Conflict(f"The content {blob.pk} was cut or taken away by somebody else meanwhile.")
        if [_sight(repository) for repository in _readers(blob)] != [_sight(repository) for repository in readers]:
            raise Conflict(f"Who may read the content {blob.pk} changed meanwhile.")
        first = segments[0]
        at = first.start * HASH_BYTES
        chunk = indexes[first.xorb_hash_hex].hashes[at : at + HASH_BYTES]
        names = record_files([VerifiedFile(name, blob.sha256, segments, chunk)])
        holders = [XorbHolder(xorb_id=xorb, repository=repository) for repository in readers for xorb in names]
        XorbHolder.objects.bulk_create(holders, ignore_conflicts=True)


def _sight(repository: Repository) -> tuple[int, int, bool, str]:
    return repository.pk, repository.namespace_id, repository.private, repository.gated


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    wanted = list(names)
    return (wanted[start : start + _ASKED_AT_ONCE] for start in range(0, len(wanted), _ASKED_AT_ONCE))
