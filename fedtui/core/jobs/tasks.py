"""The recurring jobs: heartbeats, the SDWAN Manager, maintenance.

Each takes the lease in its own transaction first, so that a holder that was stopped and
wakes up does nothing. By hand (`held` None) they are safe beside the daemon: what they
change, they change by conditional updates.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from fedtui.core.administration import manager_pause, node_settings, operators
from fedtui.core.audit import outbox, seals
from fedtui.core.audit.events import emit
from fedtui.core.grants import decisions, grants, usage
from fedtui.core.operations import approvals, executions, gate, overrides, quarantine
from fedtui.core.operations.approval_status import ALSO_PAUSED
from fedtui.core.operations.operation import OperationTable
from fedtui.core.peers import tokens
from fedtui.core.pki import signing
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import accept_client, handshake, heartbeat_sender, heartbeats, renewal
from fedtui.core.runtime import daemons, job_runs, lease
from fedtui.core.runtime.actor import MANAGER, Actor
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.failure_log import log_failure
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
FEDERATION_JOB = heartbeats.JOB
MAINTENANCE_JOB = "maintenance"
SEALING_JOB = "sealing"
_MAINTENANCE = Actor("job", MAINTENANCE_JOB, origin=f"job {MAINTENANCE_JOB}")
_SEALING = Actor("job", SEALING_JOB, origin=f"job {SEALING_JOB}")


@contextmanager
def _fenced(site: NodeContext, actor: Actor, held: Held | None) -> Iterator[Unit]:
    with site.unit(actor) as unit:
        if held is not None:
            lease.fence(unit.session, held, now=unit.now, ttl=site.settings.lease_ttl)
        yield unit


def sweep(site: NodeContext, actor: Actor = heartbeats.JOB_ACTOR, held: Held | None = None) -> dict[str, Any]:
    """One heartbeat sweep: swept, degraded_ids, ran_at, held_back.

    Raises `Refused` for an operator who may not manage peers.
    """
    if actor.kind == "operator":
        with site.read() as session:
            operators.require(session, actor.name, operators.MANAGE_PEERS)
    log.info("[FederationHeartbeatJob] Starting heartbeat sweep")
    with _fenced(site, actor, held) as unit:
        if quarantine.current(unit.session) is not None:
            return {"swept": 0, "degraded_ids": [], "ran_at": unit.now.isoformat(), "held_back": True}
        return heartbeats.sweep(unit, site.settings)


def federation_heartbeat(site: NodeContext, held: Held | None = None) -> Mapping[str, Any]:
    """The job of that name: the sweep, then this node's own heartbeats."""
    began = time.monotonic()
    swept = sweep(site, held=held)
    sweep_seconds = round(time.monotonic() - began, 6)
    with site.read() as session:
        if quarantine.current(session) is not None:
            return {"swept": 0, "held_back": True, "quarantine": True}
        partial = node_settings.value(session, "partial_mtls")
        heard = heartbeats.heard(session, site.settings, site.clock.now())
    return {
        "swept": swept["swept"],
        "held_back": swept["held_back"],
        "heard": heard,
        "sweep_seconds": sweep_seconds,
        **heartbeat_sender.send_all(site, partial_mtls=partial),
    }


def manager_tick(site: NodeContext, table: OperationTable, held: Held | None = None) -> dict[str, Any]:
    """One tick of the SDWAN Manager: let the clock end what is over, carry out what was approved,
    finish handshakes, renew certificates, probe the degraded.

    Paused, it does only the first; approvals stay where they are, but for what would bring it back. In quarantine
    it calls no peer.
    """
    with _fenced(site, MANAGER, held) as unit:
        expired = approvals.expire(unit)
        warned = approvals.warn(unit)
        restored = overrides.end_overdue(unit)
        tokens.expire(unit)
        paused = manager_pause.status(unit.session) == manager_pause.PAUSED
        quarantined = quarantine.current(unit.session) is not None
        waiting = _ready(unit, table, paused=paused)
    outcome: dict[str, Any] = {
        "status": "paused" if paused else "quarantine" if quarantined else "active",
        "expired": len(expired),
        "about_to_expire": len(warned),
        "policies_restored": restored,
    }
    done = [gate.execute(site, table, approval_id) for approval_id in waiting]
    if paused and not done:
        return outcome
    outcome["executed"] = sum(status == "executed" for status in done)
    outcome["failed"] = sum(status in ("failed", "stale") for status in done)
    if paused or quarantined:
        return outcome
    outcome["redelivered"] = _redeliver(site)
    return {**outcome, **renewal.renew_due(site), **_probe(site)}


