"""Checks of a peer from here: its record, the pair, its tokens, and the way to it."""

from __future__ import annotations

from datetime import datetime

from fedtui.core.administration import manager_pause, node_settings
from fedtui.core.audit import events
from fedtui.core.diagnosis.checks.limits import FAR_LIMIT, LATELY, PROBE_SECONDS, REFUSALS_SINCE, URL_INSECURE
from fedtui.core.diagnosis.model import CaseContext, Check, Evidence, Outcome, in_words, sentence, without_code
from fedtui.core.errors import RemoteFailed
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import DELIVERY_ERROR, MAY_HEARTBEAT, Peer
from fedtui.core.pki import anchors, key_pairs
from fedtui.core.pki.certificates import Certificate
from fedtui.core.protocol import probe
from fedtui.core.protocol.refusals import BODY_KIND


def _record(case: CaseContext) -> Outcome:
    """The peer as this node has it on record."""
    with case.site.read() as session:
        peer = peers.get(session, case.subject.id)
        open_to_all = peer.drill_mode and peer.status == "proposed" and node_settings.is_on(session, "drill_mode")
        manager = manager_pause.status(session) if peer.enroll_owed else ""
        # What was taken since has answered it.
        last = max(case.now - REFUSALS_SINCE, peer.last_heartbeat_at or case.now - REFUSALS_SINCE)
        refused = events.recent(session, kind=BODY_KIND, peer_id=peer.id, since=last, limit=1)
        failed = events.recent(session, kind="federation.peer.outbound_failed", peer_id=peer.id, limit=1)
        reached = events.recent(session, kind="federation.peer.outbound_recovered", peer_id=peer.id, limit=1)
        known = tuple(one.fingerprint for one in anchors.all_of(session, peer.id))
        used = key_pairs.current(session, peer.id)
        own = session.get(Certificate, used.certificate_id) if used is not None and used.certificate_id else None
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
        "drill": open_to_all,
        "body_refused": str(refused[0].payload.get("answered")) if refused else "",
        "delivery_paused": manager == manager_pause.PAUSED,
        "delivery_error": peer.metadata_.get(DELIVERY_ERROR),
        "heard_since_failing": _heard_since(peer, failed[0].emitted_at if failed else None),
        "reached_since": reached[0].emitted_at if reached and not peer.last_outbound_error else None,
        "declared_ca": peer.declared_ca,
        "known_cas": known,
        "own_certificate_ended": own.not_after if own is not None and own.not_after <= case.now else None,
    }
    evidence = (
        case.seen("status", peer.status, "peers"),
        case.seen("last heartbeat from it", peer.last_heartbeat_at, "peers"),
        case.seen("last call to it that worked", peer.last_outbound_at, "peers"),
        case.seen("last error of a call to it", peer.last_outbound_error, "peers"),
        *(
            (
                Evidence(
                    "its call was refused", str(refused[0].payload.get("answered")), "events", refused[0].emitted_at
                ),
            )
            if refused
            else ()
        ),
        *(
            (case.seen("degraded reason", peer.metadata_["degraded_reason"], "peers"),)
            if "degraded_reason" in peer.metadata_
            else ()
        ),
        *((case.seen("whom it takes in", "ANY caller: drill mode", "peers, node_settings"),) if open_to_all else ()),
        *((case.seen("the SDWAN Manager, which is to deliver to it, is", manager, "agents"),) if manager else ()),
    )
    error = peer.last_outbound_error
    wrong = "" if not error else f"; the last call to it failed. {sentence(without_code(error))}"
    return Outcome("ok", sentence(f"It is {peer.status}{wrong}"), evidence, facts)


def _heard_since(peer: Peer, failing: datetime | None) -> bool | None:
    """Whether a heartbeat of the peer arrived after calls to it began to fail; None where that is not on record."""
    if peer.last_outbound_error is None:
        return False
    heard = peer.last_heartbeat_at
    return None if failing is None else heard is not None and heard > failing


