"""Events: what happened, append-only, with who did it and what caused it.

Every change of state emits one inside its own unit, so that a change and its event are
committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Select, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit import outbox
from fedtui.core.audit.redaction import redact
from fedtui.core.errors import NotFound
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, JsonObject, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

SEVERITIES = ("low", "medium", "high", "critical")

KINDS: Mapping[str, str] = {
    "federation.peer.proposed": "low",
    "federation.peer.token_issued": "low",
    "federation.peer.token_cancelled": "low",
    "federation.peer.token_expired": "low",
    "federation.peer.accept_refused": "medium",
    "federation.peer.accepted": "low",
    "federation.peer.body_refused": "medium",
    "federation.peer.credentials_stored": "low",
    "federation.peer.enrolled": "low",
    "federation.peer.active": "low",
    "federation.peer.heartbeat_stale": "medium",
    "federation.peer.recovered": "low",
    "federation.peer.outbound_failed": "medium",
    "federation.peer.outbound_recovered": "low",
    "federation.peer.suspended": "medium",
    "federation.peer.resumed": "low",
    "federation.peer.revoked": "high",
    "federation.peer.edited": "low",
    "federation.peer.declared": "low",
    "federation.peer.anchor_added": "low",
    "federation.peer.anchors_removed": "low",
    "federation.peer.crl_changed": "low",
    "federation.peer.crl_failed": "medium",
    "federation.handshake.owed": "low",
    "federation.handshake.delivered": "low",
    "federation.handshake.redelivered": "low",
    "federation.certificate.issued": "low",
    "federation.certificate.first_used": "low",
    "federation.certificate.revoked": "high",
    "federation.certificate.superseded": "low",
    "federation.certificate.renewed": "low",
    "federation.certificate.renewal_failed": "medium",
    "federation.certificate.stored": "medium",
    "federation.certificate.requested": "low",
    "federation.peer.anchor_changed": "high",
    "federation.peer.pair_broken": "high",
    "federation.peer.pair_mended": "low",
    "federation.server_certificate.renewed": "low",
    "federation.grant.issued": "low",
    "federation.grant.edited": "low",
    "federation.grant.renewed": "low",
    "federation.grant.renewal_ended": "medium",
    "federation.grant.revoked": "medium",
    "federation.grant.archived": "low",
    "federation.bridge.proposed": "low",
    "federation.bridge.active": "low",
    "federation.bridge.suspended": "medium",
    "federation.bridge.revoked": "medium",
    "federation.inventory.added": "low",
    "federation.inventory.removed": "medium",
    "federation.resource.written": "low",
    "federation.resource.deleted": "low",
    "system.approval.requested": "low",
    "system.approval.approved": "low",
    "system.approval.rejected": "low",
    "system.approval.expired": "medium",
    "system.approval.withdrawn": "low",
    "system.approval.stale": "medium",
    "system.approval.executed": "low",
    "system.approval.failed": "medium",
    "system.approval.reopened": "medium",
    "system.approval.retried": "low",
    "system.act": "low",
    "system.manager.paused": "high",
    "system.manager.resumed": "high",
    "system.node.initialised": "low",
    "system.node.quarantined": "critical",
    "system.node.quarantine_ended": "high",
    "system.daemon.started": "low",
    "system.daemon.stopped": "low",
    "system.lease.taken": "low",
    "system.operator.added": "medium",
    "system.operator.removed": "medium",
    "system.settings.changed": "medium",
    "system.policy.changed": "medium",
    "system.policy.lowered": "high",
    "system.policy.restored": "high",
    "system.policy.lowering_confirmed": "medium",
    "system.policy.changes_undone": "high",
    "system.approval.expiring": "high",
    "system.operator.authorized": "medium",
    "system.operator.deauthorized": "medium",
    "system.operator.recovered": "critical",
    "system.operator.recovery_acknowledged": "high",
    "system.change_request.filed": "medium",
    "system.change_request.settled": "medium",
    "governance.finding.appeared": "medium",
    "governance.finding.gone": "low",
    "governance.finding.acknowledged": "medium",
    "governance.finding.lapsed": "medium",
    "system.incident.opened": "low",
    "system.incident.taken_over": "low",
    "system.incident.noted": "low",
    "system.incident.diagnosed": "low",
    "system.incident.closed": "low",
    "system.worker_token.refused": "medium",
    "system.notice.failed": "medium",
    "system.notice.recovered": "low",
    "system.record.retired": "low",
}
"""Every kind of event and the severity it has unless the emitter knows better."""


GRAVE = "severity IN ('high', 'critical')"
"""Seldom true: these have an index of their own. Literal, so that the planners see it (notes on the sweep)."""


class Event(Base):
    """One thing that happened. `source` names the part that noticed (`sdwan_manager`,
    `accept_controller`, ...); `correlation_id` is shared by one act and all it caused;
    `seal` is the number of the batch it was sealed in (`seals.py`), None until then."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_kind_id", "kind", "id"),
        Index("ix_events_source_id", "source", "id"),
        Index("ix_events_peer_id_id", "peer_id", "id"),
        Index("ix_events_correlation_id_id", "correlation_id", "id"),
        Index("ix_events_emitted_at_id", "emitted_at", "id"),
        Index("ix_events_seal_id", "seal", "id"),
        Index("ix_events_grave", "id", sqlite_where=text(GRAVE), postgresql_where=text(GRAVE)),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text_)
    severity: Mapped[str]
    source: Mapped[str] = mapped_column(Text_)
    peer_id: Mapped[str | None] = mapped_column(Text_)
    actor: Mapped[str]
    uid: Mapped[int | None]
    origin: Mapped[str]
    correlation_id: Mapped[str] = mapped_column(Text_)
    payload: Mapped[JsonObject]
    emitted_at: Mapped[Time]
    seal: Mapped[int | None] = mapped_column(BigInteger)


