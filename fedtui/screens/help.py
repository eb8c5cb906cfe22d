"""The keys of a screen, told by the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.binding import ActiveBinding, Binding, BindingType
from textual.widget import Widget

from fedtui.screens.frame import Frame, key_name
from fedtui.screens.handle import Shared
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Part

KEYS_WIDTH = 24
"""Cells for the keys of an action."""


def help_lines(active: Iterable[ActiveBinding], width: int) -> list[Line]:
    """What each key does: one line for each action, with all the keys that do it."""
    found: dict[str, tuple[list[str], str]] = {}
    for one in active:
        if one.binding.description:
            keys, _ = found.setdefault(one.binding.action, ([], one.binding.description))
            keys.append(key_name(one.binding.key))
    room = max(width - KEYS_WIDTH, 1)
    return [
        Line((Part(0, KEYS_WIDTH, ", ".join(keys), "strong"), Part(KEYS_WIDTH, room, does)))
        for keys, does in found.values()
    ]


class HelpScreen(Frame):
    """Every key that worked on the screen it was called from."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "Back")]
    DEFAULT_CSS = "HelpScreen #help { height: 1fr; padding: 1 2; }"

    def __init__(self, shared: Shared, active: Iterable[ActiveBinding]) -> None:
        super().__init__(shared)
        self._active = list(active)

    def body(self) -> Iterator[Widget]:
        """The keys and what they do."""
        yield Lines(id="help")

    def tick(self) -> None:
        """Fit the lines to the width."""
        block = self.query_one("#help", Lines)
        title = Line((Part(0, block.size.width, "Keys on this screen", "strong"),))
        block.present([title, BLANK, *help_lines(self._active, block.size.width)])
