"""Remotes that are silent, slow or without end, all at once, under a running daemon."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path

import pytest

from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates
from fedtui.core.pki.x509 import read_certificates
from tests.api.conftest import ADA
from tests.api.test_hostile_remote import answering, drip, endless
from tests.chaos import stand
from tests.cli.test_crowd import trusting_nobody
from tests.homes import MakeHome, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
NAME = "never.example"
ROUNDS = 3
INTERVAL = timedelta(seconds=2)
SPARE = 6
"""Files and threads that may be open at one look and not at another: calls under way, the database's connections."""


def vanished(secured: ssl.SSLSocket) -> None:
    """Took the call, and is gone without a word: all that the caller has is a connection on which nothing comes."""
    while secured.recv(4096):
        pass


@contextmanager
def black_hole() -> Iterator[str]:
    """A port that lets nobody in: what knocks when its queue is full gets no answer at all."""
    with ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def deaf() -> Iterator[str]:
    """A port that lets everybody in, and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


def know(node: Node, url: str) -> None:
    """A peer in service whose server has a certificate of this node's own CA."""
    with node.unit(ADA) as unit:
        peer = peers.add(unit, url=url)
        peers.move(unit, peer.id, "accepted", signed_at=unit.now, contract_version_agreed=1)
        own = read_certificates(certificates.own_ca(unit.session).cert_pem, field="ca")[0]
        anchors.add(unit, peer.id, own, source="accept")


def held_open(home: stand.Strange, held: ExitStack) -> None:
    """Clients that came and vanished: before TLS, after it, and in the middle of a request."""
    address = ("127.0.0.1", int(home.listen.rpartition(":")[2]))
    for number in range(30):
        raw = held.enter_context(socket.create_connection(address))
        if number % 3:
            secured = held.enter_context(trusting_nobody().wrap_socket(raw))
            if number % 3 == 2:
                secured.sendall(b"POST /api/v1/system/federation_api/accept HTTP/1.1\r\nHost: x\r\nContent-Le")


def used(pid: int) -> tuple[int, int]:
    """Open files and threads of a process."""
    return tuple(len(list(Path(f"/proc/{pid}/{what}").iterdir())) for what in ("fd", "task"))  # type: ignore[return-value]


def test_peers_that_never_answer_hold_up_nobody(make_home: MakeHome) -> None:
    """A name that is never looked up, a port that swallows, one that is deaf, a peer gone in mid-call, one that
    answers a byte now and then, one that never ends: each is named as what it is, the schedule keeps its pace, the
    peer that lives is heard and called all the while, files and threads do not grow, and the daemon stops when told."""
    a, b = stand.federated(make_home, heartbeat_interval=f"{INTERVAL.seconds}s", outbound_timeout="1s")
    a.make_strange(silent=[NAME])
    daemon = a.daemon
    daemon.send_signal(signal.SIGUSR1)
    with ExitStack() as held:
        node = held.enter_context(a.opened())
        urls = {
            "name": f"https://{NAME}",
            "swallows": held.enter_context(black_hole()),
            "deaf": held.enter_context(deaf()),
        }
        answers = {"gone": vanished, "dribbles": drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9000), "endless": endless}
        for name, answer in answers.items():
            [urls[name]] = held.enter_context(answering(node, answer)).urls
        for url in urls.values():
            know(node, url)
        held_open(a, held)

        def named() -> dict[str, str]:
            found = {name: stand.peer(node, url) for name, url in urls.items()}
            return {name: (one.last_outbound_error or "").partition(":")[0] for name, one in found.items()}

        until(lambda: all(named().values()), "each was called")
        assert named() == {name: "remote_failing" if name == "endless" else "remote_timeout" for name in urls}
        before, began = used(daemon.pid), _heard(node, b.url)
        runs = list(islice(stand.runs(node, "federation_heartbeat"), ROUNDS))
        assert min(later - one for one, later in pairwise(runs)) < 2 * INTERVAL, runs  # a busy machine may miss one
        after, ended = used(daemon.pid), _heard(node, b.url)
        assert all(now <= then + SPARE for now, then in zip(after, before, strict=True)), (before, after)
        assert all(now > then for now, then in zip(ended, began, strict=True)), (began, ended)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    log = a.logs[-1].read_text()
    assert "Traceback" not in log, log


def _heard(node: Node, url: str) -> tuple[datetime, datetime]:
    """When the peer that lives was last heard of, and called."""
    living = stand.peer(node, url)
    assert living.status == "active"
    assert living.last_heartbeat_at is not None
    assert living.last_outbound_at is not None
    return living.last_heartbeat_at, living.last_outbound_at
