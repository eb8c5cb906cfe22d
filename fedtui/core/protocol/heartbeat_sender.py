"""Heartbeats sent: the calls to peers, and what came of each.

Inbound liveness is not touched here: a peer that hears this node may still be silent (`heartbeats.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Float, Table, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from fedtui.core.audit.events import emit
from fedtui.core.errors import Problem, WrongUsage
from fedtui.core.peers import peers
from fedtui.core.peers.peers import MAY_HEARTBEAT, SUPPORTED_CONTRACTS, Peer
from fedtui.core.pki import certificates, key_pairs
from fedtui.core.pki import crl as crls
from fedtui.core.pki.crl import Fetched
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.vault import VaultUnreadable
from fedtui.core.pki.x509 import key_fingerprint, read_csr
from fedtui.core.protocol import client
from fedtui.core.protocol.heartbeats import JOB, JOB_ACTOR
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.correlation import carried
from fedtui.core.runtime.failure_log import log_failure
from fedtui.core.runtime.group_commit import GroupCommit
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
_PEERS = cast(Table, Peer.__table__)
SPREAD = 0.5
"""Part of the time there is over which calls are begun: the other half is for those that are answered late."""
GATHERED = 0.5
"""Seconds in which outcomes are gathered while calls begin: a trip to the disk for each would keep others from it."""
SKEW_NOTED = 30.0
"""Seconds by which a peer's clock differs, by the `Date` of its answers, that are written down at once."""
SKEW_STEADY = 5.0
"""Seconds by which such a difference may vary before it is written down anew."""
SILENT_AFTER = timedelta(minutes=5)
MOST_SLUGS = 1_000
"""Extensions that a peer takes."""
LONGEST_GAP = 0.02
"""Seconds between the beginnings of two calls at most, so that a few peers are called at once."""


def own_declaration(site: NodeContext, session: Session, now: datetime) -> dict[str, Any]:
    """What this node says of itself in every heartbeat (contract, HTTP)."""
    settings = site.settings
    slugs = [slug.strip() for slug in settings.extension_slugs.split(",") if slug.strip()][:MOST_SLUGS]
    return {
        "capabilities": {"contract_versions": list(SUPPORTED_CONTRACTS)},
        "endpoints": own_endpoints(site),
        "sync_cursor": {},
        "extension_slugs": slugs,
        "platform_version": settings.platform_version or None,
        "data_residency": settings.data_residency or None,
        "operator_contact": settings.operator_contact or None,
        "ca_bundle_pem": certificates.own_ca_pem(session),
        "sent_at": now.isoformat(),
    }


