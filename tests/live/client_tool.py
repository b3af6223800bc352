"""Run by a client's Python: calls of HfApi from standard input, their results as one line of JSON.

[{"call": "upload_folder", …arguments}] → [{"value": text} or {"error": class, "message": text}]

With --stay it reads such a list from each line, answers each by a line, and ends with its input.
"""

import json
import sys
from inspect import isgenerator
from typing import Any

from huggingface_hub import HfApi


def main() -> None:
    if sys.argv[1:] == ["--stay"]:
        for line in sys.stdin:
            print(json.dumps(results_of(json.loads(line))), flush=True)
    else:
        print(json.dumps(results_of(json.load(sys.stdin))))


def results_of(calls: list[dict[str, Any]]) -> list[dict[str, str]]:
    api, results = HfApi(), []
    for call in calls:
        function = getattr(api, call.pop("call"))
        try:
            value = function(**call)
            results.append({"value": str(list(value) if isgenerator(value) else value)})
        except Exception as error:  # the caller judges it
            results.append({"error": type(error).__name__, "message": str(error)})
    return results


if __name__ == "__main__":
    main()
