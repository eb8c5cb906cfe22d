"""Certificates from birth to renewal, between two nodes over real TLS: renewed, replaced, repaired, revoked."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from sqlalchemy import delete, select, update

from fedtui import daemon
from fedtui.core.audit import events
from fedtui.core.errors import Refused, RemoteFailed, WrongUsage
from fedtui.core.grants import decisions
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, key_pairs, signing, tls
from fedtui.core.pki import crl as crls
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.crl import PeerCrl
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.vault import SealedValue
from fedtui.core.pki.x509 import fingerprint, read_certificates, to_pem
from fedtui.core.protocol import heartbeat_sender, renewal
from fedtui.core.protocol.client import PREFIX
from fedtui.core.views import node_summary
from tests.api.conftest import ADA, Federated, Serve, Served, act, federate, joined
from tests.conftest import ManualClock
from tests.homes import until


def rows(node: Node, peer_id: str, direction: str) -> list[Certificate]:
    """The peer's certificates, oldest first."""
    with node.read() as session:
        query = select(Certificate).where(Certificate.peer_id == peer_id, Certificate.direction == direction)
        return list(session.scalars(query.order_by(Certificate.id)))


def kinds(node: Node) -> list[str]:
    with node.read() as session:
        return [event.kind for event in events.recent(session)]


def pair_of(node: Node, peer_id: str) -> tuple[str, bytes]:
    """What the node presents to a peer now."""
    with node.read() as session:
        pair = key_pairs.pair(session, node.vault, peer_id)
    assert pair.certificate is not None
    assert pair.private_key_pem is not None
    return pair.certificate.cert_pem, pair.private_key_pem


def set_certificate(node: Node, peer_id: str, **values: Any) -> None:
    with node.unit(ADA) as unit:
        of_peer = (Certificate.peer_id == peer_id, Certificate.direction == "outbound")
        unit.session.execute(update(Certificate).where(*of_peer).values(**values))


def lose_key(node: Node, peer_id: str) -> None:
    """Take the private key of the pair in use out of the vault."""
    with node.unit(ADA) as unit:
        current = key_pairs.current(unit.session, peer_id)
        assert current is not None
        unit.session.execute(delete(SealedValue).where(SealedValue.owner_id == current.id))


# --- renewal -------------------------------------------------------------------------------


def test_old_and_new_are_both_good_until_the_new_one_is_used(served: Served) -> None:
    """Renewed with a new key, a peer may go on with the old certificate; its first call with the new one ends that."""
    peer_id, old = joined(served)
    assert served.post("heartbeat", {}, pair=old).status_code == 200
    key = signing.new_key()
    answer = served.post("renew", {"csr_pem": signing.signing_request(key, "x")}, pair=old)
    assert answer.status_code == 200
    new = (answer.json()["data"]["certificate"]["cert_pem"], signing.key_pem(key))
    assert served.post("heartbeat", {}, pair=old).status_code == 200
    assert served.post("heartbeat", {}, pair=new).status_code == 200
    refused = served.post("heartbeat", {}, pair=old)
    assert (refused.status_code, refused.json()["error"]) == (401, "client certificate revoked")
    first, second = rows(served.node, peer_id, "inbound")
    assert (first.revocation_reason, first.superseded_at is not None, second.over) == ("superseded", True, False)
    with served.client() as client:
        crl = x509.load_der_x509_crl(client.get("/crl").content)
    entry = crl.get_revoked_certificate_by_serial_number(int(first.serial, 16))
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.superseded


