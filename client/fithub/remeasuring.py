"""Taking a record of the hub again on this machine, by the hub's own harness, and sending it in."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import tempfile
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from fithub import choosing, hub, locks, pulling
from fithub.errors import BadRequest, CannotRunHere
from fithub.machines import device as profile_of
from fithub.machines import require_runtime
from fithub.measuring import machine

SOURCE = "onnx"
FEEDS = 8
MOST_SECONDS = 600.0
_DEVICE = re.compile("[a-z0-9][a-z0-9._-]{1,79}")  # what the hub takes


def measure(
    repo_id: str, *, variant: str | None = None, threads: int = 1, seconds: float = 10.0, device: str | None = None,
    progress: Callable[[float, str], None] | None = None, endpoint: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure a variant (or all) beside the source: {"repository", "device", "identity", "records", "drift"}.

    Inputs are made again from what the hub's record says of them. Raises CannotRunHere, NotFound, BadRequest.
    """
    require_runtime()
    if not (isfinite(seconds) and 0 < seconds <= MOST_SECONDS):
        raise BadRequest(f"--seconds must be above 0 and at most {MOST_SECONDS:g}.")
    if threads < 0:
        raise BadRequest("--threads must be 1 or more, or 0 for all cores.")
    if device is not None and not _DEVICE.fullmatch(device):
        raise BadRequest("--device must be 2 to 80 lower-case letters, digits, dots and dashes, such as my-board-4c.")
    from fithub.measuring import feeds, session

    family = {row["name"]: row for row in choosing.variants(repo_id, endpoint=endpoint)["variants"]}
    ready = [name for name, row in family.items() if row["status"] == "ready"]
    if SOURCE not in ready:
        raise BadRequest(f"{repo_id} has no measured source yet: wait until its variants are made.")
    wanted = [name for name in ready if name != SOURCE] if variant is None else [variant]
    if unknown := [name for name in wanted if name not in ready]:
        raise BadRequest(f"{unknown[0]} of {repo_id} cannot be measured; ready are {', '.join(ready)}.")
    shapes = _shapes(repo_id, family[SOURCE])
    subjects: dict[str, Any] = {}
    for name in dict.fromkeys((SOURCE, *wanted)):
        pulled = pulling.pull(repo_id, variant=name, endpoint=endpoint)
        subjects[name] = _subject(session, family[name], pulled)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            for number, component in enumerate(family[SOURCE]["components"]):
                name = component.get("name") or f"component-{number}"
                feeds.save(feeds.made_again(shapes["input_shapes"][name], FEEDS), work / f"feeds-{number}.npz")
                carry = (shapes["inputs"].get("carry") or {}).get(name, {})
                (work / f"carry-{number}.json").write_text(json.dumps(carry), encoding="utf-8")
            stated = {**shapes["input_shapes"], "_": {**shapes["inputs"], "made_again_from": "the hub's record"}}
            taken = session.take(
                subjects[SOURCE], [subjects[name] for name in wanted if name != SOURCE], stated, work,
                seconds=seconds, seconds_cap=None, threads=[threads], progress=progress or (lambda _f, _m: None),
            )  # fmt: skip
        except (session.SessionError, feeds.FeedError, KeyError) as error:
            raise CannotRunHere(f"{repo_id} cannot be measured here: {error}") from error
    profile = profile_of(name=device)
    return {"repository": repo_id, **taken, "device": profile, "identity": _identity(session, subjects)}


def require_sender(*, device: str | None = None, endpoint: str | None = None) -> None:
    """Asked before anything is measured: whether the hub would take it from this account and machine.

    NotFound with the hub's sentence unless it knows who would send; BadRequest where the device's name (`device`, or
    the one which is made up) is another machine's there.
    """
    hub.get("/api/whoami-v2", endpoint=endpoint)
    own = machine.profile()
    name = device or own["name"]
    known = next((one for one in choosing.devices(endpoint=endpoint) if one.get("name") == name), None)
    if known is None or known.get("yours") or known.get("datasheet"):
        return
    if machine.differs(own, known):
        raise BadRequest(
            f"{name} is another machine at the hub ({machine.in_words(known)}) than this one ({machine.in_words(own)}):"
            f" name this one otherwise by --device, for example {name[:70]}-2."
        )


def submit(taken: dict[str, Any], *, endpoint: str | None = None) -> dict[str, Any]:
    """Send what `measure` returned; the hub answers with what it made of each record. Raises as hub.py does."""
    body = {key: taken[key] for key in ("device", "identity", "records")}
    return dict(hub.post(hub.model_path(taken["repository"], "/measurements"), body, endpoint=endpoint))


def _shapes(repo_id: str, source: dict[str, Any]) -> dict[str, Any]:
    for footprint in choosing.by_trust(source["footprints"]):
        if footprint.get("input_shapes") and footprint.get("inputs") is not None:
            return {"input_shapes": footprint["input_shapes"], "inputs": footprint["inputs"]}
    raise BadRequest(f"The hub has no record of {repo_id} which says what the inputs are: it has to measure it first.")


def _subject(session: Any, row: dict[str, Any], pulled: pulling.Pulled) -> Any:
    root = Path(pulled.folder)
    paths = [file["path"] for file in pulled.files]
    models = [root / path for path in paths if path.startswith("onnx/")] or [
        root / c["path"] for c in row["components"]
    ]
    others = [path for path in paths if root / path not in models]
    return session.Subject(row["name"], root, row["components"], others, models)


def _identity(session: Any, subjects: dict[str, Any]) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in ("onnxruntime", "numpy", "fithub"):
        versions[name] = importlib.metadata.version(name)
    files = {
        name: {path.relative_to(one.root).as_posix(): locks.sha256(path) for path in one.all_files}
        for name, one in subjects.items()
    }
    return {
        "variants": {name: {"files": found} for name, found in files.items()},
        "versions": versions,
        "provider": "CPUExecutionProvider",
        "harness": session.HARNESS_VERSION,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
