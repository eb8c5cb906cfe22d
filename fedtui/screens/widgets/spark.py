"""A row of numbers as a row of bars, one cell each."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
"""From nothing at all to the most there was."""
UNKNOWN = " "


def spark(values: Sequence[float | None], *, most: float = 0) -> str:
    """A bar for each value, blank where there is none; the highest stands for the highest value, or for `most`.

    What is more than nothing always differs from nothing, however high the others are.
    """
    top = max((value for value in values if value is not None), default=0)
    full = max(top, most)
    return "".join(UNKNOWN if value is None else _bar(value, full) for value in values)


def _bar(value: float, full: float) -> str:
    if value <= 0 or full <= 0:
        return BARS[0]
    return BARS[max(1, round(value / full * (len(BARS) - 1)))]
