"""Verifying the record: the first thing that is not as it was sealed.

Batch by batch, a few in each transaction: memory is bounded whatever the number of events, and
nobody waits for it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedtui.core.audit import seals
from fedtui.core.audit.events import Event
from fedtui.core.audit.seals import ENTRY_BYTES, GENESIS, ID_BYTES, Seal
from fedtui.core.runtime.database import Database

SEALS_AT_ONCE = 20
SHORTEST_HEAD = 8


@dataclass(frozen=True, slots=True)
class Bad:
    """What is not as it was sealed. `what` is `changed`, `removed`, `added` (an event), `seal_changed`,
    `seal_missing`, `removed_early` (a whole batch) or `head_missing`; `said` is a sentence."""

    what: str
    seal: int | None
    event_id: str | None
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying came to. `sealed_through` is the number of the newest seal that holds, `head` its digest;
    `sealed` events were compared, `removed` are past their time, `unsealed` wait for their seal."""

    first_bad: Bad | None
    sealed_through: int
    head: str
    sealed: int
    removed: int
    unsealed: int
    checked_at: datetime

    @property
    def ok(self) -> bool:
        """Whether all is as it was sealed."""
        return self.first_bad is None


class _Found(Exception):
    def __init__(self, bad: Bad) -> None:
        super().__init__(bad.said)
        self.bad = bad


class _Walk:
    """Where verifying has come to along the chain."""

    def __init__(self, key: bytes, now: datetime, head: str | None) -> None:
        self.key, self.now, self.wanted = key, now, head
        self.seq, self.digest = 0, GENESIS
        self.sealed = self.removed = 0

    def step(self, session: Session) -> bool:
        """The next few seals with their events; False at the end of the chain."""
        some = self._next(session)
        through = some[-1].seq if some else None
        with _batches(session, above=self.seq if self.seq > 0 else None, through=through) as batches:
            self._along(some, batches)
        return bool(some)

    def _along(self, some: list[Seal], batches: Iterator[tuple[Any, Iterator[Any]]]) -> None:
        batch = next(batches, None)
        for seal in some:
            if batch is not None and (not isinstance(batch[0], int) or batch[0] < seal.seq):
                raise _Found(_stray(batch))
            self._follows(seal)
            if batch is not None and batch[0] == seal.seq:
                self._events(seal, batch[1])
                batch = next(batches, None)
            else:
                self._events(seal, ())
            self.seq, self.digest = seal.seq, seal.digest
            if self.wanted is not None and seal.digest.startswith(self.wanted):
                self.wanted = None
        if batch is not None:
            raise _Found(_stray(batch))

    def _next(self, session: Session) -> list[Seal]:
        query = select(Seal).where(Seal.seq > self.seq).order_by(Seal.seq).limit(SEALS_AT_ONCE)
        try:
            return list(session.scalars(query))
        except (ValueError, TypeError) as error:  # from a column's type: not even of the form that is written there
            said = f"A seal after number {self.seq} cannot be read: {error}"
            raise _Found(Bad("seal_changed", None, None, said)) from error

    def _follows(self, seal: Seal) -> None:
        if seal.seq != self.seq + 1:
            raise _Found(
                Bad("seal_missing", self.seq + 1, None, f"Seal {self.seq + 1} is gone; the next is {seal.seq}.")
            )
        if seals.digest(self.key, seal) != seal.digest:
            raise _Found(Bad("seal_changed", seal.seq, None, f"Seal {seal.seq} was changed, or not made by this node."))
        if seal.previous != self.digest:
            said = f"Seal {seal.seq} does not follow the one before it: seals were exchanged or reordered."
            raise _Found(Bad("seal_changed", seal.seq, None, said))

    def _events(self, seal: Seal, rows: Iterable[Any]) -> None:
        if seal.removed_at is not None:
            for row in rows:
                raise _Found(_added(seal.seq, row.id))
            due = seal.last_at + seals.kept_for(seal)
            if not due <= seal.removed_at <= self.now:
                said = f"The {seal.count} events of seal {seal.seq} were removed before {due.isoformat()}."
                raise _Found(Bad("removed_early", seal.seq, None, said))
            self.removed += seal.count
            return
        entries = seal.entries if isinstance(seal.entries, bytes) else b""
        if hashlib.sha256(entries).hexdigest() != seal.root or len(entries) != seal.count * ENTRY_BYTES:
            said = f"What seal {seal.seq} says of its events was changed."
            raise _Found(Bad("seal_changed", seal.seq, None, said))
        self._compare(seal.seq, [entries[at : at + ENTRY_BYTES] for at in range(0, len(entries), ENTRY_BYTES)], rows)
        self.sealed += seal.count

    def _compare(self, seq: int, sealed: list[bytes], rows: Iterable[Any]) -> None:
        known, expected = {one[:ID_BYTES] for one in sealed}, iter(sealed)
        for row in rows:
            place = seals.id_bytes(row.id)
            if place not in known:
                raise _Found(_added(seq, row.id))
            wanted = next(expected)
            if place != wanted[:ID_BYTES]:
                raise _Found(_removed(seq, wanted))
            if seals.entry(self.key, row) != wanted:
                raise _Found(Bad("changed", seq, str(row.id), f"Event {row.id} was changed after it was sealed."))
        for wanted in expected:
            raise _Found(_removed(seq, wanted))


def verify(
    database: Database,
    key: bytes,
    now: datetime,
    *,
    head: str | None = None,
    tell: Callable[[int], object] = lambda _sealed: None,
) -> Verdict:
    """Compare every sealed event with its seal, and every seal with the one before it, up to the first that is bad.

    `head` is the beginning of a head that was noted earlier, and must still be in the chain. `tell` is
    told how many events were compared so far.
    """
    walk, bad = _Walk(key, now, head), None
    try:
        more = True
        while more:
            with database.reading() as session:
                more = walk.step(session)
                unsealed = 0 if more else _unsealed(session)
            tell(walk.sealed)
        if walk.wanted is not None:
            said = f"No seal has the head {walk.wanted}: the end of the chain was cut off, or another was put there."
            bad = Bad("head_missing", None, None, said)
    except _Found as found:
        bad = found.bad
        with database.reading() as session:
            unsealed = _unsealed(session)
    return Verdict(bad, walk.seq, walk.digest, walk.sealed, walk.removed, unsealed, now)


def _unsealed(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Event).where(Event.seal.is_(None))) or 0


@contextmanager
def _batches(
    session: Session, *, above: int | None, through: int | None
) -> Iterator[Iterator[tuple[Any, Iterator[Any]]]]:
    """Sealed events by the number of their seal, streamed; closed also where what is found ends it early."""
    query = seals.contents(session).where(Event.seal.is_not(None)).order_by(Event.seal, Event.id)
    if above is not None:
        query = query.where(Event.seal > above)
    if through is not None:
        query = query.where(Event.seal <= through)
    with session.execute(query.execution_options(yield_per=seals.BATCH)) as rows:
        yield groupby(rows, key=lambda row: row.seal)


def _stray(batch: tuple[Any, Iterable[Any]]) -> Bad:
    row = next(iter(batch[1]))
    return Bad("added", None, str(row.id), f"Event {row.id} claims seal {row.seal}, which there is not.")


def _added(seq: int, event_id: object) -> Bad:
    return Bad("added", seq, str(event_id), f"Event {event_id} was not among those that seal {seq} was put on.")


def _removed(seq: int, wanted: bytes) -> Bad:
    event_id = str(uuid.UUID(bytes=wanted[:ID_BYTES]))
    return Bad("removed", seq, event_id, f"Event {event_id} was removed after it was sealed.")
