"""The real git against Django's live server: no hub process, no network."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models_registry.accounts.models import User
from models_registry.accounts.tokens import create_token
from models_registry.repos.models import Repository
from tests import factories


@dataclass
class Git:
    """Runs git in a folder of its own home. `url` gives an address with a token in it."""

    home: Path
    server: str
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, cwd: Path | None = None, fails: bool = False, data: bytes | None = None) -> str:
        """What git printed on both channels. `fails`: it must not succeed."""
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.home, env=self.environment(), capture_output=True, input=data,
            check=False, timeout=120,
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert (done.returncode != 0) == fails, f"git {' '.join(arguments)}: {text}"
        return text

    def environment(self) -> dict[str, str]:
        outer = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return outer | {
            "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true",
            "GIT_AUTHOR_NAME": "A U Thor", "GIT_AUTHOR_EMAIL": "author@example.com",
            "GIT_COMMITTER_NAME": "A U Thor", "GIT_COMMITTER_EMAIL": "author@example.com",
        }  # fmt: skip

    def url(self, repository: Repository | str, user: User | None = None, role: str = "write") -> str:
        path = repository if isinstance(repository, str) else repository.path
        if user is None:
            return f"{self.server}/{path}"
        token = self.tokens.setdefault(f"{user.username}:{role}", create_token(user, f"git {role}", role))
        return f"{self.server.replace('//', f'//{user.username}:{token}@')}/{path}"

    def clone(self, repository: Repository, user: User | None = None, *options: str, name: str = "clone") -> Path:
        self.run("clone", "-q", *options, self.url(repository, user), name)
        return self.home / name

    def commit(self, folder: Path, files: dict[str, bytes], message: str = "a commit") -> str:
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        self.run("add", "-A", cwd=folder)
        self.run("commit", "-q", "--allow-empty", "-m", message, cwd=folder)
        return self.head(folder)

    def head(self, folder: Path, revision: str = "HEAD") -> str:
        return self.run("rev-parse", revision, cwd=folder).strip()

    def objects(self, folder: Path) -> set[str]:
        return {line.split()[0] for line in self.run("rev-list", "--all", "--objects", cwd=folder).splitlines()}


@pytest.fixture
def git(live_server, tmp_path: Path) -> Git:
    home = tmp_path / "home"
    home.mkdir()
    git = Git(home, live_server.url)
    # Django's live server reads no chunked bodies; the hub's own server does (tests/live).
    for name, value in {"http.postBuffer": "200000000", "init.defaultBranch": "main", "gc.auto": "0"}.items():
        git.run("config", "--global", name, value)
    return git


@pytest.fixture
def make_model(alice) -> Callable[..., Repository]:
    def make(name: str = "m", files: dict[str, bytes] | None = None, **options) -> Repository:
        return factories.make_repository(alice, name, files=files, **options)

    return make
