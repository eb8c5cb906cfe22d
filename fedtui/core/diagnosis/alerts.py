"""What the record alone shows to be wrong with peers and calls: the suspects of the doctor that Home names, too.

Each sort is one short query that an index serves; nothing is opened and nobody is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fedtui.core.diagnosis import triage
from fedtui.core.diagnosis.checks.limits import REFUSALS_SINCE
from fedtui.core.diagnosis.model import Subject
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers.peers import Peer
from fedtui.core.pki.node_context import NodeContext

DENIED, ACCEPT_FAILED = "denied", "accept_failed"
"""Sorts besides those of `survey.by_record`: calls of peers or with grants were denied; an accept of ours failed."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """One sort: how many there are (None: some, which are not counted), and the first as (scope, id, label, detail).

    `detail` is the number of seconds that a peer's clock is ahead of this node's, where that is the alert.
    """

    sort: str
    count: int | None
    first: tuple[tuple[str, str, str, float | None], ...]


def alerts(session: Session, site: NodeContext, now: datetime, *, limit: int) -> tuple[Alerts, ...]:
    """Every sort of which there is any."""
    suspects = triage.by_record(now, 2 * site.settings.heartbeat_interval)
    sorts = (
        *(_of_peers(session, sort, clause, limit) for sort, clause in suspects.items()),
        _of_subjects(DENIED, None, triage.denied_calls(session, now), limit),
        _of_subjects(ACCEPT_FAILED, _failed_accepts(session, now), triage.failed_accepts(session, now), limit),
    )
    return tuple(alert for alert in sorts if alert.first)


def _of_peers(session: Session, sort: str, clause: ColumnElement[bool], limit: int) -> Alerts:
    where: Any = (Peer.peer_kind == "platform") & clause
    count = session.scalar(select(func.count()).select_from(Peer).where(where)) or 0
    columns = select(Peer.id, Peer.remote_instance_url, Peer.clock_skew_seconds).where(where)
    rows = session.execute(columns.order_by(Peer.id).limit(limit)) if count else ()
    first = (("peer", id, url, skew if sort == triage.CLOCK else None) for id, url, skew in rows)
    return Alerts(sort, count, tuple(first))


def _failed_accepts(session: Session, now: datetime) -> int:
    query = (
        select(func.count())
        .select_from(Approval)
        .where(
            Approval.action == "system.federation_peer_accept",
            Approval.status == "failed",
            Approval.requested_at >= now - REFUSALS_SINCE,
        )
    )
    return session.scalar(query) or 0


def _of_subjects(sort: str, count: int | None, subjects: Sequence[Subject], limit: int) -> Alerts:
    return Alerts(sort, count, tuple((subject.scope, subject.id, subject.label, None) for subject in subjects[:limit]))
