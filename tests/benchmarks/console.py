"""What the console costs, as ratios to a bare Textual app measured in the same run.

Run it by hand: `python -m tests.benchmarks console`. Both run on a real pseudo-terminal of 80x24;
the console is `fedtui console --read-only -c peers` (which starts no daemon) on real SQLite nodes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from fedtui.core.bootstrap import init_node, open_node
from fedtui.core.node import Node
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers import peers
from fedtui.core.runtime import settings
from fedtui.core.runtime.types import new_id
from tests.benchmarks.reporting import say
from tests.benchmarks.terminal import Terminal, environment

SIZES = (100, 100_000)
BARE_NAME = "bare"
STARTS = 9
KEYS = 60
QUIET_SECONDS = 0.06
IDLE_SECONDS = 10.0
CHANGES = 7
BARE = """
from textual.app import App
from textual.widgets import Static

class Bare(App, inherit_bindings=False):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [("j", "count(1)"), ("k", "count(-1)"), ("q", "quit")]
    CSS = "Screen { background: ansi_default; color: ansi_default; }"
    value = 0
    def compose(self):
        yield Static("opening", id="text")
    def action_count(self, step):
        self.value += step
        self.query_one("#text", Static).update(f"line {self.value}")

app = Bare()
app.theme = "ansi-dark"
app.animation_level = "none"
app.run(mouse=False)
"""
"""The least that answers a key. Its first text is the console's: `opening`."""
STEP = ("j", "k")


@dataclass
class Measured:
    """Samples of one program, by what was measured; times in ms, sizes in bytes, memory in MB, CPU in percent."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        self.samples.setdefault(what, []).append(value)

    def p50(self, what: str) -> float:
        return statistics.median(self.samples[what])

    def p95(self, what: str) -> float:
        values = sorted(self.samples[what])
        return values[min(round(0.95 * (len(values) - 1)), len(values) - 1)]


@dataclass
class Program:
    """One of the programs under measurement."""

    name: str
    arguments: tuple[str, ...]
    ready: str
    environ: Mapping[str, str]
    home: Path | None = None
    measured: Measured = field(default_factory=Measured)

    @contextmanager
    def running(self) -> Iterator[Terminal]:
        """It, ready for keys."""
        terminal = Terminal(*self.arguments, environ=self.environ)
        try:
            self.measured.add("first paint", 1000 * terminal.await_text("opening"))
            self.measured.add("first rows", 1000 * terminal.await_text(self.ready))
            terminal.drain(0.5)
            yield terminal
            terminal.press("q")
            terminal.wait()
        finally:
            terminal.close()

    def paint(self) -> None:
        """Start it without any words, as people do, and end it at its first paint (`paint`, in ms)."""
        arguments = ("-m", "fedtui") if self.home else self.arguments
        terminal = Terminal(*arguments, environ=self.environ)
        try:
            self.measured.add("paint", 1000 * terminal.await_text("opening"))
        finally:
            terminal.close()

    def arrive(self) -> None:
        """Start it as people do, and end it when Home tells what is the matter (`home`, in ms)."""
        terminal = Terminal("-m", "fedtui", "console", "--read-only", environ=self.environ)
        try:
            self.measured.add("home", 1000 * terminal.await_text("peers degraded"))
        finally:
            terminal.close()


def fill(home: Path, count: int) -> None:
    """A node with so many peers in all states; what is shown of them does not change as time goes by."""
    node = init_node(_settings(home), name="north", url="https://north.example.org")
    statuses = list(peers.STATUSES)
    with node.unit(node.actor("benchmark")) as unit:
        long_ago = unit.now - timedelta(days=3, hours=12)
        rows: list[dict[str, Any]] = [
            {
                "id": new_id(),
                "remote_instance_url": f"https://peer-{number:06d}.example.org",
                "node_instance_id": new_id(),
                "peer_kind": "platform",
                "spawn_role": "symmetric",
                "status": statuses[number % len(statuses)],
                "endpoints": [],
                "confirmed_endpoints": [],
                "public_ca": False,
                "capabilities": {},
                "extension_slugs": [],
                "sync_cursor": {},
                "drill_mode": False,
                "enroll_owed": False,
                "metadata_": {},
                "created_at": long_ago,
                "updated_at": long_ago,
                "last_heartbeat_at": long_ago,
            }
            for number in range(count)
        ]
        unit.session.execute(insert(peers.Peer), rows)
    node.close()


def change_one(node: Node, days: int) -> None:
    """What another process does when a heartbeat comes in: one peer in view gets another time."""
    with node.unit(node.actor("benchmark")) as unit:
        row = peer_listing.page(unit.session, limit=5)[3]
        unit.session.execute(
            update(peers.Peer)
            .where(peers.Peer.id == row.id)
            .values(last_heartbeat_at=unit.now - timedelta(days=days, hours=12))
        )


def _settings(home: Path) -> settings.Settings:
    return settings.load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "ada"})


def programs(directory: Path) -> list[Program]:
    """The bare app, and the console on each size of node."""
    found = [Program(BARE_NAME, ("-c", BARE), "opening", environment())]
    for count in SIZES:
        home = directory / str(count)
        fill(home, count)
        environ = environment(FEDTUI_HOME=str(home), FEDTUI_OPERATOR="ada")
        words = ("-m", "fedtui", "console", "--read-only", "-c", "peers")
        found.append(Program(f"{count:,} peers", words, "1 of 100", environ, home))
    return found


def press_and_time(program: Program, terminal: Terminal, what: str, key: str) -> None:
    """One key: how long until its first byte comes, and how many bytes in all."""
    began = time.perf_counter()
    terminal.press(key)
    data = terminal.read(5)
    program.measured.add(what, 1000 * (time.perf_counter() - began))
    program.measured.add(f"{what}: bytes", len(data) + len(terminal.drain(QUIET_SECONDS)))


def measure_keys(running: list[tuple[Program, Terminal]]) -> None:
    """Steps inside the view, then scrolling, then jumps: one key in each program after the other."""
    for turn in range(KEYS):
        for program, terminal in running:
            press_and_time(program, terminal, "step", STEP[turn % 2])
    consoles = [(program, terminal) for program, terminal in running if program.home]
    for _, terminal in consoles:
        terminal.press("j" * 30)  # past the lower edge of the view
        terminal.drain(0.5)
    for _ in range(KEYS):
        for program, terminal in consoles:
            press_and_time(program, terminal, "scroll", "j")
    for turn in range(KEYS // 3):
        for program, terminal in consoles:
            press_and_time(program, terminal, "jump", "Gg"[turn % 2])


def measure_idling(running: list[tuple[Program, Terminal]]) -> None:
    """Bytes and processor time while nothing happens, and memory after all that."""
    for _, terminal in running:
        terminal.drain(1.0)
    before = [processor_seconds(terminal.process.pid) for _, terminal in running]
    time.sleep(IDLE_SECONDS)
    for (program, terminal), used in zip(running, before, strict=True):
        cpu = processor_seconds(terminal.process.pid) - used
        program.measured.add("idle CPU", 100 * cpu / IDLE_SECONDS)
        program.measured.add("idle bytes", len(terminal.drain(0.01)))
        program.measured.add("memory", memory_mb(terminal.process.pid))


def measure_changes(running: list[tuple[Program, Terminal]]) -> None:
    """One peer in view changes: how long until it shows, and how many bytes that takes."""
    for program, terminal in running:
        if program.home is None:
            continue
        node = open_node(_settings(program.home))
        for turn in range(CHANGES):
            change_one(node, 4 + turn)
            began = time.perf_counter()
            data = terminal.read(5)
            program.measured.add("change", 1000 * (time.perf_counter() - began))
            program.measured.add("change: bytes", len(data) + len(terminal.drain(0.3)))
        node.close()


def processor_seconds(pid: int) -> float:
    """Processor time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


