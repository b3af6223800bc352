"""Live tests: real clients against a running hub. Nothing here touches the test process's own database."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest

from tests.compression_service.engine import engine_models
from tests.conftest import skip_or_fail
from tests.live.hub_process import PROJECT, Hub, outer_environment

CLIENTS_FILE = Path(__file__).with_name("clients.toml")
REPORTS: list[str] = []
BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The tables which live tests filled."""
    for report in REPORTS:
        terminalreporter.write_line("\n" + report)


@pytest.fixture
def data_folder() -> None:
    """Live tests store nothing in the test process."""


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with alice, bob and the organisation acme (alice's)."""
    hub = Hub(tmp_path_factory.mktemp("hub")).start()
    try:
        hub.add_user("alice", read_token=True)
        hub.add_user("bob")
        hub.manage("create_org", "acme", "--owner", "alice")
        yield hub
    finally:
        left = hub.stop()
    assert not left, f"Ctrl-C left processes running: {left}"
    hub.check_log()
    hub.clear()


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Start a further hub, with alice, for a test which does it harm."""
    hubs: list[Hub] = []

    def make(python: str = sys.executable, **environment: str) -> Hub:
        hub = Hub(tmp_path / f"hub-{len(hubs)}", python, **environment)
        hubs.append(hub)
        hub.start().add_user("alice")
        return hub

    yield make
    left = [line for hub in hubs for line in hub.stop()]
    assert not left, f"Ctrl-C left processes running: {left}"
    for hub in hubs:
        hub.check_log()
        hub.clear()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of two layers and a card."""
    return write_model(tmp_path_factory.mktemp("small-model"))


@pytest.fixture(scope="session")
def fitted(hub: Hub, small_model: Path) -> str:
    """The name of a repository whose variants are made and measured."""
    hub.push("alice/fitted", small_model)
    family = hub.wait_family("alice/fitted")
    assert family["source"]["status"] == "ready", family["source"]
    return "alice/fitted"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Chromium with a profile of its own, as the beginning of a command."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        skip_or_fail("chromium is not installed")
    return [str(program), *BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]


@pytest.fixture(scope="session")
def chromium(browser: list[str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the browser on a page; returns what it wrote."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        argv = [*browser, "--virtual-time-budget=4000", *arguments]
        return subprocess.run(argv, env=outer_environment(), capture_output=True, text=True, check=True, timeout=120)

    return run


def write_model(folder: Path, inputs: int = 64, hidden: int = 48) -> Path:
    engine_models.saved(engine_models.mlp(inputs, hidden), folder / "model.onnx")
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [tiny]\n---\n# Two layers\n")
    return folder


def clients() -> list[dict[str, Any]]:
    """The matrix of clients.toml."""
    rows: list[dict[str, Any]] = tomllib.loads(CLIENTS_FILE.read_text())["client"]
    return rows


def client_python(packages: list[str], without: list[str], borrowed: Path | None = None) -> str:
    """The Python of an environment with these packages, made once and kept (LIVE_CLIENT_CACHE, or .venv/clients).

    What they need besides may come from the folder `borrowed`, behind the environment's own.
    """
    if not packages:
        return sys.executable
    cache = client_cache()
    parts = (sys.version_info[:2], packages, without, *([borrowed] if borrowed else []))
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    folder = cache / key
    python = folder / "bin" / "python"
    with (cache / f"{key}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            lend = f"import pathlib, site; p = pathlib.Path(site.getsitepackages()[0], 'zz.pth'); p.write_text({str(borrowed)!r})"
            steps = [[sys.executable, "-m", "venv", str(folder)]]
            steps += [[str(python), "-c", lend]] if borrowed else []
            steps.append(pip(python, "install", *packages))
            if without:
                steps.append(pip(python, "uninstall", "--yes", *without))
            for step in steps:
                done = subprocess.run(step, env=outer_environment(), capture_output=True, text=True, check=False)
                if done.returncode:
                    skip_or_fail(f"{' '.join(packages)} can not be installed: {done.stderr.strip()[-300:]}")
            (folder / "complete").touch()
    return str(python)


def client_cache() -> Path:
    """Where client environments are kept: inside .venv, so that `make clean` takes them along."""
    cache = Path(os.environ.get("LIVE_CLIENT_CACHE") or PROJECT / ".venv" / "clients")
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def node_package(name: str, version: str) -> Path:
    """A folder whose node_modules hold this package of npm, made once and kept."""
    program = shutil.which("npm")
    if program is None:
        skip_or_fail("npm is not installed")
    cache = client_cache()
    folder = cache / f"npm-{name.replace('/', '-').strip('@')}-{version}"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "package.json").write_text('{"private": true}')
            step = [str(program), "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{name}@{version}"]
            done = subprocess.run(
                step, cwd=folder, env=outer_environment(), capture_output=True, text=True, check=False, timeout=300
            )
            if done.returncode:
                skip_or_fail(f"{name} {version} can not be installed: {done.stderr.strip()[-300:]}")
            (folder / "complete").touch()
    return folder


def pip(python: Path | str, *arguments: str) -> list[str]:
    return [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
