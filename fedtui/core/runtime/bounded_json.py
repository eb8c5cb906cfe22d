"""JSON that came from elsewhere: bounded before it is parsed, and parsed in no open transaction.

The bounds are found by a few passes in C over the bytes, which cost a small part of what the parser does: a body that
is nested, or in many pieces, is refused before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fedtui.core.runtime.database import require_no_transaction
from fedtui.core.runtime.document_text import TEXT, levels

Parsed = TypeVar("Parsed")
_BLANKS = b" \t\r\n"


class TooComplex(ValueError):
    """JSON beyond its bounds. Its words may be repeated to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much JSON there may be. `values` counts scalars, lists and objects, without the names of members; `text` and
    `number` are lengths in bytes as they are written; None: no bound but the body's."""

    levels: int
    values: int | None = None
    text: int | None = None
    number: int | None = None


def parse(content: bytes, bounds: Bounds, parser: Callable[[bytes], Parsed]) -> Parsed:
    """What `parser` makes of `content`.

    Raises `TooComplex` before `parser` is called; `RuntimeError`, a bug, where this thread has a transaction open: a
    peer's body would be parsed while others wait for the lock.
    """
    require_no_transaction("JSON of a remote is parsed")
    check(content, bounds)
    return parser(content)


def check(content: bytes, bounds: Bounds) -> None:
    """Raise `TooComplex` for what is beyond the bounds. Whether it is JSON at all is the parser's to say."""
    bare = TEXT.sub(b'"', content).translate(None, _BLANKS)
    # Texts are values or names of members, of which there is one a value at most.
    if bounds.values is not None and max(_values(bare), bare.count(b'"') // 2) > bounds.values:
        raise TooComplex(f"it must not hold more than {bounds.values} values")
    if bounds.text is not None and any(len(text) > bounds.text + 2 for text in TEXT.findall(content)):
        raise TooComplex(f"a text must not be longer than {bounds.text} bytes")
    if bounds.number is not None and _has_number(bare, bounds.number):
        raise TooComplex(f"a number must not be longer than {bounds.number} characters")
    if levels(bare) > bounds.levels:
        raise TooComplex(f"it must not be nested deeper than {bounds.levels} levels")


def _values(bare: bytes) -> int:
    """One for the root; in each list or object with anything in it, one more than it has commas."""
    opened = bare.count(b"[") + bare.count(b"{")
    return 1 + bare.count(b",") + opened - bare.count(b"[]") - bare.count(b"{}")


def _has_number(bare: bytes, most: int) -> bool:
    # The look-behind makes all positions but the first of a run fail at once.
    return re.search(rb"(?<![-+.0-9eE])[-+.0-9eE]{%d}" % (most + 1), bare) is not None
