"""Seals: committed events, in batches, in a chain of keyed hashes.

Every seal names the one before it, so that an event that was changed, removed, or slipped into
a sealed batch is found (`verifying.py`). Which events a seal covers is written beside each of
them, not taken from a range of ids: ids are made before the commit, so they come out of order.

The hashes are keyed from the vault: whoever has the database alone cannot seal anew. Whoever
has the service account has the key; and a chain cut short, seals and all, is still a chain,
which only a head noted elsewhere tells.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Select, String, Text, and_, cast, delete, or_, select, type_coerce, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import Event, emit
from fedtui.core.runtime.database import Base, engine_of
from fedtui.core.runtime.types import Time
from fedtui.core.runtime.unit import Unit

SOURCE = "record"
BATCH = 1_000
"""Events under one seal at most."""
RETIRED_AT_ONCE = 20
"""Batches removed in one transaction at most, so that nobody waits long for the database."""
KEPT, KEPT_WITH_CRITICAL = timedelta(days=90), timedelta(days=365)
GENESIS = "0" * 64
"""What the first seal names as the one before it."""
PURPOSE = b"event seals"
"""What the key is derived from the vault's for."""
ID_BYTES = 16
_HASH_BYTES = 16
ENTRY_BYTES = ID_BYTES + _HASH_BYTES


class Seal(Base):
    """One sealed batch. `entries` is each event's id and hash in order of id, kept while the events are;
    `root` is their hash, `digest` that of the seal, with the one before; both stay for good."""

    __tablename__ = "event_seals"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    previous: Mapped[str]
    root: Mapped[str]
    digest: Mapped[str]
    entries: Mapped[bytes | None]
    count: Mapped[int]
    first_at: Mapped[Time]
    last_at: Mapped[Time]
    sealed_at: Mapped[Time]
    has_critical: Mapped[bool]
    removed_at: Mapped[Time | None]


def head(session: Session) -> Seal | None:
    """The newest seal."""
    return session.scalars(select(Seal).order_by(Seal.seq.desc()).limit(1)).one_or_none()


def seal_next(unit: Unit, key: bytes) -> int:
    """Seal the next batch of committed events; how many. One sealer at a time: hold the lease."""
    rows = unit.session.execute(
        contents(unit.session).where(Event.seal.is_(None)).order_by(Event.id).limit(BATCH)
    ).all()
    if not rows:
        return 0
    entries = b"".join(entry(key, row) for row in rows)
    before, times = head(unit.session), [_moment(row.emitted_at, unit.now) for row in rows]
    seal = Seal(
        seq=before.seq + 1 if before else 1,
        previous=before.digest if before else GENESIS,
        root=hashlib.sha256(entries).hexdigest(),
        entries=entries,
        count=len(rows),
        first_at=min(times),
        last_at=max(times),
        sealed_at=unit.now,
        has_critical=any(row.severity == "critical" for row in rows),
        removed_at=None,
    )
    seal.digest = digest(key, seal)
    unit.session.add(seal)
    unit.session.flush()
    covered = update(Event).where(Event.id.in_([row.id for row in rows])).values(seal=seal.seq)
    unit.session.execute(covered.execution_options(synchronize_session=False))
    return len(rows)


def contents(session: Session) -> Select[Any]:
    """Everything that says what happened, as the database keeps it: what was tampered with need not be readable."""
    is_sqlite = engine_of(session).dialect.name == "sqlite"
    at = type_coerce(Event.emitted_at, String) if is_sqlite else Event.emitted_at
    columns: tuple[Any, ...] = (
        Event.id,
        Event.kind,
        Event.severity,
        Event.source,
        Event.peer_id,
        Event.actor,
        Event.uid,
        Event.origin,
        Event.correlation_id,
        cast(Event.payload, Text).label("payload"),
        at.label("emitted_at"),
        Event.seal,
    )
    return select(*columns)


def entry(key: bytes, row: Any) -> bytes:
    """An event's id and keyed hash: its line in its seal."""
    # Its number among the seals is left out: it is not known yet when this is made, and the seal says it.
    said = json.dumps(list(row[:-1]), default=_plain).encode()
    return id_bytes(row.id) + hmac.digest(key, said, "sha256")[:_HASH_BYTES]


def id_bytes(event_id: object) -> bytes:
    """An id's place in an entry. One that is none, which only tampering makes, gets a hash for it."""
    try:
        return uuid.UUID(str(event_id)).bytes
    except ValueError:
        return hashlib.sha256(repr(event_id).encode()).digest()[:ID_BYTES]


def digest(key: bytes, seal: Seal) -> str:
    """The keyed hash of all that a seal says, with the one before it."""
    said = [
        seal.seq,
        seal.previous,
        seal.root,
        seal.count,
        seal.has_critical,
        *(moment.isoformat() for moment in (seal.first_at, seal.last_at, seal.sealed_at)),
    ]
    return hmac.digest(key, json.dumps(said).encode(), "sha256").hex()


def kept_for(seal: Seal) -> timedelta:
    """How long a batch is kept after its last event."""
    return KEPT_WITH_CRITICAL if seal.has_critical else KEPT


def retire(unit: Unit) -> int:
    """Remove batches that were kept long enough, so many at once; how many events. Their seals stay."""
    due = or_(
        and_(Seal.has_critical.is_(False), Seal.last_at < unit.now - KEPT),
        Seal.last_at < unit.now - KEPT_WITH_CRITICAL,
    )
    query = select(Seal.seq).where(Seal.removed_at.is_(None), due).order_by(Seal.seq).limit(RETIRED_AT_ONCE)
    over = list(unit.session.scalars(query))
    if not over:
        return 0
    removed = unit.session.execute(delete(Event).where(Event.seal.in_(over))).rowcount  # type: ignore[attr-defined]
    unit.session.execute(update(Seal).where(Seal.seq.in_(over)).values(removed_at=unit.now, entries=None))
    emit(unit, "system.record.retired", source=SOURCE, seals=[over[0], over[-1]], events=removed)
    return int(removed)


def _moment(stored: Any, otherwise: datetime) -> datetime:
    """A time as `contents` gives it. What is none was not written by this program, and is no reason not to seal it."""
    if isinstance(stored, datetime):
        return stored
    try:
        return datetime.fromisoformat(str(stored)).replace(tzinfo=UTC)
    except ValueError:
        return otherwise


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
