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
from fedtui.core.control import approvals, deciders, node_settings, policies
from fedtui.core.control.approvals import Approval
from fedtui.core.errors import WrongUsage
from fedtui.core.peering import tokens
from fedtui.core.peering.peers import Peer
from fedtui.core.peering.tokens import AcceptanceToken
from fedtui.core.playbook.model import Case, Check, Evidence, Outcome, in_words, sentence
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
    if row is None or peer is None:
        said = "No token that this node has made is like it."
        return Outcome("bad", said, (case.seen("token", state, TOKENS),), facts)
    said = BECAME[state].format(url=peer.remote_instance_url, until=in_words(row.expires_at),
                                ended=in_words(row.ended_at))  # fmt: skip
    evidence = (
        case.seen("token", state, TOKENS),
        case.seen("made for", f"{peer.remote_instance_url}, which is {peer.status}", TOKENS),
        case.seen("made at", row.issued_at, TOKENS),
        case.seen("good until", row.expires_at, TOKENS),
        *([case.seen("ended at", row.ended_at, TOKENS)] if row.ended_at else []),
    )
    return Outcome("ok" if state == "issued" else "bad", said, evidence, facts)


TOKENS = "acceptance_tokens, by digest"
BECAME = {
    "issued": "It is good for {url} until {until}.",
    "used": "{url} came in with it at {ended}.",
    "expired": "It was for {url}, and good until {until}.",
    "superseded": "It was for {url}, until a newer one was made at {ended}.",
    "cancelled": "It was for {url}, until it was cancelled at {ended}.",
}
"""What became of a token, by its state."""


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
            if code == "peer_not_reachable" and peer is not None and "suspension_reason" in peer.metadata_:
                by, why = peer.metadata_.get("suspended_by"), peer.metadata_["suspension_reason"]
                detail += f". {by} suspended it: {why}"
            answered = _answered(session, row, found.judgement, case.now) if code is not None else ""
            if answered:
                code, detail = None, answered
        else:
            detail = str(row.checks[0]["detail"]) if row.checks else ""
        used = _terms(session, row.grant_id)
        trusted = node_settings.value(session, node_settings.PROXIES)
        presented = certificates.by_fingerprint(session, row.context.get("caller", {}).get("fingerprint") or "")
    source, caller = f"decision {row.id[:13]}", row.context.get("caller", {})
    times = "once" if row.times == 1 else f"{row.times} times"
    evidence = [
        Evidence("turned away", f"{row.code}, {times}", source, row.last_at),
        Evidence("what was called", decisions.call_of(row), source, row.last_at),
        Evidence("what was answered", row.answered or "a disconnect", source, row.last_at),
        *(Evidence(told, caller[key], source, row.last_at) for key, told in OF_CALLER.items() if caller.get(key)),
        *([case.seen("the grant it was made with", used, "grants")] if used else []),
        case.seen("now it would be", code or "allowed", "the authorization chain"),
    ]
    facts = {"decision": row, "code": code, "changes": changes, "detail": detail, "decision_peer": peer,
             "trusted_proxies": trusted, "presented": presented}  # fmt: skip
    return Outcome("bad" if code else "ok", sentence(detail) or "It would be allowed now.", tuple(evidence), facts)


def _terms(session: Session, grant_id: str | None) -> str:
    """A grant in a line: whose it is, and what it allows; empty where there is none."""
    grant = session.get(Grant, grant_id) if grant_id else None
    peer = session.get(Peer, grant.peer_id) if grant is not None else None
    if grant is None:
        return ""
    whose = f"{grant.remote_subject} at {peer.remote_instance_url if peer is not None else grant.peer_id}"
    return f"{whose}: {', '.join(grant.permission_scopes)} on {grant.resource_kind}/{grant.resource_id or '*'}"


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
    said = sentence(detail) or "It is in force; whether a call is allowed depends on what it asks, and from where."
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
OF_CALLER = {
    "source_ip": "from the address",
    "network_id": "over the network",
    "instance_id": "as the instance",
    "subject": "with a certificate for",
    "issuer": "its issuer",
    "fingerprint": "its fingerprint",
}
"""What is told of a caller, and how."""


def _approval(case: Case) -> Outcome:
    """A request: where it stands, and who can move it."""
    with case.site.read() as session:
        row: Approval = approvals.find(session, case.subject.id)
        can, cannot = deciders.deciders(session, row)
        policy = policies.in_force(session, row.action, case.now)
        again = session.scalars(
            select(Approval.id).where(
                Approval.action == row.action, Approval.id > row.id, Approval.status.in_(("pending", "executed"))
            )
        ).first()
    evidence = (
        case.seen("status", row.status, "approvals"),
        case.seen("asked by", f"{row.requested_by}, {row.requested_at:%F %H:%M} UTC", "approvals"),
        case.seen("policy in force", policy, "policies"),
        *([case.seen("what it failed with", row.error.get("problem"), "approvals")] if row.error else []),
        *([case.seen("can decide", can, "operators"), case.seen("cannot decide", cannot, "operators")]
          if row.status == "pending" else []),
    )  # fmt: skip
    facts = {"approval": row, "can_decide": can, "cannot_decide": cannot, "asked_again": again is not None}
    return Outcome("ok", f"It is {row.status}.", evidence, facts)


CHECKS: tuple[Check, ...] = (
    Check("token", "token", "The token that is held", _token),
    Check("decision", "decision", "The call, judged again", _decision),
    Check("grant", "grant", "A call with the grant, as things are", _grant),
    Check("approval", "approval", "Where the request stands", _approval),
)
