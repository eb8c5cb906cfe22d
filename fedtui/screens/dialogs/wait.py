"""The dialog that waits: what is being done, for how long already, and a way not to wait."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from fedtui.screens.dialogs.ask import BOX_CSS
from fedtui.screens.widgets.paint import Lines, Painted, paragraphs

SPIN_SECONDS = 0.5
SPINNER = "|/-\\"


class Waiting(ModalScreen[Any]):
    """Awaits `work` and closes with ("done", result) or ("failed", error); Esc closes with None at once.

    Leaving does not undo what was asked for: it goes on beside the console, and says so.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Stop waiting")]
    DEFAULT_CSS = BOX_CSS

    def __init__(self, title: str, work: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self._title = title
        self._work = work
        self._began = time.monotonic()

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box" + (" -ascii" if Painted.ascii_only else ""), can_focus=False):
            yield Lines(id="told")

    def on_mount(self) -> None:
        """Begin, and count the seconds."""
        self._show()
        self.set_interval(SPIN_SECONDS, self._show)
        self.run_worker(self._await(), exit_on_error=False)

    async def _await(self) -> None:
        try:
            outcome: tuple[str, Any] = "done", await self._work()
        except Exception as error:
            outcome = "failed", error
        if self.is_current:
            self.dismiss(outcome)

    def action_leave(self) -> None:
        """Go back to the screen."""
        self.dismiss(None)

    def _show(self) -> None:
        block = self.query_one("#told", Lines)
        seconds = time.monotonic() - self._began
        turn = SPINNER[int(seconds / SPIN_SECONDS) % len(SPINNER)]
        told = [(f"{turn} {self._title}", "strong"), (f"{int(seconds)} s     Esc  stop waiting (it goes on)", "dim")]
        block.present(paragraphs(told, max(block.size.width, 20), margin=0))
