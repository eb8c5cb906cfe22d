"""Durations as people write them: 90s, 5m, 1h, 30d."""

from __future__ import annotations

import re
from datetime import timedelta

from fedtui.core.errors import WrongUsage

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(r"([0-9]{1,12})([smhd])")
_LONGEST_DAYS = 36_525


def parse(text: str, *, field: str = "duration") -> timedelta:
    """Read `<int>s|m|h|d`. Raises `WrongUsage` naming `field`."""
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        raise WrongUsage(
            f"{field}: {text[:40]!r} is not a duration.",
            cause="A duration is a whole number and one of s, m, h, d.",
            fix="Write it like 90s, 15m, 1h or 30d.",
            code="duration_invalid",
        )
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST_DAYS * _UNITS["d"]:
        raise WrongUsage(
            f"{field}: {text[:40]!r} is too long.",
            cause=f"The longest duration is {_LONGEST_DAYS}d, a hundred years.",
            fix="Write a shorter one, like 90s, 15m, 1h or 30d.",
            code="duration_invalid",
        )
    return timedelta(seconds=seconds)


def show(duration: timedelta) -> str:
    """The shortest exact spelling in whole units: 3600 s is `1h`."""
    seconds = round(duration.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
