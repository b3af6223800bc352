"""optimum's ORTModelForFeatureExtraction (transformers 4.57, huggingface_hub 0.36) loads what a budget names.

In an environment of its own, made once and kept, which borrows torch from this project's (`make convert`): half a minute
instead of several. LIVE_OPTIMUM_PYTHON names another one.
"""

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import skip_or_fail
from tests.live.conftest import client_python
from tests.live.encoder import TEXT, expected, push_encoder
from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
REPO = "alice/encoder-optimum"
PACKAGES = ["optimum-onnx==0.1.0", "transformers==4.57.6", "huggingface_hub==0.36.2"]
BY_REVISION = """
import json, sys
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer
name, budget, text = sys.argv[1:]
model = ORTModelForFeatureExtraction.from_pretrained(name, revision=f"fit@{budget}")
tokenizer = AutoTokenizer.from_pretrained(name, revision=f"fit@{budget}")
output = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
print(json.dumps({"dims": list(output.shape), "data": output.flatten().tolist()}))
"""


@pytest.fixture(scope="module")
def python() -> str:
    if given := os.environ.get("LIVE_OPTIMUM_PYTHON"):
        return given
    if (torch := find_spec("torch")) is None or torch.origin is None:
        skip_or_fail("torch is not installed: make convert")
    return client_python(PACKAGES, without=[], borrowed=Path(torch.origin).parents[1])


@pytest.fixture(scope="module")
def encoder(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    return push_encoder(hub, tmp_path_factory.mktemp("encoder"), REPO)


@pytest.fixture(scope="module")
def graphs(hub: Hub, encoder: str) -> dict[str, str]:
    """Budget -> the one graph of the commit which it names."""
    found = {}
    for budget in ("fidelity=1", "goal=size"):
        commit = hub.get(f"/api/models/{encoder}/fit?{budget}")["commit"]
        files = [row["rfilename"] for row in hub.get(f"/api/models/{encoder}/revision/{commit}")["siblings"]]
        (found[budget],) = (name for name in files if name.endswith(".onnx"))
    return found


def run(python: str, hub: Hub, arguments: list[str], home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, *arguments], env=hub.client_environment(home=home), cwd=home, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("budget", ["fidelity=1", "goal=size"])
def test_a_model_loaded_by_its_budget_computes_what_onnxruntime_computes(
    python: str, hub: Hub, encoder: str, graphs: dict[str, str], tmp_path: Path, budget: str
):
    commit = hub.get(f"/api/models/{encoder}/fit?{budget}")["commit"]
    wanted = expected(hub, encoder, commit, graphs[budget], tmp_path)
    example = [str(PROJECT / "docs" / "deploy" / "encode.py"), encoder, budget, TEXT]
    for arguments in (["-c", BY_REVISION, encoder, budget, TEXT], example):
        done = run(python, hub, arguments, tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["dims"] == list(wanted.shape) and said.get("commit", commit) == commit
        assert np.allclose(said["data"], wanted.ravel(), rtol=1e-2, atol=1e-3)


def test_the_two_budgets_name_different_graphs(graphs: dict[str, str]):
    assert graphs["fidelity=1"] != graphs["goal=size"]


def test_nothing_fits_is_said_in_the_hub_s_words(python: str, hub: Hub, encoder: str, tmp_path: Path):
    done = run(python, hub, [str(PROJECT / "docs" / "deploy" / "encode.py"), encoder, "memory=1B", TEXT], tmp_path)
    assert done.returncode and "nearest" in done.stderr
