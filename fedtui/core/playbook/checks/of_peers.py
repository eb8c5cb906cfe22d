"""Checks of a peer: its record, the pair, its tokens, the way to it, and what it sees of this node."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fedtui.core.errors import RemoteFailed
from fedtui.core.peering import client, peers, probing, tokens
from fedtui.core.peering.peers import MAY_HEARTBEAT, Peer
from fedtui.core.playbook.checks.limits import FAR_LIMIT, REFUSALS_SINCE, SKEW_LIMIT
from fedtui.core.playbook.model import Case, Check, Evidence, Outcome
from fedtui.core.record import events
from fedtui.core.trust import anchors, certificates, credentials


def _record(case: Case) -> Outcome:
    """The peer as this node has it on record."""
    with case.site.read() as session:
        peer = peers.get(session, case.subject.id)
    age = case.now - peer.last_heartbeat_at if peer.last_heartbeat_at else None
    since = peer.signed_at or peer.updated_at
    degraded_at = peer.metadata_.get("degraded_at")
    facts = {
        "peer": peer,
        "status": peer.status,
        "url": peer.remote_instance_url,
        "waiting_for": case.now - since,
        "heartbeat_age": age,
        "error": peer.last_outbound_error,
        "error_code": (peer.last_outbound_error or "").partition(":")[0],
        "degraded_for": case.now - datetime.fromisoformat(degraded_at) if degraded_at else None,
        "skew": peer.clock_skew_seconds,
        "in_maintenance": peer.maintenance_until is not None and peer.maintenance_until > case.now,
        "drill": peer.drill_mode and peer.status == "proposed",
    }
    evidence = (
        case.seen("status", peer.status, "peers"),
        case.seen("last heartbeat from it", peer.last_heartbeat_at, "peers"),
        case.seen("last call to it that worked", peer.last_outbound_at, "peers"),
        case.seen("last error of a call to it", peer.last_outbound_error, "peers"),
        *((case.seen("degraded reason", peer.metadata_["degraded_reason"], "peers"),)
          if "degraded_reason" in peer.metadata_ else ()),
    )  # fmt: skip
    healthy = peer.status == "active" and not peer.last_outbound_error
    return Outcome("ok", f"It is {peer.status}{'' if healthy else '; ' + (peer.last_outbound_error or 'no error')}.",
                   evidence, facts)  # fmt: skip


def _pair(case: Case) -> Outcome:
    """Whether what this node presents to the peer is whole, with the vault opened."""
    with case.site.read() as session:
        broken = credentials.broken(session, case.site.vault, case.subject.id)
        state = credentials.pair_state(session, case.subject.id)
        waiting = credentials.pending(session, case.subject.id)
        current = credentials.current(session, case.subject.id)
    evidence = (
        case.seen("pair", broken or state, "credentials, vault"),
        case.seen("a request waits to be signed", waiting is not None, "credentials"),
    )
    facts = {
        "broken": broken,
        "pair_state": state,
        "request_waits": waiting is not None,
        "has_pair": current is not None,
    }
    said = {"complete": "Certificate and key are there and belong together.", "none": "There is no pair yet."}
    if broken is not None:
        return Outcome("bad", f"The pair is not whole: {broken.replace('_', ' ')}.", evidence, facts)
    return Outcome("ok", said.get(state, state), evidence, facts)


def _refusals(case: Case) -> Outcome:
    """Why `accept` was refused to this peer lately, and what became of its tokens."""
    with case.site.read() as session:
        peer = peers.get(session, case.subject.id)
        newest = tokens.newest(session, peer.id)
        found = events.recent(
            session, kind="federation.peer.accept_refused", peer_id=peer.id, since=case.now - REFUSALS_SINCE, limit=5
        )
    since = newest.issued_at if newest is not None and newest.state == "issued" else None
    # A token made after a refusal has answered it; a peer that came in has no need of one.
    current = [one for one in found if peer.status == "proposed" and (since is None or one.emitted_at >= since)]
    evidence = tuple(
        Evidence(
            "accept refused", f"{one.payload.get('cause')}: {one.payload.get('answered')}", "events", one.emitted_at
        )
        for one in current
    )
    cause = str(current[0].payload.get("cause")) if current else None
    token = newest.state if newest is not None else "never issued"
    evidence = (*evidence, case.seen("its newest token", token, "acceptance_tokens"))
    said = f"accept was refused: {cause}." if cause else "accept was not refused lately."
    return Outcome("bad" if cause else "ok", said, evidence, {"token_refusal": cause, "token_state": token})


def _probe(case: Case) -> Outcome:
    """The network and TLS, step by step."""
    if case.fact("status") not in MAY_HEARTBEAT:
        return Outcome("skipped", f"A {case.fact('status')} peer is not called.")
    with case.site.read() as session:
        target = probing.target(session, case.site, case.subject.id)
    report = probing.run(target, case.now, min(FAR_LIMIT, case.site.settings.outbound_timeout), lambda _step: None)
    evidence = tuple(
        case.seen(step.name, f"{'ok' if step.ok else 'not tried' if step.ok is None else 'FAILED'}: {step.said}",
                  report.url)
        for step in report.steps
    )  # fmt: skip
    codes = [fault.code for fault in report.faults]
    top = report.sight.chain[-1] if report.sight.chain else None
    facts = {"faults": codes, "probe": report, "shown_ca": top}
    said = " ".join(fault.words for fault in report.faults) or "It can be reached, and TLS with it works."
    return Outcome("bad" if codes else "ok", said, evidence, facts)


def _their_view(case: Case) -> Outcome:
    """What the peer says it sees of this node."""
    with case.site.read() as session:
        peer = peers.get(session, case.subject.id)
        connection = client.connection_to(session, case.site.vault, peer, now=case.now, partial_mtls="refuse")
        ours = certificates.own_ca(session).fingerprint
        known = [one.fingerprint for one in anchors.all_of(session, peer.id)]
    if connection.pair is None:
        return Outcome("skipped", "There is no certificate to ask with yet.")
    try:
        view = client.call(connection, probing.DIAGNOSIS, None, timeout=FAR_LIMIT, method="GET")
    except RemoteFailed as failure:
        unknown = failure.code == "remote_rejecting"
        said = "It has no diagnosis to give." if unknown else f"{failure.problem} {failure.cause}".strip()
        return Outcome("unknown" if unknown else "bad", said, (case.seen("GET diagnosis", said, "the peer"),),
                       {"view_code": failure.code})  # fmt: skip
    disagreements = _disagreements(case, view, ours, known)
    facts = {"view": view, "skew_now": _skew(case, view), "disagreements": disagreements, "own_ca": ours}
    evidence = [
        case.seen(what, f"here {here or 'none'}; there {view.get(key) or 'none'}", "both sides")
        for what, key, here in _both(case, peer, ours, known)
        if key in view
    ]
    return Outcome(
        "bad" if disagreements else "ok", " ".join(disagreements) or "Both sides see the same.", tuple(evidence), facts
    )


def _both(case: Case, peer: Peer, ours: str, known: list[str]) -> list[tuple[str, str, Any]]:
    """What is put side by side: its name, the field of the peer's view, and what this node has for it."""
    return [
        ("clock", "now", case.site.clock.now().isoformat()),
        ("status of the other", "status", peer.status),
        ("last heartbeat from the other", "last_heartbeat_at", _iso(peer.last_heartbeat_at)),
        ("last call to the other that worked", "last_outbound_at", _iso(peer.last_outbound_at)),
        ("error of calls to the other", "last_outbound_code", (peer.last_outbound_error or "").partition(":")[0]),
        ("pair presented to the other", "pair", case.fact("broken") or case.fact("pair_state")),
        ("the peer's CA, as known here and as it has it", "ca_fingerprint", ", ".join(known)),
        ("this node's CA, as it has it and as known there", "trusted_of_you", ours),
    ]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _disagreements(case: Case, view: Mapping[str, Any], ours: str, known: list[str]) -> list[str]:
    """What the two sides do not agree on, in words."""
    here, there = case.fact("status"), view.get("status")
    said = [f"Here it is {here}, there this node is {there}."] if there and there != here else []
    skew = _skew(case, view)
    if skew is not None and abs(skew) > SKEW_LIMIT:
        said.append(f"The clocks differ by {abs(skew):.0f} s.")
    trusted = view.get("trusted_of_you")
    if isinstance(trusted, list) and trusted and ours not in trusted:
        said.append("There, this node is known by another CA than it has.")
    shown = view.get("ca_fingerprint")
    if isinstance(shown, str) and known and shown not in known:
        said.append("It has another CA than this node knows it by.")
    if (pair := view.get("pair")) not in ("complete", None):
        said.append(f"Its own pair is not whole: {str(pair).replace('_', ' ')}.")
    if view.get("last_outbound_code"):
        said.append(f"Its calls to this node fail: {view['last_outbound_code']}.")
    return said


def _skew(case: Case, view: Mapping[str, Any]) -> float | None:
    """Their clock less ours, in seconds."""
    try:
        return (datetime.fromisoformat(str(view["now"])) - case.site.clock.now()).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


CHECKS: tuple[Check, ...] = (
    Check("record", "peer", "The peer's record", _record),
    Check("pair", "peer", "What this node presents to it is whole", _pair, ("record",)),
    Check("refusals", "peer", "Its accept was not refused", _refusals, ("record",)),
    Check("probe", "peer", "It can be reached, and TLS works", _probe, ("record",)),
    Check("their_view", "peer", "It sees what this node sees", _their_view, ("probe", "pair")),
)
