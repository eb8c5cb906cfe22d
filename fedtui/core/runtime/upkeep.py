"""Looking after the database file: backup while running, and checking that it is whole."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import text

from fedtui.core.errors import Refused, Unusable
from fedtui.core.runtime import home, migrate
from fedtui.core.runtime.database import Database


def backup(database: Database, destination: Path) -> int:
    """Copy a live SQLite database into a new file for this account alone; its size in bytes.

    One consistent moment, while others write. Raises `Refused` if the file exists.
    """
    source = _file(database)
    try:
        if destination.exists():
            raise FileExistsError(destination)
        with tempfile.TemporaryDirectory(prefix=".fedtui-backup-", dir=destination.parent) as directory:
            partial = Path(directory) / "partial.db"
            home.write_private(partial, b"")
            _copy(source, partial)
            os.link(partial, destination)  # never over a file that came meanwhile
    except FileExistsError as error:
        raise Refused(
            f"{destination} exists already.",
            cause="A backup never writes over a file.",
            fix="Give the name of a file that does not exist yet.",
            code="file_exists",
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise Unusable(
            f"The backup to {destination} could not be written.",
            cause=str(error),
            fix="See that the directory exists, is writable, and has room.",
            code="backup_failed",
        ) from error
    return destination.stat().st_size


def check(database: Database) -> list[str]:
    """What is wrong with the database, in words; empty when nothing is."""
    try:
        return _schema_drift(database) + (_damage(database) if database.is_sqlite else [])
    except Unusable as problem:
        if problem.code != "database_damaged":
            raise
        return [problem.cause]  # so broken that SQLite gives up half-way


def _schema_drift(database: Database) -> list[str]:
    revision = migrate.revision(database)
    if revision == migrate.HEAD:
        return []
    return [f"its schema is at revision {revision}, this program works with {migrate.HEAD}"]


def _damage(database: Database) -> list[str]:
    with database.reading() as session:
        answers = session.scalars(text("PRAGMA integrity_check(20)")).all()
        orphans = session.execute(text("PRAGMA foreign_key_check")).all()
    return [
        *(answer for answer in answers if answer != "ok"),
        *(f"table {row[0]}, row {row[1]}: its parent in {row[2]} is missing" for row in orphans[:20]),
    ]


def _copy(source: Path, destination: Path) -> None:
    origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    try:
        target = sqlite3.connect(destination)
        try:
            origin.backup(target)
        finally:
            target.close()
    finally:
        origin.close()


def _file(database: Database) -> Path:
    if database.file is None:
        raise Refused(
            "This node keeps its records on a database server.",
            cause="Only the built-in SQLite database is backed up by fedtui.",
            fix="Use the server's own tool: pg_dump.",
            code="backup_elsewhere",
        )
    return database.file
