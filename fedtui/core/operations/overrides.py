"""Lowering a policy for an emergency: with a reason, for at most four hours, ending by itself.

What is in force follows from the clock (`policies.in_force`), so that a lowering ends on time
also if the process that made it has died and no other runs. Noticing the end only announces it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from fedtui.core.audit.events import Event, emit
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.operations import override_review, policies
from fedtui.core.operations.policies import BLOCKED, NEVER_LOWERED, NOTIFY, POLICIES, RULES, PolicyOverride
from fedtui.core.runtime import durations
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit

LONGEST = timedelta(hours=4)
SOURCE = "control"


def check(session: Session, action: str, to: str, span: timedelta, now: datetime) -> None:
    """Raise `WrongUsage` or `Refused` unless `action` may be lowered to `to` for so long."""
    policies.check(action, to)
    before = policies.at_rest(session, action)
    if RULES[action].never_lowered:
        raise _refused(
            f"{action} is never lowered.",
            "It guards policies, settings and operators: one person could end four-eyes for good.",
            "Ask for the change itself, and have it approved.",
            "policy_never_lowered",
        )
    if policies.active_overrides(session, now, action):
        raise _refused(
            f"{action} is lowered already.",
            "One lowering at a time, so that one deadline holds.",
            f"Restore it first: fedtui policies restore {action}",
            "policy_lowered",
        )
    if before == BLOCKED:
        raise _refused(
            f"{action} is blocked.",
            "A lockdown is not lifted by lowering a policy.",
            f"Set it first: fedtui policies set {action} require_approval",
            "policy_blocked",
        )
    if POLICIES.index(to) >= POLICIES.index(before):
        raise _refused(
            f"{to} is not lower than {before}.",
            f"{action} is {before} now.",
            f"Lower is: {', '.join(POLICIES[: POLICIES.index(before)]) or 'nothing'}.",
            "policy_not_lower",
        )
    if RULES[action].never_auto and POLICIES.index(to) < POLICIES.index(NOTIFY):
        raise _refused(
            f"{action} is never lowered below {NOTIFY}.",
            "It changes who is trusted.",
            f"Lower it to {NOTIFY}.",
            "policy_floor",
        )
    if not timedelta() < span <= LONGEST:
        raise WrongUsage(
            f"--for: {durations.show(span)} is not a time to lower a policy for.",
            cause=f"It is up to {durations.show(LONGEST)}: an emergency that lasts longer is looked at again.",
            fix="Give --for 30m, and lower it again if need be.",
            code="duration_invalid",
        )


def lower(unit: Unit, action: str, to: str, span: timedelta, reason: str) -> PolicyOverride:
    """Lower a policy from now on. Raises as `check`."""
    check(unit.session, action, to, span, unit.now)
    row = PolicyOverride(
        id=new_id(),
        action=action,
        policy=to,
        before=policies.at_rest(unit.session, action),
        reason=reason,
        lowered_by=str(unit.actor),
        lowered_at=unit.now,
        until=unit.now + span,
        restored_at=None,
        restored_by=None,
        acts=None,
        confirmed_at=None,
        confirmed_by=None,
    )
    unit.session.add(row)
    unit.session.flush()
    emit(
        unit,
        "system.policy.lowered",
        source=SOURCE,
        action=action,
        policy=to,
        before=row.before,
        reason=reason,
        until=row.until.isoformat(),
        lowering_id=row.id,
    )
    return row


def restore(unit: Unit, action: str) -> PolicyOverride:
    """End a lowering before its time. Raises `Refused` where there is none."""
    found = policies.active_overrides(unit.session, unit.now, action)
    if not found or not _end(unit, found[0], str(unit.actor)):
        raise _refused(
            f"{action} is not lowered.",
            "Its policy is the one that was set.",
            "See them with: fedtui policies list",
            "policy_not_lowered",
        )
    return found[0]


def end_overdue(unit: Unit) -> list[str]:
    """End the lowerings whose time is over, or which are not allowed any more, each once; their actions."""
    ends = or_(PolicyOverride.until <= unit.now, PolicyOverride.action.in_(NEVER_LOWERED))
    _count_earlier(unit)
    over = select(PolicyOverride).where(PolicyOverride.restored_at.is_(None), ends).order_by(PolicyOverride.id)
    return [row.action for row in unit.session.scalars(over) if _end(unit, row, "the clock")]


def _count_earlier(unit: Unit) -> None:
    """Count what ran under lowerings that an earlier version ended: it is for review as any."""
    uncounted = select(PolicyOverride).where(PolicyOverride.restored_at.is_not(None), PolicyOverride.acts.is_(None))
    for row in unit.session.scalars(uncounted):
        row.acts = len(override_review.acts(unit.session, row))


def history(session: Session, *, limit: int = 100) -> list[PolicyOverride]:
    """Every lowering, newest first."""
    return list(session.scalars(select(PolicyOverride).order_by(PolicyOverride.id.desc()).limit(limit)))


def shape(session: Session, row: PolicyOverride) -> dict[str, Any]:
    """A lowering as a JSON object, with what went through for review."""
    return {
        "id": row.id,
        "action": row.action,
        "policy": row.policy,
        "before": row.before,
        "reason": row.reason,
        "lowered_by": row.lowered_by,
        "lowered_at": row.lowered_at,
        "until": row.until,
        "restored_at": row.restored_at,
        "restored_by": row.restored_by,
        "confirmed_at": row.confirmed_at,
        "confirmed_by": row.confirmed_by,
        "went_through": [_act(event) for event in override_review.acts(session, row)],
        "to_undo": []
        if row.restored_at
        else [
            {"kind": change.kind, **change.payload}
            for change in override_review.unconfirmed(row, override_review.changes(session, row))
        ],
    }


def _act(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "at": event.emitted_at,
        "actor": event.actor,
        "peer_id": event.peer_id,
        "params": event.payload.get("params"),
        "reason": event.payload.get("reason"),
    }


def _end(unit: Unit, row: PolicyOverride, by: str) -> bool:
    ended = unit.session.execute(
        update(PolicyOverride)
        .where(PolicyOverride.id == row.id, PolicyOverride.restored_at.is_(None))
        .values(restored_at=unit.now, restored_by=by)
        .execution_options(synchronize_session=False)
        .returning(PolicyOverride.id)
    ).one_or_none()
    unit.session.refresh(row)
    if ended is None:
        return False
    row.acts = len(override_review.acts(unit.session, row))
    override_review.undo_unconfirmed(unit, row)
    emit(
        unit,
        "system.policy.restored",
        source=SOURCE,
        action=row.action,
        policy=row.before,
        restored_by=by,
        lowering_id=row.id,
        went_through=row.acts,
    )
    return True


def _refused(problem: str, cause: str, fix: str, code: str) -> Refused:
    return Refused(problem, cause=cause, fix=fix, code=code)