def test_any_first_use_retires_the_old_one(served: Served) -> None:
    """Not only a heartbeat: whatever is called first with the new certificate."""
    _, old = joined(served)
    served.post("heartbeat", {}, pair=old)
    key = signing.new_key()
    answer = served.post("renew", {"csr_pem": signing.signing_request(key, "x")}, pair=old).json()["data"]
    new = (answer["certificate"]["cert_pem"], signing.key_pem(key))
    with served.client(new) as client:
        assert client.get(f"{PREFIX}/resources/doc/one").status_code == 401, "it has no grant; its certificate is good"
    assert served.post("enroll", {"certificate": {"cert_pem": "x"}}, pair=new).status_code == 422
    assert served.post("heartbeat", {}, pair=old).status_code == 401


def test_a_lost_answer_costs_nothing(served: Served) -> None:
    """The same request gets the same certificate again; another request ends the one that was never used."""
    peer_id, old = joined(served)
    served.post("heartbeat", {}, pair=old)
    csr = signing.signing_request(signing.new_key(), "x")
    first, again = (served.post("renew", {"csr_pem": csr}, pair=old).json()["data"]["certificate"] for _ in range(2))
    assert first == again
    other = served.post("renew", {"csr_pem": signing.signing_request(signing.new_key(), "x")}, pair=old)
    assert other.json()["data"]["certificate"]["serial"] != first["serial"]
    states = [row.revocation_reason for row in rows(served.node, peer_id, "inbound")]
    assert states == [None, "superseded", None]


@pytest.mark.parametrize(("body", "status"), [({}, 422), ({"csr_pem": "x"}, 422), ({"csr_pem": 7}, 422)])
def test_a_request_that_cannot_be_read_is_refused(served: Served, body: dict[str, Any], status: int) -> None:
    """422 with the field's name, and no certificate."""
    peer_id, pair = joined(served)
    served.post("heartbeat", {}, pair=pair)
    answer = served.post("renew", body, pair=pair)
    assert (answer.status_code, "csr_pem" in answer.text) == (status, True)
    assert len(rows(served.node, peer_id, "inbound")) == 1


def test_renewal_takes_an_enrolled_peer(served: Served) -> None:
    """A peer that is only accepted has not proved its present certificate, and is turned away."""
    _, pair = joined(served)
    csr = {"csr_pem": signing.signing_request(signing.new_key(), "x")}
    assert served.post("renew", csr, pair=pair).status_code == 401
    assert served.post("renew", csr).status_code == 401


def test_the_manager_renews_what_is_due(federated: Federated) -> None:
    """A tick asks the peer for the next certificate, uses it at once, and the old one is over on both sides."""
    a, b = federated.a.node, federated.b.node
    assert job_tasks.manager_tick(a, a.acts)["renewed"] == 0
    before = pair_of(a, federated.at_a)
    set_certificate(a, federated.at_a, renew_at=a.clock.now())
    assert job_tasks.manager_tick(a, a.acts)["renewed"] == 1
    after = pair_of(a, federated.at_a)
    assert (before[0] != after[0], before[1] != after[1]) == (True, True)
    assert [row.over for row in rows(a, federated.at_a, "outbound")] == [True, False]
    assert [row.over for row in rows(b, federated.at_b, "inbound")] == [True, False]
    assert job_tasks.manager_tick(a, a.acts)["renewed"] == 0
    assert "federation.certificate.renewed" in kinds(a)


def test_what_is_due_and_when(federated: Federated, clock: ManualClock) -> None:
    """Nothing before 75 % of the lifetime, everything after 80 %; nothing with a peer that is out of service."""
    a = federated.a.node
    [row] = rows(a, federated.at_a, "outbound")
    lifetime = row.not_after - row.not_before

    def due(share: float) -> list[str]:
        with a.read() as session:
            return renewal.due(session, row.not_before + lifetime * share)

    assert (due(0.749), due(0.801)) == ([], [federated.at_a])
    a.request(ADA, "system.federation_peer_suspend", {"peer": federated.at_a, "reason": "test"})
    assert due(0.9) == []


