"""The demo: real nodes on loopback, federated before your eyes, and the console on the first.

Every node is a `fedtui serve` process with a home of its own and faster clocks; the two
operators act through the same gate as anyone. Nothing of the user's own node is touched:
the children's environment carries no FEDTUI_ variable but the demo's.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fedtui.core.bootstrap import open_node
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.runtime import home as homes
from fedtui.lab.faults.catalogue import BY_NAME, FAULTS
from fedtui.lab.faults.model import Fault
from fedtui.lab.nodes import CLOCKS, NAMES, PROPOSER, DemoNode, Federation, await_active, build, end_all, plan
from fedtui.lab.range import staged
from fedtui.lab.simulated_operators import People

PREFIX = "fedtui-demo-"
MARKER = "demo.json"
CALM_SECONDS = 12
OUTAGE_SECONDS = 16
ENVIRONMENT = "env"
"""A file beside the homes: read by a shell (`. FILE`), its commands are about the first node, as its operator."""


def run(*, nodes: int, keep: Path | None, headless: bool, exit_when_active: bool, fault: str | None = None) -> int:
    """Build the federation, then show it. The exit code; everything is cleaned up on the way out."""
    if not 2 <= nodes <= len(NAMES):
        raise WrongUsage(
            f"The demo runs 2 to {len(NAMES)} nodes, not {nodes}.",
            cause="The first of them peers with each of the others.",
            fix="Give --nodes 2.",
        )
    practised = _fault(fault) if fault is not None else None
    people = None
    started = time.monotonic()
    with ExitStack() as stack:
        _leave_on_signals(stack)
        directory = _directory(stack, keep)
        federation = Federation(plan(directory, nodes))
        if keep is None:
            stack.callback(end_all, federation)
        for member in federation.nodes:
            stack.callback(member.daemon.stop)
        build(federation, _say)
        await_active(federation, started)
        seconds = round(time.monotonic() - started, 1)
        _say(f"All peerings are active on both sides, {seconds} s after the start.")
        environment = _environment(directory, federation.nodes[0])
        if practised is not None:
            _say(f"Staging a fault: {practised.told}")
            stand, look = stack.enter_context(staged(federation, practised, _say))
            words = " ".join([practised.symptom or "", *(f"--{name} {value}" for name, value in look.items())]).strip()
            _say(f"It is staged. Find it in another terminal with: . {environment}; fedtui doctor --guided {words}")
            if not exit_when_active:
                said: tuple[Callable[[str], object], str] = (_say, "Ctrl-C") if headless else (str, "q")
                people = People(stand, practised, look, environment, *said)
                stack.callback(people.end)
                people.start()
        if exit_when_active:
            print(json.dumps({"nodes": federation.statuses(), "seconds": seconds}))  # noqa: T201 - the contract
            return 0
        if headless:
            _say(f"Running until Ctrl-C. In another terminal: . {environment}; fedtui")
            signal.pause()
        return _console(federation, keep, people, environment)


def _fault(name: str) -> Fault:
    if name not in BY_NAME:
        raise WrongUsage(
            f"There is no fault {name[:60]!r}.",
            cause=f"It is one of: {', '.join(BY_NAME)}.",
            fix="See them with: fedtui demo --list-faults",
            code="fault_unknown",
        )
    return BY_NAME[name]


def faults() -> list[dict[str, object]]:
    """Every fault that can be staged: its name, and what is broken."""
    return [{"name": one.name, "told": one.told} for one in FAULTS]


def _environment(directory: Path, member: DemoNode) -> Path:
    """Make the file that a shell reads to be at a node. What is set there about another node is taken away."""
    lines = (
        "for name in $(env | sed -n 's/^\\(FEDTUI_[A-Z_]*\\)=.*/\\1/p'); do unset $name; done",
        f"export FEDTUI_HOME={shlex.quote(str(member.home))}",
        f"export FEDTUI_OPERATOR={PROPOSER}",
    )
    homes.write_private(directory / ENVIRONMENT, "\n".join([*lines, ""]).encode())
    return directory / ENVIRONMENT


def _console(federation: Federation, keep: Path | None, people: People | None, environment: Path) -> int:
    from fedtui.app import run_console

    first = federation.nodes[0]
    weather = Weather(federation.nodes[-1])
    if people is None:
        weather.start()
    try:
        return run_console(
            lambda: open_node(first.settings(PROPOSER)),
            mode="DEMO",
            notice=weather.notice if people is None else people.notice,
        )
    finally:
        weather.end()
        if keep is not None:
            _say(f"The nodes are kept in {keep}; go on with: . {environment}; fedtui serve")


class Weather:
    """One outage while the console shows: the last node stops, is found degraded, and comes back."""

    def __init__(self, member: DemoNode) -> None:
        self._member = member
        self._over = threading.Event()
        self._text = ""
        self._thread = threading.Thread(target=self._pass, name="weather", daemon=True)

    def start(self) -> None:
        """Begin with calm."""
        self._thread.start()

    def end(self) -> None:
        """Stop wherever it is."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def notice(self) -> str:
        """What the console should say about it now."""
        return self._text

    def _pass(self) -> None:
        name = self._member.name
        self._text = f"Demo: {name} will stop in {CALM_SECONDS} s. Watch its row degrade, then recover."
        if self._over.wait(CALM_SECONDS):
            return
        self._member.daemon.stop()
        self._text = f"Demo: {name} has stopped. After {CLOCKS['stale_after']} of silence the sweep degrades it."
        if self._over.wait(OUTAGE_SECONDS):
            return
        self._member.daemon.start()
        self._text = f"Demo: {name} is back. Its next heartbeat makes it active again by itself."
        if not self._over.wait(OUTAGE_SECONDS):
            self._text = "Demo: that was an outage. The nodes keep running until you quit with q."


def _directory(stack: ExitStack, keep: Path | None) -> Path:
    """Where the homes go: a directory of our own, removed at the end, or the one to keep."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise Refused(
                f"{keep} is not empty.",
                cause="The demo makes new nodes and writes over nothing.",
                fix="Give a directory that is empty or does not exist.",
                code="not_empty",
            )
        homes.make(keep.absolute())
        return keep.absolute()
    _remove_leftovers()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    (directory / MARKER).write_text(json.dumps({"pid": os.getpid()}))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _remove_leftovers() -> None:
    """Take away what a demo that was killed could not."""
    for marker in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{MARKER}"):
        try:
            if marker.stat().st_uid != os.getuid():
                continue
            os.kill(int(json.loads(marker.read_text())["pid"]), 0)
        except ProcessLookupError:
            shutil.rmtree(marker.parent, ignore_errors=True)
        except (OSError, ValueError, KeyError):
            continue


def _leave_on_signals(stack: ExitStack) -> None:
    """SIGTERM and SIGHUP unwind like an exception, so that the children are stopped."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        before = signal.signal(number, leave)
        stack.callback(signal.signal, number, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - narration goes to standard error
