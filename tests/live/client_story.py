"""Run by the Python of each client version: what people do with a hub, a feature a function.

`python client_story.py STORY.json`: {"endpoint", "alice", "bob", "reader" (tokens), "prefix", "fitted", "folder"}. Prints
one line of JSON: {"version", "xet", "features": {name: "ok" | "n.a.: why" | "FAILED: …"}, "seconds"}. Needs no more than the standard
library, huggingface_hub, and the folder `story` beside it.
"""

import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import huggingface_hub
from story.base import NotThere
from story.commands import Commands
from story.life import Life
from story.people import People
from story.proposals import Proposals
from story.pull import Pull
from story.push import Push
from story.refusals import Refusals

CHAPTERS = (Push, Pull, Proposals, Life, People, Commands, Refusals)


class Story(Push, Pull, Proposals, People, Commands, Refusals):
    """All chapters, told by one client to one hub."""

    def tell(self) -> dict[str, str]:
        outcome: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        for name in [name for chapter in CHAPTERS for name in vars(chapter) if name.startswith("do_")]:
            title = name.removeprefix("do_").replace("_", " ")
            began = time.monotonic()
            try:
                getattr(self, name)()
                outcome[title] = "ok"
            except NotThere as missing:
                outcome[title] = f"n.a.: {missing}"
            except Exception:
                outcome[title] = "FAILED: " + traceback.format_exc()
            self.seconds[title] = round(time.monotonic() - began, 1)
        return outcome


def xet_version() -> str | None:
    """Of hf_xet, when this client would use it."""
    from importlib.metadata import PackageNotFoundError, version

    if os.environ.get("HF_HUB_DISABLE_XET") == "1":
        return None
    try:
        return version("hf_xet")
    except PackageNotFoundError:
        return None


def main() -> None:
    warnings.simplefilter("ignore")
    told = json.loads(Path(sys.argv[1]).read_text())
    story = Story(told)
    said = {"version": huggingface_hub.__version__, "xet": xet_version(), "features": story.tell()}
    print(json.dumps(said | {"seconds": story.seconds}))


if __name__ == "__main__":
    main()
