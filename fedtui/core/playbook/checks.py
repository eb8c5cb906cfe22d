"""The checks: everything that a diagnosis looks at, as a table. None of them changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.access import chain, decisions, explain
from fedtui.core.access.chain import RESOURCES, Asked, Judgement
from fedtui.core.access.decisions import HANDSHAKE, Decision
from fedtui.core.access.grants import Grant, bearer
from fedtui.core.acts import jobs as job_acts
from fedtui.core.control import approvals, lowering, manager_state, policies
from fedtui.core.control.approvals import Approval
from fedtui.core.errors import RemoteFailed, WrongUsage
from fedtui.core.peering import client, heartbeats, peers, probing, tokens
from fedtui.core.peering.client import Connection
from fedtui.core.peering.peers import MAY_HEARTBEAT, Peer
from fedtui.core.peering.tokens import AcceptanceToken
from fedtui.core.playbook.model import Case, Check, Evidence, Outcome
from fedtui.core.record import events
from fedtui.core.runtime import daemons, jobs, lease
from fedtui.core.trust import anchors, certificates, credentials

SWEEP_PATH = "/api/v1/system/worker_api/federation/heartbeat_sweep"
LATE = 3
"""Intervals after which a run that did not come is overdue."""
FAR_LIMIT = timedelta(seconds=5)
"""For each step of looking at a remote: someone waits for the answer."""
SKEW_LIMIT = 60.0
"""Seconds by which two clocks may differ: as long as a heartbeat's interval."""
LATELY = timedelta(hours=1)
REFUSALS_SINCE = timedelta(days=1)


# --- the node -----------------------------------------------------------------------------


def _daemon(case: Case) -> Outcome:
    """Whether a process of this node listens and does the jobs."""
    settings = case.site.settings
    with case.site.read() as session:
        alive = daemons.alive(session, now=case.now, ttl=LATE * settings.lease_ttl)
        held = lease.current(session)
    holds = held is not None and held.expires_at > case.now
    evidence = (
        case.seen("daemons alive", [f"{one.id} at {one.url}" for one in alive], "daemons"),
        case.seen("lease holder", held.holder if held is not None and holds else None, "leases"),
    )
    facts = {"daemons": [one.url for one in alive], "holder": held.holder if held is not None and holds else None,
             "listening_since": alive[0].listening_since if alive else None}  # fmt: skip
    if not alive:
        return Outcome("bad", "No daemon of this node is running.", evidence, facts)
    return Outcome("ok", f"A daemon listens at {alive[0].url}.", evidence, facts)


def _schedule(case: Case) -> Outcome:
    """When the jobs ran last, and whether they come when they should."""
    with case.site.read() as session:
        latest = jobs.latest(session)
    since = case.fact("listening_since") or case.now
    late, missing, evidence = {}, [], []
    for name, every in _intervals(case).items():
        run = latest.get(name)
        evidence.append(case.seen(f"last run of {name}", run.started_at if run else None, "job_runs"))
        if run is None or run.started_at < since:
            # The daemon runs each job when it takes the lease; one that others overtook was never registered.
            others = [one for other, one in latest.items() if other != name and one.started_at >= since]
            if others and case.now - since > LATE * every:
                missing.append(name)
            elif case.now - since > LATE * every:
                late[name] = case.now - since
        elif case.now - run.started_at > LATE * every:
            late[name] = case.now - run.started_at
    facts = {"jobs_late": late, "jobs_missing": missing, "jobs_failed": _failed(latest)}
    if missing or late:
        words = ", ".join([*(f"{one} never ran" for one in missing), *(f"{one} is overdue" for one in late)])
        return Outcome("bad", f"{words}.", tuple(evidence), facts)
    return Outcome("ok", "Every job runs when it should.", tuple(evidence), facts)


def _intervals(case: Case) -> Mapping[str, timedelta]:
    settings = case.site.settings
    return {heartbeats.JOB: settings.heartbeat_interval, job_acts.MANAGER_JOB: settings.manager_interval}


def _failed(latest: Mapping[str, jobs.JobRun]) -> dict[str, str]:
    return {name: str(run.detail.get("error", "")) for name, run in latest.items() if run.outcome == "failed"}


