"""What a console shows around its tables: the node's state in a few values, and one peer in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause, node_settings
from fedtui.core.administration.operators import Operator
from fedtui.core.audit import events, outbox
from fedtui.core.audit.events import Event
from fedtui.core.errors import Unusable
from fedtui.core.grants import decisions, usage
from fedtui.core.grants import operations as grant_operations
from fedtui.core.grants.grants import Grant
from fedtui.core.operations import approval_status as waiting
from fedtui.core.operations import break_glass, eligible_approvers, policies, quarantine
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.operation import OperationTable
from fedtui.core.peers import peers, tokens
from fedtui.core.pki import anchors, key_pairs, signing
from fedtui.core.pki import crl as crls
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.tls_inspect import key_words
from fedtui.core.pki.x509 import fingerprint, issued_by, read_certificates
from fedtui.core.protocol.client import endpoint_urls
from fedtui.core.runtime import daemons, process_lock
from fedtui.core.views import serializers

RECENT_EVENTS = 8
MOST_OF_AN_ACT = 30


@dataclass(frozen=True, slots=True)
class Overview:
    """The node at a glance, for one operator. `waiting` counts requests this operator can decide."""

    node_id: str
    permissions: frozenset[str]
    manager_paused: bool
    drill_mode: bool
    waiting: int
    daemons: int
    lowered: tuple[tuple[str, str, datetime], ...] = ()
    """Policies lowered for an emergency: action, policy, until when."""
    recovered: tuple[str, ...] = ()
    """Operators who came in by the break-glass, until that is acknowledged."""
    notices_failing: int = 0
    single_operator: bool = False
    quarantined: bool = False
    silent_daemon: bool = False
    """No daemon is on record as alive, and yet one of this home holds its lock: stopped, or it cannot write."""


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """One peer in full: the contract's object, its certificates and token, and its newest events."""

    shape: dict[str, Any]
    dialled: tuple[str, ...]
    token_state: str | None
    token_expires_at: datetime | None
    certificates: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """What the same act caused besides an event, the newest first; `more` if that is not all."""

    same: list[dict[str, Any]]
    more: bool


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """One grant in full: the contract's object, how it was used in the last 30 days, its last decisions."""

    shape: dict[str, Any]
    used: list[dict[str, Any]]
    decisions: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """One certificate in full. `shape` is None for a request that waits to be signed.

    `chain` is leaf first, `broken` what is wrong with its pair (`credentials.broken`), `renewal` how a
    failing one stands, `crl` what is kept of the peer's, `refused` the newest calls turned away for a
    certificate of the peer; `public_pem` is what may be given away. On our CA `listed` counts what its CRL
    names, and on our CA and server `refused` are the handshakes that came to nothing.
    """

    shape: dict[str, Any] | None
    chain: list[dict[str, Any]]
    broken: str | None
    renewal: dict[str, Any] | None
    crl: dict[str, Any] | None
    refused: list[dict[str, Any]]
    public_pem: str
    offered: bool = False
    listed: int | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """One request in full: the contract's object with what it waits for, and what of its target has
    changed since it was asked for ("" is: nothing). `critical`: approving it takes a reason."""

    shape: dict[str, Any]
    changed_since: str
    critical: bool


def overview(session: Session, site: NodeContext, operator: str) -> Overview:
    """Look at the node for `operator`; one who is not on record has no permissions.

    Raises `Unusable` when the database's file is gone: what is open would go on answering.
    """
    file = site.database.file
    if file is not None and not file.exists():
        raise Unusable(
            "The node's database is gone.",
            cause=f"{file} was moved or removed while it was in use.",
            fix="Put it back, or a backup in its place, and restart what uses it.",
            code="database_gone",
        )
    known = session.get(Operator, operator)
    now = site.clock.now()
    alive = daemons.alive(session, now=now, ttl=3 * site.settings.lease_ttl)
    return Overview(
        node_id=site.id,
        permissions=frozenset(known.permissions if known and known.removed_at is None else ()),
        manager_paused=manager_pause.status(session) == manager_pause.PAUSED,
        drill_mode=node_settings.is_on(session, "drill_mode"),
        waiting=eligible_approvers.waiting_for(session, operator, now),
        daemons=len(alive),
        silent_daemon=not alive and process_lock.daemon_lives(site.settings.home),
        lowered=tuple((one.action, one.policy, one.until) for one in policies.active_overrides(session, now)),
        recovered=tuple(one.operator for one in break_glass.open_ones(session)),
        single_operator=node_settings.is_on(session, "single_operator"),
        notices_failing=outbox.failing(session)[0],
        quarantined=quarantine.current(session) is not None,
    )


def peer_record(session: Session, peer_id: str) -> PeerRecord | None:
    """Everything about one peer, or None if it is not there."""
    row = session.get(peers.Peer, peer_id)
    if row is None:
        return None
    token = tokens.newest(session, peer_id)
    held = select(Certificate).where(Certificate.peer_id == peer_id).order_by(Certificate.id.desc()).limit(6)
    return PeerRecord(
        shape=serializers.peer(session, row),
        dialled=endpoint_urls(row),
        token_state=token.state if token else None,
        token_expires_at=token.expires_at if token else None,
        certificates=[serializers.certificate(session, one) for one in session.scalars(held)],
        events=[serializers.event(one) for one in events.recent(session, peer_id=peer_id, limit=RECENT_EVENTS)],
    )


