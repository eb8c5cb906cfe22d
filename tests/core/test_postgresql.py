"""What is PostgreSQL's own: several machines' clocks, writers that queue, news by LISTEN, a server that goes away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any, LiteralString

import pytest
from sqlalchemy import select

from fedtui.core.audit.changes import Watch
from fedtui.core.errors import Unusable, WrongUsage
from fedtui.core.runtime import backup, lease, migrate
from fedtui.core.runtime import database as databases
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.lease import Held, Lease
from fedtui.core.runtime.unit import unit_of_work
from tests.conftest import START
from tests.homes import PATIENCE_SECONDS, until
from tests.postgres import Server

ADA = Actor("operator", "ada")
TTL = timedelta(seconds=10)


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """A database of this test's own, on a server that it may kill."""
    url = postgres.new_database()
    with closing(Database(url)) as made:
        yield made
    postgres.drop(url)


def commit(database: Database, name: str = "x") -> None:
    with unit_of_work(database, now=START, actor=ADA) as unit:
        unit.session.add(Lease(name=name, holder="x", epoch=0, expires_at=unit.now))


def test_machines_whose_clocks_differ_hold_one_lease(database: Database) -> None:
    """The lease goes by the server's clock: a machine an hour ahead takes nothing, one an hour behind loses nothing."""
    held: list[Held | None] = []
    for holder, hours in (("a", 0), ("ahead", 1), ("behind", -1)):
        with database.writing() as session:
            held.append(lease.take(session, holder, now=START + timedelta(hours=hours), ttl=TTL))
    assert [one is not None for one in held] == [True, False, False]


def test_what_is_committed_is_notified_and_what_is_undone_is_not(database: Database) -> None:
    """A watch hears of another's commit within its next look, of nothing while one is open, and of no roll-back."""
    with closing(Database(str(database.url.render_as_string(hide_password=False)))) as other:
        watch = Watch(database)
        changes = watch.changes()
        assert changes.poll() is True
        assert changes.poll() is False
        with pytest.raises(ZeroDivisionError), other.writing() as session:
            session.execute(select(Lease))
            raise ZeroDivisionError
        with other.reading() as session:
            session.execute(select(Lease)).all()
        assert changes.poll() is False
        with unit_of_work(other, now=START, actor=ADA) as unit:
            unit.session.add(Lease(name="x", holder="x", epoch=0, expires_at=unit.now))
            unit.session.flush()
            assert changes.poll() is False
        until(changes.poll, "the commit is heard of")
        watch.close()


def test_a_server_that_was_killed_is_said_and_taken_up_again(postgres: Server, database: Database) -> None:
    """Down, everything that asks is told so with a fix; up again, the same objects go on without being opened anew,
    and what was committed is there."""
    watch = Watch(database)
    changes = watch.changes()
    assert changes.poll() is True
    commit(database)
    postgres.kill()
    for use in (database.reading, database.writing):
        with pytest.raises(Unusable) as raised, use() as session:
            session.execute(select(Lease))
        assert (raised.value.code, bool(raised.value.fix)) == ("database_unavailable", True)
    postgres.start()
    until(changes.poll, "the watch says that something may have happened")
    with database.reading() as session:
        assert session.get(Lease, "x") is not None
    until(lambda: not changes.poll(), "it is quiet again")
    commit(database, "y")
    until(changes.poll, "the watch hears again")
    watch.close()


