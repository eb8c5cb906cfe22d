"""Certificates as lines of a table, what will hurt first on top: pairs that do not work, then what runs out.

A request of ours that no peer has signed yet stands among them: it is half of a pair, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, exists, func, literal, literal_column, not_, or_, select, true
from sqlalchemy.orm import Session, aliased

from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer
from fedtui.core.pki.certificates import HURT_SQL, Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key

UNSIGNED = "cert_missing"
SOON = timedelta(days=30)
"""How long before its end a certificate is worth a warning."""


class Urgent(NamedTuple):
    """How many certificates need a look: pairs that do not work, past their end, within `SOON` of it."""

    broken: int
    expired: int
    expiring: int


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One certificate as a list shows it; times are aware UTC.

    `direction`: `outbound` (we present it), `inbound` (it is presented to us), `own`. `not_after` is
    None for a request of ours that waits to be signed; then `problem` is `cert_missing`.
    """

    id: str
    direction: str
    subject_kind: str
    subject: str
    serial: str
    peer_id: str | None
    peer_url: str | None
    peer_status: str | None
    not_before: datetime
    not_after: datetime | None
    renew_at: datetime | None
    first_used_at: datetime | None
    superseded_at: datetime | None
    revoked_at: datetime | None
    problem: str | None
    last_handshake_at: datetime | None
    last_outbound_error: str | None
    rank: int

    @property
    def over(self) -> bool:
        """Whether it was revoked, or another has taken its place."""
        return self.revoked_at is not None or self.superseded_at is not None


_HURT: ColumnElement[int] = literal_column(HURT_SQL, Integer())
_ORDERS: Mapping[str, Sequence[Any]] = {
    "urgency": (_HURT, Certificate.not_after, Certificate.id),
    "issued": (Certificate.id,),
}
SORTS = tuple(_ORDERS)
_UNSIGNED_FIRST, _SIGNED = 0, 1
"""The first part of every key: requests without a certificate stand above all, whatever the order. They are few,
so they are read whole, and the certificates' own pages are served from their indexes."""
MOST_UNSIGNED = 1000


