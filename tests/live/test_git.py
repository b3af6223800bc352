"""git and git-lfs against a running hub. Each test is a line of the table in docs/clients.md."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.live import results
from tests.live.conftest import write_model
from tests.live.hub_process import Hub, outer_environment

pytestmark = pytest.mark.live
WEIGHTS = random.Random(9).randbytes(1_500_000)
REPO = "alice/by-git"


class Git:
    """git as a person has it, whose own settings it does not see."""

    def __init__(self, home: Path) -> None:
        for program in ("git", "git-lfs"):
            if shutil.which(program) is None:
                skip_or_fail(f"{program} is not installed")
        self.environment = outer_environment() | {
            "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
            "GIT_AUTHOR_NAME": "alice", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "alice",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }  # fmt: skip
        self.run(home, "lfs", "install", "--skip-repo")
        self.run(home, "config", "--global", "init.defaultBranch", "main")

    def run(self, folder: Path, *arguments: str, fails: bool = False, **more: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=self.environment | more, capture_output=True, text=True, check=False,
            timeout=180,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, f"git {arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("git-home"))


@pytest.fixture(scope="module")
def version(git: Git, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("version")
    lfs = git.run(folder, "lfs", "version").split()[0].replace("/", " ")
    return f"{git.run(folder, '--version').split()[-1]}, {lfs}"


@pytest.fixture(autouse=True)
def kept(request: pytest.FixtureRequest, version: str) -> Iterator[None]:
    """The outcome of the test is its line of the table."""
    before = request.session.testsfailed
    yield
    title = request.node.name.removeprefix("test_").replace("_", " ")
    outcome = "ok" if request.session.testsfailed == before else "FAILED"
    results.add(results.TOOLS, "git and git-lfs", version, {title: outcome})


def address(hub: Hub, repo: str = REPO, user: str | None = "alice") -> str:
    who = f"{user}:{hub.tokens[user]}@" if user else ""
    return f"http://{who}127.0.0.1:{hub.port}/{repo}"


@pytest.fixture(scope="module")
def pushed(hub: Hub, git: Git, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone from which a first push was made: a text, and weights by git-lfs."""
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": REPO}])[0]
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": f"{REPO}-private", "private": True}])[0]
    root = tmp_path_factory.mktemp("git")
    git.run(root, "clone", "-q", address(hub), "work")
    work = root / "work"
    (work / "README.md").write_text("---\nlicense: mit\n---\n# By git\n")
    (work / "weights.bin").write_bytes(WEIGHTS)
    git.run(work, "add", ".")
    git.run(work, "commit", "-q", "-m", "Add a card and weights")
    git.run(work, "push", "-q", "origin", "main")
    return work


def api_head(hub: Hub, revision: str = "main") -> str:
    sha: str = hub.get(f"/api/models/{REPO}/revision/{revision}")["sha"]
    return sha


