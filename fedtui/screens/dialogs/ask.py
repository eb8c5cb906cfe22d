"""The dialog that asks: what will happen, to whom, with which words; and then yes or no.

Cancel has the focus where there is nothing to fill in. The key that confirms is never the
one that opened the dialog, and where it says so, the target's name has to be typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button

from fedtui.screens.dialogs.field import Answered, Choice, Field, Text
from fedtui.screens.widgets.paint import Line, Lines, Painted, Part, paragraphs

Answers = Mapping[str, str]
MOST_TARGETS = 8
BOX_CSS = """
    ModalScreen { align: center middle; background: ansi_default; }
    .box {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: round ansi_bright_black; padding: 0 1; background: ansi_default; color: ansi_default;
    }
    .box.-danger { border: heavy ansi_red; }
    .box.-ascii { border: ascii ansi_bright_black; }
    .box Lines { height: auto; }
    .box .body { height: auto; max-height: 12; scrollbar-size-vertical: 1; }
    .box .buttons { height: 1; align-horizontal: right; margin-top: 1; }
    .box Button { margin-left: 2; background: ansi_default; color: ansi_default; text-style: none; }
    .box Button:focus { text-style: reverse bold; }
    .box Button:disabled { text-style: dim; }
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask: a title, what will happen in sentences, to which targets, and what to fill in."""

    title: str
    happens: tuple[str, ...]
    confirm: str
    targets: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    dangerous: bool = False


class Ask(ModalScreen[Answers | None]):
    """Asks a question; the answers by field key, or None when it was cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("y", "confirm", "Yes", show=False),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]
    DEFAULT_CSS = BOX_CSS

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question
        self._asking: list[Text | Choice] = []

    def compose(self) -> ComposeResult:
        classes = "box" + (" -danger" if self._question.dangerous else "") + (" -ascii" if Painted.ascii_only else "")
        with VerticalScroll(classes=classes, can_focus=False):
            yield Lines(id="title")
            with VerticalScroll(classes="body", can_focus=False):
                yield Lines(id="happens")
            yield from self._fields()
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self._question.confirm, id="confirm", compact=True)

    def _fields(self) -> Iterator[Widget]:
        for field in self._question.fields:
            asked: Text | Choice = Choice(field) if field.choices else Text(field)
            self._asking.append(asked)
            yield Lines(id=f"label-{field.key}")
            yield asked

    def on_mount(self) -> None:
        """Say it, and put the focus where it does no harm."""
        self._show()
        first: Widget = self._asking[0] if self._asking else self.query_one("#cancel", Button)
        first.focus()

    def on_resize(self) -> None:
        """Wrap the words anew."""
        self.call_after_refresh(self._show)

    def on_answered(self, message: Answered) -> None:
        """Check while it is typed."""
        message.stop()
        self._show()

    def on_input_submitted(self) -> None:
        """Enter in a text goes on to what comes next; it never confirms."""
        self.focus_next()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Cancel, or confirm."""
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        """Leave without doing anything."""
        self.dismiss(None)

    def action_confirm(self) -> None:
        """Go ahead, if every answer holds."""
        if not any(self._wrong().values()):
            self.dismiss({asked.field.key: asked.answer for asked in self._asking})

    def _wrong(self) -> dict[str, str]:
        return {asked.field.key: asked.refused or asked.field.check(asked.answer) for asked in self._asking}

    def _show(self) -> None:
        question, wrong = self._question, self._wrong()
        width = max(self.query_one("#title", Lines).size.width, 20)
        style = "bad" if question.dangerous else "strong"
        self.query_one("#title", Lines).present(paragraphs([(question.title, style)], width, margin=0))
        told = [(text, "") for text in question.happens] + self._targets()
        self.query_one("#happens", Lines).present(paragraphs(told, max(width - 2, 20), margin=0))
        for asked in self._asking:
            label = Part(0, min(len(asked.field.label), width), asked.field.label, "dim")
            note = wrong[asked.field.key]
            room = width - label.width - 2
            parts = (label, Part(label.width + 2, room, note, "bad")) if note and room > 0 else (label,)
            self.query_one(f"#label-{asked.field.key}", Lines).present([Line(parts)])
        self.query_one("#confirm", Button).disabled = any(wrong.values())

    def _targets(self) -> list[tuple[str, str]]:
        targets: Sequence[str] = self._question.targets
        if len(targets) < 2:
            return [(target, "strong") for target in targets]
        return [(f"{len(targets)} targets:", ""), *((f"- {target}", "strong") for target in targets)]
