"""The processes of a node's daemons on this machine: whether they are there and answer, and whether a port is taken."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fedtui.core.runtime.daemons import Daemon, exists

State = Literal["elsewhere", "ended", "stopped", "silent", "answers"]
"""On another machine, so that nothing is known of it; else what has become of the process."""
PROC = Path("/proc")
ANSWER_SECONDS = 2.0
CONNECT_SECONDS = 1.0
STAT_STATE = 0
"""The place of the state in `/proc/PID/stat`, after the name."""
ANY = ("", "0.0.0.0", "::", "[::]", "*")  # noqa: S104 - compared, not bound


def state_of(daemon: Daemon) -> State:
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
    return "answers" if _answers(daemon.operations_url) else "silent"


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the name; empty where the system has none."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []


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
