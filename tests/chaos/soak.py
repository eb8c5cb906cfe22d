"""A soak: so many peers heartbeating against one real node, two consoles open, and what it costs minute by minute.

    python -m tests.chaos.soak --peers 500 --minutes 15

The peers are certificates of the node's own CA, presented by mTLS clients of one process, each once a minute, spread
over the minute and reconnecting now and then as real ones do. Limits per address are raised: all come from here.
At the end a table: memory and open files of daemon and consoles, latency of a heartbeat, and the last quarter of the
time against the first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import ssl
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, signing, tls
from fedtui.core.pki.x509 import read_certificates
from fedtui.core.protocol import handshake
from fedtui.core.protocol.client import PREFIX
from tests import homes
from tests.benchmarks.terminal import Terminal, environment
from tests.homes import Home

LIMITS = {"connections_per_address": 4096, "connections": 8192, "heartbeats_per_minute": 600, "outbound_timeout": "2s"}
EVERY_SECONDS = 60.0
RECONNECTS = 0.1
"""How often a peer comes with a new connection instead of the one it had."""
QUARTERS = 4


@dataclass
class Minute:
    """What was seen in one minute: megabytes and open files by process, heartbeats and their milliseconds."""

    memory: dict[str, float]
    files: dict[str, int]
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    def numbers(self) -> dict[str, float]:
        """A row of the table."""
        sorted_ = sorted(self.latencies) or [0.0]
        return {
            "heartbeats": len(self.latencies),
            "failed": self.failed,
            "p50 ms": statistics.median(sorted_),
            "p95 ms": sorted_[min(len(sorted_) - 1, int(len(sorted_) * 0.95))],
            **{f"{name} MB": value for name, value in self.memory.items()},
            **{f"{name} files": value for name, value in self.files.items()},
        }


def enrol(node: Node, count: int) -> list[tuple[str, bytes]]:
    """Peers as the handshake leaves them, and the pairs they present. They are not called: their host is nowhere."""
    pairs = []
    with node.unit(node.actor("soak")) as unit:
        authority = signing.open_authority(unit.session, node.vault)
        own = read_certificates(certificates.own_ca(unit.session).cert_pem, field="ca")[0]
        for number in range(count):
            peer = peers.add(unit, url=f"https://127.0.0.1:1/p{number}")
            peer = peers.move(unit, peer.id, "accepted", signed_at=unit.now, contract_version_agreed=1)
            anchors.add(unit, peer.id, own, source="accept")
            key = signing.new_key()
            row = handshake.sign_for(unit, node, peer, key.public_key(), authority)
            pairs.append((row.cert_pem, signing.key_pem(key)))
    return pairs


class Fleet:
    """All the peers."""

    def __init__(self, url: str, ca_pem: str, pairs: list[tuple[str, bytes]]) -> None:
        self._url = url
        self._contexts: list[ssl.SSLContext] = [tls.client_context([ca_pem], pair) for pair in pairs]
        self.latencies: list[float] = []
        self.failures: list[str] = []

    async def heartbeat_until(self, end: float) -> None:
        """Each once a minute, until then."""
        await asyncio.gather(*(self._one(context, number, end) for number, context in enumerate(self._contexts)))

    async def _one(self, context: ssl.SSLContext, number: int, end: float) -> None:
        await asyncio.sleep(EVERY_SECONDS * number / len(self._contexts))
        client = self._client(context)
        due = time.monotonic()
        while due < end:
            began = time.monotonic()
            try:
                body = {"sent_at": datetime.now(UTC).isoformat(), "capabilities": {"contract_versions": [1]}}
                answer = await client.post(f"{PREFIX}/heartbeat", json=body)
                answer.raise_for_status()
                self.latencies.append((time.monotonic() - began) * 1000)
            except httpx.HTTPError as error:
                self.failures.append(str(error) or type(error).__name__)
            if random.random() < RECONNECTS:  # noqa: S311
                await client.aclose()
                client = self._client(context)
            due += EVERY_SECONDS
            await asyncio.sleep(max(0.0, min(due, end) - time.monotonic()))
        await client.aclose()

    def _client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, verify=context, trust_env=False, timeout=30)


def looked_at(processes: dict[str, int]) -> Minute:
    """Memory and open files now."""
    page = os.sysconf("SC_PAGE_SIZE")
    resident = {name: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for name, pid in processes.items()}
    files = {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in processes.items()}
    return Minute({name: pages * page / 1e6 for name, pages in resident.items()}, files)


async def soak(fleet: Fleet, minutes: int, processes: dict[str, int], consoles: list[Terminal]) -> list[Minute]:
    """Run for so long; a look at each minute's end."""
    loop, seen = asyncio.get_running_loop(), []
    for console in consoles:  # somebody reads what they draw
        loop.add_reader(console.master, lambda one=console: os.read(one.master, 65536))
    began = time.monotonic()
    beating = asyncio.create_task(fleet.heartbeat_until(began + minutes * EVERY_SECONDS))
    for number in range(1, minutes + 1):
        await asyncio.sleep(began + number * EVERY_SECONDS - time.monotonic())
        minute = looked_at(processes)
        minute.latencies, fleet.latencies = fleet.latencies, []
        minute.failed, failures, fleet.failures = len(fleet.failures), fleet.failures, []
        seen.append(minute)
        print(number, {name: round(value, 1) for name, value in minute.numbers().items()}, failures[:2], flush=True)  # noqa: T201
        for console in consoles:
            console.press("jk")
    await beating
    for console in consoles:
        loop.remove_reader(console.master)
    return seen