def tick_by_hand(site: NodeContext, table: OperationTable, actor: Actor) -> dict[str, Any]:
    """A tick asked for by an operator. Raises `Refused` without the permission to control the manager."""
    with site.read() as session:
        operators.require(session, actor.name, operators.CONTROL)
    return manager_tick(site, table)


def _ready(unit: Unit, table: OperationTable, *, paused: bool) -> list[str]:
    before: datetime = unit.now - gate.ABANDONED_AFTER
    found = executions.to_execute(unit.session, now=unit.now, abandoned_before=before)
    taken = [one for one in found if not paused or one.action in ALSO_PAUSED]
    return [approval.id for approval in taken if not table[approval.action].shown_once]


def _redeliver(site: NodeContext) -> int:
    with site.read() as session:
        unfinished = accept_client.owed(session)
    finished = 0
    for peer_id in unfinished:
        try:
            with correlated():
                finished += _redeliver_to(site, peer_id)
        except Exception as error:
            # Whatever one peer brings up, the others' handshakes are to go on.
            log_failure(log, f"[SDWAN Manager] the handshake with {peer_id} could not be finished", error)
    return finished


def _redeliver_to(site: NodeContext, peer_id: str) -> bool:
    failure = accept_client.deliver(site, peer_id, MANAGER)
    if failure is not None:
        log.warning("[SDWAN Manager] the handshake with %s is still unfinished: %s", peer_id, failure)
        return False
    with site.unit(MANAGER) as unit:
        emit(unit, "federation.handshake.redelivered", source=manager_pause.MANAGER_JOB, peer_id=peer_id)
    handshake.send_initial_heartbeat(site, peer_id)
    return True


def _probe(site: NodeContext) -> dict[str, int]:
    """Call the degraded peers that were not called lately: one that answers us will be heard of soon."""
    with site.read() as session:
        partial = node_settings.value(session, "partial_mtls")
        before: datetime = site.clock.now() - site.settings.manager_interval / 2
        waiting = heartbeat_sender.degraded(session, untried_since=before)
    tally = heartbeat_sender.send_to(site, waiting, partial_mtls=partial, within=site.settings.manager_interval)
    return {"probed": len(waiting), "answered": tally["sent"]}


def maintenance(site: NodeContext, held: Held | None = None) -> Mapping[str, Any]:
    """Renew what is due (server certificate, grants), end or archive what is over, forget what is old."""
    with _fenced(site, _MAINTENANCE, held) as unit:
        renewed = renew_server(unit, site)
        ended = tokens.expire(unit)
        renewed_grants = grants.renew_due(unit) if quarantine.current(unit.session) is None else []
        archived = grants.archive(unit)
        decisions.prune(unit.session, unit.now)
        usage.prune(unit.session, unit.now)
        outbox.prune(unit.session, unit.now)
        job_runs.prune(unit.session, unit.now)
        daemons.forget_dead(unit.session, now=unit.now)
    retired = _until_nothing(site, lambda: _retire(site, held))
    return {
        "server_certificate_renewed": renewed,
        "tokens_expired": ended,
        "grants_renewed": len(renewed_grants),
        "grants_archived": archived,
        "events_retired": retired,
    }


def sealing(site: NodeContext, held: Held | None = None) -> Mapping[str, Any]:
    """Seal what was committed since the last run, batch by batch, each in a transaction of its own."""
    return {"sealed": _until_nothing(site, lambda: _seal(site, held))}


def _seal(site: NodeContext, held: Held | None) -> int:
    with _fenced(site, _SEALING, held) as unit:
        return seals.seal_next(unit, sealing_key(site))


def _retire(site: NodeContext, held: Held | None) -> int:
    with _fenced(site, _MAINTENANCE, held) as unit:
        return seals.retire(unit)


def _until_nothing(site: NodeContext, step: Callable[[], int]) -> int:
    """Repeat a step until it finds nothing to do, or this process is to stop; the sum."""
    done = 0
    while not site.stopping.is_set() and (found := step()):
        done += found
    return done


def sealing_key(site: NodeContext) -> bytes:
    """The key of this node's seals."""
    return site.vault.derive(seals.PURPOSE, site.id)


def renew_server(unit: Unit, site: NodeContext) -> bool:
    """Make or renew the server certificate if it is due, or if the node's names have changed."""
    hosts = server_hosts(site.url, site.settings.listen)
    return signing.renew_server_if_due(unit, site.vault, hosts=hosts, lifetime=site.settings.leaf_lifetime)


def server_hosts(url: str, listen: str) -> list[str]:
    """The names a server certificate must stand for: the URL's host, and a listening address
    that is not "everywhere"."""
    named = urlsplit(url).hostname or "localhost"
    bound = listen.rpartition(":")[0].strip("[]")
    return list(dict.fromkeys([named, *([bound] if bound not in ("", "0.0.0.0", "::") else [])]))  # noqa: S104
