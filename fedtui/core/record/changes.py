"""Noticing that another process has committed something."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from fedtui.core.record.events import Event
from fedtui.core.runtime.database import Database


class Changes:
    """`poll()` answers "has anyone else committed since the last poll?".

    On SQLite by `PRAGMA data_version` on a connection of its own (microseconds). A database
    server is asked for the newest event instead. Call it from one thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._seen: object = None

    def poll(self) -> bool:
        """True the first time, and whenever something was committed since the last call."""
        seen = self._version() if self._database.is_sqlite else self._newest_event()
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

    def _newest_event(self) -> object:
        with self._database.reading() as session:
            return session.scalar(select(func.max(Event.id)))
