"""The processes of a node's daemons on this machine: whether they are there and answer, and whether a port is taken."""

from __future__ import annotations

import http.client
import os
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fedtui.core.runtime.daemons import Daemon, exists

State = Literal["elsewhere", "ended", "stopped", "silent", "answers"]
"""On another machine, so that nothing is known of it; else what has become of the process."""
PROC = Path("/proc")
ANSWER_SECONDS = 2.0
CONNECT_SECONDS = 1.0
STARTED_LATER = 5.0
"""Seconds by which a process must be younger than what was last seen of a daemon to be another one's."""
STAT_STATE, STAT_START = 0, 19
"""Places in `/proc/PID/stat` after the name: the state, and the start in ticks since the machine's."""
TICKS = os.sysconf("SC_CLK_TCK")
ANY = ("", "0.0.0.0", "::", "[::]", "*")  # noqa: S104 - compared, not bound


def state_of(daemon: Daemon, now: datetime) -> State:
    """What has become of a daemon's process."""
    if daemon.host != socket.gethostname():
        return "elsewhere"
    if not exists(daemon.pid):
        return "ended"
    stat = _stat(daemon.pid)
    if stat and stat[STAT_STATE] in ("Z", "X"):
        return "ended"
    if stat and stat[STAT_STATE] in ("T", "t"):
        return "stopped"
    if _answers(daemon.operations_url):
        return "answers"
    return "ended" if _is_another(daemon, now) else "silent"


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the name; empty where the system has none."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []


def _is_another(daemon: Daemon, now: datetime) -> bool:
    """Whether the process began after the daemon was last seen, so that it only has its number."""
    stat = _stat(daemon.pid)
    if len(stat) <= STAT_START:
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[STAT_START]) / TICKS
    return age + STARTED_LATER < (now - daemon.last_seen_at).total_seconds()


def _answers(url: str | None) -> bool:
    """Whether a daemon's operations listener answers at all."""
    if url is None:
        return False
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read(1)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def port_is_taken(listen: str) -> bool:
    """Whether something listens where a daemon is to listen, HOST:PORT."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or port == "0":
        return False
    try:
        with socket.create_connection(("127.0.0.1" if host in ANY else host.strip("[]"), int(port)), CONNECT_SECONDS):
            return True
    except OSError:
        return False
