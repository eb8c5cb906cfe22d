"""Checks of one thing that is pointed at: a token, a call that was turned away, a grant, a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.access import chain, decisions, explain
from fedtui.core.access.callers import Caller
from fedtui.core.access.chain import RESOURCES, Asked, Judgement, Supposed
from fedtui.core.access.decisions import HANDSHAKE, Decision
from fedtui.core.access.grants import SCOPES, Grant, bearer
from fedtui.core.control import approvals, deciders
from fedtui.core.control.approvals import Approval
from fedtui.core.errors import WrongUsage
from fedtui.core.peering import tokens
from fedtui.core.peering.peers import Peer
from fedtui.core.peering.tokens import AcceptanceToken
from fedtui.core.playbook.model import Case, Check, Evidence, Outcome
from fedtui.core.trust import certificates


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


ANY_USE = {"permission_scopes": list(SCOPES), "node_instance_ids": [], "sdwan_network_ids": [], "source_cidrs": []}
"""A grant as if it allowed any use, from anywhere: what is then refused is refused to every call."""


def _grant(case: Case) -> Outcome:
    """What stands in the way of every call with a grant, whatever it asks and wherever it comes from."""
    with case.site.read() as session:
        grant = session.get_one(Grant, case.subject.id)
        peer = session.get(Peer, grant.peer_id)
        held = certificates.current_inbound(session, grant.peer_id)
        caller = Caller(held.fingerprint if held is not None else None)
        asked = Asked(RESOURCES, caller, "GET", grant.resource_kind, grant.resource_id or "any", bearer(grant.id))
        found = explain.explain(session, asked, now=case.now, supposed=Supposed(ANY_USE))
    code, refusal = found.judgement.code, found.judgement.refusal
    detail = refusal.detail if refusal is not None else ""
    evidence = (
        case.seen("expires", grant.expires_at, "grants"),
        case.seen("revoked", grant.revoked_at, "grants"),
        case.seen(
            "a call with it would be", code or "allowed, where the grant allows its use", "the authorization chain"
        ),
    )
    facts = {"code": code, "changes": found.changes, "detail": detail, "decision_peer": peer}
    said = detail or "It is in force; whether a call is allowed depends on what it asks, and from where."
    return Outcome("bad" if code else "ok", said, evidence, facts)


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
        can, cannot = deciders.deciders(session, row)
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
    Check("token", "token", "The token that is held", _token),
    Check("decision", "decision", "The call, judged again", _decision),
    Check("grant", "grant", "A call with the grant, as things are", _grant),
    Check("approval", "approval", "Where the request stands", _approval),
)
