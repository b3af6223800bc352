"""Acts on attachments: take an image, video or sound in; find one again. They are shown, and never run."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_attach
from models_registry.community.discussions.models import Attachment
from models_registry.errors import BadRequest, Forbidden, NotFound, TooLarge, Unauthorized, UnsupportedType
from models_registry.storage.services import keep_file, staged

MAX_BYTES, MAX_VIDEO_BYTES = 10 * 1024 * 1024, 50 * 1024 * 1024
MAX_A_DAY = 200  # of one person
_SNIFFED_BYTES = 64


@dataclass(frozen=True)
class Kind:
    """A type of file which is taken. `marks` are (offset, bytes) of which one must stand at the file's start."""

    ending: str
    marks: tuple[tuple[int, bytes], ...]
    max_bytes: int = MAX_BYTES


TYPES = {
    "image/png": Kind("png", ((0, b"\x89PNG\r\n\x1a\n"),)),
    "image/jpeg": Kind("jpg", ((0, b"\xff\xd8\xff"),)),
    "image/gif": Kind("gif", ((0, b"GIF87a"), (0, b"GIF89a"))),
    "image/webp": Kind("webp", ((8, b"WEBP"),)),
    "video/mp4": Kind("mp4", ((4, b"ftyp"),), MAX_VIDEO_BYTES),
    "video/quicktime": Kind("mov", ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide")), MAX_VIDEO_BYTES),
    "video/webm": Kind("webm", ((0, b"\x1aE\xdf\xa3"),), MAX_VIDEO_BYTES),
    "audio/mpeg": Kind("mp3", ((0, b"ID3"), *((0, bytes([0xFF, low])) for low in (0xFB, 0xF3, 0xF2, 0xFA, 0xE3)))),
    "audio/wav": Kind("wav", ((8, b"WAVE"),)),
}
TYPES["audio/x-wav"] = TYPES["audio/wav"]


def attach(actor: Actor, stream: BinaryIO, content_type: str, announced_bytes: int | None) -> Attachment:
    """Store an attachment under a name which nobody can guess.

    Raises Unauthorized, Forbidden, UnsupportedType (415), TooLarge (413), BadRequest.
    """
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to attach a file.")
    if not can_attach(actor):
        raise Forbidden("This token may only read: use one with the role write to attach a file.")
    kind = TYPES.get(content_type)
    if kind is None:
        raise UnsupportedType(f"A file of the type {content_type[:60]!r} can not be attached: {', '.join(TYPES)} can.")
    if announced_bytes is not None and announced_bytes > kind.max_bytes:
        raise TooLarge(f"The file has {announced_bytes:,} bytes; at most {kind.max_bytes:,} can be attached.")
    since = timezone.now() - timedelta(days=1)
    if Attachment.objects.filter(author=actor.user, created_at__gte=since).count() >= MAX_A_DAY:
        raise Forbidden(f"You attached {MAX_A_DAY} files within a day: go on tomorrow.")
    with staged(stream, kind.max_bytes) as (path, sha256, length):
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES)
        if not any(start[offset:].startswith(mark) for offset, mark in kind.marks):
            raise BadRequest(f"This is no file of the type {content_type}: check what you send.")
        if announced_bytes is not None and length != announced_bytes:
            raise BadRequest(f"The body was cut off after {length:,} of {announced_bytes:,} bytes: send it again.")
        blob = keep_file(path, sha256, length)
    return Attachment.objects.create(
        name=f"{secrets.token_hex(16)}.{kind.ending}", blob=blob, content_type=content_type, author=actor.user
    )


def find_attachment(name: str) -> Attachment:
    found = Attachment.objects.filter(name=name).select_related("blob").first()
    if found is None:
        raise NotFound("There is no such attachment.")
    return found
