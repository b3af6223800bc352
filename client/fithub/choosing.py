"""Which variant fits: the hub's answers, unchanged."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fithub import hub
from fithub.errors import NothingFits

KEYS = {
    "memory": "peak of the whole process + 10 %, at most (512MB)",
    "latency": "p90 of one inference, at most (20ms)",
    "size": "bytes of all files, at most (10MB)",
    "load": "warm load, at most (1s)",
    "energy": "an inference, at most (5mJ)",
    "fidelity": "agreement with the source, at least (0.98)",
    "throughput": "inferences a second, at least",
    "device": "the machine class it shall run on (see `fithub devices`)",
    "threads": "threads it may use (1 unless said)",
    "runtime": "e.g. onnxruntime",
    "opset": "the newest opset which your runtime knows",
    "format": "e.g. onnx",
    "options": "any: you set the session options which a variant was measured with (default: those of the runtime)",
    "goal": "fidelity, latency, memory, size or energy: what counts most",
}


def fit(repo_id: str, *, proven: bool = False, endpoint: str | None = None, **budget: Any) -> dict[str, Any]:
    """The hub's answer: variant, commit, reasons, figures. `proven`: a likely answer is none.

    Raises NothingFits (its `detail` is the answer), BadRequest, NotFound, Unreachable.
    """
    answer = why(repo_id, endpoint=endpoint, **budget)
    if answer["variant"] is None:
        raise NothingFits(answer["sentence"], answer)
    if proven and answer["answer"] != "proven":
        raise NothingFits(f"{answer['sentence']} It is not proven: {_doubt(answer)}", answer)
    return answer


def why(repo_id: str, *, endpoint: str | None = None, **budget: Any) -> dict[str, Any]:
    """The same answer, also where nothing fits: what was dropped by which figure, and the nearest miss."""
    return hub.shaped(
        hub.get(hub.model_path(repo_id, "/fit"), _texts(budget), endpoint=endpoint),
        ("variant", "commit", "answer", "reasons", "sentence", "budget"),
    )


def fit_across(
    *, pipeline_tag: str | None = None, search: str | None = None, author: str | None = None, limit: int | None = None,
    endpoint: str | None = None, **budget: Any,
) -> dict[str, Any]:  # fmt: skip
    """The best of all models: {"budget", "results": [{"repository", …a fit}], …}. Raises NothingFits as `fit` does."""
    named = {"pipeline_tag": pipeline_tag, "search": search, "author": author, "limit": limit}
    answer = hub.shaped(hub.get("/api/fit", _texts(named | budget), endpoint=endpoint), ("results", "sentence"))
    if not answer["results"]:
        raise NothingFits(answer["sentence"], answer)
    return answer


def variants(repo_id: str, *, name: str | None = None, endpoint: str | None = None) -> dict[str, Any]:
    """The variants of a model with their footprints, or one of them with what each pass did."""
    rest = f"/variants/{quote(name, safe='')}" if name else "/variants"
    keys = ("status", "commit", "reason") if name else ("variants",)
    return hub.shaped(hub.get(hub.model_path(repo_id, rest), endpoint=endpoint), keys)


def devices(*, endpoint: str | None = None) -> list[dict[str, Any]]:
    """The devices which budgets can name."""
    return list(hub.get("/api/devices", endpoint=endpoint))


def by_trust(footprints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hub's own records first, then what several people confirmed: anybody can report any inputs."""
    return sorted(footprints, key=lambda one: {"verified": 0, "confirmed": 1}.get(one.get("trust", ""), 2))


def _texts(given: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in given.items() if value is not None}


def _doubt(answer: dict[str, Any]) -> str:
    return next((reason for reason in answer["reasons"] if "not proven" in reason), "nothing was measured there yet.")
