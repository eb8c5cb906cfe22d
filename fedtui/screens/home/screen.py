"""Home: is anything wrong, and what needs me? One glance, and every line leads to its place."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget

from fedtui.screens.home.view import Section, Spot, headline, sections
from fedtui.screens.shell.commands import EVERYWHERE, HOME
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.frame import WIDE, Frame
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Part, drawable, paragraphs

if TYPE_CHECKING:
    from fedtui.core.diagnosis.dashboard import Dashboard
    from fedtui.screens.shell.node_handle import Changes

READER = "home"
READ_SECONDS, OLD_SECONDS = 1.0, 5.0
"""How often it asks whether anything changed, and how old what is shown may become: the hour goes on by itself."""
AS_IT_WAS = "○ This is how it was when it could last be read."
LABEL, INDENT, GAP = 12, 3, 2


class HomeScreen(Frame):
    """The headline, then sections: in one column, or in two where there is room."""

    places: ClassVar[tuple[str, ...]] = (HOME, EVERYWHERE)
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - Textual declares it so
    DEFAULT_CSS: ClassVar[str] = """
    HomeScreen #headline { height: auto; max-height: 3; }
    HomeScreen VerticalScroll { height: 1fr; padding: 0; scrollbar-size-vertical: 0; }
    HomeScreen #sides { height: auto; }
    HomeScreen #left, HomeScreen #right { height: auto; }
    HomeScreen #right { display: none; }
    HomeScreen.-wide #right { display: block; }
    HomeScreen #trouble { display: none; height: auto; max-height: 30%; }
    HomeScreen #trouble.-shown { display: block; }
    """

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__(shared)
        self._found: Dashboard | None = None
        self._at = 0
        self._on = ""
        self._spots: list[Spot] = []
        self._keys: list[str] = []
        self._wake = asyncio.Event()

    @property
    def place(self) -> str:
        """The place's name."""
        return "home"

    def trail(self) -> str:
        """Where this is."""
        return "Home"

    def remark(self) -> str:
        """What needs this operator, counted."""
        waiting = self._found.approvals_for_me if self._found is not None else 0
        return f"{waiting} for you" if waiting else ""

    def body(self) -> Iterator[Widget]:
        """Headline, two columns of sections, and a line for what is wrong with the reads."""
        yield Lines(id="headline")
        with VerticalScroll(can_focus=False):
            yield Horizontal(Lines(id="left"), Lines(id="right"), id="sides")
        yield Lines(id="trouble")

    def on_mount(self) -> None:
        """Read, and go on reading. (Textual calls the frame's own `on_mount` itself.)"""
        self.run_worker(self._follow(), exit_on_error=False)

    def on_unmount(self) -> None:
        """It is not read any more."""
        self.shared.pulse.rest(READER)

    async def _follow(self) -> None:
        """Read when something was committed, and now and then, as long as this screen is the one shown."""
        await self.shared.opened.wait()
        node = self.shared.opened_node()
        changes: Changes | None = None
        seen = -OLD_SECONDS

        def look() -> Dashboard | None:
            nonlocal changes, seen
            changes = changes or node.changes()
            if not changes.poll() and time.monotonic() - seen < OLD_SECONDS:
                return None
            found = node.home()
            seen = time.monotonic()
            return found

        while True:
            if self.is_current:
                try:
                    self._found = await self.shared.aside.run(look) or self._found
                    self.shared.pulse.beat(READER)
                except Exception as error:
                    seen = -OLD_SECONDS
                    self.shared.pulse.miss(error, READER)
                self.update()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), READ_SECONDS)
            except TimeoutError:
                continue

    def on_screen_resume(self) -> None:
        """On top again: look at once. (Textual calls the frame's own `on_screen_resume` itself.)"""
        self._wake.set()

    # --- what is shown -----------------------------------------------------------------------

    def tick(self) -> None:
        """Everything as it was last read; the picked line stays with what it is about."""
        trouble = self.shared.pulse.trouble
        wrong = self.query_one("#trouble", Lines)
        wrong.present(paragraphs(trouble.told(), self.size.width, margin=1) if trouble is not None else [BLANK])
        wrong.set_class(trouble is not None, "-shown")
        seen, found, now = self.shared.overview, self._found, self.shared.now()
        head = self.query_one("#headline", Lines)
        if seen is None or found is None:
            head.present([] if trouble is not None else paragraphs([("Reading …", "dim")], self.size.width, margin=1))
            return
        told = (AS_IT_WAS, "warn") if self.shared.pulse.stale else headline(seen, found)
        head.present(paragraphs([told], self.size.width, margin=1))
        self._show(sections(seen, found, now))

    def _show(self, told: Sequence[Section]) -> None:
        """The sections, as much of each as there is room for, the most urgent of all of them first."""
        wide = self.has_class("-wide")
        room = self.query_one(VerticalScroll).size.height
        sides = [[one for one in told if not wide or one.side == side] for side in ((0, 1) if wide else (0,))]
        laid = [lay_out(side, room) for side in sides]
        self._spots = [spot for side in laid for spot in side if spot is not None]
        self._keys = _keys(self._spots)
        self._at = self._keys.index(self._on) if self._on in self._keys else min(self._at, max(len(self._keys) - 1, 0))
        self._on = self._keys[self._at] if self._keys else ""
        picked = self._spots[self._at] if self._spots else None
        for id, side in zip(("#left", "#right"), [*laid, []], strict=False):
            block = self.query_one(id, Lines)
            block.present([_line(spot, block.size.width, at_cursor=spot is picked) for spot in side])

    # --- keys --------------------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        """Pick another line: through the left column, then the right one."""
        if self._spots:
            self._at = min(max(self._at + lines, 0), len(self._spots) - 1)
            self._on = self._keys[self._at]
            self.update()
            self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        """Scroll so that the picked line is seen."""
        for id in ("#left", "#right"):
            for y, line in enumerate(self.query_one(id, Lines).shown):
                if line.base == "cursor":
                    self.query_one(VerticalScroll).scroll_to(y=max(y - self.size.height // 2, 0), animate=False)

    def action_open(self) -> None:
        """Go where the picked line leads."""
        if self._spots:
            self.go(self._spots[self._at].leads_to)

    def do_examine(self) -> None:
        """The wizard, with the peer or request of the picked line, or with everything."""
        place, _, id = (self._spots[self._at].leads_to if self._spots else "").partition("/")
        about = {"peers": "peer", "approvals": "approval"}.get(place) if id else None
        self.go(f"playbook/{about}:{id}" if about else "playbook/everything")

    def do_refresh(self) -> None:
        """Read again; open the node again if it is not open."""
        super().do_refresh()
        self._wake.set()


def lay_out(told: Sequence[Section], room: int) -> list[Spot | None]:
    """Every heading, and beneath the headings in turn one line more, while there is room; None is a blank line.

    So a long list in one section leaves room for the first lines of the others.
    """
    kept = [0] * len(told)
    left = max(room - len(told), len(told))
    while left > 0 and any(count < len(one.spots) for count, one in zip(kept, told, strict=True)):
        for place, one in enumerate(told):
            if left > 0 and kept[place] < len(one.spots):
                kept[place] += 1
                left -= 1
    apart = left >= len(told)
    lines: list[Spot | None] = [None] if apart else []
    for place, (count, one) in enumerate(zip(kept, told, strict=True)):
        spaced = apart and place > 0 and (one.spots or told[place - 1].spots)
        lines += [*([None] if spaced else []), one.head, *one.spots[:count]]
    return lines


def _keys(spots: Sequence[Spot]) -> list[str]:
    """What tells the lines apart, however their words change: what they are about, and which of the like."""
    met: Counter[str] = Counter()
    found = []
    for spot in spots:
        key = spot.label or spot.leads_to
        met[key] += 1
        found.append(f"{key} {met[key]}")
    return found


def _line(spot: Spot | None, width: int, *, at_cursor: bool) -> Line:
    """A line: its label, then its cells; at the cursor one style is enough."""
    if spot is None:
        return BLANK
    x = 1 + LABEL if spot.label else 1 + INDENT
    parts = [Part(1, LABEL - 1, spot.label, "" if at_cursor else "strong")] if spot.label else []
    for cell in spot.cells:
        size = min(cell_len(drawable(cell.text)), width - 1 - x)
        if size <= 0:
            break
        parts.append(Part(x, size, cell.text, "" if at_cursor else cell.style))
        x += size + GAP
    return Line(tuple(parts), "cursor" if at_cursor else "")
