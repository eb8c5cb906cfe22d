"""Renewal: both sides of it. Each node asks in time for the next certificate that it presents to a peer.

The key is stored before the call, and the same request gets the same certificate: whatever is
lost on the way, asking again finishes it. Old and new are both good until the new one is used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, aliased

from fedtui.core.audit.events import SEVERITIES, emit
from fedtui.core.errors import Problem, Refused, RemoteFailed
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import certificates, key_pairs, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.x509 import key_fingerprint, read_csr
from fedtui.core.protocol import client, handshake
from fedtui.core.runtime.actor import MANAGER, Actor
from fedtui.core.runtime.durations import show
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
SOURCE = "renewal"
MAY_RENEW = ("enrolled", "active", "degraded")
MOST_AT_ONCE = 16
MOST_A_TICK = 500
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=6)
LOUD_FROM, LOUD_AFTER = 0.15, 8
"""A failing renewal is told as `high` from this fraction of the lifetime left, or after so many attempts."""


# --- the signing side --------------------------------------------------------------------


def answer_renew(site: NodeContext, peer_id: str, csr_pem: str, caller: Actor) -> Mapping[str, Any]:
    """`renew`: sign the next certificate of a peer that proved itself with the present one.

    The same key gets the same certificate again, as long as it was not used. Raises `WrongUsage`
    for a request that cannot be read.
    """
    key = read_csr(csr_pem).public_key()
    with site.unit(caller) as unit:
        peer = peers.lock(unit, peer_id)
        wanted = key_fingerprint(key)
        waiting = certificates.awaiting_use(unit.session, peer.id, unit.now)
        row = next((one for one in waiting if certificates.key_of(one) == wanted), None)
        if row is None:
            row = handshake.sign_for(unit, site, peer, key, signing.open_authority(unit.session, site.vault))
        certificates.supersede_unused(unit, peer.id, but=row.id)
        return {"status": peer.status, "certificate": handshake.certificate_fields(row)}


# --- the presenting side -----------------------------------------------------------------


def renew(site: NodeContext, peer_id: str, actor: Actor, correlation_id: str | None = None) -> Mapping[str, Any]:
    """Ask a peer for the next certificate, take it up, and prove it with a heartbeat.

    Raises `RemoteFailed` or `VaultUnreadable`; the request then stays, is offered to the peer in
    every answer to its heartbeats, and is sent again later.
    """
    with site.unit(actor, correlation_id=correlation_id) as unit:
        peer = peers.lock(unit, peer_id)
        if peer.status not in MAY_RENEW:
            raise _not_in_service(peer)
        csr_pem = key_pairs.prepare(unit, site.vault, peer_id, common_name=site.name).csr_pem
    try:
        with site.read() as session:
            peer = peers.get(session, peer_id)
            connection = client.connection_to(session, site, peer, now=site.clock.now(), partial_mtls="refuse")
        if connection.pair is None:
            raise _no_pair(peer, site.url)
        answer = client.call(
            connection, f"{client.PREFIX}/renew", {"csr_pem": csr_pem}, timeout=site.settings.outbound_timeout
        )
        signed = answer.get("certificate")
        if not isinstance(signed, Mapping):
            raise _bad_answer()
        with site.unit(actor, correlation_id=correlation_id) as unit:
            peers.lock(unit, peer_id)
            chain = str(signed.get("ca_chain_pem") or "")
            row = key_pairs.complete(unit, peer_id, str(signed.get("cert_pem") or ""), chain)
            emit(
                unit,
                "federation.certificate.renewed",
                source=SOURCE,
                peer_id=peer_id,
                serial=row.serial,
                not_after=row.not_after.isoformat(),
            )
    except Problem as problem:
        with site.unit(actor, correlation_id=correlation_id) as unit:
            _note_failure(unit, peer_id, problem)
        raise
    failure = handshake.send_initial_heartbeat(site, peer_id)
    return {
        "peer_id": peer_id,
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after.isoformat(),
        "unfinished": failure,
    }


def renew_due(site: NodeContext) -> dict[str, int]:
    """Renew what is due, many at once; how many were renewed, and how many could not be."""
    now = site.clock.now()
    with site.read() as session:
        wanted = due(session, now)
    if not wanted:
        return {"renewed": 0, "renewals_failed": 0}
    with ThreadPoolExecutor(min(MOST_AT_ONCE, len(wanted)), thread_name_prefix="renewal") as pool:
        done = list(pool.map(lambda peer_id: _try(site, peer_id), wanted))
    return {"renewed": sum(done), "renewals_failed": len(done) - sum(done)}


def _try(site: NodeContext, peer_id: str) -> bool:
    if site.stopping.is_set():
        return False
    try:
        renew(site, peer_id, MANAGER, new_id())
    except Problem as problem:
        log.warning("[SDWAN Manager] the certificate for %s was not renewed: %s", peer_id, problem.problem)
        return False
    except Exception:
        # Whatever one peer brings up, the others' renewals are to go on.
        log.exception("[SDWAN Manager] renewing the certificate for %s failed", peer_id)
        return False
    return True


def due(session: Session, now: datetime) -> list[str]:
    """Peers whose certificate for us is past its renewal time, or part of a pair that does not work;
    not those that were tried lately. What runs out first comes first."""
    waiting = and_(Credential.peer_id == Peer.id, Credential.state == "pending")
    query = (
        select(Peer.id)
        .join(Certificate, and_(Certificate.peer_id == Peer.id, Certificate.direction == "outbound"))
        .outerjoin(Credential, waiting)
        .where(
            or_(Certificate.renew_at <= now, Certificate.problem.is_not(None)),
            Certificate.superseded_at.is_(None),
            Peer.status.in_(MAY_RENEW),
            or_(Credential.next_attempt_at.is_(None), Credential.next_attempt_at <= now),
        )
        .order_by(Certificate.not_after, Peer.id)
        .limit(MOST_A_TICK)
    )
    lost = (
        select(Credential.peer_id)
        .join(Peer, Peer.id == Credential.peer_id)
        .outerjoin(_PENDING, and_(_PENDING.peer_id == Credential.peer_id, _PENDING.state == "pending"))
        .where(
            Credential.state == "current",
            Credential.certificate_id.is_(None),
            Peer.status.in_(MAY_RENEW),
            or_(_PENDING.next_attempt_at.is_(None), _PENDING.next_attempt_at <= now),
        )
        .limit(MOST_A_TICK)
    )
    return list(dict.fromkeys([*session.scalars(lost), *session.scalars(query)]))


_PENDING = aliased(Credential)


def wait_after(attempts: int, lifetime: timedelta) -> timedelta:
    """How long to wait after so many failures: doubling from a minute, never long against the lifetime."""
    longest = min(LONGEST_WAIT, lifetime / 50)
    doubled: timedelta = FIRST_WAIT * 2 ** min(attempts - 1, 20)
    return min(doubled, max(longest, FIRST_WAIT))


def alert_severity(attempts: int, row: Certificate | None, now: datetime) -> str:
    """How grave a renewal is that has failed so often: a severity."""
    if row is None or now >= row.not_after:
        return "critical"
    left = (row.not_after - now) / (row.not_after - row.not_before)
    return "high" if left < LOUD_FROM or attempts >= LOUD_AFTER else "medium"


def _note_failure(unit: Unit, peer_id: str, problem: Problem) -> None:
    """Count it, set the next attempt, and tell of it where it is graver than what was told before."""
    credential = key_pairs.pending(unit.session, peer_id)
    if credential is None:
        return
    now_current = key_pairs.current(unit.session, peer_id)
    known = now_current.certificate_id if now_current is not None else None
    row = unit.session.get(Certificate, known) if known is not None else None
    lifetime = row.not_after - row.not_before if row is not None else LONGEST_WAIT
    credential.attempts += 1
    credential.last_error = f"{problem.code}: {problem.problem} {problem.cause}".strip()
    wait = wait_after(credential.attempts, lifetime)
    credential.next_attempt_at = unit.now + wait
    grave, told = alert_severity(credential.attempts, row, unit.now), credential.alarm
    if told is None or SEVERITIES.index(grave) > SEVERITIES.index(told):
        credential.alarm = grave
        emit(
            unit,
            "federation.certificate.renewal_failed",
            source=SOURCE,
            peer_id=peer_id,
            severity=grave,
            error=credential.last_error,
            attempts=credential.attempts,
            runs_out=row.not_after.isoformat() if row is not None else None,
            next_attempt_in=show(timedelta(seconds=int(wait.total_seconds()))),
        )
    unit.session.flush()


def _not_in_service(peer: Peer) -> Refused:
    return Refused(
        f"{peer.remote_instance_url} is {peer.status}; there is no certificate to renew.",
        cause=f"Certificates are renewed with peers that are {', '.join(MAY_RENEW)}.",
        fix=f"See what comes next for it: fedtui peers show {peer.id}",
        code="peer_not_reachable",
    )


def _no_pair(peer: Peer, own_url: str) -> RemoteFailed:
    return RemoteFailed(
        f"This node has no certificate with which to ask {peer.remote_instance_url} for another.",
        cause="Renewal proves itself with the present certificate.",
        fix=f"The new request is ready. On the other side: fedtui certs issue {own_url}",
        code="partial_mtls",
    )


def _bad_answer() -> RemoteFailed:
    return RemoteFailed(
        "The peer's answer holds no certificate.",
        cause="Something else than a federation API may answer there.",
        fix="Ask the peer's operators what answers there.",
        code="remote_failing",
    )
