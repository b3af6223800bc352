"""Outputs and fidelity of a file in a fresh process: `python -m tests.benchmarks.compression.evaluation TASK.json`.

compression.md counts by "cosine or agreement with the source": vectors by the mean cosine of the rows, the worst output
deciding; sentences by the cosine of their mean-pooled embeddings; a stream of single probabilities by agreement; a
denoiser by the cosine of the whole waveform. TASK: {"judged", "components": [{"path", "inputs", "carry"}],
"reference": npz, "write": bool, "result": path, "labels": npz or null}.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine import runner

Feed = dict[str, np.ndarray]
BLOCK, SHIFT = 512, 128  # of DTLN: 32 ms of sound at 16 kHz, moved by 8 ms


class _Model:
    """A session on one thread which casts its inputs to what it takes and can carry state."""

    def __init__(self, path: str, carry: dict[str, str] | None = None) -> None:
        self.session = runner.session(path, threads=1)
        self.types = {one.name: one.type for one in self.session.get_inputs()}
        self.names = [one.name for one in self.session.get_outputs()]
        self.carry, self.state = carry or {}, {}

    def __call__(self, feed: Feed) -> Feed:
        feed = {**feed, **self.state}
        made = self.session.run(None, {n: self._cast(n, a) for n, a in feed.items() if n in self.types})
        outputs = dict(zip(self.names, made, strict=True))
        self.state = {given: outputs[name] for given, name in self.carry.items()}
        return outputs

    def _cast(self, name: str, array: np.ndarray) -> np.ndarray:
        kinds = {
            "tensor(float16)": np.float16,
            "tensor(float)": np.float32,
            "tensor(int32)": np.int32,
            "tensor(int64)": np.int64,
        }
        return array.astype(kinds.get(self.types[name], array.dtype), copy=False)


def fill_state(path: Path, feeds: list[Feed], carry: dict[str, str]) -> None:
    """Put into the feeds the state that the model itself carries through them."""
    model = _Model(str(path), carry)
    for feed in feeds:
        feed.update(model.state)
        model(feed)


def denoised(paths: list[str], sound: np.ndarray, record: list[list[Feed]] | None = None) -> np.ndarray:
    """What both networks of DTLN make of a waveform: a mask on magnitudes, then a second network on the frames.

    Frames overlap and are added up (Westhausen and Meyer 2020). `record` takes the feeds of both.
    """
    models = [_Model(path) for path in paths]
    for model in models:
        names = list(model.types)
        model.carry = {names[1]: model.names[1]}
        model.state = {names[1]: np.zeros((1, 2, 128, 2), np.float32)}
    window, summed, made = np.zeros(BLOCK), np.zeros(BLOCK), []
    for start in range(0, len(sound) - SHIFT + 1, SHIFT):
        window = np.concatenate([window[SHIFT:], sound[start : start + SHIFT]])
        spectrum = np.fft.rfft(window)
        magnitude = np.abs(spectrum)
        mask = _step(models[0], magnitude, record, 0)
        frame = np.fft.irfft(mask * magnitude * np.exp(1j * np.angle(spectrum)))
        cleaned = _step(models[1], frame, record, 1)
        summed = np.concatenate([summed[SHIFT:], np.zeros(SHIFT)]) + cleaned
        made.append(summed[:SHIFT])
    return np.concatenate(made)


def _step(model: _Model, values: np.ndarray, record: list[list[Feed]] | None, number: int) -> np.ndarray:
    feed = {next(iter(model.types)): values.astype(np.float32)[None, None]}
    if record is not None:
        record[number].append({**feed, **model.state})
    return np.asarray(model(feed)[model.names[0]], np.float64).ravel()


def outputs(task: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name → array of all rows."""
    if task["judged"] == "waveform":
        sound = runner.load_feeds(Path(task["components"][0]["inputs"]))[0]["sound"]
        return {"waveform": denoised([one["path"] for one in task["components"]], sound)[None]}
    component = task["components"][0]
    model, feeds = _Model(component["path"], component["carry"]), runner.load_feeds(Path(component["inputs"]))
    made: dict[str, list[np.ndarray]] = {}
    for feed in feeds:
        for name, array in model(feed).items():
            if name in component["carry"].values():
                continue
            if task["judged"] == "embedding":
                if made and name not in made:
                    continue  # the first output holds the tokens
                mask = feed["attention_mask"][..., None]
                array = (array * mask).sum(1) / mask.sum(1)
            made.setdefault(name, []).append(np.asarray(array, np.float32).ravel())
    return {name: np.stack(rows) for name, rows in made.items()}


def compared(source: dict[str, np.ndarray], variant: dict[str, np.ndarray], judged: str) -> dict[str, Any]:
    """{"fidelity": 0…1, "cosine", "agreement": share of equal first classes or None, "worst_output"}."""
    found = {}
    for name, expected in source.items():
        other = variant.get(name)
        if other is None or other.shape != expected.shape or not np.isfinite(other).all():
            return {"fidelity": 0.0, "cosine": 0.0, "agreement": 0.0, "worst_output": name}
        found[name] = _one(expected.astype(np.float64), other.astype(np.float64), judged)
    worst = min(found, key=lambda name: found[name]["fidelity"])
    return {**found[worst], "worst_output": worst}


def _one(a: np.ndarray, b: np.ndarray, judged: str) -> dict[str, Any]:
    if judged == "numbers":
        a, b = a.reshape(1, -1), b.reshape(1, -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = float(np.mean(np.where(lengths > 0, (a * b).sum(1) / np.where(lengths > 0, lengths, 1), (a == b).all(1))))
    if judged == "numbers":
        agreement = min(float(np.mean((a > 0.5) == (b > 0.5))), float(1 - np.abs(a - b).mean()))
        return {"fidelity": agreement, "cosine": cosine, "agreement": agreement}
    classes = judged == "cosine" and 1 < a.shape[1] < 2000
    agreement = float(np.mean(a.argmax(1) == b.argmax(1))) if classes else None
    return {"fidelity": max(0.0, cosine), "cosine": cosine, "agreement": agreement}


def main(path: str) -> None:
    task = json.loads(Path(path).read_text(encoding="utf-8"))
    made = outputs(task)
    if task["write"]:
        np.savez(task["reference"], **made)
    with np.load(task["reference"]) as stored:
        result = compared(dict(stored), made, task["judged"])
    if task["labels"]:
        labels, first = np.load(task["labels"])["labels"], next(iter(made.values()))
        result["accuracy"] = float(np.mean(first.argmax(1) == labels))
    Path(task["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
