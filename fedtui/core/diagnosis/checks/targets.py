"""Checks of one thing that is pointed at: a token, a call that was turned away, a grant, a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings
from fedtui.core.diagnosis.checks import resolved
from fedtui.core.diagnosis.checks.resolved import Decided
from fedtui.core.diagnosis.model import CaseContext, Check, Evidence, Outcome, State, in_words, sentence
from fedtui.core.errors import WrongUsage
from fedtui.core.grants import chain, decisions, explain
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, AccessRequest, AuthorizationResult, WhatIf
from fedtui.core.grants.decisions import HANDSHAKE, Decision
from fedtui.core.grants.grants import SCOPES, Grant, bearer
from fedtui.core.operations import approval_status, approvals, eligible_approvers, policies
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import Certificate


def _token(case: CaseContext) -> Outcome:
    """What became of a token that somebody holds."""
    try:
        token = tokens.clean_token(case.subject.secret)
    except WrongUsage as mangled:
        return Outcome(
            "bad", mangled.problem, (case.seen("token", mangled.cause, "its checksum"),), {"held_token": "mangled"}
        )
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
    said = BECAME[state].format(
        url=peer.remote_instance_url, until=in_words(row.expires_at), ended=in_words(row.ended_at)
    )
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


def _decision(case: CaseContext) -> Outcome:
    """A call that was turned away, judged again as things are now."""
    with case.site.read() as session:
        row: Decision = decisions.find(session, case.subject.id)
        peer = session.get(Peer, row.peer_id) if row.peer_id else None
        code, detail, forged = row.code, "", False
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
            if _let_in_since(session, row):
                code, detail = None, "Refused then; a caller has since been let in from the same address."
            elif peer is None and (claimed := decisions.peer_claimed(session, row)) is not None:
                detail = f"{sentence(detail)} It claims to be {claimed.remote_instance_url}"
                forged = code == "cert_chain_invalid"
        used = _terms(session, row.grant_id)
        trusted = node_settings.value(session, node_settings.PROXIES)
        presented = certificates.by_fingerprint(session, row.context.get("caller", {}).get("fingerprint") or "")
        if code == "grant_of_other_peer":
            # The chain says no more than the id: another query there would tell a caller that there is such a grant.
            detail = _with_urls(session, detail)
        decision = _decided(session, row, code, peer, presented)
        works = _proxy_works(session, row.context.get("caller", {}).get("proxy"))
    if decision is not None:
        detail = f"{sentence(detail)} {decision.words}"
    expected = decision is not None and (code != "cert_revoked" or peer is None or peer.status in resolved.ENDED)
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
    facts = {
        "caller": caller,
        "proxy_works": works,
        "decision": row,
        "code": code,
        "changes": changes,
        "detail": detail,
        "decision_peer": peer,
        "trusted_proxies": trusted,
        "presented": presented,
        "decided": decision,
        "expected": expected,
        "forged": forged,
    }
    state: State = "bad" if code and not expected else "ok"
    return Outcome(state, sentence(detail) or "It would be allowed now.", tuple(evidence), facts)


def _with_urls(session: Session, text: str) -> str:
    """A text with the URL of a peer in place of its id, where it is on record."""

    def url(found: re.Match[str]) -> str:
        peer = session.get(Peer, found[1])
        return peer.remote_instance_url if peer is not None else found[0]

    return re.sub(r"peer ([0-9a-f-]{36})", url, text)


def _proxy_works(session: Session, proxy: str | None) -> bool:
    """Whether other calls through a proxy came with a client certificate lately."""
    if proxy is None:
        return False
    rows = session.scalars(select(Decision).order_by(Decision.id.desc()).limit(MOST_OF_PROXY))
    callers = (one.context.get("caller", {}) for one in rows)
    return any(one.get("proxy") == proxy and one.get("fingerprint") for one in callers)


MOST_OF_PROXY = 200


def _decided(
    session: Session, row: Decision, code: str | None, peer: Peer | None, presented: Certificate | None
) -> Decided | None:
    """The operator's decision for which a call is refused, where it is one."""
    if code in ("peer_not_reachable", "cert_revoked") and (found := resolved.on_peer(session, peer)) is not None:
        return found
    if code == "cert_revoked":
        return resolved.on_certificate(session, presented)
    if code == "grant_revoked" and row.grant_id:
        return resolved.on_grant(session, session.get(Grant, row.grant_id))
    return None


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


