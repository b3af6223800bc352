"""Images and sounds among a dataset's cells: files beside the rows, or encoded bytes inside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
LARGEST_FILE_BYTES = 64 * 1024 * 1024
_LOOKED_AT = 20
# FLAC, Ogg, and MP3 with a tag or at once with a frame (MPEG 1 or 2, layer III).
_OTHER_SOUNDS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2")


class MediaError(ValueError):
    """One file or cell cannot be read; the message is the rest of a sentence."""


def kind_of(values: Iterable[Any], folder: Path | None, files: list[str]) -> str | None:
    """image or sound, when the first cells are such; None for other columns."""
    kinds = []
    for value in [value for value in values if value is not None][:_LOOKED_AT]:
        if isinstance(value, str) and not value.lower().endswith((*IMAGES, *SOUNDS)):
            return None
        try:
            kinds.append(_magic(content(value, folder, files, head=True)))
        except MediaError:
            kinds.append(None)
    known = [kind for kind in kinds if kind]
    return known[0] if known and len(set(known)) == 1 and len(known) * 2 >= len(kinds) else None


def content(value: Any, folder: Path | None, files: list[str], head: bool = False) -> bytes:
    """The bytes of a cell: bytes, {"bytes", "path"}, a path, or a name of a file beside the table's own files."""
    if isinstance(value, dict):
        inner = value.get("bytes")
        value = inner if inner is not None else value.get("path")
    if isinstance(value, bytes | bytearray):
        return bytes(value[:16] if head else value)
    if not isinstance(value, str | Path) or folder is None:
        raise MediaError("it holds neither bytes nor the name of a file")
    path = _inside(folder, str(value), files)
    size = path.stat().st_size
    if size > LARGEST_FILE_BYTES:
        raise MediaError(f"{path.name} has {size} bytes, more than the {LARGEST_FILE_BYTES} which are read")
    with path.open("rb") as stream:
        return stream.read(16 if head else -1)


def _inside(folder: Path, name: str, files: list[str]) -> Path:
    """The file of that name below the dataset's folder, or beside one of the table's files; never outside of it."""
    root = folder.resolve()
    for base in dict.fromkeys([root, *(root / Path(file).parent for file in files)]):
        try:
            path = (base / name).resolve()
            if path.is_relative_to(root) and path.is_file():
                return path
        except (OSError, ValueError):  # a name which no file can have
            continue
    raise MediaError(f"the dataset has no file {name[:100]!r}")


def _magic(start: bytes) -> str | None:
    if start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")):
        return "image"
    if start.startswith(b"RIFF"):
        return {b"WAVE": "sound", b"WEBP": "image"}.get(start[8:12])
    return "sound" if start.startswith(_OTHER_SOUNDS) else None
