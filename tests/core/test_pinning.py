"""Pinning: what a server shows, and the one CA in it that an invite names."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.node import Node
from fedtui.core.pki import tls
from fedtui.core.pki.signing import key_pem, new_key
from fedtui.core.pki.x509 import fingerprint, to_pem
from tests.conftest import MakeNode
from tests.core.test_certificates import ca, parsed, server
from tests.core.test_tls import serving


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one connection on loopback; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def once() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):  # the probe may simply go away
                connection.settimeout(10)
                serve(connection)

        served = pool.submit(once)
        yield listener.getsockname()[1]
        served.result(20)


def test_the_presented_chain_is_pinned_by_its_ca(node: Node, make_node: MakeNode) -> None:
    """A server shows leaf and root, unverified; only the root's own fingerprint pins it, and nothing is sent."""
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with serving(node).wrap_socket(connection, server_side=True) as secured:
            received.append(secured.recv(1))

    with listening(serve) as port:
        chain = tls.presented_chain("127.0.0.1", port, timeout=10)
    assert [fingerprint(one) for one in chain] == [server(node).fingerprint, ca(node).fingerprint]
    assert not any(received)
    assert tls.find_pinned(chain, ca(node).fingerprint) == parsed(ca(node))
    assert tls.find_pinned(chain, server(node).fingerprint) is None, "a leaf is no anchor"
    assert tls.find_pinned(chain, ca(make_node("beta")).fingerprint) is None


def test_no_tls_is_an_os_error() -> None:
    """Where something else than TLS answers, or nothing does, the probe ends with an OSError."""
    with listening(lambda plain: plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port, pytest.raises(OSError):
        tls.presented_chain("127.0.0.1", port, timeout=10)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError):
        tls.presented_chain("127.0.0.1", port, timeout=10)


def test_an_unreadable_certificate_is_an_os_error() -> None:
    """A server whose certificate cannot be parsed to the end is a failing handshake, not a traceback."""
    key, name = new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    garbled = x509.UnrecognizedExtension(x509.TLSFeature.oid, b"garbage")  # OpenSSL does not look at it
    start = datetime(2026, 1, 1, tzinfo=UTC)
    broken = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
        .add_extension(garbled, critical=False)
        .sign(key, hashes.SHA256())
    )
    context = tls.server_context(to_pem(broken), key_pem(key), to_pem(broken))

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with listening(serve) as port, pytest.raises(ssl.SSLError, match="cannot be read"):
        tls.presented_chain("127.0.0.1", port, timeout=10)


PIN = "sha256:" + "0123456789abcdef" * 4
DIGITS = PIN.removeprefix("sha256:")


@pytest.mark.parametrize(
    "spelling",
    [
        PIN,
        f"  {PIN.upper()}\n",
        DIGITS,
        ":".join(DIGITS[place : place + 2] for place in range(0, 64, 2)).upper(),
        "sha256 Fingerprint=" + ":".join(DIGITS[place : place + 2] for place in range(0, 64, 2)).upper(),
    ],
)
def test_pins_have_one_spelling(spelling: str) -> None:
    """Our own spelling, plain hex and what openssl prints are the same pin."""
    assert tls.pin_from(spelling) == PIN


@pytest.mark.parametrize("text", ["", "sha256:", DIGITS[:-1], DIGITS + "0", "g" + DIGITS[1:], "sha1:" + DIGITS[:40]])
def test_what_is_no_pin_is_none(text: str) -> None:
    """A fingerprint cut short, too long, of another digest or with a foreign character is none at all."""
    assert tls.pin_from(text) is None


@given(st.text() | st.text("0123456789abcdefABCDEF:", min_size=60, max_size=70))
def test_pins_are_normal_or_none(text: str) -> None:
    """Whatever is given, the answer is None or a pin that reads back as itself."""
    pin = tls.pin_from(text)
    assert pin is None or (len(pin) == len(PIN) and tls.pin_from(pin) == pin)
