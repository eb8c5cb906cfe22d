"""What a form asks for, as data, and the two widgets that ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from fedtui.screens.widgets.clean import clean
from fedtui.screens.widgets.paint import Line, Painted, Part

LIMIT = 500


def anything(_text: str) -> str:
    """A check that is always content."""
    return ""


@dataclass(frozen=True, slots=True)
class Field:
    """One question. `check` returns what is wrong with an answer, in a sentence, or nothing.

    With `choices` one of them is chosen; else a text of at most `limit` characters is typed.
    """

    key: str
    label: str
    value: str = ""
    hint: str = ""
    check: Callable[[str], str] = anything
    choices: Sequence[str] = ()
    limit: int = LIMIT


def required(text: str) -> str:
    """A check: something must be given."""
    return "" if text.strip() else "This is needed."


class Answered(Message):
    """An answer changed."""


class Text(Input):
    """One line of text. Takes no control characters, and says so when a paste is too long."""

    DEFAULT_CSS = """
    Text, Text:focus { border: none; height: 1; padding: 0 1; background: ansi_default; color: ansi_default; }
    Text { text-style: underline; }
    Text:focus { text-style: reverse; }
    """

    def __init__(self, field: Field) -> None:
        super().__init__(field.value, placeholder=field.hint, max_length=field.limit, id=f"field-{field.key}")
        self.cursor_blink = False
        self.field = field
        self.refused = ""

    @property
    def answer(self) -> str:
        """What stands there."""
        return self.value

    def replace(self, text: str, start: int, end: int) -> None:
        """Put text in (typing and pasting end here): what a terminal could obey is left out."""
        kept = "".join(one for one in text if one.isprintable())
        too_long = len(self.value) - (end - start) + len(kept) > self.field.limit
        self.refused = f"{len(kept):,} characters are too many; {self.field.limit} fit." if too_long else ""
        if too_long:
            self.post_message(Answered())
        else:
            super().replace(kept, start, end)

    def _on_paste(self, event: events.Paste) -> None:
        # All of it, not the first line: an invite that a mail client broke into lines is still one.
        event.stop()
        event.prevent_default()
        self.replace(event.text if self.field.limit > LIMIT else event.text.strip(), *sorted(self.selection))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the form."""
        event.stop()
        self.post_message(Answered())


class Choice(Painted, can_focus=True):
    """One of a few words; Left, Right and Space go through them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "Next choice", show=False),
        Binding("left", "turn(-1)", "Previous choice", show=False),
    ]
    DEFAULT_CSS = "Choice { height: 1; width: 1fr; }"

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"field-{field.key}")
        self.field = field
        self.refused = ""
        self._at = field.choices.index(field.value) if field.value in field.choices else 0

    @property
    def answer(self) -> str:
        """The word chosen."""
        return self.field.choices[self._at]

    def on_mount(self) -> None:
        """Show the words."""
        self._show()

    def on_focus(self) -> None:
        """Show that the keys are here."""
        self._show()

    def on_blur(self) -> None:
        """Show that they are not."""
        self._show()

    def action_turn(self, step: int) -> None:
        """Choose the next word, or the one before."""
        self._at = (self._at + step) % len(self.field.choices)
        self._show()
        self.post_message(Answered())

    def _show(self) -> None:
        parts, x = [], 1
        for place, word in enumerate(self.field.choices):
            shown = f"({word})" if place == self._at else f" {word} "
            style = ("cursor" if self.has_focus else "strong") if place == self._at else "dim"
            parts.append(Part(x, len(clean(shown)), shown, style))
            x += len(shown) + 1
        self.present([Line(tuple(parts))])
