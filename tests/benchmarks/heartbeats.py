"""What one heartbeat over mTLS costs the daemon: one that arrives, against a bare asyncio server with the same TLS that
only answers; one that is sent, against a bare client of the module `ssl` with the same certificates.

Run it by hand: `python -m tests.benchmarks heartbeats`. Prints Markdown tables. Server and clients are processes of
their own; what counts is the processor time of the one that is measured, and the ratio.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import tomli_w

from fedtui import daemon
from fedtui.core.bootstrap import init_node
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, key_pairs, signing, tls
from fedtui.core.protocol import handshake, heartbeat_sender
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import settings
from tests.benchmarks.decisions import peer_of
from tests.benchmarks.reporting import say

CALLS, CONNECTIONS, ROUNDS = 4_000, 16, 3
RECIPIENTS = 200
TICK = os.sysconf("SC_CLK_TCK")
UNLIMITED = {"heartbeats_per_minute": 100_000_000, "heartbeats_burst": 100_000_000}
BODY = json.dumps({"platform_version": "1.0", "extension_slugs": ["dns"], "capabilities": {"contract_versions": [1]}})


def main() -> None:
    """Measure both, print the table."""
    with tempfile.TemporaryDirectory() as place:
        node, pair = made(Path(place) / "home")
        with node.read() as session:
            trust = tls.client_context([certificates.own_ca(session).cert_pem], pair)
        with serving([sys.executable, "-m", "fedtui", "serve", "--listen", "127.0.0.1:0"], node) as (url, pid):
            ours = measured(url, pid, trust)
        with serving([sys.executable, "-m", "tests.benchmarks.heartbeats", "bare"], node) as (url, pid):
            bare = measured(url, pid, trust)
            sent, by_hand = measured_sending(node, url), calling(url, trust)
        node.close()
    say("| server | processor, µs a request | x | p50, ms | calls/s |")
    say("|---|---|---|---|---|")
    for name, (cost, middle, rate) in (("bare asyncio, same TLS", bare), ("fedtui, written and committed", ours)):
        say(f"| {name} | {cost * 1e6:.0f} | {cost / bare[0]:.1f} | {middle * 1000:.1f} | {rate:,.0f} |")
    say("")
    say("| client, a connection each | processor, µs a call | x |")
    say("|---|---|---|")
    for name, cost in (("bare ssl, same certificates", by_hand), ("fedtui, read, sent and recorded", sent)):
        say(f"| {name} | {cost * 1e6:.0f} | {cost / by_hand:.1f} |")


def made(home: Path) -> tuple[Node, tuple[str, bytes]]:
    """A node without limits on rates, and the pair of a peer of it."""
    home.mkdir(mode=0o700)
    (home / settings.CONFIG_FILE).write_text(tomli_w.dumps(UNLIMITED))
    loaded = settings.load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "bench"})
    node = init_node(loaded, name="bench", url="https://127.0.0.1:1")
    _, pair, _ = peer_of(node, "https://mine.example")
    return node, pair


@contextmanager
def serving(words: list[str], node: Node) -> Iterator[tuple[str, int]]:
    """A server process that says where it listens in its first line."""
    environment = {**os.environ, "FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": "bench"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.communicate()


def measured(url: str, pid: int, trust: ssl.SSLContext) -> tuple[float, float, float]:
    """The server's processor time for a request, the median time of a call, and calls a second; the best round."""
    rounds = []
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            before, began = processor(pid), time.perf_counter()
            each = [pool.submit(calls, url, trust, CALLS // CONNECTIONS) for _ in range(CONNECTIONS)]
            times = [one for done in each for one in done.result()]
            took, spent = time.perf_counter() - began, processor(pid) - before
        rounds.append((spent / CALLS, statistics.median(times), CALLS / took))
    return min(rounds)


def processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / TICK


def calls(url: str, trust: ssl.SSLContext, count: int) -> list[float]:
    """So many heartbeats on one connection; how long each took."""
    address, times = urlsplit(url), []
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=trust)
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", f"{PREFIX}/heartbeat", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {answer.reason}")
    connection.close()
    return times


def measured_sending(node: Node, url: str) -> float:
    """This process's processor time for a heartbeat sent, in the best round; the one before fetches CRLs, too."""
    wanted = recipients(node, url)
    rounds = []
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        tally = heartbeat_sender.send_to(node, wanted, partial_mtls="refuse", within=timedelta(minutes=5))
        rounds.append((time.process_time() - began) / len(wanted))
        if tally["sent"] != len(wanted):
            raise SystemExit(str(tally))
    return min(rounds[1:])


def recipients(node: Node, url: str) -> list[str]:
    """Peers at the bare server, each with a pair of its own to present there: our own CA has signed them."""
    made = []
    with node.unit(node.actor("benchmark")) as unit:
        authority = signing.open_authority(unit.session, node.vault)
        for number in range(RECIPIENTS):
            peer = peers.add(unit, url=f"{url}/p{number}")
            peers.move(unit, peer.id, "accepted", signed_at=unit.now, contract_version_agreed=1)
            anchors.add(unit, peer.id, authority.certificate, source="accept")
            waiting = key_pairs.prepare(unit, node.vault, peer.id, common_name="bench")
            csr, _ = key_pairs.request_key_fingerprint(waiting.csr_pem)
            signed = handshake.sign_for(unit, node, peer, csr.public_key(), authority)
            key_pairs.complete(unit, peer.id, signed.cert_pem, "")
            made.append(peer.id)
    return made


def calling(url: str, trust: ssl.SSLContext) -> float:
    """The same for a call by hand: connect, shake hands, write, read once, close; the context is there."""
    address = urlsplit(url)
    asked = f"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode()
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(RECIPIENTS):
            raw = socket.create_connection((address.hostname, address.port))
            with trust.wrap_socket(raw, server_hostname=address.hostname) as secured:
                secured.sendall(asked)
                secured.recv(65536)
        rounds.append((time.process_time() - began) / RECIPIENTS)
    return min(rounds)


async def bare(node: Node) -> None:
    """A server that reads a request and answers, and does nothing else."""
    content = b'{"data": {"status": "active", "last_heartbeat_at": "2026-01-01T00:00:00+00:00", "our_endpoints": []}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client has hung up
            while asked := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line[15:] for line in asked.split(b"\r\n") if line.lower().startswith(b"content-length")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                writer.write(head + content)
        writer.close()

    _, context = daemon.server_context(node)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()[:2]
    say(f"listening on https://{host}:{port}")
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        from fedtui.core.bootstrap import open_node

        asyncio.run(bare(open_node(settings.load(dict(os.environ)))))
    else:
        main()
