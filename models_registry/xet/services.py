"""Acts of the CAS: hand out a token, take a xorb, take a shard, read a file back."""

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

from django.core import signing
from django.db import transaction

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken
from models_registry.accounts.policies import can_read, can_upload, can_write, files_readable_by
from models_registry.accounts.tokens import actor_of_claims, claims_of
from models_registry.errors import BadRequest, Forbidden, Unauthorized
from models_registry.repos.duplicating import insert_select
from models_registry.repos.models import Repository, RepositoryBlob
from models_registry.repos.quotas import require_room
from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob, Damage
from models_registry.storage.services import staged
from models_registry.xet.events import xorb_received
from models_registry.xet.formats.answers import noted_chunks
from models_registry.xet.formats.errors import XetFormatError
from models_registry.xet.formats.files import (
    OpenXorb,
    check_work,
    decode_segments,
    file_sha256,
    segments_between,
    verify_file,
)
from models_registry.xet.formats.hashes import HASH_BYTES
from models_registry.xet.formats.shard import SHARD_MAX_CHUNKS, Segment, ShardFile, parse_shard
from models_registry.xet.formats.xorb import XorbIndex, read_xorb
from models_registry.xet.models import Realm, XetFile, Xorb, XorbHolder, XorbSender
from models_registry.xet.registering import VerifiedFile, note_chunks, register_files, use_xorbs

logger = logging.getLogger(__name__)
MAX_XORB_BYTES = 64 * 1024 * 1024 + 64 * 1024  # the body, and the footer which older clients append
MAX_SHARD_BYTES = 64 * 1024 * 1024
TOKEN_SECONDS = 3600
_SALT = "xet-token"
_BATCH = 5000
_TABLES = 200  # of xorbs read at once: 250 MB where each has as many chunks as it may


@dataclass(frozen=True)
class Grant:
    """What a Xet token allows: its user, in one repository. `offers`: to send contents for their pull requests only."""

    actor: Actor
    repository: Repository
    may_write: bool
    offers: bool = False


def make_token(actor: Actor, repository: Repository, *, write: bool, offers: bool = False) -> tuple[str, int]:
    """(token, when it ends in seconds since 1970)."""
    ends = int(time.time()) + TOKEN_SECONDS
    claims = {"repository": repository.pk, "write": write, "offers": offers} | claims_of(actor)
    return "xet_" + signing.dumps(claims, salt=_SALT, compress=True), ends


def realm_of(actor: Actor) -> str:
    """A part of the CAS's address which differs by hub, by user, and by fine-grained token.

    hf_xet remembers for three weeks, by address, which xorbs it sent, and never sends them again. A hub whose data was
    wiped, another user on the same machine, and a token which may not see where they went must not be taken for the one
    who got them.
    """
    realm = Realm.objects.first()
    if realm is None:
        realm, _ = Realm.objects.get_or_create(pk=1, defaults={"name": secrets.token_hex(8)})
    narrow = _narrow_token(actor)
    return f"r{realm.name}-{actor.user.pk if actor.user else 0}" + (f"-{narrow.pk}" if narrow else "")


def read_token(value: str) -> Grant:
    """Raises Unauthorized for what is forged, ended, or whose rights were taken away since."""
    try:
        claims = signing.loads(value.removeprefix("xet_"), salt=_SALT, max_age=TOKEN_SECONDS + 60)
    except signing.BadSignature as error:
        raise Unauthorized("This Xet token is not valid any more: ask for a new one.") from error
    actor = actor_of_claims(claims["user"], claims["token"])
    repository = Repository.objects.select_related("namespace").filter(pk=claims["repository"]).first()
    if actor is None or repository is None or not can_read(actor, repository):
        raise Unauthorized("This Xet token's rights have ended: ask for a new one.")
    may_write = claims["write"] and can_write(actor, repository)
    offers = claims.get("offers", False) and not may_write and can_upload(actor, repository)
    return Grant(actor, repository, may_write, offers)


def take_xorb(grant: Grant, claimed_hash: str, stream: BinaryIO) -> bool:
    """Verify and store a xorb; returns whether it is new. BadRequest if it does not verify: nothing is kept."""
    _require_write(grant)
    with staged(stream, MAX_XORB_BYTES, hasher=None) as (path, _, length):
        try:
            with path.open("rb") as file:
                index = read_xorb(file, claimed_hash)
        except XetFormatError as error:
            raise BadRequest(str(error)) from error
        xorb, created = announce_xorb(index, length)
        damage = Damage.objects.filter(key=xorb_key(claimed_hash))
        if created or damage.exists() or not blob_store().exists(xorb_key(claimed_hash)):
            blob_store().put_file(xorb_key(claimed_hash), path)
            damage.delete()
    with transaction.atomic():
        if grant.may_write:
            XorbHolder.objects.get_or_create(xorb=xorb, repository=grant.repository)
            xorb_received.send(sender=Xorb, repository=grant.repository, size_bytes=length)
        XorbSender.objects.get_or_create(xorb=xorb, user=grant.actor.user, token=_narrow_token(grant.actor))
    return created


