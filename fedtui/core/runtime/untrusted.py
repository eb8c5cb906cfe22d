"""What comes from elsewhere, before it is kept: JSON that every database takes, and words that only say something."""

from __future__ import annotations

import math
from typing import Any

from fedtui.core.runtime.document_text import LEVELS, UNSTORABLE

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def is_storable(value: Any, *, levels: int = LEVELS) -> Any:
    """`value`, unless no database keeps it: NUL, half a surrogate pair, a number that is none, nested without end.

    Raises `ValueError`.
    """
    if isinstance(value, str) and UNSTORABLE.search(value):
        raise ValueError("a text must not hold NUL or half a surrogate pair")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, dict | list):
        if not levels:
            raise ValueError(f"it must not be nested deeper than {LEVELS} levels")
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            is_storable(inner, levels=levels - 1)
    return value


def sanitize_text(text: str, most: int) -> str:
    """A remote's words as they may stand in a record: what cannot be printed blotted out, the rest cut off."""
    return "".join(one if one.isprintable() else REPLACEMENT for one in text[:most])
