"""Which key a certificate that is signed by hand is for: what the peer asks for, or has, as it says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedtui.core.administration import node_settings
from fedtui.core.errors import Refused, RemoteFailed
from fedtui.core.peers import peers
from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import client, heartbeat_sender, probe
from fedtui.core.runtime.unit import Unit

VIEW = "view"
"""What the peer says of itself, added by `fetch_request`; never a parameter."""
AGAIN = "again"
"""Names an ended request that is asked for again as it was (`gate.py`)."""


def fetch_request(site: NodeContext, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the peer asks to have signed, and what it presents, as it says now.

    What is on record may be from before it lost its key or was restored: to sign that key mends nothing. Raises
    `RemoteFailed` where it cannot be asked.
    """
    if raw.get("proxy") is not None or raw.get("csr_pem") is not None or AGAIN in raw or not raw.get("peer"):
        return raw
    with site.read() as session:
        peer = peers.find(session, str(raw["peer"]))
        if peer.status not in MAY_HEARTBEAT or peer.peer_kind != "platform":
            return raw
        partial = node_settings.value(session, "partial_mtls")
        connection = client.connection_to(session, site, peer, now=site.clock.now(), partial_mtls=partial)
    failed = heartbeat_sender.send(site, peer.id, partial_mtls=partial)
    if failed is not None:
        raise RemoteFailed(
            f"{peer.remote_instance_url} cannot be asked for the request that is to be signed.",
            cause=failed.partition(": ")[2] or failed,
            fix="Mend the way to it first, or have its operator run `fedtui certs csr` and give the file with --csr.",
            code=failed.partition(":")[0],
        )
    try:
        view = client.call(connection, probe.DIAGNOSIS, None, timeout=site.settings.outbound_timeout, method="GET")
    except RemoteFailed:
        return raw  # an older system has no diagnosis; it has answered the heartbeat
    return {**raw, VIEW: view}


def key_held(unit: Unit, peer: Peer, view: Any) -> Certificate:
    """The certificate whose key the peer has. Raises `Refused` where that key is lost, or not to be certified again."""
    row = certificates.current_inbound(unit.session, peer.id)
    if isinstance(view, Mapping):
        if view.get("pair") not in ("complete", None):
            raise _no_request(
                peer,
                "It has no whole key pair, and has not made its new request yet.",
                "Wait for its SDWAN Manager to tick, which is within a minute; then run this again.",
            )
        shown = view.get("presented_to_you")
        pin = shown.get("fingerprint") if isinstance(shown, Mapping) else None
        row = certificates.by_fingerprint(unit.session, pin) if isinstance(pin, str) else row
        if row is not None and (row.peer_id, row.direction) != (peer.id, "inbound"):
            row = None
    if row is None:
        raise _no_request(peer, "It offers none, and what it presents is not on this node's record.")
    if row.revoked_at is not None and row.revocation_reason != certificates.SUPERSEDED:
        raise _no_request(
            peer,
            f"It offers none, and the certificate of the key that it has was revoked on "
            f"{row.revoked_at:%F %H:%M} UTC: {row.revocation_reason}.",
        )
    return row


def _no_request(peer: Peer, why: str, then: str = "") -> Refused:
    return Refused(
        f"There is no request of {peer.remote_instance_url} to sign.",
        cause=why,
        fix=then
        or "Have its operator run: fedtui certs rotate URL   with this node's URL; then run this again. Or: "
        "fedtui certs csr URL   and give the file with --csr.",
        code="csr_missing",
    )
