"""The database: times and ids, units of work, readers beside writers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import StatementError

from fedtui.core.audit.changes import Watch
from fedtui.core.audit.events import Event, emit
from fedtui.core.errors import Unusable
from fedtui.core.runtime import migrate
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.lease import Lease
from fedtui.core.runtime.types import UtcTime, new_id
from fedtui.core.runtime.unit import Unit, unit_of_work
from tests.conftest import START, Databases, MakeNode
from tests.homes import until

ADA = Actor("operator", "ada")
COUNTER = "counter"


@pytest.fixture
def database(tmp_path: Path, databases: Databases) -> Iterator[Database]:
    """An upgraded, otherwise empty database."""
    database = Database(databases.empty(tmp_path))
    migrate.upgrade(database)
    yield database
    database.close()


def epoch(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(Lease.epoch).where(Lease.name == COUNTER)) or 0


def add_counter(unit: Unit) -> None:
    unit.session.add(Lease(name=COUNTER, holder="x", epoch=0, expires_at=unit.now))


# --- times and ids -----------------------------------------------------------------------


@given(
    moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - given a zone below
    offset=st.integers(-24 * 60 + 1, 24 * 60 - 1),
)
def test_utc_time_keeps_the_instant(moment: datetime, offset: int) -> None:
    """Whatever offset a time comes in with, the same instant comes back, in UTC."""
    given_ = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    dialect = Database("sqlite://").engine.dialect
    kept = UtcTime().process_bind_param(given_, dialect)
    back = UtcTime().process_result_value(kept, dialect)
    assert back == given_
    assert back is not None
    assert back.utcoffset() == timedelta(0)


def test_times_sort_by_instant_in_the_database(database: Database) -> None:
    """Times written with different offsets are compared by instant, also in SQL."""
    east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=-8))
    moments = {"a": START.astimezone(east), "b": (START + timedelta(minutes=1)).astimezone(west)}
    with unit_of_work(database, now=START, actor=ADA) as unit:
        for name, at in moments.items():
            unit.session.add(Lease(name=name, holder="x", epoch=0, expires_at=at))
    with database.reading() as session:
        assert session.scalars(select(Lease.name).order_by(Lease.expires_at.desc())).all() == ["b", "a"]
        assert session.scalar(select(Lease.expires_at).where(Lease.name == "b")) == moments["b"]


def test_naive_time_is_refused(database: Database) -> None:
    """A time without a zone is a bug and does not reach the database."""
    with pytest.raises(StatementError, match="without a zone"), database.writing() as session:
        session.add(Lease(name="x", holder="x", epoch=0, expires_at=START.replace(tzinfo=None)))


def test_ids_are_uuid7_and_increase() -> None:
    """Ids are UUIDv7 as text, and within a process each is greater than the one before, from any thread."""
    ids = [new_id() for _ in range(5_000)]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [new_id() for _ in range(1_000)], range(4)))
    assert all(run == sorted(run) for run in runs)
    assert len({one for run in runs for one in run}) == 4_000


# --- units -------------------------------------------------------------------------------


def test_unit_commits_then_runs_its_hooks(database: Database) -> None:
    """A hook runs after its unit is on disk, in order; another connection already sees the rows."""
    seen: list[tuple[str, int]] = []

    def note(name: str) -> Callable[[], None]:
        def hook() -> None:
            with database.reading() as session:
                seen.append((name, session.scalar(select(func.count()).select_from(Lease)) or 0))

        return hook

    with unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
        unit.after_commit(note("first"))
        unit.after_commit(note("second"))
        assert seen == []
    assert seen == [("first", 1), ("second", 1)]


def test_unit_rolls_back_whole(database: Database) -> None:
    """An exception undoes rows and events together, runs no hook, and passes through."""
    hooks: list[str] = []
    with pytest.raises(ZeroDivisionError), unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
        emit(unit, "system.act", source="test")
        unit.after_commit(lambda: hooks.append("ran"))
        unit.session.flush()
        raise ZeroDivisionError
    with database.reading() as session:
        assert session.scalars(select(Lease)).all() == []
        assert session.scalars(select(Event)).all() == []
    assert hooks == []


def test_a_unit_has_one_now_and_one_correlation(database: Database) -> None:
    """Everything a unit emits bears its actor, its moment and its one correlation id."""
    with unit_of_work(database, now=START, actor=ADA) as unit:
        emit(unit, "system.act", source="one")
        emit(unit, "system.act", source="two", severity="high")
    with database.reading() as session:
        events = session.scalars(select(Event).order_by(Event.id)).all()
    assert [(one.source, one.severity, one.actor, one.emitted_at) for one in events] == [
        ("one", "low", "ada", START),
        ("two", "high", "ada", START),
    ]
    assert {one.correlation_id for one in events} == {unit.correlation_id}


def test_two_writers_lose_no_update(database: Database) -> None:
    """Read-modify-write units of two threads queue: every increment counts, and none fails."""
    with unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
    both = threading.Barrier(2)

    def count() -> None:
        both.wait(10)
        for _ in range(100):
            with unit_of_work(database, now=START, actor=ADA) as unit:
                row = unit.session.get_one(Lease, COUNTER)
                row.epoch += 1

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(count) for _ in range(2)]:
            done.result(60)
    assert epoch(database) == 200


def test_reader_and_writer_do_not_wait_for_each_other(database: Database) -> None:
    """An open reader lets a writer commit and keeps seeing its own moment; an open writer lets readers read,
    and so do the checks of a start: they take no write lock."""
    with unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
    with database.reading() as session:
        assert session.scalar(select(Lease.epoch)) == 0
        with unit_of_work(database, now=START, actor=ADA) as unit:
            unit.session.execute(update(Lease).values(epoch=1))
            assert epoch(database) == 0
            assert migrate.upgrade(database) is False
            migrate.require_current(database)
        assert session.scalar(select(Lease.epoch).execution_options(populate_existing=True)) == 0
    assert epoch(database) == 1


def test_a_reader_writes_nothing(database: Database) -> None:
    """What is added in a reading session is gone with it."""
    with database.reading() as session:
        session.add(Lease(name="x", holder="x", epoch=0, expires_at=START))
        session.flush()
    with database.reading() as session:
        assert session.get(Lease, "x") is None


@pytest.mark.sqlite
def test_a_damaged_file_is_explained(database: Database) -> None:
    """A database whose file has turned to rubbish is a problem with cause and fix, when read and when written."""
    assert database.file is not None
    database.close()
    database.file.write_bytes(b"rubbish" * 1000)
    for use in (database.reading, database.writing):
        with pytest.raises(Unusable) as raised, use() as session:
            session.execute(text("SELECT * FROM leases"))
        assert raised.value.code == "database_damaged"
        assert raised.value.fix


def test_changes_notices_others_commits(database: Database) -> None:
    """`poll` is true at first and after another connection's commit, and false in between."""
    watch = Watch(database)
    changes = watch.changes()
    assert changes.poll() is True
    assert changes.poll() is False
    with pytest.raises(ZeroDivisionError), unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
        unit.session.flush()
        raise ZeroDivisionError
    assert changes.poll() is False
    with unit_of_work(database, now=START, actor=ADA) as unit:
        add_counter(unit)
    until(changes.poll, "the commit is heard of")  # a server's word takes a moment
    assert changes.poll() is False
    watch.close()


def test_many_looks_share_one_connection_that_is_given_back(make_node: MakeNode) -> None:
    """However many look for changes, in whatever order, each hears of every commit once; closed with the node,
    nothing is left open, and whoever looks all the same opens nothing."""
    node = make_node()
    watch = node._watch
    looks = [node.changes() for _ in range(20)]
    assert all(one.poll() for one in looks)
    connection = watch._connection
    assert connection is not None
    looks[0].poll()
    with unit_of_work(node.database, now=START, actor=ADA) as unit:
        add_counter(unit)
    until(looks[0].poll, "the commit is heard of")
    assert [one.poll() for one in looks[1:]] == [True] * 19
    assert [one.poll() for one in looks] == [False] * 20
    assert watch._connection is connection
    node.close()
    assert [one.poll() for one in looks] == [False] * 20
    assert watch._connection is None
    assert node.database.is_sqlite or connection.closed
    assert node.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
