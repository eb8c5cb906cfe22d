"""The dialogs that tell: what went wrong, and a secret that is shown this once."""

from __future__ import annotations

import base64
import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button

from fedtui.screens.dialogs.ask import BOX_CSS
from fedtui.screens.trouble import Trouble
from fedtui.screens.widgets.paint import Lines, Painted, paragraphs

COPY_LIMIT = 8192
"""Bytes that are sent to the terminal's clipboard at most; many terminals drop more."""


class Told(ModalScreen[bool]):
    """A problem: what, why, what to do, and where there is one, the key that does it (True)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close"),
        Binding("f", "fix", "Do it"),
    ]
    DEFAULT_CSS = BOX_CSS

    def __init__(self, trouble: Trouble, *, fix: str = "") -> None:
        super().__init__()
        self._trouble = trouble
        self._fix = fix

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box -danger" + (" -ascii" if Painted.ascii_only else ""), can_focus=False):
            yield Lines(id="told")

    def on_mount(self) -> None:
        """Say it."""
        self._show()

    def on_resize(self) -> None:
        """Wrap the words anew."""
        self.call_after_refresh(self._show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is not always something to be done from here."""
        return bool(self._fix) if action == "fix" else True

    def action_close(self) -> None:
        """Read and understood."""
        self.dismiss(False)

    def action_fix(self) -> None:
        """Do what helps."""
        self.dismiss(True)

    def _show(self) -> None:
        block = self.query_one("#told", Lines)
        keys = f"f  {self._fix}     Esc  close" if self._fix else "Esc  close"
        told = [item for one in self._trouble.told() for item in (one, ("", ""))]
        block.present(paragraphs([*told, (keys, "dim")], max(block.size.width, 20), margin=0))


class Secret(ModalScreen[None]):
    """Something that is shown this once. Copies it by OSC 52; only Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy"),
        Binding("escape", "close", "Close"),
    ]
    DEFAULT_CSS = BOX_CSS

    def __init__(self, title: str, secret: str, *, remarks: tuple[str, ...]) -> None:
        super().__init__()
        self._title = title
        self._secret = secret
        self._remarks = remarks
        self._copied = ""

    def __repr__(self) -> str:
        return f"Secret({self._title!r})"

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box" + (" -ascii" if Painted.ascii_only else ""), can_focus=False):
            yield Lines(id="told")
            yield Button("I have it; close", id="close", compact=True)

    def on_mount(self) -> None:
        """Show it."""
        self._show()
        self.query_one(Button).can_focus = False

    def on_resize(self) -> None:
        """Wrap it anew."""
        self.call_after_refresh(self._show)

    def on_button_pressed(self) -> None:
        """A click on the button."""
        self.action_close()

    def action_close(self) -> None:
        """It is not shown again."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Send it to the terminal's clipboard."""
        sequence = clipboard_sequence(self._secret, dict(os.environ))
        if sequence is None or self.app._driver is None:
            self._copied = "Too long for the terminal's clipboard: select it with the mouse."
        else:
            self.app._driver.write(sequence)
            self._copied = "Sent to the terminal's clipboard (if it takes OSC 52)."
        self._show()

    def _show(self) -> None:
        block = self.query_one("#told", Lines)
        width = max(block.size.width, 20)
        pieces = [self._secret[at : at + width] for at in range(0, len(self._secret), width)]
        told = [
            (self._title, "strong"),
            ("It is shown this once: nobody can read it again, here or anywhere.", "warn"),
            ("", ""),
            *((piece, "strong") for piece in pieces),
            ("", ""),
            *((remark, "") for remark in self._remarks),
            (self._copied or "c  copy     Esc  close", "notice" if self._copied else "dim"),
        ]
        block.present(paragraphs(told, width, margin=0))


def clipboard_sequence(text: str, environ: dict[str, str]) -> str | None:
    """OSC 52 for `text`, wrapped for tmux and screen so that it reaches the outer terminal; None if too long."""
    content = text.encode()
    if len(content) > COPY_LIMIT:
        return None
    sequence = f"\x1b]52;c;{base64.b64encode(content).decode()}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return f"\x1bP{sequence}\x1b\\"
    return sequence
