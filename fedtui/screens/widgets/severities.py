"""Severities by glyph, word and style: of events and of findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fedtui.screens.widgets.columns import Cell


class Severity(NamedTuple):
    """How a severity is drawn."""

    glyph: str
    style: str


SEVERITIES: Mapping[str, Severity] = {
    "critical": Severity("■", "loud"),
    "high": Severity("▲", "bad"),
    "medium": Severity("○", "warn"),
    "low": Severity("·", ""),
}
GRAVE = ("critical", "high")
"""From which on something is wrong now."""


def severity(name: str) -> Cell:
    """A severity by glyph and word."""
    glyph, style = SEVERITIES.get(name, Severity("?", "bad"))
    return Cell(f"{glyph} {name}", style)
