"""The handshake: how two nodes come to hold each other's certificates (domain, section 3).

One side admits (`admitting.py`: it answers `accept` and takes the delivered certificate); the
other accepts (`accepting.py`: it calls `accept`, stores what came back, and delivers). Each
step stores before it sends and may be repeated: whatever is lost on the way, running it again
finishes it. Here is what both sides do.
"""

from __future__ import annotations

from typing import Any

from fedtui.core.administration import node_settings
from fedtui.core.audit.events import emit
from fedtui.core.grants import grants
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeat_sender
from fedtui.core.runtime.unit import Unit

SOURCE = "accept_controller"


def sign_for(unit: Unit, site: NodeContext, peer: Peer, key: Any, authority: signing.Authority) -> Certificate:
    """Sign what the peer will present to us, for its public key."""
    return signing.issue_for_peer(
        unit,
        authority,
        peer_id=peer.id,
        instance_id=peer.node_instance_id,
        key=key,
        lifetime=site.settings.leaf_lifetime,
    )


def certificate_fields(row: Certificate) -> dict[str, Any]:
    """A certificate as `accept` and `renew` answer it (contract, HTTP)."""
    return {
        "cert_pem": row.cert_pem,
        "ca_chain_pem": row.chain_pem,
        "serial": row.serial,
        "not_after": row.not_after.isoformat(),
    }


def on_accepted(unit: Unit, peer: Peer) -> None:
    """What follows when a peer becomes accepted, on either side: the event, and a managed child's grant."""
    emit(unit, "federation.peer.accepted", source=SOURCE, peer_id=peer.id, url=peer.remote_instance_url)
    if (peer.spawn_role, peer.spawn_mode) == ("parent", "managed_child"):
        grants.issue_operator_grant(unit, peer)


def send_initial_heartbeat(site: NodeContext, peer_id: str) -> str | None:
    """Send a heartbeat at once; None, or why it failed."""
    with site.read() as session:
        partial = node_settings.value(session, "partial_mtls")
    return heartbeat_sender.send(site, peer_id, partial_mtls=partial)
