"""A button: one word, reversed where the focus is, dim where it may not be pressed."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.binding import BindingType
from textual.message import Message

from fedtui.screens.shell.commands import PRESS, bindings
from fedtui.screens.widgets.paint import Focusable, Line, Part, drawable


class Press(Focusable):
    """A button as wide as its word. Enter, Space or a click press it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(PRESS)
    DEFAULT_CSS = "Press { height: 1; margin-left: 2; }"

    class Pressed(Message):
        """It was pressed."""

        def __init__(self, press: Press) -> None:
            super().__init__()
            self.press = press

    def __init__(self, word: str, *, id: str) -> None:
        super().__init__(id=id)
        self._word = drawable(word)
        self.styles.width = cell_len(self._word) + 4

    def on_click(self) -> None:
        """Press it."""
        self.action_press()

    def action_press(self) -> None:
        """Tell that it was pressed."""
        self.post_message(self.Pressed(self))

    def draw(self) -> None:
        """The word in brackets."""
        style = "dim" if self.disabled else "cursor" if self.has_focus else "strong"
        self.present([Line((Part(0, cell_len(self._word) + 4, f"[ {self._word} ]", style),))])
