"""The terminal around the console: what it can draw, and leaving when it goes away."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Mapping
from queue import Empty
from types import FrameType, TracebackType
from typing import Any, Protocol

PATIENCE_SECONDS = 1.5
"""How long an orderly leaving may take before the process ends without it."""
CLEANUP_SECONDS = 5.0
"""How long the rest of the process may take after a console that was stuck."""
PLAIN = re.compile(r"(linux|vt\d+|ansi|dumb|cons25|sun)(-|$)")
"""Terminals whose fonts have a few hundred glyphs: the Linux console, and what comes in by a serial line."""
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def ascii_only(environ: Mapping[str, str]) -> bool:
    """Whether the locale's encoding is not UTF-8, or the terminal is one whose font has not our glyphs.

    Read from the environment, because Python itself replaces the C locale by UTF-8
    (PEP 538): an `LC_CTYPE=C.UTF-8` beside no or a C `LANG` is its doing.
    """
    if PLAIN.match(environ.get("TERM", "")):
        return True
    language = environ.get("LANG", "")
    character_type = environ.get("LC_CTYPE", "")
    if character_type.upper().replace("-", "") == "C.UTF8" and language in ("", "C", "POSIX"):
        character_type = ""
    effective = environ.get("LC_ALL") or character_type or language
    return "UTF8" not in effective.upper().replace("-", "")


def over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether this session came in by SSH: there the terminal's own selection is worth more than a mouse."""
    return bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))


class Nowhere:
    """In place of Textual's writer thread, once nobody will read what it writes."""

    def write(self, text: str) -> None:
        """Drop it."""

    def stop(self) -> None:
        """Nothing to wait for."""


def silence(driver: Any) -> None:
    """Let a Textual driver write nowhere from now on, and free whoever waits to be written.

    Its writer thread dies with the terminal, or hangs on one that takes nothing more; its
    queue fills up, and the event loop waits for ever to put the next piece into it.
    """
    writer = getattr(driver, "_writer_thread", None)
    if writer is None or isinstance(writer, Nowhere):
        return
    driver._writer_thread = Nowhere()
    with contextlib.suppress(Empty):
        while True:
            writer._queue.get_nowait()


class Leaves(Protocol):
    """What can be asked to leave, from any thread."""

    def leave(self) -> bool:
        """Begin to leave; False if it is not running yet."""

    def silence(self) -> None:
        """Write nothing more to the terminal."""


class Leaving:
    """Ends the console on SIGTERM, SIGHUP and SIGINT, and when its terminal is gone.

    While active, a thread waits for either, and asks the console to leave. A console that
    is stuck, as it is when its terminal takes no more output, is freed of the terminal
    first; if that does not help, or the process does not end then, it is ended from here:
    a console that nobody sees must not stay behind.
    """

    def __init__(self, console: Leaves) -> None:
        self._console = console
        self._input = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
        self._wake, self._waker = os.pipe()
        self._done = threading.Event()
        self._stuck = False
        self._before: dict[signal.Signals, Any] = {}
        self._attributes: list[Any] | None = None
        self._thread = threading.Thread(target=self._watch, name="fedtui-terminal", daemon=True)

    def __enter__(self) -> Leaving:
        with contextlib.suppress(termios.error):
            self._attributes = termios.tcgetattr(self._input)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                self._before[number] = signal.signal(number, self._signalled)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._done.set()
        os.write(self._waker, b".")
        if not self._stuck:
            self._thread.join()
            os.close(self._wake)
            os.close(self._waker)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        os.write(self._waker, b".")

    def _watch(self) -> None:
        if self._input in self._wait():
            self._console.silence()
        deadline = time.monotonic() + PATIENCE_SECONDS
        asked = False
        while not self._done.wait(0.02) and time.monotonic() < deadline:
            asked = asked or self._console.leave()
        if not self._done.is_set():
            self._free()

    def _wait(self) -> set[int]:
        """Wait for a signal, or the end of the terminal; which of the two file descriptors told it."""
        poll = select.poll()
        poll.register(self._input, 0)  # no event asked for: a hang-up is always told
        poll.register(self._wake, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll()}

    def _free(self) -> None:
        """Free the console of its terminal; end the process, at once if it stays stuck, else a little later."""
        self._stuck = True
        self._console.silence()
        left = self._done.wait(PATIENCE_SECONDS)
        if self._attributes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._input, termios.TCSANOW, self._attributes)
        if left:
            time.sleep(CLEANUP_SECONDS)  # for whoever called the console; the end of the process ends this too
        os._exit(1)
