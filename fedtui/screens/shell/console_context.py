"""What the screens are given: the node as they see it, and what else they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.commands import Command
from fedtui.screens.shell.data_freshness import DataFreshness
from fedtui.screens.shell.drafts import Drafts
from fedtui.screens.shell.node_handle import Changes, NodeHandle
from fedtui.screens.shell.typeahead import TypeAhead
from fedtui.screens.widgets.reading import HasId, Source

if TYPE_CHECKING:
    from fedtui.core.views.node_summary import Overview

L = TypeVar("L", bound=HasId)
MESSAGE_SECONDS = 8.0
WATCH_SECONDS = 1.0
OVERVIEW_SECONDS = 5.0
"""How old the overview may become where nothing was committed: a daemon dies without a commit."""
WATCH = "watch"
ORIGIN = "console"


class Records(Source[L], Protocol):
    """The records of a place, as tables and screens read them. Imports the core: make it beside the event loop."""

    sorts: Sequence[str]

    def starting_with(self, beginning: str) -> Sequence[L]:
        """Those whose id begins so; two at most."""

    def lines(self, ids: Sequence[str]) -> Sequence[L]:
        """These records, as far as they are there."""


def source_of(node: NodeHandle, place: str) -> Records[Any]:
    """The records of a place, in a node's database."""
    from fedtui.screens.shell.sources import RecordsSource

    return RecordsSource(node, place)


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(eq=False)
class ConsoleContext:
    """One per console, handed to every screen.

    `mode` are words for the band (DEMO); `notice` returns one line to show beneath it, or
    nothing; `now` returns aware UTC. `opened` is set once `node` is there, and `overview` soon
    after. `aside` is for reading, `acting` for what may take its time.
    """

    mode: str = ""
    notice: Callable[[], str] = str
    now: Callable[[], datetime] = utc_now
    node: NodeHandle | None = None
    aside: BackgroundWorker = field(default_factory=BackgroundWorker)
    pulse: DataFreshness = field(default_factory=DataFreshness)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    acting: BackgroundWorker = field(default_factory=lambda: BackgroundWorker("fedtui-act"))
    read_only: bool = False
    restricted: bool = False
    wanted: Any = None
    """What a pasted text is about, for the wizard that begins with it."""
    view: str = ""
    """Through which part of the queue one goes from request to request."""
    filters: dict[str, str] = field(default_factory=dict)
    """What a place is to be filtered by when it is next gone to."""
    source_of: Callable[[NodeHandle, str], Records[Any]] = source_of
    overview: Overview | None = None
    drafts: Drafts = field(default_factory=Drafts)
    preferences: dict[str, Any] = field(default_factory=dict)
    """What the operator prefers to see, by key (`views.py`)."""
    rest: float = 0.0
    """Seconds that tables rest between two looks, where console.toml wants more than they take by themselves."""
    leave: Callable[[], object] = str
    """Ends the console: the operator of a restricted session was removed."""
    ring: Callable[[], object] = str
    """Rings the terminal's bell: a request came that this operator can decide."""
    typed: list[str] = field(default_factory=list)
    """The commands that were typed, the newest last."""
    message: str = ""
    _message_until: float = 0.0
    ahead: TypeAhead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = TypeAhead(lambda: self.say("Too many keys at once: they were dropped."))

    def say(self, text: str) -> None:
        """Show a line above the keys for a few seconds."""
        self.message, self._message_until = text, time.monotonic() + MESSAGE_SECONDS

    def said(self) -> str:
        """What was said last, while it is fresh."""
        return self.message if time.monotonic() < self._message_until else ""

    def refusal(self, command: Command) -> str:
        """Why a command may not be used now, in a sentence; empty when it may.

        The one place for read-only mode, permissions and stale data.
        """
        acts = bool(command.permission) or command.danger != "none"
        if acts and self.read_only:
            return "This console is read-only."
        if acts and self.node is None:
            return "The node is not open."
        if command.danger == "dangerous" and self.pulse.stale:
            return "The data are stale: this key works again once the database answers."
        if command.permission and self.overview and command.permission not in self.overview.permissions:
            return f"{self.overview_operator} lacks the permission {command.permission}."
        return ""

    @property
    def overview_operator(self) -> str:
        """Who is acting."""
        return self.node.operator if self.node is not None else "The operator"

    @property
    def stale_after(self) -> timedelta:
        """The age from which this node misses a peer's heartbeat."""
        return self.node.settings.stale_after if self.node is not None else timedelta(minutes=5)

    def opened_node(self) -> NodeHandle:
        """The node. Call it once `opened` is set."""
        if self.node is None:
            raise RuntimeError("the node is not open")
        return self.node

    async def open(self, open_node: Callable[[], NodeHandle]) -> None:
        """Open the node beside the event loop. A failure becomes the pulse's trouble."""

        def opening() -> None:
            node = open_node()
            self.preferences = dict(node.preferences())
            self.node = node

        try:
            await self.aside.run(opening)
        except Exception as error:
            self.pulse.miss(error)
        else:
            self.pulse.beat()
            self.opened.set()

    async def prefer(self, given: Mapping[str, Any]) -> bool:
        """Keep these preferences (None forgets one); whether they outlast this console. What fails is raised."""
        if not self.read_only and self.opened.is_set():
            node = self.opened_node()
            await self.acting.run(lambda: node.prefer(node.actor(ORIGIN), given))
        kept = {key: value for key, value in given.items() if value is not None}
        self.preferences = {**{k: v for k, v in self.preferences.items() if k not in given}, **kept}
        return not self.read_only

    async def watch(self) -> None:
        """Keep `overview` up to date, until cancelled: at once where something changed, and every few seconds."""
        await self.opened.wait()
        node = self.opened_node()
        changes: Changes | None = None
        seen = -OVERVIEW_SECONDS

        def look() -> Overview | None:
            nonlocal changes, seen
            changes = changes or node.changes()
            due = time.monotonic() - seen >= OVERVIEW_SECONDS
            if not changes.poll() and not due:
                return None
            found = node.overview()
            seen = time.monotonic()
            return found

        while True:
            try:
                before, self.overview = self.overview, await self.aside.run(look) or self.overview
                if self.restricted and self.overview is not None and not self.overview.permissions:
                    self.leave()
                if before is not None and self.overview is not None and self.overview.waiting > before.waiting:
                    self.ring()
                self.pulse.beat(WATCH)
            except Exception as error:
                seen = -OVERVIEW_SECONDS
                self.pulse.miss(error, WATCH)
            await asyncio.sleep(WATCH_SECONDS)

    def close(self) -> None:
        """Close the node, if it opened; a node that hangs is not waited for."""

        def closing() -> None:
            if self.node is not None:
                self.node.close()

        self.aside.close(closing)