def _grant(case: CaseContext) -> Outcome:
    """What stands in the way of every call with a grant, whatever it asks and wherever it comes from."""
    with case.site.read() as session:
        grant = session.get_one(Grant, case.subject.id)
        peer = session.get(Peer, grant.peer_id)
        held = certificates.current_inbound(session, grant.peer_id)
        caller = Caller(held.fingerprint if held is not None else None)
        asked = AccessRequest(
            RESOURCES, caller, "GET", grant.resource_kind, grant.resource_id or "any", bearer(grant.id)
        )
        found = explain.explain(session, asked, now=case.now, supposed=WhatIf(ANY_USE))
        code, refusal = found.judgement.code, found.judgement.refusal
        decision = resolved.on_grant(session, grant) if code == "grant_revoked" else resolved.on_peer(session, peer)
    detail = refusal.detail if refusal is not None else ""
    evidence = (
        case.seen("expires", grant.expires_at, "grants"),
        case.seen("revoked", grant.revoked_at, "grants"),
        case.seen(
            "a call with it would be", code or "allowed, where the grant allows its use", "the authorization chain"
        ),
    )
    detail = f"{sentence(detail)} {decision.words}" if decision is not None else detail
    facts = {"code": code, "changes": found.changes, "detail": detail, "decision_peer": peer, "decided": decision}
    said = sentence(detail) or "It is in force; whether a call is allowed depends on what it asks, and from where."
    return Outcome("bad" if code else "ok", said, evidence, facts)


def about_the_caller(row: Decision) -> bool:
    """Whether a call was turned away for who made it; else it was for its grant, or how that was used."""
    return not all(one["passed"] for one in row.checks[: chain.WITHOUT_GRANT])


def _again(session: Session, row: Decision) -> AccessRequest:
    """The call as its caller would make it now: with the certificate it has, where the one it was let past with
    has been replaced."""
    asked = decisions.replay(row)
    presented = certificates.by_fingerprint(session, asked.caller.fingerprint) if asked.caller.fingerprint else None
    if about_the_caller(row) or row.peer_id is None or (presented is not None and not presented.over):
        return asked
    current = certificates.current_inbound(session, row.peer_id)
    return asked if current is None else replace(asked, caller=replace(asked.caller, fingerprint=current.fingerprint))


def _answered(session: Session, row: Decision, judgement: AuthorizationResult, now: datetime) -> str:
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
    later = select(Decision).where(
        Decision.peer_id == row.peer_id, Decision.allowed, Decision.call == row.call, Decision.last_at > row.last_at
    )
    let_in = session.scalars(later.order_by(Decision.id.desc()).limit(MOST_LET_IN))
    if row.code in ABOUT_THE_BEARER and any(_same_client(session, one, row) for one in let_in):
        return True
    asked = _again(session, row)
    newer = select(Grant).where(
        Grant.peer_id == row.peer_id, Grant.issued_at >= row.last_at, Grant.revoked_at.is_(None)
    )
    used = session.get(Grant, row.grant_id) if row.grant_id else None
    if used is not None and used.peer_id == row.peer_id:
        newer = newer.where(Grant.remote_subject == used.remote_subject)
    elif row.code in ABOUT_THE_BEARER:
        return False  # whose client it was is not known, so that no grant shows it mended
    calls = (replace(asked, bearer=bearer(grant.id)) for grant in session.scalars(newer.limit(MOST_GRANTS)))
    return any(chain.judge(session, call, now=now).allowed for call in calls)


