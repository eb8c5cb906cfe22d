"""Homes of nodes, with the program run on them as its user runs it: real processes, nothing patched."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import tomli_w

from fedtui.core.bootstrap import open_node
from fedtui.core.node import Node
from fedtui.core.operations import approvals, gate
from fedtui.core.operations.gate import Done
from fedtui.core.runtime import settings
from fedtui.core.runtime.clock import SystemClock
from tests import forks
from tests.forks import Forked

PATIENCE_SECONDS = 30
Daemon = Forked | subprocess.Popen[str]
QUICK = {
    "heartbeat_interval": "1s",
    "heartbeats_per_minute": "600",  # one a second is more than a node takes otherwise
    "manager_interval": "1s",
    "lease_ttl": "3s",
    "outbound_timeout": "3s",
}


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Home:
    """One node's home, with the commands and daemons run on it."""

    path: Path
    url: str
    listen: str
    daemons: list[Daemon] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def environment(self, operator: str = "ada", **more: str) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("FEDTUI_", "SSH_"))}
        return {**clean, "FEDTUI_HOME": str(self.path), "FEDTUI_OPERATOR": operator, **more}

    def run(self, *words: str, operator: str = "ada", stdin: str = "", cold: bool = False, **environment: str) -> Ran:
        """Run a command to its end, forked unless told otherwise: then it has a command line of its own, too."""
        environ = self.environment(operator, **environment)
        if forks.possible(environ) and not cold:
            done = forks.run(words, env=environ, input=stdin, timeout=PATIENCE_SECONDS)
        else:
            done = subprocess.run(
                [sys.executable, "-m", "fedtui", *words],
                env=environ,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, code: int = 0, **options: Any) -> Any:
        """Run with --json; the data. The exit code must be `code`."""
        ran = self.run(*words, "--json", **options)
        assert ran.code == code, (words, ran)
        return ran.json

    def serve(
        self,
        *words: str,
        stdin: int = subprocess.DEVNULL,
        module: str = "fedtui",
        log: Path | None = None,
        cold: bool = False,
    ) -> Daemon:
        """Start a daemon, forked unless told otherwise, and wait until it says that it listens."""
        log = log or self.path.parent / f"{self.path.name}-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("w") as errors:
            streams: Any = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": errors}
            daemon: Daemon = (
                subprocess.Popen(
                    [sys.executable, "-m", module, "serve", *words], env=self.environment(), text=True, **streams
                )
                if cold
                else Forked(["serve", *words], env=self.environment(), module=module, **streams)
            )
        self.daemons.append(daemon)
        assert daemon.stdout is not None
        ready, _, _ = select.select([daemon.stdout], [], [], PATIENCE_SECONDS)
        line = daemon.stdout.readline() if ready else ""
        assert re.fullmatch(r"listening on https://\S+:\d+\n", line), (line, log.read_text())
        return daemon

    @property
    def daemon(self) -> Daemon:
        """The newest of its daemons."""
        return self.daemons[-1]

    @contextmanager
    def opened(self, later: timedelta = timedelta()) -> Iterator[Node]:
        """The node in this process, at a later time if wanted."""
        known = settings.load({"FEDTUI_HOME": str(self.path), "FEDTUI_OPERATOR": "ada"})
        node = open_node(known, clock=SystemClock(int(later.total_seconds())))
        try:
            yield node
        finally:
            node.close()

    def end(self) -> None:
        """Kill its daemons, those that are still there."""
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
            for stream in (daemon.stdout, daemon.stdin):
                if stream is not None:
                    stream.close()
        self.daemons.clear()


T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` gives as soon as it is true; fails naming `what` when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


H = TypeVar("H", bound=Home)


def set_up(path: Path, *options: str, kind: type[H], **config: Any) -> H:
    """A new home at `path`, through `fedtui init`, on a port that is free."""
    port = free_port()
    home = kind(path, f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
    path.mkdir(mode=0o700, exist_ok=True)
    (path / settings.CONFIG_FILE).write_text(tomli_w.dumps({"listen": home.listen, **config}))
    home.ok("init", "--name", path.name, "--url", home.url, *options)
    return home


class MakeHome(Protocol):
    """Sets up homes: `make_home("a", "--single-operator", manager_interval="1s")`; `kind` for one of another kind."""

    def __call__(self, name: str = "a", *options: str, kind: type[H] = ..., **config: Any) -> H: ...


def federate(a: Home, b: Home) -> None:
    """The handshake between two homes whose daemons run, from inside, which is quicker than by commands."""
    acted(a, "federation_peer_propose", {"url": b.url})
    invite = acted(a, "federation_peer_token", {"peer": b.url})["invite"]
    acted(b, "federation_peer_accept", {"invite": invite})
    until(lambda: {one.ok("peers", "list")[0]["status"] for one in (a, b)} == {"active"}, "both sides active")


def acted(home: Home, action: str, params: Mapping[str, Any]) -> Any:
    """What an act came to, approved by the single operator where it must be, in this process."""
    with home.opened() as node:
        ada = node.actor("test")
        outcome = node.request(ada, f"system.{action}", params, reason="test")
        if isinstance(outcome, Done):
            return outcome.result
        approval = outcome.approval
        node.approve(ada, approval.id, approval.digest, reason="test")
        gate.execute(node, node.acts, approval.id)  # or the daemon's manager was first

        def ended() -> Any:
            with node.read() as session:
                row = approvals.find(session, approval.id)
            assert row.status in ("approved", "executing", "executed"), row.error
            return row if row.status == "executed" else None

        return until(ended, "the act was carried out").result
