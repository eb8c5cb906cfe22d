"""The database: one engine per process, and how its transactions begin.

SQLite runs in WAL mode; units that write begin IMMEDIATE, so that two writers queue
instead of failing half-way, and readers begin deferred.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import QueuePool

from fedtui.core.errors import Unusable, WrongUsage
from fedtui.core.runtime import disk

BUSY_TIMEOUT_MS = 10_000
STOPPED_MS = 30_000
READ_ONLY = "fedtui_read_only"
WRITERS_LOCK = 7_034_663_082
CHANNEL = "fedtui_changes"
"""Every commit on PostgreSQL notifies it, so that consoles need not ask."""

SERVER_PATIENCE = {
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
"""libpq's options for a server that does not answer, and for one whose machine went away without a word: else whoever
asks it waits for a quarter of an hour and more. Seconds, but for the second one's milliseconds."""

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
    "See that its file and directory are this account's to write (ls -l).",
)
_DISK_READ_ONLY = (
    "The file system with the node's database is read-only.",
    "See why (findmnt -T FILE, dmesg) and mount it for writing; where the disk fails, restore a backup elsewhere "
    "(fedtui db restore).",
)
DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
"""What a database URL may begin with."""
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
_NO_SERVER = (
    NO_ANSWER[0],
    "See that its server runs, has that database and lets this account in; in a URL, a password's @ : / are written "
    "%40 %3A %2F.",
)
SERVER_READ_ONLY = (
    "The node's database cannot be written.",
    "It is a replica, or default_transaction_read_only is on: name the primary in database_url, or set it off.",
)
NOT_THE_OWNER = (
    "The database's account may not do that.",
    "Make it the owner of the database (ALTER DATABASE NAME OWNER TO USER) and of its tables (restored by another "
    "account: pg_restore --no-owner --role=USER).",
)
_OTHERS_TABLES = (
    "There are tables of something else in this database.",
    "Give the node one of its own: CREATE DATABASE NAME OWNER USER ENCODING 'UTF8'",
)
_POSTGRESQL_SAYS = {
    "25P03": _NO_SERVER,  # it ended a transaction because nothing came of it for so long
    "25006": SERVER_READ_ONLY,
    "42501": NOT_THE_OWNER,
    "53100": (
        "There is no room left for the node's database.",
        "Make room on its server's disk: the node goes on by itself then.",
    ),
    "55P03": (
        "Another process holds the node's database.",
        "See which one (SELECT * FROM pg_stat_activity WHERE state <> 'idle') and let it finish, or end it; then try "
        "again.",
    ),
    "42P07": _OTHERS_TABLES,
    "42710": _OTHERS_TABLES,
}
"""The same by PostgreSQL's states, of those that are no bug of ours: any other `OperationalError` is `_NO_SERVER`."""


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
        self.url = _parsed(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": 8, "max_overflow": 56, "poolclass": QueuePool}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True
            options["connect_args"] = {key: SERVER_PATIENCE[key] for key in SERVER_PATIENCE.keys() - self.url.query}
        self.engine = self._engine(options)
        if self.is_sqlite:
            event.listen(self.engine, "do_connect", _open_frozen)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self._require_known_options()
            # First of all: what SQLAlchemy asks of a server when it meets it assumes text.
            event.listen(self.engine, "connect", _require_unicode, insert=True)
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
                fix=f"Install it: {sys.executable} -m pip install 'psycopg[binary]'",
                code="database_driver_missing",
            ) from error

    def _require_known_options(self) -> None:
        driver: Any = self.engine.dialect.loaded_dbapi
        try:
            driver.conninfo.make_conninfo(**dict.fromkeys(self.url.query, ""))
        except driver.ProgrammingError as error:
            raise _wrong_url(f"It ends in an option that there is not: {str(error).strip()}") from error

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None on a database server."""
        return _file(self.url)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on an exception."""
        with (
            _in_transaction(),
            self.explained(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment and writes nothing. Close it soon: it holds back the WAL."""
        with (
            _in_transaction(),
            self.explained(),
            Session(self._readers, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    def explained(self) -> AbstractContextManager[None]:
        """Turn the driver's refusals (locked, gone, read-only, damaged) into a problem with a fix."""
        return _explained(self.file)

    def listening(self, channel: str) -> Any:
        """A connection of its own to a PostgreSQL server, that hears what is notified on a channel."""
        with self.explained():
            pooled = self.engine.raw_connection()
        heard: Any = pooled.driver_connection
        pooled.detach()
        heard.rollback()
        heard.autocommit = True
        try:
            heard.execute(f"LISTEN {channel}")
        except self.engine.dialect.loaded_dbapi.InternalError as error:  # a replica's answer, though it can be read
            heard.close()
            problem, fix = SERVER_READ_ONLY
            raise Unusable(problem, cause=str(error), fix=fix, code="database_unavailable") from error
        return heard

    @property
    def driver_error(self) -> type[Exception]:
        """What the driver raises when its server is gone."""
        return self.engine.dialect.loaded_dbapi.OperationalError

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


class _Open(threading.local):
    """How many transactions the present thread has open."""

    count = 0


_open = _Open()


@contextmanager
def _in_transaction() -> Iterator[None]:
    _open.count += 1
    try:
        yield
    finally:
        _open.count -= 1


def require_no_transaction(what: str) -> None:
    """Raise `RuntimeError` where this thread has a transaction open: others wait for what it does meanwhile."""
    if _open.count:
        raise RuntimeError(f"{what} in an open transaction")


def explained_for(session: Session) -> AbstractContextManager[None]:
    """The same for a part of what is done in a session."""
    url = engine_of(session).url
    return _explained(_file(url))


@contextmanager
def _explained(file: Path | None) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InternalError, ProgrammingError) as error:
        state = getattr(error.orig, "sqlstate", None)
        if not isinstance(error, OperationalError) and state not in _POSTGRESQL_SAYS:
            raise
        if file is None:
            problem, fix = _POSTGRESQL_SAYS.get(state or "", _NO_SERVER)
        else:
            problem, fix = sqlite_refusal(getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY, file)
        said = " ".join(str(error.orig).split())  # a server's words come on several lines
        cause = f"{said} ({file})" if file else said
        raise Unusable(problem, cause=cause, fix=fix, code="database_unavailable") from error
    except DataError as error:
        if "NUL" not in str(error.orig):
            raise
        raise WrongUsage(
            "A text that was given holds a NUL character.",
            cause="PostgreSQL keeps no text with one in it.",
            fix="Give it without.",
            code="text_invalid",
        ) from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # its children are bugs of ours; it alone is a broken file
            raise
        raise Unusable(
            "The node's database is damaged.",
            cause=str(error.orig),
            fix="Stop the node and put a backup in its place (fedtui db backup makes them).",
            code="database_damaged",
        ) from error


def _parsed(url: str) -> URL:
    """Return the parts of a database URL. Raises `WrongUsage`, which shows none of them: any may be of a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # a port that is no number, say
        raise _wrong_url("It is not of the form DRIVER://USER:PASSWORD@HOST:PORT/NAME.") from error
    if url.partition("?")[0].count("@") > 1:
        raise _wrong_url("It has more than one @: in a password, @ : / are written %40 %3A %2F.")
    if parsed.drivername not in DRIVERS:
        raise _wrong_url("It names another kind of database, or another driver, than fedtui works with.")
    return parsed


def _open_frozen(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Open a database for reading where this account may create no file beside it, as SQLite wants to for its log."""
    file = Path(arguments[0])
    if file.is_file() and not os.access(file.parent, os.W_OK):
        arguments[0], options["uri"] = read_only_uri(file), True


def read_only_uri(file: Path) -> str:
    """Return a URI by which SQLite reads a database, also where no file can be created beside it.

    Where there is a write-ahead log already, SQLite reads it with the index beside it; where there is none in such a
    place, nobody writes to the database, and it is opened as one that does not change.
    """
    changes = os.access(file.parent, os.W_OK) or file.with_name(f"{file.name}-wal").exists()
    return f"file:{quote(str(file))}?mode=ro{'' if changes else '&immutable=1'}"


def _require_unicode(connection: Any, _record: object) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unusable(
            "The node's database does not take every text.",
            cause=f"It was made with the encoding {encoding}; peers and people write in all of Unicode.",
            fix="Make another: CREATE DATABASE NAME OWNER USER ENCODING 'UTF8' TEMPLATE template0",
            code="database_encoding",
        )


def sqlite_refusal(code: int, file: Path | None) -> tuple[str, str]:
    """Return what is wrong and what to do, by SQLite's primary result code.

    A disk that turns read-only is one thing to people, and two to SQLite: which one it says depends on whether it had
    the file open.
    """
    said = _SQLITE_SAYS.get(code, NO_ANSWER)
    of_the_disk = said is not _LOCKED and file is not None and disk.is_read_only(file.absolute().parent)
    return _DISK_READ_ONLY if of_the_disk else said


def _file(url: URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


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
