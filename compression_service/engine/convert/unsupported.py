"""Sources that cannot be converted: what is there, and what to push instead."""

from __future__ import annotations

from pathlib import Path

from compression_service.engine.errors import RefusedError

PICKLES = {".pth", ".pt", ".th", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".tar"}
NOT_YET = {
    ".pb": "TensorFlow's frozen graphs",
    ".npz": "NumPy archives",
    ".npy": "NumPy arrays",
    ".gguf": "GGUF",
    ".ort": "onnxruntime's .ort files",
    ".mlmodel": "Core ML",
    ".pmml": "PMML",
}


def refusal(source: Path) -> RefusedError:
    """The error to raise for a repository without a convertible model."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and ".git" not in path.parts)
    for path in files:
        shown = path.relative_to(source).as_posix()
        if path.suffix.lower() == ".safetensors":
            return RefusedError(
                f"{shown} holds weights without a description of the network; push config.json (and the tokenizer)"
                " beside it, or ONNX."
            )
    for path in files:
        shown = path.relative_to(source).as_posix()
        if path.suffix.lower() in NOT_YET:
            return RefusedError(
                f"{shown}: conversion from {NOT_YET[path.suffix.lower()]} is not there yet; push ONNX, or safetensors"
                " with config.json."
            )
    for path in files:
        if path.suffix.lower() in PICKLES:
            return RefusedError(
                f"{path.relative_to(source).as_posix()} is a pickle, and pickles are never loaded; push safetensors"
                " with config.json, or ONNX."
            )
    return RefusedError("There is no model in this repository; push ONNX, or safetensors with config.json.")