ROWS: tuple[tuple[str, str, str, Callable[[Measured, str], float]], ...] = (
    ("start to first paint, plain `fedtui`, p50", "paint", "ms", Measured.p50),
    ("start to first paint, plain `fedtui`, p95", "paint", "ms", Measured.p95),
    ("start to first paint, with options, p50", "first paint", "ms", Measured.p50),
    ("start to Home, filled, p50", "home", "ms", Measured.p50),
    ("start to first rows, with options, p50", "first rows", "ms", Measured.p50),
    ("key to first byte, step in view, p50", "step", "ms", Measured.p50),
    ("key to first byte, step in view, p95", "step", "ms", Measured.p95),
    ("bytes of a step", "step: bytes", "B", Measured.p50),
    ("key to first byte, scrolling, p50", "scroll", "ms", Measured.p50),
    ("key to first byte, scrolling, p95", "scroll", "ms", Measured.p95),
    ("bytes of scrolling by a line", "scroll: bytes", "B", Measured.p50),
    ("key to first byte, to the end and back, p50", "jump", "ms", Measured.p50),
    ("key to first byte, to the end and back, p95", "jump", "ms", Measured.p95),
    ("change by another process to first byte, p50", "change", "ms", Measured.p50),
    ("bytes of one change", "change: bytes", "B", Measured.p50),
    (f"bytes in {IDLE_SECONDS:.0f} s of idling", "idle bytes", "B", Measured.p50),
    ("processor while idle", "idle CPU", "%", Measured.p50),
    ("memory", "memory", "MB", Measured.p50),
)


def report(measured: list[Program]) -> str:
    """A Markdown table: each program's numbers, and what the console takes for one of the bare app's."""
    consoles = measured[1:]
    names = [one.name for one in measured] + [f"{one.name} / {BARE_NAME}" for one in consoles]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for label, what, unit, of in ROWS:
        values = [of(one.measured, what) if what in one.measured.samples else None for one in measured]
        cells = ["" if value is None else f"{value:,.{1 if value < 20 else 0}f} {unit}" for value in values]
        cells += ["" if not values[0] or value is None else f"{value / values[0]:.2f}" for value in values[1:]]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    small, large = consoles[0].measured, consoles[-1].measured
    ratios = ", ".join(f"{what} {large.p95(what) / small.p95(what):.2f}" for what in ("step", "scroll", "jump"))
    return "\n".join([*lines, "", f"Key to first byte, p95, {consoles[-1].name} to {consoles[0].name}: {ratios}."])


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as directory:
        measured = programs(Path(directory))
        for _ in range(STARTS - 1):
            for program in measured:
                program.paint()
                if program.home:
                    program.arrive()
                with program.running():
                    pass
        bare, small, large = measured
        with bare.running() as first, small.running() as second, large.running() as third:
            running = list(zip(measured, (first, second, third), strict=True))
            measure_keys(running)
            measure_changes(running)
            measure_idling(running)
    say(
        f"80x24; {STARTS} starts, {KEYS} keys of each kind, {CHANGES} changes, interleaved. `{BARE_NAME}` is the least "
        "Textual app that answers a key.\n"
    )
    say(report(measured))
