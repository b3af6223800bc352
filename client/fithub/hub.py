"""Requests to the hub: the session, endpoint and token of huggingface_hub, so that proxies and logins hold here too."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers, get_session

from fithub import __version__
from fithub.errors import BadRequest, NotFound, Unreachable

TIMEOUT_S = 60


def get(path: str, params: dict[str, str] | None = None, *, endpoint: str | None = None) -> Any:
    """The JSON at a path of the hub. Raises BadRequest, NotFound, Unreachable."""
    return _send("GET", path, endpoint, params=params or {})


def post(path: str, body: Any, *, endpoint: str | None = None) -> Any:
    """Send JSON. Raises as `get` does."""
    text = json.dumps(body, allow_nan=False).encode()
    return _send("POST", path, endpoint, content=text)


def model_path(repo_id: str, rest: str = "") -> str:
    """The API's path of a model. Raises BadRequest for what is no `owner/name`."""
    owner, slash, name = repo_id.partition("/")
    if not slash or not owner or not name or "/" in name or {owner, name} & {".", ".."}:
        raise BadRequest(f"{repo_id[:100]!r} names no model: write owner/name.")
    return f"/api/models/{quote(owner, safe='')}/{quote(name, safe='')}{rest}"


def shaped(answer: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """The answer, where it is an object with these keys. Raises Unreachable."""
    if not isinstance(answer, dict) or not all(key in answer for key in keys):
        raise Unreachable(
            "The hub answers in another way than this fithub knows: is HF_ENDPOINT a FitHub? Upgrade fithub."
        )
    return answer


def _send(method: str, path: str, endpoint: str | None, **sent: Any) -> Any:
    address = (endpoint or constants.ENDPOINT).rstrip("/")
    headers = build_hf_headers(library_name="fithub", library_version=__version__)
    if "content" in sent:
        headers["Content-Type"] = "application/json"
    session = get_session()
    # huggingface_hub below 1.0 brings requests, which calls a body `data`.
    if type(session).__module__.partition(".")[0] == "requests" and "content" in sent:
        sent["data"] = sent.pop("content")
    try:
        answer = session.request(method, address + path, headers=headers, timeout=TIMEOUT_S, **sent)
    except Exception as error:  # each HTTP library has its own family of errors
        raise Unreachable(f"The hub at {address} cannot be reached: {type(error).__name__}.") from error
    if answer.status_code < 300:
        try:
            return answer.json()
        except ValueError as error:
            raise Unreachable(f"{address} answered with something else than JSON: is HF_ENDPOINT a FitHub?") from error
    sentence = _sentence(answer)
    if answer.status_code == 414:  # of the server before the hub, which says nothing
        raise BadRequest("The budget is far too long for an address: name each key once.")
    if answer.status_code in (401, 403, 404):
        raise NotFound(sentence or f"{path} is not there, or not for you: log in by `hf auth login`.")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unreachable(sentence or f"The hub answered {answer.status_code}: try again later.")
    raise BadRequest(sentence or f"The hub refused {path} ({answer.status_code}).")


def _sentence(answer: Any) -> str:
    try:
        data = answer.json()
    except ValueError:
        return ""
    return str(data.get("error", "")) if isinstance(data, dict) else ""
