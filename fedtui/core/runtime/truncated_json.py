"""Bounded views of JSON that somebody else wrote: what a person or a program asks to see must stay readable."""

from __future__ import annotations

import json
from typing import Any

MARK = "..."
DEEPEST = 32
LONGEST_KEY = 200
Json = Any


def bounded(value: Json, most: int) -> tuple[Json, bool]:
    """Return a JSON value cut to about `most` bytes of JSON, and whether anything of it was left out.

    What is left out of an object stands under the key `...`, of a list as its last entry, of a text at its end; each
    says how much it is.
    """
    if len(json.dumps(value)) <= most:
        return value, False
    return _cut(value, most, 0)[0], True


def _cut(value: Json, left: int, depth: int) -> tuple[Json, int]:
    """Return the value within `left` bytes, and how many are left then, which may be none or fewer."""
    left = max(left, 0)
    if isinstance(value, str):
        shown = value if len(value) <= left else f"{value[:left]}{MARK} ({len(value) - left} more characters)"
        return shown, left - len(shown)
    if not isinstance(value, dict | list):
        return value, left - len(json.dumps(value))
    if depth == DEEPEST:
        return MARK, left - len(MARK)
    return _cut_object(value, left, depth) if isinstance(value, dict) else _cut_list(value, left, depth)


def _cut_object(value: dict[str, Json], left: int, depth: int) -> tuple[Json, int]:
    shown: dict[str, Json] = {}
    for number, (key, inner) in enumerate(value.items()):
        if left <= 0:
            shown[MARK] = f"{len(value) - number} more entries"
            break
        name = key if len(key) <= LONGEST_KEY else f"{key[:LONGEST_KEY]}{MARK} ({number})"
        shown[name], left = _cut(inner, left - len(name), depth + 1)
    return shown, left


def _cut_list(value: list[Json], left: int, depth: int) -> tuple[Json, int]:
    shown: list[Json] = []
    for number, inner in enumerate(value):
        if left <= 0:
            shown.append(f"{MARK} ({len(value) - number} more)")
            break
        cut, left = _cut(inner, left, depth + 1)
        shown.append(cut)
    return shown, left
