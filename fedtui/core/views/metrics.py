"""What a monitoring system asks of a node: how many, how old, how late. A table of questions.

Each is a query or two, aggregated by the database, and its labels are words of ours: nothing
that a remote sends becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from sqlalchemy import Integer, case, func, literal_column, or_, select, text
from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause
from fedtui.core.audit import outbox
from fedtui.core.audit.events import SEVERITIES, Event
from fedtui.core.grants import quota
from fedtui.core.grants.decisions import id_at
from fedtui.core.grants.resources import Resource
from fedtui.core.operations import policies
from fedtui.core.operations.approvals import OPEN, Approval
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers.peers import URGENCY_SQL, Peer
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import HURT_SQL, Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons, lease
from fedtui.core.runtime import job_runs as jobs
from fedtui.core.runtime.job_runs import Job, JobRun

LATELY = timedelta(hours=1)
AGES: Sequence[int] = (60, 120, 300, 600, 1800, 3600, 21_600, 86_400)
DAYS: Sequence[int] = (0, 1, 7, 14, 30, 60, 90)
EVERYTHING = "+Inf"
OUTBOUND_FAILING = 2
"""The rank that `URGENCY_SQL` gives those whom our own last call did not reach."""
IN_USE = (0, 1)
"""The ranks that `HURT_SQL` gives a certificate before it is over."""
Samples = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Look:
    """One moment at which the node is looked at."""

    session: Session
    site: NodeContext
    now: datetime
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class GaugeDefinition:
    """A row of the table: a gauge's name, what it says, its labels, and how its samples are found."""

    name: str
    words: str
    labels: tuple[str, ...]
    ask: Callable[[Look], Samples]


@dataclass(frozen=True, slots=True)
class Measure:
    """A question with its answer; each key of `samples` gives the labels' values."""

    name: str
    words: str
    labels: tuple[str, ...]
    samples: Samples


def measures(
    session: Session, site: NodeContext, schedule: Sequence[Job], questions: Sequence[GaugeDefinition]
) -> list[Measure]:
    """Ask each question, all at one moment."""
    look = Look(session, site, site.clock.now(), schedule)
    return [Measure(one.name, one.words, one.labels, one.ask(look)) for one in questions]


def _seconds(span: timedelta) -> float:
    return span.total_seconds()


# --- peers and certificates --------------------------------------------------------------


def _peers(look: Look) -> Samples:
    return {(status,): count for status, count in peer_listing.counts(look.session).items()}


_ACTIVE = text("peer_kind = 'platform' AND status = 'active'")
"""Nearly all that should be heard of, in the words of the sweep's index: its planner takes it for no others."""
_OTHERS = (Peer.peer_kind == "platform", Peer.status.in_(("enrolled", "degraded")))
"""The rest of them."""


def _ages(look: Look) -> Samples:
    since = [look.now - timedelta(seconds=age) for age in AGES]
    heard = Peer.last_heartbeat_at
    # What lies between the edges is counted, each peer once; "since each edge" would be as many passes.
    bands = ((heard >= since[0],), *((heard >= two, heard < one) for one, two in pairwise(since)), (heard < since[-1],))
    active = accumulate(_count(look, Peer, _ACTIVE, *band) for band in bands)
    within = [func.coalesce(func.sum(case((heard >= edge, 1), else_=0)), 0) for edge in since]
    others = look.session.execute(select(*within, func.count()).select_from(Peer).where(*_OTHERS)).one()
    return {(str(edge),): one + two for edge, one, two in zip((*AGES, EVERYTHING), active, others, strict=True)}


def _oldest(look: Look) -> Samples:
    asked = (select(func.min(Peer.last_heartbeat_at)).where(*those) for those in ((_ACTIVE,), _OTHERS))
    found = [oldest for one in asked if (oldest := look.session.scalar(one)) is not None]
    return {(): _seconds(look.now - min(found))} if found else {}


def _outbound_failing(look: Look) -> Samples:
    return {(): _count(look, Peer, literal_column(URGENCY_SQL, Integer()) == OUTBOUND_FAILING)}


