"""Noticing that another process has committed something."""

from __future__ import annotations

from typing import Any

from fedtui.core.runtime.database import CHANNEL, Database


class Changes:
    """`poll()` answers "has anyone else committed since the last poll?".

    On SQLite by `PRAGMA data_version`, on PostgreSQL by LISTEN, each on a connection of its own, and either costs
    microseconds. Call it from one thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._seen: object = None

    def poll(self) -> bool:
        """True the first time, and whenever something was committed since the last call.

        Raises `Unusable` while the database does not answer.
        """
        return self._version_changed() if self._database.is_sqlite else self._notified()

    def close(self) -> None:
        """Give back the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version_changed(self) -> bool:
        if self._connection is None:
            self._connection = self._database.engine.raw_connection()
        seen: object = self._connection.driver_connection.execute("PRAGMA data_version").fetchone()[0]
        changed = seen != self._seen
        self._seen = seen
        return changed

    def _notified(self) -> bool:
        try:
            if self._connection is None:
                self._connection = self._database.listening(CHANNEL)
                return True
            # Whatever was notified says the same: look again. A generator that is left early would lose some.
            return bool(list(self._connection.notifies(timeout=0)))
        except self._database.driver_error:
            self.close()
            return True  # what was committed meanwhile is not known
