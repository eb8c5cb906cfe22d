"""The unit of work: one transaction with its context.

A unit has one `now`, fixed at opening, one actor, and one correlation id that every
event of the act shares. Never call a remote platform inside an open unit: read, close,
call, reopen, re-check, record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from fedtui.core.runtime import correlation
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.types import new_id


@dataclass(slots=True)
class Unit:
    """What a function that changes state is given."""

    session: Session
    now: datetime
    actor: Actor
    correlation_id: str = field(default_factory=new_id)
    _afterwards: list[Callable[[], None]] = field(default_factory=list)

    def join(self, correlation_id: str) -> None:
        """This unit turns out to be part of that act."""
        self.correlation_id = correlation_id
        correlation.join(correlation_id)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Run `hook` once the transaction is on disk; never if it is rolled back."""
        self._afterwards.append(hook)

    def committed(self) -> None:
        """Run the hooks in the order they came: for whoever has just committed the transaction."""
        for hook in self._afterwards:
            hook()


@contextmanager
def unit_of_work(
    database: Database, *, now: datetime, actor: Actor, correlation_id: str | None = None
) -> Iterator[Unit]:
    """Open a unit; commit it on success, roll back on any exception, then run its hooks.

    Without a correlation id it is part of the act in progress (`correlation.py`), or a new one.

    Raises `Unusable` when the database does not answer.
    """
    with correlation.correlated(correlation_id or correlation.current()) as known:
        with database.writing() as session:
            unit = Unit(session, now, actor, known)
            yield unit
        unit.committed()
