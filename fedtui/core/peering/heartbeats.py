"""Heartbeats: the ones that arrive, the sweep over those that do not, and the ones sent out.

`accepted -> enrolled -> active` happens here and nowhere else: a heartbeat proves that the
certificates work (runbook, "both sides show accepted indefinitely").
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, literal, or_, select, text, update
from sqlalchemy.orm import Session

from fedtui.core.errors import Problem, Refused, WrongUsage
from fedtui.core.peering import client, peers
from fedtui.core.peering.peers import MAY_HEARTBEAT, SUPPORTED_CONTRACTS, Peer
from fedtui.core.record.events import KINDS, Event, context, emit
from fedtui.core.runtime import daemons
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.batch import GroupCommit
from fedtui.core.runtime.correlation import carried
from fedtui.core.runtime.durations import show
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import certificates, credentials, crls
from fedtui.core.trust.crls import Fetched
from fedtui.core.trust.site import Site
from fedtui.core.trust.x509_reading import key_fingerprint, read_csr

log = logging.getLogger(__name__)
JOB = "federation_heartbeat"
SWEEP_SOURCE = "federation_heartbeat_sweep"
PATIENCE = 1.5
"""Intervals within which a peer that sends every interval is heard from, late ones too."""
DECLARED = ("endpoints", "capabilities", "extension_slugs", "platform_version", "data_residency", "operator_contact")
"""What a change of is told; a cursor moves all the time."""
_NUMBER = re.compile("[0-9]{1,9}")
"""In a version. Other digits there are, and numbers without end, are not for `int`."""
JOB_ACTOR = Actor("job", JOB, origin=f"job {JOB}")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a remote says of itself in accept and heartbeat; None where it said nothing."""

    endpoints: list[dict[str, Any]] | None = None
    capabilities: dict[str, Any] | None = None
    extension_slugs: list[str] | None = None
    sync_cursor: dict[str, Any] | None = None
    platform_version: str | None = None
    data_residency: str | None = None
    operator_contact: str | None = None
    sent_at: datetime | None = None

    def columns(self, now: datetime) -> dict[str, Any]:
        """The peer's columns to set: only what was said."""
        said = {
            name: getattr(self, name)
            for name in self.__slots__
            if name != "sent_at" and getattr(self, name) is not None
        }
        if self.sent_at is not None:
            said["clock_skew_seconds"] = round((self.sent_at - now).total_seconds(), 3)
        return said


# --- inbound -----------------------------------------------------------------------------


def record(unit: Unit, peer_id: str, declared: Declared) -> Peer:
    """An authenticated heartbeat has arrived: the peer becomes (or stays) active.

    Raises `Refused` when its status does not allow it to call.
    """
    peer = peers.lock(unit, peer_id)
    before = peer.status
    if before not in MAY_HEARTBEAT:
        raise Refused(
            f"The peer {peer.remote_instance_url} is {before} and may not send heartbeats.",
            cause=f"Heartbeats are taken from: {', '.join(MAY_HEARTBEAT)}.",
            code="peer_not_reachable",
        )
    values = {"last_heartbeat_at": unit.now, **declared.columns(unit.now)}
    _tell_declared(unit, peer, declared)
    if peer.peer_kind == "sdwan_only" or before == "active":
        for name, value in values.items():  # the row is held: only what differs is written
            setattr(peer, name, value)
        unit.session.flush()
        return peer
    if before == "accepted":
        peers.move(unit, peer_id, "enrolled", last_handshake_at=unit.now)
        emit(unit, "federation.peer.enrolled", source="accept_controller", peer_id=peer_id)
    peer = peers.move(unit, peer_id, "active", **values)
    if before == "degraded":
        peers.note(unit, peer, degraded_reason=None, degraded_at=None)
        emit(unit, "federation.peer.recovered", source="accept_controller", peer_id=peer_id)
    else:
        emit(unit, "federation.peer.active", source="accept_controller", peer_id=peer_id)
    return peer


def _tell_declared(unit: Unit, peer: Peer, declared: Declared) -> None:
    """What a peer says of itself has changed: text before and after, of the rest only what it is."""
    said = {name: getattr(declared, name) for name in DECLARED if getattr(declared, name) is not None}
    changed = {name: (getattr(peer, name), value) for name, value in said.items() if getattr(peer, name) != value}
    if changed:
        shown: dict[str, Any] = {name: list(pair) for name, pair in changed.items() if isinstance(pair[1], str)}
        emit(unit, "federation.peer.declared", source="accept_controller", peer_id=peer.id, changed=sorted(changed),
             **shown)  # fmt: skip


# --- the sweep ---------------------------------------------------------------------------


