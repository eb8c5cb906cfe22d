"""What others wait for while somebody attacks from the network: a peer's heartbeat, health, and an operator's act.

Run it by hand: `python -m tests.benchmarks inbound`. Prints a Markdown table. The node, the attackers and who measures
are processes of their own on one machine, so that the attackers' own work slows the rest, too; `quiet` is without any.
Under each attack alone the 99th percentile is to stay below 250 ms; under `all`, these attackers compete with the node
and with who measures for the processors.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from fedtui.core.bootstrap import init_node, open_node
from fedtui.core.grants import inventory
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, tls
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import settings
from tests.benchmarks.decisions import peer_of
from tests.benchmarks.heartbeats import processor, serving
from tests.benchmarks.reporting import say

SECONDS, PAUSE = 12, 0.05
EACH_SECOND = 25
"""Requests of one attacker, answered or not: past its rate, too."""
ADDRESSES = 18
KIB = 1024
NESTED = b'{"contract_version": 1, "capabilities": {"a": ' + b"[" * 64_000 + b"]" * 64_000 + b"}}"
WIDE = b'{"contract_version": 1, "acceptance_token": "x", "capabilities": {"a": [' + b'{"b": []},' * 4_900 + b"1]}}"
DOCUMENT = b"[" + (b"[" * 190 + b"]" * 190 + b",") * 2_700 + b"1]"
BLANKS = 120 * KIB * KIB
ATTACKS = ("quiet", "accept", "heartbeat", "put", "compressed", "silent", "half handshakes", "all")


def main() -> None:
    """Measure under each attack, print the table."""
    say(
        "| attack | heartbeat, ms: p50 | p99 | health, ms: p50 | p99 | act, ms: p50 | most | node's processor "
        "| memory, MB |"
    )
    say("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        node, honest, hostile, grant = made(Path(place))
        with node.read() as session:
            anchor = certificates.own_ca(session).cert_pem
        for name, (pem, key) in (("honest", honest), ("hostile", hostile)):
            (Path(place) / f"{name}.pem").write_bytes(pem.encode() + key)
        (Path(place) / "ca.pem").write_text(anchor)
        for attack in ATTACKS:
            say(line(attack, measured(node, attack, tls.client_context([anchor], honest), Path(place), grant)))
        node.close()


def made(place: Path) -> tuple[Node, tuple[str, bytes], tuple[str, bytes], str]:
    """A node with an honest and a hostile peer; the hostile one's grant."""
    home = place / "home"
    home.mkdir(mode=0o700)
    (home / settings.CONFIG_FILE).write_text("heartbeats_per_minute = 100000\nheartbeats_burst = 100000\n")
    loaded = settings.load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "bench"})
    init_node(loaded, name="bench", url="https://127.0.0.1:1").close()
    node = open_node(loaded)
    _, honest, _ = peer_of(node, "https://honest.example")
    peer_id, hostile, _ = peer_of(node, "https://hostile.example")
    with node.unit(node.actor("bench")) as unit:
        inventory.add(unit, "doc")
        peers.add(unit, url="https://other.example")
    given = {"peer": peer_id, "subject": "s@b", "kind": "doc", "scopes": ["read", "write"], "ttl": timedelta(days=30)}
    outcome = node.request(node.actor("bench"), "system.federation_grant_issue", given)
    return node, honest, hostile, str(outcome.result["id"])  # type: ignore[union-attr]


Measured = tuple[list[float], list[float], list[float], float, int]


def measured(node: Node, attack: str, trust: ssl.SSLContext, place: Path, grant: str) -> Measured:
    """Times of heartbeats, of health and of acts in seconds, the node's share of a processor, its memory in MB."""
    words = [sys.executable, "-m", "fedtui", "serve", "--listen", "127.0.0.1:0"]
    with serving(words, node) as (url, pid), attacking(attack, url, place, grant):
        with node.read() as session:
            from fedtui.core.runtime import daemons

            [daemon] = daemons.alive(session, now=node.clock.now(), ttl=timedelta(seconds=30))
            operations = str(daemon.operations_url)
        time.sleep(1)
        beats, health, acts = list[float](), list[float](), list[float]()
        before, began = processor(pid), time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            beats.append(took(lambda: heartbeat(url, trust)))
            health.append(took(lambda: healthy(operations)))
            acts.append(took(lambda: act(node, len(acts))))
            time.sleep(PAUSE)
        share = (processor(pid) - before) / (time.perf_counter() - began)
        status = Path(f"/proc/{pid}/status").read_text()
    return beats, health, acts, share, int(status.partition("VmHWM:")[2].split()[0]) // KIB


