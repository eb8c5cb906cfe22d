"""The prompts at the foot of the screen: `:` for commands, `/` for a filter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.dialogs.field import Answered, Field, Text
from fedtui.screens.shell.commands import PROMPT, Command, completions, key_names
from fedtui.screens.widgets.paint import Line, Lines, Part, paragraphs

MOST_SHOWN = 8
NAME_WIDTH = 18
KEY_WIDTH = 8


class Prompt(Dialog[str]):
    """One line to type into, over the last lines of the screen. Enter takes it, Esc leaves it (None)."""

    places: ClassVar[tuple[str, ...]] = (PROMPT,)
    DEFAULT_CSS = """
    Prompt { align: left bottom; }
    Prompt #matches, Prompt #line { background: ansi_default; }
    Prompt #matches { height: auto; }
    Prompt #line { height: 1; }
    Prompt #sign { width: 2; height: 1; }
    Prompt Text, Prompt Text:focus { padding: 0; }
    """

    sign: ClassVar[str] = ":"
    hint: ClassVar[str] = "a command: Tab completes, Enter runs it, Esc leaves"

    def __init__(self, value: str = "", *, append: bool = False) -> None:
        super().__init__()
        self._text = Text(Field("prompt", "", value, self.hint, append=append))

    def compose(self) -> ComposeResult:
        yield Lines(id="matches")
        with Horizontal(id="line"):
            yield Lines(id="sign")
            yield self._text

    def on_mount(self) -> None:
        """Begin to type. (Textual calls the dialog's own `on_mount` itself.)"""
        self.query_one("#sign", Lines).present([Line((Part(0, 1, self.sign, "strong"),))])
        self._text.focus()

    def show(self) -> None:
        """Show what fits, or what was refused."""
        lines = self.matches(self.app.size.width)
        refused = paragraphs([(self._text.refused, "bad")], self.app.size.width, margin=1)
        self.query_one("#matches", Lines).present(refused if self._text.refused else lines)

    def matches(self, width: int) -> list[Line]:
        """Lines to stand above the one that is typed into."""
        return []

    def on_answered(self, message: Answered) -> None:
        """Something was typed."""
        message.stop()
        self.show()

    def on_input_submitted(self) -> None:
        """Take it."""
        self.end(self._text.value)

    def action_complete(self) -> None:
        """Complete what was typed."""


Offer = tuple[str, str]
"""What may stand behind a command, and a few words on what it is."""
Search = Callable[[str, str], Awaitable[Sequence[Offer]]]
"""Finds records of a place by a text: ids, each with the record's label."""


class CommandPrompt(Prompt):
    """Asks for a command, showing those whose name fits, with their keys and what they do.

    Behind a command that takes something, it shows what there is for it (`arguments`), and behind a place the records
    that a text is found in (`search`). Up and Down choose among what is shown; with nothing typed, among what was
    typed before (`history`, the newest last).
    """

    def __init__(
        self,
        commands: Sequence[Command],
        refusal: Callable[[Command], str],
        arguments: Callable[[Command], Sequence[Offer]],
        typed: str = "",
        *,
        search: Search | None = None,
        history: Sequence[str] = (),
    ) -> None:
        super().__init__(typed, append=bool(typed))
        self._commands = commands
        self._refusal = refusal
        self._arguments = arguments
        self._search = search
        self._history = list(dict.fromkeys(reversed(history)))
        self._records: Sequence[Offer] = ()
        self._chosen: int | None = None
        self._recalled = -1

    def _fitting(self) -> list[Command]:
        """The commands that fit the first word typed."""
        return completions((self._text.value.split() or [""])[0], self._commands)

    def _taking(self) -> Command | None:
        """The command that was typed in full, and takes what is being typed now."""
        name, behind, _ = self._text.value.lstrip().partition(" ")
        return next((one for one in self._commands if behind and (one.takes or one.place) and one.name == name), None)

    def _offered(self, command: Command) -> Sequence[Offer]:
        """What there is for a command, as far as it fits the word that is being typed."""
        if command.place:
            return self._records[:MOST_SHOWN]
        begun = self._text.value.rpartition(" ")[2]
        return [one for one in self._arguments(command) if one[0].startswith(begun)][:MOST_SHOWN]

    def _lines_typed(self) -> list[str]:
        """What the shown lines, in their order, would make of what is typed."""
        if (command := self._taking()) is not None:
            before = command.name if command.place else self._text.value.rpartition(" ")[0]
            return [f"{before} {name}" for name, _ in self._offered(command)]
        return [one.name + (" " if one.takes else "") for one in self._fitting()[:MOST_SHOWN]]

    def on_answered(self, message: Answered) -> None:
        """Something was typed: nothing is chosen any more, and records are searched for it."""
        self._chosen = None
        super().on_answered(message)
        if self._search is not None:
            self.run_worker(self._find(self._search), group="find", exclusive=True, exit_on_error=False)

    async def _find(self, search: Search) -> None:
        command, text = self._taking(), self._text.value.lstrip().partition(" ")[2].strip()
        found = await search(command.place, text) if command is not None and command.place and text else ()
        if self._taking() is command and self.is_mounted:
            self._records = found
            self.show()

    def action_choose(self, step: int) -> None:
        """Choose another of the lines; with nothing typed, what was typed before."""
        if self._history and (self._recalled >= 0 or (step < 0 and not self._text.value)):
            self._recalled = min(max(self._recalled - step, -1), len(self._history) - 1)
            with self.prevent(Input.Changed):
                self._put(self._history[self._recalled] if self._recalled >= 0 else "")
        elif count := len(self._lines_typed()):
            before = self._chosen if self._chosen is not None else (-1 if step > 0 else count)
            self._chosen = min(max(before + step, 0), count - 1)
        self.show()

    def action_complete(self) -> None:
        """Take the chosen line, or else the first that fits."""
        if lines := self._lines_typed():
            self._put(lines[self._chosen or 0])

    def on_input_submitted(self) -> None:
        """Run the chosen line, or what is typed; what takes a name is gone on with."""
        if self._chosen is None:
            super().on_input_submitted()
            return
        line = self._lines_typed()[self._chosen]
        if line.endswith(" "):
            self._put(line)
        else:
            self.end(line)

    def _put(self, text: str) -> None:
        self._text.value = text
        self._text.cursor_position = len(text)

    def matches(self, width: int) -> list[Line]:
        """Those that fit, with their keys and what they do; dim where they cannot be used now."""
        if (command := self._taking()) is not None:
            offered = self._offered(command)
            lines = [_offer(*one, width) for one in offered] or [_match(command, width, self._refusal(command))]
        else:
            lines = [_match(command, width, self._refusal(command)) for command in self._fitting()[:MOST_SHOWN]]
        if self._chosen is None or self._chosen >= len(lines):
            return lines
        chosen = Line(tuple(part._replace(style="") for part in lines[self._chosen].parts), "cursor")
        return [*lines[: self._chosen], chosen, *lines[self._chosen + 1 :]]


def _offer(name: str, told: str, width: int) -> Line:
    left = 2 + NAME_WIDTH
    return Line((Part(2, NAME_WIDTH - 1, name, "strong"), Part(left, max(width - left - 1, 0), told)))


def _match(command: Command, width: int, refusal: str) -> Line:
    left = 2 + NAME_WIDTH + KEY_WIDTH
    return Line(
        (
            Part(2, NAME_WIDTH - 1, command.name, "dim" if refusal else "strong"),
            Part(2 + NAME_WIDTH, KEY_WIDTH - 1, " ".join(key_names(command)), "dim"),
            Part(left, max(width - left - 1, 0), refusal or command.help, "dim" if refusal else ""),
        )
    )


class FilterPrompt(Prompt):
    """Asks for a filter, and applies it while it is typed; Esc puts back what was there before."""

    sign = "/"
    hint = "a text, or !text for rows without it: Enter keeps it, Esc takes it back"

    def __init__(self, value: str, apply: Callable[[str], None]) -> None:
        super().__init__(value)
        self._apply = apply
        self._before = value

    def on_answered(self, message: Answered) -> None:
        """Apply it. A leading `!` turns it round."""
        super().on_answered(message)
        if not self._text.refused:
            self._apply(self._text.value)

    def action_close(self) -> None:
        """Put back what was there before."""
        self._apply(self._before)
        super().action_close()
