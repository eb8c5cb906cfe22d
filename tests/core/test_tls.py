"""TLS for real: both contexts over sockets, and who is let in."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fedtui.core.node import Node
from fedtui.core.pki import signing, tls
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.signing import new_key
from fedtui.core.pki.x509 import fingerprint
from tests.conftest import MakeNode, ManualClock
from tests.core.test_certificates import ADA, ca, for_peer, parsed, server

Pair = tuple[str, bytes]
KEY = new_key()
"""The key of every client here."""


@pytest.fixture
def clock() -> ManualClock:
    """OpenSSL looks at the real clock, so the certificates of these tests are made by it."""
    return ManualClock(datetime.now(UTC))


def own_pair(node: Node, row: Certificate) -> Pair:
    with node.read() as session:
        return row.cert_pem + row.chain_pem, signing.private_key_pem(session, node.vault, row)


def peer_pair(signer: Node) -> Pair:
    """A certificate as a peer presents it to `signer`, with its key."""
    return for_peer(signer, KEY.public_key()).cert_pem, signing.key_pem(KEY)


def serving(node: Node) -> ssl.SSLContext:
    return tls.server_context(*own_pair(node, server(node)), ca(node).cert_pem)


def calling(node: Node, pair: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts `node`'s CA."""
    return tls.client_context([ca(node).cert_pem], pair)


@dataclass
class Outcome:
    """How a connection went: what each side raised, and what the server learned of the client."""

    client: BaseException | None = None
    server: BaseException | None = None
    certificate: bytes | None = None
    version: str | None = None
    cipher: str = ""
    answer: bytes = b""
    reused: bool | None = None
    session: ssl.SSLSession | None = None


def connect(
    at_server: ssl.SSLContext,
    at_client: ssl.SSLContext,
    name: str = "alpha.example",
    session: ssl.SSLSession | None = None,
) -> Outcome:
    """One connection over a socket pair: the client says `ping`, the server answers `pong`."""
    outcome = Outcome()
    near, far = socket.socketpair()
    for end in (near, far):
        end.settimeout(10)

    def serve() -> None:
        try:
            with at_server.wrap_socket(far, server_side=True) as secured:
                outcome.certificate = secured.getpeercert(binary_form=True)
                if secured.recv(4) == b"ping":
                    secured.sendall(b"pong")
                    secured.recv(1)
        except OSError as error:
            outcome.server = error
            far.close()

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        try:
            with at_client.wrap_socket(near, server_hostname=name, session=session) as secured:
                outcome.version, outcome.cipher = secured.version(), (secured.cipher() or ("",))[0]
                secured.sendall(b"ping")
                outcome.answer = secured.recv(4)
                outcome.session, outcome.reused = secured.session, secured.session_reused
        except OSError as error:
            outcome.client = error
            near.close()
        served.result(20)
    return outcome


def test_mutual_tls(node: Node) -> None:
    """Over TLS 1.3 the server learns exactly the certificate that it signed, and both sides talk."""
    pair = peer_pair(node)
    outcome = connect(serving(node), calling(node, pair))
    assert (outcome.client, outcome.server, outcome.answer) == (None, None, b"pong")
    assert outcome.version == "TLSv1.3"
    assert outcome.certificate == ssl.PEM_cert_to_DER_cert(pair[0])


def test_no_certificate_is_let_in_as_nobody(node: Node) -> None:
    """A caller without a certificate is served (`accept` has none yet), and the server sees that it has none."""
    outcome = connect(serving(node), calling(node))
    assert outcome.answer == b"pong"
    assert outcome.certificate is None


def foreign(_: Node, other: Node) -> Pair:
    return peer_pair(other)


def same_name(_: Node, other: Node) -> Pair:
    with other.unit(ADA) as unit:
        signing.create_authority(unit, other.vault, "alpha")
    return peer_pair(other)


def for_servers(node: Node, _: Node) -> Pair:
    return own_pair(node, server(node))


def expired(node: Node, _: Node) -> Pair:
    with node.unit(ADA) as unit:
        unit.now -= timedelta(minutes=1)
        row = signing.issue_for_peer(
            unit,
            signing.open_authority(unit.session, node.vault),
            peer_id="x",
            instance_id="y",
            key=KEY.public_key(),
            lifetime=timedelta(seconds=1),
        )
    return row.cert_pem, signing.key_pem(KEY)


def signed_by_a_leaf(node: Node, _: Node) -> Pair:
    leaf = parsed(for_peer(node, KEY.public_key()))
    with node.unit(ADA) as unit:
        row = signing.issue_for_peer(
            unit,
            signing.Authority(leaf, KEY, fingerprint(leaf)),
            peer_id="x",
            instance_id="y",
            key=KEY.public_key(),
            lifetime=timedelta(days=90),
        )
    return row.cert_pem + row.chain_pem, signing.key_pem(KEY)


