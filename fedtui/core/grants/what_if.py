"""What-if for operators: a described call or a recorded decision, as things are or after an edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.errors import NotFound, WrongUsage
from fedtui.core.grants import allowlists, decisions, grants
from fedtui.core.grants import explain as explaining
from fedtui.core.grants import operations as grant_operations
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, SCOPE_FOR, AccessRequest, WhatIf
from fedtui.core.grants.decisions import Decision
from fedtui.core.grants.explain import NOT_GIVEN, Explanation
from fedtui.core.grants.grants import Grant
from fedtui.core.peers import peers
from fedtui.core.pki import certificates


@dataclass(frozen=True, slots=True)
class HypotheticalRequest:
    """A call in words. What is None is taken from the grant, or from the peer's certificate."""

    bearer: str
    kind: str | None = None
    id: str | None = None
    method: str = "GET"
    instance: str | None = None
    network: str | None = None
    source_ip: str | None = None
    peer: str | None = None


def explain(
    session: Session,
    described: HypotheticalRequest,
    *,
    now: datetime,
    decision: str | None = None,
    edit: Mapping[str, Any] | None = None,
) -> Explanation:
    """Judge a described call, or replay a decision; with the grant as `edit` (as for the act) would make it.

    Raises `NotFound` for a peer or decision that is not there, `WrongUsage` for an edit that
    cannot be made.
    """
    asked = decisions.replay(decisions.find(session, decision)) if decision else _asked(session, described)
    supposed = None
    if edit:
        grant = _known(session, asked.bearer or "")
        if grant is None:
            raise NotFound("There is no grant to edit.", cause="The bearer names none.", code="grant_not_found")
        changes = grant_operations.edited(grant, edit)
        supposed = WhatIf({key: value for key, value in changes.items() if key != "auto_renew"})
    return explaining.explain(session, asked, now=now, supposed=supposed)


def fix_now(session: Session, decision: Decision, now: datetime) -> str | None:
    """What would let the call of a refused decision through now; None where it is allowed or there was none."""
    if decision.allowed or decision.call == decisions.HANDSHAKE:
        return None
    found = explaining.explain(session, decisions.replay(decision), now=now)
    return "It would be allowed now." if found.judgement.allowed else found.fix


def _asked(session: Session, described: HypotheticalRequest) -> AccessRequest:
    method = described.method.upper()
    if method not in SCOPE_FOR:
        raise WrongUsage(
            f"--method: {described.method[:20]!r} is not a call on resources.",
            cause=f"It is one of: {', '.join(SCOPE_FOR)}.",
            fix="Leave it out for GET.",
            code="method_invalid",
        )
    for name in allowlists.SUPPLIED:
        if value := getattr(described, name):
            allowlists.check_supplied(name, value)
    grant = _known(session, described.bearer)
    peer_id = peers.find(session, described.peer).id if described.peer else (grant.peer_id if grant else None)
    return AccessRequest(
        RESOURCES,
        _caller(session, described, peer_id),
        method=method,
        kind=described.kind or (grant.resource_kind if grant else ""),
        resource_id=described.id or (grant.resource_id if grant and grant.resource_id else NOT_GIVEN),
        bearer=grants.bearer(grant.id) if grant else described.bearer,
    )


def _known(session: Session, bearer: str) -> Grant | None:
    try:
        return grants.find(session, bearer)
    except NotFound:
        return None


def _caller(session: Session, described: HypotheticalRequest, peer_id: str | None) -> Caller:
    """As the peer would call: with its current certificate, from where it is described to."""
    current = certificates.current_inbound(session, peer_id) if peer_id else None
    return Caller(
        fingerprint=current.fingerprint if current else None,
        source_ip=described.source_ip,
        instance_id=described.instance,
        network_id=described.network,
        described=True,
        peer_id=peer_id,
        unreadable="this node has signed no certificate for the peer" if peer_id and current is None else "",
    )