def _certificates(look: Look) -> Samples:
    ends = [look.now + timedelta(days=days) for days in DAYS]
    until = Certificate.not_after
    bands = (
        (until <= ends[0],),
        *((until > one, until <= next_) for one, next_ in pairwise(ends)),
        (until > ends[-1],),
    )
    # Equality with each rank in use, and not "less than over": so that the index serves the range of times.
    in_use = [literal_column(HURT_SQL, Integer()) == literal_column(str(rank)) for rank in IN_USE]
    found = [sum(_count(look, Certificate, rank, *band) for rank in in_use) for band in bands]
    return _cumulative(DAYS, found)


def _own(look: Look) -> Samples:
    server = certificates.current_server(look.session)
    own = {"ca": certificates.own_ca(look.session), **({"server": server} if server else {})}
    return {(kind,): _seconds(row.not_after - look.now) / 86_400 for kind, row in own.items()}


def _count(look: Look, table: Any, *conditions: Any) -> int:
    return look.session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def _cumulative(edges: Sequence[int], bands: Sequence[int]) -> Samples:
    """Buckets as Prometheus has them, from counts of what lies between the edges."""
    return {(str(edge),): total for edge, total in zip((*edges, EVERYTHING), accumulate(bands), strict=True)}


# --- the queue, the schedule, the record -------------------------------------------------


def _approvals(look: Look) -> Samples:
    query = select(Approval.status, func.count()).where(Approval.status.in_(OPEN)).group_by(Approval.status)
    found = dict(look.session.execute(query).all())
    return {(status,): found.get(status, 0) for status in OPEN}


def _oldest_request(look: Look) -> Samples:
    oldest = look.session.scalar(select(func.min(Approval.requested_at)).where(Approval.status == "pending"))
    return {(): _seconds(look.now - oldest) if oldest else 0}


def _documents(look: Look) -> Samples:
    return {key: count for key, (count, _) in _stored(look).items()}


def _document_bytes(look: Look) -> Samples:
    return {key: size for key, (_, size) in _stored(look).items()}


def _stored(look: Look) -> Mapping[tuple[str, ...], tuple[int, int]]:
    of_peers = Resource.peer_id.is_not(None)
    sums = (func.count(), func.coalesce(func.sum(Resource.size), 0))
    found: dict[tuple[str, ...], tuple[int, int]] = {
        ("peers" if peers else "operators",): (count, size)
        for peers, count, size in look.session.execute(select(of_peers, *sums).group_by(of_peers))
    }
    return {("peers",): (0, 0), ("operators",): (0, 0), **found}


def _quotas_near(look: Look) -> Samples:
    quotas, found = quota.of(look.site.settings), dict[tuple[str, ...], float]()
    for name, owner, most in (("peer", Resource.peer_id, quotas.peer), ("grant", Resource.grant_id, quotas.grant)):
        many = func.count() >= quota.NEAR * most.documents
        large = func.sum(Resource.size) >= quota.NEAR * most.size
        near = select(owner).where(owner.is_not(None)).group_by(owner).having(or_(many, large)).subquery()
        found[name,] = look.session.scalar(select(func.count()).select_from(near)) or 0
    return found


def _durations(look: Look) -> Samples:
    return {
        (job.name,): _seconds(run.finished_at - run.started_at)
        for job in look.jobs
        if (run := jobs.last_finished(look.session, job.name, now=look.now)) is not None and run.finished_at is not None
    }


def _sweep_seconds(look: Look) -> Samples:
    run = jobs.last_finished(look.session, heartbeats.JOB, now=look.now)
    seconds = run.detail.get("sweep_seconds") if run is not None else None
    return {(): seconds} if isinstance(seconds, int | float) else {}


def _lags(look: Look) -> Samples:
    latest = jobs.latest(look.session, now=look.now)
    return {
        (job.name,): max(0.0, _seconds(look.now - latest[job.name].started_at - job.every))
        for job in look.jobs
        if job.name in latest
    }


def _runs(look: Look) -> Samples:
    counting = select(JobRun.outcome, func.count()).where(JobRun.started_at >= look.now - LATELY)
    return {
        (job.name, outcome): count
        for job in look.jobs
        for outcome, count in look.session.execute(counting.where(JobRun.job == job.name).group_by(JobRun.outcome))
    }


