"""Between two nodes over real TLS: a peering that one side has ended, and certificates that are signed by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete

from fedtui.core.administration import operators
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Refused, RemoteFailed, WrongUsage
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, signing
from fedtui.core.protocol import handshake, heartbeat_sender
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import daemons
from fedtui.core.runtime.actor import Actor
from tests.api.conftest import ADA, Federated, Serve, act, federate
from tests.api.test_renewal import lose_key, pair_of, rows
from tests.conftest import ManualClock
from tests.core.test_playbook import alive


def codes(federated: Federated, side: str, **look: str) -> list[str]:
    """What the doctor finds at one side about peers and calls, with a daemon that runs."""
    node: Node = getattr(federated, side).node
    awake(node)
    found = node.diagnose(DiagnosisTarget(**look)).findings
    return [one.cause.code for one in found if one.subject.scope != "node"]


def awake(node: Node) -> None:
    """This process counts as the node's daemon, seen just now, with its jobs run."""
    with node.unit(ADA) as unit:
        unit.session.execute(delete(daemons.Daemon))
    alive(node)


def test_whose_peering_has_ended_is_told_so(federated: Federated) -> None:
    """A certificate that was signed here for a revoked peer: 401 `peering_ended`; without one it is unauthorized."""
    a, b = federated.a.node, federated.b
    pair = pair_of(a, federated.at_a)
    act(b.node, "federation_peer_revoke", {"peer": federated.at_b, "reason": "they were sold"})
    with b.client(pair) as client:
        answer = client.post(f"{PREFIX}/heartbeat", json={})
    assert (answer.status_code, answer.json()["code"]) == (401, "peering_ended")
    assert answer.json()["error"] == "client certificate revoked", "the words that operators search for stay"
    with b.client() as client:
        assert client.post(f"{PREFIX}/heartbeat", json={}).json()["code"] == "unauthorized"


def test_a_certificate_revoked_alone_ends_no_peering(federated: Federated) -> None:
    """Where the peer goes on and one certificate was revoked, the caller is not told that the peering has ended."""
    a, b = federated.a.node, federated.b
    [row] = rows(b.node, federated.at_b, "inbound")
    act(b.node, "federation_certificate_revoke", {"serial": row.serial, "reason": "lost laptop"})
    with b.client(pair_of(a, federated.at_a)) as client:
        assert client.post(f"{PREFIX}/heartbeat", json={}).json()["code"] == "unauthorized"


def test_after_the_other_side_revoked_the_way_back_is_told_and_works(serve: Serve) -> None:
    """The doctor names it; a new invite is refused with what to do first; done so, the peering is up again."""
    federated = federate(serve("alpha"), serve("beta"))
    a, b = federated.a.node, federated.b.node
    act(a, "federation_peer_revoke", {"peer": federated.at_a, "reason": "peering anew"})
    act(a, "federation_peer_propose", {"url": b.url})
    invite = {"invite": a.request(ADA, "system.federation_peer_token", {"peer": b.url}).result["invite"]}  # type: ignore[union-attr]
    with pytest.raises(Refused) as caught:
        act(b, "federation_peer_accept", invite)
    assert caught.value.code == "peer_exists"
    assert f"fedtui peers revoke {federated.at_b}" in caught.value.fix, "also before it is known that they have"
    assert (heartbeat_sender.send(b, federated.at_b) or "").startswith("peering_ended: ")
    assert codes(federated, "b") == ["ended_there"]
    with pytest.raises(Refused) as caught:
        act(b, "federation_peer_accept", invite)
    assert "Its operators have ended the old peering." in caught.value.fix
    act(b, "federation_peer_revoke", {"peer": federated.at_b, "reason": "ended there"})
    again = act(b, "federation_peer_accept", invite)
    with b.read() as session:
        assert peers.get(session, str(again["peer_id"])).status in ("accepted", "enrolled", "active")


def test_no_old_key_is_signed_for_a_peer_that_has_lost_it(federated: Federated) -> None:
    """Before its new request is made: refused, with when to try again; after: fetched, signed, delivered."""
    a, b = federated.a.node, federated.b.node
    lose_key(a, federated.at_a)
    with pytest.raises(Refused) as caught:
        act(b, "federation_certificate_mint", {"peer": federated.at_b})
    assert caught.value.code == "csr_missing"
    assert (heartbeat_sender.send(a, federated.at_a) or "").startswith("partial_mtls")
    job_tasks.manager_tick(a, a.acts)
    with b.read() as session:
        assert peers.get(session, federated.at_b).offered_csr_pem is None, "no heartbeat has fetched it yet"
    minted = act(b, "federation_certificate_mint", {"peer": federated.at_b})
    assert job_tasks.manager_tick(b, b.acts)["redelivered"] == 1
    assert rows(a, federated.at_a, "outbound")[-1].serial == minted["serial"]
    assert heartbeat_sender.send(a, federated.at_a) is None


def test_no_peer_is_asked_for_whoever_may_not_ask(federated: Federated) -> None:
    """An empty request is refused, and an operator without permission denied, before the peer is called."""
    a = federated.a.node
    federated.b.stop()
    with pytest.raises(WrongUsage) as empty:
        a.request(ADA, "system.federation_certificate_mint", {"peer": federated.at_a, "csr_pem": ""})
    assert empty.value.code == "csr_pem_invalid"
    with a.unit(ADA) as unit:
        operators.add(unit, "eve", [operators.VIEW])
    eve, mint = Actor("operator", "eve"), ("system.federation_certificate_mint", {"peer": federated.at_a})
    for attempt in (lambda: a.request(eve, *mint), lambda: gate.preview(a, a.acts, eve, *mint)):
        with pytest.raises(Refused) as denied:
            attempt()
        assert denied.value.code == "permission_missing"


