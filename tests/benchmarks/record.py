"""What the record costs: emitting, sealing, verifying, and looking for events among many.

Run it by hand: `python -m tests.benchmarks record`. Prints Markdown tables. Times are of CPU; what a commit waits for
the disk is not in them.
"""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from fedtui.core.audit import events, tail
from fedtui.core.audit import listing as event_listing
from fedtui.core.audit.events import KINDS, Event, EventFilter, emit
from fedtui.core.bootstrap import init_node
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from tests.benchmarks.reporting import say

ACTOR = Actor("operator", "bench", origin="bench")
MANY, UNITS, IN_ONE = 100_000, 500, 5_000
AT_ONCE = 20_000
ROUNDS = 5


def main() -> None:
    """Measure, print the table."""
    with tempfile.TemporaryDirectory() as place, opened(Path(place)) as node:
        driver = barely(Path(place) / "bare.db")
        say(
            f"With {MANY:,} events; `x` is to the time of the driver, in whose rows there is nothing else. "
            "Seconds are of processor time: what waits for the disk does not count.\n"
        )
        say("| | events/s | x |")
        say("|---|---|---|")
        say(f"| the bare driver, many by one statement | {driver:,.0f} | 1.0 |")

        def tell(what: str, rate: float) -> None:
            say(f"| {what} | {rate:,.0f} | {driver / rate:.1f} |")

        tell("inserting many by one statement", fill(node))
        emitting(node, tell)
        seconds, sealed = timed(lambda: job_tasks.sealing(node)["sealed"])
        tell("sealing, a thousand in each transaction", sealed / seconds)
        before = peak()
        seconds, verdict = timed(node.verify_events)
        assert verdict.ok
        tell("verifying all of it", verdict.sealed / seconds)
        say(f"\nMemory that verifying added, at its peak: {peak() - before:.0f} MiB.\n")
        looking(node)


@contextmanager
def opened(place: Path) -> Iterator[Node]:
    """A node of its own."""
    home = {"FEDTUI_HOME": str(place / "bench"), "FEDTUI_OPERATOR": "bench"}
    node = init_node(settings.load(home), name="bench", url="https://bench.example")
    try:
        yield node
    finally:
        node.close()


def barely(file: Path) -> float:
    """Events a second that the driver inserts, a table as wide as ours and one index."""
    columns = list(row(0, "system.act", datetime.now(UTC)))
    with closing(sqlite3.connect(file)) as raw:
        raw.execute(f"CREATE TABLE events ({', '.join(columns)}, PRIMARY KEY (id))")
        rows = [row(number, "system.act", datetime.now(UTC)) for number in range(AT_ONCE)]
        plain = [tuple(map(str, one.values())) for one in rows]
        begin = time.process_time()
        raw.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(columns))})", plain)
        raw.commit()
        return AT_ONCE / (time.process_time() - begin)


def emitting(node: Node, tell: Callable[[str, float], None]) -> None:
    """One event by one."""

    def by_unit() -> None:
        for number in range(UNITS):
            with node.unit(ACTOR) as unit:
                emit(unit, "system.act", source="bench", number=number)

    def in_one() -> None:
        with node.unit(ACTOR) as unit:
            for number in range(IN_ONE):
                emit(unit, "system.act", source="bench", number=number)

    tell("emitting, each in a unit of its own", UNITS / timed(by_unit)[0])
    tell("emitting, all in one unit", IN_ONE / timed(in_one)[0])


def fill(node: Node) -> float:
    """Events of all kinds, a second apart, as the set-based sweep inserts them; how many a second that was."""
    kinds, begin = sorted(KINDS), node.clock.now() - timedelta(seconds=MANY)
    seconds = 0.0
    for first in range(0, MANY, AT_ONCE):
        rows = [row(number, kinds[number % len(kinds)], begin) for number in range(first, min(first + AT_ONCE, MANY))]

        def write(rows: list[dict[str, Any]] = rows) -> None:
            with node.unit(ACTOR) as unit:
                unit.session.execute(insert(Event), rows)

        seconds += timed(write)[0]
    return MANY / seconds


def row(number: int, kind: str, begin: Any) -> dict[str, Any]:
    """An event as it is stored."""
    return {
        "id": new_id(),
        "kind": kind,
        "severity": KINDS[kind],
        "source": "bench",
        "peer_id": f"peer-{number % 1000}",
        "actor": "bench",
        "uid": 0,
        "origin": "bench",
        "correlation_id": f"act-{number // 4}",
        "payload": {"number": number, "said": "something of the usual length happened"},
        "emitted_at": begin + timedelta(seconds=number),
    }


def looking(node: Node) -> None:
    """What the console and the command line ask for."""
    now = node.clock.now()
    asked: dict[str, Callable[[Any], object]] = {
        "the newest 50 as lines": lambda session: event_listing.page(session),
        "50 lines from the middle": lambda session: event_listing.page(session, offset=0, after=("01",), sort="oldest"),
        "the number of lines": lambda session: event_listing.count(session),
        "50 lines, filtered by text": lambda session: event_listing.page(session, text="revoked"),
        "a filter that nothing matches": lambda session: event_listing.page(session, text="no such thing"),
        "the newest 100 of one peer": lambda session: events.recent(session, peer_id="peer-7"),
        "the newest 100 that are high or critical": lambda session: events.recent(session, severity="high"),
        "one correlation": lambda session: events.recent(session, correlation_id=f"act-{MANY // 8}"),
        "100 of an hour in the middle": lambda session: events.recent(
            session, since=now - timedelta(seconds=MANY // 2), until=now - timedelta(seconds=MANY // 2 - 3600)
        ),
        "the newest hour of a kind": lambda session: events.recent(
            session, kind="federation.peer.revoked", since=now - timedelta(hours=1)
        ),
    }
    say("| | ms |")
    say("|---|---|")
    for name, ask in asked.items():
        best = min(timed(partial(reading, node, ask))[0] for _ in range(ROUNDS))
        say(f"| {name} | {best * 1000:.1f} |")
    follower = tail.EventTail(node.database, EventFilter())
    follower.begin(1)
    best = min(timed(follower.more)[0] for _ in range(ROUNDS))
    say(f"| a follower's look when nothing is new | {best * 1000:.1f} |")


def reading(node: Node, ask: Callable[[Any], object]) -> None:
    """Ask in a read transaction of its own."""
    with node.read() as session:
        ask(session)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU it took, which other programs on the machine do not change, and what it gave."""
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
