"""Which addresses a webhook may call. A URL is read once, its name is looked up once, every answer is checked.

The sender connects to an address which was checked here, never to the name again: a name which answers with another
address the second time (DNS rebinding) wins nothing.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
URL_MAX = 2000
_PORTS = frozenset([80, 443])
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # no space, no backslash: browsers and libraries disagree on it
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")
# Public by the registry, and yet a way inside: a cloud's metadata, and IPv6 which carries an IPv4 address.
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fec0::/10",
    )
]


class Refused(Exception):
    """This URL is not called; the sentence says why."""


@dataclass(frozen=True)
class Target:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"


def parse_url(url: str) -> Target:
    """A URL in its parts. Raises Refused for everything that is not plainly http(s)://host[:port]/path."""
    if len(url) > URL_MAX:
        raise Refused(f"The URL is longer than {URL_MAX:,} characters.")
    if not _PRINTABLE.fullmatch(url):
        raise Refused("The URL may hold only printable ASCII without spaces and backslashes: percent-encode the rest.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused("The URL is not well formed.") from error
    if parts.scheme not in ("http", "https"):
        raise Refused("The URL must begin with http:// or https://.")
    if parts.username is not None or parts.password is not None:
        raise Refused("The URL may not hold a user name or a password: set a secret instead.")
    host = parts.hostname or ""
    if not (_is_ipv6(host) if ":" in host else _HOST.fullmatch(host)):
        raise Refused("The URL names no host.")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    if port not in _PORTS and port < 1024:
        raise Refused(f"The port {port} is not called: use 80, 443, or one from 1024 on.")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def check_literal(target: Target) -> None:
    """Refuse at once what needs no look-up: private addresses in any notation, and names of this machine."""
    name = target.host.rstrip(".").lower()
    if name in _LOCAL_NAMES or name.endswith(tuple(f".{local}" for local in _LOCAL_NAMES)):
        raise Refused(f"{target.host} is a name of a private network.")
    address = _literal(target.host)
    if address is not None and not is_public(address):
        raise Refused(f"{target.host} is a private or reserved address ({address}).")


def look_up(target: Target, *, allow_private: bool) -> list[str]:
    """The addresses to connect to, each checked. Raises Refused; one private answer refuses the name."""
    try:
        answers = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unknown(f"The name {target.host} could not be looked up.") from error
    found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    for text in found:
        if not allow_private and not is_public(ipaddress.ip_address(text)):
            raise Refused(f"{target.host} leads to a private or reserved address.")
    return found


class Unknown(Exception):
    """The name has no answer now; it may have one later."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet and of nothing else."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
    if any(address in network for network in _REFUSED if network.version == address.version):
        return False
    return address.is_global and not (
        address.is_multicast
        or address.is_private
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )


def _literal(host: str) -> Address | None:
    """The address which a host is, in any notation that look-ups understand: 127.1, 0x7f000001, 2130706433."""
    if ":" in host:
        return ipaddress.IPv6Address(host)
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False
