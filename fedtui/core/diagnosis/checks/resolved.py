"""Who decided that something does not work: suspended or revoked a peer, revoked a certificate or a grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.audit import events
from fedtui.core.audit.events import Event
from fedtui.core.diagnosis.model import in_words
from fedtui.core.grants.grants import Grant
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import Certificate

ENDED = ("suspended", "revoked")
"""Statuses that only an operator's decision brings about."""
MOST_EVENTS = 50
"""Events of one kind and peer among which the one of a certificate or a grant is looked for."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An operator's decision. `see` is the command that shows what it is about."""

    what: str
    who: str
    at: datetime
    reason: str
    see: str

    @property
    def words(self) -> str:
        """The decision as a sentence: who, what, when and why."""
        return f"{self.who} {self.what} at {in_words(self.at)}: {self.reason or 'no reason was given'}."


def on_peer(session: Session, peer: Peer | None) -> Decided | None:
    """The decision that ended or halted a peering; None where it goes on."""
    if peer is None or peer.status not in ENDED:
        return None
    recorded = events.recent(session, kind=f"federation.peer.{peer.status}", peer_id=peer.id, limit=1)
    by, why = (
        ("suspended_by", "suspension_reason") if peer.status == "suspended" else ("revoked_by", "revocation_reason")
    )
    who = _who(session, recorded[0]) if recorded else str(peer.metadata_.get(by) or "an operator")
    at = recorded[0].emitted_at if recorded else peer.updated_at
    reason = str(peer.metadata_.get(why) or "")
    return Decided(f"{peer.status} {peer.remote_instance_url}", who, at, reason, f"fedtui peers show {peer.id}")


def on_certificate(session: Session, row: Certificate | None) -> Decided | None:
    """The decision that revoked a certificate; None where another certificate has taken its place."""
    if row is None or row.revoked_at is None or row.revocation_reason == certificates.SUPERSEDED:
        return None
    recorded = events.recent(session, kind="federation.certificate.revoked", peer_id=row.peer_id, limit=MOST_EVENTS)
    event = next((entry for entry in recorded if entry.payload.get("serial") == row.serial), None)
    who = _who(session, event) if event is not None else "an operator"
    reason = row.revocation_reason or ""
    return Decided(
        f"revoked the certificate {row.serial}", who, row.revoked_at, reason, f"fedtui certs show {row.serial}"
    )


def on_grant(session: Session, grant: Grant | None) -> Decided | None:
    """The decision that revoked a grant; None where nobody is on record with one."""
    if grant is None or grant.revoked_at is None or not grant.revocation_reason:
        return None
    recorded = events.recent(session, kind="federation.grant.revoked", peer_id=grant.peer_id, limit=MOST_EVENTS)
    event = next((entry for entry in recorded if grant.id in map(str, entry.payload.values())), None)
    who = _who(session, event) if event is not None else "an operator"
    see = f"fedtui grants show {grant.id}"
    return Decided(f"revoked the grant {grant.id}", who, grant.revoked_at, grant.revocation_reason, see)


def _who(session: Session, event: Event) -> str:
    """Who stands behind an event: of what the manager carried out, whoever asked for it and approved it."""
    query = select(Approval).where(Approval.correlation_id == event.correlation_id).order_by(Approval.id.desc())
    asked = session.scalars(query.limit(1)).first()
    if asked is None:
        return event.actor
    approved = f" (approved by {asked.decided_by})" if asked.decided_by else ""
    return f"{asked.requested_by}{approved}"
