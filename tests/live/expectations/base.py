"""What all areas share: two people, fresh repositories, and the ways in which a call may be refused."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import HfHubHTTPError

ROBOT, OTHER = "__DUMMY_TRANSFORMERS_USER__", "DVUser"


class Area:
    """Methods named expect_… are expectations; each one makes what it needs and shares nothing."""

    def __init__(self, told: dict[str, str]) -> None:
        self.endpoint = told["endpoint"]
        self.token, self.other_token = told["robot"], told["other"]
        self.keeper_token = told["keeper"]
        self.xet = told["xet"] == "yes"
        self.api = HfApi(endpoint=self.endpoint, token=self.token)
        self.other = HfApi(endpoint=self.endpoint, token=self.other_token)
        self.nobody = HfApi(endpoint=self.endpoint, token=False)

    @staticmethod
    def name(prefix: str = "repo") -> str:
        return f"{prefix}-{uuid4().hex[:12]}"

    def repo(self, kind: str = "model", api: HfApi | None = None, **options: Any) -> str:
        """A new repository of the robot's; its id."""
        if kind == "space":
            options.setdefault("space_sdk", "static")
        made: str = (api or self.api).create_repo(self.name(kind), repo_type=kind, **options).repo_id
        return made

    def put(self, repo: str, files: dict[str, bytes], title: str = "Put files", **options: Any) -> Any:
        operations = [CommitOperationAdd(path, data) for path, data in files.items()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.api.create_commit(repo, operations, commit_message=title, **options)

    def files(self, repo: str, **options: Any) -> set[str]:
        return set(self.api.list_repo_files(repo, **options))

    def pulled(self, repo: str, path: str, api: HfApi | None = None, **options: Any) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return Path((api or self.api).hf_hub_download(repo, path, cache_dir=folder, **options)).read_bytes()

    def titles(self, repo: str, **options: Any) -> list[str]:
        return [commit.title for commit in self.api.list_repo_commits(repo, **options)]


@contextmanager
def refused(
    kind: type[Exception] | tuple[type[Exception], ...] = HfHubHTTPError, status: int | None = None, words: str = ""
) -> Iterator[None]:
    """The block must raise this class, with this status and these words in its text."""
    try:
        yield
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", None)
        assert status is None or found == status, f"{status} was expected: {found} {error}"
        assert words in str(error), f"{words!r} was expected: {error}"
        return
    raise AssertionError(f"{kind} was expected, and nothing was raised")


@contextmanager
def said(level: int = logging.DEBUG) -> Iterator[list[str]]:
    """What the client logs in the block."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("huggingface_hub"), Keep(level)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
