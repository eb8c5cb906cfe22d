"""The console on a real pseudo-terminal: leaving by key and signal, and when the terminal goes away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("run_fake.py")
ROOT = Path(__file__).parents[2]
LEAVING_SECONDS = 20
"""It takes a fraction of one; a machine that is busy with other things may take more."""


class Terminal:
    """A process on a pty that is its controlling terminal, or not, with SIGHUP ignored, or not."""

    def __init__(self, *arguments: str, controlling: bool = True, ignore_hangup: bool = False) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self.before = termios.tcgetattr(slave)

        def prepare() -> None:
            os.setsid()
            if controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=prepare,
            env=environ,
        )
        os.close(slave)
        self.text = b""

    def read_until(self, wanted: bytes, seconds: float = 20.0) -> None:
        """Read what the process writes until `wanted` is among it."""
        end = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < end, f"{wanted!r} did not come; so far: {self.text[-2000:]!r}"
            self.read(0.1)

    def read(self, seconds: float) -> int:
        """Read for so many seconds; the number of bytes that came."""
        end = time.monotonic() + seconds
        start = len(self.text)
        while (left := end - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    break
                self.text += data
        return len(self.text) - start

    def wait(self, seconds: float) -> int:
        """The exit code; fails the test if the process does not end in time."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, "the process is still there"
            if self.master >= 0:
                self.read(0.02)
            else:
                time.sleep(0.02)
        return int(self.process.returncode)

    def hang_up(self) -> None:
        """Close the terminal, as a dropped SSH session does."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        """End what the test left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.master >= 0:
            os.close(self.master)


@contextlib.contextmanager
def console(*arguments: str, controlling: bool = True, ignore_hangup: bool = False) -> Iterator[Terminal]:
    """A console that has painted its first rows."""
    terminal = Terminal(*arguments, controlling=controlling, ignore_hangup=ignore_hangup)
    try:
        terminal.read_until(b"opening" if "hang" in arguments else b"1 of 500")
        yield terminal
    finally:
        terminal.close()


def processor_seconds(pid: int) -> float:
    """Processor time a process has used so far, in seconds; 0 where there is no /proc to tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_whole(terminal: Terminal) -> bool:
    """Whether the terminal was given back as it was: cooked, on its first screen, with its cursor."""
    left = terminal.text.rfind(b"\x1b[?1049l") > terminal.text.rfind(b"\x1b[?1049h")
    cursor = terminal.text.rfind(b"\x1b[?25h") > terminal.text.rfind(b"\x1b[?25l")
    return left and cursor and termios.tcgetattr(terminal.master) == terminal.before


@pytest.mark.parametrize(
    ("how", "code"), [(b"q", 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 0)], ids=str
)
def test_leaving_gives_the_terminal_back(how: bytes | signal.Signals, code: int) -> None:
    """By key or by signal, the console leaves soon, with exit code 0 and the terminal as it was."""
    with console() as terminal:
        if isinstance(how, bytes):
            os.write(terminal.master, how)
        else:
            terminal.process.send_signal(how)
        assert terminal.wait(LEAVING_SECONDS) == code
        terminal.read(0.1)
        assert is_whole(terminal)
        assert b"Traceback" not in terminal.text


def test_the_terminal_itself_says_how_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what a shell once exported: the band reaches to the edge, and the last line is the last."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    with console() as terminal:
        terminal.read(0.3)
        assert b"\x1b[24;1H" in terminal.text


def test_bytes_that_are_no_text_are_typed_like_any_others() -> None:
    """A terminal of another encoding, or a pasted binary: the console goes on, and the shell gets nothing of it."""
    with console() as terminal:
        os.write(terminal.master, b"/\xe9t\xe9\xff\r")
        terminal.read_until(b"Esc takes it away.")
        os.write(terminal.master, b"\x1b")
        terminal.read(0.3)
        os.write(terminal.master, b"q")
        assert terminal.wait(LEAVING_SECONDS) == 0
        assert b"Traceback" not in terminal.text


@pytest.mark.parametrize("busy", [(), ("busy",), ("half",)], ids=["idle", "busy", "half"])
@pytest.mark.parametrize(("controlling", "ignore_hangup"), [(True, False), (True, True), (False, False), (False, True)])
def test_a_terminal_that_goes_away_ends_the_console(
    busy: tuple[str, ...], controlling: bool, ignore_hangup: bool
) -> None:
    """With SIGHUP or without, the end of the input ends the process, without spinning."""
    with console(*busy, controlling=controlling, ignore_hangup=ignore_hangup) as terminal:
        before = used = processor_seconds(terminal.process.pid)
        began = time.monotonic()
        terminal.hang_up()
        while terminal.process.poll() is None:
            assert time.monotonic() - began < LEAVING_SECONDS, "the process is still there"
            used = processor_seconds(terminal.process.pid) or used
            time.sleep(0.01)
        assert used - before < 1
        assert terminal.process.returncode == 0


@pytest.mark.parametrize("keys", [b"p", b":", b"X"], ids=["form", "prompt", "revoke"])
def test_a_terminal_that_goes_away_under_a_dialog_ends_the_console(keys: bytes) -> None:
    """Whatever is open, a terminal that is gone ends the process."""
    with console() as terminal:
        os.write(terminal.master, keys)
        terminal.read(0.5)
        terminal.hang_up()
        assert terminal.wait(LEAVING_SECONDS) == 0


def test_a_megabyte_pasted_through_the_terminal() -> None:
    """1 MB of bracketed paste is refused and said; the next keys work as ever."""
    with console() as terminal:
        os.write(terminal.master, b"/")
        terminal.read(0.5)
        content = b"\x1b[200~" + b"abcd defgh " * 95_000 + b"\x1b[201~"
        sender = threading.Thread(target=write_all, args=(terminal.master, content), daemon=True)
        sender.start()
        terminal.read_until(b"characters are too many", 15)
        sender.join(5)
        os.write(terminal.master, b"\x1b")
        terminal.read(0.5)
        os.write(terminal.master, b"q")
        assert terminal.wait(3) == 0


def test_a_flood_of_keys_is_dropped_and_said() -> None:
    """A paste that comes as keys is no typing: it is dropped until it is quiet again, and does nothing."""
    with console() as terminal:
        sender = threading.Thread(target=write_all, args=(terminal.master, b"jkX " * 5_000), daemon=True)
        sender.start()
        terminal.read_until(b"Too many keys at once", 15)
        sender.join(10)
        terminal.read(0.8)
        assert terminal.process.poll() is None
        os.write(terminal.master, b"\x03")
        assert terminal.wait(3) == 0


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, as slowly as it is taken."""
    while content:
        content = content[os.write(descriptor, content[:4096]) :]


