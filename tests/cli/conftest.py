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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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

    def serve(self, *words: str, stdin: int | None = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a daemon and wait until it says that it listens."""
        log = self.path.parent / f"{self.path.name}-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("w") as errors:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "fedtui", "serve", *words],
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
def make_home(tmp_path: Path) -> Iterator[MakeHome]:
    """Sets up homes through `fedtui init`: `make_home("a", "--single-operator", manager_interval="1s")`."""
    made: list[Home] = []

    def make(name: str = "a", *options: str, **config: str) -> Home:
        port = free_port()
        home = Home(tmp_path / name, f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
        home.path.mkdir(mode=0o700)
        lines = [f'listen = "{home.listen}"', *(f'{key} = "{value}"' for key, value in config.items())]
        (home.path / "config.toml").write_text("\n".join(lines) + "\n")
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
