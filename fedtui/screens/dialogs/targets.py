"""The targets of an act, and how much of a dialog's text has been on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeVar

from textual.message import Message
from textual.strip import Strip

from fedtui.screens.widgets.paint import Lines

T = TypeVar("T")


class Target(NamedTuple):
    """A record that an act is about to change: its label, and beneath it what it changes and why."""

    label: str
    details: tuple[str, ...] = ()


def targets(
    lines: Iterable[T], label: Callable[[T], str], details: Callable[[T], Iterable[str]] = lambda _line: ()
) -> tuple[Target, ...]:
    """The records as targets of an act."""
    return tuple(Target(label(line), tuple(details(line))) for line in lines)


@dataclass
class Exposure:
    """Which blocks of a text have been on the screen with all their lines.

    A block that was in view stays counted when the text is wrapped to another width; of the others the lines are
    then counted anew.
    """

    _sizes: tuple[int, ...] = ()
    _lines: set[int] = field(default_factory=set)
    _done: set[int] = field(default_factory=set)

    def wrap(self, sizes: Sequence[int]) -> bool:
        """Take the number of lines of each block, as the text is wrapped now; whether that differs from before."""
        if tuple(sizes) == self._sizes:
            return False
        if len(sizes) != len(self._sizes):
            self._done.clear()
        self._sizes = tuple(sizes)
        self._lines.clear()
        return True

    def expose(self, rows: Iterable[int]) -> bool:
        """Count these lines of the text as seen; whether that completed a block."""
        self._lines.update(rows)
        ends = [0, *accumulate(self._sizes)]
        done = {place for place, (start, end) in enumerate(pairwise(ends)) if self._lines.issuperset(range(start, end))}
        before = len(self._done)
        self._done |= done
        return len(self._done) > before

    @property
    def complete(self) -> bool:
        """Whether all of the text has been on the screen."""
        return len(self._done) == len(self._sizes)

    def seen(self, last: int) -> int:
        """How many of the last so many blocks have been on the screen."""
        first = len(self._sizes) - last
        return sum(place >= first for place in self._done)


class Witnessed(Lines):
    """A block of lines that records which of them were drawn: Textual renders those alone that the terminal shows."""

    class Drawn(Message):
        """Lines were drawn that had not been before; `drawn` has them."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.drawn: set[int] = set()

    def witness_anew(self) -> None:
        """Forget what was drawn, and draw it again."""
        self.drawn.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw a line, and record it."""
        if y not in self.drawn:
            self.drawn.add(y)
            self.post_message(self.Drawn())
        return super().render_line(y)