def test_a_node_that_never_opens_does_not_hold_the_leaving() -> None:
    """While opening hangs, the screen is there, and q leaves at once."""
    with console("hang") as terminal:
        os.write(terminal.master, b"q")
        assert terminal.wait(LEAVING_SECONDS) == 0
        assert is_whole(terminal)


def test_a_frozen_terminal_does_not_keep_the_process_on_sigterm() -> None:
    """When nobody reads the terminal and the console is stuck writing, SIGTERM still ends it."""
    with console("busy") as terminal:
        for _ in range(400):  # full repaints that nobody reads
            os.write(terminal.master, b"Gg")
            time.sleep(0.005)
        time.sleep(0.5)
        terminal.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + LEAVING_SECONDS
        while terminal.process.poll() is None:
            assert time.monotonic() < end, "the process is still there"
            time.sleep(0.02)


def test_a_crash_prints_no_values_and_leaves_with_its_own_code() -> None:
    """An error of our own ends with code 70, the terminal as it was, and no local variable on it."""
    terminal = Terminal("crash")
    try:
        assert terminal.wait(20) == 70
        terminal.read(0.1)
        assert b"RuntimeError: broken after 6" in terminal.text
        assert b"s3cret" not in terminal.text
        assert is_whole(terminal)
    finally:
        terminal.close()


def test_without_a_terminal_it_says_so() -> None:
    """With its input or output redirected, the console refuses with exit code 2."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr


def test_no_color_sends_no_colour(terminal: Callable[..., None]) -> None:
    """With NO_COLOR, no colour is asked of the terminal, and the band and the cursor are reversed."""
    terminal(NO_COLOR="1")
    with console() as screen:
        codes = {
            code
            for sequence in screen.text.split(b"\x1b[")[1:]
            if (end := sequence.find(b"m")) > 0 and sequence[:end].replace(b";", b"").isdigit()
            for code in sequence[:end].split(b";")
        }
        assert codes <= {b"0", b"1", b"2", b"7", b"39", b"49"}
        assert b"7" in codes


def test_the_idle_console_costs_nothing() -> None:
    """On a real terminal an idle console writes no byte and uses next to no processor."""
    with console() as terminal:
        end = time.monotonic() + LEAVING_SECONDS
        before = processor_seconds(terminal.process.pid)
        while terminal.read(2.0):  # it has to come to rest first
            assert time.monotonic() < end, "it goes on writing"
            before = processor_seconds(terminal.process.pid)
        assert processor_seconds(terminal.process.pid) - before < 0.2
