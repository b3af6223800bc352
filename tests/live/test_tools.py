"""Libraries and programs which speak to the hub in their own way: datasets, transformers, @huggingface/hub."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.live import results
from tests.live.conftest import client_python, node_package
from tests.live.hub_process import Hub

pytestmark = pytest.mark.live
TOOLS = Path(__file__).with_name("tools")
DATASETS, HUB_JS = "datasets==5.2.0", ("@huggingface/hub", "2.17.5")


def tell(
    hub: Hub, name: str, argv: list[str], folder: Path, prefix: str, package: Path | None = None, **more: str
) -> None:
    """Run a story; every feature must be ok, and is written into the table."""
    told = {"endpoint": hub.url, "alice": hub.tokens["alice"], "bob": hub.tokens["bob"], "prefix": prefix}
    (folder / "task.json").write_text(json.dumps(told | {"folder": str(folder), "package": str(package)}))
    done = subprocess.run(
        [*argv, str(folder / "task.json")], env=hub.client_environment(home=folder / "home") | more, cwd=folder,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    features = {feature: text[:400] for feature, text in outcome["features"].items()}
    results.keep(results.TOOLS, name, outcome["version"], features)
    failed = {feature: text for feature, text in outcome["features"].items() if text != "ok"}
    assert not failed, "\n\n".join(f"{feature}: {text}" for feature, text in failed.items())


def test_datasets(hub: Hub, tmp_path: Path) -> None:
    python = client_python([DATASETS], [])
    tell(hub, "datasets", [python, str(TOOLS / "datasets_story.py")], tmp_path, "by-datasets")


def test_transformers(hub: Hub, tmp_path: Path) -> None:
    if find_spec("transformers") is None or find_spec("torch") is None:
        skip_or_fail("the extra convert is not installed")
    tell(hub, "transformers", [sys.executable, str(TOOLS / "transformers_story.py")], tmp_path, "by-transformers")


def test_hub_js(hub: Hub, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        skip_or_fail("node is not installed")
    package = node_package(*HUB_JS)
    tell(hub, HUB_JS[0], [str(node), str(TOOLS / "hub.mjs")], tmp_path, "by-js", package)