def _events(look: Look) -> Samples:
    query = select(Event.severity, func.count()).where(Event.id >= id_at(look.now - LATELY)).group_by(Event.severity)
    found = dict(look.session.execute(query).all())
    return {(severity,): found.get(severity, 0) for severity in SEVERITIES}


def _holds_lease(look: Look) -> Samples:
    held = lease.in_force(look.session, now=look.now)
    return {(): float(held is not None and held.holder == look.site.holder)}


def _epoch(look: Look) -> Samples:
    held = lease.current(look.session)
    return {(): held.epoch if held is not None else 0}


def _daemons(look: Look) -> Samples:
    return {(): len(daemons.alive(look.session, now=look.now, ttl=3 * look.site.settings.lease_ttl))}


QUESTIONS: tuple[GaugeDefinition, ...] = (
    GaugeDefinition("fedtui_peers", "Peers by state.", ("status",), _peers),
    GaugeDefinition(
        "fedtui_peers_by_heartbeat_age",
        "Platform peers enrolled, active or degraded, heard of within le seconds; cumulative.",
        ("le",),
        _ages,
    ),
    GaugeDefinition(
        "fedtui_oldest_heartbeat_age_seconds", "Since the peer among them that was heard of least lately.", (), _oldest
    ),
    GaugeDefinition(
        "fedtui_peers_outbound_failing",
        "Enrolled or active peers whom our own last call did not reach.",
        (),
        _outbound_failing,
    ),
    GaugeDefinition(
        "fedtui_certificates_by_days_left",
        "Certificates in use that end within le days (0: ended); cumulative.",
        ("le",),
        _certificates,
    ),
    GaugeDefinition(
        "fedtui_own_certificate_days_left", "Of this node's own CA and server certificate.", ("kind",), _own
    ),
    GaugeDefinition("fedtui_approvals", "Requests that are open, by status.", ("status",), _approvals),
    GaugeDefinition(
        "fedtui_oldest_pending_approval_seconds", "Age of the oldest pending one; 0: none.", (), _oldest_request
    ),
    GaugeDefinition(
        "fedtui_sweep_duration_seconds", "The latest heartbeat sweep, without sending our own.", (), _sweep_seconds
    ),
    GaugeDefinition("fedtui_job_duration_seconds", "Of each job's latest run that ended.", ("job",), _durations),
    GaugeDefinition("fedtui_job_lag_seconds", "By how much each job's next run is overdue.", ("job",), _lags),
    GaugeDefinition("fedtui_job_runs_last_hour", "Runs begun in the last hour.", ("job", "outcome"), _runs),
    GaugeDefinition("fedtui_events_last_hour", "Events of the last hour.", ("severity",), _events),
    GaugeDefinition("fedtui_lease_held", "1 where this process does the jobs, else 0.", (), _holds_lease),
    GaugeDefinition("fedtui_lease_epoch", "How often the lease has changed hands.", (), _epoch),
    GaugeDefinition("fedtui_daemons", "Daemons alive on this node's database.", (), _daemons),
    GaugeDefinition(
        "fedtui_resource_documents", "Documents of resources, by who wrote them last.", ("by",), _documents
    ),
    GaugeDefinition(
        "fedtui_resource_bytes",
        "Bytes of the documents of resources, by who wrote them last.",
        ("by",),
        _document_bytes,
    ),
    GaugeDefinition(
        "fedtui_quotas_near", "Peers and grants that have used most of a quota for documents.", ("of",), _quotas_near
    ),
    GaugeDefinition(
        "fedtui_notices_failing",
        "Notices that wait after a failure.",
        (),
        lambda look: {(): outbox.failing(look.session)[0]},
    ),
    GaugeDefinition(
        "fedtui_policies_lowered",
        "Policies lowered for an emergency.",
        (),
        lambda look: {(): len(policies.active_overrides(look.session, look.now))},
    ),
    GaugeDefinition(
        "fedtui_manager_paused",
        "1 where the SDWAN Manager is paused, else 0.",
        (),
        lambda look: {(): float(manager_pause.status(look.session) == manager_pause.PAUSED)},
    ),
)
