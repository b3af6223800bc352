"""docs/deploy/session.mjs in Node with onnxruntime-web: the variant which a budget names, and that it computes the same."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.conftest import skip_or_fail
from tests.live.conftest import node_package
from tests.live.hub_process import PROJECT, Hub

pytestmark = pytest.mark.live
VERSION = "1.22.0"
RUN = """
import * as ort from "onnxruntime-web";
import { fitted } from "./session.mjs";
const [hub, model, budget] = process.argv.slice(2);
const { session, commit } = await fitted(hub, model, budget, process.env.HF_TOKEN);
const input = new ort.Tensor("float32", Float32Array.from({ length: 64 }, (_, i) => i / 64), [1, 64]);
const outputs = await session.run({ [session.inputNames[0]]: input });
console.log(JSON.stringify({ commit, output: Array.from(outputs[session.outputNames[0]].data) }));
"""


@pytest.fixture(scope="module")
def folder() -> Path:
    if shutil.which("node") is None:
        skip_or_fail("node is not installed")
    found = node_package("onnxruntime-web", VERSION)
    shutil.copy(PROJECT / "docs" / "deploy" / "session.mjs", found)
    (found / "run.mjs").write_text(RUN)
    return found


def node(folder: Path, hub: Hub, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["node", script, hub.url, *arguments], cwd=folder, env=hub.client_environment(), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def test_the_variant_of_a_budget_computes_what_onnxruntime_computes(
    folder: Path, hub: Hub, fitted: str, tmp_path: Path
):
    budget = "size=1MB,fidelity=0.99"
    done = node(folder, hub, "run.mjs", fitted, budget)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    answer = hub.get(f"/api/models/{fitted}/fit?{budget.replace(',', '&')}")
    assert said["commit"] == answer["commit"]
    files = [row["rfilename"] for row in hub.get(f"/api/models/{fitted}/revision/{answer['commit']}")["siblings"]]
    graph = next(name for name in files if name.startswith("onnx/") and name.endswith(".onnx"))
    path = tmp_path / "model.onnx"
    path.write_bytes(hub.call("GET", f"/{fitted}/resolve/{answer['commit']}/{graph}").body)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: (np.arange(64, dtype=np.float32) / 64)[None]}
    wanted = session.run(None, feeds)[0].ravel()
    assert np.allclose(said["output"], wanted, rtol=1e-2, atol=1e-3)


def test_the_command_says_what_it_got_or_the_hub_s_sentence(folder: Path, hub: Hub, fitted: str):
    done = node(folder, hub, "session.mjs", fitted, "size=1MB")
    assert done.returncode == 0 and json.loads(done.stdout)["graph"].startswith("onnx/"), done.stderr
    for budget, words in (("memory=1B", "nearest"), ("bogus=1", "bogus")):
        done = node(folder, hub, "session.mjs", fitted, budget)
        assert done.returncode == 1 and words in done.stderr and not done.stdout
