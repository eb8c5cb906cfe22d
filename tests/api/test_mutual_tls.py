"""Calls that take a client certificate, and what TLS itself lets in."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
from datetime import timedelta

import httpx
import pytest
from cryptography import x509

from fedtui import daemon
from fedtui.api import listener as listening
from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.operations.gate import Pending
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, key_pairs, signing, tls
from fedtui.core.pki.x509 import read_certificates
from fedtui.core.protocol import handshake, heartbeat_sender
from fedtui.core.runtime.actor import Actor
from tests.api.conftest import Federated, Serve, Served, joined, proposed_with_token


def test_a_heartbeat_over_mutual_tls_makes_the_peer_active(served: Served) -> None:
    """The certificate just received proves the peer: accepted, enrolled, active in one call."""
    peer_id, pair = joined(served)
    response = served.post("heartbeat", {"platform_version": "1.0", "sent_at": "2026-01-01T00:00:00Z"}, pair=pair)
    assert response.status_code == 200
    data = response.json()["data"]
    assert set(data) == {"status", "last_heartbeat_at", "our_endpoints", "schema_compatibility"}
    assert data["status"] == "active"
    assert data["our_endpoints"][0]["url"] == served.node.url
    with served.node.read() as session:
        assert peers.get(session, peer_id).status == "active"


def test_an_empty_heartbeat_counts(served: Served) -> None:
    """Every heartbeat field is optional, the body itself too."""
    _, pair = joined(served)
    with served.client(pair) as client:
        assert client.post("/api/v1/system/federation_api/heartbeat").status_code == 200


@pytest.mark.parametrize("path", ["heartbeat", "enroll"])
def test_without_a_certificate_there_is_no_call(served: Served, path: str) -> None:
    """mTLS calls without a client certificate are 401."""
    response = served.post(path, {})
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")


def test_revocation_holds_on_an_open_connection(served: Served) -> None:
    """A certificate revoked meanwhile is refused on the next request of the same connection."""
    peer_id, pair = joined(served)
    with served.client(pair) as client:
        assert client.post("/api/v1/system/federation_api/heartbeat", json={}).status_code == 200
        with served.node.unit(Actor("operator", "ada")) as unit:
            assert certificates.revoke_for_peer(unit, peer_id, "key_compromise") == 1
        response = client.post("/api/v1/system/federation_api/heartbeat", json={})
    assert (response.status_code, response.json()["error"]) == (401, "client certificate revoked")


def test_a_suspended_peer_is_turned_away_until_resumed(served: Served) -> None:
    """Suspension works on the next call; resumed, a heartbeat proves the peer again."""
    peer_id, pair = joined(served)
    actor = served.node.actor("test")
    served.node.request(actor, "system.federation_peer_suspend", {"peer": peer_id, "reason": "test"})
    assert served.post("heartbeat", {}, pair=pair).status_code == 401
    served.node.request(actor, "system.federation_peer_resume", {"peer": peer_id})
    assert served.post("heartbeat", {}, pair=pair).json()["data"]["status"] == "active"


def test_a_foreign_certificate_is_refused_by_tls(served: Served, serve: Serve) -> None:
    """A certificate of another CA does not get as far as HTTP."""
    other = serve("beta")
    _, foreign = joined(other)
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        served.post("heartbeat", {}, pair=foreign)


def test_our_own_server_certificate_is_no_client_certificate(served: Served) -> None:
    """Without clientAuth, even a certificate of our own CA is refused by TLS."""
    with served.node.read() as session:
        row = certificates.current_server(session)
        assert row is not None
        pair = row.cert_pem, signing.private_key_pem(session, served.node.vault, row)
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        served.post("heartbeat", {}, pair=pair)


def test_too_many_heartbeats_of_one_peer(served: Served) -> None:
    """Past the burst of ten: 429 for that peer, while another is still heard."""
    _, pair = joined(served)
    _, other = joined(served, "https://c.example")
    with served.client(pair) as client:
        answers = [client.post("/api/v1/system/federation_api/heartbeat", json={}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert served.post("heartbeat", {}, pair=other).status_code == 200


def test_who_looks_too_often_finds_nothing_wrong(federated: Federated) -> None:
    """Asked for its view again and again the peer answers 429: that is said, and is no limit on heartbeats."""
    node, wanted = federated.a.node, DiagnosisTarget(peer=federated.at_a)
    for _ in range(60):  # on a busy machine the allowance comes back meanwhile
        found = engine.diagnose(node, node.acts, wanted)
        [view] = [seen.outcome for seen in found.seen if seen.check.name == "their_view"]
        if view.state != "ok":
            break
    assert (view.state, "asked too often" in view.said) == ("unknown", True)
    assert "HTTP 429" in view.evidence[0].value
    assert not [one.cause.code for one in found.findings if one.subject.scope == "peer"]


def test_the_crl_lists_what_was_revoked(served: Served) -> None:
    """The CRL is DER under our CA's signature and grows with each revocation, at once."""
    peer_id, pair = joined(served)
    serial = x509.load_pem_x509_certificate(pair[0].encode()).serial_number
    with served.client() as client:
        before = x509.load_der_x509_crl(client.get("/crl").content)
        assert before.get_revoked_certificate_by_serial_number(serial) is None
        with served.node.unit(Actor("operator", "ada")) as unit:
            certificates.revoke_for_peer(unit, peer_id, "superseded")
        response = client.get("/crl")
    crl = x509.load_der_x509_crl(response.content)
    assert response.headers["Content-Type"] == "application/pkix-crl"
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    [ca] = read_certificates(served.ca_pem, field="ca")
    assert crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("configured", "sent", "status"),
    [("", None, 401), ("", "", 401), ("s3cret", None, 401), ("s3cret", "wrong", 401), ("s3cret", "s3cret", 200)],
)
def test_the_worker_sweep_takes_its_token(serve: Serve, configured: str, sent: str | None, status: int) -> None:
    """Only the configured worker token runs the sweep; without one configured nobody does."""
    served = serve("alpha", worker_token=configured)
    headers = {} if sent is None else {"X-Worker-Token": sent}
    with served.client() as client:
        response = client.post("/api/v1/system/worker_api/federation/heartbeat_sweep", headers=headers)
    assert response.status_code == status
    if status == 200:
        assert set(response.json()["data"]) == {"swept", "degraded_ids", "ran_at"}


