"""Heartbeats that arrive, and the sweep over those that do not."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from fedtui.core.audit.events import Event, recent
from fedtui.core.errors import Refused
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import signing
from fedtui.core.protocol import client, heartbeat_sender, heartbeats
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit
from tests.conftest import ManualClock
from tests.core.test_peers import listening, new_peer, put_in


def beat(node: Node, peer_id: str, declared: Declared = Declared()) -> str:  # noqa: B008
    with node.unit(node.actor("test")) as unit:
        return heartbeats.record(unit, peer_id, declared).status


def status_of(node: Node, peer_id: str) -> str:
    with node.read() as session:
        return peers.get(session, peer_id).status


@pytest.mark.parametrize("before", ["accepted", "enrolled", "active", "degraded"])
def test_a_heartbeat_makes_a_peer_active(node: Node, clock: ManualClock, before: str) -> None:
    """From each state that may call, one heartbeat leads to active and is dated."""
    peer_id = new_peer(node)
    put_in(node, peer_id, before)
    clock.advance(seconds=30)
    assert beat(node, peer_id) == "active"
    with node.read() as session:
        assert peers.get(session, peer_id).last_heartbeat_at == clock.at


@pytest.mark.parametrize("before", ["proposed", "suspended", "revoked"])
def test_other_states_take_no_heartbeat(node: Node, before: str) -> None:
    """A peer that is not in service is turned away, and nothing of it changes."""
    peer_id = new_peer(node)
    put_in(node, peer_id, before)
    with pytest.raises(Refused):
        beat(node, peer_id, Declared(platform_version="9.9"))
    with node.read() as session:
        assert peers.get(session, peer_id).platform_version is None


def test_an_sdwan_peer_stays_accepted(node: Node, clock: ManualClock) -> None:
    """A heartbeat of an sdwan_only peer moves nothing, and the sweep ignores it."""
    peer_id = new_peer(node, kind="sdwan_only")
    put_in(node, peer_id, "accepted")
    assert beat(node, peer_id) == "accepted"
    clock.advance(hours=1)
    listening(node)
    assert job_tasks.sweep(node)["swept"] == 0


def test_what_is_not_said_is_kept(node: Node, clock: ManualClock) -> None:
    """A heartbeat overwrites what it declares and nothing else; the clock skew is kept."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    beat(node, peer_id, Declared(platform_version="1.2", data_residency="EU", sent_at=clock.at - timedelta(seconds=9)))
    beat(node, peer_id, Declared(platform_version="1.3"))
    with node.read() as session:
        peer = peers.get(session, peer_id)
        assert (peer.platform_version, peer.data_residency, peer.clock_skew_seconds) == ("1.3", "EU", -9.0)


def test_the_sweep_degrades_exactly_the_stale(node: Node, clock: ManualClock) -> None:
    """Active platforms older than five minutes are degraded, with reason and event; nothing else is touched."""
    stale = [new_peer(node, url=f"https://stale{n}.example") for n in range(3)]
    others = {status: new_peer(node, url=f"https://{status}.example") for status in peers.STATUSES}
    for peer_id in stale:
        put_in(node, peer_id, "active")
    for status, peer_id in others.items():
        put_in(node, peer_id, status)
    clock.advance(minutes=5, seconds=1)
    beat(node, others["active"])
    with node.unit(node.actor("test")) as unit:
        peers.note(unit, peers.lock(unit, stale[0]), kept="yes")
    listening(node)
    swept = job_tasks.sweep(node)
    assert (swept["swept"], sorted(swept["degraded_ids"])) == (3, sorted(stale))
    assert {status: status_of(node, peer_id) for status, peer_id in others.items()} == {s: s for s in peers.STATUSES}
    with node.read() as session:
        first = peers.get(session, stale[0])
        assert first.metadata_ == {
            "kept": "yes",
            "degraded_reason": "heartbeat stale (>5 minutes)",
            "degraded_at": clock.at.isoformat(),
        }
        found = recent(session, source="federation_heartbeat_sweep")
        assert sorted(str(event.peer_id) for event in found) == sorted(stale)
        assert {(event.kind, event.severity) for event in found} == {("federation.peer.heartbeat_stale", "medium")}
        assert len({event.correlation_id for event in found}) == 1
        assert len(set(session.scalars(select(Event.id)))) == len(list(session.scalars(select(Event.id))))
    assert job_tasks.sweep(node)["swept"] == 0


