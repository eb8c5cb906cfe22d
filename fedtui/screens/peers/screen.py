"""Peers: every remote platform this node knows, what will hurt first on top."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from fedtui.screens.mtls.probe import show_probe
from fedtui.screens.peers.actions import PEER_ACTS, peer_label, takes_heartbeats
from fedtui.screens.peers.columns import address, columns, describe
from fedtui.screens.peers.view import describe_record
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import BY_NAME, DETAIL, EVERYWHERE, PEER, PEERS, TABLE
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.shell.data_freshness import Trouble
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.peers.listing import PeerLine


class _Peers(Kind["PeerLine"]):
    """A heartbeat is no act of the gate, and asks nothing; it has its states all the same."""

    def refusal(self, name: str, line: PeerLine) -> str:
        """Why a command is not for this peer."""
        return takes_heartbeats(line) if name == "heartbeat" else super().refusal(name, line)


PEERS_KIND = _Peers(
    place="peers",
    title="Peers",
    noun="peer",
    acts=PEER_ACTS,
    first_sort="urgency",
    empty=Empty(
        "No peers yet.",
        tuple(f"{{{name}}}   {BY_NAME[name].help}" for name in ("propose", "accept")),
    ),
    columns=lambda shared: columns(lambda: shared.stale_after),
    name=lambda line: address(line.remote_instance_url),
    label=peer_label,
    describe=lambda line, now, shared: describe(line, now, shared.stale_after),
    describe_record=describe_record,
    record=lambda node, id: node.peer_record(id),
)


def _send_heartbeat(screen: Acting[PeerLine]) -> None:
    """Send one now, to the peer that the screen is about."""
    [peer_id] = screen.selected(BY_NAME["heartbeat"])
    screen.app.run_worker(_heartbeat(screen, peer_id), group="act", exit_on_error=False)


async def _heartbeat(screen: Acting[PeerLine], peer_id: str) -> None:
    shared = screen.shared
    node = shared.opened_node()
    work = asyncio.ensure_future(shared.acting.run(lambda: node.heartbeat_now(node.actor(ORIGIN), peer_id)))
    try:
        await screen.left(work, "Sending a heartbeat")
        failure = await work
    except Exception as error:
        await screen.tell_trouble(error)
        return
    if failure is None:
        screen.say("The peer answered.")
        return
    _, _, said = failure.partition(": ")
    fix = "See that its daemon runs, that it can be reached from here, and that the certificates hold."
    await screen.tell_trouble(None, Trouble("The heartbeat did not arrive.", said or failure, fix))


def _probe(screen: Acting[PeerLine]) -> None:
    """Look at the TLS of the peer that the screen is about."""
    [peer_id] = screen.selected(BY_NAME["probe"])

    async def show() -> None:
        line = await screen.line_of(peer_id)
        if line is not None:
            await show_probe(screen, peer_id, address(line.remote_instance_url))

    screen.app.run_worker(show(), group="act", exit_on_error=False)


class PeersScreen(ListScreen["PeerLine"]):
    """The live table of peers."""

    kind = PEERS_KIND
    places: ClassVar[tuple[str, ...]] = (PEERS, TABLE, EVERYWHERE)

    def do_heartbeat(self) -> None:
        """Send a heartbeat now."""
        _send_heartbeat(self)

    def do_probe(self) -> None:
        """Look at the peer's TLS."""
        _probe(self)


class PeerScreen(RecordScreen["PeerLine"]):
    """One peer in full."""

    kind = PEERS_KIND
    places: ClassVar[tuple[str, ...]] = (PEER, DETAIL, EVERYWHERE)

    def do_heartbeat(self) -> None:
        """Send a heartbeat now."""
        _send_heartbeat(self)

    def do_probe(self) -> None:
        """Look at the peer's TLS."""
        _probe(self)
