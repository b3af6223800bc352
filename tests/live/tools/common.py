"""Run by other Pythons: tells the functions of a story and prints one line of JSON."""

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def task() -> dict[str, Any]:
    """What the test told: {"endpoint", "alice", "bob" (tokens), "prefix", "folder"}."""
    told: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return told


def tell(version: str, features: list[Callable[[], None]]) -> None:
    """Call them in order; their names are what they are called in the table."""
    outcome = {}
    for feature in features:
        title = feature.__name__.replace("_", " ")
        try:
            feature()
            outcome[title] = "ok"
        except Exception:
            outcome[title] = "FAILED: " + traceback.format_exc()
    print(json.dumps({"version": version, "features": outcome}))
