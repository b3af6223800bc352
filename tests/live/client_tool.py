"""Run by a client's Python: calls of HfApi from standard input, their results as one line of JSON.

[{"call": "upload_folder", …arguments}] → [{"value": text} or {"error": class, "message": text}]
"""

import json
import sys
from inspect import isgenerator

from huggingface_hub import HfApi


def main() -> None:
    api, results = HfApi(), []
    for call in json.load(sys.stdin):
        function = getattr(api, call.pop("call"))
        try:
            value = function(**call)
            results.append({"value": str(list(value) if isgenerator(value) else value)})
        except Exception as error:  # the caller judges it
            results.append({"error": type(error).__name__, "message": str(error)})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
