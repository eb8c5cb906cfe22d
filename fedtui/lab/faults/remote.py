"""Faults of the network and of the other side."""

from __future__ import annotations

from datetime import timedelta

from fedtui.core.peers import peers
from fedtui.core.peers.peers import ENDED_THERE
from fedtui.lab.faults.model import HERE, THERE, Fault, Range, theirs, yours
from fedtui.lab.faults.staging import (
    WHY,
    calls_fail,
    caught_up,
    degraded,
    heard_meanwhile,
    long_ago,
    other_there,
    peer_of,
    proving_anew,
    quiet,
    reached_for_long,
    speaking,
)


def _peer_stopped(stand: Range) -> None:
    stand.stop(THERE)
    degraded(stand)


def _started_there(stand: Range) -> None:
    stand.start(THERE)


def _port_blocked(stand: Range) -> None:
    stand.stop(THERE)
    host, _, port = stand.url(THERE).removeprefix("https://").partition(":")
    stand.beside("fedtui.lab.black_hole", host, port)
    long_ago(stand)
    degraded(stand)


def _errors_there(stand: Range) -> None:
    stand.stop(THERE)
    stand.beside("fedtui.lab.fake_server", THERE, "503")
    calls_fail(stand, "remote_failing")


def _port_open(stand: Range) -> None:
    stand.stop_beside()
    stand.start(THERE)


def _stuck_unreachable(stand: Range) -> None:
    """Beta is gone while alpha lets it prove itself anew."""
    stand.stop(THERE)
    proving_anew(stand)
    calls_fail(stand, "remote_refused")


def _stuck_rejected(stand: Range) -> None:
    """Beta has suspended alpha, and so sends nothing; alpha lets it prove itself anew."""
    stand.act(THERE, "federation_peer_suspend", {"peer": stand.url(HERE), "reason": WHY})
    proving_anew(stand)
    calls_fail(stand, "remote_rejecting_auth")


def _gone_for_a_day(stand: Range) -> None:
    stand.stop(THERE)
    long_ago(stand)
    degraded(stand)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peers.lock(unit, peer_of(node).id)
        peers.note(unit, peer, degraded_at=(unit.now - timedelta(hours=30)).isoformat())


def _no_such_name(stand: Range) -> None:
    stand.act(HERE, "federation_peer_edit", {"peer": stand.url(THERE), "url": "https://no-such-host.invalid:8443"})
    calls_fail(stand, "remote_dns")
    heard_meanwhile(stand)


def _ended_there(stand: Range) -> None:
    """Beta's operators end the peering, and alpha has not been told otherwise than by their answer."""
    stand.act(THERE, "federation_peer_revoke", {"peer": stand.url(HERE), "reason": WHY})
    calls_fail(stand, ENDED_THERE)


def _peered_anew(stand: Range) -> None:
    """Alpha ends it too, beta proposes anew, alpha accepts."""
    stand.act(HERE, "federation_peer_revoke", {"peer": stand.url(THERE), "reason": WHY})
    stand.act(THERE, "federation_peer_propose", {"url": stand.url(HERE)})
    invite = stand.act(THERE, "federation_peer_token", {"peer": stand.url(HERE)})["invite"]
    stand.act(HERE, "federation_peer_accept", {"invite": invite})


def _clock_off(stand: Range) -> None:
    other_there(clock_offset=600)(stand)
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def noticed() -> bool | None:
            with node.read() as session:
                return abs(peers.get(session, peer_id).clock_skew_seconds or 0) > 300 or None

        stand.until("the clocks are compared", noticed)


def _clock_right(stand: Range) -> None:
    other_there(clock_offset=None)(stand)
    caught_up(stand, THERE)


def _rate_limited(stand: Range) -> None:
    other_there(heartbeats_per_minute=1, heartbeats_burst=1)(stand)
    calls_fail(stand, "remote_rate_limited")


def _silent_there(stand: Range) -> None:
    quiet(stand)
    long_ago(stand)
    degraded(stand)
    reached_for_long(stand)


def _undelivered(stand: Range) -> None:
    """What alpha signed for beta is not delivered, as its manager is paused; and beta is quiet."""
    quiet(stand)
    stand.act(HERE, "manager_pause", {"reason": WHY})
    proving_anew(stand)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peers.lock(unit, peer_of(node).id).enroll_owed = True
        unit.session.flush()


def _manager_resumed(stand: Range) -> None:
    stand.act(HERE, "manager_resume", {})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "peer-stopped",
        "beta's daemon is stopped",
        ("remote_unreachable",),
        _peer_stopped,
        mend=(theirs(_started_there),),
    ),
    Fault(
        "port-blocked",
        "nothing comes back from beta's port",
        ("remote_unreachable",),
        _port_blocked,
        mend=(theirs(_port_open),),
        symptom="degraded",
    ),
    Fault(
        "gone-a-day",
        "beta has been gone for more than a day",
        ("remote_unreachable", "gone_over_24h"),
        _gone_for_a_day,
        mend=(theirs(_started_there),),
        symptom="degraded",
    ),
    Fault("no-such-name", "alpha has a name for beta that does not resolve", ("one_way_partition",), _no_such_name),
    Fault(
        "stuck-unreachable",
        "beta is gone before it has proved itself",
        ("outbound_unreachable",),
        _stuck_unreachable,
        symptom="stuck_accepted",
        mend=(theirs(_started_there),),
    ),
    Fault(
        "stuck-rejected",
        "beta turns alpha away before either has proved itself",
        ("outbound_rejected",),
        _stuck_rejected,
        symptom="stuck_accepted",
    ),
    Fault(
        "undelivered",
        "what alpha signed for beta was never delivered",
        ("handshake_incomplete",),
        _undelivered,
        symptom="stuck_accepted",
        mend=(yours(_manager_resumed), theirs(speaking)),
    ),
    Fault("clock-skew", "beta's clock is ten minutes ahead", ("clock_skew",), _clock_off, mend=(theirs(_clock_right),)),
    Fault(
        "rate-limit",
        "beta takes one heartbeat a minute",
        ("remote_rate_limited",),
        _rate_limited,
        mend=(theirs(other_there(heartbeats_per_minute=600, heartbeats_burst=None)),),
    ),
    Fault(
        "errors-there",
        "what answers at beta's URL answers with errors",
        ("remote_failing",),
        _errors_there,
        mend=(theirs(_port_open),),
        symptom="degraded",
    ),
    Fault("ended-there", "beta has ended the peering", ("ended_there",), _ended_there, mend=(yours(_peered_anew),)),
    Fault(
        "silent-there",
        "beta answers and sends no heartbeats",
        ("silent_peer",),
        _silent_there,
        mend=(theirs(speaking),),
        symptom="degraded",
    ),
)