def sweep(unit: Unit, settings: Any) -> dict[str, Any]:
    """Degrade active platform peers not heard of within the stale window; nothing else.

    Set-based: events and states in three statements, whatever the number of peers. Holds
    back until the node's own API has been listening for one stale window, since after our
    own downtime every peer looks stale. Returns swept, degraded_ids, ran_at, held_back.
    """
    result: dict[str, Any] = {
        "swept": 0,
        "degraded_ids": [],
        "ran_at": unit.now.isoformat(),
        "held_back": False,
    }
    since = daemons.listening_since(unit.session, now=unit.now, ttl=3 * settings.lease_ttl)
    if since is None or unit.now - since < settings.stale_after:
        return {**result, "held_back": True}
    reason = f"heartbeat stale (>{_window(settings.stale_after)})"
    # Locked, so that a heartbeat that arrives meanwhile cannot come between the statements.
    ids = list(unit.session.scalars(_stale_ids(unit.now - settings.stale_after).with_for_update()))
    if not ids:
        return result
    _emit_stale(unit, unit.now - settings.stale_after, reason)
    set_reason = _metadata_with(unit.session, {"degraded_reason": reason, "degraded_at": unit.now.isoformat()})
    unit.session.execute(
        update(Peer)
        .where(_stale(unit.now - settings.stale_after))
        .values(status="degraded", updated_at=unit.now, metadata_=set_reason)
        .execution_options(synchronize_session=False)
    )
    return {**result, "swept": len(ids), "degraded_ids": ids}


# The condition stands as literal text because the planner must see the constants to use
# the partial index. An active peer always has a heartbeat: a constraint of the table.
_ACTIVE = "peers.peer_kind = 'platform' AND peers.status = 'active'"


def _stale(limit: datetime) -> Any:
    return text(_ACTIVE) & (Peer.last_heartbeat_at < limit)


def _stale_ids(limit: datetime) -> Any:
    return select(Peer.id).where(_stale(limit)).order_by(Peer.id)


def _emit_stale(unit: Unit, limit: datetime, reason: str) -> None:
    """One event per peer about to be degraded, inserted by the database.

    Ids must be UUIDv7, which the databases cannot make: the batch shares one id's time
    and takes its random half from the peer's own id, unique within the batch.
    """
    kind = "federation.peer.heartbeat_stale"
    head = new_id()[:19]
    columns = {
        "kind": kind,
        "severity": KINDS[kind],
        "source": SWEEP_SOURCE,
        "payload": {"reason": reason},
        **context(unit),
    }
    values = [literal(value, Event.__table__.c[name].type) for name, value in columns.items()]
    rows = select(literal(head).concat(func.substr(Peer.id, 20)), Peer.id, *values).where(_stale(limit))
    unit.session.execute(insert(Event).from_select(["id", "peer_id", *columns], rows))


def _metadata_with(session: Session, facts: Mapping[str, str]) -> Any:
    """An expression that sets keys of the metadata column, in the database."""
    if session.get_bind().dialect.name == "sqlite":
        pairs = [part for key, value in facts.items() for part in (f"$.{key}", value)]
        return func.json_set(Peer.metadata_, *pairs)
    built = func.jsonb_build_object(*[part for pair in facts.items() for part in pair])
    return Peer.metadata_.op("||")(built)


def heard(session: Session, settings: Any, now: datetime) -> int:
    """From how many active platforms a heartbeat came in within the last interval, with some patience.

    Each run of the job keeps it: a count a minute, where a tally of every heartbeat would
    be another write with each of them.
    """
    since = now - settings.heartbeat_interval * PATIENCE
    counting = select(func.count()).select_from(Peer).where(text(_ACTIVE) & (Peer.last_heartbeat_at >= since))
    return session.scalar(counting) or 0


def _window(stale_after: timedelta) -> str:
    seconds = int(stale_after.total_seconds())
    return f"{seconds // 60} minutes" if seconds % 60 == 0 else show(stale_after)


# --- outbound ----------------------------------------------------------------------------


def own_declaration(site: Site, session: Session, now: datetime) -> dict[str, Any]:
    """What this node says of itself in every heartbeat (contract, HTTP)."""
    settings = site.settings
    slugs = [slug.strip() for slug in settings.extension_slugs.split(",") if slug.strip()]
    return {
        "capabilities": {"contract_versions": list(SUPPORTED_CONTRACTS)},
        "endpoints": own_endpoints(site),
        "sync_cursor": {},
        "extension_slugs": slugs,
        "platform_version": settings.platform_version or None,
        "data_residency": settings.data_residency or None,
        "operator_contact": settings.operator_contact or None,
        "ca_bundle_pem": certificates.own_ca(session).cert_pem,
        "sent_at": now.isoformat(),
    }