def test_units_queue_so_that_what_was_read_still_holds(database: Database) -> None:
    """Eight units that read, decide and then write by what they read: each sees what the one before it wrote."""
    commit(database)
    together = threading.Barrier(8)

    def add_one() -> None:
        together.wait(PATIENCE_SECONDS)
        for _ in range(10):
            with unit_of_work(database, now=START, actor=ADA) as unit:
                row = unit.session.get_one(Lease, "x")
                row.epoch += 1

    threads = [threading.Thread(target=add_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.get_one(Lease, "x").epoch == 80


def test_a_writer_that_stands_still_is_put_aside(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one holds the writers' place and does nothing, another is told so; after a while the place is free, and
    nothing of the first is kept."""
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_MS", 100)
    monkeypatch.setattr(databases, "STOPPED_MS", 1000)
    with pytest.raises(Unusable), database.writing() as still:
        still.add(Lease(name="still", holder="x", epoch=0, expires_at=START))
        still.flush()
        with pytest.raises(Unusable) as raised:
            commit(database)
        assert (raised.value.code, "holds" in raised.value.problem) == ("database_unavailable", True)

        def committed() -> bool:
            try:
                commit(database)
            except Unusable:
                return False
            return True

        until(committed, "the place is free")
    with database.reading() as session:
        assert session.scalars(select(Lease.name)).all() == ["x"]


def test_a_text_that_cannot_be_kept_is_the_givers_fault(database: Database) -> None:
    """A NUL character, which SQLite takes and PostgreSQL does not, is refused in words, read by or written."""
    with pytest.raises(WrongUsage) as raised:
        commit(database, "a\0b")
    assert (raised.value.code, bool(raised.value.fix)) == ("text_invalid", True)
    with pytest.raises(WrongUsage), database.reading() as session:
        session.scalars(select(Lease).where(Lease.name == "a\0b")).all()


def test_a_replica_is_named_and_its_promotion_taken_up(postgres: Server, database: Database) -> None:
    """It is read, and whoever would write or hear of changes is told what it is; promoted, it serves as any other."""
    commit(database)
    assert postgres.folder is not None
    mark = postgres.folder / "data" / "standby.signal"
    watch = Watch(database)
    changes = watch.changes()
    postgres.kill()
    mark.touch()
    try:
        postgres.start()
        with database.reading() as session:
            assert session.get(Lease, "x") is not None
        found = backup.unwritable(database)
        assert found is not None
        assert "replica" in found.why
        for use in (changes.poll, lambda: commit(database, "y")):
            with pytest.raises(Unusable, match="cannot be written") as raised:
                use()
            assert (raised.value.code, "primary" in raised.value.fix) == ("database_unavailable", True)
        postgres.run_in(database.url.render_as_string(hide_password=False), "SELECT pg_promote()")
        until(lambda: backup.unwritable(database) is None, "it is promoted")
        commit(database, "y")
        assert changes.poll() is True
        watch.close()
    finally:
        if mark.exists():
            postgres.kill()
            mark.unlink()
            postgres.start()


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing: the time is ours, or what the URL says."""
    monkeypatch.setitem(databases.SERVER_PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/n"
        for url, seconds in ((place, 2), (f"{place}?connect_timeout=3", 3)):
            began = time.monotonic()
            with closing(Database(url)) as database, pytest.raises(Unusable) as raised, database.reading() as session:
                session.execute(select(Lease))
            assert raised.value.code == "database_unavailable"
            assert seconds - 0.5 < time.monotonic() - began < seconds + 10


def test_a_connection_notices_that_its_server_is_gone(database: Database) -> None:
    """One that is idle, or waits for an answer, asks for signs of life."""
    with database.reading() as session:
        connection: Any = session.connection().connection.driver_connection
        known = connection.info.get_parameters()
    wanted = {key: str(value) for key, value in databases.SERVER_PATIENCE.items()}
    assert {key: known.get(key) for key in wanted} == wanted


def test_an_account_that_only_reads_is_told_what_it_lacks(postgres: Server, database: Database) -> None:
    """As after a restore by another account: tables that it may read and not write, and how to restore them."""
    url = database.url.render_as_string(hide_password=False)
    assert backup.unwritable(database) is None
    postgres.run_in(url, "CREATE ROLE reader LOGIN")
    postgres.run_in(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    with closing(Database(database.url.set(username="reader").render_as_string(hide_password=False))) as read:
        found = backup.unwritable(read)
    postgres.run_in(url, "DROP OWNED BY reader")
    postgres.run_in(url, "DROP ROLE reader")
    assert found is not None
    assert "not its own" in found.why
    assert "--role=USER" in found.fix


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_take_every_text_is_refused(postgres: Server, encoding: LiteralString) -> None:
    """Before anything is kept there that comes back as bytes, or a peer's words that it lacks are lost."""
    url = postgres.empty_database(f"ENCODING '{encoding}' TEMPLATE template0")
    with closing(Database(url)) as database, pytest.raises(Unusable) as refused:
        migrate.upgrade(database)
    assert refused.value.code == "database_encoding"
    assert encoding in refused.value.cause
    postgres.drop(url)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "cannot be written"),
        ("CREATE TABLE peers (id int)", "something else"),
    ],
)
def test_a_database_that_cannot_be_the_nodes_is_told(postgres: Server, before: LiteralString, said: str) -> None:
    """A replica, or one with tables of its own: what it is and what to do, and no bug of ours."""
    url = postgres.empty_database()
    postgres.run_in(url, before)
    with closing(Database(url)) as database, pytest.raises(Unusable, match=said):
        migrate.upgrade(database)
    postgres.drop(url)


@pytest.mark.parametrize(
    "place", ["u:s3cret@more@127.0.0.1/n", "u:p@127.0.0.1:s3cret/n", "u:s3cret@127.0.0.1/n?nonsense=s3cret"]
)
def test_what_is_wrong_with_a_url_is_told_without_its_password(place: str) -> None:
    """Also where the mistake is in the password: an @ that was not escaped, a port that is part of it."""
    with pytest.raises(WrongUsage) as refused:
        Database(f"postgresql+psycopg://{place}")
    assert refused.value.code == "database_url_invalid"
    assert "s3cret" not in f"{refused.value.problem}{refused.value.cause}{refused.value.fix}"