def test_renewals_are_spread() -> None:
    """Certificates issued at one moment are not due at one moment."""
    key, name = signing.new_key(), x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "x")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = {
        certificates.renewal_time(
            x509.CertificateBuilder(name, name, key.public_key(), number, start, start + timedelta(days=100)).sign(
                key, hashes.SHA256()
            )
        )
        for number in range(1, 21)
    }
    assert len(times) == 20
    assert start + timedelta(days=75) <= min(times) < max(times) <= start + timedelta(days=80)


def test_a_failing_renewal_waits_longer_and_is_loud_in_time(federated: Federated, clock: ManualClock) -> None:
    """Each failure doubles the wait; what was told is told again only when it has become graver; then it mends."""
    a = federated.a.node
    set_certificate(a, federated.at_a, renew_at=a.clock.now())
    federated.b.stop()
    waits = []
    for _ in range(3):
        with a.read() as session:
            assert renewal.due(session, a.clock.now()) == [federated.at_a]
        assert job_tasks.manager_tick(a, a.acts)["renewals_failed"] == 1
        with a.read() as session:
            pending = key_pairs.pending(session, federated.at_a)
            assert pending is not None
            assert pending.next_attempt_at is not None
            waits.append(pending.next_attempt_at - a.clock.now())
            assert renewal.due(session, a.clock.now()) == []
            assert (pending.last_error or "").startswith("remote_refused")
        clock.at = pending.next_attempt_at
    assert waits == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    failed = "federation.certificate.renewal_failed"
    assert kinds(a).count(failed) == 1
    clock.advance(days=80)
    job_tasks.manager_tick(a, a.acts)
    clock.advance(days=20)
    job_tasks.manager_tick(a, a.acts)
    with a.read() as session:
        told = [event.severity for event in events.recent(session, kind=failed)]
    assert told == ["critical", "high", "medium"]


def test_the_wait_between_attempts_is_bounded() -> None:
    """A minute at first; never more than six hours, nor more than a fiftieth of a short lifetime."""
    year = timedelta(days=365)
    assert renewal.wait_after(1, year) == timedelta(minutes=1)
    assert renewal.wait_after(10_000, year) == timedelta(hours=6)
    assert renewal.wait_after(10_000, timedelta(hours=10)) == timedelta(minutes=12)
    assert renewal.wait_after(10_000, timedelta(minutes=10)) == timedelta(minutes=1)


# --- half pairs ----------------------------------------------------------------------------


def test_a_lost_key_is_found_and_mended_from_both_ends(federated: Federated, caplog: pytest.LogCaptureFixture) -> None:
    """Without its key a node refuses to call and says so; its new request reaches the peer, whose operator signs
    it by one act; delivered, the pair is whole."""
    a, b = federated.a.node, federated.b.node
    lose_key(a, federated.at_a)
    with caplog.at_level(logging.WARNING):
        failure = heartbeat_sender.send(a, federated.at_a)
    assert (failure or "").startswith("partial_mtls")
    line = "[PeerClient] partial mTLS config — cert_pem=true, key_pem=false; "
    assert f"{line}refusing to call without client authentication" in caplog.messages
    assert rows(a, federated.at_a, "outbound")[0].problem == "key_missing"
    assert "federation.peer.pair_broken" in kinds(a)
    assert job_tasks.manager_tick(a, a.acts)["renewals_failed"] == 1

    assert heartbeat_sender.send(b, federated.at_b) is None
    with b.read() as session:
        assert peers.get(session, federated.at_b).offered_csr_pem is not None
    minted = act(b, "federation_certificate_mint", {"peer": federated.at_b})
    assert job_tasks.manager_tick(b, b.acts)["redelivered"] == 1
    assert rows(a, federated.at_a, "outbound")[-1].serial == minted["serial"]
    assert heartbeat_sender.send(a, federated.at_a) is None
    with a.read() as session:
        assert key_pairs.broken(session, a.vault, federated.at_a) is None


