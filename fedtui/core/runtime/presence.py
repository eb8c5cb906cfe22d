"""Whether a daemon of a home lives on this machine, whatever the database can say of it.

Each daemon holds a shared lock on a file in the home. The kernel gives the lock back when the process ends, however
it ends. A daemon that is stopped, or that cannot write to its database, still holds it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = "daemon.lock"
ATTEMPTS = 2
PAUSE_SECONDS = 0.01
"""Between two attempts: another process that asks holds the lock for a moment, too."""


@contextmanager
def announced(home: Path) -> Iterator[None]:
    """Hold the lock that says: a daemon of this home lives. Raises `OSError` where the home cannot be written."""
    with (home / LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def daemon_lives(home: Path) -> bool:
    """Return whether some process holds the lock of this home's daemons."""
    try:
        file = (home / LOCK_FILE).open()
    except FileNotFoundError:
        return False
    with file:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return False
    return True
