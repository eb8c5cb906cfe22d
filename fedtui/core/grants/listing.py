"""Grants as lines of a table: keyset pages in every order the console offers. Archived ones are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, func, literal, literal_column, not_, or_, select
from sqlalchemy.orm import Session

from fedtui.core.grants import usage
from fedtui.core.grants.grants import ENDED_SQL, Grant, bearer
from fedtui.core.grants.usage import Total
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key


@dataclass(frozen=True, slots=True)
class GrantLine:
    """One grant as a list shows it. `used` counts calls of the last 30 days; times are aware UTC."""

    id: str
    peer_id: str
    peer_url: str
    peer_status: str
    remote_subject: str
    resource_kind: str
    resource_id: str | None
    permission_scopes: tuple[str, ...]
    node_instance_ids: tuple[str, ...]
    sdwan_network_ids: tuple[str, ...]
    source_cidrs: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    renew_at: datetime | None
    revoked_at: datetime | None
    revocation_reason: str | None
    used: int
    last_used_at: datetime | None


_ENDED: ColumnElement[int] = literal_column(ENDED_SQL, Integer())
_ORDERS: Mapping[str, Sequence[Any]] = {
    "expiry": (_ENDED, Grant.expires_at, Grant.id),
    "subject": (Grant.remote_subject, Grant.id),
    "kind": (Grant.resource_kind, Grant.id),
    "peer": (Grant.peer_id, Grant.id),
    "issued": (Grant.id,),
}
SORTS = tuple(_ORDERS)


def key(line: GrantLine, sort: str) -> Key:
    """Where a line stands in an order: what `page` and `rank` take."""
    return {
        "expiry": (0 if line.revoked_at is None else 1, line.expires_at, line.id),
        "subject": (line.remote_subject, line.id),
        "kind": (line.resource_kind, line.id),
        "peer": (line.peer_id, line.id),
        "issued": (line.id,),
    }[sort]


def page(
    session: Session,
    *,
    now: datetime,
    sort: str = "expiry",
    text: str = "",
    invert: bool = False,
    after: Key | None = None,
    before: Key | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[GrantLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    query = _lines().where(_matches(text, invert))
    found = keyset.page(session, query, _ORDERS[sort], after=after, before=before, limit=limit, offset=offset)
    return _built(session, found, now)


def rank(session: Session, key: Key, *, sort: str, text: str = "", invert: bool = False) -> int:
    """How many lines stand before `key`."""
    return keyset.rank(session, _counting(text, invert), _ORDERS[sort], key)


def count(session: Session, *, text: str = "", invert: bool = False) -> int:
    """How many lines there are."""
    return session.scalar(_counting(text, invert)) or 0


def one(session: Session, grant_id: str, *, now: datetime, text: str = "", invert: bool = False) -> GrantLine | None:
    """The line of one grant, if the filter leaves it in."""
    found = session.execute(_lines().where(Grant.id == grant_id, _matches(text, invert))).all()
    return next(iter(_built(session, found, now)), None)


def starting_with(session: Session, beginning: str, *, now: datetime, limit: int = 2) -> list[GrantLine]:
    """The lines of grants whose id begins so, archived ones too; two tell already that it is not the one."""
    query = _lines().where(Grant.id.startswith(beginning.lower(), autoescape=True)).order_by(Grant.id).limit(limit)
    return _built(session, session.execute(query).all(), now)


def rows(session: Session, *, peer_id: str | None = None, archived: bool = False, limit: int = 100) -> list[Grant]:
    """Grants, what runs out first on top and revoked ones last; or only the archived."""
    query = select(Grant).order_by(*_ORDERS["expiry"]).limit(limit)
    query = query.where(Grant.archived_at.is_not(None) if archived else Grant.archived_at.is_(None))
    return list(session.scalars(query if peer_id is None else query.where(Grant.peer_id == peer_id)))


def _lines() -> Any:
    return select(Grant, Peer.remote_instance_url, Peer.status).join(Peer, Peer.id == Grant.peer_id)


def _counting(text: str, invert: bool) -> Any:
    counting = select(func.count()).select_from(Grant)
    # Without a filter the peers need not be looked at.
    return (counting.join(Peer, Peer.id == Grant.peer_id) if text else counting).where(_matches(text, invert))


def _matches(text: str, invert: bool) -> ColumnElement[bool]:
    in_sight = Grant.archived_at.is_(None)
    if not text:
        return in_sight
    wanted = text.removeprefix(bearer(""))
    columns = (Grant.remote_subject, Grant.resource_kind, Grant.resource_id, Grant.id, Peer.remote_instance_url)
    found = func.coalesce(or_(*(column.icontains(wanted, autoescape=True) for column in columns)), literal(False))
    return in_sight & (not_(found) if invert else found)


def _built(session: Session, found: Sequence[Any], now: datetime) -> list[GrantLine]:
    """Lines with their use, which is looked up for these alone."""
    used = usage.totals(session, [row[0].id for row in found], now) if found else {}
    return [_line(grant, url, status, used.get(grant.id, Total())) for grant, url, status in found]


def _line(grant: Grant, peer_url: str, peer_status: str, used: Total) -> GrantLine:
    return GrantLine(
        id=grant.id,
        peer_id=grant.peer_id,
        peer_url=peer_url,
        peer_status=peer_status,
        remote_subject=grant.remote_subject,
        resource_kind=grant.resource_kind,
        resource_id=grant.resource_id,
        permission_scopes=tuple(grant.permission_scopes),
        node_instance_ids=tuple(grant.node_instance_ids),
        sdwan_network_ids=tuple(grant.sdwan_network_ids),
        source_cidrs=tuple(grant.source_cidrs),
        issued_at=grant.issued_at,
        expires_at=grant.expires_at,
        renew_at=grant.renew_at,
        revoked_at=grant.revoked_at,
        revocation_reason=grant.revocation_reason,
        used=used.times,
        last_used_at=used.last_at,
    )
