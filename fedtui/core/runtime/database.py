"""The database: one engine per process, and how its transactions begin.

SQLite runs in WAL mode; units that write begin IMMEDIATE, so that two writers queue
instead of failing half-way, and readers begin deferred.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InternalError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import QueuePool

from fedtui.core.errors import Unusable, WrongUsage

BUSY_TIMEOUT_MS = 10_000
STOPPED_MS = 30_000
PUT_ASIDE = "25P03"
"""PostgreSQL's state for a transaction that it ended because nothing came of it for that long."""
READ_ONLY = "fedtui_read_only"
WRITERS_LOCK = 7_034_663_082
CHANNEL = "fedtui_changes"
"""Every commit on PostgreSQL notifies it, so that consoles need not ask."""

PRIMARY = 0xFF
"""The bits of SQLite's extended result codes that are the code itself."""
NO_ANSWER = (
    "The node's database did not answer.",
    "See that its file or server is there and writable, and that no other program locks it.",
)
_LOCKED = (
    "Another program holds the node's database.",
    "See which one (fuser FILE, lsof FILE) and let it finish, or stop it; then try again.",
)
_NOT_WRITABLE = (
    "The node's database cannot be written.",
    "See that its file system is mounted for writing (findmnt -T FILE), and file and directory are this account's.",
)
_SQLITE_SAYS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_FULL: (
        "There is no room left for the node's database.",
        "Make room on its disk (df -h): the node goes on by itself then.",
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk with the node's database fails.",
        "See what the system says of the disk (df -h, dmesg); a backup can be restored elsewhere (fedtui db restore).",
    ),
}
"""What is wrong and what to do, by what SQLite answers."""


class Base(DeclarativeBase):
    """The parent of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """An engine and the two ways to use it: to write, and to read.

    `url` is an SQLAlchemy URL; `sqlite:///FILE` and `postgresql+psycopg://...` are supported.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as error:
            raise _wrong_url("It is not of the form DRIVER://USER@HOST/NAME.") from error
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": 8, "max_overflow": 56, "poolclass": QueuePool}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True
        self.engine = self._engine(options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "begin", _begin_postgresql)
        # One moment for all of a reader's statements: SQLite's snapshot, PostgreSQL's repeatable read.
        options = {READ_ONLY: True} | ({} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"})
        self._readers = self.engine.execution_options(**options)

    def _engine(self, options: dict[str, Any]) -> Engine:
        try:
            return create_engine(self.url, **options)
        except ArgumentError as error:
            raise _wrong_url(f"There is no driver called {self.url.drivername}.") from error
        except ModuleNotFoundError as error:
            raise Unusable(
                f"The driver for {self.url.get_backend_name()} is not installed.",
                cause=str(error),
                fix="Install it: pip install 'fedtui[postgres]'",
                code="database_driver_missing",
            ) from error

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None on a database server."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on an exception."""
        with self.explained(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment and writes nothing. Close it soon: it holds back the WAL."""
        with self.explained(), Session(self._readers, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the driver's refusals (locked, gone, read-only, damaged) into a problem with a fix."""
        try:
            yield
        except (OperationalError, InternalError) as error:
            if isinstance(error, InternalError) and getattr(error.orig, "sqlstate", None) != PUT_ASIDE:
                raise
            problem, fix = _SQLITE_SAYS.get(getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY, NO_ANSWER)
            cause = f"{error.orig} ({self.file})" if self.file else str(error.orig)
            raise Unusable(problem, cause=cause, fix=fix, code="database_unavailable") from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:  # its children are bugs of ours; it alone is a broken file
                raise
            raise Unusable(
                "The node's database is damaged.",
                cause=str(error.orig),
                fix="Stop the node and put a backup in its place (fedtui db backup makes them).",
                code="database_damaged",
            ) from error

    def listening(self, channel: str) -> Any:
        """A connection of its own to a PostgreSQL server, that hears what is notified on a channel."""
        with self.explained():
            pooled = self.engine.raw_connection()
        heard: Any = pooled.driver_connection
        pooled.detach()
        heard.rollback()
        heard.autocommit = True
        heard.execute(f"LISTEN {channel}")
        return heard

    @property
    def driver_error(self) -> type[Exception]:
        """What the driver raises when its server is gone."""
        return self.engine.dialect.loaded_dbapi.OperationalError

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def _wrong_url(why: str) -> WrongUsage:
    return WrongUsage(
        "The database URL cannot be used.",
        cause=why,
        fix="Set FEDTUI_DATABASE_URL to postgresql+psycopg://... or unset it for the built-in SQLite.",
        code="database_url_invalid",
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling loses updates between processes: switch it
    # off before the PRAGMAs (inside a transaction they would be ignored) and begin by hand.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "foreign_keys = ON",
        "synchronous = FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY):
        return
    # Writers queue here as they do on SQLite, so that a unit may read and then write by what it read. The
    # times are for a writer that was stopped in the middle: the others get an error, and then its place.
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_MS}; SET LOCAL idle_in_transaction_session_timeout = {STOPPED_MS}; "
        f"SELECT pg_advisory_xact_lock({WRITERS_LOCK}); NOTIFY {CHANNEL}"
    )


def engine_of(session: Session) -> Engine:
    """The engine a session works on."""
    bind = session.get_bind()
    return bind if isinstance(bind, Engine) else bind.engine
