"""How long a sweep takes, against the same statements in the bare driver, with 0 %, 1 % and 100 % of the peers stale.

Run it by hand: `python -m tests.benchmarks sweep`. Prints a Markdown table; what counts are the ratios, and that the
idle sweep costs the same at every size.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, update

from fedtui.core.bootstrap import init_node
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons, settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from tests.benchmarks.reporting import say
from tests.conftest import ManualClock

SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5
ACTOR = Actor("operator", "bench", origin="bench")
STALE = "peer_kind = 'platform' AND status = 'active' AND last_heartbeat_at < ?"
EVENTS = (
    "INSERT INTO events (id, kind, severity, source, peer_id, actor, origin, correlation_id, payload, emitted_at) "
    "SELECT ? || substr(id, 20), 'federation.peer.heartbeat_stale', 'medium', 'federation_heartbeat_sweep', id, "
    f"'bench', 'bench', 'bench', '{{}}', ? FROM peers WHERE {STALE}"
)
STATES = (
    f"UPDATE peers SET status = 'degraded', metadata = json_set(metadata, '$.degraded_reason', 'stale') WHERE {STALE}"
)


def main() -> None:
    """Measure each size, print the table."""
    say("| peers | stale | sweep, ms | bare driver, ms | x |")
    say("|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            node, clock = filled(Path(place) / "home", size)
            for share in (0.0, 0.01, 1.0):
                ours, bare = measure(node, clock, Path(place), round(size * share))
                say(f"| {size:,} | {share:.0%} | {ours * 1000:.2f} | {bare * 1000:.2f} | {ours / bare:.2f} |")
            node.close()


def filled(home: Path, size: int) -> tuple[Node, ManualClock]:
    """A node with so many active peers, whose API has listened for an hour; it is the machine's time then."""
    clock = ManualClock(datetime.now(UTC) - timedelta(hours=1))
    loaded = settings.load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "bench"})
    node = init_node(loaded, name="bench", url="https://bench.example", clock=clock)
    with node.unit(ACTOR) as unit:
        first = peers.add(unit, url="https://first.example")
        row = {column.name: getattr(first, column.key, None) for column in Peer.__table__.columns}
        row |= {"metadata": {}, "status": "active", "last_heartbeat_at": clock.now()}
        many = [{**row, "id": new_id(), "remote_instance_url": f"https://p{number}.example"} for number in range(size)]
        unit.session.execute(insert(Peer.__table__), many)
        daemons.register(unit.session, node.holder, url=node.url, operations_url=None, now=clock.now())
    clock.advance(hours=1)
    with node.unit(ACTOR) as unit:
        listening = {"listening_since": clock.now() - timedelta(hours=1), "last_seen_at": clock.now()}
        unit.session.execute(update(daemons.Daemon).values(**listening))
    return node, clock


def measure(node: Node, clock: ManualClock, place: Path, stale: int) -> tuple[float, float]:
    """The medians of the two."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        make_stale(node, clock, stale)
        ours.append(timed(lambda: sweep(node, stale)))
        make_stale(node, clock, stale)
        file = node.database.file
        assert file is not None
        with closing(sqlite3.connect(file, isolation_level=None)) as raw:
            limit = (clock.now() - node.settings.stale_after).strftime("%Y-%m-%d %H:%M:%S.%f")
            bare.append(timed(lambda raw=raw, limit=limit: sweep_barely(raw, limit, stale)))
    return statistics.median(ours), statistics.median(bare)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def make_stale(node: Node, clock: ManualClock, count: int) -> None:
    """Everybody active and heard of just now, but for so many."""
    now = clock.now()
    with node.unit(ACTOR) as unit:
        everybody = update(Peer).where(Peer.remote_instance_url != "https://first.example")
        unit.session.execute(everybody.values(status="active", last_heartbeat_at=now))
        ids = unit.session.scalars(
            Peer.__table__.select()
            .with_only_columns(Peer.id)
            .where(Peer.remote_instance_url != "https://first.example")
            .limit(count)
        ).all()
        for begin in range(0, len(ids), 10_000):
            some = update(Peer).where(Peer.id.in_(ids[begin : begin + 10_000]))
            unit.session.execute(some.values(last_heartbeat_at=now - timedelta(minutes=10)))


def sweep(node: Node, expected: int) -> None:
    with node.unit(heartbeats.JOB_ACTOR) as unit:
        swept = heartbeats.sweep(unit, node.settings)
    if swept["held_back"] or swept["swept"] != expected:
        raise SystemExit(f"the sweep did not do what was to be measured: {swept['swept']} of {expected}")


def sweep_barely(raw: sqlite3.Connection, limit: str, expected: int) -> None:
    """The same work in the driver: one event for each stale peer, and its state."""
    raw.execute("BEGIN IMMEDIATE")
    ids = raw.execute(f"SELECT id FROM peers WHERE {STALE}", (limit,)).fetchall()
    if ids:
        raw.execute(EVENTS, (new_id()[:19], limit, limit))
        raw.execute(STATES, (limit,))
    raw.execute("COMMIT")
    if len(ids) != expected:
        raise SystemExit(f"the bare sweep did not do what was to be measured: {len(ids)} of {expected}")
