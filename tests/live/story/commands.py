"""The command line which comes with the client: `hf`, and `huggingface-cli` before it."""

import os
import subprocess
import sys
from pathlib import Path

from story.base import VERSION, Chapter, NotThere


class Commands(Chapter):
    def _run(self, *arguments: str, fails: bool = False) -> str:
        name = "hf" if VERSION >= (0, 34) else "huggingface-cli"
        program = Path(sys.executable).with_name(name)
        environment = os.environ | {"HF_TOKEN": self.alice, "HF_ENDPOINT": self.endpoint, "NO_COLOR": "1"}
        done = subprocess.run(
            [str(program), *arguments], env=environment, cwd=self.folder, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, f"{name} {arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    def do_command_line_who_am_i(self) -> None:
        said = self._run("auth", "whoami") if VERSION >= (0, 34) else self._run("whoami")
        assert "alice" in said, said

    def do_command_line_upload_and_download(self) -> None:
        source = self.folder / "by-command"
        source.mkdir()
        (source / "weights.bin").write_bytes(self._random(400_000))
        (source / "notes.txt").write_text("by command\n")
        said = self._run("upload", f"{self.repo}-command", str(source), ".")
        assert self.endpoint in said, said
        target = self.folder / "by-command-back"
        self._run("download", f"{self.repo}-command", "--local-dir", str(target))
        assert (target / "weights.bin").read_bytes() == (source / "weights.bin").read_bytes()
        self._run("download", f"{self.repo}-command", "notes.txt", "--revision", "main", "--quiet")

    def do_command_line_repositories(self) -> None:
        if VERSION < (0, 34):
            raise NotThere("its own `repo create` asks for an answer")
        word = "repo" if VERSION < (1, 0) else "repos"
        name = f"{self.repo}-by-command"
        self._run(word, "create", name)
        self._run(word, "tag", "create", name, "v1")
        assert "v1" in self._run(word, "tag", "list", name)
        if VERSION >= (1, 0):
            self._run(word, "branch", "create", name, "dev")
            self._run(word, "settings", name, "--private")
            assert self.api.model_info(name).private is True
            self._run(word, "delete", name, *(["--yes"] if VERSION >= (1, 8) else []))
            assert not self.api.repo_exists(name)

    def do_command_line_refusals(self) -> None:
        said = self._run("download", "alice/no-such-repository", fails=True)
        assert "not found" in said.lower() or "404" in said, said[-500:]