@pytest.mark.parametrize(
    ("bring", "why"),
    [
        (foreign, "unable to get local issuer certificate"),
        (same_name, "unable to get local issuer certificate"),
        (for_servers, "unsuitable certificate purpose"),
        (expired, "certificate has expired"),
        (signed_by_a_leaf, "invalid CA certificate"),
    ],
)
def test_bad_client_certificates_are_refused(
    node: Node, make_node: MakeNode, bring: Callable[[Node, Node], Pair], why: str
) -> None:
    """A certificate of a foreign CA (even one of our CA's name), for servers, expired, or signed by a mere leaf
    ends the handshake at the server, which knows the reason; the client gets no answer."""
    outcome = connect(serving(node), calling(node, bring(node, make_node("beta"))))
    assert isinstance(outcome.server, ssl.SSLCertVerificationError)
    assert outcome.server.verify_message == why
    assert outcome.answer == b""


def test_bad_servers_are_refused_before_anything_is_sent(node: Node, make_node: MakeNode) -> None:
    """A server of another CA, of another name, or showing a client certificate is refused by the client, as a
    problem that says why."""
    beta = make_node("beta")
    cases = [
        (serving(node), calling(beta), "alpha.example", "self-signed certificate in certificate chain"),
        (serving(node), calling(node), "beta.example", "Hostname mismatch"),
        (serving(node), tls.client_context([]), "alpha.example", "self-signed certificate in certificate chain"),
        (tls.server_context(*peer_pair(node), ca(node).cert_pem), calling(node), "x", "unsuitable certificate purpose"),
    ]
    for at_server, at_client, name, why in cases:
        outcome = connect(at_server, at_client, name)
        assert isinstance(outcome.client, ssl.SSLCertVerificationError)
        assert outcome.server is not None, "the server never received the ping"
        try:
            raise RuntimeError("what a library makes of it") from outcome.client
        except RuntimeError as wrapped:
            problem = tls.failed_handshake(wrapped)
        assert problem is not None
        assert (problem.code, problem.exit_code) == ("remote_tls_failed", 5)
        assert why in problem.cause
    assert tls.failed_handshake(ConnectionRefusedError()) is None


def old_client(node: Node, version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca(node).cert_pem)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = version
    context.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "ciphers", "agreed"),
    [
        (ssl.TLSVersion.TLSv1_2, "ALL", True),
        (ssl.TLSVersion.TLSv1_1, "ALL", False),
        (ssl.TLSVersion.TLSv1, "ALL", False),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA", False),
    ],
    ids=["1.2", "1.1", "1.0", "no-forward-secrecy", "no-aead"],
)
def test_old_protocols_are_not_possible(node: Node, version: ssl.TLSVersion, ciphers: str, agreed: bool) -> None:
    """TLS 1.2 with forward secrecy and AEAD is the least that our server agrees to, whatever a client offers."""
    outcome = connect(serving(node), old_client(node, version, ciphers))
    assert (outcome.answer == b"pong") is agreed
    if agreed:
        assert outcome.version == "TLSv1.2"
        assert outcome.cipher.startswith("ECDHE-ECDSA-")
        assert "GCM" in outcome.cipher or "CHACHA20" in outcome.cipher


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(node: Node, version: ssl.TLSVersion) -> None:
    """The server hands out no ticket and resumes no session: each connection's certificate is verified."""
    at_server, at_client = serving(node), calling(node, peer_pair(node))
    at_client.maximum_version = version
    first = connect(at_server, at_client)
    assert first.answer == b"pong"
    assert first.session is None or not first.session.has_ticket
    again = connect(at_server, at_client, session=first.session)
    assert (again.answer, again.reused) == (b"pong", False)


def test_a_key_of_another_certificate_is_not_loaded(node: Node) -> None:
    """A pair that does not belong together is refused when the context is made."""
    chain, _ = own_pair(node, server(node))
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        tls.server_context(chain, signing.key_pem(KEY), ca(node).cert_pem)


def test_without_memfd_nothing_is_left_on_disk(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no memfd, a pair is loaded all the same, and its file is gone afterwards."""
    pair = peer_pair(node)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    outcome = connect(serving(node), calling(node, pair))
    assert outcome.certificate == ssl.PEM_cert_to_DER_cert(pair[0])
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_kept_context_is_another_when_what_it_is_made_of_is(node: Node) -> None:
    """The same anchors, pair and CRL give the context that is there; with one of them changed it is made anew."""
    anchor, pair, renewed = ca(node).cert_pem, peer_pair(node), peer_pair(node)
    with node.read() as session:
        crl = x509.load_der_x509_crl(signing.revocation_list(session, node.vault, node.clock.now()))
    crl_pem = crl.public_bytes(serialization.Encoding.PEM).decode()
    kept = tls.kept_client_context([anchor], pair)
    assert tls.kept_client_context([anchor], pair) is kept
    others: list[tuple[list[str] | None, Pair | None, str | None]] = [
        ([anchor], renewed, None),
        ([anchor], None, None),
        ([], pair, None),
        ([anchor], pair, crl_pem),
        (None, pair, None),
    ]
    assert len({id(kept), *(id(tls.kept_client_context(*one)) for one in others)}) == len(others) + 1


def test_a_kept_context_resumes_no_session(node: Node) -> None:
    """Two connections of one kept context are both verified from the beginning."""
    context = tls.kept_client_context([ca(node).cert_pem], peer_pair(node))
    for _ in range(2):
        outcome = connect(serving(node), context)
        assert (outcome.answer, outcome.reused) == (b"pong", False)
