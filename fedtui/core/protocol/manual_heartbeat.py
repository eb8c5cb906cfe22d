"""One heartbeat, sent at an operator's request."""

from __future__ import annotations

from fedtui.core.administration import node_settings, operators
from fedtui.core.errors import Refused
from fedtui.core.operations import quarantine
from fedtui.core.peers import peers
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeat_sender
from fedtui.core.runtime.actor import Actor


def send(site: NodeContext, actor: Actor, wanted: str) -> tuple[str, str | None]:
    """Send a heartbeat to a peer at once: its id, and why it failed or None.

    Raises `Refused` where the peer's state, or the operator's permissions, do not allow it.
    """
    with site.read() as session:
        operators.require(session, actor.name, operators.MANAGE_PEERS)
        quarantine.require_free(session)
        peer = peers.find(session, wanted)
        partial = node_settings.value(session, "partial_mtls")
    if peer.status not in peers.MAY_HEARTBEAT or peer.peer_kind != "platform":
        stands = peer.status if peer.peer_kind == "platform" else peer.peer_kind
        raise Refused(
            f"{peer.remote_instance_url} is {stands} and takes no heartbeats.",
            cause=f"They go to platforms that are {', '.join(peers.MAY_HEARTBEAT)}.",
            fix=f"See what comes next for it: fedtui peers show {peer.id}"
            if peer.peer_kind == "platform"
            else "Where it is to be a platform: revoke it, and propose it anew as one.",
            code="peer_not_reachable",
        )
    return peer.id, heartbeat_sender.send(site, peer.id, partial_mtls=partial, actor=actor)
