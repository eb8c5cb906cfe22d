"""Whether the SDWAN Manager works or is paused: one row, changed through the gate."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Time
from fedtui.core.runtime.unit import Unit

ONLY = 1
ACTIVE, PAUSED = "active", "paused"
MANAGER_JOB = "sdwan_manager"
"""The name of its job in the schedule."""


class ManagerState(Base):
    """The one row; without it the manager is active."""

    __tablename__ = "manager_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str]
    changed_at: Mapped[Time]
    changed_by: Mapped[str]


def status(session: Session) -> str:
    """`active` or `paused`."""
    row = session.get(ManagerState, ONLY)
    return row.status if row is not None else ACTIVE


def paused_by(session: Session) -> str | None:
    """Who paused it, or None while it works."""
    row = session.get(ManagerState, ONLY)
    return row.changed_by if row is not None and row.status == PAUSED else None


def put(unit: Unit, new: str) -> None:
    """Pause or resume; saying it again changes nothing."""
    if status(unit.session) == new:
        return
    unit.session.merge(ManagerState(id=ONLY, status=new, changed_at=unit.now, changed_by=str(unit.actor)))
    unit.session.flush()
    emit(unit, "system.manager.paused" if new == PAUSED else "system.manager.resumed", source=MANAGER_JOB)
