"""Findings: what a scan has found, since when, and whether somebody has taken it upon themselves.

One row for each kind and subject, for good: what goes and comes back is the same row again. A scan
writes only what has changed; that an open finding still holds is told by the time of its kind's scan.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, UniqueConstraint, and_, case, func, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import operators
from fedtui.core.audit.events import SEVERITIES, emit
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.governance.rules import BY_KIND
from fedtui.core.runtime import durations
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, JsonObject, Text_, Time
from fedtui.core.runtime.unit import Unit

SOURCE = "governance"
OPEN, ACKNOWLEDGED, GONE = "open", "acknowledged", "gone"
STATES = (OPEN, ACKNOWLEDGED, GONE)
LONGEST_ACKNOWLEDGEMENT = timedelta(days=90)
REASON_LIMIT = 500
KEPT = timedelta(days=365)
"""How long what is gone stays on record."""
_STANDS = "gone_at IS NULL"


class Finding(Base):
    """One finding. `subject` tells findings of a kind apart, `rank` orders by severity, the gravest first.

    `mark` is what it rested on when `said` was written; `absent_since` is when it was first not seen,
    where its kind waits before it counts as gone.
    """

    __tablename__ = "governance_findings"
    __table_args__ = (
        UniqueConstraint("kind", "subject"),
        Index("ix_governance_findings_peer_id", "peer_id", "id"),
        Index(
            "ix_governance_findings_standing",
            "rank",
            "kind",
            "id",
            sqlite_where=text(_STANDS),
            postgresql_where=text(_STANDS),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text_)
    subject: Mapped[str] = mapped_column(Text_)
    severity: Mapped[str]
    rank: Mapped[int]
    peer_id: Mapped[str | None] = mapped_column(Text_)
    said: Mapped[str]
    detail: Mapped[JsonObject]
    mark: Mapped[str]
    first_seen: Mapped[Time]
    last_seen: Mapped[Time]
    absent_since: Mapped[Time | None]
    gone_at: Mapped[Time | None]
    reopened: Mapped[int]
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[Time | None]
    acknowledged_until: Mapped[Time | None]
    acknowledgement: Mapped[str | None]


class KindScan(Base):
    """When a kind was last looked for, and when it could last be told; until then what stands was left alone."""

    __tablename__ = "governance_scans"

    kind: Mapped[str] = mapped_column(Text_, primary_key=True)
    scanned_at: Mapped[Time]
    told_at: Mapped[Time | None]


def rank_of(severity: str) -> int:
    """0 for what is gravest."""
    return len(SEVERITIES) - 1 - SEVERITIES.index(severity)


def state_at(now: datetime) -> ColumnElement[str]:
    """`open`, `acknowledged` (until its end, then open again by itself) or `gone`."""
    acknowledged = and_(Finding.acknowledged_until.is_not(None), Finding.acknowledged_until > now)
    return case((Finding.gone_at.is_not(None), GONE), (acknowledged, ACKNOWLEDGED), else_=OPEN)


def is_open(now: datetime) -> ColumnElement[bool]:
    """What nobody has acknowledged and still holds: a condition that an index serves."""
    lapsed = or_(Finding.acknowledged_until.is_(None), Finding.acknowledged_until <= now)
    return and_(stands(), lapsed)


def stands() -> ColumnElement[bool]:
    """What still holds, in the words of its index: SQLite uses a partial one for no others."""
    return text(_STANDS)  # type: ignore[return-value]


def about(peer_id: str) -> ColumnElement[bool]:
    """Findings of a peer, also those where it is the other of two."""
    other = and_(Finding.kind == "overlapping_prefix_advertisement", Finding.subject.endswith(f"/{peer_id}"))
    return or_(Finding.peer_id == peer_id, other)


def last_seen() -> ColumnElement[datetime]:
    """When a finding was last seen: what still holds, at its kind's last scan (`KindScan` must be joined)."""
    holds = and_(Finding.gone_at.is_(None), Finding.absent_since.is_(None), KindScan.told_at.is_not(None))
    return case((holds, KindScan.told_at), else_=Finding.last_seen)


def find(session: Session, wanted: str) -> Finding:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(
        session, Finding, wanted, noun="finding", see="fedtui governance list", code="finding_not_found"
    )


def counts(session: Session, now: datetime) -> dict[str, int]:
    """How many are open, by severity, the gravest first; every severity is named."""
    query = select(Finding.severity, func.count()).where(is_open(now)).group_by(Finding.severity)
    found = {row.severity: int(row[1]) for row in session.execute(query)}
    return {severity: found.get(severity, 0) for severity in reversed(SEVERITIES)}


def scanned_at(session: Session) -> datetime | None:
    """When the whole table of rules was last gone through, or None before the first time."""
    found = {row.kind: row.scanned_at for row in session.scalars(select(KindScan))}
    return min((found[kind] for kind in BY_KIND), default=None) if BY_KIND.keys() <= found.keys() else None


def held_back(session: Session) -> list[str]:
    """Kinds that could not be told at their last scan."""
    behind = or_(KindScan.told_at.is_(None), KindScan.told_at < KindScan.scanned_at)
    return list(session.scalars(select(KindScan.kind).where(behind).order_by(KindScan.kind)))


def acknowledge(unit: Unit, wanted: str, *, reason: str, span: timedelta) -> Finding:
    """Hide a finding from what is open, for so long, with a reason. Acknowledging again replaces the one before.

    Raises `WrongUsage` without a reason or for a span that is not up to 90 days, `Refused` without the
    permission that its rule asks for, or where it is gone.
    """
    said = _reason(reason)
    if not timedelta() < span <= LONGEST_ACKNOWLEDGEMENT:
        raise WrongUsage(
            f"--for: {durations.show(span)} is not a time to acknowledge a finding for.",
            cause=f"It is up to {durations.show(LONGEST_ACKNOWLEDGEMENT)}, so that it is looked at again.",
            fix="Give --for 7d.",
            code="duration_invalid",
        )
    row = find(unit.session, wanted)
    rule = BY_KIND.get(row.kind)
    operators.require(unit.session, unit.actor.name, rule.permission if rule else operators.CONTROL)
    done = unit.session.execute(
        update(Finding)
        .where(Finding.id == row.id, Finding.gone_at.is_(None))
        .values(
            acknowledged_by=unit.actor.name,
            acknowledged_at=unit.now,
            acknowledged_until=unit.now + span,
            acknowledgement=said,
        )
        .execution_options(synchronize_session=False)
        .returning(Finding.id)
    ).one_or_none()
    if done is None:
        raise Refused(
            "This finding is gone.",
            cause=f"It was last seen at {row.last_seen.isoformat()}.",
            fix="There is nothing to acknowledge. See what is open: fedtui governance list",
            code="finding_gone",
        )
    unit.session.refresh(row)
    emit(
        unit,
        "governance.finding.acknowledged",
        source=SOURCE,
        peer_id=row.peer_id,
        finding_id=row.id,
        finding=row.kind,
        said=row.said,
        reason=said,
        until=(unit.now + span).isoformat(),
    )
    return row


def _reason(given: str) -> str:
    said = given.strip()
    if not said or len(said) > REASON_LIMIT:
        raise WrongUsage(
            "Acknowledging takes a reason." if not said else "The reason is too long.",
            cause="It tells the next one who looks why nothing was done.",
            fix=f"Give --reason TEXT, at most {REASON_LIMIT} characters.",
            code="reason_missing",
        )
    return said


def shape(line: Any) -> dict[str, Any]:
    """A finding (a `FindingLine`) as JSON."""
    return {name: getattr(line, name) for name in line.__dataclass_fields__}
