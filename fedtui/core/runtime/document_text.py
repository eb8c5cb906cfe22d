"""A resource's document as text: checked, in one spelling, with the digest that its tag is made of.

Run as a program, it does so for whoever writes to its standard input: a document of a megabyte takes the parser up to
a tenth of a second, in which no other thread of its process runs. For that it imports nothing but the standard
library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import sys
import time
from itertools import accumulate
from math import isfinite
from typing import Any, BinaryIO, NamedTuple

LEVELS = 200
"""Of lists and objects in one document."""
HEAD = struct.Struct(">I")
"""Before each message of the program: its length."""
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A text in JSON. Possessive, and an unterminated one ends with the content: no input makes it go back."""
_WHOLE_TEXT = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_BLANKS = b" \t\r\n"
_OPENED, _STEPS = ord("["), bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""What an escape must look like for `UNSTORABLE` to be among them."""
_SURELY_FINITE = 300
"""A number of so many characters without an exponent is finite as a double."""


class Normalized(NamedTuple):
    """`text` is JSON as it was sent, without the blanks between its parts; `digest` is of that text."""

    text: str
    digest: str


def normalize(content: bytes) -> Normalized:
    """Return a document as it was sent: numbers, escapes and the order of members keep their spelling.

    Raises `ValueError`, in words for the caller, for what is no JSON, is null, or what readers of JSON or databases
    do not agree on: a number beyond a double, two members of the same name, NUL, half a surrogate pair.
    """
    if levels(TEXT.sub(b"", content)) > LEVELS:
        raise ValueError(_TOO_DEEP)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    try:
        value = _read(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if value is None:
        raise ValueError("a document must not be null; DELETE removes it")
    if _SUSPECT.search(content):
        _require_texts_storable(value)
    if len(content.translate(None, _BLANKS)) != len(content):
        text = _without_blanks(content).decode()
    return _digested(text)


def of(value: Any) -> Normalized:
    """A document that is at hand as a value. Raises as `normalize`."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ValueError(_NOT_FINITE) from None
    _require_texts_storable(value)
    return _digested(text)


_TOO_DEEP = f"it must not be nested deeper than {LEVELS} levels"
_NOT_FINITE = "a number must be finite as a double (IEEE 754)"


def _without_blanks(content: bytes) -> bytes:
    """JSON without the blanks between its parts."""
    parts = _WHOLE_TEXT.split(content)
    parts[::2] = [part.translate(None, _BLANKS) for part in parts[::2]]
    return b"".join(parts)


def _digested(text: str) -> Normalized:
    return Normalized(text, hashlib.sha256(text.encode()).hexdigest()[:16])


def _read(text: str) -> Any:
    """The document's shape, texts and names; its numbers are only looked at."""
    if text.startswith("\ufeff"):
        raise json.JSONDecodeError("", text, 0)
    return json.loads(
        text, parse_constant=_no_number, parse_int=_number, parse_float=_number, object_pairs_hook=_members
    )


def _number(spelled: str) -> int:
    if (len(spelled) > _SURELY_FINITE or "e" in spelled or "E" in spelled) and not isfinite(float(spelled)):
        raise ValueError(_NOT_FINITE)
    return 0


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object must not have two members of the same name")
    return members


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def levels(bare: bytes) -> int:
    """Return how deep lists and objects are nested in JSON without its texts."""
    brackets = bare.translate(None, _NO_BRACKET).translate(_STEPS)
    return max(accumulate(1 if bracket == _OPENED else -1 for bracket in brackets), default=0)


def _require_texts_storable(value: Any) -> None:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and UNSTORABLE.search(part):
            raise ValueError("a text must not hold NUL or half a surrogate pair")
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += (*part, *part.values())


def _serve(given: BinaryIO, answers: BinaryIO) -> None:
    """Answer each document with `[seconds, text, digest]`, or `[seconds, why not]`."""
    while len(head := given.read(HEAD.size)) == HEAD.size:
        began = time.process_time()
        content = given.read(HEAD.unpack(head)[0])
        try:
            outcome: tuple[str, ...] = normalize(content)
        except ValueError as error:
            outcome = (str(error),)
        answer = json.dumps([time.process_time() - began, *outcome]).encode()
        answers.write(HEAD.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    os.nice(5)  # what waits for it is one peer; others are served meanwhile
    _serve(sys.stdin.buffer, sys.stdout.buffer)
