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
from typing import Any, BinaryIO, NamedTuple

LEVELS = 200
"""Of lists and objects in one document."""
HEAD = struct.Struct(">I")
"""Before each message of the program: its length."""
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A text in JSON. Possessive, and an unterminated one ends with the content: no input makes it go back."""
_OPENED, _STEPS = ord("["), bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""What an escape must look like for `UNSTORABLE` to be among them."""


class Normalized(NamedTuple):
    """`text` is compact JSON; `digest` is of the document with its members in order."""

    text: str
    digest: str


def normalize(content: bytes) -> Normalized:
    """A document as it was sent. Raises `ValueError` for what is no JSON, is null, or what no database keeps."""
    if levels(TEXT.sub(b"", content)) > LEVELS:
        raise ValueError(f"it must not be nested deeper than {LEVELS} levels")
    try:
        value = json.loads(content.decode(), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"it must not be nested deeper than {LEVELS} levels") from None
    if value is None:
        raise ValueError("a document must not be null; DELETE removes it")
    if _SUSPECT.search(content):
        _require_texts_storable(value)
    return of(value)


def of(value: Any) -> Normalized:
    """Return the text of a document that is at hand as a value. Raises `ValueError` for an infinite number in it."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # 1e999, or more than three hundred digits before a point
        raise ValueError("a number must be finite") from None
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return Normalized(text, digest[:16])


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
