"""Keyset pages: a page is asked for by the key of the row before or after it, never by an offset.

So it costs the same at the end of a hundred thousand rows as at the beginning. An order is a
sequence of columns that together are unique; a key is a row's values for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import Session

Key = tuple[Any, ...]
Order = Sequence[Any]


def page(
    session: Session,
    query: Select[Any],
    order: Order,
    *,
    after: Key | None = None,
    before: Key | None = None,
    limit: int,
    offset: int = 0,
    descending: bool = False,
) -> list[Any]:
    """Up to `limit` rows in display order: from the top, after a key, or just before one.

    An `offset` skips rows without building them: for a jump to a place that was never read.
    `descending` turns the whole order round.
    """
    query = query.limit(limit).offset(offset)
    if before is not None:
        backwards = query.where(_stands_before(before, order, descending))
        return list(session.execute(backwards.order_by(*_directed(order, not descending))))[::-1]
    if after is not None:
        query = query.where(_stands_before(after, order, not descending))
    return list(session.execute(query.order_by(*_directed(order, descending))))


def rank(session: Session, counting: Select[Any], order: Order, key: Key, *, descending: bool = False) -> int:
    """How many rows stand before `key`; `counting` selects their count."""
    return session.scalar(counting.where(_stands_before(key, order, descending))) or 0


def _stands_before(key: Key, order: Order, descending: bool) -> Any:
    place, bound = tuple_(*order), _bound(key, order)
    return place > bound if descending else place < bound


def _directed(order: Order, descending: bool) -> Order:
    return [one.desc() for one in order] if descending else order


def _bound(key: Key, order: Order) -> Any:
    return tuple_(*(literal(value, column.type) for value, column in zip(key, order, strict=True)))
