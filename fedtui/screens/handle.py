"""What the screens are given: the node as they see it, and what else they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from fedtui.screens.aside import Aside
from fedtui.screens.trouble import Pulse


class Changes(Protocol):
    """Notices that any process has committed to the node's database."""

    def poll(self) -> bool:
        """Whether anything was committed since the last call. Always call it from the same thread."""


class Settings(Protocol):
    """The node's settings, as far as the screens show them."""

    @property
    def stale_after(self) -> timedelta: ...


class NodeHandle(Protocol):
    """An open node: `fedtui.core.node.Node`, or a stand-in for tests."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    def read(self) -> AbstractContextManager[Any]:
        """A read-only transaction; close it soon."""

    def changes(self) -> Changes: ...
    def close(self) -> None: ...


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(eq=False)
class Shared:
    """One per console, handed to every screen.

    `mode` are words for the band (DEMO); `notice` returns one line to show beneath it, or
    nothing; `now` returns aware UTC. `opened` is set once `node` is there.
    """

    mode: str = ""
    notice: Callable[[], str] = str
    now: Callable[[], datetime] = utc_now
    node: NodeHandle | None = None
    aside: Aside = field(default_factory=Aside)
    pulse: Pulse = field(default_factory=Pulse)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

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
            self.node = open_node()

        try:
            await self.aside.run(opening)
        except Exception as error:
            self.pulse.miss(error)
        else:
            self.pulse.beat()
            self.opened.set()

    def close(self) -> None:
        """Close the node, if it opened; a node that hangs is not waited for."""

        def closing() -> None:
            if self.node is not None:
                self.node.close()

        self.aside.close(closing)
