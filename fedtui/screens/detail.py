"""One peer in words, as a pane or as a screen of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from fedtui.screens.frame import Frame
from fedtui.screens.handle import Shared
from fedtui.screens.widgets.clean import wrap
from fedtui.screens.widgets.paint import Line, Lines, Part, drawable
from fedtui.screens.words import describe

if TYPE_CHECKING:
    from fedtui.core.peering.listing import PeerLine

LABEL = 12
"""Cells for the label of a paragraph, with a gap after it."""


def detail_lines(line: PeerLine, now: datetime, stale_after: timedelta, width: int) -> list[Line]:
    """A peer in words, wrapped to `width` cells: labels at the left, text beside them."""
    lines: list[Line] = []
    for label, text, style in describe(line, now, stale_after):
        indent = LABEL if label else 0
        room = max(width - indent, 8)
        for number, piece in enumerate(wrap(drawable(text), room)):
            head = (Part(0, LABEL - 1, label, "dim"),) if label and number == 0 else ()
            lines.append(Line((*head, Part(indent, room, piece, style))))
    return lines


class DetailScreen(Frame):
    """One record, live. `find` returns it as last read, or None once it is gone."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "Back")]
    DEFAULT_CSS = "DetailScreen #detail { height: 1fr; padding: 1 2; }"

    def __init__(self, shared: Shared, find: Callable[[], PeerLine | None]) -> None:
        super().__init__(shared)
        self._find = find

    def body(self) -> Iterator[Widget]:
        """The peer in words."""
        yield Lines(id="detail")

    def tick(self) -> None:
        """Show the peer as it is now."""
        detail = self.query_one("#detail", Lines)
        line = self._find()
        if line is None:
            detail.present([Line((Part(0, detail.size.width, "This peer is no longer there.", "strong"),))])
        else:
            width = min(detail.size.width, 90)
            detail.present(detail_lines(line, self.shared.now(), self.shared.stale_after, width))
