"""The examples of docs/deploy: every command of ours in them is one which the client takes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
DEPLOY = PROJECT / "docs" / "deploy"
# Those which run our client; what runs by itself (.sh, .mjs, .py) is run live.
EXAMPLES = sorted(path.name for path in DEPLOY.iterdir() if path.suffix not in (".sh", ".mjs", ".py", ".md", ".html"))


def commands(text: str) -> list[list[str]]:
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]
    found = [re.search(r"(?:^|[ =])(fithub (?:pull|fit)\b.*)$", line) for line in lines]
    return [shlex.split(match[1])[1:] for match in found if match]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "kubernetes.yaml"])
def test_every_command_is_one_which_the_client_takes(name, monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "client"))
    from fithub.cli import build_parser

    found = commands((DEPLOY / name).read_text())
    assert found
    for words in found:
        given = build_parser().parse_args(words)
        assert given.command in ("pull", "fit")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith((".yml", ".yaml"))])
def test_yaml_is_yaml(name):
    assert isinstance(yaml.safe_load((DEPLOY / name).read_text()), dict)


def test_the_init_container_runs_the_script_with_a_budget_of_ours():
    from compression_service.selection.budgets import parse_budget

    pod = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
    _, script, _, budget, _ = pod["spec"]["initContainers"][0]["command"]
    assert (DEPLOY / Path(script).name).is_file()
    limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert dict(parse_budget(budget).limits)["memory"] == int(limit.removesuffix("M")) * 10**6


def test_the_script_is_a_script():
    subprocess.run(["sh", "-n", str(DEPLOY / "pull.sh")], check=True)
    assert sys.platform != "linux" or subprocess.run(["sh", str(DEPLOY / "pull.sh")], capture_output=True).returncode
