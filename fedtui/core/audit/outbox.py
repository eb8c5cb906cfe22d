"""Notices: events that must reach people who look at no console.

An outbox: the row is written in the unit that emits the event, so that neither is without the
other; a job hands it to the configured command until that takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Index, case, delete, func, insert, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Text_, Time

SEVERE = ("high", "critical")
ALSO = ("system.approval.requested", "system.approval.expiring")
"""Kinds that are told whatever their severity."""
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=15), timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(hours=24)
KEPT = timedelta(days=7)


class Notice(Base):
    """One event to be told. `outcome`: waiting, told, given_up; `due_at` is when it is tried next."""

    __tablename__ = "notices"
    __table_args__ = (
        Index(
            "ix_notices_due_at",
            "due_at",
            sqlite_where=text("outcome = 'waiting'"),
            postgresql_where=text("outcome = 'waiting'"),
        ),
    )

    event_id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text_)
    created_at: Mapped[Time]
    due_at: Mapped[Time]
    outcome: Mapped[str]
    attempts: Mapped[int]
    last_error: Mapped[str | None]


def queue(session: Session, *, event_id: str, kind: str, severity: str, now: datetime) -> None:
    """Queue an event, if it is one to be told."""
    if severity in SEVERE or kind in ALSO:
        session.execute(
            insert(Notice).values(
                event_id=event_id, kind=kind, created_at=now, due_at=now, outcome="waiting", attempts=0
            )
        )


def due(session: Session, now: datetime, *, limit: int) -> Sequence[Notice]:
    """What is to be told now: approvals first, since they have a clock; then the oldest."""
    urgent = case((Notice.kind.in_(ALSO), 0), else_=1)
    query = select(Notice).where(text("outcome = 'waiting'"), Notice.due_at <= now)
    return list(session.scalars(query.order_by(urgent, Notice.event_id).limit(limit)))


def told(session: Session, event_id: str) -> None:
    """It was taken."""
    session.execute(update(Notice).where(Notice.event_id == event_id).values(outcome="told", last_error=None))


def failed(session: Session, notice: Notice, error: str, now: datetime) -> None:
    """It was not taken: try again later, twice as late each time, and give up after a day."""
    wait = min(FIRST_RETRY * 2 ** min(notice.attempts, 16), LONGEST_RETRY)
    session.execute(
        update(Notice)
        .where(Notice.event_id == notice.event_id)
        .values(
            attempts=notice.attempts + 1,
            last_error=error,
            due_at=now + wait,
            outcome="given_up" if now - notice.created_at > GIVE_UP_AFTER else "waiting",
        )
    )


def failing(session: Session) -> tuple[int, str | None]:
    """How many wait after a failure, and what the latest said."""
    trouble = (text("outcome = 'waiting'"), Notice.attempts > 0)
    count = session.scalar(select(func.count()).select_from(Notice).where(*trouble)) or 0
    latest = select(Notice.last_error).where(*trouble).order_by(Notice.due_at.desc()).limit(1)
    return count, session.scalar(latest) if count else None


def prune(session: Session, now: datetime) -> None:
    """Forget what was told, or given up, a week ago."""
    session.execute(delete(Notice).where(Notice.outcome != "waiting", Notice.created_at < now - KEPT))


def forget_waiting(session: Session, now: datetime) -> None:
    """Forget what nobody asked to be told: there is no command."""
    session.execute(delete(Notice).where(text("outcome = 'waiting'"), Notice.due_at <= now))