def own_endpoints(site: NodeContext) -> list[dict[str, Any]]:
    """Where this node can be reached."""
    return [{"url": site.url, "scope": "wan", "priority": client.OWN_PRIORITY}]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a call went: `error` says why it failed, `broken` what is wrong with our pair, and `pair_news` whether that
    may be another thing than what is on record. `skew`: by how many seconds the peer's clock is ahead, by its answer.
    """

    error: str | None = None
    broken: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    skew: float | None = None
    crl: Fetched | None = None
    crl_error: str | None = None
    pair_news: bool = True


def send(site: NodeContext, peer_id: str, *, partial_mtls: str = "refuse", actor: Actor = JOB_ACTOR) -> str | None:
    """Send one heartbeat now and record how it went: None, or why it failed.

    Inbound liveness is not touched: a peer that hears us may still be silent.
    """
    attempt = _attempt(site, peer_id, partial_mtls)
    with site.unit(actor) as unit:
        _record_outbound(unit, peer_id, attempt)
    return attempt.error


def _attempt(site: NodeContext, peer_id: str, partial_mtls: str) -> _Attempt:
    now, timeout = site.clock.now(), site.settings.outbound_timeout
    broken, news = None, True
    try:
        with site.read() as session:
            peer = peers.get(session, peer_id)
            body = own_declaration(site, session, now)
            try:
                pair = key_pairs.pair(session, site.vault, peer_id)
            except VaultUnreadable:
                broken = "vault_unreadable"
                raise
            broken = key_pairs.wrong_with(pair)
            news = pair.certificate is not None and pair.certificate.problem != broken
            _kept = crls.of_peer(session, peer_id)  # held, so that the next two find it in the session
            connection = client.connection_to(session, site, peer, now=now, partial_mtls=partial_mtls, pair=pair)
            wants_crl = crls.due(session, peer_id, now)
        answered = client.exchange(connection, f"{client.PREFIX}/heartbeat", body, timeout=timeout)
        answer, skew = answered.data, answered.skew(site.clock.now())
    except Problem as problem:
        return _Attempt(f"{problem.code}: {problem.problem} {problem.cause}".strip(), broken, pair_news=news)
    if not wants_crl:
        return _Attempt(None, broken, answer, skew, pair_news=news)
    try:
        return _Attempt(None, broken, answer, skew, client.fetch_crl(connection, timeout=timeout), pair_news=news)
    except Problem as problem:
        return _Attempt(None, broken, answer, skew, None, f"{problem.code}: {problem.problem}", pair_news=news)


_ATTEMPTED = update(_PEERS).where(_PEERS.c.id == bindparam("peer_id")).values(last_outbound_attempt_at=bindparam("now"))
_KNOWN_SKEW, _SKEW = func.coalesce(_PEERS.c.clock_skew_seconds, 0.0), bindparam("skew", type_=Float)
_SENT_AGAIN = _ATTEMPTED.where(
    _PEERS.c.last_outbound_error.is_(None),
    _PEERS.c.offered_csr_pem.is_(None),
    or_(
        and_(func.abs(_KNOWN_SKEW) <= SKEW_NOTED, func.abs(_SKEW) <= SKEW_NOTED),
        func.abs(_KNOWN_SKEW - _SKEW) <= SKEW_STEADY,
    ),
).values(last_outbound_at=bindparam("now"))
_FAILED_AGAIN = _ATTEMPTED.where(_PEERS.c.last_outbound_error == bindparam("error"))


def _as_before(unit: Unit, peer_id: str, attempt: _Attempt) -> bool:
    """Whether the call went as the one before, and nothing came of it but its time: which is written then.

    That is what nearly all of them come to, and one statement does it.
    """
    if attempt.pair_news or attempt.crl is not None or attempt.crl_error is not None or "csr_pem" in attempt.answer:
        return False
    times = {"peer_id": peer_id, "now": unit.now}
    if attempt.error is None:
        written = unit.session.execute(_SENT_AGAIN, {**times, "skew": attempt.skew or 0.0})
    else:
        written = unit.session.execute(_FAILED_AGAIN, {**times, "error": attempt.error})
    return cast(CursorResult[Any], written).rowcount == 1


def _record_outbound(unit: Unit, peer_id: str, attempt: _Attempt) -> None:
    if _as_before(unit, peer_id, attempt):
        return
    peer, error = peers.lock(unit, peer_id), attempt.error
    before, peer.last_outbound_error = peer.last_outbound_error, error
    peer.last_outbound_attempt_at = unit.now
    if error is None:
        peer.last_outbound_at = unit.now
        if attempt.skew is not None and _is_silent(peer, unit.now):
            peer.clock_skew_seconds = attempt.skew
        peer.offered_csr_pem = _offered(attempt.answer)
        if not peer.enroll_owed and _lacks_what_we_signed(unit, peer):
            peer.enroll_owed = True
            emit(unit, "federation.handshake.owed", source=JOB, peer_id=peer_id)
    unit.session.flush()
    if attempt.crl is not None or attempt.crl_error is not None:
        crls.keep(unit, peer_id, attempt.crl, error=attempt.crl_error)
    if attempt.pair_news and key_pairs.mark(unit, peer_id, attempt.broken):
        kind = "federation.peer.pair_broken" if attempt.broken else "federation.peer.pair_mended"
        emit(unit, kind, source=JOB, peer_id=peer_id, pair=attempt.broken or "complete")
    if error is not None and before is None:
        emit(unit, "federation.peer.outbound_failed", source=JOB, peer_id=peer_id, error=error)
    elif error is None and before is not None:
        emit(unit, "federation.peer.outbound_recovered", source=JOB, peer_id=peer_id)


def _is_silent(peer: Peer, now: datetime) -> bool:
    """Whether the peer's own heartbeats, which give its clock to the millisecond, do not arrive."""
    return peer.last_heartbeat_at is None or now - peer.last_heartbeat_at > SILENT_AFTER


