"""What a table needs of its data, and reading the slice of it that is on the screen.

Everything here runs in a thread beside the event loop. Rows are read by keyset pages
around the row under the cursor; only a jump to a place that was never read uses an offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class HasId(Protocol):
    """A row: anything with an id that stays the same while its other fields change."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=HasId)
R_co = TypeVar("R_co", bound=HasId, covariant=True)
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, in which order: a sort of the source, a filter text (`invert`: those without it), and
    where the source has views, a part of its rows; `until` is the id of the newest row that is let in, "" for all."""

    sort: str
    text: str = ""
    invert: bool = False
    view: str = ""
    until: str = ""


class Reading(Protocol[R_co]):
    """One consistent look at the rows."""

    def find(self, query: Query, id: str) -> R_co | None:
        """The row with this id, or None if it is gone or the query leaves it out."""

    def page(
        self,
        query: Query,
        *,
        after: Key | None = None,
        before: Key | None = None,
        offset: int = 0,
        limit: int,
    ) -> Sequence[R_co]:
        """At most `limit` rows in display order: next after a key, last before a key, or from an offset."""

    def rank(self, query: Query, key: Key) -> int:
        """How many rows sort before `key`."""

    def count(self, query: Query) -> int:
        """How many rows there are."""


class Source(Protocol[R]):
    """Where a table's rows come from. Always called from the same thread."""

    def changed(self) -> bool:
        """Whether anything may differ since the last call; microseconds."""

    def key(self, query: Query, row: R) -> Key:
        """The row's place in the query's order, unique per row."""

    def reading(self) -> AbstractContextManager[Reading[R]]:
        """Open a consistent look; closed quickly."""


@dataclass(frozen=True, slots=True)
class Want(Generic[R]):
    """What the screen asks for: the rows around `anchor`, the row under the cursor.

    `index` is the anchor's place as last known (all there is after a jump, when `anchor` is
    None), `line` its distance in lines from the first visible row, `height` the number of
    visible rows. `count` is None where the number of rows has to be found out. `needed`
    asks to read even if nothing changed.
    """

    query: Query
    anchor: R | None
    index: int
    line: int
    height: int
    count: int | None
    needed: bool


@dataclass(frozen=True, slots=True)
class Slice(Generic[R]):
    """Rows `start` .. `start + len(rows)` of `count`; `index` is where the anchor is, or would be."""

    rows: Sequence[R]
    start: int
    count: int
    index: int

    def row(self, index: int) -> R | None:
        """The row at this place among all, if it was read."""
        place = index - self.start
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def find(self, id: str) -> R | None:
        """The row with this id, if it was read."""
        return next((row for row in self.rows if row.id == id), None)

    def place(self, id: str) -> int | None:
        """The place among all of the row with this id, if it was read."""
        return next((self.start + offset for offset, row in enumerate(self.rows) if row.id == id), None)

    def covers(self, first: int, last: int) -> bool:
        """Whether every row from `first` up to, not including, `last` was read, as far as there are any."""
        return max(first, 0) >= self.start and min(last, self.count) <= self.start + len(self.rows)


def look(source: Source[R], want: Want[R]) -> Slice[R] | None:
    """Read what is wanted, or None if nothing changed and nothing is needed."""
    changed = source.changed()
    if not changed and not want.needed:
        return None
    known = None if changed else want.count
    with source.reading() as reading:
        count = reading.count(want.query) if known is None else known
        if want.anchor is None:
            return _by_index(reading, want, count)
        return _around(source, reading, want, want.anchor, count, trusted=known is not None)


def _around(source: Source[R], reading: Reading[R], want: Want[R], anchor: R, count: int, *, trusted: bool) -> Slice[R]:
    """The rows around the anchor; around the gap it left, if it is gone."""
    found = reading.find(want.query, anchor.id)
    key = source.key(want.query, found or anchor)
    index = want.index if trusted else reading.rank(want.query, key)
    margin = 2 * want.height
    lead = min(index, want.line + margin)
    before = reading.page(want.query, before=key, limit=lead) if lead else []
    after = reading.page(want.query, after=key, limit=want.height + margin)
    rows = [*before, *([found] if found else []), *after]
    start = index - len(before)
    return Slice(rows, start, max(count, start + len(rows)), index)


def _by_index(reading: Reading[R], want: Want[R], count: int) -> Slice[R]:
    index = min(want.index, max(count - 1, 0))
    start = max(index - want.line - 2 * want.height, 0)
    rows = reading.page(want.query, offset=start, limit=5 * want.height)
    return Slice(rows, start, max(count, start + len(rows)), index)
