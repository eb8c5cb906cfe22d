"""The Peers screen: every remote platform this node knows, live, what will hurt first on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from fedtui.screens import peer_acts as acts
from fedtui.screens.commands import BY_NAME, EVERYWHERE, PEERS, TABLE, Command, key_names
from fedtui.screens.handle import Shared
from fedtui.screens.peer import detail_lines
from fedtui.screens.peer_acting import PeerActing
from fedtui.screens.prompt import FilterPrompt
from fedtui.screens.widgets.paint import Lines, paragraphs
from fedtui.screens.widgets.reading import Query
from fedtui.screens.widgets.window import Empty, Window
from fedtui.screens.words import columns

if TYPE_CHECKING:
    from fedtui.core.peering.listing import PeerLine


FIRST_SORT = "urgency"
WIDE = 120
EMPTY = Empty(
    "No peers yet.",
    tuple(f"{key_names(BY_NAME[name])[0]}   {BY_NAME[name].help}" for name in ("propose", "accept")),
)


class PeersScreen(PeerActing):
    """The live table of peers, and beside it, where there is room, the one under the cursor."""

    places: ClassVar[tuple[str, ...]] = (PEERS, TABLE, EVERYWHERE)
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

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
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
            source = await self.shared.aside.run(lambda: self.shared.peers_of(self.shared.opened_node()))
        except Exception as error:
            self.shared.pulse.miss(error)
            return
        self._sorts = source.sorts
        await self._table.follow(source)

    def hold(self, still: bool) -> None:
        """The table keeps still under a dialog, and while another screen is on top."""
        self._table.hold(still)

    def acted(self, ids: Sequence[str]) -> None:
        """What was acted on is no longer marked."""
        self._table.unmark(ids)

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

    @property
    def place(self) -> str:
        """This is `peers`."""
        return "peers"

    def trail(self) -> str:
        """Where this is, with the filter if there is one."""
        query = self._table.asked
        return f"Peers  /{'!' if query.invert else ''}{query.text}" if query.text else "Peers"

    def remark(self) -> str:
        """Marks, the order, and the cursor's place among how many."""
        place, count = self._table.position or (0, 0)
        marked = f"{len(self._table.marks)} marked   " if self._table.marks else ""
        return f"{marked}by {self._table.asked.sort}   {place} of {count}" if count else marked

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: an act on peers needs one, in the right state."""
        reason = super().refusal(command)
        if reason or not command.target:
            return reason
        if self._table.marks and command.target == "marks":
            return ""
        line = self._table.current
        if line is None:
            return "There is no peer under the cursor."
        return acts.refusal(command.name, line)

    def selected(self, command: Command) -> list[str]:
        """The ids a command acts on: the marks, where there are any and it takes them, else the cursor's row."""
        if command.target == "marks" and self._table.marks:
            return list(self._table.marks)
        line = self._table.current
        return [line.id] if command.target and line is not None else []

    def do_sort(self) -> None:
        """Take the next order; the cursor stays with its peer."""
        query = self._table.asked
        place = self._sorts.index(query.sort) + 1
        self._table.ask(replace(query, sort=self._sorts[place % len(self._sorts)]))
        self.update()

    def do_filter(self) -> None:
        """Ask for a filter, and show what it leaves while it is typed."""
        query = self._table.asked
        self.app.push_screen(FilterPrompt(("!" if query.invert else "") + query.text, self._filter))

    def _filter(self, typed: str) -> None:
        text = typed.strip()
        invert = text.startswith("!")
        query = replace(self._table.asked, text=text.removeprefix("!"), invert=invert and len(text) > 1)
        if query != self._table.asked:
            self._table.ask(query)
            self.update()

    def do_back(self) -> None:
        """Take the filter away."""
        self._filter("")

    def do_refresh(self) -> None:
        """Read again; open the node again if it is not open."""
        super().do_refresh()
        self._table.ask(self._table.asked)

    def on_window_looked(self) -> None:
        """Another peer under the cursor, or newer data."""
        self.update()

    def on_window_opened(self, message: Window.Opened) -> None:
        """Show the peer on a screen of its own."""
        self.go(f"peers/{message.id}")
