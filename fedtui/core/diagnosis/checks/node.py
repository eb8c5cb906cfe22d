"""Checks of the node itself: its daemon, its jobs, the sweep's endpoint, the manager, its policies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause
from fedtui.core.audit import events
from fedtui.core.audit import verify as verifying
from fedtui.core.audit.seals import Seal
from fedtui.core.diagnosis.checks.limits import CALL_SECONDS, FAR_LIMIT, LATE, SKEW_LIMIT
from fedtui.core.diagnosis.model import CaseContext, Check, Evidence, Outcome, in_words
from fedtui.core.errors import RemoteFailed
from fedtui.core.jobs import restore
from fedtui.core.jobs import tasks as job_acts
from fedtui.core.operations import approvals, overrides, policies
from fedtui.core.peers.peers import NEVER, Peer
from fedtui.core.pki import certificates
from fedtui.core.protocol import client, heartbeats
from fedtui.core.protocol.client import Connection
from fedtui.core.runtime import backup, daemons, job_runs, lease, process_lock, processes
from fedtui.core.runtime.job_runs import JobRun

SWEEP_PATH = "/api/v1/system/worker_api/federation/heartbeat_sweep"


def _daemon(case: CaseContext) -> Outcome:
    """Whether a process of this node listens and does the jobs."""
    settings = case.site.settings
    with case.site.read() as session:
        lately = {one.id for one in daemons.alive(session, now=case.now, ttl=LATE * settings.lease_ttl)}
        known = daemons.known(session)
        held = lease.in_force(session, now=case.now)
    # The process that looks knows of itself no more than what it has recorded.
    states = {one.id: processes.state_of(one) if one.id != case.site.holder else "elsewhere" for one in known}
    unwritable = backup.unwritable(case.site.database)
    alive = sorted(
        (one for one in known if _lives(one, lately, states, writable=unwritable is None)),
        key=lambda one: one.listening_since,
    )
    # The kernel says whether a daemon of this home lives: a number on record may be another process's by now.
    there = process_lock.daemon_lives(settings.home)
    hung = [one for one in known if there and one not in alive and states[one.id] in ("stopped", "silent")]
    ended = [
        one
        for one in known
        if not there
        and states[one.id] in ("ended", "silent", "stopped")
        and one.last_seen_at >= case.now - ENDED_LATELY
    ]
    taken = not alive and not hung and unwritable is None and processes.port_is_taken(settings.listen)
    holder = held.holder if held is not None else None
    evidence = (
        case.seen("daemons alive", [f"{one.id} at {one.url}" for one in alive], "daemons"),
        case.seen("lease holder", holder, "leases"),
        *(
            case.seen(f"process {one.pid} of this node", WORDS[states[one.id]], "daemons, the machine")
            for one in (*hung, *ended)
        ),
        *(
            [case.seen("what listens at its address", f"another program, at {settings.listen}", "the machine")]
            if taken
            else []
        ),
        *([case.seen("database", unwritable.why, unwritable.command)] if unwritable else []),
    )
    facts = {
        "daemons": [one.url for one in alive],
        "holder": holder,
        "unwritable": unwritable,
        "lives": there,
        "processes": [f"{one.pid} on {one.host}" for one in alive],
        "listening_since": alive[0].listening_since if alive else None,
        "hung": [(one.pid, states[one.id], one.last_seen_at) for one in hung],
        "ended": [(one.pid, one.last_seen_at) for one in ended],
        "port_taken": settings.listen if taken else None,
    }
    if unwritable and there and not alive:
        return Outcome("bad", f"A daemon of this node runs and cannot write: {unwritable.why}.", evidence, facts)
    if hung and not alive:
        return Outcome("bad", f"Process {hung[0].pid} of this node exists and does not respond.", evidence, facts)
    if taken:
        return Outcome(
            "bad", f"Another program listens at {settings.listen}, where this node's daemon is to.", evidence, facts
        )
    if not alive:
        return Outcome("bad", "No daemon of this node is running.", evidence, facts)
    return Outcome("ok", f"A daemon listens at {alive[0].url}.", evidence, facts)


def _lives(daemon: daemons.Daemon, lately: Collection[str], states: Mapping[str, str], *, writable: bool) -> bool:
    """Whether a daemon runs: it was seen lately and has not ended or been stopped since; or it answers, where it is
    not for a database that it cannot write to that it was not seen."""
    state = states[daemon.id]
    return (daemon.id in lately and state in ("elsewhere", "silent", "answers")) or (state == "answers" and writable)


WORDS = {
    "ended": "it has ended, and was not stopped",
    "stopped": "it is stopped (SIGSTOP): it does nothing until it is told to go on",
    "silent": "it is there, and does not answer",
}
ENDED_LATELY = timedelta(days=1)


def _clock(case: CaseContext) -> Outcome:
    """Whether the record holds times that are still to come: then the clock was set back, or ran ahead before."""
    with case.site.read() as session:
        # Not that of the newest id: runs go on after the clock was set back.
        ran = session.scalar(select(func.max(JobRun.started_at)))
        seen = session.scalar(select(func.max(daemons.Daemon.last_seen_at)))
        heard = session.scalar(
            select(Peer.last_heartbeat_at).order_by(func.coalesce(Peer.last_heartbeat_at, NEVER).desc()).limit(1)
        )
    times = {"latest run of a job": ran, "a daemon was last seen": seen, "newest heartbeat of a peer": heard}
    ahead = {what: at for what, at in times.items() if at is not None and at > case.now + AHEAD}
    evidence = tuple(case.seen(what, at, "job_runs, daemons, peers") for what, at in ahead.items())
    if not ahead:
        return Outcome("ok", "Nothing on record is dated in the future.", evidence)
    until = max(ahead.values())
    facts = {"clock_until": until, "clock_stepped_by": until - case.now}
    return Outcome("bad", f"The record holds times up to {in_words(until)}, which are still to come.", evidence, facts)


AHEAD = timedelta(seconds=SKEW_LIMIT)


def _sealed(case: CaseContext) -> Outcome:
    """Whether the events are as they were sealed, where they are few enough to be compared now."""
    with case.site.read() as session:
        sealed = session.scalar(select(func.sum(Seal.count)).where(Seal.removed_at.is_(None))) or 0
    if sealed > MOST_COMPARED:
        return Outcome("skipped", f"{sealed} events are too many to compare now: fedtui events verify")
    verdict = verifying.verify(case.site.database, job_acts.sealing_key(case.site), case.now)
    if verdict.first_bad is None:
        return Outcome("ok", f"{verdict.sealed} events are as they were sealed.")
    bad = verdict.first_bad
    evidence = (case.seen(bad.what.replace("_", " "), bad.said, "events, event_seals"),)
    return Outcome("bad", bad.said, evidence, {"tampered": bad.said})


MOST_COMPARED = 5_000
"""Sealed events that are compared with their seals while somebody waits."""


def _schedule(case: CaseContext) -> Outcome:
    """When the jobs ran last, and whether they come when they should."""
    with case.site.read() as session:
        latest = job_runs.latest(session, now=case.now)
    since = case.fact("listening_since") or case.now
    late, missing, evidence = {}, [], []
    for name, every in _intervals(case).items():
        run = latest.get(name)
        evidence.append(case.seen(f"last run of {name}", run.started_at if run else None, "job_runs"))
        if run is None or run.started_at < since:
            # The daemon runs each job when it takes the lease; one that others overtook was never registered.
            others = [one for other, one in latest.items() if other != name and one.started_at >= since]
            if others and case.now - since > LATE * every:
                missing.append(name)
            elif case.now - since > LATE * every:
                late[name] = case.now - since
        elif case.now - run.started_at > LATE * every:
            late[name] = case.now - run.started_at
    facts = {"jobs_late": late, "jobs_missing": missing, "jobs_failed": _failed(latest)}
    if missing or late:
        words = ", ".join([*(f"{one} never ran" for one in missing), *(f"{one} is overdue" for one in late)])
        return Outcome("bad", f"{words}.", tuple(evidence), facts)
    return Outcome("ok", "Every job runs when it should.", tuple(evidence), facts)


def _intervals(case: CaseContext) -> Mapping[str, timedelta]:
    settings = case.site.settings
    return {heartbeats.JOB: settings.heartbeat_interval, manager_pause.MANAGER_JOB: settings.manager_interval}


def _failed(latest: Mapping[str, job_runs.JobRun]) -> dict[str, str]:
    return {name: str(run.detail.get("error", "")) for name, run in latest.items() if run.outcome == "failed"}


def _sweep_endpoint(case: CaseContext) -> Outcome:
    """Whether the worker's endpoint is there and takes the worker's token. GET asks that, and sweeps nothing."""
    settings = case.site.settings
    if not settings.worker_token:
        return Outcome("skipped", "No worker token is set, so nobody calls the sweep's endpoint from outside.")
    with case.site.read() as session:
        anchor = certificates.own_ca(session).cert_pem
    connection = Connection((case.site.url,), (anchor,), None)
    headers = {"X-Worker-Token": settings.worker_token}
    code = ""
    try:
        client.call(connection, SWEEP_PATH, None, timeout=FAR_LIMIT, method="GET", headers=headers)
    except RemoteFailed as failure:
        # Who is called is this node itself, or what stands in its place.
        code, said = failure.code, f"{failure.problem.replace('The peer', 'It', 1)} {failure.cause}".strip()
    else:
        said = "The endpoint answers, and takes this node's worker token."
    status = {"remote_rejecting_auth": "unauthorized", "remote_failing": "failing", "remote_rejecting": "missing"}
    found = "ok" if not code else status.get(code, "failing")
    evidence = (case.seen(f"GET {SWEEP_PATH}", said, case.site.url),)
    return Outcome("ok" if found == "ok" else "bad", said, evidence, {"sweep_endpoint": found, "sweep_said": said})


def _manager(case: CaseContext) -> Outcome:
    """Whether the SDWAN Manager is paused, and when it ticked last."""
    with case.site.read() as session:
        status = manager_pause.status(session)
        last = job_runs.last_finished(session, manager_pause.MANAGER_JOB, now=case.now)
        waiting = [one.id for one in approvals.listing(session, status="approved")]
        pause = _pause(session) if status == manager_pause.PAUSED else None
    evidence = (
        *([Evidence("paused by", pause.actor, "events", pause.at)] if pause is not None else []),
        *([Evidence("why", pause.reason or "no reason was given", "events", pause.at)] if pause is not None else []),
        case.seen("manager status", status, "agents"),
        case.seen("last tick", last.finished_at if last else None, "job_runs"),
        case.seen("approved and waiting", len(waiting), "approvals"),
    )
    paused = status == manager_pause.PAUSED
    facts = {
        "manager_paused": paused,
        "approved_waiting": waiting,
        "last_tick_at": last.finished_at if last else None,
        "pause": pause,
    }
    return Outcome("bad" if paused else "ok", f"It is {status}.", evidence, facts)


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused the manager, when, and why."""

    actor: str
    at: datetime
    reason: str


