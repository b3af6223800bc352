"""No form of a private address is called, whatever it is written like and whatever its name answers the second time."""

import ipaddress
import socket
import time

import pytest

from models_registry.community.webhooks import addresses, sending
from tests.models_registry.community.receiver import receiver

PRIVATE = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "0.1.2.3", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:1::1",
    "2001:db8::1", "100::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1"]


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_refused_however_they_come(text, monkeypatch):
    assert not addresses.is_public(ipaddress.ip_address(text))
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(addresses.Refused, match="private or reserved"):
        addresses.check_literal(addresses.parse_url(f"http://{host}:8080/x"))
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    answers = [(family, socket.SOCK_STREAM, 6, "", (text, 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    with pytest.raises(addresses.Refused, match="private or reserved"):
        addresses.look_up(addresses.parse_url("http://innocent.example/"), allow_private=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_called(text):
    assert addresses.is_public(ipaddress.ip_address(text))
    host = f"[{text}]" if ":" in text else text
    addresses.check_literal(addresses.parse_url(f"https://{host}/x"))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0", "0x0", "127.0.0.1.",
        "3232235777", "0xa9fea9fe", "2852039166", "localhost", "LOCALHOST.", "x.localhost", "printer.local",
        "metadata.google.internal", "router.home.arpa",
    ],
)  # fmt: skip
def test_other_notations_and_local_names_are_refused_at_once(host):
    with pytest.raises(addresses.Refused):
        addresses.check_literal(addresses.parse_url(f"http://{host}/"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "file:///etc/passwd", "gopher://x/", "example.org", "//example.org/", "http://", "http:///x",
        "http://user:pw@example.org/", "http://example.org@127.0.0.1/", "http://example.org:22/", "http://example.org:25/",
        "http://example.org:99999/", "http://example.org:x/", "http://exa mple.org/", "http://example.org\\@127.0.0.1/",
        "http://example.org/\r\nX: y", "http://ex\u00e4mple.org/", "http://\u2460\u2461\u2466.0.0.1/", "http://[::1%25eth0]/",
        "http://[fe80::1%eth0]/", "http://[::1/", "http://a..%00/", "http://%31%32%37.0.0.1/", "http://example.org/" + "x" * 2000,
        "http://-x.example/", "javascript:alert(1)", "",
    ],
)  # fmt: skip
def test_urls_which_are_not_plainly_http_are_refused(url):
    with pytest.raises(addresses.Refused):
        addresses.parse_url(url)


def test_one_private_answer_refuses_a_name(monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    outcome = sending.post("http://mixed.example/", b"", {}, allow_private=False)
    assert outcome.status is None and outcome.final and "private" in outcome.note


def test_the_sender_connects_to_the_checked_address_and_never_asks_the_name_again(monkeypatch):
    asked, connected = [], []

    def rebinding(host, *args, **kwargs):
        asked.append(host)
        text = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80))]

    def connect(address, *args, **kwargs):
        connected.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", connect)
    outcome = sending.post("http://rebinding.example/", b"", {}, allow_private=False)
    assert asked == ["rebinding.example"] and connected == [("93.184.216.34", 80)]
    assert (outcome.status, outcome.final) == (None, False) and "Connection refused" in outcome.note


def test_a_receiver_on_this_machine_gets_the_request_when_it_is_allowed():
    with receiver() as here:
        outcome = sending.post(f"{here.url}/hook?a=1", b"{}", {"X-A": "b"}, allow_private=True)
        assert outcome.is_success and outcome.note == ""
        path, headers, body = here.requests[0]
        assert (path, body, headers["X-A"], headers["Host"]) == (
            "/hook?a=1",
            b"{}",
            "b",
            here.url.removeprefix("http://"),
        )
        refused = sending.post(here.url, b"{}", {}, allow_private=False)
        assert refused.final and len(here.requests) == 1


def test_redirects_are_not_followed():
    with receiver() as here:
        here.status, here.headers = 302, {"Location": f"{here.url}/elsewhere"}
        outcome = sending.post(here.url, b"{}", {}, allow_private=True)
        assert outcome.status == 302 and "redirects are not followed" in outcome.note and len(here.requests) == 1


def test_an_answer_which_drips_is_cut_off():
    """A time-out of the socket alone would begin anew with every byte."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)
        import threading

        def drip():
            line, _ = server.accept()
            with line:
                line.recv(65536)
                try:
                    for _ in range(100):
                        line.sendall(b"H")
                        time.sleep(0.05)
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        outcome = sending.post(url, b"{}", {}, allow_private=True, total_s=0.5)
        assert time.monotonic() - begun < 2 and not outcome.is_success and "within 0.5 seconds" in outcome.note
        thread.join()


def test_an_endless_answer_is_not_read():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)
        import threading

        sent = []

        def flood():
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    for _ in range(2000):
                        line.sendall(b"x" * 65536)
                        sent.append(1)
                except OSError:
                    return

        thread = threading.Thread(target=flood)
        thread.start()
        assert sending.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, allow_private=True).is_success
        thread.join()
        assert len(sent) < 2000
