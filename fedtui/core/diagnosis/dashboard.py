"""The node at a glance: is anything wrong, and what needs this operator.

One bundle of short queries in one transaction, each served from an index and each bounded, so
that it may be asked again whenever something is committed, whatever the number of peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause
from fedtui.core.administration.manager_pause import MANAGER_JOB
from fedtui.core.certificates import listing as certificate_listing
from fedtui.core.certificates.listing import CertificateLine, Urgent
from fedtui.core.diagnosis import incidents, triage
from fedtui.core.diagnosis.alerts import Alerts, alerts
from fedtui.core.governance import findings
from fedtui.core.governance import listing as governance
from fedtui.core.governance.listing import FindingLine
from fedtui.core.grants import decisions
from fedtui.core.operations import approval_queue, eligible_approvers
from fedtui.core.operations.approval_queue import ApprovalLine
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers.listing import PeerLine
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons, job_runs, lease

MOST = 12
"""Lines of each sort at most; the counts tell of the rest."""
BUCKETS, BUCKET = 30, timedelta(minutes=2)
"""The last hour, in pieces that begin at even minutes, so that the same hour is always told the same way."""
LATE = 3
"""Intervals after which a run that did not come is overdue."""


@dataclass(frozen=True, slots=True)
class Late:
    """A job that does not run as it should: when it last began (None: never), and what its last run failed with."""

    job: str
    last_started_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Denials:
    """Calls refused in the last hour: by bucket, oldest first; in all; the newest's code and id.

    The same call, refused again within a minute, is counted once (`decisions.Decision.times`).
    """

    buckets: tuple[int, ...] = (0,) * BUCKETS
    count: int = 0
    newest_code: str | None = None
    newest: str | None = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the first screen shows besides the overview. Lists are worst, or most urgent, first, and cut;
    counts are of all.

    `peers` counts them by state, `troubled` those that are degraded, open to any caller, or not
    reached; `findings_open` counts by severity what governance found and nobody has acknowledged.
    `heartbeats` is how many peers were heard from, by bucket, oldest first; None where nothing looked.
    """

    lease_holder: str | None
    paused_by: str | None
    late: tuple[Late, ...]
    peers: Mapping[str, int]
    troubled: tuple[PeerLine, ...]
    troubled_count: int
    approvals: tuple[ApprovalLine, ...]
    approvals_open: int
    certificates: tuple[CertificateLine, ...]
    urgent: Urgent
    incidents: tuple[dict[str, Any], ...]
    incidents_open: int
    findings: tuple[FindingLine, ...]
    findings_open: Mapping[str, int]
    heartbeats: tuple[float | None, ...]
    heard: int | None
    denials: Denials
    undecidable: int = 0
    """Requests that nobody can decide."""
    approvals_for_me: int = 0
    """Requests that the operator can decide; `approvals` has the first of them."""
    alerts: tuple[Alerts, ...] = ()
    """Suspects of the doctor that none of the lists above has."""
    not_done: int = 0
    """Requests that timed out, failed or became stale within the last day."""
    certificates_held: int = 0
    checked_at: datetime | None = None


def glance(session: Session, site: NodeContext, operator: str) -> Dashboard:
    """Look at the node for `operator`, beside `acts.overview.overview`, which tells what the node itself is in."""
    now = site.clock.now()
    troubled, troubled_count = peer_listing.troubled(session, limit=MOST)
    certificates, urgent = certificate_listing.urgent(session, now, limit=MOST)
    for_me = approval_queue.View(approval_queue.FOR_ME, operator, now)
    held = lease.in_force(session, now=now)
    beats = _heard(session, now)
    return Dashboard(
        lease_holder=held.holder if held is not None else None,
        paused_by=manager_pause.paused_by(session),
        late=_late(session, site, now),
        peers=peer_listing.counts(session),
        troubled=tuple(troubled),
        troubled_count=troubled_count,
        approvals=tuple(approval_queue.page(session, view=for_me, limit=MOST)),
        approvals_open=approval_queue.count(session, view=approval_queue.View(approval_queue.ALL_OPEN, operator, now)),
        certificates=tuple(certificates),
        urgent=urgent,
        incidents=tuple(incidents.shape(session, one) for one in incidents.listing(session, limit=MOST)),
        incidents_open=incidents.open_count(session),
        findings=tuple(governance.gravest(session, now=now, limit=MOST)),
        findings_open=findings.counts(session, now),
        heartbeats=_averages(beats, now),
        heard=beats[-1][1] if beats else None,
        denials=_denials(session, now),
        undecidable=eligible_approvers.requests_without_approver(session, now),
        approvals_for_me=approval_queue.count(session, view=for_me),
        alerts=alerts(session, site, now, limit=MOST),
        not_done=triage.not_done(session, now),
        certificates_held=certificate_listing.count(session),
        checked_at=now,
    )


def bucket_of(moment: datetime, now: datetime) -> int | None:
    """The bucket of the last hour that a moment lies in, or None."""
    seconds = BUCKET.total_seconds()
    place = BUCKETS - 1 - int(now.timestamp() // seconds - moment.timestamp() // seconds)
    return place if 0 <= place < BUCKETS else None


def _late(session: Session, site: NodeContext, now: datetime) -> tuple[Late, ...]:
    """The two jobs that a federation lives by, where a daemon is there and they do not run, or do not succeed."""
    settings, found = site.settings, []
    since = daemons.listening_since(session, now=now, ttl=3 * settings.lease_ttl)
    if since is None:
        return ()
    for job, every in ((heartbeats.JOB, settings.heartbeat_interval), (MANAGER_JOB, settings.manager_interval)):
        run = job_runs.newest(session, job, now=now)
        last = run.started_at if run is not None else None
        error = str(run.detail.get("error", "")) if run is not None and run.outcome == "failed" else None
        if error is not None or now - max(since, last or since) > LATE * every:
            found.append(Late(job, last, error))
    return tuple(found)


def _heard(session: Session, now: datetime) -> list[tuple[datetime, int]]:
    """When the heartbeat job looked within the last hour, and from how many peers it had lately heard."""
    runs = job_runs.runs(session, heartbeats.JOB, since=now - BUCKETS * BUCKET, limit=BUCKETS * BUCKET // _LEAST)
    return [(run.started_at, run.detail["heard"]) for run in runs if isinstance(run.detail.get("heard"), int)]


_LEAST = timedelta(seconds=10)
"""The shortest interval that an hour of runs is read for; of more frequent ones, the newest part."""


def _averages(beats: Iterable[tuple[datetime, int]], now: datetime) -> tuple[float | None, ...]:
    pieces: list[list[int]] = [[] for _ in range(BUCKETS)]
    for at, heard in beats:
        if (place := bucket_of(at, now)) is not None:
            pieces[place].append(heard)
    return tuple(sum(piece) / len(piece) if piece else None for piece in pieces)


def _denials(session: Session, now: datetime) -> Denials:
    found = decisions.refused(session, since=now - BUCKETS * BUCKET)
    if not found:
        return Denials()
    buckets = [0] * BUCKETS
    for at, count in found:
        if (place := bucket_of(min(at, now), now)) is not None:
            buckets[place] += count
    [newest] = decisions.listing(session, refused_only=True, limit=1)
    return Denials(tuple(buckets), sum(count for _, count in found), newest.code, newest.id)
