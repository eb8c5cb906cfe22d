"""The console: opens a node beside its first paint and shows its screens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from fedtui.screens.handle import NodeHandle, Shared, utc_now
from fedtui.screens.help import HelpScreen
from fedtui.screens.peers import PeersScreen
from fedtui.screens.terminal import Leaving, ascii_only, over_ssh, silence
from fedtui.screens.widgets.clean import clean
from fedtui.screens.widgets.paint import Painted

THEME = "ansi-dark"
"""The terminal's own sixteen colours: as its user chose them, and half the bytes of 24-bit ones."""
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
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "open_node", "Try again"),
        Binding("question_mark", "help", "Help"),
        Binding("q,ctrl+q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(
        self,
        open_node: Callable[[], NodeHandle],
        mode: str = "",
        notice: Callable[[], str] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.theme = THEME
        self.animation_level = "none"
        Painted.ascii_only = ascii_only(os.environ)
        self.shared = Shared(mode=mode, notice=notice or str, now=now)
        self._open_node = open_node
        self._opening = False
        self._running_loop: asyncio.AbstractEventLoop | None = None

    def get_default_screen(self) -> Screen[None]:
        """The Peers screen."""
        return PeersScreen(self.shared)

    def on_mount(self) -> None:
        """Paint first, open then."""
        self._running_loop = asyncio.get_running_loop()
        if not self.is_headless:
            signal.signal(signal.SIGCONT, self._continued)
        self.call_after_refresh(self.action_open_node)

    def action_open_node(self) -> None:
        """Open the node, unless it is open or about to be."""
        if not self._opening and not self.shared.opened.is_set():
            self._opening = True
            self.run_worker(self._open(), exit_on_error=False)

    async def _open(self) -> None:
        await self.shared.open(self._open_node)
        self._opening = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Trying again is for a node that did not open; help is not for the help itself."""
        if action == "help":
            return not isinstance(self.screen, HelpScreen)
        failed = self.shared.node is None and self.shared.pulse.trouble is not None
        return failed if action == "open_node" else True

    def action_help(self) -> None:
        """Show the keys of this screen."""
        self.push_screen(HelpScreen(self.shared, self.screen.active_bindings.values()))

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


def crash_report(error: BaseException | None) -> str:
    """What to tell of an error of our own: its kind, its first line, and where; no values of variables."""
    if error is None:
        return "fedtui stopped on an error of its own."
    first = next(iter(str(error).splitlines()), "")
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = (f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    kind = type(error).__name__
    said = f"{kind}: {clean(first, limit=200)}"
    return "\n".join(["fedtui stopped on an error of its own.", *places, said])


def run_console(
    open_node: Callable[[], NodeHandle],
    *,
    mode: str = "",
    notice: Callable[[], str] | None = None,
    mouse: bool | None = None,
) -> int:
    """Run the console on this terminal until it is left; returns the exit code.

    The mouse is off over SSH unless `mouse` says otherwise. The console ends, with the
    terminal as it was, on SIGTERM, SIGHUP, SIGINT and when the terminal is gone.
    """
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        sys.stderr.write("The console needs a terminal for its input and output.\n")
        return WRONG_USAGE
    app = Console(open_node, mode, notice)
    try:
        with Leaving(app):
            app.run(mouse=not over_ssh(os.environ) if mouse is None else mouse)
    finally:
        app.shared.close()
    return app.return_code or 0
