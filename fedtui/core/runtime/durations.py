"""Durations as people write them, 90s, 5m, 1h, 30d; and moments, by a time or by how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

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


def moment(text: str, now: datetime, *, field: str) -> datetime:
    """Read an ISO 8601 time (UTC where it names no zone), or so long ago, like 2h.

    Raises `WrongUsage` naming `field`.
    """
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        try:
            return now - parse(text, field=field)
        except (WrongUsage, OverflowError) as error:
            raise WrongUsage(
                f"{field}: {text[:60]!r} is neither a time nor a duration.",
                cause="A time is ISO 8601, a duration like 2h.",
                fix=f"Write {field} 2026-01-31T12:00:00Z or {field} 2h.",
            ) from error


def show(duration: timedelta) -> str:
    """The shortest exact spelling in whole units: 3600 s is `1h`."""
    seconds = round(duration.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
