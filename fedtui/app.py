"""The console: opens a node beside its first paint and shows its screens."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import ClassVar, NamedTuple

from textual.binding import BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from fedtui.screens.dialogs.tell import Told
from fedtui.screens.home.screen import HomeScreen
from fedtui.screens.shell.commands import ALWAYS, REBOUND, bindings
from fedtui.screens.shell.console_context import ConsoleContext, utc_now
from fedtui.screens.shell.console_file import ConsoleFile
from fedtui.screens.shell.data_freshness import UNDONE, trouble
from fedtui.screens.shell.frame import Frame, Go, Wear
from fedtui.screens.shell.help import HelpScreen
from fedtui.screens.shell.manual import ManualScreen
from fedtui.screens.shell.navigation import Way
from fedtui.screens.shell.node_handle import NodeHandle
from fedtui.screens.shell.saved_views import THEME
from fedtui.screens.shell.terminal import Leaving, over_ssh
from fedtui.screens.shell.terminal_app import TerminalApp
from fedtui.screens.widgets.clean import clean
from fedtui.screens.widgets.palettes import FIRST, PALETTES

WRONG_USAGE = 2
LEFT = "You are no longer an operator of this node."


class Place(NamedTuple):
    """A place: the screen of its records, and the screen of one, by id, where it has records."""

    records: Callable[[ConsoleContext], Screen[None]]
    record: Callable[[ConsoleContext, str], Screen[None]] | None = None


def _later(module: str, name: str) -> Callable[..., Screen[None]]:
    """A screen that is imported when it is first shown: the first paint is not to wait for it."""

    def make(*args: object) -> Screen[None]:
        screen: Screen[None] = getattr(import_module(f"fedtui.screens.{module}"), name)(*args)
        return screen

    return make


class Console(TerminalApp[None], inherit_bindings=False):
    """The terminal console of one node.

    `open_node` is called once, beside the event loop, after the first paint. `mode` are
    words for the band (DEMO); `notice` returns a line to show beneath it, or nothing; `now`
    returns aware UTC. `run_console` runs it with the terminal's end in mind.
    """

    DEFAULT_MODE = "home"
    PLACES: ClassVar[Mapping[str, Place]] = {
        "home": Place(HomeScreen),
        "peers": Place(_later("peers.screen", "PeersScreen"), _later("peers.screen", "PeerScreen")),
        "grants": Place(_later("grants.screen", "GrantsScreen"), _later("grants.screen", "GrantScreen")),
        "approvals": Place(_later("approvals.screen", "ApprovalsScreen"), _later("approvals.screen", "ApprovalScreen")),
        "playbook": Place(_later("playbook.screen", "PlaybookScreen"), _later("playbook.wizard", "WizardScreen")),
        "certs": Place(_later("mtls.screen", "CertsScreen"), _later("mtls.screen", "CertScreen")),
        "events": Place(_later("events.screen", "EventsScreen"), _later("events.screen", "EventScreen")),
        "governance": Place(
            _later("governance.screen", "FindingsScreen"), _later("governance.screen", "FindingScreen")
        ),
    }
    """The places, by the names that `:` and deep links use. `DEFAULT_MODE` is painted first; the
    others are imported when they are first gone to."""
    BINDINGS: ClassVar[list[BindingType]] = bindings(ALWAYS)

    def __init__(
        self,
        open_node: Callable[[], NodeHandle],
        mode: str = "",
        notice: Callable[[], str] | None = None,
        now: Callable[[], datetime] = utc_now,
        *,
        read_only: bool = False,
        restricted: bool = False,
        place: str = "",
        file: ConsoleFile | None = None,
    ) -> None:
        super().__init__()
        self.shared = ConsoleContext(
            mode=mode, notice=notice or str, now=now, read_only=read_only, restricted=restricted
        )
        self.shared.ring, self.shared.leave = self.bell, partial(self.exit, message=LEFT)
        self.ahead = self.shared.ahead
        for name, place_ in self.PLACES.items():
            self.add_mode(name, partial(place_.records, self.shared))
        file = file or ConsoleFile()
        REBOUND.clear()
        REBOUND.update(file.keys)
        self.set_keymap(dict(file.keys))
        self.shared.rest = file.rest
        self.wear(file.theme or FIRST)
        self._open_node = open_node
        self._opening = False
        self._first_place = place
        self._way = Way(self.DEFAULT_MODE)

    def on_mount(self) -> None:
        """Paint first, open then."""
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
        if (theme := str(self.shared.preferences.get(THEME))) in PALETTES:
            self.wear(theme)
        if self._first_place and self.shared.opened.is_set():
            place, self._first_place = self._first_place, ""
            await self._go(place)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What was begun by a key and failed is told, also where nobody thought of its failing."""
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.push_screen(Told(trouble(event.worker.error, what=UNDONE)))

    def on_wear(self, message: Wear) -> None:
        """Take another theme."""
        self.wear(message.theme)

    async def on_go(self, message: Go) -> None:
        """Go to a place, to the one before (`-`), or to where a wizard was begun (`<`); remember where a step out
        led (`..`)."""
        place = message.place
        if place == "help":
            await self.push_screen(HelpScreen(self.shared, self.screen))
        elif place.startswith("manual/"):
            await self.push_screen(ManualScreen(self.shared, place.removeprefix("manual/")))
        elif place == "refresh":
            self._begin_to_open()
        elif place == "..":
            self._arrived()
        elif place in ("-", "<"):
            if back := self._way.before() if place == "-" else self._way.begun:
                await self._go(back)
        else:
            self._way.going(place)
            await self._go(place)

    async def _go(self, place: str) -> None:
        """Show a place. What does not exist is said, and changes nothing."""
        mode, _, id = place.partition("/")
        record = self.PLACES[mode].record if mode in self.PLACES else None
        if mode not in self.PLACES or (id and record is None):
            self.shared.say(f"There is no place {clean(place)}. There is: {', '.join(self.PLACES)}, and peers/ID.")
            return
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.switch_mode(mode)
        if id and record is not None:
            await self.push_screen(record(self.shared, id))
        elif isinstance(self.screen, Frame):
            self.screen.take_filter()
        self._arrived()

    def _arrived(self) -> None:
        """Remember the place, for the way back to it."""
        self._way.arrived(self.screen.place if isinstance(self.screen, Frame) else "")


def run_console(
    open_node: Callable[[], NodeHandle],
    *,
    mode: str = "",
    notice: Callable[[], str] | None = None,
    mouse: bool | None = None,
    read_only: bool = False,
    restricted: bool = False,
    place: str = "",
    file: ConsoleFile | None = None,
) -> int:
    """Run the console on this terminal until it is left; returns the exit code.

    `read_only` refuses every act; `restricted` says in the band that the session is one
    operator's; `place` is where to begin (`peers/ID`); `file` is what console.toml says.

    The mouse is off over SSH unless `mouse` says otherwise. The console ends, with the
    terminal as it was, on SIGTERM, SIGHUP, SIGINT and when the terminal is gone.
    """
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        sys.stderr.write("The console needs a terminal for its input and output.\n")
        return WRONG_USAGE

    def open_to_stay() -> NodeHandle:
        node = open_node()
        gc.freeze()  # what is here by now stays: no key is to wait until it was looked through for garbage
        return node

    app = Console(open_to_stay, mode, notice, read_only=read_only, restricted=restricted, place=place, file=file)
    try:
        with Leaving(app):
            app.run(mouse=not over_ssh(os.environ) if mouse is None else mouse)
    finally:
        app.shared.close()
    return app.return_code or 0