def announce_xorb(index: XorbIndex, size_bytes: int) -> tuple[Xorb, bool]:
    """The row comes before the bytes, so that garbage collection leaves them alone (storage.services.announce)."""
    with transaction.atomic():
        while True:
            fresh = {"size_bytes": size_bytes, "index": index.to_bytes()}
            xorb, created = Xorb.objects.get_or_create(hash=index.hash_hex, defaults=fresh)
            if created:
                note_chunks((xorb.hash, chunk) for chunk in noted_chunks(index))
            if created or use_xorbs([xorb.hash]):
                return xorb, created


def take_shard(grant: Grant, body: bytes) -> int:
    """Verify the files of a shard, every hash of them, and record them. Returns how many.

    Raises BadRequest: the shard is malformed, names a xorb which its sender may not read, or does not verify.
    """
    _require_write(grant)
    try:
        files = list({file.file_hash_hex: file for file in parse_shard(body)}.values())
    except XetFormatError as error:
        raise BadRequest(str(error)) from error
    names = {segment.xorb_hash_hex for file in files for segment in file.segments}
    indexes = _readable_indexes(grant, names)
    try:
        check_work(files, indexes)
    except XetFormatError as error:
        raise BadRequest(str(error)) from error
    known = _known_sha256(files)
    _require_room(grant, files, known)
    with _LastXorb() as opened:
        verified = [_verified(grant, file, indexes, known, opened.open) for file in files]
    register_files(grant.repository, verified, None if grant.may_write else grant.actor.user)
    return len(files)


def read_xet_range(blob: Blob, start: int, length: int) -> Iterator[bytes]:
    """Bytes of a file kept as xorbs, decoded while they are read."""
    segments = [Segment(*term) for term in XetFile.objects.values_list("terms", flat=True).get(hash=blob.xet_hash)]
    # Of a large file a small range touches few xorbs, and only their tables are needed.
    segments, start = segments_between(segments, start, start + length)
    rows = Xorb.objects.filter(hash__in={segment.xorb_hash_hex for segment in segments})
    indexes = {hash_: XorbIndex.from_bytes(bytes(index)) for hash_, index in rows.values_list("hash", "index")}
    return decode_segments(segments, indexes, open_xorb, start, start + length)


def _narrow_token(actor: Actor) -> AccessToken | None:
    """The fine-grained token of this caller: what its user sent by other credentials is not this token's to use."""
    return actor.token if actor.token is not None and actor.token.is_fine_grained else None


def hold_copied_xorbs(sender: object, *, repository: Repository, source: Repository, **_: Any) -> None:
    """A duplicate holds the xorbs of the contents which it names, and no others of its source. In its transaction."""
    contents = RepositoryBlob.objects.filter(repository=repository).values("blob")
    files = XetFile.objects.filter(sha256__in=contents).values_list("terms", flat=True)
    names = sorted({term[0] for terms in files.iterator() for term in terms})
    for start in range(0, len(names), _BATCH):
        held = XorbHolder.objects.filter(repository=source, xorb__in=names[start : start + _BATCH])
        insert_select(held, repository_id=repository.pk)


def _require_write(grant: Grant) -> None:
    if not grant.may_write and not grant.offers:
        raise Forbidden("This Xet token may only read.")


def _known_sha256(files: Sequence[ShardFile]) -> dict[str, str]:
    """The SHA-256 of those files whose chunks were read before, by their Xet name."""
    known: dict[str, str] = {}
    for start in range(0, len(files), _BATCH):
        names = [file.file_hash_hex for file in files[start : start + _BATCH]]
        known |= dict(XetFile.objects.filter(hash__in=names).values_list("hash", "sha256"))
    return known


def _require_room(grant: Grant, files: Sequence[ShardFile], known: dict[str, str]) -> None:
    """Raises QuotaExceeded: files which the repository does not hold yet are more than its namespace may keep."""
    held: set[str] = set()
    contents = sorted(set(known.values()))
    for start in range(0, len(contents), _BATCH):
        rows = RepositoryBlob.objects.filter(repository=grant.repository, blob__in=contents[start : start + _BATCH])
        held |= set(rows.values_list("blob_id", flat=True))
    require_room(grant.repository, sum(file.size_bytes for file in files if known.get(file.file_hash_hex) not in held))


