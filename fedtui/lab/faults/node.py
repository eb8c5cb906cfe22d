"""Faults of alpha itself: its daemon, its jobs, the lease, the sweep's endpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import delete

from fedtui.core.administration import manager_pause
from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.jobs import restore
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.types import new_id
from fedtui.lab.faults.model import HERE, PROXY, Fault, Node, Range, theirs, yours
from fedtui.lab.faults.staging import caught_up


def _daemon_stopped(stand: Range) -> None:
    stand.stop(HERE)
    _daemon_gone(stand)


def _daemon_gone(stand: Range) -> None:
    with stand.opened(HERE) as node:
        stand.until("the daemon is missed", lambda: _nobody_alive(node))


def _nobody_alive(node: Node) -> bool | None:
    with node.read() as session:
        return not daemons.alive(session, now=node.clock.now(), ttl=3 * node.settings.lease_ttl) or None


def _without_job(name: str) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        stand.configure(HERE, jobs_off=name)
        stand.stop(HERE)
        with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
            unit.session.execute(delete(JobRun).where(JobRun.job == name))
        stand.start(HERE)
        with stand.opened(HERE) as node:
            stand.until("the job is missed", lambda: _late(node, name))

    return stage


def _late(node: Node, name: str) -> bool | None:
    found = engine.diagnose(node, node.acts, DiagnosisTarget("stuck_accepted"))
    seen = next(one for one in found.seen if one.check.name == "schedule")
    facts = seen.outcome.facts
    return name in facts.get("jobs_missing", ()) or name in facts.get("jobs_late", ()) or None


def _with_all_jobs(stand: Range) -> None:
    stand.configure(HERE, jobs_off=None)
    stand.stop(HERE)
    stand.start(HERE)


def _lease_held(stand: Range) -> None:
    stand.stop(HERE)
    stand.beside("fedtui.lab.stalled_daemon", HERE)
    with stand.opened(HERE) as node:
        stand.until("the sweep is missed", lambda: _late(node, heartbeats.JOB))


def _lease_free(stand: Range) -> None:
    stand.stop_beside()
    stand.start(HERE)


def _other_token(stand: Range) -> None:
    stand.configure(HERE, worker_token="another")  # noqa: S106 - it opens nothing


def _frozen(stand: Range) -> None:
    """The daemon is there and does nothing, as if somebody had stopped it with ^Z."""
    os.kill(_process(stand), signal.SIGSTOP)


def _thawed(stand: Range) -> None:
    os.kill(_process(stand), signal.SIGCONT)


def _process(stand: Range) -> int:
    with stand.opened(HERE) as node, node.read() as session:
        return daemons.known(session)[0].pid


def _port_held(stand: Range) -> None:
    """Another program has taken alpha's port while its daemon was down."""
    stand.stop(HERE)
    stand.beside("fedtui.lab.fake_server", HERE, "404")


def _port_free(stand: Range) -> None:
    stand.stop_beside()
    stand.start(HERE)


def _clock_set_back(stand: Range) -> None:
    """A job has run under a clock that was two hours ahead."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        then = unit.now + AHEAD
        unit.session.add(
            JobRun(
                id=new_id(),
                job=AHEAD_JOB,
                holder=node.holder,
                epoch=0,
                started_at=then,
                finished_at=then,
                outcome="ok",
                detail={},
            )
        )


AHEAD = timedelta(hours=2)
AHEAD_JOB = "drill"


def _restart(stand: Range) -> None:
    stand.stop(HERE)
    stand.start(HERE)


def _another_answers(status: int) -> Callable[[Range], None]:
    """Something else listens at alpha's URL, and answers this to everything; alpha itself listens elsewhere."""

    def stage(stand: Range) -> None:
        stand.stop(HERE)
        stand.configure(HERE, listen="127.0.0.1:0", worker_token="the-workers")  # noqa: S106 - it opens nothing
        stand.beside("fedtui.lab.fake_server", HERE, str(status))
        stand.start(HERE)

    return stage


def _itself_answers(stand: Range) -> None:
    stand.stop_beside()
    stand.stop(HERE)
    stand.configure(HERE, listen=stand.url(HERE).removeprefix("https://"))
    stand.start(HERE)


def _restored(stand: Range) -> None:
    with stand.opened(HERE) as node:
        restore.begin(node, node.actor("drill"), "the disk died, and a backup was restored")


def _gone_through(stand: Range) -> None:
    stand.act(HERE, "quarantine_end", {"reason": "nothing was revoked since"})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "restored",
        "alpha's records were restored from a backup",
        ("node_quarantined",),
        _restored,
        mend=(yours(_gone_through),),
        symptom="stuck_accepted",
    ),
    Fault(
        "daemon-stopped",
        "alpha's daemon is stopped",
        ("worker_not_running",),
        _daemon_stopped,
        mend=(yours(lambda stand: stand.start(HERE)),),
    ),
    Fault(
        "daemon-frozen",
        "alpha's daemon is there and does nothing",
        ("daemon_not_responding",),
        _frozen,
        mend=(yours(_thawed),),
    ),
    Fault(
        "port-held", "another program has taken alpha's port", ("port_taken",), _port_held, mend=(yours(_port_free),)
    ),
    Fault(
        "clock-set-back",
        "alpha's clock was two hours ahead, and was set back",
        ("clock_stepped",),
        _clock_set_back,
        mend=(yours(partial(caught_up, name=HERE)),),
    ),
    Fault(
        "job-off",
        "alpha's daemon runs without the heartbeat job",
        ("job_not_registered",),
        _without_job(heartbeats.JOB),
        mend=(yours(_with_all_jobs),),
        symptom="stuck_accepted",
    ),
    Fault(
        "lease-held",
        "a daemon of alpha holds the lease and does nothing",
        ("sweep_overdue",),
        _lease_held,
        mend=(yours(_lease_free),),
        symptom="stuck_accepted",
    ),
    Fault(
        "worker-token",
        "alpha's worker has another token than its daemon",
        ("sweep_endpoint_unauthorized",),
        _other_token,
        mend=(yours(_restart),),
    ),
    Fault(
        "other-service",
        "what answers at alpha's URL is not alpha",
        ("sweep_endpoint_missing",),
        _another_answers(404),
        mend=(theirs(_itself_answers, PROXY),),
        symptom="stuck_accepted",
    ),
    Fault(
        "broken-proxy",
        "what answers at alpha's URL answers with errors",
        ("sweep_endpoint_failing",),
        _another_answers(502),
        mend=(theirs(_itself_answers, PROXY),),
        symptom="stuck_accepted",
    ),
    Fault(
        "manager-off",
        "alpha's daemon runs without the manager",
        ("manager_not_ticking",),
        _without_job(manager_pause.MANAGER_JOB),
        mend=(yours(_with_all_jobs),),
        symptom="approval_blocked",
    ),
)
