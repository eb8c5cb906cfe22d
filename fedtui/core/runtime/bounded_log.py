"""Loggers for what strangers can cause: so many lines of a kind a minute, the others counted in one line.

A kind is a logger and a template. Whoever sends requests decides how often a line is due, but not how much of the disk
it takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

WITHIN = 60.0
IN_FULL = 10
"""Lines of a kind that are written in each period of `WITHIN` seconds."""
MOST_KINDS = 200
"""Kinds that are counted apart at once; the rest is counted together."""
_SUMMARY = "%d more lines in %d seconds like: %s"


@dataclass(slots=True)
class _Count:
    """Lines of a kind since a monotonic time."""

    since: float
    written: int = 0
    dropped: int = 0
    level: int = logging.INFO
    last: str = ""


class Bounded(logging.Filter):
    """Passes the first lines of each kind, counts the others. Thread-safe, bounded in memory."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.msg == _SUMMARY:
            return True
        self.flush()
        with self._lock:
            count = self._count(record.name, str(record.msg))
            if count.written < IN_FULL:
                count.written += 1
                return True
            count.dropped += 1
            count.level, count.last = max(count.level, record.levelno), record.getMessage()
            return False

    def flush(self, *, all_: bool = False) -> None:
        """Write a line for each kind whose minute is over and of which lines were dropped."""
        with self._lock:
            now = self._clock()
            ended = {kind: count for kind, count in self._counts.items() if all_ or now - count.since >= WITHIN}
            for kind in ended:
                del self._counts[kind]
        for (name, _), count in ended.items():
            if count.dropped:
                seconds = round(now - count.since)
                logging.getLogger(name).log(count.level, _SUMMARY, count.dropped, seconds, count.last)

    def clear(self) -> None:
        """Forget what was counted."""
        with self._lock:
            self._counts.clear()

    def _count(self, name: str, template: str) -> _Count:
        kind = (name, template)
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = (name, "")
        return self._counts.setdefault(kind, _Count(self._clock()))


BOUNDED = Bounded()
"""The counts of this process."""


def logger(name: str) -> logging.Logger:
    """The logger of this name, whose lines are bounded."""
    log = logging.getLogger(name)
    log.addFilter(BOUNDED)  # once, however often it is asked for
    return log