def _readable_indexes(grant: Grant, names: set[str]) -> dict[str, XorbIndex]:
    """The chunk tables of the xorbs named, if this caller sent them or may read a repository which holds them.

    Without this, knowing a hash would be enough to read a stranger's file. The tables are held all together, so there
    is a limit to them: a shard of a few kB can name xorbs which were sent over weeks.
    """
    indexes: dict[str, XorbIndex] = {}
    wanted, chunks = sorted(names), 0
    for start in range(0, len(wanted), _TABLES):
        part = wanted[start : start + _TABLES]
        found = indexes_of(buildable(grant.actor, part))
        if missing := next((name for name in part if name not in found), None):
            raise BadRequest(
                f"The shard names the xorb {missing}, which this hub does not hold for you: upload it again "
                "(clearing the client's Xet cache, HF_XET_CACHE, makes it do so)."
            )
        chunks += sum(map(len, found.values()))
        if chunks > SHARD_MAX_CHUNKS:
            raise BadRequest(
                f"The shard names xorbs of more than {SHARD_MAX_CHUNKS:,} chunks: upload fewer files at a time."
            )
        indexes |= found
    return indexes


def buildable(actor: Actor, names: Iterable[str]) -> set[str]:
    """Those of these xorbs on which this caller may build: sent by them, or in a repository which they may read."""
    wanted = list(names)
    allowed = XorbHolder.objects.filter(xorb__in=wanted).filter(files_readable_by(actor, "repository__"))
    readable = set(allowed.values_list("xorb_id", flat=True))
    if actor.user is None:
        return readable
    sent = XorbSender.objects.filter(xorb__in=wanted, user=actor.user)
    if (narrow := _narrow_token(actor)) is not None:
        sent = sent.filter(token=narrow)
    return readable | set(sent.values_list("xorb_id", flat=True))


def indexes_of(names: Iterable[str]) -> dict[str, XorbIndex]:
    """The chunk tables of those xorbs which are here."""
    rows = Xorb.objects.filter(hash__in=list(names)).values_list("hash", "index")
    return {hash_: XorbIndex.from_bytes(bytes(index)) for hash_, index in rows}


def _verified(
    grant: Grant, file: ShardFile, indexes: dict[str, XorbIndex], known: dict[str, str], open_one: OpenXorb
) -> VerifiedFile:
    sha256 = _verified_sha256(grant, file, indexes, known.get(file.file_hash_hex), open_one)
    chunk = b""
    if file.segments:
        first = file.segments[0]
        chunk = indexes[first.xorb_hash_hex].hashes[first.start * HASH_BYTES : (first.start + 1) * HASH_BYTES]
    return VerifiedFile(file.file_hash_hex, sha256, file.segments, chunk)


def _verified_sha256(
    grant: Grant, file: ShardFile, indexes: dict[str, XorbIndex], known: str | None, open_one: OpenXorb
) -> str:
    try:
        verify_file(file, indexes)
        sha256 = known or file_sha256(file.segments, indexes, open_one)
    except XetFormatError as error:
        raise BadRequest(str(error)) from error
    except KeyError as error:
        raise BadRequest(f"The bytes of {error} are not here any more: upload that xorb again.") from error
    if file.sha256_hex is None and not grant.repository.kind.has_history:
        return sha256  # a bucket's files are named by Xet alone; the hub finds out the rest
    if file.sha256_hex is None:
        raise BadRequest(f"The shard does not give the SHA-256 of file {file.file_hash_hex}: update hf_xet.")
    if file.sha256_hex != sha256:
        raise BadRequest(
            f"The file {file.file_hash_hex} has the SHA-256 {sha256}, not {file.sha256_hex}: upload it again."
        )
    return sha256


class _LastXorb:
    """Keeps the xorb open which was read last: of small files hundreds follow each other in one."""

    def __init__(self) -> None:
        self._name, self._stack = "", ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_LastXorb":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, hash_hex: str) -> AbstractContextManager[BinaryIO]:
        if self._file is None or hash_hex != self._name:
            self._stack.close()
            self._file = None
            self._file, self._name = self._stack.enter_context(open_xorb(hash_hex)), hash_hex
        return nullcontext(self._file)


def open_xorb(hash_hex: str) -> AbstractContextManager[BinaryIO]:
    return blob_store().open(xorb_key(hash_hex))


def xorb_key(hash_hex: str) -> str:
    return f"xorbs/{hash_hex}"
