"""What a view leaves of a body is read before the answer ends."""

import io
from typing import Any

import pytest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import RequestFactory

from hub.middleware import WholeBodyMiddleware


def asked(method: str, answer: HttpResponseBase) -> tuple[HttpResponseBase, io.BytesIO]:
    """The answer through the middleware, and the body which nobody has read yet."""
    body = io.BytesIO(b"x" * 3_000_000)
    sent: dict[str, Any] = {"wsgi.input": body, "CONTENT_LENGTH": str(len(body.getvalue()))}
    request = RequestFactory().generic(method, "/", **sent)
    return WholeBodyMiddleware(lambda _: answer)(request), body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [200, 204, 302, 403])
def test_whatever_the_status(method: str, status: int) -> None:
    answer, body = asked(method, HttpResponse(status=status))
    assert answer.status_code == status and not body.read(1)


def test_a_streamed_answer_may_read_first() -> None:
    answer, body = asked("POST", StreamingHttpResponse(iter([b"a", b"b"])))
    assert body.tell() == 0, "what the answer still needs was taken from it"
    assert b"".join(answer) == b"ab" and not body.read(1)


def test_a_get_is_left_alone() -> None:
    answer, body = asked("GET", StreamingHttpResponse(iter([b"a"])))
    assert b"".join(answer) == b"a" and body.tell() == 0