def test_a_lost_certificate_comes_again_by_itself(federated: Federated) -> None:
    """Where the delivery was lost after signing, the peer sees the same request offered, and delivers again."""
    a, b = federated.a.node, federated.b.node
    with a.unit(ADA) as unit:
        credential = key_pairs.prepare(unit, a.vault, federated.at_a, common_name="alpha")
        csr = credential.csr_pem
    act(b, "federation_certificate_mint", {"peer": federated.at_b, "csr_pem": csr})
    with b.read() as session:
        assert peers.get(session, federated.at_b).enroll_owed is False, "given by hand, it is carried by hand"
    assert heartbeat_sender.send(b, federated.at_b) is None
    assert job_tasks.manager_tick(b, b.acts)["redelivered"] == 1
    with a.read() as session:
        assert key_pairs.pending(session, federated.at_a) is None
        assert key_pairs.pair_state(session, federated.at_a) == "complete"


def test_half_a_pair_falls_back_where_the_node_is_set_so(
    federated: Federated, caplog: pytest.LogCaptureFixture
) -> None:
    """`partial_mtls = fallback`: the call goes out without a certificate, and the remote turns it away."""
    a = federated.a.node
    lose_key(a, federated.at_a)
    with caplog.at_level(logging.WARNING):
        failure = heartbeat_sender.send(a, federated.at_a, partial_mtls="fallback")
    assert (failure or "").startswith("remote_rejecting_auth")
    line = "[PeerClient] partial mTLS config — cert_pem=true, key_pem=false; falling back to plaintext"
    assert line in caplog.messages


@pytest.mark.parametrize("damage", ["mismatch", "vault_unreadable", "cert_missing"])
def test_every_way_a_pair_can_be_broken_is_told_apart(federated: Federated, damage: str) -> None:
    """Another key, a sealed value that does not open, no certificate: each by its own name, in what is kept, too."""
    a = federated.a.node
    with a.unit(ADA) as unit:
        current = key_pairs.current(unit.session, federated.at_a)
        assert current is not None
        sealed = SealedValue.owner_id == current.id
        if damage == "mismatch":
            owner = signing.Owner("credential", current.id)
            other = signing.key_pem(signing.new_key())
            a.vault.seal(unit.session, owner, signing.PRIVATE_KEY, other, unit.now)
        elif damage == "vault_unreadable":
            unit.session.execute(update(SealedValue).where(sealed).values(ciphertext=b"changed" * 8))
        else:
            unit.session.execute(update(Credential).where(Credential.id == current.id).values(certificate_id=None))
    failure = heartbeat_sender.send(a, federated.at_a) or ""
    assert failure.split(":")[0] in ("partial_mtls", "vault_unreadable")
    with a.read() as session:
        assert key_pairs.broken(session, a.vault, federated.at_a) == damage
    if damage != "cert_missing":
        assert rows(a, federated.at_a, "outbound")[0].problem == damage
    assert job_tasks.manager_tick(a, a.acts)["renewals_failed"] == 1, "it made a request, which waits to be signed"


# --- by hand -------------------------------------------------------------------------------


def test_the_runbooks_manual_repair(federated: Federated) -> None:
    """Request here, sign there, store here: the pair is whole, and the next call uses it."""
    a, b = federated.a.node, federated.b.node
    lose_key(a, federated.at_a)
    with a.unit(ADA) as unit:
        csr = key_pairs.prepare(unit, a.vault, federated.at_a, common_name="alpha").csr_pem
    minted = act(b, "federation_certificate_mint", {"peer": federated.at_b, "csr_pem": csr})
    stored = act(
        a,
        "federation_certificate_store",
        {"peer": federated.at_a, "cert_pem": minted["cert_pem"], "chain_pem": minted["chain_pem"]},
    )
    assert (stored["serial"], stored["unfinished"]) == (minted["serial"], None)


