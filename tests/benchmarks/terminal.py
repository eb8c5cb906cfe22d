"""A program on a pseudo-terminal of its own, as its user runs it: for the benchmark, and for tests of the console."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS, COLUMNS = 24, 80


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without a node, an SSH session, or wishes about the terminal."""
    ours = (
        "FEDTUI_",
        "SSH_",
        "NO_COLOR",
        "COLORTERM",
        "TEXTUAL",
        "TMUX",
        "LC_",
        "LANG",
        "COLUMNS",
        "LINES",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "xterm-256color", **more}


class Terminal:
    """A program, Python unless told otherwise, whose controlling terminal this is. `text` is what it wrote so far."""

    def __init__(self, *arguments: str, environ: Mapping[str, str], program: str = sys.executable) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=prepare,
            env=dict(environ),
        )
        os.close(slave)
        self.text = b""

    def press(self, keys: str | bytes) -> None:
        """Type."""
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def read(self, seconds: float) -> bytes:
        """What comes first within so many seconds; nothing if nothing does, or if the program is gone."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last process on the other side has left
            return b""
        self.text += data
        return data

    def await_text(self, wanted: str, *, since: int = 0, seconds: float = 30.0) -> float:
        """Read until `wanted` was written after the first `since` bytes; seconds since the program began."""
        end = time.perf_counter() + seconds
        while wanted.encode() not in self.text[since:]:
            if time.perf_counter() > end or (not self.read(0.1) and self.process.poll() is not None):
                raise AssertionError(f"{wanted!r} did not come; so far: {self.text[-3000:]!r}")
        return time.perf_counter() - self.began

    def drain(self, quiet: float) -> bytes:
        """Read until nothing came for `quiet` seconds."""
        got = b""
        while data := self.read(quiet):
            got += data
        return got

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code; what it still writes is read."""
        end = time.perf_counter() + seconds
        while (code := self.process.poll()) is None:
            if time.perf_counter() > end:
                raise AssertionError(f"it did not end within {seconds} s; so far: {self.text[-3000:]!r}")
            self.read(0.02)
        self.drain(0.05)
        return code

    def close(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
