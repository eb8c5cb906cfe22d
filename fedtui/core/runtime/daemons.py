"""Which daemons run on this node's database, since when they listen, and where."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Time


class Daemon(Base):
    """One row per daemon process. `listening_since` starts again after a gap in `last_seen_at`:
    while a process slept (stopped, or the machine suspended) nobody could reach it."""

    __tablename__ = "daemons"

    id: Mapped[str] = mapped_column(primary_key=True)
    pid: Mapped[int]
    host: Mapped[str]
    url: Mapped[str]
    operations_url: Mapped[str | None]
    started_at: Mapped[Time]
    listening_since: Mapped[Time]
    last_seen_at: Mapped[Time]


MOST_KNOWN = 20


def new_holder() -> str:
    """A name no other process has: host:pid:random."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def register(session: Session, holder: str, *, url: str, operations_url: str | None, now: datetime) -> None:
    """Record that this process listens from now on."""
    session.add(
        Daemon(
            id=holder,
            pid=os.getpid(),
            host=socket.gethostname(),
            url=url,
            operations_url=operations_url,
            started_at=now,
            listening_since=now,
            last_seen_at=now,
        )
    )


def seen(session: Session, holder: str, *, now: datetime, ttl: timedelta) -> None:
    """Record that this process is alive; after a gap longer than `ttl` it counts as new."""
    mine = update(Daemon).where(Daemon.id == holder)
    session.execute(
        mine.where((Daemon.last_seen_at < now - ttl) | (Daemon.last_seen_at > now)).values(listening_since=now)
    )
    session.execute(mine.values(last_seen_at=now))


def forget(session: Session, holder: str) -> None:
    """Take the row away on a clean stop."""
    session.execute(delete(Daemon).where(Daemon.id == holder))


def forget_dead(session: Session, *, now: datetime) -> None:
    """Take away the rows of daemons not seen for a day."""
    session.execute(delete(Daemon).where(Daemon.last_seen_at < now - timedelta(days=1)))


def alive(session: Session, *, now: datetime, ttl: timedelta) -> list[Daemon]:
    """Daemons seen within `ttl`, longest listening first."""
    # What was seen in the future was seen before the clock was set back: a daemon that runs is seen anew at once.
    seen_lately = Daemon.last_seen_at.between(now - ttl, now + ttl)
    return list(session.scalars(select(Daemon).where(seen_lately).order_by(Daemon.listening_since)))


def known(session: Session) -> list[Daemon]:
    """Every daemon that is on record, the one seen last first: they have not stopped cleanly, or run."""
    return list(session.scalars(select(Daemon).order_by(Daemon.last_seen_at.desc()).limit(MOST_KNOWN)))


def running(session: Session, *, now: datetime, ttl: timedelta) -> list[Daemon]:
    """The same without those of this machine whose process has ended: what is seen of one outlives it by `ttl`."""
    here = socket.gethostname()
    return [one for one in alive(session, now=now, ttl=ttl) if one.host != here or exists(one.pid)]


def of_host(session: Session, host: str) -> list[Daemon]:
    """Daemons on record for a host whose process exists, however long ago they were seen; the latest seen first."""
    rows = session.scalars(select(Daemon).where(Daemon.host == host).order_by(Daemon.last_seen_at.desc()))
    return [row for row in rows if exists(row.pid)]


def exists(pid: int) -> bool:
    """Whether there is a process with this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def listening_since(session: Session, *, now: datetime, ttl: timedelta) -> datetime | None:
    """Since when this node's API can be reached without a gap, or None while it cannot."""
    running = alive(session, now=now, ttl=ttl)
    return running[0].listening_since if running else None
