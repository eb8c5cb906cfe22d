"""A daemon as a child process: `fedtui serve` on a home, for as long as its parent lives.

The demo runs its nodes with `ChildDaemon`; a console that finds no daemon alive runs one
with `Standby`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from fedtui.core.runtime import child_process

STOP_SECONDS = 5.0
"""How long a daemon may take to drain before it is killed."""
LOOK_SECONDS = 2.0
"""Between two looks whether a daemon is needed."""
PROVEN_SECONDS = 4.0
"""A child that runs for so long has started."""
NOTICE_SECONDS = 20.0
"""How long the notice that a child was started stays."""
LONGEST_PAUSE_SECONDS = 64.0
"""Between two attempts to start a daemon that does not start."""
LOG_BYTES = 1_000_000
"""A log larger than this is put aside before the next start; the one before it is dropped."""


class ChildDaemon:
    """`fedtui serve` on `home`, started and stopped by this process, and ending when this process does.

    Its environment is what `children.environment` passes on, with this home and `settings`
    (FEDTUI_ variables). What it prints is appended to `log`.
    """

    def __init__(self, home: Path, log: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.log = log
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    @property
    def pid(self) -> int | None:
        """The process, started and not yet stopped; it may have ended by itself."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether it was started and still lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it was started and has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def environment(self) -> dict[str, str]:
        """What the daemon is told."""
        return child_process.environment(os.environ, {**self._settings, "FEDTUI_HOME": str(self.home)})

    def start(self) -> None:
        """Start it. It ends with the pipe to its standard input, so also when this process is killed."""
        self.stop()
        descriptor = self._open_log()
        try:
            self._log_from = os.fstat(descriptor).st_size
            self._process = self._launched(descriptor)
        finally:
            os.close(descriptor)

    def _launched(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            child_process.command("fedtui", "serve", "--until-eof"),
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Ask it to drain, wait, then insist. Does nothing if it was not started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def printed(self) -> str:
        """What it has printed since it was started, without what earlier runs left in the log. Raises `OSError`."""
        with self.log.open("rb") as file:
            file.seek(self._log_from)
            return file.read().decode(errors="replace")

    def complaint(self) -> str:
        """Why it ended, as far as its log of this run tells: the problem and its cause, else the last line."""
        try:
            lines = [line for line in self.printed().splitlines() if line.strip()]
        except OSError as error:
            return f"Its log cannot be read: {error}"
        starts = [place for place, line in enumerate(lines) if line.startswith("fedtui: ")]
        if not starts:
            return lines[-1].strip() if lines else self._silence()
        told = [lines[starts[-1]].removeprefix("fedtui: ")]
        told += [line.strip().removeprefix("why: ") for line in lines[starts[-1] + 1 :] if line.startswith("  why: ")]
        return " ".join(told)

    def _silence(self) -> str:
        full = shutil.disk_usage(self.log.parent).free == 0
        return "There is no room left on its disk (df -h)." if full else "It ended without a word."

    def _open_log(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_name(self.log.name + ".1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Other(NamedTuple):
    """Whether another daemon of the node lives, and if so what is wrong with it, in words for the operator."""

    alive: bool
    trouble: str = ""


class Standby:
    """Runs `child` while no other daemon does, from `begin` to `end`; a thread looks every few seconds.

    `others` returns what is known of other daemons of the node; what it raises counts as "not known",
    and nothing is started then.
    """

    def __init__(self, child: ChildDaemon, others: Callable[[], Other]) -> None:
        self._child = child
        self._others = others
        self._over = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="fedtui-standby", daemon=True)
        self._failures = 0
        self._complaint = ""
        self._other_trouble = ""
        self._started_at = 0.0
        self._end_seen = False
        self._next_start = 0.0
        self._notice_until = 0.0

    def begin(self) -> None:
        """Look now, and go on looking."""
        self._thread.start()

    def end(self) -> None:
        """Stop the child if there is one. The thread is not waited for: its database may hang."""
        self._over.set()
        with self._starting:
            self._child.stop()

    def notice(self) -> str:
        """What the console should say about it now."""
        if self._other_trouble:
            return self._other_trouble
        if self._complaint:
            return f"No daemon is running, and none could be started: {self._complaint} (log: {self._child.log})"
        if time.monotonic() < self._notice_until:
            return f"No daemon was running: this console runs one until you leave (log: {self._child.log})."
        return ""

    def _watch(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # the console shows by itself that the database does not answer
                self.look(time.monotonic())
            self._over.wait(LOOK_SECONDS)

    def look(self, now: float) -> None:
        """Start the child if it is needed. `now` is in seconds of the monotonic clock."""
        if self._child.running:
            if now - self._started_at >= PROVEN_SECONDS:
                self._failures, self._complaint = 0, ""
            return
        other = self._others()
        self._other_trouble = other.trouble
        if other.alive:
            self._failures, self._complaint, self._notice_until = 0, "", 0.0
            return
        if self._child.ended and not self._end_seen:
            # Perhaps another console's child was faster to the port; it shows itself by the next look.
            self._end_seen = True
            self._failures += 1
            return
        if self._failures:
            self._complaint = self._child.complaint()
        if now >= self._next_start:
            self._start(now)

    def _start(self, now: float) -> None:
        with self._starting:
            if self._over.is_set():
                return
            try:
                self._child.start()
            except OSError as error:
                self._failures += 1
                self._complaint = str(error)
        self._started_at, self._end_seen = now, False
        self._next_start = now + min(LOOK_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._notice_until = now + NOTICE_SECONDS
