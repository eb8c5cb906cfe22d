"""The scheduler: APScheduler's threads, under the lease.

Every daemon runs one; only the holder of the lease does the jobs. The memory job store is
on purpose: a shared one runs jobs many times over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from fedtui.core.runtime import daemons, jobs, lease
from fedtui.core.runtime.clock import Clock
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.jobs import Job
from fedtui.core.runtime.settings import Settings

log = logging.getLogger(__name__)
LEASE_JOB = "lease"


def _machine_now() -> datetime:
    """APScheduler goes by the machine's clock, whatever the node's says."""
    return datetime.now(UTC)


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

    def stop(self) -> None:
        """Wait for what runs, then let go of the lease."""
        # Not shutdown(wait=True): it waits for the jobs while it holds the locks that they may need.
        self._scheduler.shutdown(wait=False)
        self._pool.shutdown(wait=True)
        with self._database.writing() as session:
            lease.release(session, self.holder, now=self._clock.now())
            daemons.forget(session, self.holder)

    def _renew(self) -> None:
        try:
            with self._database.writing() as session:
                now = self._clock.now()
                held = lease.take(session, self.holder, now=now, ttl=self._ttl)
                daemons.seen(session, self.holder, now=now, ttl=self._ttl)
        except Exception:
            # Whatever it was, the next attempt is seconds away, and another daemon may do better.
            log.exception("[Scheduler] the lease could not be renewed")
            self._held = None
            return
        newly, self._held = held != self._held, held
        if held is not None and newly:
            log.info("[Scheduler] this daemon holds the lease (epoch %d)", held.epoch)
            self._run_all_now()
            self._tell(held)

    def _tell(self, held: lease.Held) -> None:
        try:
            self._taken(held)
        except Exception:
            # That it is not told is no reason to leave the jobs undone.
            log.exception("[Scheduler] that the lease was taken could not be recorded")

    def _run_all_now(self) -> None:
        try:
            for job in self._table:
                self._scheduler.modify_job(job.name, next_run_time=_machine_now())
        except JobLookupError:
            log.debug("[Scheduler] stopped while taking the lease")

    def _run(self, job: Job) -> None:
        held = self._held
        if held is None:
            return
        try:
            with self._database.writing() as session:
                lease.fence(session, held, now=self._clock.now(), ttl=self._ttl)
                run_id = jobs.started(session, job.name, held, self._clock.now())
        except lease.LeaseLost:
            self._held = None
            return
        outcome, detail = self._outcome(job, held)
        with self._database.writing() as session:
            jobs.finished(session, run_id, outcome, detail, self._clock.now())

    def _outcome(self, job: Job, held: lease.Held) -> tuple[str, dict[str, object]]:
        try:
            with correlated():
                return "ok", dict(job.run(held))
        except lease.LeaseLost as lost:
            self._held = None
            return "lease_lost", {"error": lost.problem}
        except Exception as error:
            # A job that fails is a row the playbook reads; the schedule goes on.
            log.exception("[%s] the run failed", job.name)
            return "failed", {"error": f"{type(error).__name__}: {error}"}
