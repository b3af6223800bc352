"""`python run.py TASK.json`: {"area", "endpoint", "robot", "other", "keeper" (tokens), "xet": "yes"|"no", "only": [names]}.

Prints one line of JSON: {"version", "outcomes": {expectation: "ok" | "FAILED: …"}, "seconds": {expectation: s}}.
"""

import importlib
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import huggingface_hub
from expectations.base import Area


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    warnings.simplefilter("ignore")
    module = importlib.import_module(f"expectations.{told['area']}")
    area: Area = getattr(module, told["area"].capitalize())(told)
    outcomes, seconds = {}, {}
    for name in [name for name in vars(type(area)) if name.startswith("expect_")]:
        title = name.removeprefix("expect_").replace("_", " ")
        if told.get("only") and not any(word in title for word in told["only"]):
            continue
        began = time.monotonic()
        try:
            getattr(area, name)()
            outcomes[title] = "ok"
        except Exception:
            outcomes[title] = "FAILED: " + traceback.format_exc()
        seconds[title] = round(time.monotonic() - began, 2)
    print(json.dumps({"version": huggingface_hub.__version__, "outcomes": outcomes, "seconds": seconds}))


if __name__ == "__main__":
    main()
