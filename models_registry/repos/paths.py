"""Which paths and ref names a repository takes."""

import re

from models_registry.errors import BadRequest, Unprocessable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
MAX_PATH_BYTES = 1024


def check_path(path: str) -> str:
    """The path as it is, or Unprocessable with what is wrong. No path may leave the folder or touch `.git`."""
    parts = path.split("/")
    problem = ""
    if not path or not path.strip():
        problem = "is empty"
    elif _CONTROL.search(path):
        problem = "holds a control character"
    elif path.startswith("/"):
        problem = "is absolute"
    elif "\\" in path:
        problem = "holds a backslash; use '/'"
    elif len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        problem = f"is longer than {MAX_PATH_BYTES} bytes"
    elif any(part in ("", ".", "..") for part in parts):
        problem = "has an empty, '.' or '..' part"
    elif any(part.rstrip(". ").lower() in (".git", "git~1") for part in parts):
        problem = "touches .git"
    elif any("\ud800" <= character <= "\udfff" for character in path):
        problem = "is not valid UTF-8"
    if problem:
        shown = path.encode("ascii", "backslashreplace").decode()[:120]
        raise Unprocessable(f"The path {shown!r} {problem}: give a relative path inside the repository.")
    return path


def check_ref_part(name: str, what: str) -> str:
    """A branch or tag name by git's rules (git-check-ref-format), or BadRequest."""
    bad = (
        not name
        or len(name) > 200
        or _BAD_REF.search(name)
        or name.startswith(("/", "-", ".", "refs/", "fit@"))
        or name.endswith(("/", ".", ".lock"))
        or name == "@"
        or any(part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
        or re.fullmatch(r"[0-9a-f]{40}", name)
    )
    if bad:
        raise BadRequest(f"Invalid reference for a {what}: {name[:80]!r} is no name that git takes.")
    return name
