"""The demo: real nodes on loopback, federated before your eyes, and the console on the first.

Every node is a `fedtui serve` process with a home of its own and faster clocks; the two
operators act through the same gate as anyone. Nothing of the user's own node is touched:
the children's environment carries no FEDTUI_ variable but the demo's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from fedtui.child import ChildDaemon
from fedtui.core.acts.gate import Done, Pending
from fedtui.core.control import approvals
from fedtui.core.errors import CheckFailed, Refused, Unusable, WrongUsage
from fedtui.core.node import Node, init_node, open_node
from fedtui.core.peering import listing
from fedtui.core.runtime import home as homes
from fedtui.core.runtime import settings

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
PROPOSER, APPROVER = "ada", "ben"
CLOCKS = {
    "heartbeat_interval": "2s",
    "stale_after": "8s",
    "manager_interval": "1s",
    "lease_ttl": "3s",
    "outbound_timeout": "3s",
    "maintenance_interval": "60s",
}
PREFIX = "fedtui-demo-"
MARKER = "demo.json"
ACTIVE_WITHIN_SECONDS = 60
CALM_SECONDS = 12
OUTAGE_SECONDS = 16
POLL_SECONDS = 0.1
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
                    for line in listing.page(session, sort="url")
                ]
            found.append({"name": member.name, "url": member.url, "home": str(member.home), "peers": peers})
        return found

    def all_active(self) -> bool:
        """Whether every peering is active on both sides."""
        counts = [[peer["status"] for peer in member["peers"]] for member in self.statuses()]
        expected = [len(self.nodes) - 1] + [1] * (len(self.nodes) - 1)
        return [len(one) for one in counts] == expected and all(status == "active" for one in counts for status in one)


def run(*, nodes: int, keep: Path | None, headless: bool, exit_when_active: bool) -> int:
    """Build the federation, then show it. The exit code; everything is cleaned up on the way out."""
    if not 2 <= nodes <= len(NAMES):
        raise WrongUsage(
            f"The demo runs 2 to {len(NAMES)} nodes, not {nodes}.",
            cause="The first of them peers with each of the others.",
            fix="Give --nodes 2.",
        )
    started = time.monotonic()
    with ExitStack() as stack:
        _leave_on_signals(stack)
        directory = _directory(stack, keep)
        federation = Federation(_plan(directory, nodes))
        for member in federation.nodes:
            stack.callback(member.daemon.stop)
        _build(federation, _say)
        _await_active(federation, started)
        seconds = round(time.monotonic() - started, 1)
        _say(f"All peerings are active on both sides, {seconds} s after the start.")
        if exit_when_active:
            print(json.dumps({"nodes": federation.statuses(), "seconds": seconds}))  # noqa: T201 - the contract
            return 0
        if headless:
            _say("Running until Ctrl-C. Look in with: FEDTUI_HOME=" + str(federation.nodes[0].home) + " fedtui")
            signal.pause()
        return _console(federation, keep)


def _plan(directory: Path, count: int) -> list[DemoNode]:
    """Names, homes, and URLs on ports that are free at this moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    return [
        DemoNode(name, f"https://127.0.0.1:{port}", directory / name) for name, port in zip(NAMES, ports, strict=False)
    ]


def _build(federation: Federation, say: Say) -> None:
    for member in federation.nodes:
        _set_up(member, say)
    for member in federation.nodes:
        member.daemon.start()
    for member in federation.nodes:
        _await_listening(member)
        say(f"{member.name} serves on {member.url} (its own database, CA, vault and operators)")
    first, *others = federation.nodes
    for other in others:
        _peer(first, other, say)


def _set_up(member: DemoNode, say: Say) -> None:
    homes.make(member.home)
    config = {"listen": member.url.removeprefix("https://"), **CLOCKS}
    homes.write_private(member.home / settings.CONFIG_FILE, tomli_w.dumps(config).encode())
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
    proposed = _approved(first, "system.federation_peer_propose", {"url": other.url}, reason, say)
    say(f"{first.name}$ fedtui peers token {other.url} --ttl 1h")
    with first.opened(PROPOSER) as node:
        made = node.request(node.actor("demo"), "system.federation_peer_token", {"peer": proposed["peer_id"]})
    if not isinstance(made, Done):
        raise Refused("The demo's token needs approval.", cause="Its policies were changed.")
    say(f"The invite goes from {first.name} to {other.name}, out of band.")
    say(f"{other.name}$ fedtui peers accept --invite -")
    _approved(other, "system.federation_peer_accept", {"invite": made.result["invite"]}, reason, say)


