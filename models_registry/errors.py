"""What an act refuses, in words for people. Views turn each into the right status and headers (hfapi/errors.py).

`code` is the hub protocol's X-Error-Code: stock clients map it to their exception classes.
"""

from typing import Any, ClassVar


class HubError(Exception):
    """A refusal which its caller can act on. `message` is one sentence."""

    status: int = 400
    code: ClassVar[str] = ""

    def __init__(self, message: str, headers: dict[str, str] | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}
        self.status = status or type(self).status


class BadRequest(HubError):
    status = 400


class Unauthorized(HubError):
    status = 401


class Forbidden(HubError):
    status = 403


class RepoNotFound(HubError):
    """Missing, or private and not for this caller: the two look alike from outside."""

    status = 404
    code = "RepoNotFound"


class RepoMoved(HubError):
    """Asked for by a name which it had once. Views answer with a redirect which keeps method and body."""

    status = 307

    def __init__(self, old_name: str, new_name: str) -> None:
        super().__init__(f"Temporary redirect: {old_name} is called {new_name} now.")
        self.old_name, self.new_name = old_name, new_name


class GatedRepo(HubError):
    """The repository is there to see; its files are for whoever was let in. 401 for those who are not signed in."""

    status = 403
    code = "GatedRepo"


class RevisionNotFound(HubError):
    status = 404
    code = "RevisionNotFound"


class EntryNotFound(HubError):
    status = 404
    code = "EntryNotFound"


class NotFound(HubError):
    status = 404


class Conflict(HubError):
    """`body` is sent beside the error: a client reads the `url` of what is there already."""

    status = 409

    def __init__(self, message: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.body = body or {}


class HeadMoved(HubError):
    status = 412


class TooLarge(HubError):
    status = 413


class UnsupportedType(HubError):
    status = 415


class RangeNotSatisfiable(HubError):
    status = 416


class Unprocessable(HubError):
    status = 422


class StorageFull(HubError):
    status = 507


class QuotaExceeded(HubError):
    """The namespace may not keep so much. `missing_bytes` says by how much."""

    status = 403

    def __init__(self, message: str, missing_bytes: int) -> None:
        super().__init__(message)
        self.missing_bytes = missing_bytes


class StorageUnavailable(HubError):
    """Where the bytes lie does not answer, or fails."""

    status = 503


class TooManyRequests(HubError):
    status = 429


class OAuthError(HubError):
    """A refusal of OAuth's: `reason` is one of the standard's words, which clients compare."""

    def __init__(self, reason: str, message: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.reason = reason