def test_a_supplied_pair_is_stored_with_its_key(federated: Federated) -> None:
    """A key made elsewhere, an RSA one, too, goes into the vault with its certificate."""
    a, b = federated.a.node, federated.b.node
    key = serialization.load_pem_private_key(signing.key_pem(signing.new_key()), password=None)
    minted = act(
        b,
        "federation_certificate_mint",
        {"peer": federated.at_b, "csr_pem": signing.signing_request(key, "x")},  # type: ignore[arg-type]
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    given = {"peer": federated.at_a, "cert_pem": minted["cert_pem"], "key_pem": plain.decode()}
    assert act(a, "federation_certificate_store", given)["unfinished"] is None
    assert pair_of(a, federated.at_a)[0] == minted["cert_pem"]


@pytest.mark.parametrize("wrong", ["key", "encrypted", "foreign", "garbage"])
def test_a_pair_that_no_call_could_use_is_refused(federated: Federated, wrong: str) -> None:
    """Another key, an encrypted key, another CA's certificate, no certificate: refused, and nothing is changed."""
    a, b = federated.a.node, federated.b.node
    before = pair_of(a, federated.at_a)
    key = signing.new_key()
    signer, peer_id = (a, federated.at_a) if wrong == "foreign" else (b, federated.at_b)
    csr = signing.signing_request(key, "x")
    minted = act(signer, "federation_certificate_mint", {"peer": peer_id, "csr_pem": csr})
    pem = signing.key_pem(signing.new_key() if wrong == "key" else key)
    if wrong == "encrypted":
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    cert = "no certificate" if wrong == "garbage" else minted["cert_pem"]
    given = {"peer": federated.at_a, "cert_pem": cert, "key_pem": pem.decode()}
    with pytest.raises((Refused, WrongUsage)) as caught:
        act(a, "federation_certificate_store", given)
    codes = {
        "key": "key_cert_mismatch",
        "encrypted": "key_invalid",
        "foreign": "trust_chain_mismatch",
        "garbage": "certificate_invalid",
    }
    assert caught.value.code == codes[wrong]
    assert pem.decode() not in repr(caught.value.as_dict())
    assert pair_of(a, federated.at_a) == before


def test_nothing_half_is_stored(federated: Federated) -> None:
    """A certificate whose key is gone from the vault is refused where it is stored."""
    a, b = federated.a.node, federated.b.node
    with a.unit(ADA) as unit:
        pending = key_pairs.prepare(unit, a.vault, federated.at_a, common_name="alpha")
        unit.session.execute(delete(SealedValue).where(SealedValue.owner_id == pending.id))
        csr = pending.csr_pem
    minted = act(b, "federation_certificate_mint", {"peer": federated.at_b, "csr_pem": csr})
    with pytest.raises(Refused) as caught:
        act(a, "federation_certificate_store", {"peer": federated.at_a, "cert_pem": minted["cert_pem"]})
    assert caught.value.code == "key_missing"


def test_revoked_by_an_act_it_ends_at_once(federated: Federated) -> None:
    """The peer's next call is refused, on an open connection, too; it asks for another and cannot get it so."""
    a, b = federated.a.node, federated.b.node
    with federated.b.client(pair_of(a, federated.at_a)) as client:
        assert client.post(f"{PREFIX}/heartbeat", json={}).status_code == 200
        [row] = rows(b, federated.at_b, "inbound")
        act(b, "federation_certificate_revoke", {"serial": row.serial, "reason": "key on a lost laptop"})
        assert client.post(f"{PREFIX}/heartbeat", json={}).status_code == 401
    with pytest.raises(RemoteFailed) as caught:
        renewal.renew(a, federated.at_a, ADA)
    assert caught.value.code == "remote_rejecting_auth"
    assert heartbeat_sender.send(b, federated.at_b) is None
    act(b, "federation_certificate_mint", {"peer": federated.at_b})
    assert job_tasks.manager_tick(b, b.acts)["redelivered"] == 1
    assert heartbeat_sender.send(a, federated.at_a) is None


@pytest.mark.parametrize("which", ["outbound", "ca"])
def test_only_what_this_node_signed_can_be_revoked(federated: Federated, which: str) -> None:
    """Neither the peer's signature nor the CA itself; the refusal says who can, or what to do instead."""
    a = federated.a.node
    with a.read() as session:
        row = certificates.own_ca(session) if which == "ca" else rows(a, federated.at_a, "outbound")[0]
    with pytest.raises(Refused) as caught:
        act(a, "federation_certificate_revoke", {"serial": row.serial, "reason": "test"})
    assert caught.value.code == "not_ours_to_revoke"


# --- CRL and anchors -----------------------------------------------------------------------


def test_a_peers_crl_is_honoured(federated: Federated) -> None:
    """A server certificate that its CA revoked is refused as soon as the CRL was fetched; its successor is taken."""
    a, b = federated.a.node, federated.b.node
    with a.read() as session:
        kept = crls.of_peer(session, federated.at_a)
        assert kept is not None
        assert (kept.covers, kept.revoked, kept.error) == (True, 0, None)
    with b.read() as session:
        server = certificates.current_server(session)
        assert server is not None
    act(b, "federation_certificate_revoke", {"serial": server.serial, "reason": "test"})
    with a.unit(ADA) as unit:
        unit.session.execute(update(PeerCrl).values(tried_at=a.clock.now() - timedelta(hours=2)))
    assert heartbeat_sender.send(a, federated.at_a) is None, "the CRL is fetched after this call"
    failure = heartbeat_sender.send(a, federated.at_a) or ""
    assert failure.startswith("remote_tls_failed")
    assert "revoked" in failure
    _, federated.b.listener.context = daemon.server_context(b)
    assert heartbeat_sender.send(a, federated.at_a) is None


def test_a_crl_that_names_another_is_told(federated: Federated) -> None:
    """One serial in the place of another is a change, though the list is as long; the same list again is none."""
    a, b = federated.a.node, federated.b.node
    with b.read() as session:
        authority = signing.open_authority(session, b.vault)

    def naming(serial: int) -> bytes:
        now = b.clock.now().replace(microsecond=0)
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        made = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject).last_update(now)
        made = made.next_update(now + timedelta(days=1)).add_revoked_certificate(entry)
        return made.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def told() -> int:
        with a.read() as session:
            return len(events.recent(session, kind="federation.peer.crl_changed"))

    for serial, times in ((7, 1), (7, 1), (8, 2)):
        with a.unit(ADA) as unit:
            assert crls.keep(unit, federated.at_a, crls.Fetched(naming(serial), None)) is None
        assert told() == times


