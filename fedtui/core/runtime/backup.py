"""Looking after the database file: backup while running, restoring, and checking that it is whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

from fedtui.core.errors import Refused, Unusable, WrongUsage
from fedtui.core.runtime import disk, home, migrate
from fedtui.core.runtime.database import (
    NOT_THE_OWNER,
    PRIMARY,
    SERVER_READ_ONLY,
    Database,
    read_only_uri,
    sqlite_refusal,
)

STAGED = "fedtui.db.restoring"
UNFINISHED = ".fedtui-backup-"
WRITE_LOCK_SECONDS = 3.0
"""Longer than any transaction of ours: whoever holds the write lock for so long holds it for good."""


def backup(database: Database, destination: Path) -> int:
    """Copy a live SQLite database into a new file for this account alone; its size in bytes.

    One consistent moment, while others write. Raises `Refused` if the file exists.
    """
    source = _file(database)
    try:
        if destination.exists():
            raise FileExistsError(destination)
        with _workshop(destination.parent) as directory:
            partial = directory / "partial.db"
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


@contextmanager
def _workshop(parent: Path) -> Iterator[Path]:
    """A directory in `parent` for a copy that is not finished. Those that a killed backup left there are removed."""
    with _locked(parent):
        for left in parent.glob(f"{UNFINISHED}*"):
            if left.is_symlink():
                continue
            with suppress(OSError), _locked(left, wait=False):  # what is locked is another backup's, at work now
                shutil.rmtree(left)
        directory = tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=parent)
        mine = os.open(directory.name, os.O_RDONLY)
        fcntl.flock(mine, fcntl.LOCK_EX)
    with directory:
        try:
            yield Path(directory.name)
        finally:
            os.close(mine)


@contextmanager
def _locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a directory's lock, which its holder's death ends. Without `wait`, raises `OSError` if another has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def stage(backup_file: Path, home_directory: Path) -> Path:
    """Copy a backup into the home, beside the database: the copy. Raises `WrongUsage` for a file that is none."""
    copied = home_directory / STAGED
    try:
        if not backup_file.is_file():
            raise FileNotFoundError(f"{backup_file} is not a file")
        copied.unlink(missing_ok=True)
        home.write_private(copied, b"")
        _copy(backup_file, copied)
    except (OSError, sqlite3.Error) as error:
        copied.unlink(missing_ok=True)
        raise WrongUsage(
            f"{backup_file} cannot be restored.",
            cause=str(error),
            fix="Give a file that `fedtui db backup` made.",
            code="not_a_backup",
        ) from error
    return copied


def put_in_place(staged: Path, file: Path, now: datetime) -> Path | None:
    """Let a staged copy be the database: where the old one, with what belongs to it, was put aside, if there was one.

    What is opened before, or by a process that is still running, is the old one.
    """
    aside = file.with_name(f"{file.name}.before-{now:%Y%m%dT%H%M%SZ}")
    kept = file.exists()
    for ending in ("-wal", "-shm", ""):  # the log first: left behind, it would be applied to the new file
        part = file.with_name(file.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    staged.replace(file)
    return aside if kept else None


def check(database: Database) -> list[str]:
    """What is wrong with the database, in words; empty when nothing is."""
    try:
        return _schema_drift(database) + (_damage(database) if database.is_sqlite else [])
    except Unusable as problem:
        if problem.code != "database_damaged":
            raise
        return [problem.cause]  # so broken that SQLite gives up half-way


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Why a database takes no writes, in words; what to do; and the command that begins it."""

    why: str
    fix: str
    command: str


def unwritable(database: Database) -> Unwritable | None:
    """What keeps anything from being written, with nothing to be restored; None where it can, as far as is known."""
    if database.file is None:
        return _server_refuses(database)
    why, fix = (
        disk.trouble(database.file.absolute().parent),
        "Make room (df -h), or mount it for writing (findmnt -T DIR).",
    )
    return Unwritable(why, fix, "df -h") if why else _file_refuses(database.file)


def _file_refuses(file: Path) -> Unwritable | None:
    """Ask SQLite for the write lock, and give it back: what it answers otherwise."""
    uri = f"file:{quote(str(file))}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=WRITE_LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        problem, fix = sqlite_refusal(error.sqlite_errorcode & PRIMARY, file)
        why = f"{problem[:1].lower()}{problem[1:]} SQLite answers: {error}"
        return Unwritable(why, fix.replace("FILE", str(file)), f"fuser {file}")
    return None


_SERVER_REFUSES = {
    "pg_is_in_recovery()": ("its server is a replica, which only reads", SERVER_READ_ONLY),
    "current_setting('transaction_read_only') = 'on'": (
        "its server takes no writes: default_transaction_read_only is on",
        SERVER_READ_ONLY,
    ),
    "NOT has_table_privilege('events', 'INSERT')": (
        "its account may not write in tables that are not its own",
        NOT_THE_OWNER,
    ),
}
"""What PostgreSQL can be asked, and what it means when it is so."""


def _server_refuses(database: Database) -> Unwritable | None:
    with database.reading() as session:
        answers = session.execute(text(f"SELECT {', '.join(_SERVER_REFUSES)}")).one()
    for so, (why, (_, fix)) in zip(answers, _SERVER_REFUSES.values(), strict=True):
        if so:
            return Unwritable(why, fix, "fedtui config")
    return None


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
    origin = sqlite3.connect(read_only_uri(source.absolute()), uri=True)
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
