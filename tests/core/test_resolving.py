"""Name servers that are slow, or never answer: the call ends in its time, the process too, and others go on."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.runtime.deadline import within
from tests.homes import until

LOCAL = "127.0.0.1"
HANGING = """
import socket, sys, time
from datetime import timedelta
real, held = socket.getaddrinfo, ("never.example", b"never.example")
socket.getaddrinfo = lambda host, *more: time.sleep(3600) if host in held else real(host, *more)
from fedtui.core.errors import Problem
from fedtui.core.protocol import client
connection = client.Connection(("https://never.example",), None, None)
try:
    client.call(connection, "/x", None, timeout=timedelta(seconds=0.3))
except Problem as problem:
    print(problem.code)
"""


class Names:
    """A stand-in for the machine's resolver: `held` names hang until `let_go`; every one is counted."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, *more: Any) -> Any:
        self.asked.append(host)
        if host.startswith("held"):
            self.let_go.wait(60)
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.let_go.set()


async def ask(host: str) -> Any:
    return await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)


def test_a_process_ends_though_a_look_up_hangs() -> None:
    """A command whose call meets a name server that never answers says so in its time, and then ends."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HANGING], env=os.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "remote_timeout\n", "")
    assert time.monotonic() - began < 50


def test_one_host_hangs_one_thread(names: Names) -> None:
    """However often a host is asked for while its look-up hangs, one thread is at it; other hosts are not held up."""
    before = threading.active_count()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            within(timedelta(milliseconds=20), ask("held.example"))
        assert within(timedelta(seconds=20), ask("quick.example"))[0][4] == (LOCAL, 443)
    assert names.asked.count("held.example") == 1
    assert names.asked.count("quick.example") == 20
    until(lambda: threading.active_count() <= before + 1, "the last quick one's thread has ended")


def test_a_slow_answer_reaches_all_who_still_wait(names: Names) -> None:
    """Those that gave up are forgotten, those that wait get the answer, and afterwards the host is asked for anew."""
    with pytest.raises(TimeoutError):
        within(timedelta(milliseconds=20), ask("held-back.example"))
    threading.Timer(0.2, names.let_go.set).start()
    assert within(timedelta(seconds=20), ask("held-back.example"))[0][4] == (LOCAL, 443)
    assert within(timedelta(seconds=20), ask("held-back.example"))
    assert names.asked == ["held-back.example", "held-back.example"]


def test_a_name_that_does_not_exist_is_said_to(names: Names) -> None:
    """The resolver's refusal arrives as it is, each time."""
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            within(timedelta(seconds=20), ask("unknown.example"))