def test_a_key_that_was_revoked_is_not_signed_again(federated: Federated) -> None:
    """Its operators have to make another: the refusal says how."""
    b = federated.b.node
    [row] = rows(b, federated.at_b, "inbound")
    act(b, "federation_certificate_revoke", {"serial": row.serial, "reason": "key on a lost laptop"})
    with pytest.raises(Refused) as caught:
        act(b, "federation_certificate_mint", {"peer": federated.at_b})
    assert (caught.value.code, "lost laptop" in caught.value.cause) == ("csr_missing", True)


def test_what_a_restored_peer_presents_is_what_is_signed(federated: Federated) -> None:
    """A peer that presents a certificate from before has that key: the newer one on record is not signed for."""
    a, b = federated.a.node, federated.b.node
    [old] = rows(a, federated.at_a, "outbound")
    with b.unit(ADA) as unit:
        authority = signing.open_authority(unit.session, b.vault)
        newer = handshake.sign_for(
            unit, b, peers.get(unit.session, federated.at_b), signing.new_key().public_key(), authority
        )
        certificates.first_use(unit, newer.id)
    minted = act(b, "federation_certificate_mint", {"peer": federated.at_b})
    [signed] = [row for row in rows(b, federated.at_b, "inbound") if row.serial == minted["serial"]]
    assert certificates.key_of(signed) == certificates.key_of(old)
    assert job_tasks.manager_tick(b, b.acts)["redelivered"] == 1
    assert heartbeat_sender.send(a, federated.at_a) is None


def test_a_peer_that_cannot_be_asked_gets_nothing_signed(federated: Federated, clock: ManualClock) -> None:
    """Unreachable, what it has now is not known: refused as such, with the way by file."""
    federated.a.stop()
    clock.advance(seconds=1)
    with pytest.raises(RemoteFailed) as caught:
        act(federated.b.node, "federation_certificate_mint", {"peer": federated.at_b})
    assert caught.value.code.startswith("remote_")
    assert "--csr" in caught.value.fix


def test_why_a_delivery_failed_is_kept(federated: Federated) -> None:
    """The reason stands on the peer's record, and goes once it is delivered."""
    a, b = federated.a.node, federated.b.node
    with b.unit(ADA) as unit:
        peer = peers.lock(unit, federated.at_b)
        authority = signing.open_authority(unit.session, b.vault)
        handshake.sign_for(unit, b, peer, signing.new_key().public_key(), authority)
        peer.enroll_owed = True
        unit.session.flush()
    job_tasks.manager_tick(b, b.acts)
    with b.read() as session:
        kept = peers.get(session, federated.at_b).metadata_[peers.DELIVERY_ERROR]
    assert kept.startswith("remote_rejecting: ")
    act(b, "federation_certificate_mint", {"peer": federated.at_b})
    job_tasks.manager_tick(b, b.acts)
    with b.read() as session:
        assert peers.DELIVERY_ERROR not in peers.get(session, federated.at_b).metadata_
    assert heartbeat_sender.send(a, federated.at_a) is None


def test_another_node_at_the_peers_address_is_named(serve: Serve, clock: ManualClock) -> None:
    """A third node answers where the peer should, while the peer's heartbeats go on: that, and no CA to be trusted."""
    federated, other = federate(serve("alpha"), serve("beta")), serve("gamma")
    a, b = federated.a.node, federated.b.node
    assert heartbeat_sender.send(b, federated.at_b) is None
    with a.unit(ADA) as unit:  # as a name or a forwarded port that leads elsewhere
        peers.lock(unit, federated.at_a).remote_instance_url = other.node.url
        unit.session.flush()
    assert (heartbeat_sender.send(a, federated.at_a) or "").startswith("remote_tls_failed")
    assert codes(federated, "a") == ["remote_tls_failed"], "nothing proves yet that the peer is elsewhere"
    clock.advance(seconds=5)
    assert heartbeat_sender.send(b, federated.at_b) is None
    awake(a)
    [finding] = [one for one in a.diagnose(DiagnosisTarget()).findings if one.subject.scope == "peer"]
    assert (finding.cause.code, finding.severity) == ("wrong_node", "critical")
    assert not any("trust" in fix.command for fix in finding.sense.fixes)


def test_a_peer_that_takes_heartbeats_and_sends_none_is_named(federated: Federated, clock: ManualClock) -> None:
    """Accepted for long, reached, and never heard: not that nothing is wrong; degraded: not that it is over."""
    a = federated.a.node
    act(a, "federation_peer_suspend", {"peer": federated.at_a, "reason": "test"})
    act(a, "federation_peer_resume", {"peer": federated.at_a})
    clock.advance(minutes=10)
    assert heartbeat_sender.send(a, federated.at_a) is None
    assert "never_heard" in codes(federated, "a")
    with a.unit(ADA) as unit:
        peer = peers.lock(unit, federated.at_a)
        peer.status, peer.last_heartbeat_at = "degraded", clock.now() - timedelta(minutes=10)
        unit.session.flush()
    assert codes(federated, "a") == ["silent_peer"]