def test_an_overdue_crl_is_not_held_against_a_peer(federated: Federated) -> None:
    """Past its next update it is shown as old, and calls go on."""
    a = federated.a.node
    with a.unit(ADA) as unit:
        past = a.clock.now() - timedelta(minutes=1)
        unit.session.execute(update(PeerCrl).values(next_update=past, tried_at=a.clock.now()))
    with a.read() as session:
        assert crls.to_check_by(session, federated.at_a, a.clock.now()) is None
    assert heartbeat_sender.send(a, federated.at_a) is None


def test_a_crl_of_another_ca_is_not_taken(federated: Federated, serve: Serve) -> None:
    """A list that none of the peer's anchors signed, or that is no list, leaves the one that was there."""
    a, stranger = federated.a.node, serve("gamma").node
    with stranger.read() as session:
        foreign = signing.revocation_list(session, stranger.vault, stranger.clock.now())
    for content, words in ((foreign, "not signed by"), (b"garbage", "cannot be read")):
        with a.unit(ADA) as unit:
            refused = crls.keep(unit, federated.at_a, crls.Fetched(content, None))
        assert words in (refused or "")
    with a.read() as session:
        kept = crls.of_peer(session, federated.at_a)
        assert kept is not None
        assert kept.covers


def test_two_cas_of_one_name_are_told_apart(serve: Serve) -> None:
    """Nodes of the same name have CAs of the same name: both are trusted side by side, and neither for the other."""
    a = serve("alpha")
    first = serve("beta")
    one = federate(a, first)
    namesake = _namesake(first)
    with a.node.unit(ADA) as unit:
        anchors.add(unit, one.at_a, namesake, source="test")
    for _ in range(3):
        assert heartbeat_sender.send(a.node, one.at_a) is None, "both are trusted; the right one is found by its key"
    with a.node.unit(ADA) as unit:
        anchors.forget(unit, one.at_a)
        anchors.add(unit, one.at_a, namesake, source="test")
    failure = heartbeat_sender.send(a.node, one.at_a) or ""
    assert failure.startswith("remote_tls_failed"), "the same name is not the same CA"
    found = a.node.probe(one.at_a, lambda _step: None)
    assert [fault.code for fault in found.faults] == ["unknown_ca"]
    assert "bears the name" in found.faults[0].words


