"""Records as the contract's JSON objects: one function a record, used by every adapter.

Times stay datetimes; whoever writes JSON writes them as ISO 8601 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause
from fedtui.core.administration.manager_pause import MANAGER_JOB
from fedtui.core.administration.operators import Operator
from fedtui.core.audit import outbox
from fedtui.core.audit.events import Event
from fedtui.core.certificates import listing as certificate_listing
from fedtui.core.certificates.listing import CertificateLine
from fedtui.core.grants import decisions
from fedtui.core.grants.decisions import Decision
from fedtui.core.grants.explain import Explanation
from fedtui.core.grants.usage import Used
from fedtui.core.operations import approval_status as waiting
from fedtui.core.operations import eligible_approvers, quarantine
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.operation import OperationTable
from fedtui.core.peers.listing import certificate_expiry
from fedtui.core.peers.peers import TRANSITIONS, Peer, term_end
from fedtui.core.pki import certificates as trust_certificates
from fedtui.core.pki import key_pairs
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import daemons, job_runs, lease
from fedtui.core.runtime.job_runs import Job
from fedtui.core.runtime.truncated_json import bounded

Shape = dict[str, Any]


DECLARED_FREELY = ("capabilities", "endpoints", "extension_slugs")
"""What a remote declares in JSON of any form."""
MOST_DECLARED = 2000
"""Bytes of each that are shown unless all of it is asked for."""


def peer(session: Session, row: Peer, *, full: bool = False) -> Shape:
    """A peer, with where it can go from here.

    What the remote declared in JSON of its own is cut to `MOST_DECLARED` bytes unless `full`; `shortened` names the
    keys of which something was left out.
    """
    shape = _peer(session, row)
    shortened = []
    for key in () if full else DECLARED_FREELY:
        shape[key], was_cut = bounded(shape[key], MOST_DECLARED)
        shortened += [key] * was_cut
    return {**shape, "shortened": shortened}


def _peer(session: Session, row: Peer) -> Shape:
    return {
        "id": row.id,
        "remote_instance_url": row.remote_instance_url,
        "peer_kind": row.peer_kind,
        "spawn_role": row.spawn_role,
        "spawn_mode": row.spawn_mode,
        "status": row.status,
        "can_become": list(TRANSITIONS[row.status]),
        "drill_mode": row.drill_mode,
        "node_instance_id": row.node_instance_id,
        "contract_version_agreed": row.contract_version_agreed,
        "signed_at": row.signed_at,
        "last_handshake_at": row.last_handshake_at,
        "last_heartbeat_at": row.last_heartbeat_at,
        "last_outbound_at": row.last_outbound_at,
        "last_outbound_error": row.last_outbound_error,
        "clock_skew_seconds": row.clock_skew_seconds,
        "certificate_expires_at": certificate_expiry(session, row.id),
        "pair": key_pairs.pair_state(session, row.id),
        "enroll_owed": row.enroll_owed,
        "remote_prefix_advertisement": row.remote_prefix_advertisement,
        "endpoints": row.endpoints,
        "confirmed_endpoints": row.confirmed_endpoints,
        "capabilities": row.capabilities,
        "extension_slugs": row.extension_slugs,
        "platform_version": row.platform_version,
        "data_residency": row.data_residency,
        "operator_contact": row.operator_contact,
        "maintenance_until": row.maintenance_until,
        "expires_at": row.expires_at,
        "term_ends_at": term_end(row.expires_at, row.term_grace_until),
        "metadata": row.metadata_,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def approval(row: Approval, now: datetime | None = None) -> Shape:
    """A request, without who can decide it; with `now`, its status is as of the clock."""
    return {
        "id": row.id,
        "action": row.action,
        "status": waiting.effective_status(row.status, row.expires_at, now),
        "digest": row.digest,
        "params": row.params,
        "target": row.target,
        "summary": row.summary,
        "peer_id": row.peer_id,
        "requested_by": row.requested_by,
        "requested_origin": row.requested_origin,
        "reason": row.reason,
        "requested_at": row.requested_at,
        "expires_at": row.expires_at,
        "decided_by": row.decided_by,
        "decided_at": row.decided_at,
        "decision_reason": row.decision_reason,
        "finished_at": row.finished_at,
        "result": row.result,
        "error": row.error,
    }


def approval_in_full(session: Session, row: Approval, site: NodeContext, table: OperationTable) -> Shape:
    """A request with what it changes, and what it waits for: who can decide it, when the manager comes by."""
    can, cannot = eligible_approvers.deciders(session, row)
    act, now = table[row.action], site.clock.now()
    shape = {
        **approval(row, now),
        "changes": [
            {"what": one.what, "before": one.before, "after": one.after} for one in act.changes(row.params, row.target)
        ],
        "waiting": {
            "can_decide": can,
            "cannot_decide": cannot,
            "next_tick_at": _next_tick(session, site.settings.manager_interval, now),
            "manager_status": manager_pause.status(session),
            "claimed_by": row.requested_by if act.shown_once else None,
            "executing_since": row.executing_since if row.status == "executing" else None,
        },
    }
    shape["waiting"]["then"] = waiting.then(shape, now)[0]
    return shape


def manager(session: Session, site: NodeContext, table: tuple[Job, ...]) -> Shape:
    """The SDWAN Manager, the lease, and each job's latest run."""
    now = site.clock.now()
    held = lease.in_force(session, now=now)
    latest = job_runs.latest(session, now=now)
    failing, last_error = outbox.failing(session)
    last_tick = job_runs.last_finished(session, MANAGER_JOB, now=now)
    return {
        "status": manager_pause.status(session),
        "quarantine": quarantine.current(session) is not None,
        "last_tick_at": last_tick.finished_at if last_tick else None,
        "next_tick_at": _next_tick(session, site.settings.manager_interval, now),
        "notices": {
            "configured": bool(site.settings.notify_command),
            "failing": failing,
            "last_error": last_error,
        },
        "lease_holder": held.holder if held is not None else None,
        "daemons": [
            {
                "id": one.id,
                "pid": one.pid,
                "url": one.url,
                "operations_url": one.operations_url,
                "listening_since": one.listening_since,
            }
            for one in daemons.alive(session, now=now, ttl=3 * site.settings.lease_ttl)
        ],
        "jobs": [
            {
                "job": job.name,
                "every_seconds": job.every.total_seconds(),
                "last_started_at": latest[job.name].started_at if job.name in latest else None,
                "last_finished_at": latest[job.name].finished_at if job.name in latest else None,
                "last_outcome": latest[job.name].outcome if job.name in latest else None,
                "last_detail": latest[job.name].detail if job.name in latest else None,
            }
            for job in table
        ],
    }


