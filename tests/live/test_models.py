"""Real models through the whole hub: pushed all at once, made, measured, pulled by random budgets, measured again."""

import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ASSETS, skip_or_fail
from tests.live.conftest import REPORTS
from tests.live.hub_process import Hub, outer_environment

pytestmark = pytest.mark.live
HARNESS = Path(__file__).with_name("harness.py")
SEED = int(os.environ.get("LIVE_SEED", "20261122"))
PATIENCE_S = 1500  # on a busy machine; two quiet cores need a third of it
BUDGETS_A_FAMILY = 3
MEMORY_MARGIN, MEMORY_SLACK_BYTES = 1.10, 4 * 1024 * 1024
HAS_TENSORFLOW = all(importlib.util.find_spec(name) for name in ("tensorflow", "tf2onnx"))
WITH_TENSORFLOW = ("models/cifar10-resnet8-keras", "models/mobilenet_v1_025-imagenet-tflite")
# Folders which become ONNX; every other one holds what this hub does not convert, or not without an extra.
CONVERTED = (
    "models/magika-standard-v3_3", "models/silero-vad", "models/ultraface-rfb-320", "models/squeezenet-fp16-imagenet",
    "models/cifar10-cnn-winml", "models/mnist-classic-ml", "models/dtln-denoise", "models/fns-candy-style",
    "models/ppocr-v2-cls", "models/onnx-external-data", "trained/mnist_cnn", "trained/mnist_mlp",
    "trained/resnet20-cifar10", "trained/squeezenet1.1-fp32", *(WITH_TENSORFLOW if HAS_TENSORFLOW else ()),
)  # fmt: skip
REFUSED = (
    "models/cifar10-resnet20-pytorch", "models/g2p-en-npz", "models/guesslang-savedmodel", "models/textgenrnn",
    *(() if HAS_TENSORFLOW else WITH_TENSORFLOW),
)  # fmt: skip
ENDED = {"ready", "not_applicable", "quarantined", "failed"}


def repo_of(folder: str) -> str:
    return "alice/" + folder.rpartition("/")[2]


@pytest.fixture(scope="module")
def families(hub: Hub) -> Iterator[dict[str, dict[str, Any]]]:
    """Every folder's family of variants, all pushed before the first is looked at."""
    if not ASSETS.is_dir():
        skip_or_fail("../shared/assets is not beside the project")
    began = time.monotonic()
    calls: list[dict[str, Any]] = []
    for folder in (*REFUSED, *CONVERTED):
        calls.append({"call": "create_repo", "repo_id": repo_of(folder)})
        calls.append({"call": "upload_folder", "repo_id": repo_of(folder), "folder_path": str(ASSETS / folder)})
    for call, result in zip(calls, hub.client(list(map(dict, calls))), strict=True):
        assert "error" not in result, (call, result)
    pushed = time.monotonic()
    waiting = {folder: hub.wait_family(repo_of(folder), PATIENCE_S) for folder in (*REFUSED, *CONVERTED)}
    ready = time.monotonic()
    REPORTS.append(
        f"{len(calls) // 2} models pushed in {pushed - began:.0f} s, complete after {ready - began:.0f} s\n"
        + table(waiting)
    )
    yield waiting


def table(families: dict[str, dict[str, Any]]) -> str:
    """Model × recipe × status as Markdown, the reasons below."""
    names = list(dict.fromkeys(v["name"] for family in families.values() for v in family["variants"]))
    lines, notes = [["model", "source", *names], ["---"] * (len(names) + 2)], []
    for folder, family in families.items():
        rows = {variant["name"]: variant for variant in family["variants"]}
        lines.append([folder, family["source"]["status"], *(rows[n]["status"] if n in rows else "" for n in names)])
        notes += [f"{folder}: {family['source']['reason']}"] if family["source"]["reason"] else []
        notes += [f"{folder} {n}: {v['status']}: {v['reason']}" for n, v in rows.items() if v["status"] != "ready"]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + notes)


@pytest.mark.parametrize("folder", CONVERTED)
def test_a_model_is_compressed_or_says_why(families: dict[str, dict[str, Any]], folder: str) -> None:
    family = families[folder]
    assert family["source"]["status"] == "ready", family["source"]
    variants = {variant["name"]: variant for variant in family["variants"]}
    assert len(variants) >= 8 and variants["onnx"]["status"] == "ready"
    for name, variant in variants.items():
        assert variant["status"] in ENDED, (name, variant["status"])
        if variant["status"] == "ready":
            assert variant["footprints"] and variant["commit"] and variant["files"], name
            for footprint in variant["footprints"]:
                latency = footprint["latency_ms"]
                assert footprint["peak_memory_bytes"] and latency["p50"] > 0, name
                assert (latency["p90"] is not None) == (latency["count"] >= 64), (name, latency)
                assert 0.9 <= footprint["fidelity"] <= 1.0, (name, footprint["fidelity"])
        else:
            assert is_sentence(variant["reason"]), (name, variant["status"], variant["reason"])
            assert variant["status"] != "failed", (name, variant["reason"])
    ready = [name for name, variant in variants.items() if variant["status"] == "ready"]
    others = [v["reason"] for v in variants.values() if v["status"] != "ready"]
    assert len(ready) > 1 or len(others) == len(variants) - 1, "only the baseline, without a reason for each other"


@pytest.mark.parametrize("folder", REFUSED)
def test_what_is_not_converted_is_refused_with_a_sentence(families: dict[str, dict[str, Any]], folder: str) -> None:
    source = families[folder]["source"]
    assert source["status"] == "refused", source
    assert is_sentence(source["reason"]), source
    assert not [variant for variant in families[folder]["variants"] if variant["status"] == "ready"]


