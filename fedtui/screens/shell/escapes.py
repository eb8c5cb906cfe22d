"""Escape sequences that a slow link tears apart: Escape, and later `[A`, is still the Up key.

Textual takes an Escape without a quick continuation for the Escape key, and what follows for letters: `[`, then `A`,
which is a key that approves. What follows an Escape within `WITHIN_SECONDS` and is spelled like the rest of a sequence
is taken for the key that it is, or dropped where it is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from textual import events

WITHIN_SECONDS = 1.0
"""How long after the Escape, or after the last piece, the next piece may come."""
BEGINNINGS = ("[", "O")
BEGUN = re.compile(r"O|\[[0-9;<?]*")
ENDED = re.compile(r"(?:O[A-Za-z]|\[[0-9;<?]*[A-Za-z~])")
KEYS = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "Z": "shift+tab",
    "1~": "home",
    "2~": "insert",
    "3~": "delete",
    "4~": "end",
    "5~": "pageup",
    "6~": "pagedown",
}
"""What the keys send behind their beginning, without modifiers."""


class Escapes:
    """Holds back what may be the rest of a sequence. `clock` returns seconds, and only ever grows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        self._held: list[events.Key] = []

    @property
    def holding(self) -> bool:
        """Whether keys are held back."""
        return bool(self._held)

    @property
    def late(self) -> bool:
        """Whether the next piece, if there is any, comes too late."""
        return self._clock() >= self._until

    def take(self, event: events.Key) -> list[events.Key]:
        """The keys to deliver now for a key that was pressed: itself, none yet, or what a sequence means."""
        now = self._clock()
        before = self.release() if now > self._until else []
        if event.key == "escape":
            before, self._until = [*before, *self.release()], now + WITHIN_SECONDS
            return [*before, event]
        if not self._held and (now > self._until or event.character not in BEGINNINGS):
            self._until = 0.0
            return [*before, event]
        self._held.append(event)
        self._until = now + WITHIN_SECONDS
        text = "".join(one.character or "\0" for one in self._held)
        if ENDED.fullmatch(text):
            self._held, self._until = [], 0.0
            key = KEYS.get(text[1:])
            return [*before, events.Key(key, None)] if key else before
        return before if BEGUN.fullmatch(text) else [*before, *self.release()]

    def release(self) -> list[events.Key]:
        """Give back what is held: it was typed after all."""
        held, self._held, self._until = self._held, [], 0.0
        return held
