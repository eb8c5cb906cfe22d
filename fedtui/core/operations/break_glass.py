"""Break-glass: when nobody is left who could let anybody in, the service account can.

Loud: a critical event, and a sign in every console until another pair of eyes acknowledges it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.operators import MANAGE_OPERATORS, Operator
from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused
from fedtui.core.operations import policies
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Time, new_id
from fedtui.core.runtime.unit import Unit

WAYS_IN = ("system.operator_add", "system.policy_set", "system.settings_change")
"""Acts of which any one would mend a node that nobody can approve on."""


class Recovery(Base):
    """One use of the break-glass."""

    __tablename__ = "recoveries"

    id: Mapped[Id] = mapped_column(primary_key=True)
    operator: Mapped[str]
    reason: Mapped[str]
    uid: Mapped[int | None]
    origin: Mapped[str]
    recovered_at: Mapped[Time]
    acknowledged_at: Mapped[Time | None]
    acknowledged_by: Mapped[str | None]


def locked_out(session: Session, now: datetime) -> bool:
    """Whether no operator can bring in another, by any way that the policies leave."""
    return not any(_possible(session, action, now) for action in WAYS_IN)


def _possible(session: Session, action: str, now: datetime) -> bool:
    askers = [one.name for one in operators.listing(session) if MANAGE_OPERATORS in one.permissions]
    policy = policies.in_force(session, action, now)
    if policy == policies.BLOCKED or not askers:
        return False
    if policy != policies.ASK:
        return True
    own = node_settings.is_on(session, "single_operator")
    able = operators.approvers(session)
    return any(own or not operators.same(decider, asker) for asker in askers for decider in able)


def recover(unit: Unit, name: str, reason: str) -> Operator:
    """Make `name` an operator with every permission. Raises `Refused` while anybody else could."""
    if not locked_out(unit.session, unit.now):
        able = ", ".join(one.name for one in operators.listing(unit.session) if MANAGE_OPERATORS in one.permissions)
        raise Refused(
            "The glass stays whole: there are operators who can let you in.",
            cause=f"These can add operators: {able}.",
            fix="Ask one of them: fedtui operators add NAME",
            code="not_locked_out",
        )
    operators.check(name, operators.PERMISSIONS)
    operator = operators.bring_back(unit, name)
    unit.session.add(
        Recovery(
            id=new_id(),
            operator=operator.name,
            reason=reason,
            uid=unit.actor.uid,
            origin=unit.actor.origin,
            recovered_at=unit.now,
        )
    )
    unit.session.flush()
    emit(unit, "system.operator.recovered", source="control", operator=operator.name, reason=reason)
    return operator


def open_ones(session: Session) -> list[Recovery]:
    """Recoveries that nobody has acknowledged yet, oldest first."""
    return list(session.scalars(select(Recovery).where(Recovery.acknowledged_at.is_(None)).order_by(Recovery.id)))


def acknowledge(unit: Unit) -> list[str]:
    """Say that the recoveries were seen; whose they were. Not by the one who was recovered, unless alone."""
    operators.require(unit.session, unit.actor.name, MANAGE_OPERATORS)
    found = open_ones(unit.session)
    others = [one.name for one in operators.listing(unit.session) if MANAGE_OPERATORS in one.permissions]
    if any(operators.same(one.operator, unit.actor.name) for one in found) and others != [unit.actor.name]:
        raise Refused(
            "Nobody acknowledges their own recovery.",
            cause="It is shown until somebody else has seen it.",
            fix=f"Have one of these do it: {', '.join(one for one in others if one != unit.actor.name)}.",
            code="four_eyes",
        )
    unit.session.execute(
        update(Recovery)
        .where(Recovery.acknowledged_at.is_(None))
        .values(acknowledged_at=unit.now, acknowledged_by=unit.actor.name)
        .execution_options(synchronize_session=False)
    )
    if found:
        emit(unit, "system.operator.recovery_acknowledged", source="control", operators=[one.operator for one in found])
    return [one.operator for one in found]
