"""Columns as data, which of them fit a width, and rows drawn by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from fedtui.screens.widgets.paint import Line, Part

R = TypeVar("R")

MARK = "+"
GAP = 2
"""Cells between two columns."""


class Cell(NamedTuple):
    """What a column says about a row: text, and the name of a style (`palettes.py`)."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column of a table.

    `width` is in cells; a column with a `share` is flexible: it is at least `width` wide and
    takes that share of what is left over. Where not all columns fit, those with the highest
    `priority` number give way first; 0 never does. `cell` is called with a row and the time.
    """

    key: str
    title: str
    width: int
    cell: Callable[[R, datetime], Cell]
    share: int = 0
    priority: int = 0
    right: bool = False


class Placed(NamedTuple, Generic[R]):
    """A column that fits, with its first cell and its width in cells."""

    column: Column[R]
    x: int
    width: int


def place(columns: Sequence[Column[R]], width: int, *, margin: int = 1) -> list[Placed[R]]:
    """Lay out the columns that fit `width` cells, in their order, `margin` cells from each edge."""
    room = width - 2 * margin
    kept = list(columns)
    while kept and _least(kept) > room:
        weakest = max(kept, key=lambda column: column.priority)
        if weakest.priority == 0:
            break
        kept.remove(weakest)
    spare = max(room - _least(kept), 0)
    shares = sum(column.share for column in kept)
    placed, x = [], margin
    for column in kept:
        extra = spare * column.share // shares if shares else 0
        size = max(min(column.width + extra, width - x), 0)
        placed.append(Placed(column, x, size))
        x += size + GAP
    return placed


def _least(columns: Sequence[Column[R]]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def heading(placed: Sequence[Placed[R]]) -> Line:
    """The line of titles."""
    return Line(tuple(Part(x, width, one.title, "head", one.right) for one, x, width in placed))


def row_line(
    placed: Sequence[Placed[R]], row: R | None, now: datetime, *, at_cursor: bool, marked: bool = False
) -> Line:
    """A row as a line; None is a row still being read. At the cursor one style is enough: the words stay."""
    base = "cursor" if at_cursor else ""
    if row is None:
        return Line((Part(1, 1, "…", "dim"),), base)
    parts = [Part(0, 1, MARK, "strong")] if marked else []
    for column, x, width in placed:
        cell = _cell(column, row, now)
        parts.append(Part(x, width, cell.text, "" if at_cursor else cell.style, column.right))
    return Line(tuple(parts), base)


def _cell(column: Column[R], row: R, now: datetime) -> Cell:
    """The cell's text; a row that a column cannot read must not take the screen down."""
    try:
        return column.cell(row, now)
    except Exception:
        return Cell("?", "bad")
