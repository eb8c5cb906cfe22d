"""What the console and the command line ask of the database, with few rows and with many: it must cost the same.

Run it by hand: `python -m tests.benchmarks pages`. Prints a Markdown table, in processor time; `x` is many to few.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from fedtui.core.certificates import listing as certificates
from fedtui.core.grants import listing as grants
from fedtui.core.node import Node
from fedtui.core.peers import listing as peers
from fedtui.core.peers.peers import Peer
from tests.benchmarks.decisions import ACTOR, fill, peer_of
from tests.benchmarks.reporting import say
from tests.benchmarks.sweep import filled

SIZES = (1_000, 100_000)
GRANTS_EACH = 10
TROUBLED = 20
ROUNDS = 7


def main() -> None:
    """Measure both sizes, print the table."""
    with ExitStack() as stack:
        few, many = (opened(stack, size) for size in SIZES)
        say(
            f"The best of {ROUNDS} looks each in processor time, a read transaction of its own; {GRANTS_EACH} grants "
            f"to a peer, {TROUBLED} peers degraded.\n"
        )
        say(f"| asked | {SIZES[0]:,} peers, ms | {SIZES[1]:,} peers, ms | x |")
        say("|---|---|---|---|")
        for name, ask in ASKED.items():
            small, large = (min(timed(node, ask) for _ in range(ROUNDS)) for node in (few, many))
            say(f"| {name} | {small * 1000:.1f} | {large * 1000:.1f} | {large / small:.1f} |")


def opened(stack: ExitStack, size: int) -> Node:
    """A node with so many peers, a few of them in trouble, and their grants."""
    place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    node, _ = filled(place / "home", size)
    stack.callback(node.close)
    peer_id, _, _ = peer_of(node, "https://granted.example")
    for _ in range(0, size * GRANTS_EACH, 100_000):
        fill(node, peer_id, min(size * GRANTS_EACH, 100_000))
    with node.unit(ACTOR) as unit:
        some = Peer.remote_instance_url.in_([f"https://p{number}.example" for number in range(TROUBLED)])
        unit.session.execute(
            update(Peer).where(some).values(status="degraded", last_heartbeat_at=unit.now - timedelta(hours=1))
        )
    return node


def of_session(ask: Callable[..., object], **options: object) -> Callable[[Node], object]:
    """A question that takes a session."""

    def asked(node: Node) -> object:
        with node.read() as session:
            return ask(session, **options)

    return asked


ASKED: dict[str, Callable[[Node], object]] = {
    "Home": Node.home,
    "the band above each screen": Node.overview,
    "the first page of peers": of_session(peers.page),
    "the page of peers that one jumps to at the end": of_session(peers.page, before=(9, "~", "~")),
    "peers, the first page by heartbeat": of_session(peers.page, sort="heartbeat"),
    "peers, filtered by a text that few have": of_session(peers.page, text="p77"),
    "the number of peers": of_session(peers.count),
    "the first page of grants": lambda node: of_session(grants.page, now=node.clock.now())(node),
    "the number of grants": of_session(grants.count),
    "the first page of certificates": of_session(certificates.page),
}


def timed(node: Node, ask: Callable[[Node], object]) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    ask(node)
    return time.process_time() - began