def test_push_of_texts_and_of_weights_by_lfs(hub: Hub, git: Git, pushed: Path) -> None:
    assert api_head(hub) == git.run(pushed, "rev-parse", "HEAD")
    rows = {row["path"]: row for row in hub.get(f"/api/models/{REPO}/tree/main")}
    assert rows["weights.bin"]["lfs"]["oid"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert hub.call("GET", f"/{REPO}/resolve/main/weights.bin").body == WEIGHTS


def test_clone_without_a_token(hub: Hub, git: Git, pushed: Path, tmp_path: Path) -> None:
    git.run(tmp_path, "clone", "-q", address(hub, user=None), "anonymous")
    assert (tmp_path / "anonymous" / "weights.bin").read_bytes() == WEIGHTS
    git.run(tmp_path, "clone", "-q", address(hub, user=None) + ".git", "dot-git")
    assert git.run(tmp_path / "dot-git", "fsck", "--full", "--strict") == ""


def test_shallow_clone_and_deepening(hub: Hub, git: Git, pushed: Path, tmp_path: Path) -> None:
    git.run(tmp_path, "clone", "-q", "--depth", "1", address(hub, user=None), "shallow")
    shallow = tmp_path / "shallow"
    assert git.run(shallow, "rev-list", "--count", "HEAD") == "1"
    git.run(shallow, "fetch", "-q", "--unshallow")
    assert git.run(shallow, "rev-list", "--count", "HEAD") == git.run(pushed, "rev-list", "--count", "HEAD")


def test_clone_without_lfs_then_lfs_pull(hub: Hub, git: Git, pushed: Path, tmp_path: Path) -> None:
    git.run(tmp_path, "clone", "-q", address(hub), "pointers", GIT_LFS_SKIP_SMUDGE="1")
    weights = tmp_path / "pointers" / "weights.bin"
    assert weights.read_bytes().startswith(b"version https://git-lfs.github.com/spec/v1\n")
    git.run(tmp_path / "pointers", "lfs", "pull")
    assert weights.read_bytes() == WEIGHTS


def test_fetch_of_what_the_api_committed(hub: Hub, git: Git, pushed: Path) -> None:
    upload = {"call": "upload_file", "repo_id": REPO, "path_or_fileobj": __file__, "path_in_repo": "from-api.py"}
    assert "error" not in hub.client([upload])[0]
    git.run(pushed, "pull", "-q", "--rebase")
    assert (pushed / "from-api.py").read_bytes() == Path(__file__).read_bytes()
    assert git.run(pushed, "rev-parse", "HEAD") == api_head(hub)


def test_branches_and_tags(hub: Hub, git: Git, pushed: Path) -> None:
    git.run(pushed, "checkout", "-q", "-b", "dev/x")
    (pushed / "dev.txt").write_text("dev\n")
    git.run(pushed, "add", ".")
    git.run(pushed, "commit", "-q", "-m", "On a branch")
    git.run(pushed, "tag", "-a", "v1.0", "-m", "first")
    git.run(pushed, "push", "-q", "origin", "dev/x", "v1.0")
    refs = hub.get(f"/api/models/{REPO}/refs")
    assert "dev/x" in {ref["name"] for ref in refs["branches"]} and "v1.0" in {ref["name"] for ref in refs["tags"]}
    assert hub.call("GET", f"/{REPO}/resolve/v1.0/dev.txt").body == b"dev\n"
    git.run(pushed, "push", "-q", "origin", "--delete", "dev/x", "v1.0")
    refs = hub.get(f"/api/models/{REPO}/refs")
    assert "dev/x" not in {ref["name"] for ref in refs["branches"]} and not refs["tags"]
    git.run(pushed, "checkout", "-q", "main")


def test_a_late_push_is_refused_and_then_rebased(hub: Hub, git: Git, pushed: Path, tmp_path: Path) -> None:
    git.run(tmp_path, "clone", "-q", address(hub), "other")
    other = tmp_path / "other"
    for folder, name in ((pushed, "first.txt"), (other, "second.txt")):
        (folder / name).write_text("x\n")
        git.run(folder, "add", name)
        git.run(folder, "commit", "-q", "-m", name)
    git.run(pushed, "push", "-q", "origin", "main")
    assert "rejected" in git.run(other, "push", "origin", "main", fails=True)
    git.run(other, "pull", "-q", "--rebase")
    git.run(other, "push", "-q", "origin", "main")
    git.run(pushed, "pull", "-q", "--rebase")
    assert (pushed / "second.txt").exists()


def test_private_and_foreign_repositories(hub: Hub, git: Git, pushed: Path, tmp_path: Path) -> None:
    git.run(tmp_path, "clone", "-q", address(hub, f"{REPO}-private"), "mine")
    for user in (None, "bob"):
        git.run(tmp_path, "clone", "-q", address(hub, f"{REPO}-private", user), f"not-{user}", fails=True)
    before = api_head(hub)
    for user in (None, "bob", "alice:read"):
        who = f"x:{hub.tokens[user]}@" if user else ""
        url = f"http://{who}127.0.0.1:{hub.port}/{REPO}"
        git.run(pushed, "push", url, "HEAD:refs/heads/theirs", fails=True)
    assert api_head(hub) == before
    assert "theirs" not in {ref["name"] for ref in hub.get(f"/api/models/{REPO}/refs")["branches"]}


def test_what_is_refused_says_why(hub: Hub, git: Git, pushed: Path) -> None:
    git.run(pushed, "checkout", "-q", "-b", "refused")
    (pushed / "large.txt").write_text("x" * 11_000_000)
    git.run(pushed, "add", ".")
    git.run(pushed, "commit", "-q", "-m", "Too large for git")
    said = git.run(pushed, "push", "origin", "refused", fails=True)
    assert "large.txt" in said and "LFS" in said.upper(), said
    git.run(pushed, "reset", "-q", "--hard", "HEAD~1")
    (pushed / "README.md").write_text("---\nlicense: [\n---\n# Broken\n")
    git.run(pushed, "commit", "-q", "-a", "-m", "A card which is no YAML")
    said = git.run(pushed, "push", "origin", "refused:main", fails=True)
    assert "YAML" in said or "README.md" in said, said
    git.run(pushed, "checkout", "-q", "main")


def test_a_dataset_and_many_files(hub: Hub, git: Git, tmp_path: Path) -> None:
    repo = "alice/many-by-git"
    made = hub.client([{"call": "create_repo", "repo_id": repo, "repo_type": "dataset"}])[0]
    assert "error" not in made, made
    git.run(tmp_path, "clone", "-q", address(hub, f"datasets/{repo}"), "work")
    for number in range(2000):
        path = tmp_path / "work" / f"part-{number % 20}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"row {number}\n")
    git.run(tmp_path / "work", "add", ".")
    git.run(tmp_path / "work", "commit", "-q", "-m", "Many")
    git.run(tmp_path / "work", "push", "-q", "origin", "main")
    git.run(tmp_path, "clone", "-q", address(hub, f"datasets/{repo}", None), "again")
    assert len(list((tmp_path / "again").glob("part-*/*.txt"))) == 2000
    assert git.run(tmp_path / "again", "fsck", "--full", "--strict") == ""


def test_large_files_in_several_parts(hub: Hub, git: Git, pushed: Path) -> None:
    """`hf lfs-enable-largefiles` makes git-lfs upload by the transfer `multipart`."""
    program = Path(sys.executable).with_name("hf")
    enabled = subprocess.run(
        [str(program), "lfs-enable-largefiles", "."], cwd=pushed, env=git.environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert enabled.returncode == 0, enabled.stderr
    data = random.Random(10).randbytes(24_000_000)
    (pushed / "parts.bin").write_bytes(data)
    git.run(pushed, "add", ".")
    git.run(pushed, "commit", "-q", "-m", "Large")
    path = f"{program.parent}{os.pathsep}{git.environment['PATH']}"
    git.run(pushed, "push", "-q", "origin", "main", PATH=path)
    assert hub.call("GET", f"/{REPO}/resolve/main/parts.bin").body == data


def test_a_pushed_model_is_compressed(hub: Hub, git: Git, tmp_path: Path) -> None:
    repo = "alice/model-by-git"
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": repo}])[0]
    git.run(tmp_path, "clone", "-q", address(hub, repo), "work")
    write_model(tmp_path / "work", hidden=44)
    git.run(tmp_path / "work", "add", ".")
    git.run(tmp_path / "work", "commit", "-q", "-m", "A model")
    git.run(tmp_path / "work", "push", "-q", "origin", "main")
    family = hub.wait_family(repo, seconds=1800)  # what other tests pushed before is compressed first
    assert family["source"]["status"] == "ready"
