"""Where the benchmark keeps what it made, so that it can be run in parts: JSON files below `.benchmarks/`.

.benchmarks/environments/<tool>            a virtual environment of each tool
.benchmarks/compression/<model>/           the source, its rows, and one folder a point
.benchmarks/compression/<model>/points/    <tool>--<recipe>/: point.json beside the files that the tool made
.benchmarks/compression/<model>/measured/  <sha256>.json: windows and fidelity of these bytes
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
ASSETS = CHECKOUT.parent / "shared" / "assets"
FOLDER_VARIABLE = "FITHUB_BENCHMARKS"


def folder() -> Path:
    """The folder of everything that the benchmarks keep; FITHUB_BENCHMARKS names another one."""
    return Path(os.environ.get(FOLDER_VARIABLE) or CHECKOUT / ".benchmarks").resolve()


def assets() -> Path:
    """The folder of models and rows: beside the checkout, or beside the folder of what is kept."""
    places = [ASSETS, folder().parent.parent / "shared" / "assets"]
    named = os.environ.get("FITHUB_ASSETS")
    return next((place for place in [*([Path(named)] if named else []), *places] if place.is_dir()), ASSETS)


def model_folder(model: str) -> Path:
    return folder() / "compression" / model


def point_folder(model: str, tool: str, recipe: str) -> Path:
    return model_folder(model) / "points" / f"{tool}--{recipe}"


def read(path: Path) -> dict[str, Any] | None:
    """A JSON file, None when it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(path: Path, value: dict[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    partial.replace(path)


def sha256(paths: list[Path]) -> str:
    """One digest over the bytes of some files in their order."""
    hasher = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hasher.update(hashlib.file_digest(file, "sha256").digest())
    return hasher.hexdigest()


def text_digest(value: object) -> str:
    """A short digest of anything that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
