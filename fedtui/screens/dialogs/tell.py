"""The dialogs that tell: what went wrong, and a secret that is shown this once."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.containers import VerticalScroll

from fedtui.screens.dialogs.box import LEAST_WIDTH, Dialog, key_line
from fedtui.screens.shell.commands import BY_NAME, SECRET, TEXT, TOLD, Command
from fedtui.screens.shell.data_freshness import Trouble
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Part, drawable, paragraphs

COPY_LIMIT = 8192
"""Bytes that are sent to the terminal's clipboard at most; many terminals drop more."""
SCREEN_PIECE = 700
"""Bytes in one of GNU screen's strings: it drops longer ones (768 with what stands around them)."""


TMUX_OPTION = "tmux set -g set-clipboard on"
TOO_LONG = "Too long for the terminal's clipboard: select it with the mouse."


class Told(Dialog[bool]):
    """A problem: what, why, what to do, and where there is one, the key that does it (True)."""

    places: ClassVar[tuple[str, ...]] = (TOLD,)
    dangerous = True

    def __init__(self, trouble: Trouble, *, fix: str = "", remark: str = "") -> None:
        super().__init__()
        self._trouble = trouble
        self._remark = remark
        self._fix = fix

    def commands(self) -> list[Command]:
        """`f`, by what it does, where there is something to be done from here."""
        shown = [replace(one, footer=self._fix) if one.name == "fix" else one for one in super().commands()]
        return [one for one in shown if one.footer]

    def told(self) -> list[tuple[str, str]]:
        """Problem, cause and fix, a line between each; and a remark, where there is one to make."""
        told = [*self._trouble.told(), *([(self._remark, "notice")] if self._remark else [])]
        return [item for one in told for item in (one, ("", ""))][:-1]

    def action_close(self) -> None:
        """Read and understood."""
        self.end(False)

    def action_fix(self) -> None:
        """Do what helps."""
        if self._fix:
            self.end(True)


class _Copied(Dialog[None]):
    """A text that `c` copies by OSC 52. Subclasses say what is told around it.

    The box is as wide as the terminal and has no sides, so that a selection made with the mouse holds the text alone.
    """

    DEFAULT_CSS = """
    _Copied .box, _Copied .box.-ascii { width: 100%; padding: 0; border-left: none; border-right: none; }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._copied = ""
        self._too_long = TOO_LONG

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._title!r})"

    def action_copy(self) -> None:
        """Send it to the terminal's clipboard."""
        sequence = clipboard_sequence(self._text, os.environ)
        if sequence is None or self.app._driver is None:
            self._copied = self._too_long
        else:
            self.app._driver.write(sequence)
            self._copied = clipboard_remark(os.environ)
        self.show()


class Secret(_Copied):
    """Something that is shown this once. Only Esc closes it."""

    places: ClassVar[tuple[str, ...]] = (SECRET,)

    def __init__(self, title: str, secret: str, *, remarks: tuple[str, ...]) -> None:
        super().__init__(title, secret)
        self._remarks = remarks

    def told(self) -> list[tuple[str, str]]:
        """The secret in full, however narrow the terminal."""
        width = max(self.query_one("#told", Lines).size.width, LEAST_WIDTH)
        pieces = [self._text[at : at + width] for at in range(0, len(self._text), width)]
        return [
            (self._title, "strong"),
            ("It is shown this once: nobody can read it again, here or anywhere.", "warn"),
            ("", ""),
            *((piece, "strong") for piece in pieces),
            ("", ""),
            *((remark, "") for remark in self._remarks),
            (self._copied, "notice"),
        ]


def invite_shown(result: Mapping[str, Any]) -> Secret:
    """A new token's invite, with what to do with it."""
    until = f"Good until {result['expires_at']:%F %H:%M} UTC, once."
    how = "Hand it to the other platform's operator, who takes it up there by", "fedtui peers accept --invite -"
    return Secret("Invite", str(result["invite"]), remarks=(until, *how))


class Shown(_Copied):
    """A text to read and to copy. `instead` is the command that prints it, where it is too long to be copied."""

    places: ClassVar[tuple[str, ...]] = (TEXT,)

    def __init__(self, title: str, text: str, *, instead: str = "") -> None:
        super().__init__(title, text)
        self._too_long = f"Too long for the terminal's clipboard. In a shell: {instead}" if instead else TOO_LONG

    def commands(self) -> list[Command]:
        """With the key that shows more: the text is often longer than the terminal."""
        return [replace(BY_NAME["text-down"], footer="more"), *super().commands()]

    def show(self) -> None:
        """What was copied and the keys above the text, where they are seen however long it is."""
        block = self.query_one("#told", Lines)
        width = max(block.size.width, LEAST_WIDTH)
        head = [(self._title, "strong"), *([(self._copied, "notice")] if self._copied else [])]
        text = [line for row in self._text.splitlines() for line in self._row(drawable(row), width)]
        block.present(
            [
                *paragraphs(head, width, margin=0),
                key_line(self.commands(), width),
                BLANK,
                *text,
            ]
        )

    def _row(self, text: str, width: int) -> list[Line]:
        """A row of a list that fits keeps the spaces between its columns; other text is wrapped."""
        fits = "  " in text.strip() and cell_len(text) <= width
        return [Line((Part(0, width, text, ""),))] if fits else paragraphs([(text, "")], width, margin=0)

    def action_copy(self) -> None:
        """Send it to the terminal's clipboard, and show what became of that."""
        super().action_copy()
        self.query_one(".box", VerticalScroll).scroll_home(animate=False)


def clipboard_sequence(text: str, environ: Mapping[str, str]) -> str | None:
    """OSC 52 for `text`, plain and wrapped for tmux or GNU screen; None if too long.

    Which of the two a multiplexer lets through depends on its options: tmux takes the plain form with
    `set-clipboard on`, the wrapped one with `allow-passthrough on`.
    """
    content = text.encode()
    if len(content) > COPY_LIMIT:
        return None
    sequence = f"\x1b]52;c;{base64.b64encode(content).decode()}\x07"
    if environ.get("TMUX"):
        return sequence + "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("STY") or environ.get("TERM", "").startswith("screen"):
        pieces = (sequence[at : at + SCREEN_PIECE] for at in range(0, len(sequence), SCREEN_PIECE))
        return sequence + "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return sequence


def clipboard_remark(environ: Mapping[str, str]) -> str:
    """What was done, and what to set where nothing can be pasted."""
    if environ.get("TMUX"):
        return f"Sent to terminal. If nothing can be pasted, run: {TMUX_OPTION}"
    return "Sent to terminal. If nothing can be pasted, the terminal does not accept OSC 52: select it with the mouse."
