"""The standard streams, fit for use however this program was started.

Whoever starts it may have closed them, turned them round or set them to not wait, or given them an encoding that
lacks our characters; and what is printed may not be taken.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sys
from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")


class Lossy(io.FileIO):
    """A file into which what cannot be written is lost, without a word."""

    def write(self, data: object, /) -> int:
        """As much as was taken; where it cannot be written, as if it all had been."""
        with contextlib.suppress(OSError):
            return super().write(data)  # type: ignore[arg-type]
        return len(memoryview(data))  # type: ignore[arg-type]


def make_usable() -> None:
    """Once, before anything else is opened or printed."""
    for number, name in enumerate(NAMES):
        if getattr(sys, name) is None or _other_way(number):
            _stand_in(name)
        else:
            os.set_blocking(number, True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _narration(sys.stderr)


def _other_way(number: int) -> bool:
    """Whether a stream is open, but not for what we do with it."""
    way = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    return way not in (os.O_RDWR, os.O_RDONLY if number == 0 else os.O_WRONLY)


def _stand_in(name: str) -> None:
    """The null device in the place of a closed stream.

    It takes the stream's number, too: else the next file has it that is opened, the database perhaps,
    and whatever is printed goes there.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(null, True)
    setattr(sys, name, os.fdopen(null, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


def _narration(before: TextIO) -> TextIO:
    """Standard error as it was, but for failing: it is where a failure would be told."""
    raw = Lossy(before.fileno(), "w", closefd=False)
    # What cannot be told must not keep the work from being done, nor its result from being printed.
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=before.encoding, errors="backslashreplace", line_buffering=True
    )


def let_go(stream: TextIO) -> None:
    """Drop what a stream still holds and could not write, or the interpreter tries again at its end, and complains."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
