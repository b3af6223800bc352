"""What can go wrong, each with the exit code which a pipeline branches on. Every message is a sentence."""

from __future__ import annotations

from typing import Any


class FitHubError(Exception):
    """`exit_code` is that of the command line; `detail` is printed by --json."""

    exit_code = 1

    def __init__(self, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.detail = detail or {}


class BadRequest(FitHubError):
    """The hub does not understand the request: an unknown key, unit or device, contradictory words."""

    exit_code = 2


class NothingFits(FitHubError):
    """`detail` is the hub's whole answer, with what was dropped and the nearest miss."""

    exit_code = 3


class NotFound(FitHubError):
    """Missing, or not for this token."""

    exit_code = 4


class Unreachable(FitHubError):
    """The network, or a hub which is busy: the same may work later."""

    exit_code = 5


class LockDiffers(FitHubError):
    """Something is not what the lock file, or the hub's own list, says."""

    exit_code = 6


class CannotRunHere(FitHubError):
    """onnxruntime is missing here, or the model does not run."""

    exit_code = 7
