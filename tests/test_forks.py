"""What tests start their processes with."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

from tests.forks import Forked
from tests.homes import until


def kept(pid: int) -> bool:
    """Whether a process has ended, and the one that forked it still keeps its id from being given to another."""
    state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return state == "Z" and b"tests.forks" in Path(f"/proc/{parent}/cmdline").read_bytes()


def test_a_process_keeps_its_id_until_its_code_is_read() -> None:
    """One that has ended by itself can be signalled in the moment before its end is noticed; nothing is hit."""
    process = Forked(["--version"], env=dict(os.environ))
    until(lambda: select.select([process._told], [], [], 0)[0], "its code can be read")
    for number in (signal.SIGTERM, signal.SIGKILL):
        assert kept(process.pid)
        process.send_signal(number)
    assert process.wait(30) == 0
    process.kill()  # its id is free by now: not sent
    assert process.poll() == 0


def test_how_a_process_ended_is_told_as_subprocess_does() -> None:
    """An exit code as it is, a signal as its negative number."""
    assert Forked(["frobnicate"], env=dict(os.environ), stderr=subprocess.DEVNULL).wait(30) == 2
    process = Forked(["events", "--follow"], env={**os.environ, "FEDTUI_HOME": "/nonexistent"})
    process.kill()
    assert process.wait(30) in (-signal.SIGKILL, 3)