def own_endpoints(site: Site) -> list[dict[str, Any]]:
    """Where this node can be reached."""
    return [{"url": site.url, "scope": "wan", "priority": client.OWN_PRIORITY}]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a call went: `error` says why it failed, `broken` what is wrong with our pair."""

    error: str | None = None
    broken: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    crl: Fetched | None = None
    crl_error: str | None = None


def send(site: Site, peer_id: str, *, partial_mtls: str = "refuse", actor: Actor = JOB_ACTOR) -> str | None:
    """Send one heartbeat now and record how it went: None, or why it failed.

    Inbound liveness is not touched: a peer that hears us may still be silent.
    """
    attempt = _attempt(site, peer_id, partial_mtls)
    with site.unit(actor) as unit:
        _record_outbound(unit, peer_id, attempt)
    return attempt.error


def _attempt(site: Site, peer_id: str, partial_mtls: str) -> _Attempt:
    now, timeout, broken = site.clock.now(), site.settings.outbound_timeout, None
    try:
        with site.read() as session:
            peer = peers.get(session, peer_id)
            body = own_declaration(site, session, now)
            broken = credentials.broken(session, site.vault, peer_id)
            connection = client.connection_to(session, site.vault, peer, now=now, partial_mtls=partial_mtls)
            wants_crl = crls.due(session, peer_id, now)
        answer = client.call(connection, f"{client.PREFIX}/heartbeat", body, timeout=timeout)
    except Problem as problem:
        return _Attempt(f"{problem.code}: {problem.problem} {problem.cause}".strip(), broken)
    if not wants_crl:
        return _Attempt(None, broken, answer)
    try:
        return _Attempt(None, broken, answer, client.fetch_crl(connection, timeout=timeout))
    except Problem as problem:
        return _Attempt(None, broken, answer, None, f"{problem.code}: {problem.problem}")


def _record_outbound(unit: Unit, peer_id: str, attempt: _Attempt) -> None:
    peer, error = peers.lock(unit, peer_id), attempt.error
    before, peer.last_outbound_error = peer.last_outbound_error, error
    peer.last_outbound_attempt_at = unit.now
    if error is None:
        peer.last_outbound_at = unit.now
        peer.offered_csr_pem = _offered(attempt.answer)
        if not peer.enroll_owed and _lacks_what_we_signed(unit, peer):
            peer.enroll_owed = True
            emit(unit, "federation.handshake.owed", source=JOB, peer_id=peer_id)
    unit.session.flush()
    if attempt.crl is not None or attempt.crl_error is not None:
        crls.keep(unit, peer_id, attempt.crl, error=attempt.crl_error)
    if credentials.mark(unit, peer_id, attempt.broken):
        kind = "federation.peer.pair_broken" if attempt.broken else "federation.peer.pair_mended"
        emit(unit, kind, source=JOB, peer_id=peer_id, pair=attempt.broken or "complete")
    if error is not None and before is None:
        emit(unit, "federation.peer.outbound_failed", source=JOB, peer_id=peer_id, error=error)
    elif error is None and before is not None:
        emit(unit, "federation.peer.outbound_recovered", source=JOB, peer_id=peer_id)


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


def send_all(site: Site, *, partial_mtls: str = "refuse") -> dict[str, int]:
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


def send_to(site: Site, wanted: Sequence[str], *, partial_mtls: str, within: timedelta) -> dict[str, int]:
    """Send to these peers, many at once; how many were sent, failed, or postponed for want of time."""
    until = time.monotonic() + within.total_seconds()

    def one(peer_id: str) -> str:
        if time.monotonic() >= until or site.stopping.is_set():
            return "postponed"
        try:
            attempt = _attempt(site, peer_id, partial_mtls)
            written.submit(lambda unit: _record_outbound(unit, peer_id, attempt)).result()
            return "sent" if attempt.error is None else "failed"
        except Exception:
            # A bug met with one peer must not cost the others their heartbeat.
            log.exception("[FederationHeartbeatJob] the heartbeat to %s failed unexpectedly", peer_id)
            return "failed"

    tally = {"sent": 0, "failed": 0, "postponed": 0}
    if not wanted:
        return tally
    workers = min(site.settings.outbound_concurrency, len(wanted))
    # One writer for all of them: a transaction each would have hundreds of threads wait for the one place to write.
    written: GroupCommit[None] = GroupCommit(lambda: site.unit(JOB_ACTOR))
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="heartbeat") as pool:
            for done in as_completed([pool.submit(carried(one), peer_id) for peer_id in wanted]):
                tally[done.result()] += 1
    finally:
        written.close()
    return tally


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


def schema_compatibility(ours: str, theirs: str | None) -> str:
    """`compatible`, `drift` or `unknown`: same major version and minor at most one apart."""
    if not ours or not theirs:
        return "unknown"
    mine, other = _major_minor(ours), _major_minor(theirs)
    if mine is None or other is None:
        return "unknown"
    return "compatible" if mine[0] == other[0] and abs(mine[1] - other[1]) <= 1 else "drift"


def _major_minor(version: str) -> Sequence[int] | None:
    parts = version.lstrip("vV").split(".")[:2]
    return [int(part) for part in parts] if len(parts) == 2 and all(map(_NUMBER.fullmatch, parts)) else None
