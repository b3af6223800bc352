"""What the newest client's own live checks expect of a hub, told again in our words, with Xet and without."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import results
from tests.live.hub_process import Hub

pytestmark = pytest.mark.live
HERE = Path(__file__).parent / "expectations"
AREAS = ("repositories", "commits", "references", "community", "listings", "files")
MODES: dict[str, dict[str, str]] = {"Xet": {}, "LFS": {"HF_HUB_DISABLE_XET": "1"}}
KNOWN: list[dict[str, Any]] = tomllib.loads((HERE / "known.toml").read_text()).get("known", [])


@pytest.fixture(scope="module")
def people(hub: Hub) -> Iterator[dict[str, str]]:
    """The users, organisations and tokens which those checks are run with; the models which they left go with them."""
    hub.manage("create_user", "__DUMMY_TRANSFORMERS_USER__", "--full-name", "Dummy User")
    hub.manage("create_user", "DVUser")
    hub.manage("create_user", "EnterpriseAdmin")
    hub.manage("create_org", "valid_org_hub", "--owner", "__DUMMY_TRANSFORMERS_USER__", "--full-name", "Dummy Hub Org")
    hub.manage("create_org", "EnterpriseOrgPrivate", "--owner", "EnterpriseAdmin", "--private-by-default")
    names = {"robot": "__DUMMY_TRANSFORMERS_USER__", "other": "DVUser", "keeper": "EnterpriseAdmin"}
    tokens = {
        role: hub.manage("create_token", name, "--role", "write", "--value", f"hf_value_of_{role}")
        for role, name in names.items()
    }
    yield tokens
    # Else the worker compresses them for a quarter of an hour, while the tests of other files wait for theirs.
    for owner in (names["robot"], "valid_org_hub"):
        for row in hub.call("GET", f"/api/models?author={owner}&limit=1000", token=tokens["robot"]).json():
            organization, _, name = row["id"].rpartition("/")
            gone = hub.call(
                "DELETE", "/api/repos/delete", {"organization": organization, "name": name}, token=tokens["robot"]
            )
            assert gone.status == 200, gone.error


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("area", AREAS)
def test_expectations(area: str, mode: str, hub: Hub, people: dict[str, str], tmp_path: Path) -> None:
    told = {"area": area, "endpoint": hub.url, "xet": "yes" if mode == "Xet" else "no", **people}
    (tmp_path / "task.json").write_text(json.dumps(told))
    environment = hub.client_environment(home=tmp_path / "home") | MODES[mode] | {"HF_TOKEN": people["robot"]}
    done = subprocess.run(
        [sys.executable, str(HERE / "run.py"), str(tmp_path / "task.json")], env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    known = {row["title"]: row["why"] for row in KNOWN if mode in row.get("modes", list(MODES))}
    bad, healed = [], []
    for title, text in outcome["outcomes"].items():
        if text != "ok" and title not in known:
            bad.append(f"{title}: {text}")
        if text == "ok" and title in known:
            healed.append(title)
    kept = {
        title: "ok" if text == "ok" else f"FAILED: {known.get(title, 'not known')}"
        for title, text in outcome["outcomes"].items()
    }
    results.add(results.EXPECTATIONS, f"huggingface_hub with {mode}", outcome["version"], kept)
    assert not bad, "\n\n".join(bad)
    assert not healed, f"these hold by now: take them out of known.toml: {healed}"


def test_at_least_95_of_100_hold() -> None:
    rows = results.kept(results.EXPECTATIONS)
    assert rows, "nothing was tried"
    for row in rows:
        held = sum(text == "ok" for text in row["features"].values())
        assert held >= 0.95 * len(row["features"]), f"{row['client']}: only {held} of {len(row['features'])} hold"
