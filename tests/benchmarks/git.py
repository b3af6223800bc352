"""Git with 10,000 files: clone and push over HTTP beside `git clone --no-local` and a push to a folder of this machine."""

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks.clock import compare, line, seconds_of
from tests.benchmarks.registry import Client
from tests.live.hub_process import Hub

FILES = 10_000
ROUNDS = 3


def run(database: str, hub: Hub) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = _Place(Path(folder), hub)
        Client(hub).json("POST", "/api/repos/create", {"name": "many-files"})
        place.fill()
        pushing = seconds_of(lambda: place.git("push", "-q", place.url, "HEAD:refs/heads/main", "--force"))
        beside = seconds_of(lambda: place.git("push", "-q", str(place.bare), "HEAD:refs/heads/main"))
        line(database, f"git push of {FILES:,} files", pushing, "git push to a folder", beside)
        for what, fresh in (("first", True), ("kept", False)):
            ours, theirs = compare(ROUNDS, lambda f=fresh: place.clone_hub(f), place.clone_folder)  # type: ignore[misc]
            line(database, f"git clone of {FILES:,} files, pack {what}", ours, "git clone --no-local", theirs)
        place.git("fsck", "--strict", cwd=place.root / "hub")


class _Place:
    def __init__(self, root: Path, hub: Hub) -> None:
        self.root, self.hub = root, hub
        self.source, self.bare = root / "source", root / "bare.git"
        self.url = f"http://x:{hub.tokens['alice']}@127.0.0.1:{hub.port}/alice/many-files"

    def git(self, *arguments: str, cwd: Path | None = None) -> None:
        who = {f"GIT_{role}_{what}": "bench@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(
            ["git", *arguments], cwd=cwd or self.source, check=True, capture_output=True,
            env=os.environ | who | {"HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1"},
        )  # fmt: skip

    def fill(self) -> None:
        rng = random.Random(7)
        self.source.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("init", "-q", "--bare", "-b", "main", str(self.bare))
        for number in range(FILES):
            path = self.source / f"d{number % 100}" / f"f{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{number} {rng.random()}\n" * rng.randint(1, 60))
        self.git("add", ".")
        self.git("commit", "-q", "-m", "many files")

    def clone_hub(self, fresh: bool) -> None:
        """`fresh`: the hub has no kept pack, and writes it anew."""
        if fresh:
            shutil.rmtree(self.hub.data / "packs", ignore_errors=True)
        self._clone(self.url, "hub")

    def clone_folder(self) -> None:
        self._clone(str(self.bare), "folder", "--no-local")

    def _clone(self, url: str, name: str, *options: str) -> None:
        shutil.rmtree(self.root / name, ignore_errors=True)
        self.git("clone", "-q", *options, url, str(self.root / name), cwd=self.root)
