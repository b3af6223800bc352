"""What the engine says when it will not or cannot: each error carries one sentence for the contributor."""

from __future__ import annotations

from typing import Any


class EngineError(Exception):
    """Base of every expected refusal; `str(error)` is the sentence to show."""

    kind = "failed"

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details

    def as_result(self) -> dict[str, Any]:
        """The JSON which the caller gets: `details` (such as fidelity) stand beside "error"."""
        return {**self.details, "error": {"kind": self.kind, "reason": self.reason}}


class RefusedError(EngineError):
    """The pushed files are not taken: wrong format, corrupt, or made to do harm."""

    kind = "refused"


class NotApplicableError(EngineError):
    """The recipe has nothing to do on this model."""

    kind = "not_applicable"


class QuarantinedError(EngineError):
    """A variant was made and is broken: it does not load, yields NaN, or disagrees with its source."""

    kind = "quarantined"


class FailedError(EngineError):
    """A tool failed on a model that should have worked."""

    kind = "failed"


def first_line(error: BaseException, limit: int = 240) -> str:
    """The first line of somebody else's message, short enough for a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