def event_record(session: Session, event_id: str) -> EventRecord | None:
    """What one act caused, around one of its events; None if that is not there."""
    row = session.get(Event, event_id)
    if row is None:
        return None
    found = events.recent(session, correlation_id=row.correlation_id, limit=MOST_OF_AN_ACT + 2)
    others = [serializers.event(one) for one in found if one.id != event_id]
    return EventRecord(others[:MOST_OF_AN_ACT], len(others) > MOST_OF_AN_ACT)


def grant_record(session: Session, site: NodeContext, grant_id: str) -> GrantRecord | None:
    """Everything about one grant, or None if it is not there."""
    row, now = session.get(Grant, grant_id), site.clock.now()
    if row is None:
        return None
    return GrantRecord(
        shape={**grant_operations.shape(row, now), "stored": grant_operations.quota_of(session, site, grant_id)},
        used=[serializers.used(one) for one in usage.ways(session, grant_id, now)],
        decisions=[
            serializers.decision(one) for one in decisions.listing(session, grant_id=grant_id, limit=RECENT_EVENTS)
        ],
    )


def approval_record(
    session: Session, site: NodeContext, table: OperationTable, approval_id: str
) -> ApprovalRecord | None:
    """Everything about one request, or None if it is not there."""
    row = session.get(Approval, approval_id)
    if row is None:
        return None
    target = table[row.action].target(session, row.params)
    waits = row.status in ("pending", "approved")
    return ApprovalRecord(
        shape=serializers.approval_in_full(session, row, site, table),
        changed_since=waiting.differences(row.target, target) if waits and target != row.target else "",
        critical=policies.RULES[row.action].critical,
    )


def certificate_record(session: Session, site: NodeContext, id: str) -> CertificateRecord | None:
    """Everything about one certificate, or a request that waits for one; None if it is not there."""
    row = session.get(Certificate, id)
    credential = None if row is not None else session.get(Credential, id)
    if row is None and credential is None:
        return None
    peer_id = row.peer_id if row is not None else credential.peer_id if credential is not None else None
    outbound = row is None or (row.direction == "outbound" and not row.over)
    crl = crls.of_peer(session, peer_id) if peer_id is not None else None
    peer = session.get(peers.Peer, peer_id) if peer_id is not None else None
    return CertificateRecord(
        shape=serializers.certificate(session, row) if row is not None else None,
        chain=_chain(session, row) if row is not None else [],
        broken=key_pairs.broken(session, site.vault, peer_id) if outbound and peer_id is not None else None,
        renewal=_renewal(key_pairs.pending(session, peer_id)) if outbound and peer_id is not None else None,
        crl=None
        if crl is None
        else {
            "this_update": crl.this_update,
            "next_update": crl.next_update,
            "revoked": crl.revoked,
            "covers": crl.covers,
            "error": crl.error,
        },
        refused=_turned_away(session, peer_id) if peer_id is not None else _handshakes(session, row),
        public_pem=row.cert_pem + row.chain_pem if row is not None else credential.csr_pem if credential else "",
        offered=peer is not None and peer.offered_csr_pem is not None,
        listed=signing.listed_as_revoked(session, site.clock.now()) if row and row.subject_kind == "ca" else None,
    )


def _chain(session: Session, row: Certificate) -> list[dict[str, Any]]:
    """From the leaf to its anchor, as far as it is on record."""
    known = read_certificates(row.cert_pem + row.chain_pem, field="certificate")
    if row.peer_id is not None and row.direction == "outbound":
        known += anchors.issuers_of(session, row.peer_id)
    path = [known[0]]
    while (above := next((one for one in known if one not in path and issued_by(path[-1], one)), None)) is not None:
        path.append(above)
    return [
        {
            "subject": one.subject.rfc4514_string(),
            "fingerprint": fingerprint(one),
            "not_before": one.not_valid_before_utc,
            "not_after": one.not_valid_after_utc,
            "key": key_words(one),
        }
        for one in path
    ]


def _renewal(pending: Credential | None) -> dict[str, Any] | None:
    if pending is None:
        return None
    return {
        "attempts": pending.attempts,
        "next_attempt_at": pending.next_attempt_at,
        "last_error": pending.last_error,
        "since": pending.created_at,
    }


def _turned_away(session: Session, peer_id: str) -> list[dict[str, Any]]:
    found = decisions.listing(session, peer_id=peer_id, refused_only=True, limit=RECENT_EVENTS)
    return [serializers.decision(one) for one in found if (one.code or "").startswith(("cert_", "trust_"))]


def _handshakes(session: Session, row: Certificate | None) -> list[dict[str, Any]]:
    if row is None or row.direction != "own":
        return []
    found = decisions.listing(session, call=decisions.HANDSHAKE, refused_only=True, limit=RECENT_EVENTS)
    return [serializers.decision(one) for one in found]
