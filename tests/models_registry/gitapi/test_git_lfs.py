"""The real git-lfs against Django's live server."""

import subprocess

from tests import factories
from tests.conftest import skip_or_fail


def test_the_real_git_lfs(git, alice) -> None:
    """Clone, push, pull and fetch of contents with git-lfs itself; it neither warns nor fails."""
    if subprocess.run(["git", "lfs", "version"], capture_output=True, check=False).returncode:
        skip_or_fail("git-lfs is not installed")
    git.run("lfs", "install", "--skip-repo")
    repository = factories.make_repository(alice, "m", private=True, files={"w.bin": b"weights" * 1000})
    folder = git.clone(repository, alice)
    assert (folder / "w.bin").read_bytes() == b"weights" * 1000
    git.commit(folder, {"new.bin": b"new" * 5000, "a.txt": b"text"})
    said = git.run("push", "origin", "main", cwd=folder)
    assert "locking" not in said.lower() and "warning" not in said.lower(), said
    assert "new.bin" in git.run("lfs", "ls-files", cwd=folder)
    again = git.clone(repository, alice, name="again")
    assert (again / "new.bin").read_bytes() == b"new" * 5000
    assert "error" not in git.run("lfs", "fsck", cwd=again).lower()
    git.commit(folder, {"new.bin": b"newer" * 5000})
    git.run("push", "-q", "origin", "main", cwd=folder)
    git.run("pull", "-q", cwd=again)
    assert (again / "new.bin").read_bytes() == b"newer" * 5000
    # Without git-lfs the pointer goes up alone, and is refused with what to do.
    git.commit(folder, {"third.bin": b"third" * 5000})
    refused = git.run("-c", "core.hooksPath=/dev/null", "push", "origin", "main", cwd=folder, fails=True)
    assert "third.bin is a git-lfs pointer" in refused
