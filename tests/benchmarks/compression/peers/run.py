"""One recipe of one tool in that tool's environment: `python -m tests.benchmarks.compression.peers.run TASK.json`.

TASK: {"tool", "recipe", "kind", "config", "scratch", "components": [{"source", "out", "calibration"}]}.
"""

import importlib
import json
import sys
from pathlib import Path

from compression_service.engine import runner
from tests.benchmarks.compression.peers.base import Job


def main(path: str) -> None:
    task = json.loads(Path(path).read_text(encoding="utf-8"))
    recipe = importlib.import_module(f"tests.benchmarks.compression.peers.{task['tool']}").RECIPES[task["recipe"]]
    for component in task["components"]:
        out = Path(component["out"])
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(task["scratch"]) / out.stem
        scratch.mkdir(parents=True, exist_ok=True)
        config = Path(task["config"]) if task["config"] else None
        feeds = runner.load_feeds(Path(component["calibration"]))
        recipe.run(Job(Path(component["source"]), out, feeds, task["kind"], config, scratch))
        if not out.is_file():
            raise FileNotFoundError(f"{task['tool']} wrote no file")


if __name__ == "__main__":
    main(sys.argv[1])