def _namesake(of: Served) -> x509.Certificate:
    """Another CA with the very name of a node's."""
    with of.node.read() as session:
        [ca] = read_certificates(certificates.own_ca(session).cert_pem, field="ca")
    key = signing.new_key()
    start = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(ca.subject, ca.subject, key.public_key(), 7, start, start + timedelta(days=9))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )


def test_a_peer_is_known_by_another_ca_by_fingerprint_alone(federated: Federated) -> None:
    """A fingerprint that the server does not show changes nothing; the right one heals it."""
    a, b = federated.a.node, federated.b.node
    with b.read() as session:
        right = certificates.own_ca(session).fingerprint
    with a.unit(ADA) as unit:
        anchors.forget(unit, federated.at_a)
        anchors.add(unit, federated.at_a, _namesake(federated.b), source="test")
    assert (heartbeat_sender.send(a, federated.at_a) or "").startswith("remote_tls_failed")
    asked = {"peer": federated.at_a, "ca_fingerprint": "sha256:" + "ab" * 32}
    with pytest.raises(AssertionError):
        act(a, "federation_certificate_anchor", asked)
    assert (heartbeat_sender.send(a, federated.at_a) or "").startswith("remote_tls_failed")
    done = act(a, "federation_certificate_anchor", {"peer": federated.at_a, "ca_fingerprint": right})
    assert done["unfinished"] is None
    with a.read() as session:
        assert [one.fingerprint for one in anchors.of_peer(session, federated.at_a)] == [right]


# --- the server's own record ---------------------------------------------------------------


def kept_of(node: Node, peer_id: str | None = None) -> decisions.Decision:
    """The one decision on record, once it is there: it is written after the remote saw the disconnect."""

    def listed() -> list[decisions.Decision]:
        with node.read() as session:
            return decisions.listing(session, peer_id=peer_id)

    [kept] = until(listed, "it is recorded")
    return kept


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_refused_handshake_is_kept_with_what_was_presented(served: Served, version: ssl.TLSVersion) -> None:
    """Subject, issuer and fingerprint of a certificate that TLS refused stand beside the reason."""
    key, name = signing.new_key(), x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "fed:stranger")])
    start = datetime.now(UTC) - timedelta(days=9)
    own = x509.CertificateBuilder(name, name, key.public_key(), 5, start, start + timedelta(days=90))
    stranger = own.sign(key, hashes.SHA256())
    context = tls.client_context([served.ca_pem], (to_pem(stranger), signing.key_pem(key)))
    context.maximum_version = version
    with pytest.raises((httpx.TransportError, ssl.SSLError)), httpx.Client(verify=context, trust_env=False) as client:
        client.post(f"{served.node.url}{PREFIX}/heartbeat")
    caller = kept_of(served.node).context["caller"]
    assert (caller["subject"], caller["issuer"]) == ("CN=fed:stranger", "CN=fed:stranger")
    assert caller["fingerprint"] == fingerprint(stranger)