def is_sentence(reason: str | None) -> bool:
    """Words for people: no traceback, no name of an exception."""
    return (
        bool(reason)
        and len(str(reason).split()) >= 4
        and "Traceback" not in str(reason)
        and "Error:" not in str(reason)
    )


@pytest.mark.parametrize("folder", CONVERTED)
def test_random_budgets_are_kept(hub: Hub, families: dict[str, dict[str, Any]], folder: str, tmp_path: Path) -> None:
    """What a budget brings has the size which was published, and needs no more memory, measured independently."""
    rng = random.Random(f"{SEED} {folder}")
    repo = repo_of(folder)
    figures = published(hub.family(repo))
    budgets = [draw(rng, figures) for _ in range(BUDGETS_A_FAMILY)]
    calls = [
        {"call": "snapshot_download", "repo_id": repo, "revision": budget_text(b), "cache_dir": str(tmp_path / str(i))}
        for i, b in enumerate(budgets)
    ]
    for budget, result in zip(budgets, hub.client(calls), strict=True):
        fitting = {name for name, row in figures.items() if fits(row, budget)}
        text = budget_text(budget)
        if not fitting:
            assert result.get("error") == "RevisionNotFoundError" and "nearest" in result["message"], (text, result)
            REPORTS.append(f"{folder} {text}: nothing fits")
            continue
        assert "value" in result, (text, result)
        root = Path(result["value"])
        chosen = next(name for name, row in figures.items() if row["commit"] == root.name)
        assert chosen in fitting, (text, chosen, figures)
        measured = check_pulled(root, figures[chosen], tmp_path)
        ratio = measured["latency_ms"]["p50"] / figures[chosen]["p50"]
        share = measured["peak_memory_bytes"] / figures[chosen]["memory"]
        REPORTS.append(f"{folder} {text}: {chosen}, memory × {share:.2f}, p50 × {ratio:.2f} of what is published")


def published(family: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → the figures of one thread, which budgets are checked against, and what was published with them."""
    rows = {}
    for variant in family["variants"]:
        if variant["status"] == "ready":
            footprint = next(one for one in variant["footprints"] if one["threads"] == 1)
            rows[variant["name"]] = {
                "size": footprint["size_bytes"], "memory": footprint["peak_memory_bytes"],
                "latency": footprint["latency_ms"]["p90"], "p50": footprint["latency_ms"]["p50"], "fidelity": footprint["fidelity"], "noisy": footprint["noisy"],
                "commit": variant["commit"], "files": variant["files"], "shapes": footprint["input_shapes"],
            }  # fmt: skip
    return rows


def draw(rng: random.Random, figures: dict[str, dict[str, Any]]) -> dict[str, float]:
    """One to three limits, each near the figure of a variant drawn for it."""
    budget: dict[str, float] = {}
    for key in rng.sample(["size", "memory", "latency", "fidelity"], rng.randint(1, 3)):
        known = [row[key] for _, row in sorted(figures.items()) if row[key] is not None]
        if not known:
            continue  # too few runs for a p90
        figure = rng.choice(known)
        budget[key] = round(figure * rng.uniform(0.97, 1.0), 4) if key == "fidelity" else figure * rng.uniform(0.9, 1.6)
    return budget or {"size": 10.0**9}


def budget_text(budget: dict[str, float]) -> str:
    units = {"size": "{:.0f}B", "memory": "{:.0f}B", "latency": "{:.6f}ms", "fidelity": "{:.4f}"}
    return "fit@" + ",".join(f"{key}={units[key].format(value)}" for key, value in budget.items())


def fits(row: dict[str, Any], budget: dict[str, float]) -> bool:
    """The rule of measuring.md §3, written down a second time."""
    limits = {
        key: float(part.split("=")[1].rstrip("Bms"))
        for key, part in zip(budget, budget_text(budget)[4:].split(","), strict=True)
    }
    return all(
        row[key] is not None
        and (
            row["fidelity"] >= limit
            if key == "fidelity"
            else row[key] * (MEMORY_MARGIN if key == "memory" else 1) <= limit
        )
        for key, limit in limits.items()
    )


def shapes_of(stem: str, shapes: dict[str, Any]) -> dict[str, Any]:
    """The published input shapes of a file: files are named as their component and the recipe's ending."""
    if len(shapes) == 1:
        return dict(next(iter(shapes.values())))
    return dict(shapes[max((name for name in shapes if stem.startswith(name)), key=len)])


def check_pulled(root: Path, row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The size to the byte, every hash, and the peak memory of a process which runs it."""
    total = 0
    for file in row["files"]:
        data = (root / file["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"], file
        total += len(data)
    assert total == row["size"], (total, row["size"])
    paths = sorted(root / file["path"] for file in row["files"] if file["path"].endswith(".onnx"))
    shapes = [shapes_of(path.stem, row["shapes"]) for path in paths]
    task = {"models": list(map(str, paths)), "shapes": shapes, "threads": 1, "runs": 20}
    (folder / "task.json").write_text(json.dumps(task))
    done = subprocess.run(
        [sys.executable, str(HARNESS), str(folder / "task.json")], env=outer_environment(), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"the pulled variant does not run: {done.stderr[-2000:]}"
    measured: dict[str, Any] = json.loads(done.stdout)
    assert measured["outputs"] > 0
    allowed = row["memory"] * MEMORY_MARGIN + MEMORY_SLACK_BYTES
    assert measured["peak_memory_bytes"] <= allowed, (measured["peak_memory_bytes"], row["memory"])
    return measured