def _let_in_since(session: Session, row: Decision) -> bool:
    """Whether a caller was let in later from the address at which TLS refused this one, as the same subject where
    both claim to be a peer."""
    address, subject = decisions.address_of(row), str(row.context.get("caller", {}).get("subject") or "")
    later = select(Decision).where(Decision.allowed, Decision.last_at > row.last_at).order_by(Decision.id.desc())
    for one in session.scalars(later.limit(MOST_OF_PROXY)):
        other = str(one.context.get("caller", {}).get("subject") or "")
        alike = not subject.startswith(decisions.OF_PEER) or subject == other
        if address and decisions.address_of(one) == address and alike:
            return True
    return False


def _same_client(session: Session, later: Decision, row: Decision) -> bool:
    """Whether two calls of one peer come from the same client: its certificate's subject, its address, its instance
    and the kind it asks for are the same, and the subject of its grant, where it is known."""
    for name in ("subject", "source_ip", "instance_id"):
        if later.context.get("caller", {}).get(name) != row.context.get("caller", {}).get(name):
            return False
    subjects = [
        grant.remote_subject
        for one in (later, row)
        if one.grant_id and (grant := session.get(Grant, one.grant_id)) is not None and grant.peer_id == row.peer_id
    ]
    return later.context.get("kind") == row.context.get("kind") and len(set(subjects)) <= 1


MOST_LET_IN = 50
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


def _approval(case: CaseContext) -> Outcome:
    """A request: where it stands, and who can move it."""
    with case.site.read() as session:
        row: Approval = approvals.find(session, case.subject.id)
        can, cannot = eligible_approvers.deciders(session, row)
        policy = policies.in_force(session, row.action, case.now)
        status = approval_status.effective_status(row.status, row.expires_at, case.now)
        settled = status in NOT_DONE and _settled(session, case, row)
    evidence = (
        case.seen("status", status, "approvals"),
        case.seen("asked by", f"{row.requested_by}, {row.requested_at:%F %H:%M} UTC", "approvals"),
        case.seen("policy in force", policy, "policies"),
        *([case.seen("what it failed with", row.error.get("problem"), "approvals")] if row.error else []),
        *(
            [case.seen("can decide", can, "operators"), case.seen("cannot decide", cannot, "operators")]
            if status == "pending"
            else []
        ),
    )
    facts = {"approval": row, "can_decide": can, "cannot_decide": cannot, "asked_again": settled}
    return Outcome("ok", f"It is {status}.", evidence, facts)


NOT_DONE = ("expired", "failed", "stale")
"""How a request ends, or stands, that did not do what was asked for."""
GOES_ON = ("pending", "approved", "executing", "executed")
NAMES_TARGET = ("url", "serial", "name", "policy_action", "kind", "network", "proxy", "key")
"""Parameters that say what an act is about, where it is not about a record by its id."""


def _target_of(row: Approval) -> Mapping[str, Any]:
    """What of a request's parameters says what it is about."""
    by_id = {key: value for key, value in row.params.items() if key.endswith("_id")}
    return by_id or {key: value for key, value in row.params.items() if key in NAMES_TARGET} or row.params


def _settled(session: Session, case: CaseContext, row: Approval) -> bool:
    """Whether the same was asked for again since, for the same target, or the target is another by now."""
    query = select(Approval).where(Approval.action == row.action, Approval.id > row.id, Approval.status.in_(GOES_ON))
    later = session.scalars(query.order_by(Approval.id).limit(MOST_LATER))
    if any(_target_of(one) == _target_of(row) and not _over(one, case.now) for one in later):
        return True
    act = case.table.get(row.action)
    target = act.target(session, row.params) if act is not None else row.target
    changed = target is None or approvals.digest_of(row.action, row.params, target) != row.digest
    return changed and row.status != "stale"


def _over(row: Approval, now: datetime) -> bool:
    return approval_status.effective_status(row.status, row.expires_at, now) in NOT_DONE


MOST_LATER = 200


CHECKS: tuple[Check, ...] = (
    Check("token", "token", "The token that is held", _token),
    Check("decision", "decision", "The call, judged again", _decision),
    Check("grant", "grant", "A call with the grant, as things are", _grant),
    Check("approval", "approval", "Where the request stands", _approval),
)