def _pair(case: CaseContext) -> Outcome:
    """Whether what this node presents to the peer is whole, with the vault opened."""
    if case.fact("status") not in MAY_HEARTBEAT:
        return Outcome("skipped", f"Nothing is presented to a {case.fact('status')} peer.")
    with case.site.read() as session:
        broken = key_pairs.broken(session, case.site.vault, case.subject.id)
        state = key_pairs.pair_state(session, case.subject.id)
        waiting = key_pairs.pending(session, case.subject.id)
        current = key_pairs.current(session, case.subject.id)
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


def _refusals(case: CaseContext) -> Outcome:
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
    leaked = [one for one in found if one.payload.get("stranger") and case.now - one.emitted_at <= LATELY]
    current = current or leaked
    evidence = tuple(
        Evidence(
            "accept refused", f"{one.payload.get('cause')}: {one.payload.get('answered')}", "events", one.emitted_at
        )
        for one in current
    )
    cause = str(current[0].payload.get("cause")) if current else None
    token = newest.state if newest is not None else "never issued"
    evidence = (*evidence, case.seen("its newest token", token, "acceptance_tokens"))
    said = "Not lately."
    if current:
        said = f"Its accept was answered at {in_words(current[0].emitted_at)}: {current[0].payload.get('answered')}."
    stranger = current[0].payload.get("stranger") if current else None
    if stranger:
        claimed = current[0].payload.get("remote_instance_url")
        said = (
            f"A token that was made for it was presented at {in_words(current[0].emitted_at)} by somebody at "
            f"{stranger} who claims to be {claimed}, and was refused."
        )
    facts = {"token_refusal": cause, "token_state": token, "token_stranger": stranger}
    return Outcome("bad" if cause else "ok", said, evidence, facts)


def _probe(case: CaseContext) -> Outcome:
    """The network and TLS, step by step."""
    if case.fact("status") not in MAY_HEARTBEAT:
        return Outcome("skipped", f"A {case.fact('status')} peer is not called.")
    with case.site.read() as session:
        try:
            target = probe.target(session, case.site, case.subject.id)
        except RemoteFailed as error:
            return Outcome("bad", f"{error.problem} {error.cause}", (), {"faults": [URL_INSECURE]})
    report = probe.run(target, case.now, min(FAR_LIMIT, case.site.settings.outbound_timeout), lambda _step: None)
    evidence = tuple(
        case.seen(
            step.name, f"{'ok' if step.ok else 'not tried' if step.ok is None else 'FAILED'}: {step.said}", report.url
        )
        for step in report.steps
    )
    codes = [fault.code for fault in report.faults]
    top = report.sight.chain[-1] if report.sight.chain else None
    facts = {"faults": codes, "probe": report, "shown_ca": top}
    said = " ".join(fault.words for fault in report.faults) or "It can be reached, and TLS with it works."
    peer: Peer = case.fact("peer")
    worked = peer.last_outbound_at
    recent = worked is not None and case.now - worked <= 2 * case.site.settings.heartbeat_interval
    if codes and set(codes) <= SLOW and peer.status == "active" and not peer.last_outbound_error and recent:
        # A probe that is slow on a machine that is busy proves less than a call that worked.
        return Outcome("unknown", f"{said} A call to it worked at {in_words(worked)}.", evidence, {})
    return Outcome("bad" if codes else "ok", said, evidence, facts)


SLOW = {"timeout", "silent"}
"""Faults that a busy machine brings about by itself."""


CHECKS: tuple[Check, ...] = (
    Check("record", "peer", "The peer's record", _record),
    Check("pair", "peer", "What this node presents to it is whole", _pair, ("record",)),
    Check("refusals", "peer", "Its accept was not refused", _refusals, ("record",)),
    Check("probe", "peer", "It can be reached, and TLS works", _probe, ("record",), PROBE_SECONDS),
)
