"""One record in full, live, on a screen of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar, Generic

from textual.containers import VerticalScroll
from textual.widget import Widget

from fedtui.screens.peers.columns import Paragraph, paragraph_lines
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.model import Kind, L
from fedtui.screens.shell.commands import Command
from fedtui.screens.shell.console_context import ConsoleContext, Records
from fedtui.screens.widgets.paint import Lines

READER = "record"
READ_SECONDS = 0.5
WIDEST = 100


class RecordScreen(Acting[L]):
    """One record in full, live. `id` may be the beginning of one."""

    DEFAULT_CSS: ClassVar[str] = """
    RecordScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    RecordScreen #detail { height: auto; }
    """

    def __init__(self, shared: ConsoleContext, id: str) -> None:
        super().__init__(shared)
        self._wanted = id
        self._look: Look[L] = Look(shared, self.kind, id)
        self._going_on = asyncio.Event()

    @property
    def place(self) -> str:
        """The kind's place with the id."""
        return f"{self.kind.place}/{self._wanted}"

    def trail(self) -> str:
        """The record, after where it was opened from."""
        line = self._look.line
        return f"{self.kind.title} › {self.kind.name(line) if line else self._wanted}"

    def body(self) -> Iterator[Widget]:
        """The record in words, scrolled where it is long."""
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

    def look_at(self, id: str) -> None:
        """Show another record from now on."""
        self._wanted = id
        self._look = Look(self.shared, self.kind, id)
        self.query_one(VerticalScroll).scroll_home(animate=False)

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
        """Show the record as it is now."""
        block = self.query_one("#detail", Lines)
        width = min(max(block.size.width, 20), WIDEST)
        look, now = self._look, self.shared.now()
        if look.line is None:
            block.present(paragraph_lines([Paragraph("", *self._absent())], width))
            return
        told = [*self.kind.describe(look.line, now, self.shared)]
        if look.record is not None:
            told += self.kind.describe_record(look.record, now)
        block.present(paragraph_lines(told, width))

    def _absent(self) -> tuple[str, str]:
        if self.shared.pulse.trouble is not None:
            return " ".join(text for text, _ in self.shared.pulse.trouble.told()), "bad"
        noun = self.kind.noun
        if self._look.found is None:
            return "Reading …", "dim"
        if self._look.found > 1:
            return f"The id of more than one {noun} begins with {self._wanted}. Give more of it.", "strong"
        return f"There is no {noun} {self._wanted}. Esc leads to those there are.", "strong"

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: the record must be there, and in the right state."""
        reason = super().refusal(command)
        if reason or not command.target:
            return reason
        line = self._look.line
        return self.kind.refusal(command.name, line) if line else f"There is no such {self.kind.noun}."

    def selected(self, command: Command) -> list[str]:
        """This record."""
        return [self._look.line.id] if self._look.line and command.target else []

    def do_refresh(self) -> None:
        """Read again; open the node again if it is not open."""
        super().do_refresh()
        self._look.from_scratch()


class Look(Generic[L]):
    """What was last read about a record. `found` counts those whose id begins so; None before the first look."""

    def __init__(self, shared: ConsoleContext, kind: Kind[L], id: str) -> None:
        self._shared = shared
        self._kind = kind
        self._id = id
        self._source: Records[L] | None = None
        self.found: int | None = None
        self.line: L | None = None
        self.record: Any = None

    def from_scratch(self) -> None:
        """Read next time, whether anything changed or not."""
        self._source = None

    def again(self) -> None:
        """Read, if anything changed. Runs beside the event loop."""
        node = self._shared.opened_node()
        source = self._source or self._shared.source_of(node, self._kind.place)
        if not source.changed() and source is self._source:
            return
        self._source = None  # until all is read: what fails half-way is read again
        found = source.starting_with(self._id)
        line = found[0] if len(found) == 1 else None
        if line is not None:
            self._id = line.id
            self.record = self._kind.record(node, line.id)
        self._source, self.line, self.found = source, line, len(found)
