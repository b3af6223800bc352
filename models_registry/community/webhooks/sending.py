"""One POST to one webhook, within a deadline, to a checked address. No redirect is followed, no answer is read."""

import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import cache

from models_registry.community.webhooks.addresses import Refused, Target, Unknown, look_up, parse_url

CONNECT_S, TOTAL_S = 3.0, 10.0


@dataclass(frozen=True)
class Outcome:
    """`status` is None when nobody answered; `note` is a sentence for the webhook's owner, empty after a success."""

    status: int | None
    note: str
    took_ms: int
    final: bool = False

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_private: bool,
    connect_s: float = CONNECT_S,
    total_s: float = TOTAL_S,
) -> Outcome:
    """Send once. Never raises for what the other side does."""
    begun = time.monotonic()
    status: int | None = None
    final = False
    try:
        target = parse_url(url)
        addresses = look_up(target, allow_private=allow_private)
        status = _post(target, addresses, body, headers, connect_s, begun + total_s)
        note = _note(status)
    except Refused as error:
        note, final = str(error), True
    except Unknown as error:
        note = str(error)
    except TimeoutError:
        note = f"There was no answer within {total_s:g} seconds."
    except ssl.SSLError as error:
        note = f"TLS failed: {error.reason or 'the connection was closed'}."
    except (OSError, http.client.HTTPException) as error:
        note = f"The connection failed: {getattr(error, 'strerror', None) or type(error).__name__}."
    took_ms = max(1, round((time.monotonic() - begun) * 1000))
    if status is None and not final and took_ms >= total_s * 1000:
        note = f"There was no answer within {total_s:g} seconds."
    return Outcome(status, note, took_ms, final)


def _post(
    target: Target, addresses: list[str], body: bytes, headers: dict[str, str], connect_s: float, deadline: float
) -> int:
    plain = _connect(target, addresses, connect_s, deadline)
    # The connection's own `connect` would look the name up again; it is given a connected socket instead.
    sock = (
        _tls().wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)
        if target.is_tls
        else plain
    )
    # Time-outs of a socket begin anew with every byte: a slow answer is cut off from outside.
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [sock])
    watch.daemon = True
    watch.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        kind = http.client.HTTPSConnection if target.is_tls else http.client.HTTPConnection
        connection = kind(target.host, target.port)
        connection.sock = sock
        connection.request("POST", target.path, body, headers)
        return connection.getresponse().status
    finally:
        watch.cancel()
        sock.close()


def _connect(target: Target, addresses: list[str], connect_s: float, deadline: float) -> socket.socket:
    problem: OSError = TimeoutError()
    for address in addresses[:4]:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        try:
            sock = socket.create_connection((address, target.port), timeout=min(connect_s, left_s))
        except OSError as error:
            problem = error
            continue
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        return sock
    raise problem


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _note(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"It answered {status}: redirects are not followed, so give the webhook its final URL."
    return f"It answered {status}."
