"""The database of a running node held by another program, for longer than anybody waits.

    python -m tests.chaos.locked --seconds 30

Meanwhile its daemon, a console, commands and a federated peer go on working with it. The test beside this holds it
for a shorter time and has everybody wait as much less: what is seen is the same, in seconds instead of a minute.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.operations.approvals import Approval
from tests.benchmarks.terminal import Terminal, environment
from tests.chaos import invariants, stand
from tests.chaos.strange import FILE
from tests.homes import H, Home, set_up, until

HELD = "Another program holds the node's database."
URL = "https://{}.example"
LAST_SECONDS = 2.0
"""Before the release, for a command to come and wait: less than it would wait."""
TELL = Callable[[str], object]


def play(a: stand.Strange, b: Home, seconds: float, tell: TELL = lambda _: None) -> None:
    """Hold a's database so long. Raises `AssertionError` where it is not said, or something is lost by it."""
    console = Terminal(
        "-m",
        stand.STRANGE,
        "console",
        "-c",
        "peers",
        environ=environment(FEDTUI_HOME=str(a.path), FEDTUI_OPERATOR="ada", **{FILE: str(a.told)}),
    )
    try:
        console.await_text(b.listen)
        fill_in(console, URL.format("by-console"))
        with b.opened() as there:
            _hold(a, b, there, console, seconds, tell)
            free_since = datetime.now(UTC)
            with a.opened() as here:
                until(lambda: _at_ease(here, b, free_since) and _at_ease(there, a, free_since), "both hear each other")
                _again(a, console)
                _nothing_lost(a, here, there)
    finally:
        console.close()
    assert a.daemon.poll() is None
    assert "Traceback" not in (log := a.logs[-1].read_text()), log
    tell("every act is there once, the seals fit, the doctor is content on both sides")


def fill_in(console: Terminal, url: str) -> None:
    """A proposal, up to its last key."""
    since = len(console.text)
    console.press("p")
    console.await_text("Propose to peer with a platform", since=since)
    since = len(console.text)
    console.press(url)
    console.await_text(url[-6:], since=since)
    console.press("\r\r\r\r")  # role, mode, no reason: the button


def _hold(a: stand.Strange, b: Home, there: Node, console: Terminal, seconds: float, tell: TELL) -> None:
    with closing(sqlite3.connect(a.path / "fedtui.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        console.press("\r")
        command = a.start("peers", "propose", URL.format("by-command"))
        assert a.ok("peers", "list")[0]["remote_instance_url"] == b.url
        tell(f"a command that reads is answered after {time.monotonic() - began:.1f} s")
        refused = stand.ended(command, seconds + 30)
        assert (refused.code, refused.json["error"]["problem"]) == (3, HELD), refused
        tell(f"a command that writes is told so after {time.monotonic() - began:.1f} s")
        console.await_text("Another program holds")
        tell(f"the console says so after {time.monotonic() - began:.1f} s")
        until(lambda: HELD in a.logs[-1].read_text(), "the daemon's log says so", seconds + 30)
        until(lambda: stand.peer(there, a.url).last_outbound_error, "the peer's heartbeats are turned away")
        tell(f"the peer is told: {stand.peer(there, a.url).last_outbound_error}")
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))  # so long it is held, as was asked for
        a.make_strange()  # from here on, with the patience there is
        waiting = a.start("peers", "propose", URL.format("in-time"))
        time.sleep(LAST_SECONDS)
        assert waiting.poll() is None
        other.execute("ROLLBACK")
    tell(f"released after {time.monotonic() - began:.1f} s")
    came = stand.ended(waiting, 30)
    assert came.code == 4, came


def _again(a: stand.Strange, console: Terminal) -> None:
    """What was refused is done again, as an operator would."""
    console.press("\r")  # read
    fill_in(console, URL.format("by-console"))
    since = len(console.text)
    console.press("\r")
    console.await_text("Waits for approval", since=since)
    a.ok("peers", "propose", URL.format("by-command"), code=4)


def _at_ease(node: Node, other: Home, since: datetime) -> bool:
    peer = stand.peer(node, other.url)
    heard = (peer.last_heartbeat_at, peer.last_outbound_at)
    return peer.status == "active" and not peer.last_outbound_error and all(one and one > since for one in heard)


def _nothing_lost(a: stand.Strange, here: Node, there: Node) -> None:
    with here.read() as session:
        asked = [row.params.get("url") for row in session.scalars(select(Approval).where(Approval.status == "pending"))]
    assert sorted(asked) == [URL.format(one) for one in ("by-command", "by-console", "in-time")], asked
    assert invariants.broken(here) == []
    for node in (here, there):
        until(lambda node=node: not _named(node), f"the doctor is content: {_named(node)}")
    assert a.ok("events", "verify")["ok"] is True


def _named(node: Node) -> set[str]:
    """What the doctor finds, but that requests wait, which they do."""
    return {one.cause.code for one in node.diagnose(DiagnosisTarget()).findings} - {"approval_pending"}


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=30)
    seconds = options.parse_args().seconds
    homes: list[Home] = []
    with tempfile.TemporaryDirectory(prefix="fedtui-locked-") as folder:

        def make(name: str = "a", *options: str, kind: type[H] = Home, **config: Any) -> H:  # type: ignore[assignment]
            home = set_up(Path(folder) / name, *options, kind=kind, **config)
            homes.append(home)
            return home

        try:
            play(*stand.federated(make), seconds, lambda line: print(line, flush=True))  # noqa: T201
        finally:
            for home in homes:
                home.end()


if __name__ == "__main__":
    sys.exit(main())
