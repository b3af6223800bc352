"""Every client version of clients.toml tells client_story.py against one running hub; the matrix is printed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import REPORTS, client_python, clients
from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
STORY = Path(__file__).with_name("client_story.py")
CLIENTS = clients()
outcomes: dict[str, dict[str, Any]] = {}


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
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    outcomes[client["name"]] = outcome
    assert outcome["version"].startswith(client["version"])
    wants_xet = not client.get("without") and not client.get("environment") and outcome["version"] > "0.30"
    assert (outcome["xet"] is not None) == wants_xet
    failed = {name: text for name, text in outcome["features"].items() if text.startswith("FAILED")}
    assert not failed, "\n\n".join(f"{name}: {text}" for name, text in failed.items())


def test_matrix_is_printed() -> None:
    """The last test of this file: the table of what was tried above."""
    if not outcomes:
        pytest.skip("no client was tried in this run")
    table = matrix(outcomes)
    REPORTS.append(table)
    if os.environ.get("LIVE_WRITE_DOCS") == "1" and len(outcomes) == len(CLIENTS):
        (PROJECT / "docs" / "clients.md").write_text(DOCS_HEAD + table + "\n")


def matrix(outcomes: dict[str, dict[str, Any]]) -> str:
    """Client × feature as a Markdown table."""
    features = list(next(iter(outcomes.values()))["features"])
    versions = [f"{name} ({o['version']}{', hf_xet ' + o['xet'] if o['xet'] else ''})" for name, o in outcomes.items()]
    lines = [["feature", *versions], ["---"] * (len(outcomes) + 1)]
    for feature in features:
        lines.append([feature, *(o["features"].get(feature, "-").partition(":")[0] for o in outcomes.values())])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


DOCS_HEAD = """# Clients

Which versions of `huggingface_hub` work with FitHub: each one tells `tests/live/client_story.py` against a running hub.
`tests/live/clients.toml` names the versions; `LIVE_WRITE_DOCS=1 pytest tests/live/test_clients.py -m live` writes this page.
`n.a.` is what a version of the client has no function for.

"""
