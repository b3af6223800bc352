"""The demo's data and model: scikit-learn's digits (1,797 scans, 8 × 8) and every course's 64-128-10 network."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

SEED = 0
MAX_PIXEL = 16.0
HELD_BACK = 0.4


@dataclass(frozen=True)
class Digits:
    """Pixels as 0…16 (float32 [n, 64]) and labels (int64 [n]), for training and held back."""

    train_pixels: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_pixels: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def load() -> Digits:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        pixels.astype(np.float32), labels.astype(np.int64), test_size=HELD_BACK, random_state=SEED, stratify=labels
    )
    return Digits(a, c, b, d)


def write_dataset(digits: Digits, folder: Path) -> None:
    """`data/train.parquet` and `data/test.parquet` with the columns pixels (64 numbers, 0…16) and label, and a card."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    parts = {"train": (digits.train_pixels, digits.train_labels), "test": (digits.test_pixels, digits.test_labels)}
    with duckdb.connect() as database:
        for split, (pixels, labels) in parts.items():
            database.execute("CREATE OR REPLACE TABLE rows (pixels UTINYINT[], label UTINYINT)")
            rows = [(row.astype(int).tolist(), int(label)) for row, label in zip(pixels, labels, strict=True)]
            database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
            target = str(folder / "data" / f"{split}.parquet").replace("'", "''")
            database.execute(f"COPY rows TO '{target}' (FORMAT parquet)")
    (folder / "README.md").write_text(DATASET_CARD.format(train=len(digits.train_labels), test=len(digits.test_labels)))


def train_network(digits: Digits) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Train 64-128-10 on pixels scaled to 0…1. Returns (weights [in, out], bias [out]) of both layers."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier((128,), max_iter=60, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough for digits
        network.fit(digits.train_pixels / MAX_PIXEL, digits.train_labels)
    pairs = zip(network.coefs_, network.intercepts_, strict=True)
    return [(weights.astype(np.float32), bias.astype(np.float32)) for weights, bias in pairs]


def write_model(layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]], folder: Path, dataset: str) -> None:
    """The network as `model.onnx` (input `pixels` float32 [n, 64], output `scores` float32 [n, 10]), and a card."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, last = [], [], "pixels"
    for number, (matrix, bias) in enumerate(layers, 1):
        is_last = number == len(layers)
        weights += [numpy_helper.from_array(matrix, f"w{number}"), numpy_helper.from_array(bias, f"b{number}")]
        name = "scores" if is_last else f"layer{number}"
        nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [name], name=f"dense{number}"))
        if not is_last:
            nodes.append(helper.make_node("Relu", [name], [f"hidden{number}"], name=f"relu{number}"))
        last = f"hidden{number}"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "README.md").write_text(MODEL_CARD.format(dataset=dataset))


DATASET_CARD = """---
license: cc-by-4.0
task_categories: [image-classification]
tags: [digits]
---
# Handwritten digits, 8 × 8

{train} scans to train on and {test} held back, from the optical recognition of handwritten digits data set
(E. Alpaydin and C. Kaynak, UCI), as scikit-learn carries it. `pixels` holds 64 grey values from 0 to 16, row by row.
"""

MODEL_CARD = """---
license: mit
library_name: onnx
pipeline_tag: image-classification
datasets: [{dataset}]
tags: [digits]
fithub:
  inputs: {{pixels: pixels}}
  scale: 0.0625
  label: label
  metric: accuracy
  recipes: {{pin: [prune-neurons-25+int8, int4-storage+int8, prune-50]}}
---
# Digits, 64-128-10

The network which every course starts with: 64 pixels in, 128 hidden neurons, 10 digits out. Trained by scikit-learn on
the training rows of [{dataset}](/datasets/{dataset}); the hub calibrates on the same rows and judges every variant on
the rows which were held back.

Give it pixels divided by 16.
"""
