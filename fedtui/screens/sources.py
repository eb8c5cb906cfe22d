"""Where the tables' rows come from: the core's listings, as a `Source` reads them.

Imported beside the event loop, once a node is open: the core brings the database with it,
and nothing heavy may stand between starting the console and its first paint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fedtui.core.peering import listing
from fedtui.core.peering.listing import PeerLine
from fedtui.screens.handle import NodeHandle
from fedtui.screens.widgets.reading import Key, Query, Reading


class PeersReading:
    """One look at the peers, in one transaction."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def find(self, query: Query, id: str) -> PeerLine | None:
        """The line of one peer."""
        return listing.one(self._session, id, text=query.text, invert=query.invert)

    def page(
        self,
        query: Query,
        *,
        after: Key | None = None,
        before: Key | None = None,
        offset: int = 0,
        limit: int,
    ) -> Sequence[PeerLine]:
        """A page of lines."""
        return listing.page(
            self._session,
            sort=query.sort,
            text=query.text,
            invert=query.invert,
            after=after,
            before=before,
            limit=limit,
            offset=offset,
        )

    def rank(self, query: Query, key: Key) -> int:
        """How many lines stand before `key`."""
        return listing.rank(self._session, key, sort=query.sort, text=query.text, invert=query.invert)

    def count(self, query: Query) -> int:
        """How many lines there are."""
        return listing.count(self._session, text=query.text, invert=query.invert)


class PeersSource:
    """The peers of a node. Make it and use it in the thread that reads."""

    sorts: Sequence[str] = listing.SORTS

    def __init__(self, node: NodeHandle) -> None:
        self._node = node
        self._changes = node.changes()

    def changed(self) -> bool:
        """Whether any process has committed since the last call."""
        return self._changes.poll()

    def key(self, query: Query, row: PeerLine) -> Key:
        """The line's place in the query's order."""
        return listing.key(row, query.sort)

    def reading(self) -> AbstractContextManager[Reading[PeerLine]]:
        """One look in one read-only transaction."""
        return self._reading()

    @contextmanager
    def _reading(self) -> Iterator[PeersReading]:
        with self._node.read() as session:
            yield PeersReading(session)

    def starting_with(self, beginning: str) -> Sequence[PeerLine]:
        """The peers whose id begins so; two at most."""
        with self._node.read() as session:
            return listing.starting_with(session, beginning)

    def lines(self, ids: Sequence[str]) -> Sequence[PeerLine]:
        """These peers, as far as they are there."""
        with self._node.read() as session:
            return [line for id in ids if (line := listing.one(session, id)) is not None]
