"""The lease: which one of a node's processes sweeps, heartbeats and ticks.

One row with a holder, an epoch and an expiry by the database's clock. Whoever takes the
lease over raises the epoch; a stopped holder that wakes up is fenced, because every job
takes the lease again, in its epoch, as the first statement of its own transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import Refused
from fedtui.core.runtime.database import Base, engine_of
from fedtui.core.runtime.types import Time

NAME = "jobs"


class Lease(Base):
    """One row per lease; there is one lease, `jobs`."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    epoch: Mapped[int]
    expires_at: Mapped[Time]


@dataclass(frozen=True, slots=True)
class Held:
    """Proof of holding: the holder's name and the epoch it holds in."""

    holder: str
    epoch: int


class LeaseLost(Refused):
    """Another process holds the lease now."""

    code = "lease_lost"


def _now(session: Session, fallback: datetime) -> datetime:
    """The server's clock where there is one; on SQLite every process shares this machine's."""
    if engine_of(session).dialect.name == "sqlite":
        return fallback
    return session.scalars(select(text("clock_timestamp()"))).one()  # type: ignore[no-any-return]


def take(session: Session, holder: str, *, now: datetime, ttl: timedelta) -> Held | None:
    """Take or renew the lease. None while another holder's is in force.

    An expiry further ahead than any holder could have written (the clock was set back)
    counts as expired.
    """
    moment = _now(session, now)
    _ensure_row(session, holder, moment)
    free = or_(Lease.holder == holder, Lease.expires_at <= moment, Lease.expires_at > moment + 10 * ttl)
    mine = select(Lease.holder == holder).where(Lease.name == NAME)
    row = session.execute(
        update(Lease)
        .where(Lease.name == NAME, free)
        .values(
            epoch=Lease.epoch + (0 if session.scalars(mine).one() else 1),
            holder=holder,
            expires_at=moment + ttl,
        )
        .returning(Lease.epoch)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Held(holder, row.epoch)


def fence(session: Session, held: Held, *, now: datetime, ttl: timedelta) -> None:
    """First statement of a job's transaction: renew in the same epoch, or raise `LeaseLost`."""
    renewed = session.execute(
        update(Lease)
        .where(Lease.name == NAME, Lease.holder == held.holder, Lease.epoch == held.epoch)
        .values(expires_at=_now(session, now) + ttl)
        .returning(Lease.epoch)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if renewed is None:
        raise LeaseLost(
            "This process no longer holds the lease.",
            cause="Another daemon of this node took it over while this one did not renew it.",
            fix="Nothing to do: the other daemon does the work.",
        )


def release(session: Session, holder: str, *, now: datetime) -> None:
    """Let go on a clean stop, so that the next daemon need not wait for the expiry."""
    session.execute(
        update(Lease)
        .where(Lease.name == NAME, Lease.holder == holder)
        .values(expires_at=_now(session, now))
        .execution_options(synchronize_session=False)
    )


def current(session: Session) -> Lease | None:
    """The lease row as it stands, expired or not."""
    return session.get(Lease, NAME)


def in_force(session: Session, *, now: datetime) -> Lease | None:
    """The lease while somebody holds it, by the clock that it was taken by."""
    row = current(session)
    return row if row is not None and row.expires_at > _now(session, now) else None


def _ensure_row(session: Session, holder: str, moment: datetime) -> None:
    if session.get(Lease, NAME) is not None:
        return
    try:
        with session.begin_nested():
            session.add(Lease(name=NAME, holder=holder, epoch=0, expires_at=moment))
    except IntegrityError:
        # Another process was first; its row serves as well.
        session.expire_all()
