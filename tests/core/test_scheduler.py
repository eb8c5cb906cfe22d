"""The schedule: what runs under the lease, when, and the rows that it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fedtui.core.runtime import lease, settings
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.job_runs import Job, JobRun
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.scheduler import Scheduler
from tests.conftest import ManualClock
from tests.core.test_lease import HOUR, TTL, database, shared, take

__all__ = ["database", "shared"]  # fixtures


class Recorder:
    """A job's function that notes its runs, fails as told, and tells who waits."""

    def __init__(self, *fail: bool) -> None:
        self.fail = list(fail)
        self.runs: list[Held] = []
        self._changed = threading.Condition()

    def __call__(self, held: Held) -> Mapping[str, Any]:
        with self._changed:
            self.runs.append(held)
            self._changed.notify_all()
        if self.fail and self.fail.pop(0):
            raise RuntimeError("the job's own trouble")
        return {"run": len(self.runs)}

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.runs) >= count, 20)


def stopped_clock() -> ManualClock:
    """The timetable itself goes by the machine's clock, so that a job's time must not be long ago."""
    return ManualClock(datetime.now(UTC))


@dataclass
class CountingClock(ManualClock):
    """Tells when it has been asked often enough."""

    _asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def now(self) -> datetime:
        self._asked.release()
        return super().now()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._asked.acquire(timeout=20)


Start = Callable[..., Scheduler]


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Start]:
    """Starts schedulers: `start("a", job, ...)`; stops those that a test left running."""
    running: list[Scheduler] = []
    quick = replace(settings.load({"FEDTUI_HOME": str(tmp_path)}), lease_ttl=timedelta(milliseconds=150))

    def begin(holder: str, *table: Job, clock: ManualClock | None = None, **more: Any) -> Scheduler:
        scheduler = Scheduler(database, quick, clock or stopped_clock(), holder, table, **more)
        scheduler.start()
        running.append(scheduler)
        return scheduler

    yield begin
    for scheduler in running:
        if scheduler._scheduler.running:
            scheduler.stop()


def runs(database: Database) -> list[JobRun]:
    with database.reading() as session:
        return list(session.scalars(select(JobRun).order_by(JobRun.id)))


def test_jobs_run_at_once_and_leave_rows(database: Database, start: Start) -> None:
    """On taking the lease every job runs now, not an interval later, and leaves a row: ok with what it did, or
    failed with why; stopping lets go of the lease."""
    good, bad, clock = Recorder(), Recorder(True), stopped_clock()
    scheduler = start("a", Job("good", HOUR, good), Job("bad", HOUR, bad), clock=clock)
    good.wait_for(1)
    bad.wait_for(1)
    assert scheduler.holds_lease
    scheduler.stop()
    rows = {row.job: row for row in runs(database)}
    assert (rows["good"].outcome, rows["good"].detail) == ("ok", {"run": 1})
    assert (rows["bad"].outcome, rows["bad"].detail) == ("failed", {"error": "RuntimeError: the job's own trouble"})
    for row in rows.values():
        assert (row.holder, row.epoch, row.started_at, row.finished_at) == ("a", good.runs[0].epoch, clock.at, clock.at)
    assert take(database, "b", clock.at)


def test_a_failing_job_is_run_again(database: Database, start: Start) -> None:
    """A job that fails twice is run a third time at its interval, and another job's runs go on beside it."""
    flaky, steady = Recorder(True, True), Recorder()
    every = timedelta(milliseconds=30)
    scheduler = start("a", Job("flaky", every, flaky), Job("steady", every, steady))
    flaky.wait_for(4)
    steady.wait_for(4)
    scheduler.stop()
    outcomes = [row.outcome for row in runs(database) if row.job == "flaky"]
    assert outcomes[:4] == ["failed", "failed", "ok", "ok"]
    assert {row.outcome for row in runs(database) if row.job == "steady"} == {"ok"}


def test_a_standby_does_nothing_until_the_holder_stops(database: Database, start: Start) -> None:
    """A second daemon runs no job while the first holds the lease, and all of them as soon as it lets go."""
    first, second = Recorder(), Recorder()
    every, clock = timedelta(milliseconds=20), CountingClock(datetime.now(UTC))
    holder = start("a", Job("work", every, first), clock=ManualClock(clock.at))
    first.wait_for(1)
    standby = start("b", Job("work", every, second), clock=clock)
    clock.wait_for(5)  # it has looked at the lease several times, and its own intervals have passed
    assert second.runs == []
    assert not standby.holds_lease
    holder.stop()
    second.wait_for(2)
    standby.stop()
    assert second.runs[0].epoch > first.runs[-1].epoch
    holders = [row.holder for row in runs(database)]
    assert holders == sorted(holders), "no run of the old holder after the first of the new"


def test_taking_the_lease_is_told_once(database: Database, start: Start) -> None:
    """Whoever takes the lease tells so, once and not at each renewal; that telling fails stops no job."""
    told: list[Held] = []
    work, clock = Recorder(), CountingClock(datetime.now(UTC))

    def tell(held: Held) -> None:
        told.append(held)
        raise RuntimeError("the record's own trouble")

    scheduler = start("a", Job("work", timedelta(milliseconds=20), work), clock=clock, taken=tell)
    work.wait_for(3)
    clock.wait_for(20)
    scheduler.stop()
    assert told == work.runs[:1]


def test_a_job_whose_lease_was_taken_says_so(database: Database, start: Start) -> None:
    """A job that finds in its own transaction that another daemon took over ends as `lease_lost`."""
    begun, taken = threading.Event(), threading.Event()

    def overtaken(held: Held) -> Mapping[str, Any]:
        begun.set()
        assert taken.wait(20)
        with database.writing() as session:
            lease.fence(session, held, now=clock.at, ttl=TTL)
        return {}

    clock = stopped_clock()
    scheduler = start("a", Job("slow", HOUR, overtaken), clock=clock)
    assert begun.wait(20)
    assert take(database, "b", clock.at + HOUR)
    taken.set()
    scheduler.stop()
    assert next(row.outcome for row in runs(database) if row.job == "slow") == "lease_lost"
