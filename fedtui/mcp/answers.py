"""What a tool answers: plain JSON without secrets, within bounds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fedtui.core.audit.redaction import redact
from fedtui.core.errors import WrongUsage

LONGEST_TEXT, MOST_ENTRIES, MOST_BYTES = 8000, 500, 400_000


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON without secrets, bounded. Raises `WrongUsage` where it is too much for one answer."""
    made: dict[str, Any] = shown(value)
    size = len(json.dumps(made))
    if size > MOST_BYTES:
        raise WrongUsage(
            "That is too much for one answer.",
            cause=f"It would be {size} bytes, and the most is {MOST_BYTES}.",
            fix="Ask for less: a smaller limit, one peer, a filter.",
            code="answer_too_large",
        )
    return made


def shown(value: Any) -> Any:
    """What is left of a value in an answer: secrets hidden, long texts and lists cut short."""
    return _bounded(redact(json.loads(json.dumps(value, default=_as_text))))


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}... ({len(value) - LONGEST_TEXT} more characters)"
    if isinstance(value, dict):
        kept = dict(itertools.islice(value.items(), MOST_ENTRIES))
        left_out = {"...": f"{len(value) - MOST_ENTRIES} more entries"} if len(value) > MOST_ENTRIES else {}
        return {**{key: _bounded(inner) for key, inner in kept.items()}, **left_out}
    if isinstance(value, list):
        more = [f"... ({len(value) - MOST_ENTRIES} more)"] if len(value) > MOST_ENTRIES else []
        return [*(_bounded(inner) for inner in value[:MOST_ENTRIES]), *more]
    return value


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