def _distrustful() -> ssl.SSLContext:
    return ssl.create_default_context()


def _outdated() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("AES128-GCM-SHA256")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("caller", "code"), [(_distrustful, "server_certificate_refused"), (_outdated, "protocol_mismatch")]
)
def test_a_caller_that_does_not_take_us_is_on_record(
    served: Served, caller: Callable[[], ssl.SSLContext], code: str
) -> None:
    """One that does not trust our CA and says so, and one with which no common TLS is to be had."""
    host, _, port = served.node.url.removeprefix("https://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, pytest.raises(OSError):
        caller().wrap_socket(plain, server_hostname=host)
    kept = kept_of(served.node)
    assert (kept.code, kept.call, kept.context["caller"]["source_ip"]) == (code, "tls", host)
    assert [(one["check"], one["passed"]) for one in kept.checks] == [("tls", False)]
    with served.node.read() as session:
        server = certificates.current_server(session)
        assert server is not None
        record = node_summary.certificate_record(session, served.node, server.id)
    assert record is not None
    assert [one["id"] for one in record.refused] == [kept.id]


def test_a_certificate_that_ran_out_names_its_peer(served: Served) -> None:
    """One that is on record and has expired is refused by TLS; the record says whose it is."""
    peer_id, _ = joined(served)
    key = signing.new_key()
    with served.node.unit(ADA) as unit:
        peer = peers.get(unit.session, peer_id)
        unit.now -= timedelta(days=3)
        authority = signing.open_authority(unit.session, served.node.vault)
        object.__setattr__(authority, "certificate", _older(authority.certificate))
        row = signing.issue_for_peer(
            unit,
            authority,
            peer_id=peer_id,
            instance_id=peer.node_instance_id,
            key=key.public_key(),
            lifetime=timedelta(days=1),
        )
    with pytest.raises(httpx.TransportError):
        served.post("heartbeat", {}, pair=(row.cert_pem, signing.key_pem(key)))
    kept = kept_of(served.node, peer_id)
    assert (kept.code, kept.context["caller"]["fingerprint"]) == ("cert_expired", row.fingerprint)


class _older:  # noqa: N801 - stands in for a certificate whose dates go further back
    """A CA certificate as if it had been made long ago."""

    def __init__(self, real: x509.Certificate) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name == "not_valid_before_utc":
            return self._real.not_valid_before_utc - timedelta(days=30)
        return getattr(self._real, name)


def test_a_401_is_kept_with_what_was_presented(served: Served) -> None:
    """A certificate of our CA that is not on record is turned away by the chain, with its subject on record."""
    peer_id, pair = joined(served)
    with served.node.unit(ADA) as unit:
        unit.session.execute(delete(Certificate).where(Certificate.peer_id == peer_id))
    assert served.post("heartbeat", {}, pair=pair).status_code == 401
    kept = kept_of(served.node)
    assert (kept.code, kept.context["caller"]["subject"]) == ("cert_unknown", f"CN=fed:{peer_id}")
    assert kept.context["caller"]["issuer"] == "CN=alpha federation CA"


def test_greeting_after_a_repair_is_told(federated: Federated) -> None:
    """What could not be finished is said in the result, not raised: the certificate is stored all the same."""
    a, b = federated.a.node, federated.b.node
    key = signing.new_key()
    minted = act(
        b, "federation_certificate_mint", {"peer": federated.at_b, "csr_pem": signing.signing_request(key, "x")}
    )
    federated.b.stop()
    given = {"peer": federated.at_a, "cert_pem": minted["cert_pem"], "key_pem": signing.key_pem(key).decode()}
    stored = act(a, "federation_certificate_store", given)
    assert str(stored["unfinished"]).startswith("remote_")
