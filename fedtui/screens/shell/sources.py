"""Where the tables' rows come from: the core's listings, as a `Source` reads them.

Imported beside the event loop, once a node is open: the core brings the database with it,
and nothing heavy may stand between starting the console and its first paint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fedtui.core.audit import listing as events
from fedtui.core.certificates import listing as certificates
from fedtui.core.governance import listing as findings
from fedtui.core.grants import listing as grants
from fedtui.core.operations import approval_queue as approvals
from fedtui.core.peers import listing as peers
from fedtui.screens.shell.node_handle import NodeHandle
from fedtui.screens.widgets.reading import Key, Query, Reading

Options = Callable[[Any, Query | None], Mapping[str, Any]]


def _none(_node: Any, _query: Query | None) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Listing:
    """A core listing: a module with `SORTS`, `key`, `page`, `rank`, `count`, `one`, `starting_with`.

    `always` are options that all of its reading functions take, `filtering` those of the ones
    that take a query.
    """

    module: Any
    always: Options = _none
    filtering: Options = _none


def _of_query(**options: Callable[[Query], Any]) -> Options:
    """Options that follow from the query, where there is one."""
    return lambda _node, query: {name: of(query) for name, of in options.items()} if query is not None else {}


def _findings(node: Any, query: Query | None) -> Mapping[str, Any]:
    """The state that a view names, and the time by which one is acknowledged."""
    return {"now": node.clock.now(), "state": query.view.replace("all", "")} if query is not None else {}


LISTINGS: Mapping[str, Listing] = {
    "peers": Listing(peers),
    "grants": Listing(grants, always=lambda node, _: {"now": node.clock.now()}),
    "certs": Listing(certificates),
    "events": Listing(
        events, filtering=_of_query(least=lambda query: query.view.partition(" ")[0], until=lambda query: query.until)
    ),
    "governance": Listing(
        findings, always=lambda node, query: {} if query else {"now": node.clock.now()}, filtering=_findings
    ),
    "approvals": Listing(
        approvals,
        always=lambda node, query: {} if query else {"now": node.clock.now()},
        filtering=lambda node, query: {
            "view": approvals.View(query.view if query else "", node.operator, node.clock.now())
        },
    ),
}


class RecordsReading:
    """One look at the records, in one transaction."""

    def __init__(self, node: NodeHandle, listing: Listing, session: Any) -> None:
        self._node, self._listing, self._session = node, listing, session

    def find(self, query: Query, id: str) -> Any:
        """The line of one record."""
        return self._call("one", query, id, always=True)

    def page(
        self,
        query: Query,
        *,
        after: Key | None = None,
        before: Key | None = None,
        offset: int = 0,
        limit: int,
    ) -> Sequence[Any]:
        """A page of lines."""
        place = {"after": after, "before": before, "offset": offset, "limit": limit, "sort": query.sort}
        found: Sequence[Any] = self._call("page", query, always=True, **place)
        return found

    def rank(self, query: Query, key: Key) -> int:
        """How many lines stand before `key`."""
        return int(self._call("rank", query, key, sort=query.sort))

    def count(self, query: Query) -> int:
        """How many lines there are."""
        return int(self._call("count", query))

    def _call(self, name: str, query: Query, *args: Any, always: bool = False, **options: Any) -> Any:
        asked = {"text": query.text, "invert": query.invert, **self._listing.filtering(self._node, query)}
        more = self._listing.always(self._node, query) if always else {}
        return getattr(self._listing.module, name)(self._session, *args, **asked, **more, **options)


class RecordsSource:
    """The records of a place. Make it and use it in the thread that reads."""

    def __init__(self, node: NodeHandle, place: str) -> None:
        self._node = node
        self._listing = LISTINGS[place]
        self._changes = node.changes()
        self.sorts: Sequence[str] = self._listing.module.SORTS

    def changed(self) -> bool:
        """Whether any process has committed since the last call."""
        return self._changes.poll()

    def key(self, query: Query, row: Any) -> Key:
        """The line's place in the query's order."""
        found: Key = self._listing.module.key(row, query.sort)
        return found

    def reading(self) -> AbstractContextManager[Reading[Any]]:
        """One look in one read-only transaction."""
        return self._reading()

    @contextmanager
    def _reading(self) -> Iterator[RecordsReading]:
        with self._node.read() as session:
            yield RecordsReading(self._node, self._listing, session)

    def starting_with(self, beginning: str) -> Sequence[Any]:
        """The records whose id begins so; two at most."""
        with self._node.read() as session:
            found: Sequence[Any] = self._one_by_one(session, "starting_with")(beginning)
        return found

    def lines(self, ids: Sequence[str]) -> Sequence[Any]:
        """These records, as far as they are there."""
        with self._node.read() as session:
            one = self._one_by_one(session, "one")
            return [line for id in ids if (line := one(id)) is not None]

    def _one_by_one(self, session: Any, name: str) -> Callable[[str], Any]:
        function = getattr(self._listing.module, name)
        return partial(function, session, **self._listing.always(self._node, None))
