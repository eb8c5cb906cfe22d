"""Two federated nodes, the first of them on a strange machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import job_runs
from tests.chaos.strange import FILE
from tests.forks import Forked
from tests.homes import QUICK, Home, MakeHome, Ran, federate, until

STRANGE = "tests.chaos.strange"


class Strange(Home):
    """A home whose daemon runs on a strange machine."""

    @property
    def told(self) -> Path:
        """What says how strange."""
        return self.path.parent / f"{self.path.name}.strange"

    def environment(self, operator: str = "ada", **more: str) -> dict[str, str]:
        return super().environment(operator, **{FILE: str(self.told), **more})

    def make_strange(self, **how: Any) -> None:
        """Say how strange it is when a program next reads it."""
        self.told.write_text(json.dumps(how))

    def start(self, *words: str) -> Forked:
        """Begin a command on this machine, with --json."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return Forked([*words, "--json"], env=self.environment(), module=STRANGE, **streams)


def ended(process: Forked, seconds: float) -> Ran:
    """How a command that was begun ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as out, process.stderr as err:
        return Ran(process.wait(seconds), out.read(), err.read())


def federated(make_home: MakeHome, *, busy_ms: int | None = None, **config: str) -> tuple[Strange, Home]:
    """Two new homes, active with each other; the first's daemon is strange, though not yet very: it may have less
    patience with locks."""
    a = make_home("alpha", "--single-operator", kind=Strange, **{**QUICK, **config})
    b = make_home("beta", "--single-operator", **{**QUICK, **config})
    a.make_strange(**({} if busy_ms is None else {"busy_ms": busy_ms}))
    a.serve(module=STRANGE)
    b.serve()
    federate(a, b)
    return a, b


def peer(node: Node, url: str) -> Peer:
    """The record of the peer at a URL, as it is now."""
    with node.read() as session:
        found = peers.by_url(session, url)
    assert found is not None, url
    return found


def runs(node: Node, job: str) -> Iterator[datetime]:
    """Wait for one run of a job after the other; when each ended."""
    last: datetime | None = None

    def another() -> datetime | None:
        with node.read() as session:
            row = job_runs.last_finished(session, job, now=node.clock.now())
        ended = row.finished_at if row is not None else None
        return ended if ended != last else None

    while True:
        last = until(another, f"{job} runs")
        assert last is not None
        yield last