def emit(
    unit: Unit,
    kind: str,
    *,
    source: str,
    peer_id: str | None = None,
    severity: str | None = None,
    correlation_id: str | None = None,
    **payload: Any,
) -> None:
    """Record that `kind` happened, with the unit's actor, time and correlation id (or that of another act).

    Raises `KeyError` for a kind that is not in `KINDS`: that is a bug, not input.
    """
    event_id, grave = new_id(), severity or KINDS[kind]
    outbox.queue(unit.session, event_id=event_id, kind=kind, severity=grave, now=unit.now)
    row = {
        "id": event_id,
        "kind": kind,
        "severity": grave,
        "source": source,
        "peer_id": peer_id,
        "payload": redact(payload),
        **context(unit),
        "correlation_id": correlation_id or unit.correlation_id,
    }
    # One statement, made once, given to the connection: to build one with these values costs five times the insert.
    unit.session.connection().execute(_INSERT, row)


_INSERT = insert(Event)


def context(unit: Unit) -> dict[str, Any]:
    """The columns that every event of a unit shares, for set-based inserts."""
    return {
        "actor": str(unit.actor),
        "uid": unit.actor.uid,
        "origin": unit.actor.origin,
        "correlation_id": unit.correlation_id,
        "emitted_at": unit.now,
    }


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: each part that is given narrows it. `severity` means that or graver; `since` is within,
    `until` is not; times are aware."""

    source: str | None = None
    kind: str | None = None
    severity: str | None = None
    peer_id: str | None = None
    correlation_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def narrow(self, query: Select[Any]) -> Select[Any]:
        """The query, narrowed to these events."""
        for column in ("source", "kind", "peer_id", "correlation_id"):
            if (value := getattr(self, column)) is not None:
                query = query.where(getattr(Event, column) == value)
        if self.severity is not None:
            query = query.where(Event.severity.in_(or_graver(self.severity)))
            if self.severity in ("high", "critical"):
                query = query.where(text(GRAVE))
        if self.since is not None:
            query = query.where(Event.emitted_at >= self.since)
        return query if self.until is None else query.where(Event.emitted_at < self.until)


def or_graver(severity: str) -> tuple[str, ...]:
    """This severity and those above it."""
    return SEVERITIES[SEVERITIES.index(severity) :]


def recent(
    session: Session,
    *,
    source: str | None = None,
    kind: str | None = None,
    severity: str | None = None,
    peer_id: str | None = None,
    correlation_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
) -> list[Event]:
    """The newest events that match, newest first (`EventFilter`)."""
    wanted = EventFilter(source, kind, severity, peer_id, correlation_id, since, until)
    return newest(session, wanted, limit=limit)


def correlation(session: Session, beginning: str) -> str:
    """The one correlation id that begins so. Raises `NotFound` for none or several."""
    wanted = beginning.strip().lower()
    column = Event.correlation_id
    query = select(column).where(column >= wanted, column < wanted + "~").distinct().order_by(column).limit(2)
    found = list(session.scalars(query)) if wanted else []
    if len(found) != 1:
        raise NotFound(
            f"{'More than one' if found else 'No'} correlation id begins {beginning[:60]!r}.",
            cause="A correlation id, or a unique beginning of one, is needed.",
            fix="It stands in each event (fedtui events --json) and at the end of each line of the log.",
            code="correlation_not_found",
        )
    return found[0]


def newest(session: Session, wanted: EventFilter, *, limit: int = 100) -> list[Event]:
    """The newest events that match, newest first."""
    return list(session.scalars(wanted.narrow(select(Event)).order_by(Event.id.desc()).limit(limit)))
