"""The light client `fithub`, installed from its wheel into an environment of its own, against a running hub."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip_or_fail
from tests.live.conftest import client_cache, pip
from tests.live.hub_process import PROJECT, Hub, outer_environment

pytestmark = pytest.mark.live
CLIENT = PROJECT / "client"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fithub` from a wheel, in an environment without Django and without this project's code."""
    folder = tmp_path_factory.mktemp("client")
    # pip builds in the folder itself, so a copy is built: with what the link leads to.
    shutil.copytree(CLIENT, folder / "source", symlinks=False, ignore=shutil.ignore_patterns("__pycache__", "build"))
    steps = [
        pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder / "wheels"), str(folder / "source")),
        [sys.executable, "-m", "venv", str(folder / "venv")],
    ]
    for step in steps:
        done = subprocess.run(step, env=outer_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    wheel = next((folder / "wheels").glob("fithub-*.whl"))
    python = folder / "venv" / "bin" / "python"
    step = pip(python, "install", "--cache-dir", str(client_cache() / "pip"), f"{wheel}[measure]")
    done = subprocess.run(step, env=outer_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        skip_or_fail(f"the client's packages can not be installed: {done.stderr.strip()[-300:]}")
    names = subprocess.run(
        [str(python), "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.lower()
    assert "django" not in names and "\nonnx==" not in names
    return folder / "venv" / "bin" / "fithub"


class Shell:
    """Runs the program as alice would, in a folder of her own."""

    def __init__(self, program: Path, hub: Hub, folder: Path) -> None:
        self.program, self.hub, self.folder = program, hub, folder

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What it prints to stdout; the exit code has to be `code`."""
        env = self.hub.client_environment(self.folder / "home") | environment
        done = subprocess.run(
            [str(self.program), *arguments], cwd=self.folder, env=env, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def fithub(program: Path, hub: Hub, tmp_path: Path) -> Shell:
    return Shell(program, hub, tmp_path)


def test_fit_and_why_say_what_the_hub_says(fithub: Shell, hub: Hub, fitted: str):
    answer = fithub.json("fit", fitted, "--memory", "1GB")
    assert answer["variant"] and answer["commit"] == hub.get(f"/api/models/{fitted}/fit?memory=1GB")["commit"]
    assert answer["figures"]["peak_memory_bytes"] * 1.1 <= 1e9 and answer["figures"]["ran_within_bytes"]
    assert answer["variant"] in fithub("fit", fitted, "--memory", "1GB")
    refused = fithub.json("fit", fitted, "--memory", "1MB", code=3)
    assert refused["nearest_miss"] and "fits" in refused["error"]
    assert "nearest miss" in fithub("why", fitted, "--memory", "1MB")


def test_exit_codes_tell_a_pipeline_what_happened(fithub: Shell, fitted: str):
    assert "toaster" in fithub.json("fit", fitted, "--device", "toaster", code=2)["error"]
    fithub("fit", fitted, "--memory", "0", code=2)
    fithub("fit", "nameless", code=2)
    fithub("pull", code=2)
    fithub("fit", "alice/nothing-there", code=4)
    fithub("pull", fitted, "--variant", "no-such", code=4)
    fithub("fit", fitted, HF_ENDPOINT="http://127.0.0.1:9", code=5)
    fithub("pull", "--locked", code=6)


def test_a_lock_pins_the_bytes_and_refuses_any_others(fithub: Shell, fitted: str):
    pulled = fithub.json("pull", fitted, "--memory", "1GB", "--lock", "fithub.lock")
    lock = json.loads((fithub.folder / "fithub.lock").read_text())["models"][fitted]
    assert lock["commit"] == pulled["commit"] and lock["figures"]["p90_ms"] > 0
    assert all(re.fullmatch("[0-9a-f]{64}", file["sha256"]) for file in lock["files"])
    again = fithub.json("pull", "--locked")
    assert [one["folder"] for one in again] == [pulled["folder"]]
    fithub("pull", fitted, "--locked", "--memory", "1000MB")  # the same budget in other words
    fithub("pull", fitted, "--locked", "--memory", "2GB", code=6)
    fithub("pull", "alice/other", "--locked", code=6)
    path = fithub.folder / "fithub.lock"
    path.write_text(path.read_text().replace(lock["files"][0]["sha256"], "0" * 64))
    assert "sha256" in fithub.json("pull", "--locked", code=6)["error"]
    path.write_text(path.read_text()[:-20])
    fithub("pull", "--locked", code=6)


def test_a_pull_survives_without_the_hub_once_it_is_cached(fithub: Shell, fitted: str):
    fithub("pull", fitted, "--memory", "1GB", "--lock", "fithub.lock")
    fithub("pull", "--locked", HF_HUB_OFFLINE="1")


def test_variants_and_devices_are_listed(fithub: Shell, fitted: str):
    rows = fithub.json("variants", fitted)["variants"]
    text = fithub("variants", fitted)
    assert all(row["name"] in text for row in rows)
    found = {one["name"]: one for one in fithub.json("devices")}
    assert found["raspberry-pi-5"]["origin"] == "datasheet" and found["raspberry-pi-5"]["measured"] is None
    worker = next(one for one in found.values() if one["origin"] == "worker")
    assert worker["measured"]["threads"]["1"]["fp32_gflops"] > 0 and worker["records"] > 0


def test_a_newcomer_sees_an_output(fithub: Shell, fitted: str):
    made = fithub.json("run", fitted, "--memory", "1GB")
    (output,) = made["outputs"].values()
    assert output["first"] and made["ms"] > 0 and "made up" in made["input"]
    given = json.dumps({"x": [[0.5] * 64]})
    assert fithub.json("run", fitted, "--input", given)["input"] == "given"
    fithub("run", fitted, "--input", '{"y": [1]}', code=2)
    fithub("run", fitted, "--input", "{", code=2)
    fithub("run", fitted, "--input", '{"x": [[1, 2]]}', code=7)
    fithub("run", fitted, "--input", "some text", code=2)


def test_a_record_is_taken_again_by_one_command(fithub: Shell, fitted: str):
    taken = fithub.json(
        "measure", fitted, "--variant", "int8-dynamic", "--seconds", "0.2", "--device", "alices-laptop", "--submit"
    )
    by_name = {record["variant"]: record for record in taken["records"]}
    assert set(by_name) == {"onnx", "int8-dynamic"} and taken["device"]["name"] == "alices-laptop"
    record = by_name["int8-dynamic"]
    assert record["latency_ms"]["p90"] > 0 and record["ratio_to_source"]["p50"] > 0 and record["samples_ms"]
    assert record["ran_within"]["bytes"] >= record["peak_memory_bytes"]
    assert all(len(found["files"]) for found in taken["identity"]["variants"].values())
    assert {row["trust"] for row in taken["submitted"]["taken"]} == {"reported"}
    answer = fithub.json("fit", fitted, "--device", "alices-laptop", "--memory", "1GB")
    assert answer["answer"] == "likely" and answer["figures"]["trust"] == "reported"
    fithub("fit", fitted, "--device", "alices-laptop", "--memory", "1GB", "--proven", code=3)


def test_the_machine_is_profiled_in_half_a_minute(fithub: Shell):
    profile = fithub.json("device", "--name", "alices-laptop")
    assert profile["measured"]["seconds"] < 30 and profile["measured"]["threads"]["1"]["int8_gops"] > 0
    assert fithub.json("device", "--quick").get("measured") is None


def test_completion_knows_every_command_and_option(fithub: Shell):
    script = fithub("completion", "bash")
    probe = f"{script}\nCOMP_WORDS=(fithub pull --lo) COMP_CWORD=2; _fithub; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--lock", "--locked", "--local-dir", "--load"]
    for shell in ("zsh", "fish"):
        assert "measure" in fithub("completion", shell)


def test_python_has_the_same_words(program: Path, hub: Hub, fitted: str, tmp_path: Path):
    code = f"""
import fithub
answer = fithub.fit({fitted!r}, memory="1GB")
pulled = fithub.pull({fitted!r}, memory="1GB", lock="fithub.lock")
assert pulled.commit == answer["commit"]
assert fithub.pull_locked({fitted!r})[0].folder == pulled.folder
try:
    fithub.fit({fitted!r}, size="1B")
except fithub.NothingFits as refusal:
    print(refusal.detail["answer"])
"""
    done = subprocess.run(
        [str(program.parent / "python"), "-c", code], cwd=tmp_path, env=hub.client_environment(tmp_path / "home"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "none", done.stderr[-2000:]


def test_the_stock_client_lists_what_fits(hub: Hub, fitted: str):
    found, none = hub.client(
        [
            {"call": "list_models", "filter": "fit@memory=1GB,latency=1s"},
            {"call": "list_models", "filter": "fit@memory=1MB"},
        ]
    )
    assert fitted in str(found["value"]) and fitted not in str(none["value"])


def test_the_best_model_of_the_hub_is_one_command(fithub: Shell, fitted: str):
    answer = fithub.json("fit", "--memory", "1GB", "--search", "fitted")
    assert answer["results"][0]["repository"] == fitted
    assert "nearest" in fithub.json("fit", "--memory", "1MB", code=3)["error"]
    fithub("fit", fitted, "--pipeline-tag", "x", code=2)


def test_curl_and_sha256sum_pull_what_fits(hub: Hub, fitted: str, tmp_path: Path):
    if shutil.which("curl") is None or shutil.which("sha256sum") is None:
        skip_or_fail("curl or sha256sum is not installed")
    script = str(PROJECT / "docs" / "deploy" / "pull.sh")
    env = outer_environment() | {"HF_ENDPOINT": hub.url}

    def pull(budget: str) -> subprocess.CompletedProcess[str]:
        argv = ["sh", script, fitted, budget, str(tmp_path / "model")]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)

    done = pull("memory=1GB")
    assert done.returncode == 0, done.stderr
    answer = hub.get(f"/api/models/{fitted}/fit?memory=1GB")
    assert done.stdout.strip() == answer["commit"]
    variant = hub.get(f"/api/models/{fitted}/variants/{answer['variant']}")
    for file in variant["files"]:
        assert (tmp_path / "model" / file["path"]).stat().st_size == file["size_bytes"]
    refused = pull("memory=1MB")
    assert refused.returncode == 3 and "fits" in refused.stderr
