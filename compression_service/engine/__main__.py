"""`python -m compression_service.engine TASK.json`, run with the work folder as the current one.

Progress goes to stdout, one JSON object a line; the result to result.json, in one move. Exit codes: 0 done, 3 an
expected refusal (result.json holds {"error": {"kind", "reason"}}), 1 anything unexpected (traceback on stderr).
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from compression_service.engine.errors import EngineError, RefusedError

REFUSED_EXIT_CODE = 3


def main(task_path: str) -> int:
    """Run one task; returns the exit code."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # here and in every child: onnxruntime would call its maker otherwise
    task = json.loads(Path(task_path).read_text(encoding="utf-8"))
    try:
        result = run(task)
        code = 0
    except EngineError as error:
        result, code = error.as_result(), REFUSED_EXIT_CODE
    write_result(result)
    return code


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task: convert, make, measure or preview. Raises EngineError for an expected refusal."""
    act, work = task.get("act"), Path("engine-work").resolve()
    if act == "convert":
        from compression_service.engine.convert.act import convert

        return convert(Path(task["source"]), Path(task["out"]), work, report, task.get("plan"))
    if act == "make":
        from compression_service.engine.make import make

        return make(task["recipe"], Path(task["baseline"]), Path(task["out"]), _request(task), work, report)
    if act == "measure":
        from compression_service.engine.measuring import measure

        return measure(task, _request(task.get("inputs") or {}), work, report)
    if act == "preview":
        from compression_service.engine.preview import preview

        return preview(Path(task["baseline"]), _request(task), work, report)
    raise RefusedError(f"The engine knows convert, make, measure and preview, not {act!r}.")


def _request(task: dict[str, Any]) -> Any:
    from compression_service.engine.inputs import Request
    from compression_service.engine.memo import Memo

    source, dataset, kept = task.get("source"), task.get("dataset"), task.get("memo")
    return Request(
        support=Path(source) if isinstance(source, str) else None,
        dataset=Path(dataset) if dataset else None,
        dataset_info=task.get("dataset_info"),
        seed=int(task.get("seed", 0)),
        seconds_cap=float(task.get("seconds_cap", 60)),
        notes=tuple(task.get("notes", ())),
        memo=Memo(Path(kept) if kept else None),
    )


def report(progress: float, message: str) -> None:
    """One line of progress, flushed."""
    print(json.dumps({"progress": round(progress, 4), "message": message}), flush=True)


def write_result(result: dict[str, Any]) -> None:
    """result.json in the current folder, whole or not at all."""
    partial = Path("result.json.partial")
    partial.write_text(json.dumps(_finite(result), allow_nan=False), encoding="utf-8")
    partial.replace("result.json")


def _finite(value: Any) -> Any:
    """A figure which overflowed is unknown: JSON has no other word for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
