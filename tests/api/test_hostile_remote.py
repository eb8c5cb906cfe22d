"""What a peer, or whoever answers in its place, can do to us: nothing that lasts."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedtui.core.errors import Problem, Refused, RemoteFailed
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.operations.gate import Pending
from fedtui.core.peers import peers, tokens
from fedtui.core.pki import anchors, certificates, key_pairs, signing, tls
from fedtui.core.protocol import accept_client, accept_server, client, handshake, heartbeat_sender
from fedtui.core.protocol.client import Connection
from fedtui.core.runtime.actor import Actor
from tests.api.conftest import Serve, Served, accept_body, joined, proposed_with_token
from tests.api.test_mutual_tls import both_ends

REMOTE = Actor("peer", "test", origin="api 192.0.2.1")


@contextmanager
def answering(node: Node, answer: Callable[[ssl.SSLSocket], None]) -> Iterator[Connection]:
    """A TLS server with the node's own certificate that answers each connection as told."""
    with node.unit(REMOTE) as unit:
        row = signing.issue_for_server(unit, node.vault, hosts=["127.0.0.1"], lifetime=timedelta(days=1))
        key = signing.private_key_pem(unit.session, node.vault, row)
        ca = certificates.own_ca(unit.session).cert_pem
    context = tls.server_context(row.cert_pem + row.chain_pem, key, ca)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not stop.is_set():
                try:
                    raw, _ = server.accept()
                except OSError:
                    return
                with raw:
                    try:
                        with context.wrap_socket(raw, server_side=True) as secured:
                            secured.recv(65536)
                            answer(secured)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Connection((f"https://127.0.0.1:{server.getsockname()[1]}",), (ca,), None)
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def call(connection: Connection, seconds: float = 5) -> RemoteFailed:
    with pytest.raises(RemoteFailed) as failed:
        client.call(connection, "/x", {}, timeout=timedelta(seconds=seconds))
    return failed.value


def drip(content: bytes) -> Callable[[ssl.SSLSocket], None]:
    def answer(secured: ssl.SSLSocket) -> None:
        for byte in content:
            secured.sendall(bytes([byte]))
            time.sleep(0.05)  # the slowness is what is tested

    return answer


def send(content: bytes) -> Callable[[ssl.SSLSocket], None]:
    return lambda secured: secured.sendall(content)


def endless(secured: ssl.SSLSocket) -> None:
    secured.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        secured.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")


@pytest.mark.parametrize("content", [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 900, b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 900])
def test_a_dribbling_peer_is_cut_off_in_time(node: Node, content: bytes) -> None:
    """The time for a call bounds all of it: one byte now and then in headers or body does not help."""
    with answering(node, drip(content)) as connection:
        began = time.monotonic()
        assert call(connection, seconds=1).code == "remote_timeout"
        assert time.monotonic() - began < 10  # the dribble would take 45 s


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (endless, "remote_failing"),
        (
            send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"0" * 10_000_000)),
            "remote_failing",
        ),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]"), "remote_failing"),
        (send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "remote_rejecting"),
        (send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "remote_failing"),
        (send(b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"), "remote_rate_limited"),
        (send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), "remote_rejecting_auth"),
        (send(b"not http at all\r\n\r\n"), "remote_disconnected"),
        (send(b""), "remote_disconnected"),
    ],
)
def test_answers_that_cannot_be_used_are_named(node: Node, answer: Callable[[ssl.SSLSocket], None], code: str) -> None:
    """Endless, packed, odd, redirecting or refusing answers each end as a problem with its code."""
    with answering(node, answer) as connection:
        assert call(connection).code == code


def test_what_a_remote_sends_along_never_reaches_openssl(serve: Serve) -> None:
    """A key smuggled into ca_chain_pem is not stored, and the pair stays usable."""
    alpha, beta, alpha_peer, beta_peer = both_ends(serve)
    with beta.node.read() as session:
        row = accept_client._signed_for(session, beta_peer)
        assert row is not None
    smuggled = signing.key_pem(signing.new_key()).decode() + row.chain_pem
    with alpha.node.unit(REMOTE) as unit:
        certificate = key_pairs.current(unit.session, alpha_peer)
        assert certificate is not None
        unit.session.delete(unit.session.get(certificates.Certificate, certificate.certificate_id))
    accept_server.receive_certificate(alpha.node, alpha_peer, row.cert_pem, smuggled, REMOTE)
    assert heartbeat_sender.send(alpha.node, alpha_peer) is None


