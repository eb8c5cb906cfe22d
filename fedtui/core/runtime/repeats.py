"""The same thing over and over: told once, then counted, and the count told when its time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

What = TypeVar("What", bound=Hashable)
WITHIN = 60.0
MOST = 1_000
"""Different things told within that time at most; what comes beyond them is only counted, together."""


class Repeats(Generic[What]):
    """What was told lately in this process. Safe between threads."""

    def __init__(self, *, within: float = WITHIN, clock: Callable[[], float] = time.monotonic) -> None:
        self._within, self._clock = within, clock
        self._lock = threading.Lock()
        self._seen: dict[What, tuple[float, int]] = {}
        self._beyond = 0

    def again(self, what: What) -> bool:
        """Whether this was told within the time, and is counted; else it is to be told now."""
        with self._lock:
            began, count = self._seen.get(what, (0.0, 0))
            if what in self._seen and self._clock() - began < self._within:
                self._seen[what] = (began, count + 1)
                return True
            if what not in self._seen and len(self._seen) >= MOST:
                self._beyond += 1
                return True
            # A count whose time is over and that nobody has taken yet goes on.
            self._seen[what] = (self._clock(), count)
            return False

    def over(self, *, all_: bool = False) -> tuple[dict[What, int], int]:
        """How often each was repeated whose time is over, and how many more there were than are told apart."""
        with self._lock:
            ended = [what for what, (began, _) in self._seen.items() if all_ or self._clock() - began >= self._within]
            counted = {what: count for what in ended if (count := self._seen.pop(what)[1])}
            beyond, self._beyond = self._beyond, 0
        return counted, beyond
