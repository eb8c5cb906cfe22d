"""The check from both sides: what the peer says it sees of this node, beside what this node sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedtui.core.diagnosis.checks.limits import CALL_SECONDS, FAR_LIMIT, SKEW_LIMIT
from fedtui.core.diagnosis.commands import HOW
from fedtui.core.diagnosis.model import CaseContext, Check, Outcome, State, in_words
from fedtui.core.errors import RemoteFailed
from fedtui.core.peers import peers
from fedtui.core.peers.peers import STATUSES, Peer
from fedtui.core.pki import anchors, certificates
from fedtui.core.pki.tls import pin_from
from fedtui.core.protocol import client, probe
from fedtui.core.runtime.durations import show

INTERVALS = 2
"""So many heartbeat intervals two states may differ: the next heartbeat brings them together."""
LONGEST_INTERVAL = timedelta(days=1)
"""Of heartbeats, that a remote is believed."""
MOST_PINS = 4
"""Fingerprints of a peer's that are shown."""
NO_VIEW: Mapping[str, tuple[State, str]] = {
    "remote_rejecting": ("skipped", "It has no diagnosis to give."),
    "remote_rate_limited": ("unknown", "It was asked too often within a minute, and does not say for now."),
}
"""Answers that say nothing of the peering. A limit on questions is none on heartbeats: what becomes of those is on
record."""


@dataclass(frozen=True, slots=True)
class Here:
    """What this node has: the peer's record, its own CA, and the CAs it knows the peer by (fingerprints)."""

    peer: Peer
    own_ca: str
    known: tuple[str, ...]


def _their_view(case: CaseContext) -> Outcome:
    """What the peer says it sees of this node."""
    with case.site.read() as session:
        peer = peers.get(session, case.subject.id)
        connection = client.connection_to(session, case.site, peer, now=case.now, partial_mtls="refuse")
        known = tuple(one.fingerprint for one in anchors.all_of(session, peer.id))
        here = Here(peer, certificates.own_ca(session).fingerprint, known)
    if connection.pair is None:
        return Outcome("skipped", "There is no certificate to ask with yet.")
    try:
        view = client.call(connection, probe.DIAGNOSIS, None, timeout=FAR_LIMIT, method="GET")
    except RemoteFailed as failure:
        state, said = NO_VIEW.get(failure.code, ("bad", f"{failure.problem} {failure.cause}".strip()))
        return Outcome(
            state,
            said,
            (case.seen("GET diagnosis", f"{failure.problem} {failure.cause}", "the peer"),),
            {"view_code": failure.code},
        )
    return compared(case, here, view)


def compared(case: CaseContext, here: Here, view: Mapping[str, Any]) -> Outcome:
    """Both views side by side, and what they do not agree on."""
    found = _disagreements(case, here, view)
    facts = {
        "view": view,
        "skew_now": _skew(case, view),
        "disagreements": found,
        "own_ca": here.own_ca,
        "sends_nothing": _sends_nothing(case, here.peer, view),
    }
    evidence = tuple(
        case.seen(what, f"here {in_words(ours or None)}; there {in_words(view.get(key) or None)}", "both sides")
        for what, key, ours in _both(case, here)
        if key in view
    )
    if found:
        return Outcome("bad", " ".join(found.values()), evidence, facts)
    soon = _states(case, here.peer, view)
    said = f"{soon[0]} The next heartbeat brings them together." if soon else "Both sides see the same."
    return Outcome("ok", said, evidence, facts)