def event(row: Event) -> Shape:
    """An event."""
    return {
        "id": row.id,
        "kind": row.kind,
        "severity": row.severity,
        "source": row.source,
        "peer_id": row.peer_id,
        "actor": row.actor,
        "uid": row.uid,
        "origin": row.origin,
        "correlation_id": row.correlation_id,
        "payload": row.payload,
        "emitted_at": row.emitted_at,
        "seal": row.seal,
    }


def certificate(session: Session, row: Certificate) -> Shape:
    """A certificate; `pair` says which halves of the outbound pair to its peer are there."""
    outbound = row.direction == "outbound" and row.peer_id and not row.over
    return {
        "id": row.id,
        "serial": row.serial,
        "subject": row.subject,
        "subject_kind": row.subject_kind,
        "fingerprint": row.fingerprint,
        "issuer_fingerprint": row.issuer_fingerprint,
        "peer_id": row.peer_id,
        "not_before": row.not_before,
        "not_after": row.not_after,
        "revoked_at": row.revoked_at,
        "revocation_reason": row.revocation_reason,
        "superseded_at": row.superseded_at,
        "first_used_at": row.first_used_at,
        "renew_at": row.renew_at,
        "problem": row.problem,
        "direction": row.direction,
        "pair": key_pairs.pair_state(session, row.peer_id) if outbound and row.peer_id else "none",
    }


def certificates(session: Session, *, limit: int) -> list[Shape]:
    """Every certificate, what will hurt first on top: a request without one is half of a pair already."""
    waiting = [_unsigned(session, line) for line in certificate_listing.unsigned(session)]
    rows = trust_certificates.listing(session, limit=limit)
    return [*waiting, *(certificate(session, row) for row in rows)][:limit]


def _unsigned(session: Session, line: CertificateLine) -> Shape:
    """A request of ours that no peer has signed, with the keys of a certificate: half of a pair."""
    keys = (
        "serial",
        "subject",
        "fingerprint",
        "issuer_fingerprint",
        "not_before",
        "not_after",
        "revoked_at",
        "revocation_reason",
        "superseded_at",
        "first_used_at",
        "renew_at",
    )
    return {
        "id": line.id,
        **dict.fromkeys(keys),
        "subject_kind": line.subject_kind,
        "peer_id": line.peer_id,
        "problem": line.problem,
        "direction": line.direction,
        "pair": key_pairs.pair_state(session, line.peer_id) if line.peer_id else "none",
    }


def decision(row: Decision) -> Shape:
    """A decision of the authorization chain."""
    return {
        "id": row.id,
        "at": row.at,
        "call": row.call,
        "allowed": row.allowed,
        "code": row.code,
        "status": row.status,
        "answered": row.answered,
        "peer_id": row.peer_id,
        "grant_id": row.grant_id,
        "context": row.context,
        "checks": row.checks,
        "times": row.times,
        "last_at": row.last_at,
    }


def explanation(found: Explanation) -> Shape:
    """Why a call is allowed or refused, and what would help."""
    refusal = found.judgement.refusal
    return {
        "allowed": found.judgement.allowed,
        "code": found.judgement.code,
        "status": refusal.status if refusal else 200,
        "answered": refusal.public if refusal else None,
        "peer_id": found.judgement.peer_id,
        "grant_id": found.judgement.grant_id,
        "checks": decisions.checks(found.judgement),
        "fix": found.fix or None,
        "fix_is_enough": found.complete,
        "changes": [
            {"title": one.title, "command": one.command or None, "action": one.action or None, "params": one.params}
            for one in found.changes
        ],
    }


def used(row: Used) -> Shape:
    """One way a grant was used in the last 30 days."""
    return {
        "method": row.method,
        "instance_id": row.instance_id,
        "network_id": row.network_id,
        "source_ip": row.source_ip,
        "times": row.times,
        "last_at": row.last_at,
    }


def operator(row: Operator) -> Mapping[str, Any]:
    """An operator."""
    return {"name": row.name, "permissions": row.permissions, "added_at": row.added_at}


def _next_tick(session: Session, interval: timedelta, now: datetime) -> datetime | None:
    latest = job_runs.newest(session, MANAGER_JOB, now=now)
    return latest.started_at + interval if latest else None
