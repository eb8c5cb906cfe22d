"""The approval queue: requests, who decides them, and the clock that ends them.

A request is bound to the digest of exactly what was shown: the action, its parameters, and
those fields of its target that it depends on. Every change of status is a conditional
update, so that of two deciders, or two executors, one wins and the other is told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, false, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.operators import CONTROL
from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.operations import approval_status
from fedtui.core.pki import vault as vaults
from fedtui.core.pki.vault import Owner, SealedValue
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, Json, JsonObject, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

TIMEOUT = timedelta(hours=4)
"""How long a request waits for a decision before the clock rejects it."""
EXECUTE_WITHIN = timedelta(hours=4)
"""How long an approved request may wait to be carried out (the manager paused, a token unclaimed)."""
WARN_BEFORE = timedelta(minutes=30)
"""How long before the clock rejects a request people are told."""
SHORTEST_DIGEST = 8
SECRET_PARAMS = "secret_params"  # noqa: S105 - the name under which they are sealed
OPEN = ("pending", "approved", "executing", "failed")
WITHDRAWABLE = ("pending", "approved", "failed")
STATUSES = (*OPEN, "executed", "rejected", "expired", "withdrawn", "stale")
SOURCE = "approval_queue"


class Approval(Base):
    """One request. `status`: pending, approved, executing, executed, failed, rejected,
    expired, withdrawn, stale. Parameters that are secret are sealed to the request and stand
    in `params` as a digest only."""

    __tablename__ = "approvals"
    __table_args__ = (Index("ix_approvals_status_expires_at", "status", "expires_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(Text_)
    status: Mapped[str] = mapped_column(Text_)
    digest: Mapped[str]
    params: Mapped[JsonObject]
    target: Mapped[JsonObject]
    summary: Mapped[str]
    peer_id: Mapped[str | None]
    reason: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(Text_)
    requested_origin: Mapped[str]
    requested_at: Mapped[Time]
    expires_at: Mapped[Time]
    decided_by: Mapped[str | None]
    decided_at: Mapped[Time | None]
    decision_reason: Mapped[str | None]
    executor: Mapped[str | None]
    executing_since: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    correlation_id: Mapped[str]
    warned_at: Mapped[Time | None]


def digest_of(action: str, params: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of what a person is shown and the act depends on."""
    shown = json.dumps([action, params, target], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(shown.encode()).hexdigest()


def ask(
    unit: Unit,
    *,
    action: str,
    params: Mapping[str, Any],
    target: Mapping[str, Any],
    summary: str,
    reason: str | None,
    peer_id: str | None,
) -> Approval:
    """File a request. The same open request by the same operator is returned, not filed twice."""
    digest = digest_of(action, params, target)
    same = select(Approval).where(
        Approval.action == action,
        Approval.digest == digest,
        Approval.requested_by == unit.actor.name,
        Approval.status.in_(("pending", "approved")),
        Approval.expires_at > unit.now,
    )
    existing = unit.session.scalars(same.limit(1)).first()
    if existing is not None:
        return existing
    approval = Approval(
        id=new_id(),
        action=action,
        status="pending",
        digest=digest,
        params=dict(params),
        target=dict(target),
        summary=summary,
        peer_id=peer_id,
        reason=reason,
        requested_by=unit.actor.name,
        requested_origin=unit.actor.origin,
        requested_at=unit.now,
        expires_at=unit.now + TIMEOUT,
        correlation_id=unit.correlation_id,
    )
    unit.session.add(approval)
    unit.session.flush()
    announce(unit, "requested", approval, summary=summary)
    return approval


def find(session: Session, wanted: str) -> Approval:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(
        session, Approval, wanted, noun="approval request", see="fedtui approvals list", code="approval_not_found"
    )


def approve(
    unit: Unit,
    approval_id: str,
    digest: str,
    *,
    target_now: Mapping[str, Any] | None,
    reason: str | None = None,
) -> Approval:
    """Approve exactly what was shown.

    `target_now` is the target as it stands at this moment (None: it is gone). Raises
    `Refused` for a wrong digest, one's own request, an ended one, or one gone stale
    (which is then recorded as stale).
    """
    approval = _decidable(unit, approval_id)
    given = digest.strip().lower()
    if len(given) < SHORTEST_DIGEST or not approval.digest.startswith(given):
        raise Refused(
            "That is not the digest of this request.",
            cause=f"An approval names the digest that was shown, {SHORTEST_DIGEST} characters or more.",
            fix=f"Look at it again: fedtui approvals show {approval.id}",
            code="digest_mismatch",
        )
    if target_now is None or digest_of(approval.action, approval.params, target_now) != approval.digest:
        go_stale(unit, approval, target_now)
        return approval
    close(
        unit,
        approval,
        "pending",
        "approved",
        decided_by=unit.actor.name,
        decided_at=unit.now,
        decision_reason=reason,
        expires_at=unit.now + EXECUTE_WITHIN,
    )
    return approval


def reject(unit: Unit, approval_id: str, reason: str) -> Approval:
    """Reject a pending request, with a reason."""
    if not reason.strip():
        raise WrongUsage(
            "Rejecting takes a reason.",
            cause="The requester has nothing else to go by.",
            fix="Give --reason TEXT.",
            code="reason_missing",
        )
    approval = _decidable(unit, approval_id)
    close(
        unit,
        approval,
        "pending",
        "rejected",
        decided_by=unit.actor.name,
        decided_at=unit.now,
        decision_reason=reason,
    )
    return approval


def withdraw(unit: Unit, approval_id: str) -> Approval:
    """Take back one's own request before it is carried out."""
    approval = find(unit.session, approval_id)
    if approval.requested_by != unit.actor.name:
        raise Refused(
            "Only the one who asked can withdraw a request.",
            cause=f"It was asked for by {approval.requested_by}.",
            fix=f"Reject it instead: fedtui approvals reject {approval.id} --reason TEXT",
            code="not_your_request",
        )
    if approval.status not in WITHDRAWABLE:
        raise not_open(approval, f"Only one that is {', '.join(WITHDRAWABLE)} can be withdrawn.")
    close(unit, approval, approval.status, "withdrawn", finished_at=unit.now)
    return approval


def ended(unit: Unit, approval_id: str, action: str) -> Approval:
    """A request for `action` that came to nothing, to be asked for again. Raises `Refused` for any other."""
    approval = find(unit.session, approval_id)
    status = approval_status.effective_status(approval.status, approval.expires_at, unit.now)
    if approval.action != action or status in OPEN or status == "executed":
        raise Refused(
            f"That request is {status}." if approval.action == action else f"That request is for {approval.action}.",
            cause="Asked for again is what was rejected, withdrawn, went stale, or timed out.",
            fix=f"See it: fedtui approvals show {approval.id}",
            code="approval_not_ended",
        )
    return approval


def expire(unit: Unit) -> list[str]:
    """End what is past its time; the ids. Each exactly once.

    Pending: nobody decided. Approved: nobody carried it out. A failed request stays as it is,
    but what was sealed to it for a retry is destroyed.
    """
    ended = []
    for approval in unit.session.scalars(select(Approval).where(overdue(unit.now)).order_by(Approval.id)):
        close(unit, approval, approval.status, "expired", finished_at=unit.now)
        ended.append(approval.id)
    sealed = select(SealedValue.owner_id).where(SealedValue.owner_kind == "approval")
    given_up = select(Approval.id).where(
        Approval.status == "failed", Approval.expires_at <= unit.now, Approval.id.in_(sealed)
    )
    for approval_id in list(unit.session.scalars(given_up)):
        vaults.destroy(unit.session, Owner("approval", approval_id))
    return ended


def warn(unit: Unit) -> list[str]:
    """Tell of the requests that the clock is about to reject, each once; their ids."""
    soon = (Approval.status == "pending") & (Approval.expires_at <= unit.now + WARN_BEFORE)
    query = select(Approval).where(soon, Approval.expires_at > unit.now, Approval.warned_at.is_(None))
    warned = []
    for approval in unit.session.scalars(query.order_by(Approval.id)):
        approval.warned_at = unit.now
        announce(unit, "expiring", approval, expires_at=approval.expires_at.isoformat())
        warned.append(approval.id)
    unit.session.flush()
    return warned


def operator_left(unit: Unit, name: str) -> None:
    """An operator was removed: what they asked for is withdrawn; what they approved and nobody has
    carried out yet waits for another's decision, for as long as it would have waited without theirs."""
    asked = select(Approval).where(
        Approval.requested_by == name, Approval.status.in_(("pending", "approved", "failed"))
    )
    for approval in unit.session.scalars(asked.order_by(Approval.id)):
        close(
            unit,
            approval,
            approval.status,
            "withdrawn",
            finished_at=unit.now,
            decision_reason=f"{name} is no longer an operator",
        )
    decided = select(Approval).where(Approval.decided_by == name, Approval.status == "approved")
    for approval in unit.session.scalars(decided.order_by(Approval.id)):
        until = approval.requested_at + TIMEOUT
        move(unit, approval, "approved", "pending", decided_by=None, decided_at=None, expires_at=until)
        announce(unit, "reopened", approval, decided_by=name)


def end_all(unit: Unit, reason: str) -> int:
    """Withdraw everything that is open, whoever asked: how many. The records are not the newest."""
    open_ones = select(Approval).where(Approval.status.in_(("pending", "approved", "executing", "failed")))
    found = list(unit.session.scalars(open_ones.order_by(Approval.id)))
    for approval in found:
        close(unit, approval, approval.status, "withdrawn", finished_at=unit.now, decision_reason=reason)
    return len(found)


def go_stale(unit: Unit, approval: Approval, target_now: Mapping[str, Any] | None) -> None:
    """What the act depends on changed between approval and execution: it is not carried out."""
    close(unit, approval, approval.status, "stale", finished_at=unit.now, error=_stale(approval, target_now))


def overdue(now: datetime) -> ColumnElement[bool]:
    """The requests that the clock has ended, noticed or not: `approval_status.effective_status`, as a condition."""
    return Approval.status.in_(approval_status.ENDED_BY_CLOCK) & (Approval.expires_at <= now)


def listing(
    session: Session, *, status: str | None = None, limit: int = 100, now: datetime | None = None
) -> list[Approval]:
    """Requests, open ones first, then the rest; each newest first. With `now`, the clock's word counts.

    Raises `WrongUsage` for an unknown status.
    """
    over = overdue(now) if now is not None else false()
    ended = Approval.status.not_in(OPEN) | over
    query = select(Approval).order_by(ended, Approval.id.desc()).limit(limit)
    if status is not None:
        if status not in STATUSES:
            raise WrongUsage(
                f"There is no status {status[:40]!r}.",
                cause=f"A request is one of: {', '.join(STATUSES)}.",
                fix="Leave --status out to see them all.",
                code="status_unknown",
            )
        of_status = (Approval.status == status) & ~over
        query = query.where(of_status | over if status == "expired" else of_status)
    return list(session.scalars(query))


def _stale(approval: Approval, target_now: Mapping[str, Any] | None) -> dict[str, Any]:
    changed = approval_status.differences(approval.target, target_now)
    return {
        "code": "approval_stale",
        "problem": "What this request depends on has changed since it was filed.",
        "cause": f"Carrying it out would be something else than what was shown: {changed}.",
        "fix": "Have it asked for again, and look at the new request.",
    }


def _decidable(unit: Unit, approval_id: str) -> Approval:
    approval = find(unit.session, approval_id)
    operators.require(unit.session, unit.actor.name, CONTROL)
    if approval.status != "pending":
        raise not_open(approval)
    if approval.expires_at <= unit.now:
        raise Refused(
            "That request has timed out.",
            cause=f"Nobody decided it until {approval.expires_at:%F %H:%M} UTC; the clock rejects after 4 hours.",
            fix="Ask for the act again, and have it decided within 4 hours.",
            code="approval_timed_out",
        )
    own = operators.same(approval.requested_by, unit.actor.name)
    if own and not node_settings.is_on(unit.session, "single_operator"):
        raise Refused(
            "Nobody decides their own request.",
            cause=f"{approval.requested_by} asked for it, and you are {unit.actor.name}.",
            fix=f"Have another operator decide it (fedtui approvals show {approval.id} says who can).",
            code="four_eyes",
        )
    return approval


def close(unit: Unit, approval: Approval, expected: str, to: str, **values: Any) -> None:
    """Move a request on; what was sealed to it is destroyed unless it may still be carried out."""
    move(unit, approval, expected, to, **values)
    if to != "approved":
        vaults.destroy(unit.session, Owner("approval", approval.id))
    announce(unit, to, approval, **{key: value for key, value in values.items() if key == "decision_reason"})


def move(unit: Unit, approval: Approval, expected: str, to: str, **values: Any) -> None:
    moved = unit.session.execute(
        update(Approval)
        .where(Approval.id == approval.id, Approval.status == expected)
        .values(status=to, **values)
        .execution_options(synchronize_session=False)
        .returning(Approval.id)
    ).one_or_none()
    unit.session.refresh(approval)
    if moved is None:
        raise not_open(approval)


def not_open(approval: Approval, cause: str = "Only a pending request can be decided.") -> Refused:
    by = f" (decided by {approval.decided_by})" if approval.decided_by else ""
    return Refused(
        f"That request is {approval.status}{by}.",
        cause=cause,
        fix=f"See it: fedtui approvals show {approval.id}",
        code="approval_not_open",
    )


def announce(unit: Unit, what: str, approval: Approval, **payload: Any) -> None:
    emit(
        unit,
        f"system.approval.{what}",
        source=SOURCE,
        peer_id=approval.peer_id,
        correlation_id=approval.correlation_id,
        approval_id=approval.id,
        action=approval.action,
        **payload,
    )
