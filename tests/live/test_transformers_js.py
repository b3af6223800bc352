"""docs/deploy/pipeline.mjs: transformers.js in Node loads the variant which a budget names, and computes the same."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import skip_or_fail
from tests.live.conftest import node_package
from tests.live.encoder import TEXT, expected, push_encoder
from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
PACKAGE, VERSION = "@huggingface/transformers", "4.3.2"
REPO = "alice/encoder-js"


@pytest.fixture(scope="module")
def folder() -> Path:
    if shutil.which("node") is None:
        skip_or_fail("node is not installed")
    found = node_package(PACKAGE, VERSION)
    shutil.copy(PROJECT / "docs" / "deploy" / "pipeline.mjs", found)
    # What an earlier run got from another hub is not this one's.
    shutil.rmtree(found / "node_modules" / "@huggingface" / "transformers" / ".cache", ignore_errors=True)
    return found


@pytest.fixture(scope="module")
def encoder(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    return push_encoder(hub, tmp_path_factory.mktemp("encoder"), REPO)


def run(folder: Path, hub: Hub, budget: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["node", "pipeline.mjs", hub.url, REPO, budget, "feature-extraction", TEXT], cwd=folder,
        env=hub.client_environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("budget", ["fidelity=1", "goal=size"])
def test_a_pipeline_of_the_variant_computes_what_onnxruntime_computes(
    folder: Path, hub: Hub, encoder: str, tmp_path: Path, budget: str
):
    answer = hub.get(f"/api/models/{encoder}/fit?{budget}")
    done = run(folder, hub, budget)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["commit"] == answer["commit"]
    wanted = expected(hub, encoder, said["commit"], said["graph"], tmp_path)
    assert (said["graph"] == "onnx/model.onnx") == (budget == "fidelity=1"), "the two budgets name different graphs"
    assert said["dims"] == list(wanted.shape)
    assert np.allclose(said["data"], wanted.ravel(), rtol=1e-2, atol=1e-3)


def test_what_does_not_fit_is_said_in_the_hub_s_words(folder: Path, hub: Hub, encoder: str):
    for budget, words in (("memory=1B", "nearest"), ("bogus=1", "bogus")):
        done = run(folder, hub, budget)
        assert done.returncode == 1 and words in done.stderr and not done.stdout
