"""Nodes that really listen: the federation API on loopback, over real TLS sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from fedtui import daemon
from fedtui.api.federation import FederationApi
from fedtui.api.listener import Listener, bind
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.operations import approvals, gate
from fedtui.core.operations.gate import Done
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, signing, tls
from fedtui.core.protocol import heartbeat_sender
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """TLS libraries read the machine's clock, so here time starts at the present."""
    return ManualClock(at=datetime.now(UTC))


@dataclass
class Served:
    """A node with its listener, reachable at `node.url`."""

    node: Node
    api: FederationApi
    listener: Listener
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def stop(self) -> None:
        """Drain and stop the listener; the node stays open."""
        asyncio.run_coroutine_threadsafe(self.listener.stop(grace=2), self.loop).result(15)

    @property
    def ca_pem(self) -> str:
        with self.node.read() as session:
            return certificates.own_ca(session).cert_pem

    def client(self, pair: tuple[str, bytes] | None = None) -> httpx.Client:
        """An HTTP client that trusts this node's CA alone and presents `pair`."""
        return httpx.Client(
            base_url=self.node.url, verify=tls.client_context([self.ca_pem], pair), trust_env=False, timeout=10
        )

    def post(
        self, path: str, body: Any = None, *, pair: tuple[str, bytes] | None = None, **options: Any
    ) -> httpx.Response:
        with self.client(pair) as client:
            return client.post(f"{PREFIX}/{path}", json=body, **options)


Serve = Callable[..., Served]


@pytest.fixture
def serve(make_node: MakeNode) -> Iterator[Serve]:
    """Starts nodes that listen: `serve("alpha", accepts_burst=2)`."""
    running: list[Served] = []

    def start(name: str = "alpha", **options: Any) -> Served:
        bound = bind("127.0.0.1", 0)
        port = bound.getsockname()[1]
        node = make_node(name, url=f"https://127.0.0.1:{port}", listen=f"127.0.0.1:{port}", **options)
        _, context = daemon.server_context(node)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        api = FederationApi(node)
        listener = Listener(
            api.application(),
            context=context,
            per_address=node.settings.connections_per_address,
            most=node.settings.connections,
            handshakes=node.settings.handshakes,
            refused=api.handshake_refused,
        )
        asyncio.run_coroutine_threadsafe(listener.start(bound), loop).result(10)
        running.append(Served(node, api, listener, loop, thread))
        return running[-1]

    yield start
    for served in running:
        served.stop()
        asyncio.run_coroutine_threadsafe(_end_tasks(), served.loop).result(15)
        asyncio.run_coroutine_threadsafe(served.loop.shutdown_default_executor(), served.loop).result(15)
        served.loop.call_soon_threadsafe(served.loop.stop)
        served.thread.join()
        served.loop.close()


async def _end_tasks() -> None:
    """Cancel what still runs on this loop, as `asyncio.run` does."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def served(serve: Serve) -> Served:
    """One listening node, alpha."""
    return serve()


def proposed_with_token(node: Node, url: str = "https://b.example", **options: Any) -> tuple[str, str]:
    """A proposed peer and its token."""
    actor = node.actor("test")
    with node.unit(actor) as unit:
        peer_id = peers.add(unit, url=url, **options).id
    outcome = node.request(actor, "system.federation_peer_token", {"peer": peer_id})
    assert isinstance(outcome, Done)
    return peer_id, str(outcome.result["acceptance_token"])


def accept_body(token: str | None, url: str = "https://b.example", **more: Any) -> dict[str, Any]:
    return {"contract_version": 1, "remote_instance_url": url, "acceptance_token": token, **more}


def joined(served: Served, url: str = "https://b.example") -> tuple[str, tuple[str, bytes]]:
    """A peer that has been accepted over HTTP: its id, and the pair it presents."""
    peer_id, token = proposed_with_token(served.node, url)
    key = signing.new_key()
    body = accept_body(token, url, csr_pem=signing.signing_request(key, "b"))
    answer = served.post("accept", body).json()["data"]
    return peer_id, (answer["certificate"]["cert_pem"], signing.key_pem(key))


ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")


def act(node: Node, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an act by ada came to; one that has to be approved is, by ben, and carried out."""
    outcome = node.request(ADA, f"system.{action}", params, reason="test")
    if isinstance(outcome, Done):
        return outcome.result
    approval = outcome.approval
    node.approve(BEN, approval.id, approval.digest, reason="test")
    assert gate.execute(node, node.acts, approval.id) == "executed", approval.id
    with node.read() as session:
        return approvals.find(session, approval.id).result or {}


def causes(node: Node) -> set[str]:
    """The causes that the doctor names about peers, of what the record shows."""
    return {
        finding.cause.code for finding in node.diagnose(DiagnosisTarget()).findings if finding.subject.scope == "peer"
    }


@dataclass
class Federated:
    """Two nodes that are active with each other. `at_a` is beta's id at alpha, `at_b` alpha's at beta."""

    a: Served
    b: Served
    at_a: str
    at_b: str


@pytest.fixture
def federated(serve: Serve) -> Federated:
    """Alpha and beta, by the whole handshake over real sockets; ben approves on both."""
    return federate(serve("alpha"), serve("beta"))


def federate(a: Served, b: Served) -> Federated:
    """Let b accept a's invite."""
    for one in (a, b):
        one.node.request(ADA, "system.operator_add", {"name": "ben"})
    at_a = str(act(a.node, "federation_peer_propose", {"url": b.node.url})["peer_id"])
    outcome = a.node.request(ADA, "system.federation_peer_token", {"peer": at_a})
    assert isinstance(outcome, Done)
    at_b = str(act(b.node, "federation_peer_accept", {"invite": outcome.result["invite"]})["peer_id"])
    found = Federated(a, b, at_a, at_b)
    assert heartbeat_sender.send(a.node, at_a) is None
    for node, peer_id in ((a.node, at_a), (b.node, at_b)):
        with node.read() as session:
            assert peers.get(session, peer_id).status == "active"
    return found
