"""Pulling the variant that fits: resolved once to a commit, checked file by file, and locked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fithub import choosing, locks
from fithub.errors import BadRequest, LockDiffers, NotFound, Unreachable

STATEMENT = "fithub.json"  # in every variant's commit: what it is, and the sha256 of its files


@dataclass(frozen=True)
class Pulled:
    """A variant in a folder. `figures` is the footprint that the hub promised for the budget, where it has one."""

    repo_id: str
    variant: str
    commit: str
    budget: str
    answer: str
    folder: str
    files: list[dict[str, Any]]
    figures: dict[str, Any] | None
    session_options: dict[str, dict[str, Any]] = field(default_factory=dict)  # by file: with them the figures hold

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def pull(
    repo_id: str, *, variant: str | None = None, proven: bool = False, lock: str | Path | None = None,
    local_dir: str | Path | None = None, endpoint: str | None = None, **budget: Any,
) -> Pulled:  # fmt: skip
    """Pull the best variant for a budget, or the one that is named. Raises NothingFits and all that hub.py raises.

    Files are checked against the list that the variant's commit carries; `lock` is written only when all agree.
    """
    budget = {key: value for key, value in budget.items() if value is not None}
    if variant is not None:
        if budget:
            raise BadRequest("Name a variant or a budget, not both.")
        found = choosing.variants(repo_id, name=variant, endpoint=endpoint)
        if not found["commit"] or found["status"] != "ready":
            raise NotFound(f"{variant} of {repo_id} cannot be pulled: it is {found['status']}. {found['reason'] or ''}")
        chosen = {"variant": variant, "commit": found["commit"], "budget": "", "answer": "named", "figures": None}
    else:
        chosen = choosing.fit(repo_id, proven=proven, endpoint=endpoint, **budget)
    folder = _download(repo_id, chosen["commit"], local_dir, endpoint)
    _, files = _stated(folder)
    locks.check(folder, files, "the variant's own list")
    pulled = Pulled(
        repo_id, chosen["variant"], chosen["commit"], chosen["budget"], chosen["answer"], str(folder), files,
        chosen.get("figures"), _session_options(folder),
    )  # fmt: skip
    if lock is not None:
        entry = {
            key: value for key, value in pulled.as_json().items() if key not in ("repo_id", "folder", "session_options")
        }
        locks.write(Path(lock), repo_id, entry)
    return pulled


def pull_locked(
    repo_id: str | None = None, *, lock: str | Path = "fithub.lock", local_dir: str | Path | None = None,
    endpoint: str | None = None, **budget: Any,
) -> list[Pulled]:  # fmt: skip
    """Pull exactly what the lock file names (all of it, or one model). Raises LockDiffers for anything else.

    A budget that is given has to be the one which was locked, key by key.
    """
    models = locks.read(Path(lock))["models"]
    if repo_id is not None and repo_id not in models:
        raise LockDiffers(f"{lock} does not name {repo_id}; it names {', '.join(models) or 'nothing'}.")
    if repo_id is None and local_dir is not None and len(models) != 1:
        raise BadRequest(f"{lock} names {len(models)} models, which cannot share one folder: name the model.")
    given = {key: str(value) for key, value in budget.items() if value is not None}
    pulled = []
    for name in [repo_id] if repo_id is not None else list(models):
        entry = models[name]
        if given:
            asked = choosing.why(name, endpoint=endpoint, **given)["budget"]
            if asked != entry.get("budget"):
                raise LockDiffers(
                    f"{lock} was made for {entry.get('budget')!r} of {name}, not for {asked!r}: lock it anew."
                )
        folder = _download(name, entry["commit"], local_dir, endpoint)
        locks.check(folder, entry["files"], "the lock file")
        variant, files = _stated(folder)
        if entry.get("variant") != variant or _by_path(entry["files"]) != _by_path(files):
            raise LockDiffers(
                f"{lock} does not name the variant of {name} and its files as its commit does: lock it anew."
            )
        kept = {key: entry.get(key) for key in ("variant", "commit", "budget", "answer", "files", "figures")}
        pulled.append(Pulled(repo_id=name, folder=str(folder), session_options=_session_options(folder), **kept))
    return pulled


def _download(repo_id: str, commit: str, local_dir: str | Path | None, endpoint: str | None) -> Path:
    try:
        return Path(snapshot_download(repo_id, revision=commit, local_dir=local_dir, endpoint=endpoint))
    except HFValidationError as error:
        raise BadRequest(f"{repo_id[:100]!r} names no model: write owner/name.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotFound(f"{repo_id} at {commit[:12]} is not there any more, or not for you.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise Unreachable(f"The files cannot be written: {error.strerror}.") from error
        raise Unreachable(f"{repo_id} could not be pulled: {str(error).splitlines()[0][:200]}") from error


def _by_path(files: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {file["path"]: (file["sha256"], file.get("size_bytes")) for file in files}


def _session_options(folder: Path) -> dict[str, dict[str, Any]]:
    """What the variant's commit says that a runtime is to be told, by file."""
    components = json.loads((folder / STATEMENT).read_text(encoding="utf-8")).get("components") or []
    return {one["path"]: one["session_options"] for one in components if one.get("session_options")}


def _stated(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """(the variant's name, its files), as its commit says."""
    try:
        statement = json.loads((folder / STATEMENT).read_text(encoding="utf-8"))
        stated = [{key: file[key] for key in ("path", "size_bytes", "sha256")} for file in statement["files"]]
        if not stated or not all(map(locks.is_file, stated)):
            raise ValueError("a file without path or sha256")  # noqa: TRY301 (one sentence for all of it)
        return statement["variant"], stated
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LockDiffers(f"The pulled commit has no readable {STATEMENT}, so its files cannot be checked.") from error
