"""The dialog that waits: what is being done, for how long already, and a way not to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.shell.commands import WAITING

SPIN_SECONDS = 0.5
SPINNER = "|/-\\"


class Waiting(Dialog[bool]):
    """Waits for `work` and closes when it is over, with True; Esc closes at once, with None.

    Leaving ends the waiting, not the work. `progress` returns how far it is, in a few words.
    """

    places: ClassVar[tuple[str, ...]] = (WAITING,)

    def __init__(
        self,
        title: str,
        work: asyncio.Future[Any],
        *,
        progress: Callable[[], str] = str,
    ) -> None:
        super().__init__()
        self._title = title
        self._work = work
        self._progress = progress
        self._began = time.monotonic()

    def on_mount(self) -> None:
        """Begin, and count the seconds. (Textual calls the dialog's own `on_mount` itself.)"""
        self.set_interval(SPIN_SECONDS, self.show)
        self.run_worker(self._await(), exit_on_error=False)

    async def _await(self) -> None:
        await asyncio.wait({self._work})
        self.end(True)

    def show(self) -> None:
        """Turn the spinner; close, if the work ended while something else was on top."""
        if self._work.done():
            self.end(True)
        super().show()

    def told(self) -> list[tuple[str, str]]:
        """What, how far, and for how long."""
        seconds = time.monotonic() - self._began
        turn = SPINNER[int(seconds / SPIN_SECONDS) % len(SPINNER)]
        return [(f"{turn} {self._title}", "strong"), (f"{self._progress()} {int(seconds)} s", "")]
