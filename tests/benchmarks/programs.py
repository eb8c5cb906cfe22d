"""What it costs to start, to diagnose and to stand by: the command line, the doctor, the daemon's memory.

Run it by hand: `python -m tests.benchmarks programs`. Prints Markdown tables; of starts it is the ratio to a bare
interpreter that imports the same modules that counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fedtui.core.bootstrap import open_node
from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.runtime import settings
from tests.benchmarks.decisions import fill, peer_of
from tests.benchmarks.heartbeats import processor, serving
from tests.benchmarks.reporting import say
from tests.benchmarks.sweep import filled, make_stale

STARTS = 9
COMMANDS = (("config",), ("peers", "list", "--json"), ("doctor", "--json"))
PEERS, HEALTHY, GRANTS = 100_000, 1_000, 1_000_000
SETTLED_SECONDS = 40


def main() -> None:
    """Measure all, print the tables."""
    with tempfile.TemporaryDirectory() as place:
        node, _ = filled(Path(place) / "small", 10)
        node.close()
        starts(Path(place) / "small")
    with tempfile.TemporaryDirectory() as place:
        diagnosis(Path(place))
    with tempfile.TemporaryDirectory() as place:
        memory(Path(place))


def starts(home: Path) -> None:
    """Each command from a cold interpreter, against one that only imports what the command imports."""
    say("| command | median, ms | its imports alone, ms | x | `import sys`, ms |")
    say("|---|---|---|---|---|")
    environment = {**os.environ, "FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "bench"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has been compiled
    nothing = median_of(["-c", "import sys"], environment)
    for words in COMMANDS:
        whole = median_of(["-m", "fedtui", *words], environment)
        alone = median_of(["-c", imports_of(words, environment)], environment)
        shown = " ".join(("fedtui", *words))
        say(f"| `{shown}` | {whole:.0f} | {alone:.0f} | {whole / alone:.2f} | {nothing:.0f} |")


def imports_of(words: tuple[str, ...], environment: dict[str, str]) -> str:
    """A program that imports the modules that a command has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fedtui", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    ended_well(done, words)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    wanted = [name for name in names if name.isidentifier() or all(part.isidentifier() for part in name.split("."))]
    return "\n".join(
        f"try:\n import {name}\nexcept ImportError:\n pass" for name in wanted if name not in ("imported", "package")
    )


def median_of(words: list[str], environment: dict[str, str]) -> float:
    """Milliseconds; after one that has what is imported compiled."""
    took = []
    for _ in range(STARTS + 1):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
        ended_well(done, words)
    return statistics.median(took[1:]) * 1000


def ended_well(done: subprocess.CompletedProcess[str], words: Sequence[str]) -> None:
    """What failed was not what was to be measured. (A doctor that finds something ends with 1.)"""
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)[:80]} ended with {done.returncode}: {done.stderr[-500:]}")


def diagnosis(place: Path) -> None:
    """The doctor in process, on healthy peers: in as many as it looks at, and ten times as many."""
    say("\n| peers, healthy | doctor, ms | x | findings about peers |")
    say("|---|---|---|---|")
    first = None
    for size in (HEALTHY // 10, HEALTHY):
        node, clock = filled(place / str(size), size)
        make_stale(node, clock, 0)
        took, found = [], 0
        for _ in range(3):
            began = time.perf_counter()
            seen = engine.diagnose(node, node.acts, DiagnosisTarget())
            took.append(time.perf_counter() - began)
            found = sum(one.subject.scope == "peer" for one in seen.findings)
        node.close()
        middle = statistics.median(took)
        first = first or middle
        say(f"| {size:,} | {middle * 1000:.0f} | {middle / first:.1f} | {found} |")


def memory(place: Path) -> None:
    """A daemon that has settled: what it holds, and what it uses of a processor, idle."""
    say("\n| peers | grants | daemon, resident, MB | x | processor, idle |")
    say("|---|---|---|---|---|")
    empty = None
    for name, size, grants in (("empty", 10, 1), ("full", PEERS, GRANTS)):
        node, _ = filled(place / name, size)
        peer_id, _, _ = peer_of(node, "https://granted.example")
        for _ in range(0, grants, 100_000):
            fill(node, peer_id, min(grants, 100_000))
        node.close()
        # Its own heartbeats would go out to hosts that do not exist, and none come in: nobody is to grow stale.
        config = node.settings.config_file
        config.write_text(config.read_text() + 'jobs_off = "federation_heartbeat"\nstale_after = "1d"\n')
        with serving([sys.executable, "-m", "fedtui", "serve", "--listen", "127.0.0.1:0"], reopened(node)) as (_, pid):
            time.sleep(SETTLED_SECONDS)
            before = processor(pid)
            time.sleep(SETTLED_SECONDS)
            idle = (processor(pid) - before) / SETTLED_SECONDS
            status = Path(f"/proc/{pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        empty = empty or resident
        say(f"| {size:,} | {grants:,} | {resident:.0f} | {resident / empty:.2f} | {idle:.1%} |")


def reopened(node: Node) -> Node:
    """The same node, by the machine's clock."""
    home = str(node.settings.home)
    return open_node(settings.load({"FEDTUI_HOME": home, "FEDTUI_OPERATOR": "bench"}))