def test_the_server_sends_its_root_and_no_tickets(served: Served) -> None:
    """The chain ends in the root, so that it can be pinned, and no session can be resumed."""
    host, port = "127.0.0.1", int(served.node.url.rpartition(":")[2])
    chain = tls.presented_chain(host, port, timeout=5)
    [ca] = read_certificates(served.ca_pem, field="ca")
    assert tls.find_pinned(chain, f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(served.ca_pem)).hexdigest()}") == ca
    context = tls.client_context([served.ca_pem])
    with (
        socket.create_connection((host, port)) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        secured.sendall(b"GET /crl HTTP/1.1\r\nHost: x\r\n\r\n")
        secured.recv(100)
        assert secured.version() == "TLSv1.3"
        assert secured.session is None or not secured.session.has_ticket


def test_a_renewed_certificate_serves_the_next_connection(served: Served) -> None:
    """Replacing the context takes effect on the next connection; open ones go on."""
    host, port = "127.0.0.1", int(served.node.url.rpartition(":")[2])
    before = tls.presented_chain(host, port, timeout=5)[0]
    with served.client() as client:
        client.get("/crl")
        with served.node.unit(Actor("job", "test")) as unit:
            signing.issue_for_server(
                unit, served.node.vault, hosts=["127.0.0.1"], lifetime=served.node.settings.leaf_lifetime
            )
        _, served.listener.context = daemon.server_context(served.node)
        assert client.get("/crl").status_code == 200
    assert tls.presented_chain(host, port, timeout=5)[0] != before


def test_connections_are_bounded_per_address(serve: Serve) -> None:
    """One more than allowed is closed at once; when one ends, there is room again."""
    served = serve("alpha", connections_per_address=2)
    address = ("127.0.0.1", int(served.node.url.rpartition(":")[2]))
    context = tls.client_context([served.ca_pem])

    def connect() -> ssl.SSLSocket:
        return context.wrap_socket(socket.create_connection(address, timeout=5), server_hostname="127.0.0.1")

    held = [connect(), connect()]
    with pytest.raises(OSError):
        connect()
    held.pop().close()
    closed = threading.Event()

    async def wait_for_room() -> None:
        while served.listener.open_connections >= 2:  # noqa: ASYNC110 - a test may poll
            await asyncio.sleep(0.01)
        closed.set()

    asyncio.run_coroutine_threadsafe(wait_for_room(), served.loop).result(5)
    held.append(connect())
    for one in held:
        one.close()


def test_a_silent_connection_is_dropped(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """A client that never begins TLS is hung up on after the handshake time."""
    monkeypatch.setattr(listening, "HANDSHAKE_SECONDS", 0.2)
    served = serve()
    with socket.create_connection(("127.0.0.1", int(served.node.url.rpartition(":")[2])), timeout=5) as silent:
        assert silent.recv(1) == b""


def both_ends(serve: Serve) -> tuple[Served, Served, str, str]:
    """Two listening nodes that have gone through the whole handshake."""
    alpha, beta = serve("alpha"), serve("beta", single_operator=True)
    alpha_peer, token = proposed_with_token(alpha.node, beta.node.url)
    with alpha.node.read() as session:
        pin = certificates.own_ca(session).fingerprint
    actor = beta.node.actor("test")
    asked = beta.node.request(
        actor,
        "system.federation_peer_accept",
        {"url": alpha.node.url, "token": token, "ca_fingerprint": pin},
    )
    assert isinstance(asked, Pending)
    beta.node.approve(actor, asked.approval.id, asked.approval.digest)
    from fedtui.core.jobs import tasks as job_tasks

    assert job_tasks.manager_tick(beta.node, beta.node.acts)["executed"] == 1
    with beta.node.read() as session:
        beta_peer = peers.by_url(session, alpha.node.url)
        assert beta_peer is not None
    return alpha, beta, alpha_peer, beta_peer.id


def test_the_whole_handshake(serve: Serve) -> None:
    """After one accept both sides hold complete pairs signed by each other's CA, and both are active."""
    alpha, beta, alpha_peer, beta_peer = both_ends(serve)
    handshake.send_initial_heartbeat(alpha.node, alpha_peer)
    for served, peer_id, other in ((alpha, alpha_peer, beta), (beta, beta_peer, alpha)):
        with served.node.read() as session, other.node.read() as theirs:
            peer = peers.get(session, peer_id)
            assert (peer.status, key_pairs.pair_state(session, peer_id)) == ("active", "complete")
            assert (peer.last_outbound_error, peer.enroll_owed) == (None, False)
            assert peer.last_handshake_at is not None
            [anchor] = anchors.of_peer(session, peer_id)
            assert anchor.fingerprint == certificates.own_ca(theirs).fingerprint


def test_a_lost_delivery_is_repeated_by_the_manager(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """If `enroll` is lost, the inviting side has a key without a certificate, says so in the runbook's
    words, and the manager's next tick finishes the handshake."""
    from fedtui.core.jobs import tasks as job_tasks

    alpha, beta, alpha_peer, beta_peer = both_ends(serve)
    with alpha.node.unit(Actor("operator", "ada")) as unit:
        credential = key_pairs.current(unit.session, alpha_peer)
        assert credential is not None
        credential.certificate_id, credential.state = None, "pending"
    with beta.node.unit(Actor("operator", "ada")) as unit:
        peers.get(unit.session, beta_peer).enroll_owed = True
    assert str(heartbeat_sender.send(alpha.node, alpha_peer)).startswith("partial_mtls: ")
    assert (
        "[PeerClient] partial mTLS config — cert_pem=false, key_pem=true; "
        "refusing to call without client authentication" in caplog.text
    )
    assert job_tasks.manager_tick(beta.node, beta.node.acts)["redelivered"] == 1
    assert heartbeat_sender.send(alpha.node, alpha_peer) is None


def test_a_wrong_pin_stops_before_the_token_is_sent(serve: Serve) -> None:
    """Where the server's CA is not the invitation's, nothing is sent and the token stays good."""
    from fedtui.core.jobs import tasks as job_tasks
    from fedtui.core.operations import approvals
    from fedtui.core.peers import tokens

    alpha, beta = serve("alpha"), serve("beta", single_operator=True)
    alpha_peer, token = proposed_with_token(alpha.node, beta.node.url)
    actor = beta.node.actor("test")
    params = {"url": alpha.node.url, "token": token, "ca_fingerprint": "sha256:" + "ab" * 32}
    asked = beta.node.request(actor, "system.federation_peer_accept", params)
    assert isinstance(asked, Pending)
    beta.node.approve(actor, asked.approval.id, asked.approval.digest)
    job_tasks.manager_tick(beta.node, beta.node.acts)
    with beta.node.read() as session:
        row = approvals.find(session, asked.approval.id)
        assert (row.error or {})["code"] == "ca_fingerprint_mismatch"
    with alpha.node.read() as session:
        live = tokens.live(session, alpha_peer)
        assert live is not None
        assert live.state == "issued"


def test_a_hundred_dead_peers_do_not_delay_a_living_one(serve: Serve) -> None:
    """The living peer is reached before the first of a hundred silent ones has timed out."""
    alpha, _beta, alpha_peer, _ = both_ends(serve)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        port = silent.getsockname()[1]
        with alpha.node.unit(Actor("operator", "ada")) as unit:
            for number in range(100):
                peer = peers.add(unit, url=f"https://127.0.0.1:{port}/{number}")
                peer.status, peer.last_heartbeat_at = "active", unit.now
                # They look healthy, and longest untried: the worst order for the living one.
                peer.last_outbound_at = peer.last_outbound_attempt_at = unit.now - timedelta(hours=1)
        finished: list[str] = []
        original = heartbeat_sender._record_outbound

        def noting(unit: object, peer_id: str, error: str | None) -> None:
            finished.append(peer_id)
            original(unit, peer_id, error)  # type: ignore[arg-type]

        heartbeat_sender._record_outbound = noting  # type: ignore[assignment]
        try:
            object.__setattr__(alpha.node.settings, "outbound_timeout", alpha.node.settings.outbound_timeout / 2)
            tally = heartbeat_sender.send_all(alpha.node)
        finally:
            heartbeat_sender._record_outbound = original
    assert tally == {"sent": 1, "failed": 100, "postponed": 0}
    assert finished[0] == alpha_peer
