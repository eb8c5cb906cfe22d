"""The Peers screen: every remote platform this node knows, live, what will hurt first on top."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from fedtui.screens.detail import DetailScreen, detail_lines
from fedtui.screens.frame import Frame
from fedtui.screens.handle import NodeHandle, Shared
from fedtui.screens.widgets.paint import Lines, paragraphs
from fedtui.screens.widgets.reading import Query, Source
from fedtui.screens.widgets.window import Empty, Window
from fedtui.screens.words import columns

if TYPE_CHECKING:
    from fedtui.core.peering.listing import PeerLine

    class Peers(Source[PeerLine], Protocol):
        """The peers of a node, and the orders they can be read in."""

        sorts: Sequence[str]


FIRST_SORT = "urgency"
WIDE = 120
EMPTY = Empty(
    "No peers yet.",
    (
        "Propose the first one:  fedtui peers propose https://OTHER-PLATFORM",
        "Or take up an invite:   fedtui peers accept --invite INVITE",
    ),
)


def peers_of(node: NodeHandle) -> Peers:
    """The peers in a node's database. Imports the core: call it beside the event loop."""
    from fedtui.screens.sources import PeersSource

    return PeersSource(node)


class PeersScreen(Frame):
    """The live table of peers, and beside it, where there is room, the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "sort", "Sort")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - Textual declares it so
    DEFAULT_CSS = """
    PeersScreen #sides { height: 1fr; }
    PeersScreen #detail {
        display: none; width: 40; height: 1fr; padding: 0 1; border-left: solid ansi_bright_black;
    }
    PeersScreen.-ascii #detail { border-left: ascii ansi_bright_black; }
    PeersScreen.-wide #detail { display: block; }
    PeersScreen #trouble { display: none; height: auto; max-height: 4; }
    PeersScreen #trouble.-shown { display: block; }
    """

    def __init__(self, shared: Shared, source: Callable[[NodeHandle], Peers] = peers_of) -> None:
        super().__init__(shared)
        self._source = source
        self._sorts: Sequence[str] = (FIRST_SORT,)
        self._table: Window[PeerLine] = Window(
            columns(lambda: shared.stale_after),
            query=Query(FIRST_SORT),
            empty=EMPTY,
            now=shared.now,
            aside=shared.aside,
            pulse=shared.pulse,
            id="peers",
        )

    def body(self) -> Iterator[Widget]:
        """The table, the detail beside it, and a line for what is wrong."""
        yield Horizontal(self._table, Lines(id="detail"), id="sides")
        yield Lines(id="trouble")

    def on_mount(self) -> None:
        """Wait for the node, then follow its peers. (Textual calls the frame's own `on_mount` itself.)"""
        self.run_worker(self._follow(), exit_on_error=False)

    async def _follow(self) -> None:
        await self.shared.opened.wait()
        try:
            source = await self.shared.aside.run(lambda: self._source(self.shared.opened_node()))
        except Exception as error:
            self.shared.pulse.miss(error)
            return
        self._sorts = source.sorts
        await self._table.follow(source)

    def tick(self) -> None:
        """Ages in the table, the detail of the peer under the cursor, and what is wrong with the reads."""
        self._table.tick()
        detail = self.query_one("#detail", Lines)
        if detail.display:
            now, line = self.shared.now(), self._table.current
            width = detail.size.width
            detail.present([] if line is None else detail_lines(line, now, self.shared.stale_after, width))
        wrong = self.query_one("#trouble", Lines)
        trouble = self.shared.pulse.trouble if self._table.has_rows else None
        if trouble is not None:
            wrong.present(paragraphs(trouble.told(), self.size.width, margin=1))
        wrong.set_class(trouble is not None, "-shown")

    def remark(self) -> str:
        """The order, and the cursor's place among how many."""
        place, count = self._table.position or (0, 0)
        return f"by {self._table.asked.sort}   {place} of {count}" if count else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An order is for what has rows."""
        return self._table.has_rows if action == "sort" else True

    def action_sort(self) -> None:
        """Take the next order; the cursor stays with its peer."""
        query = self._table.asked
        place = self._sorts.index(query.sort) + 1
        self._table.ask(replace(query, sort=self._sorts[place % len(self._sorts)]))
        self.update()

    def on_window_looked(self) -> None:
        """Another peer under the cursor, or newer data."""
        self.update()

    def on_window_opened(self, message: Window.Opened) -> None:
        """Show the peer on a screen of its own."""
        self.app.push_screen(DetailScreen(self.shared, partial(self._table.find, message.id)))
