"""How well a pulled sentence encoder ranks pairs of sentences, by numpy, tokenizers and onnxruntime alone.

`python similarity.py MODEL.onnx tokenizer.json PAIRS.csv COUNT` → {"spearman", "pairs"} as one line of JSON.
PAIRS.csv has lines of sentence, sentence, score.
"""

import csv
import json
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


def encode(session: ort.InferenceSession, tokenizer: Tokenizer, sentence: str) -> np.ndarray:
    """The mean of the last hidden states, of length one."""
    encoding = tokenizer.encode(sentence)
    ids = np.asarray([encoding.ids], np.int64)
    every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    feed = {one.name: every[one.name] for one in session.get_inputs()}
    hidden = session.run(None, feed)[0]
    vector = hidden[0].mean(axis=0) if hidden.ndim == 3 else hidden[0]
    return vector / np.linalg.norm(vector)


def ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks, as Spearman's coefficient takes them."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts) + (ends - 1))[inverse] / 2


def main() -> None:
    model, tokenizer_path, pairs_path, count = sys.argv[1:5]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    with open(pairs_path, newline="", encoding="utf-8") as file:
        pairs = list(csv.reader(file))[: int(count)]
    scores = np.asarray([float(pair[2]) for pair in pairs])
    found = np.asarray([encode(session, tokenizer, a) @ encode(session, tokenizer, b) for a, b, _ in pairs])
    spearman = float(np.corrcoef(ranks(scores), ranks(found))[0, 1])
    print(json.dumps({"spearman": spearman, "pairs": len(pairs)}))


if __name__ == "__main__":
    main()