@pytest.mark.parametrize("fault", ["ca", "server", "expired"])
def test_a_certificate_that_cannot_be_presented_is_not_stored(serve: Serve, fault: str) -> None:
    """A CA, a server certificate, or an expired one is refused at `enroll`, though key and chain fit."""
    alpha, beta, alpha_peer, _ = both_ends(serve)
    with alpha.node.read() as session:
        pair = key_pairs.pair(session, alpha.node.vault, alpha_peer)
        assert pair.certificate is not None
        key = x509.load_pem_x509_certificate(pair.certificate.cert_pem.encode()).public_key()
    with beta.node.read() as session:
        authority = signing.open_authority(session, beta.node.vault)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if fault == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    now = alpha.node.clock.now()
    made = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(7)
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=-1 if fault == "expired" else 1))
        .add_extension(x509.BasicConstraints(ca=fault == "ca", path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    pem = certificates.to_pem(made)
    with pytest.raises(Refused) as refused:
        accept_server.receive_certificate(alpha.node, alpha_peer, pem, "", REMOTE)
    assert refused.value.code == ("cert_expired" if fault == "expired" else "cert_wrong_kind")


def test_one_peers_trouble_is_its_own(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one peer, even a bug, the others get their heartbeat."""
    alpha, _, _alpha_peer, _ = both_ends(serve)
    with alpha.node.unit(REMOTE) as unit:
        other = peers.add(unit, url="https://c.example")
        other.status, other.last_heartbeat_at = "active", unit.now
        other_id = other.id
    original = heartbeat_sender._attempt

    def failing(site: object, peer_id: str, partial: str) -> str | None:
        if peer_id == other_id:
            raise ZeroDivisionError
        return original(site, peer_id, partial)  # type: ignore[arg-type]

    monkeypatch.setattr(heartbeat_sender, "_attempt", failing)
    assert heartbeat_sender.send_all(alpha.node) == {"sent": 1, "failed": 1, "postponed": 0}


@pytest.mark.parametrize(
    "url",
    [
        "https://b.example/\x01",
        "http://b.example:9",
        "https://b.example/x?y=",
        "https://B.example",
        "https://b.example:9/#",
    ],
)
def test_unconfirmed_endpoints_must_be_plain_https(node: Node, url: str) -> None:
    """On its own host, too, a peer cannot have us dial clear text, or a URL that swallows our path."""
    with node.unit(REMOTE) as unit:
        peer = peers.add(unit, url="https://b.example")
        peer.endpoints = [{"url": url, "priority": 1}]
        assert client.endpoint_urls(peer) == ("https://b.example",)


def test_an_expired_certificate_is_refused_on_an_open_connection(served: Served) -> None:
    """TLS looked at the dates when the connection was made; we look at every request."""
    _, pair = joined(served)
    with served.client(pair) as connected:
        assert connected.post("/api/v1/system/federation_api/heartbeat", json={}).status_code == 200
        served.node.clock.advance(days=91)  # type: ignore[attr-defined]
        response = connected.post("/api/v1/system/federation_api/heartbeat", json={})
    assert (response.status_code, response.json()["error"]) == (401, "client certificate expired")


def test_enroll_is_rate_limited_and_greets_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivering the same certificate again and again costs us one greeting, and then 429."""
    alpha, beta, _alpha_peer, beta_peer = both_ends(serve)
    greeted: list[str] = []
    monkeypatch.setattr(handshake, "send_initial_heartbeat", lambda _node, peer_id: greeted.append(peer_id))
    with beta.node.read() as session:
        row = accept_client._signed_for(session, beta_peer)
        own = key_pairs.pair(session, beta.node.vault, beta_peer)
        assert row is not None
        assert own.certificate is not None
        assert own.private_key_pem is not None
        pair = own.certificate.cert_pem, own.private_key_pem
    body = {"certificate": {"cert_pem": row.cert_pem, "ca_chain_pem": row.chain_pem}}
    codes: list[int] = []
    while 429 not in codes and len(codes) < 100:  # on a busy machine the allowance comes back meanwhile
        codes.append(alpha.post("enroll", body, pair=pair).status_code)
    assert set(codes) == {200, 429}
    assert greeted == []


def _changed(answered: client.Exchange, change: dict[str, object]) -> client.Exchange:
    return answered._replace(data={**answered.data, **change})


def accept_at(node: Node, url: str, token: str, pin: str) -> str:
    """Ask for an accept, approve it, tick; how it ended."""
    actor = node.actor("test")
    asked = node.request(actor, "system.federation_peer_accept", {"url": url, "token": token, "ca_fingerprint": pin})
    assert isinstance(asked, Pending)
    node.approve(actor, asked.approval.id, asked.approval.digest)
    job_tasks.manager_tick(node, node.acts)
    with node.read() as session:
        return approvals.find(session, asked.approval.id).status


def pin_of(node: Node) -> str:
    with node.read() as session:
        return certificates.own_ca(session).fingerprint


def test_both_sides_may_accept_each_other(serve: Serve) -> None:
    """Both proposed and both accept: both approvals are carried out, and both sides get to active."""
    alpha, beta = serve("alpha", single_operator=True), serve("beta", single_operator=True)
    _, from_alpha = proposed_with_token(alpha.node, beta.node.url)
    _, from_beta = proposed_with_token(beta.node, alpha.node.url)
    ends: dict[str, str] = {}
    sides = ((beta, alpha, from_alpha), (alpha, beta, from_beta))
    threads = [
        threading.Thread(
            target=lambda me=me, other=other, token=token: ends.__setitem__(
                me.node.name, accept_at(me.node, other.node.url, token, pin_of(other.node))
            )
        )
        for me, other, token in sides
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "executed" in ends.values()
    for _ in range(2):
        for me, _other, _token in sides:
            job_tasks.manager_tick(me.node, me.node.acts)
            heartbeat_sender.send_all(me.node)
    for me, other, _ in sides:
        with me.node.read() as session:
            peer = peers.by_url(session, other.node.url)
            assert peer is not None
            assert (peer.status, key_pairs.pair_state(session, peer.id)) == ("active", "complete")


def test_an_accept_cut_off_after_the_answer_is_finished_by_the_next_run(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between keeping the answer and the delivery: the next manager finishes it, with no new token."""
    alpha, beta = serve("alpha"), serve("beta", single_operator=True)
    _, token = proposed_with_token(alpha.node, beta.node.url)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(accept_client, "deliver", die)
    with pytest.raises(Killed):
        accept_at(beta.node, alpha.node.url, token, pin_of(alpha.node))
    monkeypatch.undo()
    beta.node.clock.advance(minutes=3)  # type: ignore[attr-defined]
    assert job_tasks.manager_tick(beta.node, beta.node.acts)["executed"] == 1
    with beta.node.read() as session:
        peer = peers.by_url(session, alpha.node.url)
        assert peer is not None
        assert (peer.enroll_owed, key_pairs.pair_state(session, peer.id)) == (False, "complete")


def test_anchors_of_an_abandoned_invitation_are_forgotten(serve: Serve) -> None:
    """An accept that failed behind a wrong CA leaves no trust in it once the right one is accepted."""
    alpha, impostor, beta = serve("alpha"), serve("impostor"), serve("beta", single_operator=True)
    _, token = proposed_with_token(alpha.node, beta.node.url)
    with beta.node.unit(REMOTE) as unit:
        peer = peers.add(unit, url=alpha.node.url)
        with impostor.node.read() as theirs:
            for one in certificates.read_certificates(certificates.own_ca(theirs).cert_pem, field="ca"):
                anchors.add(unit, peer.id, one, source="invite")
    assert accept_at(beta.node, alpha.node.url, token, pin_of(alpha.node)) == "executed"
    with beta.node.read() as session:
        [anchor] = anchors.of_peer(session, peer.id)
        assert anchor.fingerprint == pin_of(alpha.node)


@pytest.mark.parametrize(
    "change",
    [
        {"contract_version_agreed": {"a": 1}},
        {"contract_version_agreed": 99},
        {"contract_version_agreed": True},
        {"contract_version_agreed": 2**70},
        {"certificate": None},
        {"certificate": "x"},
        {"csr_pem": "x"},
        {"ca_bundle_pem": None, "certificate": {"cert_pem": "x"}},
    ],
)
def test_an_answer_to_accept_that_makes_no_sense(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    """An answer outside the contract fails the request as a fault of the remote, and admits nobody."""
    alpha, beta = serve("alpha"), serve("beta", single_operator=True)
    _, token = proposed_with_token(alpha.node, beta.node.url)
    original = accept_client._call_accept
    monkeypatch.setattr(accept_client, "_call_accept", lambda *args: _changed(original(*args), change))
    assert accept_at(beta.node, alpha.node.url, token, pin_of(alpha.node)) == "failed"
    with beta.node.read() as session:
        [row] = approvals.listing(session)
        assert (row.error or {})["code"] == "remote_failing"
        peer = peers.by_url(session, alpha.node.url)
        assert peer is not None
        assert peer.status == "proposed"


def test_a_token_never_goes_out_in_clear_text(node: Node) -> None:
    """An accept over http is refused before anything is filed."""
    with pytest.raises(Problem) as refused:
        node.request(
            node.actor("test"),
            "system.federation_peer_accept",
            {"url": "http://b.example", "token": "t", "public_ca": True},
        )
    assert refused.value.code == "url_not_https"


def test_a_suspended_peer_cannot_repeat_its_accept(served: Served) -> None:
    """The idempotent retry is for peers in service."""
    peer_id, token = proposed_with_token(served.node)
    body = accept_body(token, csr_pem=signing.signing_request(signing.new_key(), "b"))
    assert served.post("accept", body).status_code == 200
    actor = served.node.actor("test")
    served.node.request(actor, "system.federation_peer_suspend", {"peer": peer_id, "reason": "x"})
    assert served.post("accept", body).status_code == 401
    with served.node.read() as session:
        assert tokens.newest(session, peer_id) is not None
