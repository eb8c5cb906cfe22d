"""What a scrape costs at 100,000 peers, question by question.

Run it by hand: `python -m tests.benchmarks metrics`. Prints a Markdown table.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from fedtui.core.bootstrap import init_node
from fedtui.core.governance import metrics as governance
from fedtui.core.node import Node
from fedtui.core.peers.peers import Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from fedtui.core.views.metrics import QUESTIONS, Look
from tests.benchmarks.reporting import say
from tests.core.test_peers import new_peer

PEERS = 100_000
ROUNDS = 5
ACTOR = Actor("operator", "bench", origin="bench")


def main() -> None:
    """Fill a node, and time each question and the whole."""
    with tempfile.TemporaryDirectory() as place:
        environment = {"FEDTUI_HOME": str(Path(place) / "home"), "FEDTUI_OPERATOR": "bench"}
        node = init_node(settings.load(environment, {}), name="bench", url="https://bench.example")
        fill(node)
        began = time.perf_counter()
        node.measures()
        whole = (time.perf_counter() - began) * 1000
        say(f"{PEERS:,} peers with two certificates each; best of {ROUNDS}, from half a millisecond on.\n")
        say("| question | ms | of all |\n|---|---|---|")
        for question in (*QUESTIONS, *governance.QUESTIONS):
            best = min(timed(node, question.ask) for _ in range(ROUNDS))
            if best >= 0.5:
                say(f"| `{question.name}` | {best:.1f} | {best / whole:.0%} |")
        say(f"| all, at one moment | {whole:.1f} | 100% |")
        say("\nThe database is asked at most every ten seconds, however many scrape.")
        node.close()


def timed(node: Node, ask: object) -> float:
    """Milliseconds that one question takes in a read transaction of its own."""
    with node.read() as session:
        look = Look(session, node, node.clock.now(), node.jobs())
        began = time.perf_counter()
        ask(look)  # type: ignore[operator]
        return (time.perf_counter() - began) * 1000


def fill(node: Node) -> None:
    """Peers that are active, one in a hundred not, each with two certificates."""
    first = new_peer(node, "https://first.example")
    now = node.clock.now()
    with node.unit(ACTOR) as unit:
        row = {column.key: getattr(unit.session.get_one(Peer, first), column.key) for column in Peer.__mapper__.attrs}
        peers = [
            {
                **row,
                "id": new_id(),
                "remote_instance_url": f"https://p{place}.example",
                "status": "degraded" if place % 100 == 0 else "active",
                "last_heartbeat_at": now - timedelta(seconds=place % 400),
            }
            for place in range(PEERS)
        ]
        unit.session.execute(insert(Peer), peers)
        certificates = [
            {
                "id": new_id(),
                "serial": f"{place:x}",
                "subject": "CN=x",
                "subject_kind": "federation_peer",
                "direction": direction,
                "peer_id": peer["id"],
                "fingerprint": f"{direction}{place}",
                "issuer_fingerprint": "x",
                "cert_pem": "x" * 1200,
                "chain_pem": "x" * 1200,
                "not_before": now,
                "not_after": now + timedelta(days=place % 90),
                "created_at": now,
            }
            for place, peer in enumerate(peers)
            for direction in ("inbound", "outbound")
        ]
        unit.session.execute(insert(Certificate), certificates)
