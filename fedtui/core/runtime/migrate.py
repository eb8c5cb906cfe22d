"""Bringing a database to this program's schema, safely when several processes start at once.

Alembic is imported only when there is something to migrate: its import costs ten times
the check.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from fedtui.core.errors import Unusable
from fedtui.core.runtime.database import BUSY_TIMEOUT_MS, Database

HEAD = "0020"
MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 7_034_663_081


def revision(database: Database) -> str | None:
    """The schema revision of the database; None for an empty one."""
    with database.reading() as session:
        return _current(session.connection())


def upgrade(database: Database) -> bool:
    """Bring the schema to `HEAD`. True if anything was done.

    Raises `Unusable` for a database that a newer program has written.
    """
    if revision(database) == HEAD:
        return False
    with _file_lock(database), _migration_connection(database) as connection:
        current = _current(connection)
        _refuse_newer(current)
        if current == HEAD:
            return False
        _run(connection)
        return True


def require_current(database: Database) -> None:
    """Raise `Unusable` unless the schema is exactly this program's."""
    current = revision(database)
    _refuse_newer(current)
    if current != HEAD:
        raise Unusable(
            "The node's database has an older schema than this program.",
            cause=f"It is at revision {current or 'none'}, and this program works with {HEAD}.",
            fix="Run: fedtui db upgrade",
            code="database_older",
        )


def _refuse_newer(current: str | None) -> None:
    known = {file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py")}
    if current is not None and current not in known:
        raise Unusable(
            "A newer fedtui has written this database.",
            cause=f"Its schema revision is {current}; this program knows up to {HEAD}.",
            fix="Install the newer fedtui again, or restore a backup made with this version.",
            code="database_newer",
        )


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    # The first switch to WAL by several processes at once fails now and then; on a
    # database server the advisory lock below does this work.
    if database.file is None:
        yield
        return
    descriptor = os.open(f"{database.file}.migrate", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _migration_connection(database: Database) -> Iterator[Connection]:
    """A connection of its own, thrown away after: foreign keys are off on it, since SQLite
    rebuilds tables and would delete their children."""
    engine = create_engine(database.url, poolclass=NullPool)
    if database.is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with database.explained(), engine.begin() as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
            if database.is_sqlite:
                _check_foreign_keys(connection)
    finally:
        engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {BUSY_TIMEOUT_MS}", "journal_mode = WAL", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise Unusable(
            "The migration would leave rows without their parents, and was undone.",
            cause=f"{len(broken)} rows, the first in table {broken[0][0]}.",
            fix="Report this with the output of: fedtui db check",
            code="migration_refused",
        )


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
