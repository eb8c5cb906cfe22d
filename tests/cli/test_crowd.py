"""Two thousand idle connections at once: a real daemon's memory, and its peers' calls meanwhile."""

from __future__ import annotations

import re
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.homes import MakeHome, until

MANY, PER_ADDRESS, SECURED = 2000, 256, 250
MEMORY_KIB = 120
"""Of the daemon's, for each connection that it holds; measured: 80, and 290 with the buffers asyncio would take."""
SURPLUS = re.compile(r"too many connections: (\d+) were closed, the first from 127\.0\.[12]\.\d+")
LATE_SECONDS = 2.0
"""A call that takes longer would have been delayed by the crowd; on a busy machine one takes tenths."""


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this account may open {hard} files; {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peak(pid: int) -> int:
    """The most memory it had, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def trusting_nobody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def called(port: int) -> float:
    """How long one call over a connection of its own takes."""
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as raw,
        trusting_nobody().wrap_socket(raw) as secured,
    ):
        secured.sendall(b"GET /crl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert secured.recv(12) == b"HTTP/1.1 200"
    return time.monotonic() - began


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_two_thousand_idle_connections(make_home: MakeHome) -> None:
    """Those of one address are kept to its share, those of many cost little each, and others are served; the log says
    how many silent ones were closed."""
    home = make_home()
    daemon = home.serve()
    port = int(home.listen.rpartition(":")[2])
    called(port)
    before, context = peak(daemon.pid), trusting_nobody()
    with many_files(MANY + 500), ExitStack() as held, ThreadPoolExecutor(8) as pool:

        def idle(number: int) -> socket.socket:
            # From 127.0.1.1 all of the first half, from ten addresses the other.
            address = "127.0.1.1" if number < MANY // 2 else f"127.0.2.{number % 10 + 1}"
            raw = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))
            return context.wrap_socket(raw) if number >= MANY - SECURED else raw

        for one in pool.map(idle, range(MANY)):
            held.enter_context(one)
        taken = [called(port) for _ in range(5)]
        assert max(taken) < LATE_SECONDS, taken
        grown = peak(daemon.pid) - before
        assert grown < (PER_ADDRESS + MANY // 2) * MEMORY_KIB, f"{grown} KiB"
    until(
        lambda: sum(map(int, SURPLUS.findall(home.logs[-1].read_text()))) >= MANY // 2 - PER_ADDRESS,
        "the daemon has said how many it turned away",
    )