def test_exactly_five_minutes_is_not_stale(node: Node, clock: ManualClock) -> None:
    """The window is older than five minutes, not as old."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    clock.advance(minutes=5)
    listening(node)
    assert job_tasks.sweep(node)["swept"] == 0


@pytest.mark.parametrize("minutes_ago", [None, 0, 4])
def test_the_sweep_holds_back_after_our_own_downtime(node: Node, clock: ManualClock, minutes_ago: float | None) -> None:
    """Until the API has listened for one stale window, silence says nothing about the peers."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    clock.advance(hours=2)
    if minutes_ago is not None:
        listening(node, minutes_ago=minutes_ago)
    swept = job_tasks.sweep(node)
    assert (swept["swept"], swept["held_back"]) == (0, True)
    assert status_of(node, peer_id) == "active"


def test_recovery_clears_the_reason(node: Node, clock: ManualClock) -> None:
    """The heartbeat that brings a degraded peer back removes the reason and emits its recovery."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    clock.advance(minutes=6)
    listening(node)
    job_tasks.sweep(node)
    assert beat(node, peer_id) == "active"
    with node.read() as session:
        assert peers.get(session, peer_id).metadata_ == {}
        assert recent(session, kind="federation.peer.recovered", peer_id=peer_id)


def test_only_confirmed_endpoints_are_dialled(node: Node) -> None:
    """A declared endpoint elsewhere, also on another port of its host, is not called until an operator confirms it."""
    peer_id = new_peer(node, url="https://b.example:8443")
    declared: list[dict[str, object]] = [
        {"url": "https://10.0.0.5:9000", "scope": "lan", "priority": 1},
        {"url": "https://b.example:9443/", "scope": "wan", "priority": 50},
        {"url": "https://b.example:8443/federation", "scope": "wan", "priority": 40},
        {"url": 7},
        {"priority": 1},
        {"url": "https://b.example:1", "priority": "soon"},
    ]
    put_in(node, peer_id, "active")
    beat(node, peer_id, Declared(endpoints=declared))
    with node.read() as session:
        peer = peers.get(session, peer_id)
        assert client.endpoint_urls(peer) == ("https://b.example:8443/federation", "https://b.example:8443")
    node.request(
        node.actor("test"),
        "system.federation_peer_edit",
        {"peer": peer_id, "confirm_endpoint": "https://10.0.0.5:9000"},
    )
    with node.read() as session:
        urls = client.endpoint_urls(peers.get(session, peer_id))
    assert urls == ("https://10.0.0.5:9000", "https://b.example:8443/federation", "https://b.example:8443")


def test_outbound_failure_leaves_inbound_liveness_alone(node: Node, clock: ManualClock) -> None:
    """A call that fails is recorded as such, once as an event, and the peer stays active."""
    peer_id = new_peer(node, url="https://127.0.0.1:1")
    put_in(node, peer_id, "active")
    for _ in range(2):
        assert str(heartbeat_sender.send(node, peer_id)).startswith("remote_refused: ")
    with node.read() as session:
        peer = peers.get(session, peer_id)
        assert (peer.status, peer.last_outbound_at) == ("active", None)
        assert peer.last_outbound_error is not None
        assert len(recent(session, kind="federation.peer.outbound_failed")) == 1


def test_outcomes_are_written_several_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls begin one after the other, what comes of them goes to the disk a few times, not once for each."""
    wanted = [new_peer(node, url=f"https://p{n}.example") for n in range(20)]
    monkeypatch.setattr(heartbeat_sender, "_attempt", lambda *_: heartbeat_sender._Attempt())
    opened, unit = [], node.unit

    def counting(actor: Actor) -> AbstractContextManager[Unit]:
        opened.append(actor)
        return unit(actor)

    monkeypatch.setattr(node, "unit", counting)
    assert heartbeat_sender.send_to(node, wanted, partial_mtls="refuse", within=timedelta(seconds=60))["sent"] == 20
    assert len(opened) < 10
    with node.read() as session:
        assert all(peers.get(session, one).last_outbound_at is not None for one in wanted)