def _approved(member: DemoNode, action: str, params: Mapping[str, Any], reason: str, say: Say) -> Mapping[str, Any]:
    """Ask as one operator, approve as the other, wait for the manager; the result."""
    with member.opened(PROPOSER) as node:
        asked = node.request(node.actor("demo"), action, params, reason=reason)
        if not isinstance(asked, Pending):
            return asked.result
        approval = asked.approval
    say(f"{member.name}: {PROPOSER} asks, {APPROVER} approves (digest {approval.digest[:8]})")
    with member.opened(APPROVER) as node:
        node.approve(node.actor("demo"), approval.id, approval.digest)
        row = _until(lambda: _ended(node, approval.id), ACTIVE_WITHIN_SECONDS)
    if row is None or row.status != "executed":
        error = (row.error if row else None) or {"problem": "the manager did not take it up"}
        raise CheckFailed(f"{member.name}: the approved request was not carried out.", cause=str(error["problem"]))
    say(f"{member.name}: the SDWAN Manager carried it out")
    return row.result or {}


def _ended(node: Node, approval_id: str) -> approvals.Approval | None:
    with node.read() as session:
        row = approvals.find(session, approval_id)
    return row if row.status not in ("pending", "approved", "executing") else None


def _await_listening(member: DemoNode) -> None:
    log = member.daemon.log

    def listening() -> bool | None:
        if member.daemon.ended:
            raise Unusable(f"{member.name} did not start.", cause=log.read_text()[-500:], fix=f"See {log}.")
        return b"listening on" in log.read_bytes() or None

    if _until(listening, ACTIVE_WITHIN_SECONDS) is None:
        raise Unusable(f"{member.name} did not start in time.", cause=log.read_text()[-500:], fix=f"See {log}.")


def _await_active(federation: Federation, started: float) -> None:
    left = ACTIVE_WITHIN_SECONDS - (time.monotonic() - started)
    if _until(lambda: federation.all_active() or None, left) is None:
        states = json.dumps([{one["name"]: one["peers"]} for one in federation.statuses()])
        raise CheckFailed(
            f"Not all peerings became active within {ACTIVE_WITHIN_SECONDS} s.",
            cause=states,
            fix="Run it again with --keep DIR and see each node's serve.log.",
            code="demo_not_active",
        )


def _console(federation: Federation, keep: Path | None) -> int:
    from fedtui.app import run_console

    first = federation.nodes[0]
    weather = Weather(federation.nodes[-1])
    weather.start()
    try:
        return run_console(lambda: open_node(first.settings(PROPOSER)), mode="DEMO", notice=weather.notice)
    finally:
        weather.end()
        if keep is not None:
            _say(f"The nodes are kept in {keep}; go on with: FEDTUI_HOME={first.home} fedtui serve")


class Weather:
    """One outage while the console shows: the last node stops, is found degraded, and comes back."""

    def __init__(self, member: DemoNode) -> None:
        self._member = member
        self._over = threading.Event()
        self._text = ""
        self._thread = threading.Thread(target=self._pass, name="weather", daemon=True)

    def start(self) -> None:
        """Begin with calm."""
        self._thread.start()

    def end(self) -> None:
        """Stop wherever it is."""
        self._over.set()
        self._thread.join()

    def notice(self) -> str:
        """What the console should say about it now."""
        return self._text

    def _pass(self) -> None:
        name = self._member.name
        self._text = f"Demo: {name} will stop in {CALM_SECONDS} s. Watch its row degrade, then recover."
        if self._over.wait(CALM_SECONDS):
            return
        self._member.daemon.stop()
        self._text = f"Demo: {name} has stopped. After {CLOCKS['stale_after']} of silence the sweep degrades it."
        if self._over.wait(OUTAGE_SECONDS):
            return
        self._member.daemon.start()
        self._text = f"Demo: {name} is back. Its next heartbeat makes it active again by itself."
        if not self._over.wait(OUTAGE_SECONDS):
            self._text = "Demo: that was an outage. The nodes keep running until you quit with q."


def _directory(stack: ExitStack, keep: Path | None) -> Path:
    """Where the homes go: a directory of our own, removed at the end, or the one to keep."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise Refused(
                f"{keep} is not empty.",
                cause="The demo makes new nodes and writes over nothing.",
                fix="Give a directory that is empty or does not exist.",
                code="not_empty",
            )
        homes.make(keep.absolute())
        return keep.absolute()
    _remove_leftovers()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    (directory / MARKER).write_text(json.dumps({"pid": os.getpid()}))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _remove_leftovers() -> None:
    """Take away what a demo that was killed could not."""
    for marker in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{MARKER}"):
        try:
            if marker.stat().st_uid != os.getuid():
                continue
            os.kill(int(json.loads(marker.read_text())["pid"]), 0)
        except ProcessLookupError:
            shutil.rmtree(marker.parent, ignore_errors=True)
        except (OSError, ValueError, KeyError):
            continue


def _leave_on_signals(stack: ExitStack) -> None:
    """SIGTERM and SIGHUP unwind like an exception, so that the children are stopped."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        before = signal.signal(number, leave)
        stack.callback(signal.signal, number, before)


def _until(look: Callable[[], Any], seconds: float) -> Any:
    """What `look` gives, as soon as it gives anything; None when time is up."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - narration goes to standard error
