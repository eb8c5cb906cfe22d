"""This node's own part in peers that do not become active: its daemon, its jobs, the sweep's endpoint."""

from __future__ import annotations

from collections.abc import Callable

from fedtui.core.diagnosis.model import ESCALATION, CaseContext, Cause, Fix, Match, in_words
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import backup
from fedtui.core.runtime.durations import show

STUCK = "stuck_accepted"


def _no_daemon(case: CaseContext) -> Match | None:
    if case.fact("daemons", ["?"]) or case.fact("port_taken"):
        return None
    stopped = case.fact("unwritable")
    if case.fact("lives") if stopped else case.fact("hung"):
        return None
    start = Fix("Start this node's daemon", "fedtui serve")
    if stopped:
        # A daemon on another machine may well run: it cannot write that it does.
        return Match(
            f"None could write within three lease times that it is alive: {stopped.why}.",
            fixes=(writable_again(stopped), start),
        )
    ended = case.fact("ended", [])
    if ended:
        pid, at = ended[0]
        said = f"Process {pid} of this node has ended and was not stopped; it was last seen at {in_words(at)}."
        return Match(said, fixes=(start,))
    return Match("No process of this node is on record as running.", fixes=(start,))


def writable_again(stopped: backup.Unwritable) -> Fix:
    """What lets the database take writes; a daemon that lives needs nothing else."""
    return Fix(f"{stopped.fix.rstrip('.')}. A daemon that runs continues by itself", stopped.command)


def _hung(case: CaseContext) -> Match | None:
    stopped, hung = case.fact("unwritable"), case.fact("hung", [])
    if case.fact("daemons", ["?"]) or not (case.fact("lives") if stopped else hung):
        return None
    if stopped:
        return Match(
            f"A daemon of this node runs and cannot write to its database: {stopped.why}.",
            fixes=(writable_again(stopped),),
        )
    pid, state, at = hung[0]
    stopped = f" It is stopped: kill -CONT {pid} lets it go on." if state == "stopped" else ""
    said = f"Process {pid} of this node exists and does not respond; it was last seen at {in_words(at)}.{stopped}"
    fixes = (
        Fix(f"End process {pid}, which holds the port", f"kill -9 {pid}"),
        Fix("Then start the daemon", "fedtui serve"),
    )
    return Match(said, fixes=fixes, together=True)


def _port(case: CaseContext) -> Match | None:
    listen = case.fact("port_taken")
    if listen is None:
        return None
    port = str(listen).rpartition(":")[2]
    fixes = (
        Fix("See which program holds the port, and end it or move it", f"ss -ltnp 'sport = :{port}'"),
        Fix("Then start the daemon", "fedtui serve"),
    )
    return Match(f"No daemon of this node runs, and another program listens at {listen}.", fixes=fixes, together=True)


def _stepped(case: CaseContext) -> Match | None:
    by = case.fact("clock_stepped_by")
    if by is None:
        return None
    fix = Fix("See that this machine's time is right now, and that it is kept right (NTP)", "timedatectl status")
    said = (
        f"Its record holds times up to {in_words(case.fact('clock_until'))}, {show(by)} from now. Until then ages are "
        "counted from now, and the order of what happened is not to be relied on."
    )
    return Match(said, fixes=(fix,))


def _quarantined(case: CaseContext) -> Match | None:
    found = case.fact("quarantine")
    if found is None:
        return None
    since = in_words(found["known_until"])
    fixes = (
        Fix(
            f"Revoke and suspend again what was revoked or suspended after {since}, the newest its records know of",
            "fedtui db quarantine",
        ),
        Fix("Say that this was gone through", "fedtui db confirm --reason R"),
    )
    because = f"Its records were put back ({found['reason']}), and nobody has said yet what was revoked or used since."
    return Match(because, fixes=fixes, together=True)


def _job_missing(case: CaseContext) -> Match | None:
    missing = case.fact("jobs_missing", [])
    if heartbeats.JOB not in missing:
        return None
    fixes = (job_back(case),)
    return Match(f"Other jobs run, {heartbeats.JOB} never did since the daemon started.", fixes=fixes)


def job_back(case: CaseContext) -> Fix:
    """What brings a job back that the daemon was told to leave out."""
    file = case.site.settings.config_file
    return Fix(f"Take the job out of jobs_off in {file}, then start the daemon again{which(case)}", "fedtui serve")


def again(case: CaseContext, daemon: str = "the daemon") -> Fix:
    """Ending it, and starting it."""
    return Fix(f"Start {daemon} again{which(case)}", "fedtui serve")


def which(case: CaseContext) -> str:
    """Which process is to be ended for that; a service manager knows it by another name."""
    running = case.fact("processes", [])
    return f" (it is process {' and '.join(running)})" if running else ""


def _sweep_late(case: CaseContext) -> Match | None:
    late = case.fact("jobs_late", {})
    if heartbeats.JOB not in late:
        return None
    holder = case.fact("holder")
    fix = again(case, "the daemon that holds the lease")
    return Match(
        f"{_leader(holder)} and no heartbeat job has run for {show(late[heartbeats.JOB])}.",
        fixes=(fix, Fix("Sweep once by hand meanwhile", "fedtui sweep")),
    )


