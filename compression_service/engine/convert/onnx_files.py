"""ONNX repositories: find the components, judge them, copy them unchanged under the ecosystem's names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from compression_service.engine.convert import onnx_checks
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError

NAME = "onnx"
VARIANT_SUFFIX = re.compile(r"_(fp16|int8|uint8|quantized|q4|q4f16|bnb4|q8|pruned|pruned_threshold|pruned_int8)$")


def find(source: Path) -> list[Path]:
    """The ONNX files which are sources: not another one's `_int8`, `_fp16` … beside it in the same folder."""
    files = sorted(path for path in source.rglob("*.onnx") if path.is_file() and ".git" not in path.parts)
    stems = {(path.parent, path.stem) for path in files}

    def is_variant(path: Path) -> bool:
        base, count = VARIANT_SUFFIX.subn("", path.stem)
        return bool(count) and (path.parent, base) in stems

    return [path for path in files if not is_variant(path)]


def convert(source: Path, files: list[Path], out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any]]:
    """Check each file, then copy it and its external data, byte for byte, to out/onnx/. Raises RefusedError."""
    progress(0.1, f"Reading {len(files)} ONNX file{'s' if len(files) > 1 else ''}")
    for path in files:
        if path.is_symlink():
            raise RefusedError(f"{path.relative_to(source)} is a symbolic link; push the real file.")
    names = component_names(source, files)
    target = out / "onnx"
    target.mkdir(parents=True, exist_ok=True)
    components: list[Component] = []
    taken: dict[str, Path] = {}
    for path in files:
        shown = path.relative_to(source).as_posix()
        model = onnx_checks.checked_model(path, shown)
        data = onnx_checks.external_files(model, path.parent)
        file_name = "model.onnx" if len(files) == 1 else f"{names[path]}.onnx"
        copies = [(path, file_name), *((one, one.relative_to(path.parent).as_posix()) for one in data)]
        for origin, wanted in copies:
            if taken.setdefault(wanted, origin) != origin:
                raise RefusedError(f"Two models of this repository use files named {wanted!r}; rename one of them.")
            (target / wanted).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, target / wanted)
        components.append(
            Component(names[path], shown, f"onnx/{file_name}", model, [f"onnx/{wanted}" for _, wanted in copies])
        )
    return components, {}


def component_names(source: Path, files: list[Path]) -> dict[Path, str]:
    """A name for each file: its stem, with its folders where two stems are the same."""
    stems = [path.stem for path in files]
    return {
        path: path.stem if stems.count(path.stem) == 1 else "-".join(path.relative_to(source).with_suffix("").parts)
        for path in files
    }
