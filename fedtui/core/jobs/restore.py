"""After a restore: the quarantine, and what an operator has to go through before it is ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedtui.core.administration import operators
from fedtui.core.administration.operators import MANAGE_OPERATORS, Operator
from fedtui.core.audit.events import Event
from fedtui.core.grants.grants import Grant
from fedtui.core.operations import quarantine
from fedtui.core.operations.reasons import reason_of
from fedtui.core.peers import tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime.actor import Actor


def begin(site: NodeContext, actor: Actor, reason: str | None) -> Mapping[str, Any]:
    """Put the node into quarantine. Raises `Refused` without the permission, `WrongUsage` without a reason."""
    why = reason_of({"reason": reason})
    with site.unit(actor) as unit:
        operators.require(unit.session, actor.name, MANAGE_OPERATORS)
        newest = unit.session.scalar(select(func.max(Event.emitted_at)))
        quarantine.begin(unit, why, known_until=newest, tokens_cancelled=tokens.cancel_all(unit))
        return shape(unit.session)


def shape(session: Session) -> dict[str, Any]:
    """The quarantine as JSON, with how much there is to go through, all of which may have been revoked or removed
    since; `quarantine` is false without one."""
    row = quarantine.current(session)
    if row is None:
        return {"quarantine": False}

    def count(*conditions: Any) -> int:
        return session.scalar(select(func.count()).where(*conditions)) or 0

    return {
        "quarantine": True,
        "since": row.since,
        "begun_by": row.begun_by,
        "reason": row.reason,
        "known_until": row.known_until,
        "tokens_cancelled": row.tokens_cancelled,
        "requests_ended": row.requests_ended,
        "to_go_through": {
            "peers": count(Peer.status != "revoked"),
            "grants": count(Grant.revoked_at.is_(None), Grant.archived_at.is_(None)),
            "certificates": count(Certificate.direction == "inbound", Certificate.revoked_at.is_(None)),
            "operators": count(Operator.removed_at.is_(None)),
        },
        "then": "fedtui db confirm --reason ...",
    }