def _both(case: CaseContext, here: Here) -> list[tuple[str, str, Any]]:
    """What is put side by side: its name, the field of the peer's view, and what this node has for it."""
    peer = here.peer
    return [
        ("clock", "now", case.site.clock.now().isoformat()),
        ("status of the other", "status", peer.status),
        ("which stands since, at the latest", "unchanged_since", _iso(peer.updated_at)),
        ("last heartbeat from the other", "last_heartbeat_at", _iso(peer.last_heartbeat_at)),
        ("last call to the other that worked", "last_outbound_at", _iso(peer.last_outbound_at)),
        (
            "code of the error of calls to the other",
            "last_outbound_code",
            (peer.last_outbound_error or "").partition(":")[0],
        ),
        ("pair presented to the other", "pair", case.fact("broken") or case.fact("pair_state")),
        ("the peer's CA, as known here and as it has it", "ca_fingerprint", ", ".join(here.known)),
        ("this node's CA, as it has it and as known there", "trusted_of_you", here.own_ca),
    ]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _disagreements(case: CaseContext, here: Here, view: Mapping[str, Any]) -> dict[str, str]:
    """What the two sides do not agree on, by what it is about, each in words that name both values."""
    said: dict[str, str] = {}
    states = _states(case, here.peer, view)
    if states is not None and states[1] > _grace(case, view):
        said["status"] = f"{states[0]} That has stood for {show(states[1])}."
    skew = _skew(case, view)
    if skew is not None and abs(skew) > SKEW_LIMIT:
        said["clock"] = f"The clocks differ by {abs(skew):.0f} s."
    there = _pins(view.get("trusted_of_you"))
    if there and here.own_ca not in there:
        said["own_ca"] = f"There, this node is known by the CA {', '.join(there[:MOST_PINS])}; it has {here.own_ca}."
    theirs = _pins([view.get("ca_fingerprint")])
    if theirs and here.known and theirs[0] not in here.known:
        said["its_ca"] = f"Here, it is known by the CA {', '.join(here.known[:MOST_PINS])}; it has {theirs[0]}."
    if (pair := view.get("pair")) not in ("complete", None):
        said["pair"] = f"Its own pair is not whole: {str(pair).replace('_', ' ')}."
    if view.get("last_outbound_code"):
        said["calls"] = (
            f"Its calls to this node fail: {HOW.get(str(view['last_outbound_code']), 'it does not say how')}."
        )
    return said


def _pins(given: Any) -> list[str]:
    """What of it is a fingerprint; a remote may say anything."""
    values = given if isinstance(given, list) else []
    return [pin for one in values if isinstance(one, str) and (pin := pin_from(one)) is not None]


def _states(case: CaseContext, peer: Peer, view: Mapping[str, Any]) -> tuple[str, timedelta] | None:
    """That the two have different states for each other, in words, and how long neither has changed; None where
    they agree, or where this node awaits no heartbeats of the peer."""
    there = view.get("status")
    if peer.peer_kind != "platform" or there not in STATUSES or there == peer.status:
        return None
    age = min(case.now - peer.updated_at, _unchanged_there(view))
    return f"Here it is {peer.status}, there this node is {there}.", max(age, timedelta(0))


def _unchanged_there(view: Mapping[str, Any]) -> timedelta:
    """How long the peer has had its state for this node, by its own clock. One that does not say is taken to have
    had it since what it does say happened last."""
    now = _moment(view, "now")
    keys = ("unchanged_since",) if "unchanged_since" in view else ("signed_at", "last_handshake_at")
    moments = [moment for key in keys if (moment := _moment(view, key)) is not None]
    return timedelta.max if now is None or not moments else now - max(moments)


def _grace(case: CaseContext, view: Mapping[str, Any]) -> timedelta:
    """How long two states may differ, by the longer of the two sides' intervals."""
    theirs = view.get("heartbeat_interval_seconds")
    seconds = (
        float(theirs) if isinstance(theirs, int | float) and 0 < theirs < LONGEST_INTERVAL.total_seconds() else 0.0
    )
    return INTERVALS * max(case.site.settings.heartbeat_interval, timedelta(seconds=seconds))


def _sends_nothing(case: CaseContext, peer: Peer, view: Mapping[str, Any]) -> bool:
    """Whether this node's own heartbeats to the peer have not gone out for longer than states may differ."""
    return peer.last_outbound_at is None or case.now - peer.last_outbound_at > _grace(case, view)


def _skew(case: CaseContext, view: Mapping[str, Any]) -> float | None:
    """Their clock less ours, in seconds."""
    there = _moment(view, "now")
    return None if there is None else (there - case.site.clock.now()).total_seconds()


def _moment(view: Mapping[str, Any], key: str) -> datetime | None:
    """A moment of the peer's, where it gives one that can be counted with."""
    try:
        moment = datetime.fromisoformat(str(view[key]))
    except (KeyError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


CHECKS: tuple[Check, ...] = (
    Check("their_view", "peer", "It sees what this node sees", _their_view, ("probe", "pair"), CALL_SECONDS),
)
