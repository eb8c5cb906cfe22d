"""Noticing that another process has committed something."""

from __future__ import annotations

import threading
from typing import Any

from fedtui.core.runtime.database import CHANNEL, Database


class Watch:
    """One connection for everything in this process that wants to know; it opens when the first of them looks.

    On SQLite it asks `PRAGMA data_version`, on PostgreSQL it LISTENs; either costs microseconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: Any = None
        self._heard = 0
        self._version: object = None
        self._closed = False

    def changes(self) -> Changes:
        """A look of one's own at what is committed."""
        return Changes(self)

    def version(self) -> object:
        """Another value whenever something was committed. Raises `Unusable` while the database does not answer."""
        with self._lock:
            if not self._closed:
                self._version = self._data_version() if self._database.is_sqlite else self._notified()
            return self._version

    def close(self) -> None:
        """Give back the connection for good: whoever still looks, in another thread, hears of nothing more."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _data_version(self) -> object:
        if self._connection is None:
            self._connection = self._database.engine.raw_connection()
        return self._connection.driver_connection.execute("PRAGMA data_version").fetchone()[0]

    def _notified(self) -> int:
        try:
            if self._connection is None:
                self._connection = self._database.listening(CHANNEL)
                self._heard += 1
            # Whatever was notified says the same: look again. A generator that is left early would lose some.
            elif list(self._connection.notifies(timeout=0)):
                self._heard += 1
        except self._database.driver_error:
            self._let_go()
            self._heard += 1  # what was committed meanwhile is not known
        return self._heard

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Changes:
    """`poll()` answers "has anyone else committed since the last poll?"."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._seen: object = None

    def poll(self) -> bool:
        """True the first time, and whenever something was committed since the last call.

        Raises `Unusable` while the database does not answer.
        """
        before, self._seen = self._seen, self._watch.version()
        return self._seen != before
