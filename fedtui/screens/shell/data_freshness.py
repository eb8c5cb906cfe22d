"""What the console knows about its own reads: how fresh they are, and what is wrong with them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from fedtui.screens.widgets.clean import clean

STALE_AFTER = 4.0
"""Seconds without a successful look at the database after which the screen calls itself stale."""

UNREADABLE = "The node's data could not be read."
UNDONE = "That could not be done."


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure in words: what is wrong, why, and what to do."""

    problem: str
    cause: str
    fix: str

    def told(self) -> list[tuple[str, str]]:
        """Its sentences, each with the name of the style it is drawn in."""
        causes = [(line, "") for line in self.cause.splitlines()]
        sentences = [(self.problem, "bad"), *causes, (self.fix, "strong")]
        return [(text, style) for text, style in sentences if text]


def trouble(error: Exception, *, what: str = UNREADABLE) -> Trouble:
    """An error in words. The core's own errors bring theirs; of any other, type and first line are told."""
    problem, cause, fix = (getattr(error, part, "") for part in ("problem", "cause", "fix"))
    if isinstance(problem, str) and problem:
        return Trouble(problem, str(cause), str(fix))
    first = next(iter(str(error).splitlines()), "")[:200]
    return Trouble(
        what,
        f"{type(error).__name__}: {first}" if first else type(error).__name__,
        "The console goes on." if what != UNREADABLE else "The console keeps trying.",
    )


def crash_report(error: BaseException | None) -> str:
    """What to tell of an error of our own: its kind, its first line, and where; no values of variables."""
    if error is None:
        return "fedtui stopped on an error of its own."
    first = next(iter(str(error).splitlines()), "")
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = (f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    kind = type(error).__name__
    said = f"{kind}: {clean(first, limit=200)}"
    return "\n".join(["fedtui stopped on an error of its own.", *places, said])


class DataFreshness:
    """When the node's data were last seen, and what went wrong since. `clock` returns seconds.

    Several read them (the watch over the node, a table, a peer's screen): each says by its
    name what became of its own reading.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: float | None = None
        self._troubles: dict[str, Trouble] = {}

    def beat(self, reader: str = "") -> None:
        """A look at the database succeeded."""
        self._seen = self._clock()
        self.rest(reader)

    def miss(self, error: Exception, reader: str = "") -> None:
        """A look at the database failed."""
        self._troubles[reader] = trouble(error)

    def rest(self, reader: str = "") -> None:
        """This one does not read any more: what went wrong with it is no longer of interest."""
        self._troubles.pop(reader, None)

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong at present, if anything is."""
        return next(iter(self._troubles.values()), None)

    @property
    def age(self) -> float | None:
        """Seconds since the last success; None before the first."""
        return None if self._seen is None else self._clock() - self._seen

    @property
    def stale(self) -> bool:
        """Whether what the screen shows may be out of date."""
        return self.age is not None and (bool(self._troubles) or self.age > STALE_AFTER)