def _leader(holder: str | None) -> str:
    """Who holds the lease, by its process and machine; its name is HOST:PID:RANDOM."""
    host, _, rest = (holder or "").partition(":")
    return f"Process {rest.partition(':')[0]} on {host} holds the lease," if rest else "No process holds the lease,"


def _endpoint(state: str, fix: Callable[[CaseContext], Fix]) -> Callable[[CaseContext], Match | None]:
    def holds(case: CaseContext) -> Match | None:
        if case.fact("sweep_endpoint") != state:
            return None
        return Match(str(case.fact("sweep_said")), fixes=(fix(case),))

    return holds


def _own_url(case: CaseContext) -> Fix:
    return Fix(
        f"Lead {case.site.url} to this node's API again: its daemon listens at {_listens(case)}", "fedtui config"
    )


def _log(_case: CaseContext) -> Fix:
    return Fix("See the daemon's log of this moment, and of a proxy that stands before it", "fedtui manager status")


def _worker_token(case: CaseContext) -> Fix:
    return Fix(
        f"Start the daemon again{which(case)}, with the worker token that the worker has: the one in "
        f"{case.site.settings.config_file}, or FEDTUI_WORKER_TOKEN",
        "fedtui serve",
    )


def _listens(case: CaseContext) -> str:
    return ", ".join(case.fact("daemons", [])) or "no address"


def _tampered(case: CaseContext) -> Match | None:
    said = case.fact("tampered")
    if said is None:
        return None
    fixes = (
        Fix("Compare the whole record, and keep what it says", "fedtui events verify"),
        Fix(
            "Compare with a backup from before, and see who has had this account and its database since",
            "fedtui db backup FILE",
        ),
    )
    return Match(str(said), fixes=fixes, together=True)


_OWN = ("worker_not_running", "daemon_not_responding", "port_taken")
CAUSES: tuple[Cause, ...] = (
    Cause(
        "node_quarantined",
        STUCK,
        "node",
        "critical",
        0,
        "This node is in quarantine: it answers no peer, calls none and honours no grant.",
        "Nothing else: it stands in the node's own record.",
        "stuck-at-accepted",
        _quarantined,
        also=("degraded", "approval_blocked"),
    ),
    Cause(
        "worker_not_running",
        STUCK,
        "node",
        "critical",
        0,
        "This node's daemon is not running: nothing is received, swept, sent or carried out.",
        "A daemon on another machine that cannot reach the database.",
        "stuck-at-accepted",
        _no_daemon,
    ),
    Cause(
        "daemon_not_responding",
        STUCK,
        "node",
        "critical",
        0,
        "This node's daemon is there and does not respond: nothing is received, swept, sent or carried out.",
        "A machine that is so busy that the daemon gets no time.",
        "stuck-at-accepted",
        _hung,
    ),
    Cause(
        "port_taken",
        STUCK,
        "node",
        "critical",
        0,
        "Another program holds the port of this node's daemon, so that the daemon cannot start.",
        "A daemon of this node that is not on record.",
        "stuck-at-accepted",
        _port,
    ),
    Cause(
        "clock_stepped",
        STUCK,
        "node",
        "medium",
        3,
        "This node's clock was set back, or ran ahead before.",
        "A database that was copied from a machine whose clock is ahead.",
        "stuck-at-accepted",
        _stepped,
        also=("degraded",),
    ),
    Cause(
        "record_tampered",
        ESCALATION,
        "node",
        "critical",
        0,
        "This node's events are not as they were sealed: somebody changed, removed or added some.",
        "A database that was put together from two backups.",
        "escalation",
        _tampered,
    ),
    Cause(
        "job_not_registered",
        STUCK,
        "node",
        "high",
        1,
        "The heartbeat job is not in the daemon's schedule, so no peer becomes or stays active.",
        "A job that fails is in the schedule; its error stands in `fedtui manager status`.",
        "stuck-at-accepted",
        _job_missing,
        _OWN,
    ),
    Cause(
        "sweep_overdue",
        STUCK,
        "node",
        "high",
        1,
        "The heartbeat job is in the schedule and does not come: its process hangs, or does not hold the lease.",
        "A machine that was asleep until now; the next run shows.",
        "stuck-at-accepted",
        _sweep_late,
        (*_OWN, "job_not_registered"),
    ),
    Cause(
        "sweep_endpoint_missing",
        STUCK,
        "node",
        "medium",
        2,
        "What answers at this node's URL has no sweep endpoint: it is not this node's API, or a proxy cuts it off.",
        "A daemon of an older version.",
        "stuck-at-accepted",
        _endpoint("missing", _own_url),
        _OWN,
    ),
    Cause(
        "sweep_endpoint_failing",
        STUCK,
        "node",
        "high",
        2,
        "The sweep's endpoint does not answer, or with an error.",
        "A database that is full or locked; see the daemon's log.",
        "stuck-at-accepted",
        _endpoint("failing", _log),
        _OWN,
    ),
    Cause(
        "sweep_endpoint_unauthorized",
        STUCK,
        "node",
        "medium",
        2,
        "The daemon does not take the worker's token: it was started with another one, or with none.",
        "A proxy that drops the X-Worker-Token header.",
        "stuck-at-accepted",
        _endpoint("unauthorized", _worker_token),
        _OWN,
    ),
)
