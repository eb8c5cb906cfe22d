"""What this node tells a peer of how it sees that peer, for a diagnosis from both sides; nothing about others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedtui.core.grants import decisions
from fedtui.core.grants.chain import TOLD_AS
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, key_pairs
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext

MOST_REFUSALS = 10


def view_of(site: NodeContext, peer_id: str, presented: str | None) -> Mapping[str, Any]:
    """The caller as this node sees it. `presented` is the fingerprint of the certificate it came with."""
    with site.read() as session:
        peer = peers.get(session, peer_id)
        current = key_pairs.current(session, peer_id)
        ours = session.get(Certificate, current.certificate_id) if current and current.certificate_id else None
        return {
            "now": site.clock.now(),
            "status": peer.status,
            "unchanged_since": peer.updated_at,
            "contract_version_agreed": peer.contract_version_agreed,
            "signed_at": peer.signed_at,
            "last_handshake_at": peer.last_handshake_at,
            "last_heartbeat_at": peer.last_heartbeat_at,
            "stale_after_seconds": site.settings.stale_after.total_seconds(),
            "heartbeat_interval_seconds": site.settings.heartbeat_interval.total_seconds(),
            "last_outbound_at": peer.last_outbound_at,
            "last_outbound_code": _code(peer.last_outbound_error),
            "clock_skew_seconds": peer.clock_skew_seconds,
            "presented": presented,
            "signed_for_you": _certificate(certificates.current_inbound(session, peer_id)),
            "presented_to_you": _certificate(ours),
            "pair": key_pairs.broken(session, site.vault, peer_id) or key_pairs.pair_state(session, peer_id),
            "enroll_owed": peer.enroll_owed,
            "csr_waits": key_pairs.pending(session, peer_id) is not None,
            "ca_fingerprint": certificates.own_ca(session).fingerprint,
            "trusted_of_you": [one.fingerprint for one in anchors.all_of(session, peer_id)],
            "refused": [
                {
                    "decision_id": one.id,
                    "call": one.call,
                    "status": one.status,
                    "answered": one.answered,
                    "code": TOLD_AS.get(one.code or "", one.code),
                    "times": one.times,
                    "last_at": one.last_at,
                }
                for one in decisions.listing(session, peer_id=peer_id, refused_only=True, limit=MOST_REFUSALS)
            ],
        }


UNREACHED = (
    "remote_dns",
    "remote_refused",
    "remote_timeout",
    "remote_disconnected",
    "remote_tls_failed",
    "remote_address_forbidden",
)
"""Codes of calls that did not get through to the federation API."""


def _code(error: str | None) -> str | None:
    """The cause code of an error as it is kept: what comes before the colon.

    Calls that did not get through are one to the peer. It decides where its name leads: told apart, the codes would
    say which places in this node's network are open.
    """
    code = error.partition(":")[0] if error else None
    return "remote_unreachable" if code in UNREACHED else code


def _certificate(row: Certificate | None) -> Mapping[str, Any] | None:
    if row is None:
        return None
    return {
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "not_before": row.not_before,
        "not_after": row.not_after,
        "revoked": row.revoked_at is not None,
    }