def _sweep_endpoint(case: Case) -> Outcome:
    """Whether the worker's endpoint is there and takes the worker's token. GET asks that, and sweeps nothing."""
    settings = case.site.settings
    if not settings.worker_token:
        return Outcome("skipped", "No worker token is set, so nobody calls the sweep's endpoint from outside.")
    with case.site.read() as session:
        anchor = certificates.own_ca(session).cert_pem
    connection = Connection((case.site.url,), (anchor,), None)
    headers = {"X-Worker-Token": settings.worker_token}
    code = ""
    try:
        client.call(connection, SWEEP_PATH, None, timeout=FAR_LIMIT, method="GET", headers=headers)
    except RemoteFailed as failure:
        code, said = failure.code, f"{failure.problem} {failure.cause}".strip()
    else:
        said = "The endpoint answers, and takes this node's worker token."
    status = {"remote_rejecting_auth": "unauthorized", "remote_failing": "failing", "remote_rejecting": "missing"}
    found = "ok" if not code else status.get(code, "failing")
    evidence = (case.seen(f"GET {SWEEP_PATH}", said, case.site.url),)
    return Outcome("ok" if found == "ok" else "bad", said, evidence, {"sweep_endpoint": found, "sweep_said": said})


def _manager(case: Case) -> Outcome:
    """Whether the SDWAN Manager is paused, and when it ticked last."""
    with case.site.read() as session:
        status = manager_state.status(session)
        last = jobs.last_finished(session, job_acts.MANAGER_JOB)
        waiting = [one.id for one in approvals.listing(session, status="approved")]
    evidence = (
        case.seen("manager status", status, "agents"),
        case.seen("last tick", last.finished_at if last else None, "job_runs"),
        case.seen("approved and waiting", len(waiting), "approvals"),
    )
    paused = status == manager_state.PAUSED
    facts = {"manager_paused": paused, "approved_waiting": waiting, "last_tick_at": last.finished_at if last else None}
    return Outcome("bad" if paused else "ok", f"The SDWAN Manager is {status}.", evidence, facts)


def _policies(case: Case) -> Outcome:
    """Policies lowered for an emergency."""
    with case.site.read() as session:
        found = [lowering.shape(session, one) for one in policies.lowered(session, case.now)]
    words = ", ".join(f"{one['action']} until {one['until']:%H:%M} UTC" for one in found)
    evidence = tuple(case.seen("lowered", one["action"], "policy_lowerings") for one in found)
    return Outcome("bad" if found else "ok", f"Lowered: {words}." if found else "No policy is lowered.", evidence,
                   {"lowered": found})  # fmt: skip


# --- a peer -------------------------------------------------------------------------------


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


# --- a token, a decision, an approval -------------------------------------------------------


def _token(case: Case) -> Outcome:
    """What became of a token that somebody holds."""
    try:
        token = tokens.clean_token(case.subject.secret)
    except WrongUsage as mangled:
        return Outcome("bad", mangled.problem, (case.seen("token", mangled.cause, "its checksum"),),
                       {"held_token": "mangled"})  # fmt: skip
    with case.site.read() as session:
        row: AcceptanceToken | None = tokens.by_digest(session, token)
        state = "unknown" if row is None else row.state
        if row is not None and state == "issued" and row.expires_at <= case.now:
            state = "expired"
        peer = session.get(Peer, row.peer_id) if row is not None else None
    facts = {"held_token": state, "token_peer": peer}
    evidence = (case.seen("token", state, "acceptance_tokens, by digest"),)
    good = state == "issued"
    return Outcome("ok" if good else "bad", f"The token is {'good' if good else state}.", evidence, facts)


def _decision(case: Case) -> Outcome:
    """A call that was turned away, judged again as things are now."""
    with case.site.read() as session:
        row: Decision = decisions.find(session, case.subject.id)
        peer = session.get(Peer, row.peer_id) if row.peer_id else None
        code, detail = row.code, ""
        changes: tuple[explain.Change, ...] = ()
        if row.call != HANDSHAKE:
            found = explain.explain(session, _again(session, row), now=case.now)
            code, changes = found.judgement.code, found.changes
            detail = found.judgement.refusal.detail if found.judgement.refusal else ""
            answered = _answered(session, row, found.judgement, case.now) if code is not None else ""
            if answered:
                code, detail = None, answered
        else:
            detail = str(row.checks[0]["detail"]) if row.checks else ""
    evidence = [
        Evidence("turned away", f"{row.code} ({row.times} times)", f"decision {row.id}", row.last_at),
        case.seen("answered", row.answered or "a disconnect", f"decision {row.id}"),
        case.seen("now it would be", code or "allowed", "the authorization chain"),
    ]
    caller = {key: value for key, value in row.context.get("caller", {}).items() if value and key in SHOWN_OF_CALLER}
    evidence += [case.seen(f"caller's {key}", value, f"decision {row.id}") for key, value in caller.items()]
    facts = {"decision": row, "code": code, "changes": changes, "detail": detail, "decision_peer": peer}
    return Outcome("bad" if code else "ok", detail or "It would be allowed now.", tuple(evidence), facts)


