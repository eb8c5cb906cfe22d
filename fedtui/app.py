"""The console: opens a node beside its first paint and shows its screens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import FrameType
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from fedtui.screens.commands import ALWAYS, bindings
from fedtui.screens.frame import Frame, Go
from fedtui.screens.handle import NodeHandle, Shared, utc_now
from fedtui.screens.help import HelpScreen
from fedtui.screens.peer import PeerScreen
from fedtui.screens.peers import PeersScreen
from fedtui.screens.terminal import Leaving, ascii_only, over_ssh, silence
from fedtui.screens.trouble import crash_report
from fedtui.screens.widgets.clean import clean
from fedtui.screens.widgets.paint import Painted

THEME = "ansi-dark"
"""The terminal's own sixteen colours: as its user chose them, and half the bytes of 24-bit ones."""
DEEP_LINK = "peers/ID"
MOST_REMEMBERED = 10
OUR_BUG = 70
WRONG_USAGE = 2


class Console(App[None], inherit_bindings=False):
    """The terminal console of one node.

    `open_node` is called once, beside the event loop, after the first paint. `mode` are
    words for the band (DEMO); `notice` returns a line to show beneath it, or nothing; `now`
    returns aware UTC. `run_console` runs it with the terminal's end in mind.
    """

    TITLE = "fedtui"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    DEFAULT_MODE = "peers"
    PLACES: ClassVar[Mapping[str, Callable[[Shared], Screen[None]]]] = {"peers": PeersScreen}
    """The places, by the names that `:` and deep links use. `DEFAULT_MODE` is painted first."""
    BINDINGS: ClassVar[list[BindingType]] = bindings(ALWAYS)

    def __init__(
        self,
        open_node: Callable[[], NodeHandle],
        mode: str = "",
        notice: Callable[[], str] | None = None,
        now: Callable[[], datetime] = utc_now,
        *,
        read_only: bool = False,
        place: str = "",
    ) -> None:
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.theme = THEME
        self.animation_level = "none"
        Painted.ascii_only = ascii_only(os.environ)
        self.shared = Shared(mode=mode, notice=notice or str, now=now, read_only=read_only)
        for name, screen in self.PLACES.items():
            self.add_mode(name, partial(screen, self.shared))
        self._open_node = open_node
        self._opening = False
        self._first_place = place
        self._been = [self.DEFAULT_MODE]
        self._running_loop: asyncio.AbstractEventLoop | None = None

    def on_mount(self) -> None:
        """Paint first, open then."""
        self._running_loop = asyncio.get_running_loop()
        if not self.is_headless:
            signal.signal(signal.SIGCONT, self._continued)
        self.run_worker(self.shared.watch(), exit_on_error=False)
        self.call_after_refresh(self._begin_to_open)

    def _begin_to_open(self) -> None:
        """Open the node, unless it is open or about to be."""
        if not self._opening and not self.shared.opened.is_set():
            self._opening = True
            self.run_worker(self._open(), exit_on_error=False)

    async def _open(self) -> None:
        await self.shared.open(self._open_node)
        self._opening = False
        if self._first_place and self.shared.opened.is_set():
            place, self._first_place = self._first_place, ""
            await self._go(place)

    async def on_go(self, message: Go) -> None:
        """Go to a place, or to the one before (`-`); remember where a step out led (`..`)."""
        place = message.place
        if place == "help":
            await self.push_screen(HelpScreen(self.shared, self.screen))
        elif place == "refresh":
            self._begin_to_open()
        elif place == "..":
            self._arrived()
        elif place == "-":
            if len(self._been) > 1:
                await self._go(self._been[-2])
        else:
            await self._go(place)

    async def _go(self, place: str) -> None:
        """Show a place. What does not exist is said, and changes nothing."""
        mode, _, id = place.partition("/")
        if mode not in self.PLACES:
            self.shared.say(f"There is no place {clean(place)}. There is: {', '.join(self.PLACES)}, and {DEEP_LINK}.")
            return
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.switch_mode(mode)
        if id:
            await self.push_screen(PeerScreen(self.shared, id))
        self._arrived()

    def _arrived(self) -> None:
        """Remember the place, for the way back to it."""
        place = self.screen.place if isinstance(self.screen, Frame) else ""
        if place and self._been[-1:] != [place]:
            self._been = [*self._been[1 - MOST_REMEMBERED :], place]

    async def on_event(self, event: events.Event) -> None:
        """Keys and pastes go one after the other; all else as ever."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif not self.shared.ahead.keeps(event, self):
            await self._deliver(event)

    async def _deliver(self, event: events.Key | events.Paste) -> None:
        await super().on_event(event)
        self.shared.ahead.sent(self, self._deliver)

    async def on_dialog_ready(self) -> None:
        """What was typed ahead goes into it."""
        await self.shared.ahead.ready(self)

    def leave(self) -> bool:
        """End the console, from any thread. False if it is not running yet."""
        if self._running_loop is None:
            return False
        self._running_loop.call_soon_threadsafe(self.exit)
        return True

    def silence(self) -> None:
        """Write nothing more to the terminal, from any thread: it is gone, or takes nothing."""
        silence(self._driver)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """SIGCONT. Textual takes it for the end of a stop, but a terminal that hangs up sends it, too."""
        if getattr(self._driver, "_must_signal_resume", False):
            self._driver._sigcont_application()  # type: ignore[union-attr]
        elif self._running_loop is not None:
            self._running_loop.call_soon_threadsafe(self.refresh)

    def _fatal_error(self) -> None:
        """Told instead of Textual's own report, which prints local variables, and secrets with them."""
        self._return_code = OUR_BUG
        self._exit_renderables.append(Text(crash_report(sys.exc_info()[1])))
        self._close_messages_no_wait()


def run_console(
    open_node: Callable[[], NodeHandle],
    *,
    mode: str = "",
    notice: Callable[[], str] | None = None,
    mouse: bool | None = None,
    read_only: bool = False,
    place: str = "",
) -> int:
    """Run the console on this terminal until it is left; returns the exit code.

    `read_only` refuses every act; `place` is where to begin (`peers/ID`).

    The mouse is off over SSH unless `mouse` says otherwise. The console ends, with the
    terminal as it was, on SIGTERM, SIGHUP, SIGINT and when the terminal is gone.
    """
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        sys.stderr.write("The console needs a terminal for its input and output.\n")
        return WRONG_USAGE
    app = Console(open_node, mode, notice, read_only=read_only, place=place)
    try:
        with Leaving(app):
            app.run(mouse=not over_ssh(os.environ) if mouse is None else mouse)
    finally:
        app.shared.close()
    return app.return_code or 0
