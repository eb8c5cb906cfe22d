"""What a form asks for, as data, and the two widgets that ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input

from fedtui.screens.shell.commands import CHOICE, bindings
from fedtui.screens.widgets.clean import harmless
from fedtui.screens.widgets.paint import Focusable, Line, Painted, Part, drawable

LIMIT = 500
DIGITS = "123456789"
UNDERLINED = Style(underline=True)
ASCII_ONLY = "This terminal can show ASCII only."


def anything(_text: str) -> str:
    """A check that is always content."""
    return ""


@dataclass(frozen=True, slots=True)
class Field:
    """One question. `check` returns what is wrong with an answer, in a sentence, or nothing.

    `tell` says in a few words what a right answer means. With `choices` one of them is
    chosen; else a text of at most `limit` characters is typed, and a digit in an empty one puts
    in one of the `canned`. `pasted` returns what is taken of a paste. What is filled in is replaced
    by typing, unless `append` says that it is gone on with. What is to be typed `anew` each time is never filled in.
    """

    key: str
    label: str
    value: str = ""
    hint: str = ""
    check: Callable[[str], str] = anything
    tell: Callable[[str], str] = anything
    choices: Sequence[str] = ()
    canned: Sequence[str] = ()
    pasted: Callable[[str], str] = str.strip
    append: bool = False
    anew: bool = False
    limit: int = LIMIT


def required(text: str) -> str:
    """A check: something must be given."""
    return "" if text.strip() else "This is needed."


class Answered(Message):
    """An answer changed, or was refused."""


class Text(Input):
    """One line of text. Takes nothing that a terminal could obey, and says so when a paste is too long."""

    DEFAULT_CSS = """
    Text, Text:focus {
        border: none; height: 1; padding: 0 1; background: ansi_default; color: ansi_default;
        & > .input--cursor { background: ansi_default; color: ansi_default; text-style: reverse; }
        & > .input--placeholder { color: ansi_default; text-style: dim; }
        & > .input--selection { background: ansi_default; color: ansi_default; text-style: reverse; }
    }
    """

    def __init__(self, field: Field) -> None:
        value = harmless(field.value)
        super().__init__(value, placeholder=field.hint, id=f"field-{field.key}", select_on_focus=not field.append)
        self.cursor_blink = False
        self.field = field
        self.refused = ""

    @property
    def answer(self) -> str:
        """What stands there."""
        return self.value

    def render_line(self, y: int) -> Strip:
        """Underlined from end to end, so that an empty one is seen, too."""
        return super().render_line(y).apply_style(UNDERLINED)

    def replace(self, text: str, start: int, end: int) -> None:
        """Put text in: typing and pasting end here. What cannot be taken is refused as a whole, and said."""
        if not self.value:
            text = dict(zip(DIGITS, self.field.canned, strict=False)).get(text, text)
        room = self.field.limit - len(self.value) + (end - start)
        kept = harmless(text) if len(text) <= room else text
        self.refused = ""
        if len(kept) > room:
            self.refused = f"{len(text):,} characters are too many; {self.field.limit:,} fit."
        elif Painted.ascii_only and not kept.isascii():
            self.refused = ASCII_ONLY
        elif kept or not text:
            super().replace(kept, start, end)
        if self.refused:
            self.post_message(Answered())

    def _on_paste(self, event: events.Paste) -> None:
        # All of it, not the first line: an invite that a mail client broke into lines is still one.
        event.stop()
        event.prevent_default()
        fits = len(event.text) <= self.field.limit
        self.replace(self.field.pasted(event.text) if fits else event.text, *sorted(self.selection))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the form."""
        event.stop()
        self.post_message(Answered())


class Choice(Focusable):
    """One of a few words; Left, Right and Space go through them, Enter goes on."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(CHOICE)
    DEFAULT_CSS = "Choice { height: 1; width: 1fr; }"

    class Taken(Message):
        """Enter was pressed."""

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"field-{field.key}")
        self.field = field
        self.refused = ""
        self._at = field.choices.index(field.value) if field.value in field.choices else 0

    @property
    def answer(self) -> str:
        """The word chosen."""
        return self.field.choices[self._at]

    def action_turn(self, step: int) -> None:
        """Choose the next word, or the one before."""
        self._at = (self._at + step) % len(self.field.choices)
        self.draw()
        self.post_message(Answered())

    def action_take(self) -> None:
        """Go on."""
        self.post_message(self.Taken())

    def draw(self) -> None:
        """The words side by side; where there is no room for all, the chosen one and how many there are."""
        style = "cursor" if self.has_focus else "strong"
        words = [f"({word})" if place == self._at else f" {word} " for place, word in enumerate(self.field.choices)]
        sizes = [cell_len(drawable(word)) for word in words]
        if sum(sizes) + len(sizes) > self.size.width:
            count = f"{self._at + 1} of {len(words)}"
            room = max(self.size.width - len(count) - 3, 1)
            shown = (Part(1, len(count), count, "dim"), Part(len(count) + 2, room, words[self._at], style))
            self.present([Line(shown)])
            return
        parts, x = [], 1
        for place, (word, size) in enumerate(zip(words, sizes, strict=True)):
            parts.append(Part(x, size, word, style if place == self._at else "dim"))
            x += size + 1
        self.present([Line(tuple(parts))])
