"""Whether a daemon of a home lives on this machine, whatever the database can say of it.

Each daemon holds a shared lock on a file in the home. The kernel gives the lock back when the process ends, however
it ends. A daemon that is stopped, or that cannot write to its database, still holds it.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
LOCK_FILE = "daemon.lock"
ATTEMPTS = 2
PAUSE_SECONDS = 0.01
"""Between two attempts: another process that asks holds the lock for a moment, too."""


@contextmanager
def announced(home: Path) -> Iterator[None]:
    """Hold the lock that says: a daemon of this home lives. Raises nothing: a home that is mounted read-only, or whose
    file system has no locks, has no such sign, and its daemon serves all the same."""
    with ExitStack() as held:
        try:
            file = held.enter_context((home / LOCK_FILE).open("a"))
            fcntl.flock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            pass  # there is no home, so that there is no node either, which is told when it is opened
        except OSError as error:
            log.warning("[Daemon] %s cannot be locked: %s", home / LOCK_FILE, error)
        yield


@contextmanager
def kept_out(home: Path) -> Iterator[bool]:
    """Keep daemons of this home from beginning, until the block ends: one that is started meanwhile waits for its lock.

    Yields whether none lives; where one does, nothing is held. A home without locks has no such sign.
    """
    with ExitStack() as held:
        try:
            file = held.enter_context((home / LOCK_FILE).open("a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            log.warning("[Restore] %s cannot be locked: %s", home / LOCK_FILE, error)
        yield True


def daemon_lives(home: Path) -> bool:
    """Return whether some process holds the lock of this home's daemons, as far as this account can see."""
    try:
        file = (home / LOCK_FILE).open()
    except OSError:
        return False
    with file:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:  # a file system without locks
                return False
            return False
    return True
