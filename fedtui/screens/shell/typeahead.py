"""Keys one after the other, each to what the one before has led to.

Over a bad link keys arrive in bursts: `:`, `q`, `Enter` in one read. Textual sends all of
them to what has the focus at that moment: letters meant for a prompt would be taken for
keys of the screen, and the second field's text would land in the first. Here a key waits
until the one before has done its work, and until the dialog it opened can be typed into.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.dialogs.field import Text
from fedtui.screens.shell.commands import ALWAYS, at

Typed = events.Key | events.Paste
AT_ONCE = frozenset(key for command in at(ALWAYS) for key in command.keys.split(","))
MOST_KEPT = 1000
QUIET_SECONDS = 0.5
"""More keys than that are no typing, but a paste that lost its brackets: dropped, until it is quiet again."""
ROUNDS = 2
"""A key goes up from its widget to the app, which runs its action there; what that posts goes up, too."""


class TypeAhead:
    """Holds keys and pastes back. `expecting` is set while a dialog is being prepared."""

    def __init__(self, flooded: Callable[[], None] = lambda: None) -> None:
        self._flooded = flooded
        self._dropping_until = 0.0
        self._kept: deque[Typed] = deque()
        self._under_way = False
        self._deliver: Callable[[Typed], Awaitable[None]] | None = None
        self.expecting = False

    def keeps(self, event: Typed, app: App[Any]) -> bool:
        """Whether a key has to wait. If not, deliver it, and call `sent`."""
        if isinstance(event, events.Key) and event.key in AT_ONCE:
            return False
        now = time.monotonic()
        if now < self._dropping_until:
            self._dropping_until = now + QUIET_SECONDS
            return True
        if self._kept or not self._free(app):
            self._kept.append(event)
            if len(self._kept) > MOST_KEPT:
                self._kept.clear()
                self._dropping_until = now + QUIET_SECONDS
                self._flooded()
            return True
        self._under_way = True
        return False

    def sent(self, app: App[Any], deliver: Callable[[Typed], Awaitable[None]]) -> None:
        """A key was delivered: go the way that it goes, behind it, and then let the next one go."""
        self._deliver = deliver
        way = [app.focused or app.screen, *(app.focused or app.screen).ancestors]
        self._follow(app, [node for node in way * ROUNDS if node.is_running])

    def _follow(self, app: App[Any], way: list[Any]) -> None:
        while way:
            node: MessagePump = way.pop(0)
            if node.call_later(self._follow, app, way):
                return
        self._under_way = False
        app.call_later(self.go_on, app)

    async def go_on(self, app: App[Any]) -> None:
        """Deliver the next one, if the time has come."""
        if self._kept and self._deliver is not None and self._free(app):
            self._under_way = True
            await self._deliver(self._kept.popleft())

    async def ready(self, app: App[Any]) -> None:
        """A dialog takes keys now. Those typed before are for its text; without one, they are dropped."""
        if not isinstance(app.focused, Text):
            self._kept.clear()
        await self.go_on(app)

    def forget(self) -> None:
        """The dialog that was expected does not come."""
        self.expecting = False
        self._kept.clear()

    def _free(self, app: App[Any]) -> bool:
        screen = app.screen
        return not (self._under_way or self.expecting or (isinstance(screen, Dialog) and not screen.ready))
