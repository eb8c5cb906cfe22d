"""The scheduler: APScheduler's threads, under the lease.

Every daemon runs one; only the holder of the lease does the jobs. The memory job store is
on purpose: a shared one runs jobs many times over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from fedtui.core.runtime import daemons, job_runs, lease
from fedtui.core.runtime.clock import Clock
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.failure_log import log_failure
from fedtui.core.runtime.job_runs import Job
from fedtui.core.runtime.settings import Settings

log = logging.getLogger(__name__)
LEASE_JOB = "lease"
CLOCK_LOOK_SECONDS = 1.0
CLOCK_STEP_SECONDS = 0.5
"""A clock that falls back by more between two looks was set; less is how clocks are kept right."""


def _machine_now() -> datetime:
    """APScheduler goes by the machine's clock, whatever the node's says."""
    return datetime.now(UTC)


def _clock_lead() -> float:
    """Seconds by which the machine's clock is ahead of the one that is never set."""
    return _machine_now().timestamp() - time.monotonic()


class _PoolExecutor(BasePoolExecutor):  # type: ignore[misc]
    """Runs jobs on a pool that the scheduler below can wait for by itself."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__(pool)


class Scheduler:
    """Runs `table` under the lease, from `start` to `stop`."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        holder: str,
        table: Sequence[Job],
        *,
        taken: Callable[[lease.Held], object] = lambda _held: None,
    ) -> None:
        """`taken` is told when the lease has come to this process."""
        self._database = database
        self._taken = taken
        self._clock = clock
        self._ttl = settings.lease_ttl
        self._table = table
        self._held: lease.Held | None = None
        self.holder = holder
        self._pool = ThreadPoolExecutor(len(table) + 2, thread_name_prefix="job")
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": _PoolExecutor(self._pool)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

        self._over = threading.Event()
        self._clock_watch = threading.Thread(target=self._watch_clock, name="clock-watch", daemon=True)

    @property
    def holds_lease(self) -> bool:
        """Whether this process did the jobs when it last looked."""
        return self._held is not None

    def start(self) -> None:
        """Begin: take the lease if it is free, then run each job now and at its interval."""
        for job in self._table:
            self._scheduler.add_job(self._run, "interval", id=job.name, args=[job], seconds=job.every.total_seconds())
        self._scheduler.add_job(
            self._renew,
            "interval",
            id=LEASE_JOB,
            seconds=self._ttl.total_seconds() / 3,
            next_run_time=_machine_now(),
        )
        self._scheduler.start()
        self._clock_watch.start()

    def stop(self) -> None:
        """Wait for what runs, then let go of the lease."""
        self._over.set()
        self._clock_watch.join()
        # Not shutdown(wait=True): it waits for the jobs while it holds the locks that they may need.
        self._scheduler.shutdown(wait=False)
        self._pool.shutdown(wait=True)
        with self._database.writing() as session:
            lease.release(session, self.holder, now=self._clock.now())
            daemons.forget(session, self.holder)

    def _watch_clock(self) -> None:
        # APScheduler keeps the time of each job's next run by the machine's clock: set back by an hour, nothing
        # would run for an hour, not even the lease. Set forward, everything is due at once, which is right.
        lead = _clock_lead()
        while not self._over.wait(CLOCK_LOOK_SECONDS):
            before, lead = lead, _clock_lead()
            if lead < before - CLOCK_STEP_SECONDS:
                log.warning("[Scheduler] the clock was set back by %.0f s; the jobs go on from here", before - lead)
                self._run_now([LEASE_JOB, *(job.name for job in self._table)])

    def _renew(self) -> None:
        try:
            with self._database.writing() as session:
                now = self._clock.now()
                held = lease.take(session, self.holder, now=now, ttl=self._ttl)
                daemons.seen(session, self.holder, now=now, ttl=self._ttl)
        except Exception as error:
            # Whatever it was, the next attempt is seconds away, and another daemon may do better.
            log_failure(log, "[Scheduler] the lease could not be renewed", error)
            self._held = None
            return
        newly, self._held = held != self._held, held
        if held is not None and newly:
            log.info("[Scheduler] this daemon holds the lease (epoch %d)", held.epoch)
            self._run_now([job.name for job in self._table])
            self._tell(held)

    def _tell(self, held: lease.Held) -> None:
        try:
            self._taken(held)
        except Exception as error:
            # That it is not told is no reason to leave the jobs undone.
            log_failure(log, "[Scheduler] that the lease was taken could not be recorded", error)

    def _run_now(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                self._scheduler.modify_job(name, next_run_time=_machine_now())
        except JobLookupError:
            log.debug("[Scheduler] stopped meanwhile")

    def _run(self, job: Job) -> None:
        held = self._held
        if held is None:
            return
        try:
            self._run_under(job, held)
        except Exception as error:
            # Without its row the run did not begin, or what came of it is not known: the next one comes all the same.
            log_failure(log, f"[{job.name}] the run could not be recorded", error)

    def _run_under(self, job: Job, held: lease.Held) -> None:
        try:
            with self._database.writing() as session:
                lease.fence(session, held, now=self._clock.now(), ttl=self._ttl)
                run_id = job_runs.started(session, job.name, held, self._clock.now())
        except lease.LeaseLost:
            self._held = None
            return
        outcome, detail = self._outcome(job, held)
        with self._database.writing() as session:
            job_runs.finished(session, run_id, outcome, detail, self._clock.now())

    def _outcome(self, job: Job, held: lease.Held) -> tuple[str, dict[str, object]]:
        try:
            with correlated():
                return "ok", dict(job.run(held))
        except lease.LeaseLost as lost:
            self._held = None
            return "lease_lost", {"error": lost.problem}
        except Exception as error:
            # A job that fails is a row the playbook reads; the schedule goes on.
            log_failure(log, f"[{job.name}] the run failed", error)
            return "failed", {"error": f"{type(error).__name__}: {error}"}
