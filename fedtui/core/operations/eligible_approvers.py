"""Who can decide a request: one rule, as names, as a count and as a condition.

Operators who hold `CONTROL`; nobody decides their own request, but for a node that was set up for one operator.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, false, func, literal, not_, or_, select
from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.operators import CONTROL
from fedtui.core.operations.approvals import Approval


def deciders(session: Session, approval: Approval) -> tuple[list[str], dict[str, str]]:
    """Who can decide a request, and who cannot, with the reason."""
    can: list[str] = []
    cannot: dict[str, str] = {}
    own_allowed = node_settings.is_on(session, "single_operator")
    for operator in operators.listing(session):
        if CONTROL not in operator.permissions:
            cannot[operator.name] = f"lacks {CONTROL}"
        elif operators.same(operator.name, approval.requested_by) and not own_allowed:
            cannot[operator.name] = "asked for it, and nobody decides their own request"
        else:
            can.append(operator.name)
    return can, cannot


def decidable_by(session: Session, name: str, now: datetime) -> ColumnElement[bool]:
    """The pending requests that an operator can decide."""
    if name not in operators.approvers(session):
        return literal(False)
    pending = (Approval.status == "pending") & (Approval.expires_at > now)
    if node_settings.is_on(session, "single_operator"):
        return pending
    return pending & Approval.requested_by.not_in(operators.spellings(session, name))


def waiting_for(session: Session, name: str, now: datetime) -> int:
    """How many requests an operator can decide."""
    query = select(func.count()).select_from(Approval).where(decidable_by(session, name, now))
    return session.scalar(query) or 0


def requests_without_approver(session: Session, now: datetime) -> int:
    """How many requests nobody can decide. Two who can decide any decide all between them."""
    able = operators.approvers(session)[:2]
    somebody = or_(false(), *(decidable_by(session, name, now) for name in able))
    pending = (Approval.status == "pending") & (Approval.expires_at > now)
    return session.scalar(select(func.count()).select_from(Approval).where(pending, not_(somebody))) or 0
