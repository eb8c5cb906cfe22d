"""Quarantine: a node whose records may be older than the world takes no part in it until an operator says so.

After a restore the node knows nothing of what came since its backup: a peer or grant that was revoked would be
trusted again, a token that was used could be used twice. So it answers no peer, calls none, honours no grant and
carries out nothing but what takes away; what could be used twice is ended at once.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import Denied, Refused
from fedtui.core.operations import approvals
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Time
from fedtui.core.runtime.unit import Unit

ONLY = 1
END = "system.quarantine_end"
ALLOWED = frozenset(
    {
        END,
        "system.federation_peer_suspend",
        "system.federation_peer_revoke",
        "system.federation_grant_revoke",
        "system.federation_certificate_revoke",
        "system.federation_bridge_suspend",
        "system.federation_bridge_revoke",
        "system.operator_remove",
        "system.manager_pause",
        "system.manager_resume",
    }
)
"""What may be done meanwhile: all of it takes away, or ends the quarantine."""


class Quarantine(Base):
    """The one row, while the node is in quarantine."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    since: Mapped[Time]
    begun_by: Mapped[str]
    reason: Mapped[str]
    known_until: Mapped[Time | None]
    tokens_cancelled: Mapped[int]
    requests_ended: Mapped[int]


def current(session: Session) -> Quarantine | None:
    """The quarantine in force, or None."""
    return session.get(Quarantine, ONLY)


def begin(unit: Unit, reason: str, *, known_until: datetime | None, tokens_cancelled: int = 0) -> Quarantine:
    """Begin a quarantine, and end the open requests, which could be used twice. Return the present one if there is one.

    `known_until` is the time of the newest record; `tokens_cancelled`, how many tokens the caller has cancelled.
    """
    found = current(unit.session)
    if found is not None:
        return found
    row = Quarantine(
        id=ONLY,
        since=unit.now,
        begun_by=str(unit.actor),
        reason=reason,
        known_until=known_until,
        tokens_cancelled=tokens_cancelled,
        requests_ended=approvals.end_all(unit, "the node's records were put back to an earlier time"),
    )
    unit.session.add(row)
    unit.session.flush()
    emit(
        unit,
        "system.node.quarantined",
        source="control",
        reason=reason,
        known_until=known_until and str(known_until),
        tokens_cancelled=row.tokens_cancelled,
        requests_ended=row.requests_ended,
    )
    return row


def end(unit: Unit) -> None:
    """End it: an operator has gone through what was revoked or used since."""
    found = current(unit.session)
    if found is not None:
        unit.session.delete(found)
        unit.session.flush()
        emit(unit, "system.node.quarantine_ended", source="control", since=str(found.since))


def require_free(session: Session) -> None:
    """Raise `Refused` for an operator's act while the node is in quarantine."""
    if current(session) is not None:
        raise Refused(
            "The node is in quarantine: only what takes away can be done.",
            cause="Its records were put back to an earlier time, and nobody has said yet what was revoked since.",
            fix="See what to look at: fedtui db quarantine   then: fedtui db confirm --reason ...",
            code="node_quarantined",
        )


def turn_away(session: Session) -> None:
    """Raise `Denied` (503) for a remote's call while the node is in quarantine."""
    if current(session) is not None:
        raise turned_away()


def turned_away() -> Denied:
    """What a remote is told meanwhile."""
    return Denied(
        503,
        "this node answers no peer at present",
        code="node_quarantined",
        problem="The node is in quarantine.",
        public_code="unavailable",
    )
