"""Every client version of clients.toml tells client_story.py against one running hub; the matrix is printed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live import results
from tests.live.conftest import REPORTS, client_python, clients
from tests.live.hub_process import Hub

pytestmark = pytest.mark.live
STORY = Path(__file__).with_name("client_story.py")
CLIENTS = clients()


@pytest.mark.parametrize("client", CLIENTS, ids=[client["name"] for client in CLIENTS])
def test_story(client: dict[str, Any], hub: Hub, fitted: str, tmp_path: Path) -> None:
    python = client_python(client["packages"], client.get("without", []))
    prefix = "story-" + "".join(c if c.isalnum() else "-" for c in client["name"].lower())
    told = {
        "endpoint": hub.url, "alice": hub.tokens["alice"], "bob": hub.tokens["bob"], "fitted": fitted,
        "reader": hub.tokens["alice:read"], "prefix": prefix, "folder": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "story.json").write_text(json.dumps(told))
    environment = hub.client_environment(home=tmp_path / "home") | {"HF_HUB_DOWNLOAD_TIMEOUT": "2"}
    environment |= client.get("environment", {})
    done = subprocess.run(
        [python, str(STORY), str(tmp_path / "story.json")], env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    features = {name: text[:400] for name, text in outcome["features"].items()}
    xet = f", hf_xet {outcome['xet']}" if outcome["xet"] else ""
    results.keep(results.STORIES, client["name"], outcome["version"] + xet, features)
    assert outcome["version"].startswith(client["version"])
    wants_xet = not client.get("without") and not client.get("environment") and outcome["version"] > "0.30"
    assert (outcome["xet"] is not None) == wants_xet
    failed = {name: text for name, text in outcome["features"].items() if text.startswith("FAILED")}
    assert not failed, "\n\n".join(f"{name}: {text}" for name, text in failed.items())


def test_matrix_is_printed() -> None:
    """The last test of this file: the table of what was tried above."""
    rows = results.kept(results.STORIES)
    assert rows, "no client was tried"
    REPORTS.append(results.table(rows))
