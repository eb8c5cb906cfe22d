"""Widgets that draw lines from plain values and repaint only what differs.

A `Line` is a value: parts at fixed positions, each with the name of a style. A `Painted`
widget compares the lines it is given with those it shows and asks the terminal for the
differing parts only; presenting the same lines again writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from fedtui.screens.widgets.clean import clean, fit, to_ascii, wrap_indented
from fedtui.screens.widgets.palettes import DARK, WITHOUT_COLOR


class Part(NamedTuple):
    """Text in `width` cells from cell `x` on. `style` is a name in a palette (`palettes.py`)."""

    x: int
    width: int
    text: str
    style: str = ""
    right: bool = False


class Line(NamedTuple):
    """One line of a widget: its parts from left to right, and the style beneath them."""

    parts: tuple[Part, ...] = ()
    base: str = ""


BLANK = Line()


class Painted(Widget):
    """A widget of lines. Foreign text needs no care from the caller: every part is cleaned here."""

    DEFAULT_CSS = "Painted { background: ansi_default; color: ansi_default; }"

    ascii_only = False
    """Whether the terminal can draw ASCII only. One terminal, so one value for all widgets."""

    styles_by_name: Mapping[str, Style] = DARK
    """What the names of styles look like, as the theme has it. One terminal, so one value, too."""

    _lines: Sequence[Line] = ()

    @property
    def shown(self) -> Sequence[Line]:
        """What was presented last."""
        return self._lines

    def present(self, lines: Sequence[Line]) -> None:
        """Show these lines, one per row of the widget; repaint the parts that differ."""
        before, self._lines = self._lines, tuple(lines)
        if len(before) != len(lines):
            self.refresh(layout=self.styles.is_auto_height)
            return
        width = self.size.width
        regions = [
            region
            for y, (old, new) in enumerate(zip(before, lines, strict=True))
            if old != new
            for region in _changed(y, old, new, width)
        ]
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else BLANK
        styles = WITHOUT_COLOR if self.app.no_color else Painted.styles_by_name
        base = styles[line.base]
        runs: list[tuple[str, Style]] = []
        x = 0
        for part in line.parts:
            style = base + styles[part.style] if part.style else base
            runs += (" " * (part.x - x), base), (self._text(part), style)
            x = part.x + part.width
        runs.append((" " * (self.size.width - x), base))
        return Strip(_joined(runs)).adjust_cell_length(self.size.width, base)

    def _text(self, part: Part) -> str:
        text = fit(drawable(part.text), part.width, right=part.right)
        return to_ascii(text) if self.ascii_only else text  # once more: fitting may add an ellipsis


class Focusable(Painted, can_focus=True):
    """A widget that takes the focus and draws whether it has it. Subclasses define `draw`.

    It draws when the reactive attribute has its new value. A handler of the Focus or Blur event in a subclass runs
    before Textual's own handler sets the attribute, and would draw the state before.
    """

    def draw(self) -> None:
        """Present the widget's lines as of now."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Draw for the first time."""
        self.draw()

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.draw()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Draw the focus where it now is."""
        super().watch_has_focus(has_focus)
        self.draw()

    def watch_disabled(self, disabled: bool) -> None:
        """Draw whether it may be used."""
        super().watch_disabled(disabled)
        self.draw()


def drawable(text: str) -> str:
    """`text` as it will be drawn: cleaned, and in ASCII where the terminal has no more. Measure this."""
    text = clean(text)
    return to_ascii(text) if Painted.ascii_only else text


class Lines(Painted):
    """A block of lines without a cursor: the band, the footer, the detail of a record."""

    DEFAULT_CSS = "Lines { width: 1fr; height: 1; }"

    _measured = -1
    """How many lines the layout last made room for."""

    def present(self, lines: Sequence[Line]) -> None:
        """Show these lines; ask for room until there is, since a layout may be lost while a screen comes up."""
        super().present(lines)
        if self.display and self.styles.is_auto_height and self._measured != len(lines):
            self.refresh(layout=True)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        self._measured = len(self._lines)
        return self._measured


def row(items: Iterable[tuple[str, str]], *, width: int, x: int = 1, gap: int = 2, base: str = "") -> Line:
    """A line of (text, style) items one after the other, each as wide as its text, cut at `width` cells."""
    parts = []
    for text, style in items:
        size = min(cell_len(drawable(text)), width - x)
        if size <= 0:
            break
        parts.append(Part(x, size, text, style))
        x += size + gap
    return Line(tuple(parts), base)


def paragraphs(texts: Iterable[tuple[str, str]], width: int, *, margin: int) -> list[Line]:
    """(text, style) paragraphs wrapped to `width` cells with a margin on both sides; no gaps between them."""
    room = max(width - 2 * margin, 1)
    return [
        Line((Part(margin, room, line, style),))
        for text, style in texts
        for line in wrap_indented(drawable(text), room)
    ]


def _joined(runs: Iterable[tuple[str, Style]]) -> list[Segment]:
    """Runs of text as segments, one for each change of style: fewer escape sequences, fewer bytes."""
    return [
        Segment("".join(text for text, _ in group), style) for style, group in groupby(runs, key=lambda run: run[1])
    ]


def _changed(y: int, old: Line, new: Line, width: int) -> list[Region]:
    """What differs between two versions of row `y`: some of its parts, or all of it if they lie elsewhere."""
    if old.base != new.base or [part[:2] for part in old.parts] != [part[:2] for part in new.parts]:
        return [Region(0, y, width, 1)]
    pairs = zip(old.parts, new.parts, strict=True)
    return [Region(part.x, y, part.width, 1) for was, part in pairs if was != part]
