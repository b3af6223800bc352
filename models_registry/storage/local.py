"""A blob store in a folder of this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from models_registry.storage.blobstore import full_disk_said

BLOCK_BYTES = 256 * 1024


class LocalBlobStore:
    """Files under `<root>/<kind>/<first two>/<hex>`, moved there by one rename when they are complete and on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        with full_disk_said():
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
            try:
                path.rename(target)
            except OSError:
                if not path.exists():
                    raise
                self._copy(path, target)
            _sync_folder(target.parent)

    def size(self, key: str) -> int:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        # Opened at once: what is missing is told to the caller, and not in the middle of an answer.
        blocks = self._blocks(key, start, length)
        next(blocks)
        return blocks

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self, kind: str) -> Iterator[str]:
        for path in (self.root / kind).glob("??/*"):
            yield f"{kind}/{path.name}"

    def check(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if not os.access(self.root, os.W_OK):
            raise OSError(f"the storage folder {self.root} can not be written")

    def _path(self, key: str) -> Path:
        kind, _, name = key.partition("/")
        if not (kind.isalpha() and name.isalnum() and len(name) > 2):
            raise KeyError(key)
        return self.root / kind / name[:2] / name

    def _blocks(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yields nothing once, when it is opened. A descriptor and no file: let go of unread, it is closed quietly."""
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError as error:
            raise KeyError(key) from error
        try:
            yield b""
            while length > 0:
                block = os.pread(descriptor, min(BLOCK_BYTES, length), start)
                if not block:
                    raise OSError(f"{key} is shorter than it was when it was stored")
                start, length = start + len(block), length - len(block)
                yield block
        finally:
            os.close(descriptor)

    @staticmethod
    def _copy(path: Path, target: Path) -> None:
        """Across file systems: copy beside the target, then rename."""
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with path.open("rb") as source, part.open("wb") as sink:
                while block := source.read(BLOCK_BYTES):
                    sink.write(block)
                sink.flush()
                os.fsync(sink.fileno())
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
        path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
