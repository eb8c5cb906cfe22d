"""Noticing that another process has committed something."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from fedtui.core.runtime.database import Database


class Changes:
    """`poll()` answers "has anyone else committed since the last poll?".

    On SQLite by `PRAGMA data_version` on a connection of its own (microseconds). A database
    server is asked which transactions have ended: the newest event would not tell of one that
    commits late, nor of a change that made none. Call it from one thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._seen: object = None

    def poll(self) -> bool:
        """True the first time, and whenever something was committed since the last call."""
        seen = self._version() if self._database.is_sqlite else self._snapshot()
        changed = seen != self._seen
        self._seen = seen
        return changed

    def close(self) -> None:
        """Give back the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version(self) -> object:
        if self._connection is None:
            self._connection = self._database.engine.raw_connection()
        return self._connection.driver_connection.execute("PRAGMA data_version").fetchone()[0]

    def _snapshot(self) -> object:
        with self._database.reading() as session:
            return session.scalar(text("SELECT pg_current_snapshot()::text"))