def test_a_call_that_went_as_the_one_before_leaves_its_time(node: Node, clock: ManualClock) -> None:
    """Sent again, or failed for the same reason again: the time is written, and nothing is told twice."""
    peer_id = new_peer(node, url="https://127.0.0.1:1")
    put_in(node, peer_id, "active")
    for well in (True, False):
        attempt = heartbeat_sender._Attempt(None if well else "remote_refused: no", pair_news=False)
        for number in range(3):
            clock.advance(minutes=1)
            with node.unit(heartbeats.JOB_ACTOR) as unit:
                heartbeat_sender._record_outbound(unit, peer_id, attempt)
            with node.read() as session:
                peer = peers.get(session, peer_id)
                assert peer.last_outbound_attempt_at == clock.at, number
                assert (peer.last_outbound_at == clock.at) is well
                assert peer.last_outbound_error == attempt.error
    with node.read() as session:
        assert len(recent(session, kind="federation.peer.outbound_failed")) == 1


def test_what_a_peer_offers_to_sign_is_kept_and_forgotten(node: Node, clock: ManualClock) -> None:
    """A request in an answer is kept until an answer comes without it, however alike the calls are else."""
    peer_id = new_peer(node, url="https://127.0.0.1:1")
    put_in(node, peer_id, "active")
    csr = signing.signing_request(signing.new_key(), "x")
    for answer, kept in (({}, None), ({"csr_pem": csr}, csr), ({"csr_pem": csr}, csr), ({}, None), ({}, None)):
        with node.unit(heartbeats.JOB_ACTOR) as unit:
            heartbeat_sender._record_outbound(
                unit, peer_id, heartbeat_sender._Attempt(None, None, answer, pair_news=False)
            )
        with node.read() as session:
            assert peers.get(session, peer_id).offered_csr_pem == kept


def test_calls_begin_one_after_the_other(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats go out a moment apart, so that those who call us get their turn; told to stop, none is waited for."""
    wanted, begun = [new_peer(node, url=f"https://p{n}.example") for n in range(6)], []

    def noting(_site: object, peer_id: str, _partial: str) -> heartbeat_sender._Attempt:
        begun.append((peer_id, time.monotonic()))
        return heartbeat_sender._Attempt()

    monkeypatch.setattr(heartbeat_sender, "_attempt", noting)
    began = time.monotonic()
    assert heartbeat_sender.send_to(node, wanted, partial_mtls="refuse", within=timedelta(seconds=60))["sent"] == 6
    assert sorted(begun, key=lambda one: one[1])[-1][1] - began >= 5 * heartbeat_sender.LONGEST_GAP
    node.stopping.set()
    begun.clear()
    many = wanted * 1000
    assert heartbeat_sender.send_to(node, many, partial_mtls="refuse", within=timedelta(hours=1))["postponed"] == len(
        many
    )
    assert not begun


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"),
    [
        ("1.2.0", "1.3.9", "compatible"),
        ("1.2.0", "1.4.0", "drift"),
        ("1.2", "2.2", "drift"),
        ("", "1.2", "unknown"),
        ("1.2", None, "unknown"),
        ("1.2", "main", "unknown"),
        ("1.2", "1.²", "unknown"),  # a digit, and no number
        ("1.2", "1." + "9" * 5000, "unknown"),
    ],
)
def test_schema_compatibility(ours: str, theirs: str | None, answer: str) -> None:
    """Same major version and at most one minor apart is compatible."""
    assert heartbeats.schema_compatibility(ours, theirs) == answer


def test_a_daemon_that_slept_counts_as_new(node: Node, clock: ManualClock) -> None:
    """A gap in a daemon's own sightings starts its listening time again, so the sweep holds back."""
    from fedtui.core.runtime import daemons

    listening(node)
    since: datetime | None
    clock.advance(minutes=30)
    with node.unit(node.actor("test")) as unit:
        daemons.seen(unit.session, node.holder, now=unit.now, ttl=node.settings.lease_ttl)
        since = daemons.listening_since(unit.session, now=unit.now, ttl=node.settings.lease_ttl)
    assert since == clock.at


@pytest.mark.sqlite
def test_the_idle_sweep_walks_no_peers(node: Node) -> None:
    """What the sweep asks first is answered from its own index, also where the planner has no statistics."""
    asked = str(heartbeats._stale_ids(node.clock.now()).compile(node.database.engine))
    with node.read() as session:
        plan = (
            session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", ("2026-01-01 00:00:00.000000",)).all()
        )
    assert "ix_peers_active_heartbeat (status=? AND last_heartbeat_at<?)" in str(plan)
