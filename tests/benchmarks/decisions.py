"""How fast the authorization chain decides, and that it does not matter how many grants there are.

Run it by hand: `python -m tests.benchmarks decisions`. Prints a Markdown table, in seconds of
processor time, so that what else runs on the machine counts for little; what counts are the
ratios to one grant, since machines differ.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert

from fedtui import daemon
from fedtui.api.federation import FederationApi
from fedtui.api.listener import Listener, bind
from fedtui.core.bootstrap import init_node
from fedtui.core.grants import chain, inventory
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, AccessRequest
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, signing, tls
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from tests.benchmarks.reporting import say

SIZES = (1, 1_000, 100_000)
ROUNDS = 3_000
CALLS, CONNECTIONS = 2_000, 8
ALIKE_ROUNDS = 2_000
ACTOR = Actor("operator", "bench", origin="bench")


def main() -> None:
    """Measure each size, print the table."""
    say(
        "Decisions for each second of processor time; in process in a read transaction of its own with all the checks, "
        "over mTLS a GET on 8 connections kept alive, clients and server in one process. `x` is to one grant; the last "
        "column is what another peer's grant takes, to an unknown one.\n"
    )
    say("| grants | in process | x | over mTLS, one of them | x | over mTLS, each another | foreign / unknown |")
    say("|---|---|---|---|---|---|---|")
    first: Measured | None = None
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            found = measure(Path(place), size)
        first = first or found
        inside, outside = found.inside / first.inside, found.outside / first.outside
        say(
            f"| {size:,} | {found.inside:,.0f} | {inside:.2f} | {found.outside:,.0f} | {outside:.2f} "
            f"| {found.spread:,.0f} | {found.alike:.2f} |"
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Per second of processor time: decisions in process, calls over mTLS with one grant, and with
    another each; and the time that a foreign grant takes, to that of an unknown one."""

    inside: float
    outside: float
    spread: float
    alike: float


def measure(place: Path, size: int) -> Measured:
    """Everything, for so many grants."""
    bound = bind("127.0.0.1", 0)
    url = f"https://127.0.0.1:{bound.getsockname()[1]}"
    environment = {"FEDTUI_HOME": str(place / "home"), "FEDTUI_OPERATOR": "bench"}
    node = init_node(settings.load(environment, {}), name="bench", url=url)
    mine, pair, fingerprint = peer_of(node, "https://mine.example")
    other, _, _ = peer_of(node, "https://other.example")
    with node.unit(ACTOR) as unit:
        inventory.add(unit, "doc")
    grants = fill(node, mine, size)
    [foreign] = fill(node, other, 1)
    base = AccessRequest(RESOURCES, Caller(fingerprint, "10.1.2.3"), "GET", "doc", "one")

    def judge(grant_id: str) -> Callable[[], object]:
        asked = AccessRequest(base.call, base.caller, base.method, base.kind, base.resource_id, f"fg-{grant_id}")

        def once() -> object:
            with node.read() as session:
                return chain.judge(session, asked, now=node.clock.now())

        return once

    def spread() -> float:
        picked = [judge(grants[number * len(grants) // ROUNDS]) for number in range(ROUNDS)]
        began = time.process_time()
        for once in picked:
            once()
        return ROUNDS / (time.process_time() - began)

    inside = max(spread() for _ in range(3))
    alike = alternating(judge(foreign), judge(new_id()))
    outside, each = served(node, bound, pair, [grants[len(grants) // 2]], grants)
    node.close()
    return Measured(inside, outside, each, alike)


def peer_of(node: Node, url: str) -> tuple[str, tuple[str, bytes], str]:
    """An active peer with its pair."""
    key = signing.new_key()
    with node.unit(ACTOR) as unit:
        peer = peers.add(unit, url=url)
        peer.status, peer.last_heartbeat_at = "active", unit.now
        row = signing.issue_for_peer(
            unit,
            signing.open_authority(unit.session, node.vault),
            peer_id=peer.id,
            instance_id=peer.node_instance_id,
            key=key.public_key(),
            lifetime=timedelta(days=90),
        )
        return peer.id, (row.cert_pem, signing.key_pem(key)), row.fingerprint


def fill(node: Node, peer_id: str, count: int) -> list[str]:
    """So many grants of a peer, restricted by address; their ids."""
    with node.unit(ACTOR) as unit:
        rows = [
            {
                "id": new_id(),
                "peer_id": peer_id,
                "remote_subject": f"s{number}@b",
                "resource_kind": "doc",
                "resource_id": None,
                "permission_scopes": ["read"],
                "node_instance_ids": [],
                "sdwan_network_ids": [],
                "source_cidrs": ["10.0.0.0/8", "127.0.0.0/8"],
                "issued_at": unit.now,
                "issued_by": "bench",
                "ttl_seconds": 86_400,
                "expires_at": unit.now + timedelta(days=30),
            }
            for number in range(count)
        ]
        unit.session.execute(insert(Grant), rows)
    return [str(row["id"]) for row in rows]


def alternating(one: Callable[[], object], other: Callable[[], object]) -> float:
    """How much longer the one takes than the other: the ratio of their medians, taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ALIKE_ROUNDS):
        for work, taken in zip((one, other), times, strict=True):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
    return statistics.median(times[0]) / statistics.median(times[1])


def served(node: Node, bound: object, pair: tuple[str, bytes], *ways: list[str]) -> list[float]:
    """Calls a second over mTLS with each of these lists of grants; clients and server share the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    _, context = daemon.server_context(node)
    listener = Listener(FederationApi(node).application(), context=context)
    asyncio.run_coroutine_threadsafe(listener.start(bound), loop).result(10)  # type: ignore[arg-type]
    with node.read() as session:
        trust = tls.client_context([certificates.own_ca(session).cert_pem], pair)
    try:
        return [calls(node.url, trust, grants) for grants in ways]
    finally:
        asyncio.run_coroutine_threadsafe(listener.stop(grace=2), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)


def calls(url: str, trust: ssl.SSLContext, grants: list[str]) -> float:
    """Calls a second, on several connections kept alive."""
    each = CALLS // CONNECTIONS
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        began = time.process_time()
        done = [pool.submit(call, url, trust, grants, number * each, each) for number in range(CONNECTIONS)]
        for one in done:
            one.result()
        return CALLS / (time.process_time() - began)


def call(url: str, trust: ssl.SSLContext, grants: list[str], first: int, count: int) -> None:
    """So many calls on one connection, each with another grant where there are several."""
    address = urlsplit(url)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=trust)
    for number in range(first, first + count):
        grant_id = grants[number * len(grants) // CALLS]
        connection.request("GET", f"{PREFIX}/resources/doc/one", headers={"Authorization": f"Bearer fg-{grant_id}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {answer.reason}")
    connection.close()
