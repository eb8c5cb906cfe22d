"""Real nodes on loopback, federated: what the demo shows and what the drills are staged on.

Every node is a `fedtui serve` process with a home of its own and faster clocks; its two operators
act through the same gate as anyone. Nothing of the user's own node is touched: the children's
environment carries no FEDTUI_ variable but their own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from fedtui.child import ChildDaemon
from fedtui.core.bootstrap import init_node, open_node
from fedtui.core.errors import CheckFailed, Problem, Refused, Unusable
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import listing as peer_listing
from fedtui.core.runtime import daemons, settings
from fedtui.core.runtime import home as homes
from fedtui.lab.faults.model import MARKER, NETWORK

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
PROPOSER, APPROVER = "ada", "ben"
CLOCKS = {
    "heartbeat_interval": "2s",
    "stale_after": "8s",
    "manager_interval": "1s",
    "lease_ttl": "3s",
    "outbound_timeout": "3s",
    "maintenance_interval": "60s",
    "heartbeats_per_minute": 600,
}
ACTIVE_WITHIN_SECONDS = 60
LISTENING = "listening on https://"
"""What a daemon prints once it takes connections."""
POLL_SECONDS = 0.1
SLOW = ("remote_timeout",)
"""Codes of failures that a busy machine alone can cause: every node of the demo runs on this one."""
Say = Callable[[str], None]


@dataclass(slots=True)
class DemoNode:
    """One node of the demo: where it is, and its daemon."""

    name: str
    url: str
    home: Path
    daemon: ChildDaemon = field(init=False)

    def __post_init__(self) -> None:
        self.daemon = ChildDaemon(self.home, self.home / "serve.log")

    def settings(self, operator: str) -> settings.Settings:
        """This node's settings, for an operator."""
        return settings.load({"FEDTUI_HOME": str(self.home), "FEDTUI_OPERATOR": operator})

    @contextmanager
    def opened(self, operator: str) -> Iterator[Node]:
        """The node, as an operator of it."""
        node = open_node(self.settings(operator))
        try:
            yield node
        finally:
            node.close()


@dataclass(slots=True)
class Federation:
    """The demo's nodes; the first peers with each of the others."""

    nodes: list[DemoNode] = field(default_factory=list)

    def statuses(self) -> list[dict[str, Any]]:
        """Each node with its peers and their states, as the contract has it."""
        found = []
        for member in self.nodes:
            with member.opened(PROPOSER) as node, node.read() as session:
                peers = [
                    {"remote_instance_url": line.remote_instance_url, "status": line.status}
                    for line in peer_listing.page(session, sort="url")
                ]
            found.append({"name": member.name, "url": member.url, "home": str(member.home), "peers": peers})
        return found

    def all_active(self) -> bool:
        """Whether every peering is active on both sides."""
        counts = [[peer["status"] for peer in member["peers"]] for member in self.statuses()]
        expected = [len(self.nodes) - 1] + [1] * (len(self.nodes) - 1)
        return [len(one) for one in counts] == expected and all(status == "active" for one in counts for status in one)


