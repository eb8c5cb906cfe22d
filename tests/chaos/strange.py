"""`fedtui` on a strange machine: a clock that is set, names that are never answered for, little patience with locks.

The file that STRANGE_FILE names, JSON, says how strange; it is read at the start and again at SIGUSR1:
`clock` is by how many seconds the machine's clock is set, `silent` the host names whose look-up hangs, `busy_ms` how
long a locked database is waited for. The machine's clock is Python's here; what OpenSSL and SQLite ask is the real one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval

from fedtui.__main__ import main
from fedtui.core.runtime import clock, database, scheduler

FILE = "STRANGE_FILE"


class Strangeness:
    """How strange it is at present."""

    clock = timedelta()
    silent: tuple[str, ...] = ()

    @classmethod
    def read(cls, *_signal: object) -> None:
        """Read it."""
        told = json.loads(Path(os.environ[FILE]).read_text())
        cls.clock = timedelta(seconds=told.get("clock", 0))
        cls.silent = tuple(told.get("silent", ()))
        database.BUSY_TIMEOUT_MS = told.get("busy_ms", database.BUSY_TIMEOUT_MS)


class Shifted(datetime):
    """The machine's time, as it is set."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """The present moment, or what the machine takes for it."""
        return datetime.now(tz) + Strangeness.clock


def look_up(host: Any, *more: Any, **options: Any) -> Any:
    """As `socket.getaddrinfo`; for a silent name it never returns, as the C library's may not."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in Strangeness.silent:
        threading.Event().wait()
    return _look_up(host, *more, **options)


_look_up = socket.getaddrinfo

if __name__ == "__main__":
    Strangeness.read()
    signal.signal(signal.SIGUSR1, Strangeness.read)
    socket.getaddrinfo = look_up
    for module in (
        clock,
        scheduler,
        apscheduler.executors.base,
        apscheduler.schedulers.base,
        apscheduler.triggers.interval,
    ):
        module.datetime = Shifted  # type: ignore[attr-defined]
    sys.exit(main())
