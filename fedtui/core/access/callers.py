"""Who calls: from a client certificate to a peer, by a table of checks.

The first three checks of the authorization chain (domain, section 6). TLS has already
verified that the certificate chains to our CA; here it is looked up by fingerprint on every
request, so that a revocation takes effect on connections already open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from fedtui.core.errors import Denied
from fedtui.core.peering.peers import MAY_HEARTBEAT, Peer
from fedtui.core.trust import certificates
from fedtui.core.trust.certificates import Certificate

MAY_CALL = {
    "enroll": MAY_HEARTBEAT,
    "heartbeat": MAY_HEARTBEAT,
    "diagnosis": MAY_HEARTBEAT,
    "renew": ("enrolled", "active", "degraded"),
    "resources": ("enrolled", "active", "degraded"),
}
"""The statuses in which a peer may make each call (domain, section 1)."""


@dataclass(slots=True)
class _Evidence:
    call: str
    fingerprint: str | None
    now: datetime
    certificate: Certificate | None
    peer: Peer | None


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the chain: passes, or refuses with its internal code and the words for the remote."""

    code: str
    passed: Callable[[_Evidence], bool]
    public: str


CHAIN: tuple[Check, ...] = (
    Check("cert_not_presented", lambda seen: seen.fingerprint is not None, "client certificate required"),
    Check("cert_unknown", lambda seen: seen.certificate is not None, "client certificate not recognized"),
    Check(
        "cert_wrong_kind",
        lambda seen: (
            seen.certificate is not None
            and (seen.certificate.subject_kind, seen.certificate.direction) == ("federation_peer", "inbound")
        ),
        "client certificate not recognized",
    ),
    Check(
        "cert_revoked",
        lambda seen: seen.certificate is not None and seen.certificate.revoked_at is None,
        "client certificate revoked",
    ),
    Check(
        "cert_expired",
        lambda seen: seen.certificate is not None and seen.now < seen.certificate.not_after,
        "client certificate expired",
    ),
    Check("peer_missing", lambda seen: seen.peer is not None, "client certificate not recognized"),
    Check(
        "peer_not_reachable",
        lambda seen: seen.peer is not None and seen.peer.status in MAY_CALL[seen.call],
        "peer is not in a state that may make this call",
    ),
)


def identify(session: Session, fingerprint: str | None, *, call: str, now: datetime) -> Peer:
    """The peer that a client certificate (`sha256:...`, None without one) stands for.

    Raises `Denied` (401) at the first check of `CHAIN` that fails.
    """
    certificate = certificates.by_fingerprint(session, fingerprint) if fingerprint else None
    peer = session.get(Peer, certificate.peer_id) if certificate and certificate.peer_id else None
    seen = _Evidence(call, fingerprint, now, certificate, peer)
    for check in CHAIN:
        if not check.passed(seen):
            where = f" (peer {peer.id} is {peer.status})" if peer else ""
            raise Denied(
                401,
                check.public,
                code=check.code,
                problem=f"A call of {call} was turned away: {check.code}{where}.",
                public_code="unauthorized",
            )
    if peer is None:  # the chain has a check for it; this tells the type checker
        raise AssertionError("peer_missing passed without a peer")
    return peer
