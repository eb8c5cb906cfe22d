"""What the console knows about its own reads: how fresh they are, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

STALE_AFTER = 4.0
"""Seconds without a successful look at the database after which the screen calls itself stale."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure in words: what is wrong, why, and what to do."""

    problem: str
    cause: str
    fix: str

    def told(self) -> list[tuple[str, str]]:
        """Its sentences, each with the name of the style it is drawn in."""
        sentences = [(self.problem, "bad"), (self.cause, ""), (self.fix, "strong")]
        return [(text, style) for text, style in sentences if text]


def trouble(error: Exception) -> Trouble:
    """An error in words. The core's own errors bring theirs; of any other, type and first line are told."""
    problem, cause, fix = (getattr(error, part, "") for part in ("problem", "cause", "fix"))
    if isinstance(problem, str) and problem:
        return Trouble(problem, str(cause), str(fix))
    first = next(iter(str(error).splitlines()), "")[:200]
    return Trouble(
        "The node's data could not be read.",
        f"{type(error).__name__}: {first}" if first else type(error).__name__,
        "The console keeps trying.",
    )


class Pulse:
    """When the node's data were last seen, and what went wrong since. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: float | None = None
        self.trouble: Trouble | None = None

    def beat(self) -> None:
        """A look at the database succeeded."""
        self._seen = self._clock()
        self.trouble = None

    def miss(self, error: Exception) -> None:
        """A look at the database failed."""
        self.trouble = trouble(error)

    @property
    def age(self) -> float | None:
        """Seconds since the last success; None before the first."""
        return None if self._seen is None else self._clock() - self._seen

    @property
    def stale(self) -> bool:
        """Whether what the screen shows may be out of date."""
        return self.age is not None and (self.trouble is not None or self.age > STALE_AFTER)
