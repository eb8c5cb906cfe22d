"""The windowed table: shows any number of rows by drawing only those on the screen.

It holds a few screenfuls of rows around the cursor, read beside the event loop. The cursor
belongs to a record: rows may come, go and move around it. Whatever happens, the table
compares what it should show with what it shows, cell by cell, and repaints the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView

from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.commands import TABLE, bindings, with_keys
from fedtui.screens.shell.data_freshness import DataFreshness
from fedtui.screens.widgets.columns import Column, Placed, heading, place, row_line
from fedtui.screens.widgets.paint import BLANK, Line, Painted, paragraphs
from fedtui.screens.widgets.reading import HasId, Query, Slice, Source, Want, look

R = TypeVar("R", bound=HasId)

READER = "table"
POLL_SECONDS = 0.25
"""How often the table asks whether anything changed. A slow read is followed by a longer rest."""


@dataclass(frozen=True, slots=True)
class Empty:
    """What an empty table says: that it is, and what to do next (one sentence or command a line)."""

    title: str
    hints: tuple[str, ...] = ()


NOTHING_FOUND = Empty("Nothing matches the filter.", ("Esc takes it away.",))


class Window(Painted, ScrollView, Generic[R], can_focus=True, inherit_bindings=False):
    """A table of rows from a `Source`, with columns as data."""

    BINDINGS: ClassVar[list[BindingType]] = [
        one for one in bindings(TABLE) if isinstance(one, Binding) and not one.action.startswith("run(")
    ]
    DEFAULT_CSS = """
    Window {
        width: 1fr; height: 1fr;
        overflow-x: hidden; overflow-y: auto; scrollbar-gutter: stable; scrollbar-size-vertical: 1;
        scrollbar-color: ansi_bright_black; scrollbar-color-hover: ansi_white;
        scrollbar-color-active: ansi_white; scrollbar-background: ansi_default;
        scrollbar-background-hover: ansi_default; scrollbar-background-active: ansi_default;
    }
    """

    class Opened(Message):
        """Enter was pressed on the row with this id."""

        def __init__(self, id: str) -> None:
            super().__init__()
            self.id = id

    class Looked(Message):
        """The cursor came to another row, or a look at the data told something new."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        *,
        query: Query,
        empty: Empty,
        now: Callable[[], datetime],
        aside: BackgroundWorker,
        pulse: DataFreshness,
        tail: bool = False,
        rest: Callable[[], float] = float,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._all_columns = columns
        self._rest = rest
        self._placed: list[Placed[R]] = []
        self._query = query
        self._empty = empty
        self._now = now
        self._aside = aside
        self._pulse = pulse
        self._tail = tail
        self._held: Slice[R] | None = None
        self._recount = True
        self._cursor = 0
        self._anchor: R | None = None
        self._marks: dict[str, None] = {}
        self._still = False
        self._wake = asyncio.Event()

    # What others may ask

    @property
    def current(self) -> R | None:
        """The row under the cursor, as last read; None where there is none or it is still being read."""
        return self._row(self._cursor)

    @property
    def position(self) -> tuple[int, int] | None:
        """The cursor's place, counted from 1, and the number of rows; None before the first look."""
        return None if self._held is None else (min(self._cursor + 1, self._count), self._count)

    @property
    def has_rows(self) -> bool:
        """Whether there is any row to show."""
        return bool(self._count)

    @property
    def asked(self) -> Query:
        """Which rows are shown, in which order."""
        return self._query

    @property
    def marks(self) -> tuple[str, ...]:
        """The ids of the marked rows, in the order they were marked, whether shown or not."""
        return tuple(self._marks)

    def find(self, id: str) -> R | None:
        """The row with this id, if it is among those held around the cursor."""
        return self._held.find(id) if self._held is not None else None

    def ask(self, query: Query) -> None:
        """Show these rows, in this order. The cursor stays with its record."""
        self._query = query
        self._recount = True
        self._wake.set()

    @property
    def chosen(self) -> tuple[str, ...]:
        """The keys of the columns that were chosen; none where all are shown that fit."""
        return () if self._columns is self._all_columns else tuple(column.key for column in self._columns)

    @property
    def every_column(self) -> list[str]:
        """The keys of all columns there are."""
        return [column.key for column in self._all_columns]

    @property
    def shown_columns(self) -> list[str]:
        """The keys of the columns that fit."""
        return [one.column.key for one in self._placed]

    def choose(self, keys: Sequence[str]) -> None:
        """Show these columns, in this order, as far as they fit; none: all that fit."""
        by_key = {column.key: column for column in self._all_columns}
        self._columns = [by_key[key] for key in dict.fromkeys(keys)] or self._all_columns
        self._placed = place(self._columns, self.size.width)
        self._show()

    def hold(self, still: bool) -> None:
        """Keep what is shown as it is, whatever changes, or go on; what is asked for is still read."""
        self._still = still
        if still:
            self._pulse.rest(READER)
        self._wake.set()

    def unmark(self, ids: Sequence[str]) -> None:
        """Take these marks away."""
        for id in ids:
            self._marks.pop(id, None)
        self._show()
        self.post_message(self.Looked())

    def tick(self) -> None:
        """Bring what depends on the clock up to date."""
        self._show()

    # Reading

    async def follow(self, source: Source[R]) -> None:
        """Show the source's rows and every change to them, until cancelled."""
        while True:
            while self._still and not self._recount:
                self._wake.clear()
                await self._wake.wait()
            self._wake.clear()
            want = self._want()
            began = time.monotonic()
            recovered = self._pulse.trouble is not None
            try:
                found = await self._aside.run(partial(look, source, want))
                self._pulse.beat(READER)
                self._take(want, found)
                told = recovered or found is not None
                rest = min(max(POLL_SECONDS, 4 * (time.monotonic() - began)), 3 * POLL_SECONDS)
                rest = max(rest, self._rest())
            except Exception as error:
                self._pulse.miss(error, READER)
                self._recount = told = True
                self._show()
                rest = 4 * POLL_SECONDS
            if told:
                self.post_message(self.Looked())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), rest)

    def _want(self) -> Want[R]:
        recount, self._recount = self._recount, False
        return Want(
            query=self._query,
            anchor=self._anchor,
            index=self._cursor,
            line=self._cursor - self._top,
            height=max(self._height, 1),
            count=None if recount or self._held is None else self._count,
            needed=recount or not self._covered(0),
        )

    def _take(self, want: Want[R], found: Slice[R] | None) -> None:
        """Put the rows that were read in place of those held, around the row under the cursor."""
        if found is None or want.query != self._query:
            return
        line = self._cursor - self._top
        self._held = found
        self._cursor = self._place_cursor(want, found)
        self._anchor = self._row_to_stay_with() or (self._anchor if found.count and not self._at_tail else None)
        at_top = self._top == 0 and self._cursor < self._height
        self.virtual_size = Size(self.size.width, found.count + 1)
        self._scroll(0 if at_top else self._cursor - line)
        self._show()

    def _place_cursor(self, want: Want[R], found: Slice[R]) -> int:
        """Where the cursor's record is now; if it is gone, the place it left."""
        if self._anchor is None:
            index = self._cursor
        else:
            place = found.place(self._anchor.id)
            moved = want.anchor is None or want.anchor.id != self._anchor.id
            gone_from = self._cursor + found.index - want.index if moved else found.index
            index = gone_from if place is None else place
        return min(max(index, 0), max(found.count - 1, 0))

    # Moving

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Opening is for what has rows."""
        return self.has_rows if action == "open" else True

    def action_move(self, lines: int) -> None:
        """Move the cursor by so many lines."""
        self._go(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        """Move the cursor by so many screenfuls."""
        self._go(self._cursor + pages * max(self._height - 1, 1))

    def action_first(self) -> None:
        """Go to the first row."""
        self._go(0)

    def action_last(self) -> None:
        """Go to the last row."""
        self._go(self._count - 1)

    def action_open(self) -> None:
        """Tell that the row under the cursor is to be opened."""
        if (row := self.current) is not None:
            self.post_message(self.Opened(row.id))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        if (row := self.current) is not None:
            if row.id in self._marks:
                del self._marks[row.id]
            else:
                self._marks[row.id] = None
            self._go(self._cursor + 1)

    def action_unmark(self) -> None:
        """Take away every mark."""
        self.unmark(self.marks)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is."""
        if event.y > 0 and self._top + event.y - 1 < self._count:
            self._go(self._top + event.y - 1)

    def _go(self, index: int, *, top: int | None = None) -> None:
        self._cursor = min(max(index, 0), max(self._count - 1, 0))
        self._anchor = self._row_to_stay_with()
        lowest = self._cursor - self._height + 1
        self._scroll(min(max(self._top if top is None else top, lowest), self._cursor))
        if not self._covered(self._height):
            self._wake.set()
        self._show()
        self.post_message(self.Looked())

    def _scroll(self, top: int) -> None:
        self.scroll_y = self.scroll_target_y = float(max(top, 0))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled, also by wheel or scrollbar: the cursor stays within sight."""
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = new_value
        if not self._top <= self._cursor < self._top + max(self._height, 1):
            self._go(min(max(self._cursor, self._top), self._top + self._height - 1), top=self._top)
        else:
            self._show()

    # Drawing

    @property
    def _top(self) -> int:
        return round(self.scroll_y)

    @property
    def _height(self) -> int:
        """Visible rows: all lines but the header."""
        return self.size.height - 1

    @property
    def _count(self) -> int:
        return 0 if self._held is None else self._held.count

    @property
    def _at_tail(self) -> bool:
        """Whether the cursor stays with the first row, whichever that is."""
        return self._tail and self._cursor == 0

    def _row_to_stay_with(self) -> R | None:
        """The row that the cursor stays with."""
        return None if self._at_tail else self._row(self._cursor)

    def _row(self, index: int) -> R | None:
        return None if self._held is None else self._held.row(index)

    def _covered(self, margin: int) -> bool:
        """Whether every row on the screen, and `margin` rows around it, is held."""
        if self._held is None:
            return False
        return self._held.covers(self._top - margin, self._top + self._height + margin)

    def on_resize(self) -> None:
        """Lay out the columns again; keep the cursor in sight."""
        self._placed = place(self._columns, self.size.width)
        if self._held is not None:
            self.virtual_size = Size(self.size.width, self._count + 1)
            self._go(self._cursor)
        self._show()

    def _show(self) -> None:
        if not self.is_mounted or self._height < 1:
            return
        head = heading(self._placed) if self._count else BLANK
        body = self._body() if self._count else self._message()
        body += [BLANK] * (self._height - len(body))
        self.present([head, *body[: self._height]])

    def _body(self) -> list[Line]:
        now = self._now()
        last = min(self._top + self._height, self._count)
        return [
            row_line(
                self._placed,
                row := self._row(index),
                now,
                at_cursor=index == self._cursor,
                marked=row is not None and row.id in self._marks,
            )
            for index in range(self._top, last)
        ]

    def _message(self) -> list[Line]:
        """What stands in place of rows: that they are being read, that there are none, or why not."""
        failure = self._pulse.trouble
        if failure is not None:
            texts = [item for told in failure.told() for item in (told, ("", ""))]
        elif self._held is None:
            texts = [("Reading …", "dim")]
        else:
            empty = NOTHING_FOUND if self._query.text else self._empty
            texts = [(empty.title, "strong"), ("", ""), *((with_keys(hint), "") for hint in empty.hints)]
        return paragraphs(texts, self.size.width, margin=2)