def plan(directory: Path, count: int) -> list[DemoNode]:
    """Names, homes, and URLs on ports that are free at this moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    return [
        DemoNode(name, f"https://127.0.0.1:{port}", directory / name) for name, port in zip(NAMES, ports, strict=False)
    ]


def build(federation: Federation, say: Say) -> None:
    for member in federation.nodes:
        _set_up(member, say)
    for member in federation.nodes:
        member.daemon.start()
    for member in federation.nodes:
        await_listening(member)
        say(f"{member.name} serves on {member.url} (its own database, CA, vault and operators)")
    first, *others = federation.nodes
    for other in others:
        _peer(first, other, say)


def _set_up(member: DemoNode, say: Say) -> None:
    homes.make(member.home)
    config = {"listen": member.url.removeprefix("https://"), "sdwan_network": NETWORK, **CLOCKS}
    homes.write_private(member.home / settings.CONFIG_FILE, tomli_w.dumps(config).encode())
    homes.write_private(member.home / MARKER, b"{}\n")
    say(f"{member.name}$ fedtui init --name {member.name} --url {member.url}")
    node = init_node(member.settings(PROPOSER), name=member.name, url=member.url)
    try:
        say(f"{member.name}$ fedtui operators add {APPROVER}")
        node.request(node.actor("demo"), "system.operator_add", {"name": APPROVER})
    finally:
        node.close()


def _peer(first: DemoNode, other: DemoNode, say: Say) -> None:
    """Propose, approve, hand over the invite, accept, approve: each by the operator whose part it is."""
    say(f"{first.name}$ fedtui peers propose {other.url}")
    reason = "to show how two platforms federate"
    proposed = approved(first, "system.federation_peer_propose", {"url": other.url}, reason, say)
    say(f"{first.name}$ fedtui peers token {other.url} --ttl 1h")
    with first.opened(PROPOSER) as node:
        made = node.request(node.actor("demo"), "system.federation_peer_token", {"peer": proposed["peer_id"]})
    if not isinstance(made, Done):
        raise Refused("The demo's token needs approval.", cause="Its policies were changed.")
    say(f"The invite goes from {first.name} to {other.name}, out of band.")
    say(f"{other.name}$ fedtui peers accept --invite -")
    approved(other, "system.federation_peer_accept", {"invite": made.result["invite"]}, reason, say)


def approved(member: DemoNode, action: str, params: Mapping[str, Any], reason: str, say: Say) -> Mapping[str, Any]:
    """Ask as one operator, approve as the other, wait for the manager; the result."""
    with member.opened(PROPOSER) as node:
        asked = node.request(node.actor("demo"), action, params, reason=reason)
        if not isinstance(asked, Pending):
            return asked.result
        approval = asked.approval
    say(f"{member.name}: {PROPOSER} asks, {APPROVER} approves (digest {approval.digest[:8]})")
    with member.opened(APPROVER) as node:
        node.approve(node.actor("demo"), approval.id, approval.digest)
        row = until(lambda: _ended(node, approval.id), ACTIVE_WITHIN_SECONDS)
    if row is None or row.status != "executed":
        error = (row.error if row else None) or {"problem": "the manager did not take it up"}
        raise CheckFailed(f"{member.name}: the approved request was not carried out.", cause=str(error["problem"]))
    say(f"{member.name}: the SDWAN Manager carried it out")
    return row.result or {}


def _ended(node: Node, approval_id: str) -> approvals.Approval | None:
    """Return the request once it has ended. One that failed on a peer which was too slow is tried again."""
    with node.read() as session:
        row = approvals.find(session, approval_id)
    if row.status == "failed" and (row.error or {}).get("code") in SLOW:
        node.decide(node.actor("demo"), "retry", approval_id)
        return None
    return row if row.status not in ("pending", "approved", "executing") else None


def await_listening(member: DemoNode) -> None:
    """Wait until the daemon, as it was started last, takes connections. Raises `Unusable`."""
    daemon = member.daemon

    def listening() -> bool | None:
        if daemon.ended:
            raise Unusable(f"{member.name} did not start.", cause=daemon.complaint(), fix=f"See {daemon.log}.")
        return LISTENING in daemon.printed() or None

    if until(listening, ACTIVE_WITHIN_SECONDS) is None:
        raise Unusable(f"{member.name} did not start in time.", cause=daemon.complaint(), fix=f"See {daemon.log}.")


def await_active(federation: Federation, started: float) -> None:
    left = ACTIVE_WITHIN_SECONDS - (time.monotonic() - started)
    if until(lambda: federation.all_active() or None, left) is None:
        states = json.dumps([{one["name"]: one["peers"]} for one in federation.statuses()])
        raise CheckFailed(
            f"Not all peerings became active within {ACTIVE_WITHIN_SECONDS} s.",
            cause=states,
            fix="Run it again with --keep DIR and see each node's serve.log.",
            code="demo_not_active",
        )


def end_all(federation: Federation) -> None:
    """End the daemons that people have started on these homes, which are about to go."""
    for member in federation.nodes:
        if not (member.home / settings.CONFIG_FILE).exists():
            continue
        with suppress(Problem), member.opened(PROPOSER) as node:
            with node.read() as session:
                alive = daemons.alive(session, now=node.clock.now(), ttl=3 * node.settings.lease_ttl)
            for one in alive:
                with suppress(ProcessLookupError, PermissionError):
                    if one.host == socket.gethostname():
                        os.kill(one.pid, signal.SIGTERM)


def until(look: Callable[[], Any], seconds: float) -> Any:
    """What `look` gives, as soon as it gives anything; None when time is up."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found
