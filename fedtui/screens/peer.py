"""One peer: as a pane beside the table, and in full on a screen of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget

from fedtui.screens import peer_acts as acts
from fedtui.screens.commands import DETAIL, EVERYWHERE, PEER, Command
from fedtui.screens.handle import Peers, Shared
from fedtui.screens.peer_acting import PeerActing
from fedtui.screens.peer_words import describe_record
from fedtui.screens.widgets.clean import wrap
from fedtui.screens.widgets.paint import Line, Lines, Part, drawable
from fedtui.screens.words import Paragraph, address, describe

if TYPE_CHECKING:
    from fedtui.core.acts.overview import PeerRecord
    from fedtui.core.peering.listing import PeerLine

LABEL = 12
"""Cells for the label of a paragraph, with a gap after it."""
READER = "peer"
READ_SECONDS = 0.5
WIDEST = 100


def paragraph_lines(paragraphs: Iterable[Paragraph], width: int) -> list[Line]:
    """Paragraphs wrapped to `width` cells: labels at the left, text beside them."""
    lines: list[Line] = []
    for label, text, style in paragraphs:
        indent = LABEL if label else 0
        room = max(width - indent, 8)
        for number, piece in enumerate(wrap(drawable(text), room)):
            head = (Part(0, LABEL - 1, label, "dim"),) if label and number == 0 else ()
            lines.append(Line((*head, Part(indent, room, piece, style))))
    return lines


def detail_lines(line: PeerLine, now: datetime, stale_after: timedelta, width: int) -> list[Line]:
    """A peer's line in words."""
    return paragraph_lines(describe(line, now, stale_after), width)


class PeerScreen(PeerActing):
    """One peer in full, live. `id` may be the beginning of one."""

    places: ClassVar[tuple[str, ...]] = (PEER, DETAIL, EVERYWHERE)
    DEFAULT_CSS = """
    PeerScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    PeerScreen.-ascii VerticalScroll { scrollbar-size-vertical: 0; }
    PeerScreen #detail { height: auto; }
    """

    def __init__(self, shared: Shared, id: str) -> None:
        super().__init__(shared)
        self._wanted = id
        self._look = PeerLook(shared, id)
        self._going_on = asyncio.Event()

    @property
    def place(self) -> str:
        """This is `peers/ID`."""
        return f"peers/{self._wanted}"

    def trail(self) -> str:
        """The peer, after where it was opened from."""
        line = self._look.line
        return f"Peers › {address(line.remote_instance_url) if line else self._wanted}"

    def body(self) -> Iterator[Widget]:
        """The peer in words, scrolled where it is long."""
        with VerticalScroll(can_focus=False):
            yield Lines(id="detail")

    def on_mount(self) -> None:
        """Read it, and go on reading. (Textual calls the frame's own `on_mount` itself.)"""
        self._going_on.set()
        self.run_worker(self._follow(), exit_on_error=False)

    def on_unmount(self) -> None:
        """It is not read any more."""
        self.shared.pulse.rest(READER)

    def hold(self, still: bool) -> None:
        """It keeps still under a dialog."""
        if still:
            self._going_on.clear()
        else:
            self._going_on.set()

    async def _follow(self) -> None:
        await self.shared.opened.wait()
        while True:
            await self._going_on.wait()
            try:
                await self.shared.aside.run(self._look.again)
                self.shared.pulse.beat(READER)
            except Exception as error:
                self.shared.pulse.miss(error, READER)
            self.update()
            await asyncio.sleep(READ_SECONDS)

    def tick(self) -> None:
        """Show the peer as it is now."""
        block = self.query_one("#detail", Lines)
        width = min(max(block.size.width, 20), WIDEST)
        look, now = self._look, self.shared.now()
        if look.line is None:
            block.present(paragraph_lines([Paragraph("", *self._absent())], width))
            return
        told = [*describe(look.line, now, self.shared.stale_after)]
        if look.record is not None:
            told += describe_record(look.record, now)
        block.present(paragraph_lines(told, width))

    def _absent(self) -> tuple[str, str]:
        if self.shared.pulse.trouble is not None:
            return " ".join(text for text, _ in self.shared.pulse.trouble.told()), "bad"
        if self._look.found is None:
            return "Reading …", "dim"
        if self._look.found > 1:
            return f"The id of more than one peer begins with {self._wanted}. Give more of it.", "strong"
        return f"There is no peer {self._wanted}. Esc leads to those there are.", "strong"

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: the peer must be there, and in the right state."""
        reason = super().refusal(command)
        if reason or not command.target:
            return reason
        return acts.refusal(command.name, self._look.line) if self._look.line else "There is no such peer."

    def selected(self, command: Command) -> list[str]:
        """This peer."""
        return [self._look.line.id] if self._look.line and command.target else []

    def do_refresh(self) -> None:
        """Read again; open the node again if it is not open."""
        super().do_refresh()
        self._look.from_scratch()

    def action_scroll(self, lines: int) -> None:
        """Scroll by so many lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class PeerLook:
    """What was last read about a peer. `found` counts the peers whose id begins so; None before the first look."""

    def __init__(self, shared: Shared, id: str) -> None:
        self._shared = shared
        self._id = id
        self._source: Peers | None = None
        self.found: int | None = None
        self.line: PeerLine | None = None
        self.record: PeerRecord | None = None

    def from_scratch(self) -> None:
        """Read next time, whether anything changed or not."""
        self._source = None

    def again(self) -> None:
        """Read, if anything changed. Runs beside the event loop."""
        node = self._shared.opened_node()
        source = self._source or self._shared.peers_of(node)
        if not source.changed() and source is self._source:
            return
        self._source = None  # until all is read: what fails half-way is read again
        found = source.starting_with(self._id)
        line = found[0] if len(found) == 1 else None
        if line is not None:
            self._id = line.id
            self.record = node.peer_record(line.id)
        self._source, self.line, self.found = source, line, len(found)