def line(attack: str, found: Measured) -> str:
    """A row of the table."""
    beats, health, acts, share, memory = found
    cells = [percentile(beats, 0.5), percentile(beats, 0.99), percentile(health, 0.5), percentile(health, 0.99)]
    cells += [percentile(acts, 0.5), max(acts)]
    return f"| {attack} | {' | '.join(f'{cell * 1000:.0f}' for cell in cells)} | {share:.0%} | {memory} |"


def percentile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


def took(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def heartbeat(url: str, trust: ssl.SSLContext) -> None:
    """One heartbeat on a connection of its own, as a node sends it."""
    address = urlsplit(url)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=trust, timeout=30)
    connection.request("POST", f"{PREFIX}/heartbeat", json.dumps({"platform_version": "1.0"}))
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise SystemExit(f"the honest peer was answered {status}")


def healthy(operations: str) -> None:
    address = urlsplit(operations)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("GET", "/healthz")
    if connection.getresponse().status != 200:
        raise SystemExit("not healthy")
    connection.close()


def act(node: Node, number: int) -> None:
    """An act that writes: a peer's planned maintenance, set and ended in turn."""
    given = {"peer": "https://other.example", "maintenance": "2h" if number % 2 else "off"}
    node.request(node.actor("bench"), "system.federation_peer_edit", given)


# --- the attackers -----------------------------------------------------------------------


@contextmanager
def attacking(attack: str, url: str, place: Path, grant: str) -> Iterator[None]:
    """Processes that attack, each with its own way, until the end."""
    ways = [way for way in ATTACKS[1:-1] if attack in (way, "all")]
    words = [sys.executable, "-m", "tests.benchmarks.inbound"]
    started = [subprocess.Popen([*words, way, url, str(place), grant]) for way in ways]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()


def attack(way: str, url: str, place: Path, grant: str) -> None:
    """One attacker, for as long as it may."""
    address = urlsplit(url)
    port = address.port or 0
    if way in ("silent", "half handshakes"):
        flood(port, hello() if way == "half handshakes" else b"")
        return
    trust = ssl.create_default_context(cafile=str(place / "ca.pem"))
    if way != "accept":
        trust.load_cert_chain(str(place / "hostile.pem"))
    accept, beat, anything = f"{PREFIX}/accept", f"{PREFIX}/heartbeat", ("/nope", "/crl")
    method, paths, bodies = {
        "accept": ("POST", (accept,), (NESTED, WIDE)),
        "heartbeat": ("POST", (beat,), (WIDE,)),
        "put": ("PUT", (f"{PREFIX}/resources/doc/one",), (DOCUMENT,)),
        "compressed": (
            "POST",
            (*anything, accept, beat),
            (gzip.compress(b" " * BLANKS) if way == "compressed" else b"",),
        ),
    }[way]
    headers = {"Authorization": f"Bearer fg-{grant}"} | ({"Content-Encoding": "gzip"} if way == "compressed" else {})
    number = 0
    while True:
        began, number = time.perf_counter(), number + 1
        with suppress(OSError, http.client.HTTPException):
            source = (f"127.0.2.{number % 3 + 1}", 0)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, context=trust, timeout=10, source_address=source
            )
            connection.request(method, paths[number % len(paths)], bodies[number % len(bodies)], headers)
            connection.getresponse().read()
            connection.close()
        time.sleep(max(0, 1 / EACH_SECOND - (time.perf_counter() - began)))


def hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()
    return outgoing.read()


def flood(port: int, says: bytes) -> None:
    """Connections from several addresses that say nothing, or too little: 200 a second, the newest 4,000 held."""
    held: list[socket.socket] = []
    while True:
        raw = socket.socket()
        raw.settimeout(1)
        with suppress(OSError):
            raw.bind((f"127.0.1.{len(held) % ADDRESSES + 1}", 0))
            raw.connect(("127.0.0.1", port))
            raw.sendall(says)
            held.append(raw)
        if len(held) > 4_000:
            held.pop(0).close()
        time.sleep(0.005)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        attack(*sys.argv[1:3], Path(sys.argv[3]), sys.argv[4])
    else:
        main()
