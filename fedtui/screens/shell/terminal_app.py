"""An app that is a good guest in its terminal: its colours, its end, and what it says when it fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import App
from textual.driver import Driver

from fedtui.screens.shell.data_freshness import crash_report
from fedtui.screens.shell.escapes import WITHIN_SECONDS, Escapes
from fedtui.screens.shell.input_filter import take_whatever_comes
from fedtui.screens.shell.terminal import ascii_only, silence
from fedtui.screens.shell.typeahead import TypeAhead
from fedtui.screens.widgets.paint import Painted
from fedtui.screens.widgets.palettes import FIRST, PALETTES

OUR_BUG = 70
R = TypeVar("R")


class TerminalApp(App[R], inherit_bindings=False):
    """What the console and the first run have in common. Run it inside `terminal.Leaving`."""

    TITLE = "fedtui"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    CSS = """
    .-high-contrast Screen, .-high-contrast Screen * { background: #000000; color: #ffffff; }
    .-high-contrast ModalScreen { background: #000000 0%; }
    .-ascii Screen, .-ascii Screen * { scrollbar-size: 0 0; }
    """

    def __init__(self) -> None:
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.wear(FIRST)
        self.animation_level = "none"
        Painted.ascii_only = ascii_only(os.environ)
        self.set_class(Painted.ascii_only, "-ascii")  # Textual draws scroll bars with glyphs
        self.ahead = TypeAhead()
        self._escapes = Escapes(time.monotonic)
        self._running_loop: asyncio.AbstractEventLoop | None = None

    def wear(self, name: str) -> None:
        """Take this palette. By default it is the terminal's own sixteen colours: as its user chose them, and
        half the bytes of 24-bit ones."""
        palette = PALETTES[name]
        Painted.styles_by_name = palette.styles
        self.theme = palette.theme
        for one in PALETTES.values():
            if one.ground:
                self.set_class(one is palette and not self.no_color, one.ground)
        for screen in self.screen_stack if self.is_running else ():
            screen.refresh(layout=True)
            for painted in screen.query(Painted):
                painted.refresh()

    def on_mount(self) -> None:
        """From here on, others may ask to leave. (Textual calls a subclass's own `on_mount`, too.)"""
        self._running_loop = asyncio.get_running_loop()
        if not self.is_headless:
            signal.signal(signal.SIGCONT, self._continued)

    async def on_event(self, event: events.Event) -> None:
        """Keys and pastes go one after the other, torn escape sequences as the key they are; all else as ever."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        if isinstance(event, events.Key):
            await self._send(self._escapes.take(event))
        else:
            await self._send([*self._escapes.release(), event])
        if self._escapes.holding:
            self.set_timer(WITHIN_SECONDS, self._release)

    async def _release(self) -> None:
        """Deliver what did not become an escape sequence in time."""
        if self._escapes.holding and self._escapes.late:
            await self._send(self._escapes.release())

    async def _send(self, typed: Sequence[events.Key | events.Paste]) -> None:
        for one in typed:
            if not self.ahead.keeps(one, self):
                await self._deliver(one)

    async def _deliver(self, event: events.Key | events.Paste) -> None:
        await super().on_event(event)
        self.ahead.sent(self, self._deliver)

    async def on_dialog_ready(self) -> None:
        """What was typed ahead goes into it."""
        await self.ahead.ready(self)

    def leave(self) -> bool:
        """End, from any thread. False if it is not running yet."""
        if self._running_loop is None:
            return False
        self._running_loop.call_soon_threadsafe(self.exit)
        return True

    def silence(self) -> None:
        """Write nothing more to the terminal, from any thread: it is gone, or takes nothing."""
        silence(self._driver)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """SIGCONT. Textual takes it for the end of a stop, but a terminal that hangs up sends it, too.

        Either way the terminal may show anything by now: all of it is painted again.
        """
        if getattr(self._driver, "_must_signal_resume", False):
            self._driver._sigcont_application()  # type: ignore[union-attr]
        if self._running_loop is not None:
            self._running_loop.call_soon_threadsafe(self._repaint)

    def _repaint(self) -> None:
        """Paint every screen that is in sight, the ones beneath dialogs first."""
        for screen in self.screen_stack:
            screen.refresh(layout=True)

    def get_driver_class(self) -> type[Driver]:
        """Textual's, reading whatever bytes come, and as large as the terminal is."""
        take_whatever_comes()
        for name in ("COLUMNS", "LINES"):  # as a shell exported them once; a terminal is resized
            os.environ.pop(name, None)
        return super().get_driver_class()

    def panic(self, *renderables: RenderableType) -> None:
        """Something failed outside the event loop: no less our bug."""
        self._return_code = OUR_BUG
        super().panic(*renderables)

    def _fatal_error(self) -> None:
        """Told instead of Textual's own report, which prints local variables, and secrets with them."""
        self._return_code = OUR_BUG
        self._exit_renderables.append(Text(crash_report(sys.exc_info()[1])))
        self._close_messages_no_wait()
