"""The lease and what hangs on it: one holder, the schedule it runs, and the rows that daemons and jobs leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from fedtui.core.runtime import daemons, job_runs, lease, migrate
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.lease import Held, Lease, LeaseLost
from tests.conftest import START, Databases
from tests.postgres import Server

TTL = timedelta(seconds=10)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, shared_server: Server | None, template: Path
) -> Iterator[Database]:
    """An upgraded database for this module, whose clock is the one that is passed in."""
    database = Database(Databases(shared_server, template).empty(tmp_path_factory.mktemp("lease")))
    migrate.upgrade(database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "_now", lambda _session, now: now)
        yield database
    database.close()


@pytest.fixture
def database(shared: Database) -> Database:
    """The database with nobody holding anything."""
    with shared.writing() as session:
        for table in (Lease, JobRun, daemons.Daemon):
            session.execute(delete(table))
    return shared


def take(database: Database, holder: str, at: datetime = START) -> Held | None:
    with database.writing() as session:
        return lease.take(session, holder, now=at, ttl=TTL)


def fenced(database: Database, held: Held, at: datetime = START) -> bool:
    try:
        with database.writing() as session:
            lease.fence(session, held, now=at, ttl=TTL)
    except LeaseLost as lost:
        assert lost.code == "lease_lost"
        return False
    return True


# --- the lease ---------------------------------------------------------------------------


def test_one_of_many_takes_it(database: Database) -> None:
    """Of sixteen that reach for a free lease at once, exactly one holds it."""
    together = threading.Barrier(16)

    def reach(number: int) -> Held | None:
        together.wait(30)
        return take(database, f"holder-{number}")

    with ThreadPoolExecutor(16) as pool:
        held = [one for one in pool.map(reach, range(16)) if one is not None]
    assert len(held) == 1
    with database.reading() as session:
        current = lease.current(session)
    assert current is not None
    assert (current.holder, current.epoch, current.expires_at) == (held[0].holder, held[0].epoch, START + TTL)


def test_renewal_keeps_the_epoch_and_takeover_raises_it(database: Database) -> None:
    """A holder renews in its epoch; another takes over from the moment of expiry, in a higher one, which fences
    the old holder also when it wakes up."""
    first = take(database, "a")
    assert first is not None
    assert take(database, "b", START + TTL - timedelta(microseconds=1)) is None
    assert take(database, "a", START + TTL / 2) == first
    assert take(database, "b", START + TTL) is None
    second = take(database, "b", START + TTL * 1.5)
    assert second is not None
    assert second.epoch > first.epoch
    assert fenced(database, first, START + TTL * 1.5) is False
    assert take(database, "a", START + TTL * 2) is None
    assert fenced(database, second, START + TTL * 2) is True
    third = take(database, "a", START + TTL * 3)
    assert third is not None
    assert third.epoch > second.epoch
    assert fenced(database, first, START + TTL * 3) is False, "an old epoch of the same holder is fenced too"


def test_release_frees_at_once_and_only_ones_own(database: Database) -> None:
    """After a release the next one need not wait; releasing what another holds does nothing."""
    assert take(database, "a")
    with database.writing() as session:
        lease.release(session, "b", now=START)
    assert take(database, "b") is None
    with database.writing() as session:
        lease.release(session, "a", now=START)
    assert take(database, "b")


@pytest.mark.parametrize("back", [HOUR, timedelta(days=400)])
def test_a_clock_set_back_does_not_block_for_long(database: Database, back: timedelta) -> None:
    """An expiry that no holder could have written at this hour counts as expired."""
    assert take(database, "a", START + back)
    assert take(database, "b", START)


@dataclass
class Model:
    """What the lease should be."""

    holder: str = ""
    epoch: int = 0
    expires: datetime = START


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "release", "fence", "wait"]), st.sampled_from("abc"), st.integers(0, 14)),
    max_size=30,
)


@given(STEPS)
def test_any_sequence_agrees_with_the_model(shared: Database, steps: list[tuple[str, str, int]]) -> None:
    """Whatever three processes do in whatever order: one holder at a time, and no epoch has two holders."""
    model, now, proofs = Model(), START, dict[str, Held]()
    epochs: dict[int, str] = {}
    with shared.writing() as session:
        session.execute(delete(Lease))
        for step, who, seconds in steps:
            if step == "wait":
                now += timedelta(seconds=seconds)
            elif step == "take":
                held = lease.take(session, who, now=now, ttl=TTL)
                assert (held is not None) == (model.holder in ("", who) or model.expires <= now)
                if held is not None:
                    assert held.epoch == model.epoch + (model.holder not in ("", who))
                    model = Model(who, held.epoch, now + TTL)
                    proofs[who] = held
                    assert epochs.setdefault(held.epoch, who) == who
            elif step == "release":
                lease.release(session, who, now=now)
                model.expires = now if model.holder == who else model.expires
            elif who in proofs:
                current = proofs[who] == Held(model.holder, model.epoch)
                try:
                    lease.fence(session, proofs[who], now=now, ttl=TTL)
                except LeaseLost:
                    assert not current
                else:
                    assert current
                    model.expires = now + TTL


# --- rows of daemons and jobs ------------------------------------------------------------


def test_listening_since_starts_again_after_a_gap(database: Database) -> None:
    """A daemon seen without a gap has listened since its start; after a gap longer than the lease's time, or a
    clock set back, it counts from then on; out of sight, nobody listens."""

    def since(at: datetime) -> datetime | None:
        with database.reading() as session:
            return daemons.listening_since(session, now=at, ttl=TTL)

    def seen(at: datetime) -> None:
        with database.writing() as session:
            daemons.seen(session, "a", now=at, ttl=TTL)

    assert since(START) is None
    with database.writing() as session:
        daemons.register(session, "a", url="https://a", operations_url=None, now=START)
    for step in range(1, 5):
        seen(START + step * TTL)
    assert since(START + 4 * TTL) == START
    assert since(START + 5.1 * TTL) is None
    seen(START + 9 * TTL)
    assert since(START + 9 * TTL) == START + 9 * TTL
    seen(START + HOUR / 2)
    seen(START)
    assert since(START) == START


def test_daemons_are_listed_while_alive_and_forgotten_when_dead(database: Database) -> None:
    """Alive are those seen lately, longest listening first; a stop removes a row at once, a death after a day."""
    for number, name in enumerate("abc"):
        with database.writing() as session:
            at = START + timedelta(seconds=3 - number)
            daemons.register(session, name, url="https://x", operations_url="http://y", now=at)

    def alive(at: datetime) -> list[str]:
        with database.reading() as session:
            return [one.id for one in daemons.alive(session, now=at, ttl=TTL)]

    assert alive(START + TTL) == ["c", "b", "a"]
    with database.writing() as session:
        daemons.forget(session, "b")
    assert alive(START + TTL) == ["c", "a"]
    assert alive(START + TTL + timedelta(seconds=2)) == ["a"]
    with database.writing() as session:
        daemons.forget_dead(session, now=START + timedelta(days=1, seconds=2))
        assert session.scalars(select(daemons.Daemon.id)).all() == ["a"]


def test_holders_have_names_of_their_own() -> None:
    """A process that names itself twice has two names."""
    assert daemons.new_holder() != daemons.new_holder()


def test_runs_are_found_and_pruned(database: Database) -> None:
    """The newest run of each job and the newest that ended are told apart; what ran under a clock that was set back
    since is neither; runs older than a week are forgotten, but for the newest of each job."""
    held = Held("a", 1)
    with database.writing() as session:
        for days in (9, 8):
            old = job_runs.started(session, "old", held, START - timedelta(days=days))
            job_runs.finished(session, old, "failed", {}, START)
        ended = job_runs.started(session, "work", held, START)
        session.flush()
        job_runs.finished(session, ended, "failed", {"error": "x"}, START + TTL)
        going_on = job_runs.started(session, "work", held, START + HOUR)
        ahead = job_runs.started(session, "work", held, START + 3 * HOUR)
        session.flush()
        job_runs.finished(session, ahead, "ok", {}, START + 3 * HOUR)
    now = START + 2 * HOUR
    with database.reading() as session:
        assert {name: run.id for name, run in job_runs.latest(session, now=now).items()} == {
            "old": old,
            "work": going_on,
        }
        newest = job_runs.newest(session, "work", now=now)
        assert newest is not None
        assert newest.id == going_on
        last = job_runs.last_finished(session, "work", now=now)
        assert last is not None
        assert (last.id, last.outcome, last.finished_at) == (ended, "failed", START + TTL)
        assert job_runs.last_finished(session, "never", now=now) is None
    with database.writing() as session:
        job_runs.prune(session, START)
    with database.reading() as session:
        assert session.scalars(select(JobRun.id).order_by(JobRun.id)).all() == [old, ended, going_on, ahead]