def table(seen: list[Minute]) -> str:
    """The first quarter of the minutes, the last, and how they stand to each other (the first minute warms up)."""
    counted = [minute.numbers() for minute in seen[1:] or seen]
    size = max(1, len(counted) // QUARTERS)
    lines = ["| | first quarter | last quarter | ratio |", "|---|---|---|---|"]
    for name in counted[0]:
        first, last = (statistics.mean(one[name] for one in part) for part in (counted[:size], counted[-size:]))
        ratio = f"{last / first:.2f}" if first else "-"
        lines.append(f"| {name} | {first:.1f} | {last:.1f} | {ratio} |")
    return "\n".join(lines)


def set_up(folder: Path, count: int) -> tuple[Home, str, list[tuple[str, bytes]]]:
    """The node, its CA, and the peers' pairs."""
    home = homes.set_up(folder / "soaked", "--single-operator", kind=Home, **LIMITS)
    with home.opened() as node:
        pairs = enrol(node, count)
        with node.read() as session:
            return home, certificates.own_ca(session).cert_pem, pairs


def run(folder: Path, count: int, minutes: int) -> list[Minute]:
    """The whole of it; what was seen in each minute."""
    home, ca_pem, pairs = set_up(folder, count)
    daemon = home.serve()
    environ = environment(FEDTUI_HOME=str(home.path), FEDTUI_OPERATOR="ada")
    consoles = [Terminal("-m", "fedtui", "console", "-c", place, environ=environ) for place in ("peers", "events")]
    try:
        for console in consoles:
            console.await_text("soaked", seconds=60)
        processes = {"daemon": daemon.pid, "console 1": consoles[0].process.pid, "console 2": consoles[1].process.pid}
        seen = asyncio.run(soak(Fleet(home.url, ca_pem, pairs), minutes, processes, consoles))
        status: list[dict[str, Any]] = home.ok("peers", "list", "--limit", str(count))
        silent = [one["id"] for one in status if one["status"] != "active"]
        print(f"{len(status) - len(silent)} of {count} peers are active", flush=True)  # noqa: T201
        return seen
    finally:
        for console in consoles:
            console.close()
        daemon.terminate()
        daemon.wait(timedelta(seconds=60).total_seconds())


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--peers", type=int, default=500)
    options.add_argument("--minutes", type=int, default=15)
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fedtui-soak-"))
    try:
        print(table(run(folder, chosen.peers, chosen.minutes)))  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
