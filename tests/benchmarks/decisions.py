"""How fast the authorization chain decides, and that it does not matter how many grants there are.

Run it by hand: `python -m tests.benchmarks.decisions`. Prints a Markdown table; what counts
are the ratios to one grant, since machines differ.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert

from fedtui import daemon
from fedtui.api.federation import FederationApi
from fedtui.api.listener import Listener, bind
from fedtui.core.access import chain, inventory
from fedtui.core.access.callers import Caller
from fedtui.core.access.chain import RESOURCES, Asked
from fedtui.core.access.grants import Grant
from fedtui.core.node import Node, init_node
from fedtui.core.peering import peers
from fedtui.core.peering.client import PREFIX
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from fedtui.core.trust import certificates, signing, tls

SIZES = (1, 1_000, 100_000)
ROUNDS = 3_000
CALLS, CONNECTIONS = 2_000, 8
ALIKE_ROUNDS = 2_000
ACTOR = Actor("operator", "bench", origin="bench")


def main() -> None:
    """Measure each size, print the table."""
    say("| grants | in process, decisions/s | x | over mTLS, calls/s | x | foreign / unknown, time |")
    say("|---|---|---|---|---|---|")
    first: tuple[float, float] | None = None
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            inside, outside, alike = measure(Path(place), size)
        first = first or (inside, outside)
        ratios = inside / first[0], outside / first[1]
        say(f"| {size:,} | {inside:,.0f} | {ratios[0]:.2f} | {outside:,.0f} | {ratios[1]:.2f} | {alike:.2f} |")


def say(line: str) -> None:
    """A line of the table, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure(place: Path, size: int) -> tuple[float, float, float]:
    """Decisions a second in process and over mTLS, and the ratio of times of a foreign and an unknown grant."""
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
    base = Asked(RESOURCES, Caller(fingerprint, "10.1.2.3"), "GET", "doc", "one")

    def judge(grant_id: str) -> Callable[[], object]:
        asked = Asked(base.call, base.caller, base.method, base.kind, base.resource_id, f"fg-{grant_id}")

        def once() -> object:
            with node.read() as session:
                return chain.judge(session, asked, now=node.clock.now())

        return once

    def spread() -> float:
        picked = [judge(grants[number * len(grants) // ROUNDS]) for number in range(ROUNDS)]
        began = time.perf_counter()
        for once in picked:
            once()
        return ROUNDS / (time.perf_counter() - began)

    inside = max(spread() for _ in range(3))
    alike = median_of(judge(foreign)) / median_of(judge(new_id()))
    outside = served(node, bound, pair, grants)
    node.close()
    return inside, outside, alike


def peer_of(node: Node, url: str) -> tuple[str, tuple[str, bytes], str]:
    """An active peer with its pair."""
    key = signing.new_key()
    with node.unit(ACTOR) as unit:
        peer = peers.add(unit, url=url)
        peer.status, peer.last_heartbeat_at = "active", unit.now
        row = signing.issue_for_peer(
            unit, signing.open_authority(unit.session, node.vault), peer_id=peer.id, instance_id=peer.node_instance_id,
            key=key.public_key(), lifetime=timedelta(days=90),
        )  # fmt: skip
        return peer.id, (row.cert_pem, signing.key_pem(key)), row.fingerprint


def fill(node: Node, peer_id: str, count: int) -> list[str]:
    """So many grants of a peer, restricted by address; their ids."""
    with node.unit(ACTOR) as unit:
        rows = [
            {
                "id": new_id(), "peer_id": peer_id, "remote_subject": f"s{number}@b", "resource_kind": "doc",
                "resource_id": None, "permission_scopes": ["read"], "node_instance_ids": [], "sdwan_network_ids": [],
                "source_cidrs": ["10.0.0.0/8", "127.0.0.0/8"], "issued_at": unit.now, "issued_by": "bench",
                "ttl_seconds": 86_400, "expires_at": unit.now + timedelta(days=30),
            }
            for number in range(count)
        ]  # fmt: skip
        unit.session.execute(insert(Grant), rows)
    return [str(row["id"]) for row in rows]


def median_of(once: Callable[[], object]) -> float:
    """The median time of one call, in seconds."""
    times = []
    for _ in range(ALIKE_ROUNDS):
        began = time.perf_counter()
        once()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def served(node: Node, bound: object, pair: tuple[str, bytes], grants: list[str]) -> float:
    """Calls a second over mTLS, several connections kept alive; clients and server share the machine."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    _, context = daemon.server_context(node)
    listener = Listener(FederationApi(node).application(), context=context)
    asyncio.run_coroutine_threadsafe(listener.start(bound), loop).result(10)  # type: ignore[arg-type]
    with node.read() as session:
        trust = tls.client_context([certificates.own_ca(session).cert_pem], pair)
    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            began = time.perf_counter()
            each = CALLS // CONNECTIONS
            done = [pool.submit(call, node.url, trust, grants, number * each, each) for number in range(CONNECTIONS)]
            for one in done:
                one.result()
            return CALLS / (time.perf_counter() - began)
    finally:
        asyncio.run_coroutine_threadsafe(listener.stop(grace=2), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)


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


if __name__ == "__main__":
    main()
