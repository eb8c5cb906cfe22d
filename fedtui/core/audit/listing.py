"""Events as lines of a table: keyset pages, newest or oldest first.

A filter by text looks at the newest 200,000 events: over ten million it would take seconds, and
what is older is found by the command line's exact filters, which have indexes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, column, func, literal, not_, or_, select, table
from sqlalchemy.orm import Session

from fedtui.core.audit.events import SEVERITIES, Event
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key

SEARCHED = 200_000
SORTS = ("newest", "oldest")


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event as a list shows it. `peer_url` is None where it is about no peer on record; `seal` is the number
    of the batch it was sealed in, None until then."""

    id: str
    kind: str
    severity: str
    source: str
    peer_id: str | None
    peer_url: str | None
    actor: str
    uid: int | None
    origin: str
    correlation_id: str
    payload: Mapping[str, Any]
    emitted_at: datetime
    seal: int | None


_ORDER: Sequence[Any] = (Event.id,)
# The peers' table belongs to a higher package: named here by what is needed of it.
_PEERS = table("peers", column("id", String), column("remote_instance_url", String))
_URL = _PEERS.c.remote_instance_url
_COLUMNS: Mapping[str, Any] = {
    "kind": Event.kind,
    "severity": Event.severity,
    "source": Event.source,
    "peer": _URL,
    "correlation": Event.correlation_id,
    "actor": Event.actor,
}
"""What a filter looks at; `NAME:TEXT` looks at one of them alone."""


def key(line: EventLine, sort: str) -> Key:
    """Where a line stands in an order: what `page` and `rank` take."""
    return (line.id,)


def page(
    session: Session,
    *,
    sort: str = "newest",
    text: str = "",
    invert: bool = False,
    least: str = "",
    until: str = "",
    after: Key | None = None,
    before: Key | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[EventLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    found = keyset.page(
        session,
        _lines().where(_matches(text, invert, least, until)),
        _ORDER,
        after=after,
        before=before,
        limit=limit,
        offset=offset,
        descending=sort == "newest",
    )
    return [_line(*row) for row in found]


def rank(
    session: Session,
    key: Key,
    *,
    sort: str = "newest",
    text: str = "",
    invert: bool = False,
    least: str = "",
    until: str = "",
) -> int:
    """How many lines stand before `key`."""
    return keyset.rank(session, _counting(text, invert, least, until), _ORDER, key, descending=sort == "newest")


def count(session: Session, *, text: str = "", invert: bool = False, least: str = "", until: str = "") -> int:
    """How many lines there are."""
    return session.scalar(_counting(text, invert, least, until)) or 0


def one(
    session: Session, event_id: str, *, text: str = "", invert: bool = False, least: str = "", until: str = ""
) -> EventLine | None:
    """The line of one event, if the filter leaves it in."""
    matches = _matches(text, invert, least, until)
    row = session.execute(_lines().where(Event.id == event_id, matches)).one_or_none()
    return None if row is None else _line(*row)


def starting_with(session: Session, beginning: str, *, limit: int = 2) -> list[EventLine]:
    """The lines of events whose id begins so; two tell already that it is not the one."""
    query = _lines().where(Event.id.startswith(beginning.lower(), autoescape=True))
    return [_line(*row) for row in session.execute(query.order_by(Event.id).limit(limit))]


def _lines() -> Select[Any]:
    return select(Event, _URL).outerjoin(_PEERS, _PEERS.c.id == Event.peer_id)


def _counting(text: str, invert: bool, least: str, until: str) -> Select[Any]:
    counting = select(func.count()).select_from(Event)
    # Without a filter the peers need not be looked at.
    return (counting.outerjoin(_PEERS, _PEERS.c.id == Event.peer_id) if text else counting).where(
        _matches(text, invert, least, until)
    )


def _matches(text: str, invert: bool, least: str, until: str) -> ColumnElement[bool]:
    """`least` is the least grave severity that is let in, `until` the id of the last event that is."""
    within: ColumnElement[bool] = literal(True)
    if least in SEVERITIES:
        within &= Event.severity.in_(SEVERITIES[SEVERITIES.index(least) :])
    if until:
        within &= Event.id <= until
    if not text:
        return within
    found = func.coalesce(and_(*(_has(word) for word in text.split())), literal(False))
    return within & _searched() & (not_(found) if invert else found)


def _has(word: str) -> ColumnElement[bool]:
    """Whether a column holds a word: any of them, or the one that is named (`severity:high`, `peer:bravo`)."""
    name, _, wanted = word.partition(":")
    columns = [_COLUMNS[name]] if wanted and name in _COLUMNS else [*_COLUMNS.values(), Event.id]
    sought = wanted if len(columns) == 1 else word
    return or_(*(column.icontains(sought, autoescape=True) for column in columns))


def _searched() -> ColumnElement[bool]:
    oldest = select(Event.id).order_by(Event.id.desc()).limit(1).offset(SEARCHED - 1).scalar_subquery()
    return Event.id >= func.coalesce(oldest, "")


def _line(event: Event, peer_url: str | None) -> EventLine:
    return EventLine(
        id=event.id,
        kind=event.kind,
        severity=event.severity,
        source=event.source,
        peer_id=event.peer_id,
        peer_url=peer_url,
        actor=event.actor,
        uid=event.uid,
        origin=event.origin,
        correlation_id=event.correlation_id,
        payload=event.payload,
        emitted_at=event.emitted_at,
        seal=event.seal,
    )
