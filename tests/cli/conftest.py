"""The program as its user runs it: real processes, real homes, nothing patched."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedtui.core.acts import gate
from fedtui.core.acts.gate import Done
from fedtui.core.control import approvals
from fedtui.core.node import open_node
from fedtui.core.runtime import settings
from tests.conftest import Databases

PATIENCE_SECONDS = 30


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
    daemons: list[subprocess.Popen[str]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def environment(self, operator: str = "ada", **more: str) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("FEDTUI_", "SSH_"))}
        return {**clean, "FEDTUI_HOME": str(self.path), "FEDTUI_OPERATOR": operator, **more}

    def run(self, *words: str, operator: str = "ada", stdin: str = "", **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "fedtui", *words],
            env=self.environment(operator, **environment),
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
        stdin: int | None = subprocess.DEVNULL,
        program: Sequence[str] = ("-m", "fedtui"),
        log: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a daemon and wait until it says that it listens."""
        log = log or self.path.parent / f"{self.path.name}-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("w") as errors:
            daemon = subprocess.Popen(
                [sys.executable, *program, "serve", *words],
                env=self.environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.daemons.append(daemon)
        assert daemon.stdout is not None
        ready, _, _ = select.select([daemon.stdout], [], [], PATIENCE_SECONDS)
        line = daemon.stdout.readline() if ready else ""
        assert re.fullmatch(r"listening on https://\S+:\d+\n", line), (line, log.read_text())
        return daemon


def until(look: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
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


MakeHome = Callable[..., Home]


@pytest.fixture
def make_home(tmp_path: Path, databases: Databases) -> Iterator[MakeHome]:
    """Sets up homes through `fedtui init`: `make_home("a", "--single-operator", manager_interval="1s")`."""
    made: list[Home] = []

    def make(name: str = "a", *options: str, **config: str) -> Home:
        port = free_port()
        home = Home(tmp_path / name, f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
        home.path.mkdir(mode=0o700)
        written = {"listen": home.listen, **databases.config(), **config}
        (home.path / "config.toml").write_text(tomli_w.dumps(written))
        home.ok("init", "--name", name, "--url", home.url, *options)
        made.append(home)
        return home

    yield make
    for home in made:
        for daemon in home.daemons:
            daemon.kill()
            daemon.wait()
            if daemon.stdout is not None:
                daemon.stdout.close()
            if daemon.stdin is not None:
                daemon.stdin.close()


QUICK = {
    "heartbeat_interval": "1s",
    "heartbeats_per_minute": "600",  # one a second is more than a node takes otherwise
    "manager_interval": "1s",
    "lease_ttl": "3s",
    "outbound_timeout": "3s",
}


@pytest.fixture
def two(make_home: MakeHome) -> tuple[Home, Home]:
    """Two nodes of one operator each, their daemons running, active with each other."""
    return federate(make_home)


def federate(make_home: MakeHome, **config: str) -> tuple[Home, Home]:
    """The handshake between two new homes, from inside, which is quicker than by commands."""
    a, b = (make_home(name, "--single-operator", **{**QUICK, **config}) for name in ("alpha", "beta"))
    a.serve()
    b.serve()
    acted(a, "federation_peer_propose", {"url": b.url})
    invite = acted(a, "federation_peer_token", {"peer": b.url})["invite"]
    acted(b, "federation_peer_accept", {"invite": invite})
    until(lambda: {one.ok("peers", "list")[0]["status"] for one in (a, b)} == {"active"}, "both sides active")
    return a, b


def acted(home: Home, action: str, params: dict[str, Any]) -> Any:
    """What an act came to, approved by the single operator where it must be, in this process."""
    node = open_node(settings.load({"FEDTUI_HOME": str(home.path), "FEDTUI_OPERATOR": "ada"}))
    try:
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
    finally:
        node.close()
