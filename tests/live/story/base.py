"""What all chapters of the story share: who tells it, where, and what was pushed so far."""

import random
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import huggingface_hub
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
CARD = "---\nlicense: mit\ntags: [story, {tag}]\npipeline_tag: text-classification\n---\n# A story\n"


class NotThere(Exception):
    """This version of the client has no such function."""


class Chapter:
    """Methods named do_… are features. They run in the order in which they are written and share what was made before."""

    def __init__(self, told: dict[str, str]) -> None:
        self.endpoint, self.fitted = told["endpoint"], told["fitted"]
        self.alice, self.bob, self.reader = told["alice"], told["bob"], told["reader"]
        self.folder = Path(told["folder"])
        self.api = HfApi(endpoint=self.endpoint, token=self.alice)
        self.tag = told["prefix"]
        self.repo, self.private = f"alice/{told['prefix']}", f"alice/{told['prefix']}-private"
        self.dataset = f"acme/{told['prefix']}-data"
        self.rng = random.Random(told["prefix"])
        self.source = self.folder / "source"
        self.files: dict[str, bytes] = {}

    def _random(self, size: int) -> bytes:
        return self.rng.randbytes(size)

    def _upload(self, path: str, data: bytes) -> None:
        self.api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=self.repo)
        self.files[path] = data
        assert self._served(path) == data, path

    def _served(self, path: str) -> bytes:
        """What the hub gives to somebody who uses no client at all."""
        request = urllib.request.Request(f"{self.endpoint}/{self.repo}/resolve/main/{quote(path)}")
        with urllib.request.urlopen(request) as answer:
            data: bytes = answer.read()
            return data

    def _sha(self) -> str:
        sha: str = self.api.model_info(self.repo).sha
        return sha

    def _cache(self) -> Path:
        return self.folder / f"cache-{self.rng.getrandbits(60)}"

    def _download(self, path: str, **extra: Any) -> Path:
        found = hf_hub_download(
            self.repo, path, endpoint=self.endpoint, token=self.alice, cache_dir=self._cache(), **extra
        )
        return Path(found)

    def _snapshot(self, repo: str, **extra: Any) -> str:
        root: str = snapshot_download(repo, endpoint=self.endpoint, token=self.alice, cache_dir=self._cache(), **extra)
        return root

    def _set_private(self, *, private: bool) -> None:
        if hasattr(self.api, "update_repo_settings"):
            self.api.update_repo_settings(self.private, private=private)
        else:
            self.api.update_repo_visibility(self.private, private=private)


def files_of(word: str) -> bytes:
    """The same bytes for the same word: two files with one content."""
    return random.Random(word).randbytes(60_000)


@contextmanager
def refused(
    kind: type[Exception] | tuple[type[Exception], ...], status: int | None = None, words: str = ""
) -> Iterator[None]:
    """The block must raise this class, with this status and these words."""
    try:
        yield
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", None)
        assert status is None or found == status, f"{status} was expected: {found} {error}"
        assert words in str(error), f"{words!r} was expected: {error}"
        return
    raise AssertionError(f"{kind} was expected, and nothing was raised")
