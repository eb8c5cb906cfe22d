"""Peers as lines of a table: keyset pages in every order the console offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, case, func, literal, literal_column, not_, or_, select
from sqlalchemy.orm import Session

from fedtui.core.peers.peers import EPOCH, NEVER, URGENCY_SQL, Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key
from fedtui.core.runtime.types import UtcTime

TROUBLED = 2
"""The last rank of `URGENCY_SQL` at which something is wrong with a peer."""


@dataclass(frozen=True, slots=True)
class PeerLine:
    """One peer as a list shows it. `last_heartbeat_at` is inbound; times are aware UTC."""

    id: str
    remote_instance_url: str
    peer_kind: str
    spawn_role: str | None
    spawn_mode: str | None
    status: str
    drill_mode: bool
    last_heartbeat_at: datetime | None
    last_outbound_at: datetime | None
    last_outbound_error: str | None
    certificate_expires_at: datetime | None
    metadata: Mapping[str, object]
    created_at: datetime
    updated_at: datetime


_URGENCY: ColumnElement[int] = literal_column(URGENCY_SQL, Integer())
_HEARTBEAT = func.coalesce(Peer.last_heartbeat_at, NEVER, type_=UtcTime)
_ORDERS: Mapping[str, Sequence[Any]] = {
    "urgency": (_URGENCY, Peer.remote_instance_url, Peer.id),
    "url": (Peer.remote_instance_url, Peer.id),
    "status": (Peer.status, Peer.remote_instance_url, Peer.id),
    "heartbeat": (_HEARTBEAT, Peer.id),
    "created": (Peer.created_at, Peer.id),
}
SORTS = tuple(_ORDERS)


def key(line: PeerLine, sort: str) -> Key:
    """Where a line stands in an order: what `page` and `rank` take."""
    return {
        "urgency": (urgency(line), line.remote_instance_url, line.id),
        "url": (line.remote_instance_url, line.id),
        "status": (line.status, line.remote_instance_url, line.id),
        "heartbeat": (line.last_heartbeat_at or EPOCH, line.id),
        "created": (line.created_at, line.id),
    }[sort]


def urgency(line: PeerLine) -> int:
    """The rank that `URGENCY_SQL` gives a peer: smaller hurts sooner."""
    status = line.status
    if status == "proposed" and line.drill_mode:
        return 1
    if status in ("active", "enrolled") and line.last_outbound_error is not None:
        return 2
    if status == "accepted" and line.peer_kind != "platform":
        return 7
    return {"degraded": 0, "accepted": 3, "enrolled": 4, "proposed": 5, "suspended": 6, "revoked": 8}.get(status, 7)


def page(
    session: Session,
    *,
    sort: str = "urgency",
    text: str = "",
    invert: bool = False,
    after: Key | None = None,
    before: Key | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[PeerLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    query = select(Peer, _certificate_expiry()).where(_matches(text, invert))
    found = keyset.page(session, query, _ORDERS[sort], after=after, before=before, limit=limit, offset=offset)
    return [_line(*row) for row in found]


def rank(session: Session, key: Key, *, sort: str, text: str = "", invert: bool = False) -> int:
    """How many lines stand before `key`."""
    counting = select(func.count()).select_from(Peer).where(_matches(text, invert))
    return keyset.rank(session, counting, _ORDERS[sort], key)


def count(session: Session, *, text: str = "", invert: bool = False) -> int:
    """How many lines there are."""
    return session.scalar(select(func.count()).select_from(Peer).where(_matches(text, invert))) or 0


def one(session: Session, peer_id: str, *, text: str = "", invert: bool = False) -> PeerLine | None:
    """The line of one peer, if the filter leaves it in."""
    query = select(Peer, _certificate_expiry()).where(Peer.id == peer_id, _matches(text, invert))
    row = session.execute(query).one_or_none()
    return None if row is None else _line(*row)


def counts(session: Session) -> dict[str, int]:
    """How many peers there are of each status; statuses that none has are left out."""
    rows = session.execute(select(Peer.status, func.count()).group_by(Peer.status))
    return {row.status: row[1] for row in rows}


def troubled(session: Session, *, limit: int) -> tuple[list[PeerLine], int]:
    """The peers that are degraded, open to any caller, or not reached, worst first; and how many there are."""
    query = select(Peer, _certificate_expiry()).where(_URGENCY <= TROUBLED).order_by(*_ORDERS["urgency"]).limit(limit)
    counting = select(func.count()).select_from(Peer).where(_URGENCY <= TROUBLED)
    return [_line(*row) for row in session.execute(query)], session.scalar(counting) or 0


def starting_with(session: Session, beginning: str, *, limit: int = 2) -> list[PeerLine]:
    """The lines of peers whose id begins so, at most `limit`: two tell already that it is not the one."""
    query = select(Peer, _certificate_expiry()).where(Peer.id.startswith(beginning.lower(), autoescape=True))
    return [_line(*row) for row in session.execute(query.order_by(Peer.id).limit(limit))]


def certificate_expiry(session: Session, peer_id: str) -> datetime | None:
    """When the first of a peer's two certificates runs out, or None before there is one."""
    return session.scalar(select(_certificate_expiry()).select_from(Peer).where(Peer.id == peer_id))


def _certificate_expiry() -> Any:
    """The soonest expiry that matters: of the newest certificate in each direction, the earlier."""

    def newest(direction: str) -> Any:
        return (
            select(func.max(Certificate.not_after))
            .where(
                Certificate.peer_id == Peer.id,
                Certificate.direction == direction,
                Certificate.revoked_at.is_(None),
            )
            .correlate(Peer)
            .scalar_subquery()
        )

    inbound, outbound = newest("inbound"), newest("outbound")
    earlier = case(
        (inbound.is_(None), outbound),
        (outbound.is_(None), inbound),
        (inbound < outbound, inbound),
        else_=outbound,
    )
    return earlier.label("certificate_expires_at")


def _matches(text: str, invert: bool) -> ColumnElement[bool]:
    if not text:
        return literal(True)
    found = or_(
        *(
            column.icontains(text, autoescape=True)
            for column in (Peer.remote_instance_url, Peer.status, Peer.id, Peer.spawn_role, Peer.spawn_mode)
        )
    )
    return not_(func.coalesce(found, False)) if invert else and_(found)


def _line(peer: Peer, certificate_expires_at: datetime | None) -> PeerLine:
    return PeerLine(
        id=peer.id,
        remote_instance_url=peer.remote_instance_url,
        peer_kind=peer.peer_kind,
        spawn_role=peer.spawn_role,
        spawn_mode=peer.spawn_mode,
        status=peer.status,
        drill_mode=peer.drill_mode,
        last_heartbeat_at=peer.last_heartbeat_at,
        last_outbound_at=peer.last_outbound_at,
        last_outbound_error=peer.last_outbound_error,
        certificate_expires_at=certificate_expires_at,
        metadata=peer.metadata_,
        created_at=peer.created_at,
        updated_at=peer.updated_at,
    )
