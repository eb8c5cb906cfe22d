"""`fedtui`, doomed: killed by its own hand, without warning, somewhere in the middle of its work on the database.

The file that DOOM_FILE names says when: so many statements and commits from now, and so many milliseconds after
that one. A command reads it when it starts, a daemon or a console at SIGUSR1.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from fedtui.__main__ import main

FILE = "DOOM_FILE"


class Doom:
    """Counts down; at nought the process dies."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._pause = 0.0

    def arm(self, *_signal: object) -> None:
        """Read when it is to be."""
        statements, milliseconds = Path(os.environ[FILE]).read_text().split()
        self._left, self._pause = int(statements), int(milliseconds) / 1000

    def step(self, *_what: object) -> None:
        """A statement or commit is about to be."""
        if self._left is None:
            return
        self._left -= 1
        if self._left > 0:
            return
        if self._pause == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left = None
        threading.Thread(target=self._strike, daemon=True).start()

    def _strike(self) -> None:
        time.sleep(self._pause)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    doom = Doom()
    event.listen(Engine, "before_cursor_execute", doom.step)
    event.listen(Engine, "commit", doom.step)
    if {"serve", "console"} & set(sys.argv):
        signal.signal(signal.SIGUSR1, doom.arm)
    else:
        doom.arm()
    sys.exit(main())