def key(line: CertificateLine, sort: str) -> Key:
    """Where a line stands in an order: what `page` and `rank` take."""
    if line.not_after is None:
        return (_UNSIGNED_FIRST, line.not_before, line.id)
    return {
        "urgency": (_SIGNED, line.rank, line.not_after, line.id),
        "issued": (_SIGNED, line.id),
    }[sort]


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
) -> list[CertificateLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    top = [] if after is not None and after[0] == _SIGNED else unsigned(session, text, invert)
    order = _ORDERS[sort]

    def signed(**place: Any) -> list[CertificateLine]:
        query = _lines().where(_matches(text, invert))
        return [_line(row) for row in keyset.page(session, query, order, **place)]

    if before is not None:
        if before[0] == _UNSIGNED_FIRST:
            return [line for line in top if key(line, sort) < before][-limit:]
        found = signed(before=before[1:], limit=limit, offset=offset)
        room = limit - len(found)
        return [*top[len(top) - room :], *found] if 0 < room < len(top) else [*(top if room else ()), *found]
    if after is not None and after[0] == _SIGNED:
        return signed(after=after[1:], limit=limit, offset=offset)
    rest = [line for line in top if after is None or key(line, sort) > after]
    shown = rest[offset : offset + limit]
    room = limit - len(shown)
    return [*shown, *(signed(limit=room, offset=max(offset - len(rest), 0)) if room else ())]


def rank(session: Session, key: Key, *, sort: str, text: str = "", invert: bool = False) -> int:
    """How many lines stand before `key`."""
    top = unsigned(session, text, invert)
    if key[0] == _UNSIGNED_FIRST:
        return sum((_UNSIGNED_FIRST, line.not_before, line.id) < key for line in top)
    return len(top) + keyset.rank(session, _counting(text, invert), _ORDERS[sort], key[1:])


def count(session: Session, *, text: str = "", invert: bool = False) -> int:
    """How many lines there are."""
    return len(unsigned(session, text, invert)) + (session.scalar(_counting(text, invert)) or 0)


def one(session: Session, id: str, *, text: str = "", invert: bool = False) -> CertificateLine | None:
    """The line of one certificate or request, if the filter leaves it in."""
    row = session.execute(_lines().where(Certificate.id == id, _matches(text, invert))).one_or_none()
    if row is not None:
        return _line(row)
    return next((line for line in unsigned(session, text, invert) if line.id == id), None)


def urgent(session: Session, now: datetime, *, limit: int) -> tuple[list[CertificateLine], Urgent]:
    """The certificates that need a look, what hurts first on top, and how many there are of each sort."""

    def counted(*conditions: ColumnElement[bool]) -> int:
        return session.scalar(select(func.count()).select_from(Certificate).where(*conditions)) or 0

    top, soon = unsigned(session), now + SOON
    order = _ORDERS["urgency"]
    query = _lines().where(_HURT <= 1, (_HURT == 0) | (Certificate.not_after <= soon)).order_by(*order).limit(limit)
    lines = [*top, *map(_line, session.execute(query))]
    return lines[:limit], Urgent(
        broken=len(top) + counted(_HURT == 0),
        expired=counted(_HURT == 1, Certificate.not_after <= now),
        expiring=counted(_HURT == 1, Certificate.not_after > now, Certificate.not_after <= soon),
    )


def starting_with(session: Session, beginning: str, *, limit: int = 2) -> list[CertificateLine]:
    """The lines whose id or serial begins so; two tell already that it is not the one."""
    low = beginning.lower()
    begins = or_(*(one.startswith(low, autoescape=True) for one in (Certificate.id, Certificate.serial)))
    rows = session.execute(_lines().where(begins).order_by(Certificate.id).limit(limit))
    waiting = [line for line in unsigned(session) if line.id.startswith(low)]
    return [*waiting, *(_line(row) for row in rows)][:limit]


_OF_PEER = (Peer.remote_instance_url, Peer.status, Peer.last_handshake_at, Peer.last_outbound_error)


def _lines() -> Any:
    return select(Certificate, _HURT.label("rank"), *_OF_PEER).outerjoin(Peer, Peer.id == Certificate.peer_id)


def _counting(text: str, invert: bool) -> Any:
    counting = select(func.count()).select_from(Certificate)
    # Without a filter the peers need not be looked at.
    return (counting.outerjoin(Peer, Peer.id == Certificate.peer_id) if text else counting).where(
        _matches(text, invert)
    )


def _matches(text: str, invert: bool) -> ColumnElement[bool]:
    if not text:
        return true()
    columns = (
        Certificate.subject,
        Certificate.serial,
        Certificate.subject_kind,
        Certificate.direction,
        Peer.remote_instance_url,
    )
    found = func.coalesce(or_(*(column.icontains(text, autoescape=True) for column in columns)), literal(False))
    return not_(found) if invert else found


def unsigned(session: Session, text: str = "", invert: bool = False) -> list[CertificateLine]:
    """Requests of ours that have no certificate, and whose peer has no other pair of ours in use."""
    other = aliased(Credential)
    has_another = exists().where(
        other.peer_id == Credential.peer_id, other.state == "current", other.certificate_id.is_not(None)
    )
    query = (
        select(Credential, *_OF_PEER)
        .join(Peer, Peer.id == Credential.peer_id)
        .where(
            Credential.certificate_id.is_(None),
            Credential.state != "retired",
            # As an expression, lest SQLite begin with all the peers in these states: requests are few.
            func.coalesce(Peer.status, "").in_(MAY_HEARTBEAT),
            not_(has_another),
        )
        .order_by(Credential.created_at, Credential.id)
        .limit(MOST_UNSIGNED)
    )
    if text:
        found = Peer.remote_instance_url.icontains(text, autoescape=True)
        query = query.where(not_(found) if invert else found)
    return [_waiting(row.Credential, row) for row in session.execute(query)]


def _waiting(credential: Credential, row: Any) -> CertificateLine:
    return CertificateLine(
        id=credential.id,
        direction="outbound",
        subject_kind="federation_peer",
        subject="",
        serial="",
        peer_id=credential.peer_id,
        not_before=credential.created_at,
        not_after=None,
        renew_at=None,
        first_used_at=None,
        superseded_at=None,
        revoked_at=None,
        problem=UNSIGNED,
        rank=0,
        **_peer(row),
    )


def _line(row: Any) -> CertificateLine:
    found: Certificate = row.Certificate
    return CertificateLine(
        id=found.id,
        direction=found.direction,
        subject_kind=found.subject_kind,
        subject=found.subject,
        serial=found.serial,
        peer_id=found.peer_id,
        not_before=found.not_before,
        not_after=found.not_after,
        renew_at=found.renew_at,
        first_used_at=found.first_used_at,
        superseded_at=found.superseded_at,
        revoked_at=found.revoked_at,
        problem=found.problem,
        rank=row.rank,
        **_peer(row),
    )


def _peer(row: Any) -> dict[str, Any]:
    return {
        "peer_url": row.remote_instance_url,
        "peer_status": row.status,
        "last_handshake_at": row.last_handshake_at,
        "last_outbound_error": row.last_outbound_error,
    }