def about_the_caller(row: Decision) -> bool:
    """Whether a call was turned away for who made it; else it was for its grant, or how that was used."""
    return not all(one["passed"] for one in row.checks[: chain.WITHOUT_GRANT])


def _again(session: Session, row: Decision) -> Asked:
    """The call as its caller would make it now: with the certificate it has, where the one it was let past with
    has been replaced."""
    asked = decisions.replay(row)
    presented = certificates.by_fingerprint(session, asked.caller.fingerprint) if asked.caller.fingerprint else None
    if about_the_caller(row) or row.peer_id is None or (presented is not None and not presented.over):
        return asked
    current = certificates.current_inbound(session, row.peer_id)
    return asked if current is None else replace(asked, caller=replace(asked.caller, fingerprint=current.fingerprint))


def _answered(session: Session, row: Decision, judgement: Judgement, now: datetime) -> str:
    """Why what a call is refused for now needs no answer any more, in words; empty where it does."""
    if not about_the_caller(row) and any(one.refusal for one in judgement.results[: chain.WITHOUT_GRANT]):
        # The certificate was good then; calls refused for it since stand on record by themselves.
        return "It got past its certificate then; what stands against that now has records of its own."
    if _answered_since(session, row, now):
        return "Refused then; the caller has since been let in, or has a newer grant that allows it."
    return ""


def _answered_since(session: Session, row: Decision, now: datetime) -> bool:
    """Whether the same peer was let in after this refusal, or could be by a grant issued since."""
    if row.peer_id is None or row.call != RESOURCES:
        return False
    later = select(Decision.id).where(
        Decision.peer_id == row.peer_id, Decision.allowed, Decision.call == row.call, Decision.last_at > row.last_at
    )
    if row.code in ABOUT_THE_BEARER and session.scalars(later.limit(1)).first() is not None:
        return True
    asked = _again(session, row)
    newer = select(Grant).where(
        Grant.peer_id == row.peer_id, Grant.issued_at >= row.last_at, Grant.revoked_at.is_(None)
    )
    calls = (replace(asked, bearer=bearer(grant.id)) for grant in session.scalars(newer.limit(MOST_GRANTS)))
    return any(chain.judge(session, call, now=now).allowed for call in calls)


ABOUT_THE_BEARER = ("grant_token_malformed", "grant_token_unknown", "grant_of_other_peer")
MOST_GRANTS = 20
SHOWN_OF_CALLER = ("fingerprint", "subject", "issuer", "source_ip", "instance_id", "network_id")


def _approval(case: Case) -> Outcome:
    """A request: where it stands, and who can move it."""
    with case.site.read() as session:
        row: Approval = approvals.find(session, case.subject.id)
        can, cannot = approvals.deciders(session, row)
        again = session.scalars(
            select(Approval.id).where(
                Approval.action == row.action, Approval.id > row.id, Approval.status.in_(("pending", "executed"))
            )
        ).first()
    evidence = (
        case.seen("status", row.status, "approvals"),
        case.seen("asked by", f"{row.requested_by}, {row.requested_at:%F %H:%M} UTC", "approvals"),
        case.seen("can decide", can, "operators"),
        case.seen("cannot decide", cannot, "operators"),
    )
    facts = {"approval": row, "can_decide": can, "cannot_decide": cannot, "asked_again": again is not None}
    return Outcome("ok", f"It is {row.status}.", evidence, facts)


CHECKS: tuple[Check, ...] = (
    Check("daemon", "node", "A daemon of this node runs and holds the lease", _daemon),
    Check("schedule", "node", "The heartbeat job and the manager run when they should", _schedule, ("daemon",)),
    Check("sweep_endpoint", "node", "The sweep's endpoint answers", _sweep_endpoint, ("daemon",)),
    Check("manager", "node", "The SDWAN Manager is not paused", _manager),
    Check("policies", "node", "No policy is lowered", _policies),
    Check("record", "peer", "The peer's record", _record),
    Check("pair", "peer", "What this node presents to it is whole", _pair, ("record",)),
    Check("refusals", "peer", "Its accept was not refused", _refusals, ("record",)),
    Check("probe", "peer", "It can be reached, and TLS works", _probe, ("record",)),
    Check("their_view", "peer", "It sees what this node sees", _their_view, ("probe", "pair")),
    Check("token", "token", "The token that is held", _token),
    Check("decision", "decision", "The call, judged again", _decision),
    Check("approval", "approval", "Where the request stands", _approval),
)
"""In the order in which they are shown; each begins as soon as what it needs is known."""
