"""What the machine does to a node: disk full or read-only, database held, clock set. Each is said in words."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import apscheduler.schedulers.base
import pytest

from fedtui.cli.guard import guarded
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Unusable
from fedtui.core.node import Node
from fedtui.core.runtime import backup, disk, job_runs, scheduler
from fedtui.core.runtime import database as databases
from fedtui.core.runtime.clock import SystemClock
from fedtui.core.runtime.job_runs import Job
from fedtui.core.runtime.scheduler import Scheduler
from tests.conftest import MakeNode
from tests.core.world import ADA
from tests.homes import until


def refused(node: Node) -> Unusable:
    with pytest.raises(Unusable) as caught:
        node.request(ADA, "system.federation_peer_propose", {"url": "https://b.example"})
    return caught.value


@pytest.mark.sqlite
def test_a_full_disk_is_said_to_be_full(node: Node) -> None:
    """Where no page can be added the act is refused as that, with what to do; nothing of it is there; with room again
    the same act goes through."""
    with node.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    reason = "x" * 400
    with pytest.raises(Unusable) as caught:
        for number in range(200):
            node.request(ADA, "system.federation_peer_propose", {"url": f"https://b{number}.example"}, reason=reason)
    problem = caught.value
    assert (problem.code, "no room" in problem.problem, "df" in problem.fix) == ("database_unavailable", True, True)
    assert str(node.database.file) in problem.cause
    with node.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    node.request(ADA, "system.federation_peer_propose", {"url": f"https://b{number}.example"}, reason=reason)
    assert node.verify_events().ok


@pytest.mark.sqlite
def test_a_held_database_is_said_to_be_held(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's lock that outlasts the patience is named as such; when it is gone the act goes through."""
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_MS", 100)
    node.database.close()
    assert node.database.file is not None
    with closing(sqlite3.connect(node.database.file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        problem = refused(node)
        other.execute("ROLLBACK")
    assert problem.problem == "Another program holds the node's database."
    node.request(ADA, "system.federation_peer_propose", {"url": "https://b.example"})


@pytest.mark.sqlite
def test_a_read_only_database_is_said_to_be_read_only(node: Node) -> None:
    """A database that may not be written is refused as that, and read all the same."""
    with node.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    problem = refused(node)
    assert problem.problem == "The node's database cannot be written."
    assert "this account's" in problem.fix
    with node.read() as session:
        assert job_runs.latest(session, now=node.clock.now()) == {}


@pytest.mark.sqlite
@pytest.mark.parametrize(("flags", "free", "said"), [(os.ST_RDONLY, 9999, "read-only"), (0, 3, "is full")])
def test_the_doctor_knows_a_disk_that_takes_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch, flags: int, free: int, said: str
) -> None:
    """A daemon that cannot write that it lives: the doctor says why, and what to do first is the disk, not a daemon;
    `db check` says it too."""
    assert backup.unwritable(node.database) is None
    monkeypatch.setattr(disk.os, "statvfs", lambda _path: SimpleNamespace(f_flag=flags, f_bavail=free, f_frsize=4096))
    [finding] = node.diagnose(DiagnosisTarget()).findings
    assert finding.cause.code == "worker_not_running"
    assert said in finding.sense.because
    assert [fix.command for fix in finding.sense.fixes] == ["df -h", "fedtui serve"]
    unwritable = backup.unwritable(node.database)
    assert unwritable is not None
    assert said in unwritable.why


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE])
def test_what_the_machine_lacks_is_no_bug_of_ours(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a command meets a full or read-only disk, it says so with a way on, and exits with 3, not 70."""

    def work() -> int:
        raise OSError(number, "it is so", "/some/file")

    assert guarded(work) == 3
    told = capsys.readouterr().err
    assert "/some/file" in told
    assert "fix:" in told
    assert "bug" not in told


@pytest.fixture
def running(make_node: MakeNode) -> Iterator[Callable[..., Scheduler]]:
    """Starts schedules of jobs of the test's own."""
    started: list[Scheduler] = []

    def start(node: Node, *table: Job) -> Scheduler:
        started.append(Scheduler(node.database, node.settings, SystemClock(), node.holder, table))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.sqlite
def test_a_schedule_outlasts_a_database_that_cannot_be_written(
    make_node: MakeNode, running: Callable[..., Scheduler], caplog: pytest.LogCaptureFixture
) -> None:
    """While nothing can be written the log says so in words, without a traceback; afterwards the jobs come again."""
    node = make_node(lease_ttl="2s")
    runs: list[float] = []
    full = threading.Event()

    def run(_held: object) -> dict[str, Any]:
        runs.append(time.monotonic())
        return {}

    def begin(_connection: object) -> None:
        if full.is_set():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise databases.OperationalError("BEGIN", None, error)

    databases.event.listen(node.database.engine, "begin", begin, insert=True)  # before others may be going through them
    with caplog.at_level(logging.ERROR):
        running(node, Job("counted", timedelta(seconds=1), run))
        until(lambda: runs, "the job runs")
        full.set()
        until(lambda: any("lease could not be renewed" in one.message for one in caplog.records), "it is said")
        full.clear()
        count = len(runs)
        until(lambda: len(runs) > count + 1, "the job runs again")
    told = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert any("no room left" in one.message for one in told)
    assert [one.message for one in told if one.exc_info] == []


def test_a_clock_that_is_set_back_does_not_stop_the_jobs(
    make_node: MakeNode, running: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's clock set back by an hour, and forward by two: the jobs and the lease go on at their pace."""
    node = make_node(lease_ttl="2s")
    off = timedelta()

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + off

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Shifted)
    monkeypatch.setattr(scheduler, "_machine_now", lambda: datetime.now(UTC) + off)
    runs: list[float] = []

    def run(_held: object) -> dict[str, Any]:
        runs.append(time.monotonic())
        return {}

    running(node, Job("counted", timedelta(seconds=1), run))
    until(lambda: len(runs) > 1, "the job runs")
    for jump in (timedelta(hours=-1), timedelta(hours=1)):
        off = jump
        count = len(runs)
        until(lambda so_far=count: len(runs) > so_far + 2, f"the job runs, the clock set by {jump}")  # type: ignore[misc]
