"""Every command of a screen, told by the table that defines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget

from fedtui.screens.shell.commands import DETAIL, EVERYWHERE, Command, key_names
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.frame import Frame
from fedtui.screens.widgets.clean import wrap
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Part

KEY_WIDTH, NAME_WIDTH = 11, 18


def help_lines(commands: list[tuple[Command, str]], width: int) -> list[Line]:
    """A paragraph for each command: keys, name, what it does, and why it may not be used now."""
    left = KEY_WIDTH + NAME_WIDTH
    lines = []
    for command, reason in commands:
        told = command.help + (f" ({reason.rstrip('.')})" if reason else "")
        style = "dim" if reason else ""
        for number, piece in enumerate(wrap(told, max(width - left, 20))):
            head = (
                Part(0, KEY_WIDTH - 1, ", ".join(key_names(command)), "strong"),
                Part(KEY_WIDTH, NAME_WIDTH - 1, f":{command.name}", "dim"),
            )
            lines.append(Line((*(head if number == 0 else ()), Part(left, max(width - left, 0), piece, style))))
    return lines


class HelpScreen(Frame):
    """Every command of the screen it was called from."""

    places: ClassVar[tuple[str, ...]] = (EVERYWHERE, DETAIL)
    DEFAULT_CSS = """
    HelpScreen VerticalScroll { height: 1fr; padding: 1 2; scrollbar-size-vertical: 1; }
    HelpScreen #help { height: auto; }
    """

    def __init__(self, shared: ConsoleContext, about: Screen[object]) -> None:
        super().__init__(shared)
        self._about = about

    def trail(self) -> str:
        """Help, after where it was asked for."""
        about = self._about.trail() if isinstance(self._about, Frame) else ""
        return f"{about} › help" if about else "help"

    def body(self) -> Iterator[Widget]:
        """The commands and what they do."""
        with VerticalScroll(can_focus=False):
            yield Lines(id="help")

    def tick(self) -> None:
        """Fit the lines to the width."""
        about = self._about
        commands = [(one, about.refusal(one)) for one in about.commands()] if isinstance(about, Frame) else []
        block = self.query_one("#help", Lines)
        width = max(block.size.width, 40)
        title = Line((Part(0, width, "Keys and commands of this screen", "strong"),))
        block.present([title, BLANK, *help_lines(commands, width)])

    def do_help(self) -> None:
        """Back: the key that opened it closes it."""
        self.do_back()