def _offered(answer: Mapping[str, Any]) -> str | None:
    """The request that the remote wants signed; None where it has none, or none that can be read."""
    given = answer.get("csr_pem")
    if not isinstance(given, str):
        return None
    try:
        read_csr(given)
    except WrongUsage:
        return None
    return given


def _lacks_what_we_signed(unit: Unit, peer: Peer) -> bool:
    """The remote asks for a certificate that we signed already: it did not get, or lost, it."""
    if peer.offered_csr_pem is None:
        return False
    wanted = key_fingerprint(read_csr(peer.offered_csr_pem).public_key())
    return any(certificates.key_of(row) == wanted for row in certificates.awaiting_use(unit.session, peer.id, unit.now))


def send_all(site: NodeContext, *, partial_mtls: str = "refuse") -> dict[str, int]:
    """Send to every peer that takes heartbeats, within one interval.

    Peers whose last call succeeded go first, so that the dead cannot delay the living; then
    those that failed, the longest untried first. Who is not reached within the interval
    is first in its group next time.
    """
    with site.read() as session:
        wanted = list(session.scalars(_recipients()))
    return send_to(site, wanted, partial_mtls=partial_mtls, within=site.settings.heartbeat_interval)


def degraded(session: Session, *, untried_since: datetime) -> list[str]:
    """Degraded platforms that were not called since then, the longest untried first."""
    untried = or_(Peer.last_outbound_attempt_at.is_(None), Peer.last_outbound_attempt_at < untried_since)
    query = select(Peer.id).where(Peer.peer_kind == "platform", Peer.status == "degraded", untried)
    return list(session.scalars(query.order_by(Peer.last_outbound_attempt_at.asc().nulls_first(), Peer.id)))


def send_to(site: NodeContext, wanted: Sequence[str], *, partial_mtls: str, within: timedelta) -> dict[str, int]:
    """Send to these peers, many at once; how many were sent, failed, or postponed for want of time.

    Calls begin one after the other, a moment apart: all at once they would keep the interpreter from those who call us.
    """
    until = time.monotonic() + within.total_seconds()

    def one(peer_id: str) -> str:
        if time.monotonic() >= until or site.stopping.is_set():
            return "postponed"
        try:
            attempt = _attempt(site, peer_id, partial_mtls)
            written.submit(lambda unit: _record_outbound(unit, peer_id, attempt)).result()
            return "sent" if attempt.error is None else "failed"
        except Exception as error:
            # A bug met with one peer must not cost the others their heartbeat.
            log_failure(log, f"[FederationHeartbeatJob] what came of the heartbeat to {peer_id} is not recorded", error)
            return "failed"

    tally = {"sent": 0, "failed": 0, "postponed": 0}
    if not wanted:
        return tally
    workers = min(site.settings.outbound_concurrency, len(wanted))
    # One writer for all of them: a transaction each would have hundreds of threads wait for the one place to write.
    all_begun = threading.Event()
    written: GroupCommit[None] = GroupCommit(lambda: site.unit(JOB_ACTOR), pause=lambda: all_begun.wait(GATHERED))
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="heartbeat") as pool:
            begun = [pool.submit(carried(one), peer_id) for peer_id in _paced(wanted, within, site.stopping)]
            all_begun.set()
            for done in begun:
                tally[done.result()] += 1
    finally:
        all_begun.set()
        written.close()
    return tally


def _paced(wanted: Sequence[str], within: timedelta, stopping: threading.Event) -> Iterator[str]:
    """Each when its time to be called has come; all that are left at once when the process is to stop."""
    gap = min(LONGEST_GAP, within.total_seconds() * SPREAD / len(wanted))
    began = time.monotonic()
    for number, peer_id in enumerate(wanted):
        stopping.wait(max(0.0, began + number * gap - time.monotonic()))
        yield peer_id


def _recipients() -> Any:
    return (
        select(Peer.id)
        .where(Peer.peer_kind == "platform", Peer.status.in_(MAY_HEARTBEAT))
        .order_by(
            or_(Peer.last_outbound_error.is_not(None), Peer.last_outbound_at.is_(None)),
            Peer.last_outbound_attempt_at.asc().nulls_first(),
            Peer.id,
        )
    )
