"""How long a governance scan takes, against one in which nothing changes.

Run it by hand: `python -m tests.benchmarks governance`. Prints a Markdown table.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, update

from fedtui.core.bootstrap import init_node
from fedtui.core.governance import findings, scanning
from fedtui.core.governance import listing as finding_listing
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.peers.peers import Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.runtime import daemons, settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from tests.benchmarks.reporting import say
from tests.conftest import ManualClock

PEERS, GRANTS = 10_000, 100_000
ACTOR = Actor("job", "bench", origin="bench")


def main() -> None:
    """Fill a node, scan it in each state, print the table."""
    say("| scan | findings that change | findings open | seconds | CPU seconds | x |")
    say("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        clock = ManualClock()
        node = init_node(
            settings.load(
                {"FEDTUI_HOME": str(Path(place) / "home"), "FEDTUI_OPERATOR": "bench"}, {"platform_version": "2.0.0"}
            ),
            name="bench",
            url="https://bench.example",
            clock=clock,
        )
        fill(node)
        first = scan(node)
        idle = scan(node)
        tell("nothing wrong, the first", first, idle)
        tell("nothing wrong, again", idle, idle)
        one_in_a_hundred(node)
        tell("1 % drifted, the first", scan(node), idle)
        tell("1 % drifted, again", scan(node), idle)
        everything(node)
        tell("every grant overdue, the first", scan(node), idle)
        tell("every grant overdue, again", scan(node), idle)
        began = time.perf_counter()
        with node.read() as session:
            finding_listing.page(session, now=node.clock.now(), limit=50)
        say(f"\nA page of 50 of them: {(time.perf_counter() - began) * 1000:.0f} ms")
        node.close()


@dataclass(frozen=True, slots=True)
class Scanned:
    """One scan: how many findings it changed, how many are open after it, and what it took."""

    changed: int
    opened: int
    seconds: float
    cpu: float


def scan(node: Node) -> Scanned:
    """One scan, timed."""
    began, worked = time.perf_counter(), time.process_time()
    outcome = scanning.scan(node)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    with node.read() as session:
        opened = sum(findings.counts(session, node.clock.now()).values())
    return Scanned(outcome["appeared"] + outcome["gone"], opened, seconds, cpu)


def tell(what: str, one: Scanned, idle: Scanned) -> None:
    """A row; `x` is to the processor time of the scan in which nothing changed."""
    say(f"| {what} | {one.changed:,} | {one.opened:,} | {one.seconds:.2f} | {one.cpu:.2f} | {one.cpu / idle.cpu:.1f} |")


def fill(node: Node) -> None:
    """Peers with two certificates each, and grants, with which nothing is wrong."""
    now = node.clock.now()
    with node.unit(ACTOR) as unit:
        daemons.register(unit.session, node.holder, url=node.url, operations_url=None, now=now - timedelta(hours=1))
        peers = [
            {
                "id": new_id(),
                "remote_instance_url": f"https://p{number}.example",
                "node_instance_id": new_id(),
                "peer_kind": "platform",
                "spawn_role": "symmetric",
                "spawn_mode": "autonomous_peer",
                "status": "active",
                "endpoints": [],
                "confirmed_endpoints": [],
                "public_ca": False,
                "capabilities": {},
                "extension_slugs": [],
                "sync_cursor": {},
                "drill_mode": False,
                "enroll_owed": False,
                "signed_at": now,
                "last_heartbeat_at": now,
                "metadata_": {},
                "platform_version": "2.1.0",
                "data_residency": "EU",
                "operator_contact": "ops",
                "remote_prefix_advertisement": f"fd00:{number >> 8:04x}:{number & 255:04x}::/48",
                "created_at": now,
                "updated_at": now,
            }
            for number in range(PEERS)
        ]
        unit.session.execute(insert(Peer), peers)
        unit.session.execute(
            insert(Certificate),
            [
                {
                    "id": new_id(),
                    "serial": f"{number}{way}",
                    "subject": "s",
                    "subject_kind": "federation_peer",
                    "direction": way,
                    "peer_id": peer["id"],
                    "fingerprint": f"{number}{way}",
                    "issuer_fingerprint": "x",
                    "cert_pem": "",
                    "chain_pem": "",
                    "not_before": now,
                    "not_after": now + timedelta(days=90),
                    "created_at": now,
                }
                for number, peer in enumerate(peers)
                for way in ("inbound", "outbound")
            ],
        )
        unit.session.execute(
            insert(Grant),
            [
                {
                    "id": new_id(),
                    "peer_id": peers[number % PEERS]["id"],
                    "remote_subject": f"s{number}@b",
                    "resource_kind": "doc",
                    "resource_id": None,
                    "permission_scopes": ["read"],
                    "node_instance_ids": [],
                    "sdwan_network_ids": [],
                    "source_cidrs": ["10.0.0.0/8"],
                    "issued_at": now,
                    "issued_by": "bench",
                    "ttl_seconds": 86_400,
                    "expires_at": now + timedelta(days=200),
                }
                for number in range(GRANTS)
            ],
        )


def one_in_a_hundred(node: Node) -> None:
    """Peers and grants of which one in a hundred has drifted."""
    now = node.clock.now()
    with node.unit(ACTOR) as unit:
        some = Peer.remote_instance_url.like("https://p%00.example")
        drifted = {
            "data_residency": None,
            "platform_version": "4.0.0",
            "remote_prefix_advertisement": "fd00:0001:0001::/48",
        }
        unit.session.execute(update(Peer).where(some).values(**drifted))
        old = Grant.remote_subject.like("s%00@b")
        unit.session.execute(update(Grant).where(old).values(expires_at=now + timedelta(days=3)))


def everything(node: Node) -> None:
    """Every grant was issued too long ago."""
    with node.unit(ACTOR) as unit:
        unit.session.execute(update(Grant).values(issued_at=node.clock.now() - timedelta(days=100)))