def _pause(session: Session) -> Pause | None:
    """The last pause, by its event and the act that it belongs to."""
    found = events.recent(session, kind="system.manager.paused", limit=1)
    if not found:
        return None
    [paused] = found
    acts = events.recent(session, kind="system.act", correlation_id=paused.correlation_id, limit=1)
    return Pause(paused.actor, paused.emitted_at, str((acts[0].payload if acts else {}).get("reason") or ""))


def _policies(case: CaseContext) -> Outcome:
    """Policies lowered for an emergency."""
    with case.site.read() as session:
        found = [overrides.shape(session, one) for one in policies.active_overrides(session, case.now)]
    words = ", ".join(
        f"{one['action']} until {in_words(one['until'])}, by {one['lowered_by']} ({one['reason']})" for one in found
    )
    evidence = tuple(
        Evidence(
            "lowered",
            f"{one['action']} to {one['policy']}, by {one['lowered_by']}: {one['reason']}",
            "policy_lowerings",
            one["lowered_at"],
        )
        for one in found
    )
    return Outcome(
        "bad" if found else "ok",
        f"Lowered: {words}." if found else "Each is as it was set.",
        evidence,
        {"lowered": found},
    )


def _quarantine(case: CaseContext) -> Outcome:
    """Whether the node stands aside because its records were put back to an earlier time."""
    with case.site.read() as session:
        found = restore.shape(session)
    if not found["quarantine"]:
        return Outcome("ok", "It takes part.")
    evidence = tuple(
        case.seen(key.replace("_", " "), found[key], "quarantine")
        for key in ("since", "begun_by", "reason", "known_until", "to_go_through")
    )
    return Outcome("bad", "The node is in quarantine.", evidence, {"quarantine": found})


CHECKS: tuple[Check, ...] = (
    Check("quarantine", "node", "The node is not in quarantine", _quarantine),
    Check("clock", "node", "This node's clock was not set back", _clock),
    Check("daemon", "node", "A daemon of this node runs and holds the lease", _daemon),
    Check("schedule", "node", "The heartbeat job and the manager run when they should", _schedule, ("daemon",)),
    Check("sweep_endpoint", "node", "The sweep's endpoint answers", _sweep_endpoint, ("daemon",), CALL_SECONDS),
    Check("manager", "node", "The SDWAN Manager is not paused", _manager),
    Check("record_whole", "node", "The events are as they were sealed", _sealed),
    Check("policies", "node", "No policy is lowered", _policies),
)
