"""What a caller may not see does not exist for them: every route of a repository answers as for a missing one."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from models_registry.accounts.tokens import create_token
from tests.factories import client_of, make_repository

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "delete")
# What stands for each parameter of a route; the repository's name comes instead of `name`.
VALUES = {
    "types": "models", "namespace": "alice", "branch": "main", "revision": "main", "rest": "main/a.txt", "right": "write",
    "num": "1", "comment": "0" * 24, "act": "hide", "status": "pending", "sha": "0" * 40, "signed": "x", "page": "files",
}  # fmt: skip


def _routes(patterns, prefix: str = "") -> Iterator[str]:
    """Every route which has a repository's namespace and name in it, as a template with `{}` for the name."""
    for entry in patterns:
        text = str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _routes(entry.url_patterns, prefix + text)
        elif isinstance(entry, URLPattern) and "namespace" in text and re.search(r"[<:]name>", text):
            yield _filled(prefix + text)


def _filled(text: str) -> str:
    # Regular expressions: a named group is a parameter; the rest of the syntax goes.
    if text.startswith("^") or "(?P" in text:
        text = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"<\1>", text).replace("\\", "").strip("^$")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda m: "{}" if m[1] == "name" else VALUES.get(m[1], "x"), text)


def _answer(client: Client, method: str, url: str) -> tuple[int, str, str, bytes]:
    body = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
    answer = getattr(client, method)(url, headers={"X-Request-Id": "one"}, **body)
    content = b"".join(answer) if answer.streaming else answer.content
    # The name itself, and the CSRF token of a page, differ.
    content = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", content).replace(b"missing", b"secrets")
    headers = {key: value.replace("missing", "secrets") for key, value in answer.headers.items()}
    return answer.status_code, headers.get("X-Error-Code", ""), headers.get("Location", ""), content


@pytest.mark.parametrize("who", ["anonymous", "outsider", "fine-grained token of the owner"])
def test_a_private_repository_answers_as_a_missing_one_on_every_route(who, alice, bob):
    make_repository(alice, "secrets", private=True, files={"a.txt": b"1", "w.bin": b"weights"})
    if who == "anonymous":
        client = Client()
    elif who == "outsider":
        client = client_of(bob)
    else:
        client = Client(headers={"Authorization": f"Bearer {create_token(alice, 'none', 'fineGrained')}"})
    routes = sorted(set(_routes(get_resolver().url_patterns)))
    assert len(routes) > 60 and "/api/models/alice/{}/tree/main/a.txt" in routes
    seen, own = "/api/models/alice/{}", client_of(alice)
    assert _answer(own, "get", seen.format("secrets")) != _answer(own, "get", seen.format("missing"))
    told = []
    for route in routes:
        for method in METHODS:
            private, missing = (_answer(client, method, route.format(name)) for name in ("secrets", "missing"))
            if private != missing:
                told.append(
                    f"{method} {route}: {private[:3]} {private[3][:120]!r} is not {missing[:3]} {missing[3][:120]!r}"
                )
            elif private[0] < 400 and private[0] != 302:
                told.append(f"{method} {route}: {private[0]} for what is not there")
    assert not told, "\n".join(told)
