"""Following the record: every event once, whatever the order in which they commit.

Ids are made before the commit, so "newer than the last one shown" would miss what commits late.
What was shown is known instead by its seal, and by name until it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import Event, EventFilter, newest
from fedtui.core.audit.seals import Seal
from fedtui.core.runtime.database import Database

PAGE = 1_000


class EventTail:
    """Gives the events that match, oldest first: `begin`, then `more` whenever something was committed."""

    def __init__(self, database: Database, wanted: EventFilter) -> None:
        self._database = database
        self._wanted = wanted
        self._sealed_through = 0
        self._shown: frozenset[str] = frozenset()

    def begin(self, limit: int) -> list[Event]:
        """The newest that are there, oldest of them first; those before them count as shown."""
        with self._database.reading() as session:
            found = newest(session, self._wanted, limit=limit)
            self._remember(session, self._unsealed(session))
        return found[::-1]

    def more(self) -> list[Event]:
        """What was committed since the last call."""
        with self._database.reading() as session:
            sealed = session.scalars(select(Event.id).where(Event.seal > self._sealed_through)).all()
            unsealed = self._unsealed(session)
            fresh = sorted({*sealed, *unsealed} - self._shown)
            found = [
                event for at in range(0, len(fresh), PAGE) for event in self._named(session, fresh[at : at + PAGE])
            ]
            self._remember(session, unsealed)
        return found

    def _named(self, session: Session, ids: Sequence[str]) -> Sequence[Event]:
        query = self._wanted.narrow(select(Event)).where(Event.id.in_(ids)).order_by(Event.id)
        return session.scalars(query).all()

    def _unsealed(self, session: Session) -> frozenset[str]:
        return frozenset(session.scalars(select(Event.id).where(Event.seal.is_(None))))

    def _remember(self, session: Session, unsealed: frozenset[str]) -> None:
        """In the same look at the database: an event has a seal up to this one, or is named."""
        self._sealed_through = session.scalar(select(func.max(Seal.seq))) or 0
        self._shown = unsealed


def pages(database: Database, wanted: EventFilter) -> Iterator[list[Event]]:
    """Every event that matches, oldest first, page by page, each in a transaction of its own."""
    last = ""
    while True:
        with database.reading() as session:
            query = wanted.narrow(select(Event)).where(Event.id > last).order_by(Event.id).limit(PAGE)
            found = list(session.scalars(query))
        if not found:
            return
        yield found
        last = found[-1].id
