"""Palettes: what the names of styles look like, for terminals and eyes of different kinds.

The first two take the terminal's own sixteen colours, as its user chose them. Whatever the palette,
words and glyphs say the same: a colour never says anything alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

DARK: Mapping[str, Style] = {
    "": Style.null(),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "loud": Style(color="bright_white", bgcolor="red", bold=True),
    "dim": Style(dim=True),
    "strong": Style(bold=True),
    "head": Style(bold=True),
    "cursor": Style(reverse=True),
    "band-blue": Style(color="bright_white", bgcolor="blue"),
    "band-green": Style(color="black", bgcolor="green"),
    "band-magenta": Style(color="bright_white", bgcolor="magenta"),
    "band-cyan": Style(color="black", bgcolor="cyan"),
    "tag": Style(color="black", bgcolor="yellow", bold=True),
    "notice": Style(color="cyan"),
}
"""What has no style stays in the terminal's default: no escape sequence at all."""
WITHOUT_COLOR: Mapping[str, Style] = {
    **{name: style.without_color for name, style in DARK.items()},
    "loud": Style(bold=True, reverse=True),
    **{name: Style(reverse=True) for name in DARK if name.startswith("band-")},
    "tag": Style(bold=True, reverse=False),
}
LIGHT: Mapping[str, Style] = {
    **DARK,
    "warn": Style(color="magenta"),
    "notice": Style(color="blue"),
}
"""Yellow and cyan are hard to read on white."""
BLACK, WHITE, YELLOW = "#000000", "#ffffff", "#ffff00"
_ON_BLACK = Style(color=WHITE, bgcolor=BLACK)
HIGH_CONTRAST: Mapping[str, Style] = {
    "": _ON_BLACK,
    "good": Style(color="#00ff00", bgcolor=BLACK, bold=True),
    "warn": Style(color=YELLOW, bgcolor=BLACK, bold=True),
    "bad": Style(color=BLACK, bgcolor=YELLOW, bold=True),
    "loud": Style(color=BLACK, bgcolor=YELLOW, bold=True, underline=True),
    "dim": Style.null(),
    "strong": Style(bold=True),
    "head": Style(bold=True, underline=True),
    "cursor": Style(color=BLACK, bgcolor=WHITE, bold=True),
    **{name: Style(color=BLACK, bgcolor=WHITE, bold=True) for name in DARK if name.startswith("band-")},
    "tag": Style(color=BLACK, bgcolor=YELLOW, bold=True),
    "notice": Style(color="#00ffff", bgcolor=BLACK, bold=True),
}
"""Nothing dim, nothing dark on dark: bright on black, and black on bright what matters most. These colours are
exact: what a terminal makes of its sixteen may be anything. With fewer, the nearest is taken."""
BLUE_YELLOW: Mapping[str, Style] = {
    **DARK,
    "good": Style(color="bright_blue"),
    "warn": Style(color="yellow"),
    "bad": Style(color="bright_yellow", bold=True, underline=True),
    "loud": Style(color="black", bgcolor="bright_yellow", bold=True),
    "band-green": Style(color="bright_white", bgcolor="black", underline=True),
    "band-magenta": Style(color="black", bgcolor="white"),
}
"""For eyes that do not tell red from green: blue is well, yellow is not."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A palette: its styles, Textual's theme beneath, and whether it paints its own ground."""

    told: str
    styles: Mapping[str, Style]
    theme: str = "ansi-dark"
    ground: str = ""


PALETTES: Mapping[str, Palette] = {
    "ansi-dark": Palette("The terminal's own sixteen colours, on a dark ground", DARK),
    "ansi-light": Palette("The terminal's own sixteen colours, on a light ground", LIGHT, "ansi-light"),
    "high-contrast": Palette("Bright on black, nothing dim", HIGH_CONTRAST, ground="-high-contrast"),
    "blue-yellow": Palette("Blue is well and yellow is not: without red and green", BLUE_YELLOW),
    "no-color": Palette("No colours: bold and reverse only", WITHOUT_COLOR),
}
"""By the name that `:theme` takes. NO_COLOR takes the colours out of any of them."""
FIRST = "ansi-dark"
