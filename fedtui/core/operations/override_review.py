"""The review of an emergency: what went through while a policy was lowered, confirmed by somebody else or undone.

A lowered policy lets one person do alone what takes two. What that changed of policies, settings and operators is
undone when the lowering ends, unless another operator has confirmed it by then; otherwise one person could end
four-eyes for good. Peers, grants and certificates stay as they are: an emergency's revocation must not be undone by
the clock. They stay a finding until another operator has confirmed them (`governance/queries.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.operators import CONTROL, Operator
from fedtui.core.audit.events import Event, emit
from fedtui.core.errors import NotFound, Refused
from fedtui.core.operations import approvals, policies
from fedtui.core.operations.policies import Policy, PolicyOverride
from fedtui.core.runtime.unit import Unit

SOURCE = "control"
Payload = Mapping[str, Any]


def acts(session: Session, row: PolicyOverride) -> list[Event]:
    """Return the acts that ran under a lowered policy and would have waited otherwise, oldest first."""
    later = (Event.emitted_at >= row.lowered_at) & (Event.id > row.id)  # ids are ordered within one moment, too
    query = select(Event).where(Event.kind == "system.act", later)
    ended = row.restored_at if row.restored_at and row.restored_at < row.until else row.until
    events = session.scalars(query.where(Event.emitted_at <= ended).order_by(Event.id))
    return [
        event
        for event in events
        if event.payload.get("action") == row.action and event.payload.get("policy") == row.policy
    ]


def changes(session: Session, row: PolicyOverride) -> list[Event]:
    """Return what those acts changed of policies, settings and operators, the newest first."""
    caused = {event.correlation_id for event in acts(session, row)}
    query = select(Event).where(Event.kind.in_(UNDO), Event.correlation_id.in_(caused)).order_by(Event.id.desc())
    return list(session.scalars(query)) if caused else []


def unconfirmed(row: PolicyOverride, events: Sequence[Event]) -> list[Event]:
    """Return those of a lowering's events that came after its confirmation, or all where there is none: nobody stands
    by what they have not seen."""
    return [event for event in events if row.confirmed_at is None or event.emitted_at > row.confirmed_at]


def confirm(unit: Unit, wanted: str) -> PolicyOverride:
    """Record that another operator has seen what went through under a lowering, and stands by it.

    `wanted` is the lowering's id. Raises `NotFound`, or `Refused` for one that is confirmed already, and for whoever
    lowered the policy or acted under it, unless nobody else could confirm it.
    """
    row = unit.session.get(PolicyOverride, wanted)
    if row is None:
        raise NotFound(
            f"There is no lowering {wanted[:60]!r}.",
            cause="A lowering is named by its id.",
            fix="See them with: fedtui policies lowered",
            code="lowering_unknown",
        )
    if row.confirmed_at is not None and not unconfirmed(row, acts(unit.session, row)):
        raise Refused(
            f"{row.confirmed_by} has confirmed it already.",
            fix="Nothing is left to confirm.",
            cause=f"That was at {row.confirmed_at:%F %H:%M} UTC.",
            code="lowering_confirmed",
        )
    operators.require(unit.session, unit.actor.name, CONTROL)
    involved = {operators.folded(name) for name in (row.lowered_by, *(act.actor for act in acts(unit.session, row)))}
    others = [name for name in operators.approvers(unit.session) if operators.folded(name) not in involved]
    if operators.folded(unit.actor.name) in involved and others:
        raise Refused(
            "Nobody confirms what they did under a lowered policy themselves.",
            cause=f"{unit.actor.name} lowered it, or acted while it was lowered.",
            fix=f"Have one of these do it: {', '.join(others)}.",
            code="four_eyes",
        )
    row.confirmed_at, row.confirmed_by = unit.now, unit.actor.name
    unit.session.flush()
    emit(unit, "system.policy.lowering_confirmed", source=SOURCE, action=row.action, lowering_id=row.id)
    return row


def undo_unconfirmed(unit: Unit, row: PolicyOverride) -> list[str]:
    """Undo what a lowering that ends let change of policies, settings and operators; what was undone, in words.

    What another operator has confirmed stays, and what has been changed again since is left as it is. A confirmation
    that is older than the last act counts no longer: the rest is still to be seen.
    """
    pending = unconfirmed(row, changes(unit.session, row))
    undone = [words for change in pending if (words := UNDO[change.kind](unit, change.payload))]
    if row.confirmed_at is not None and unconfirmed(row, acts(unit.session, row)):
        row.confirmed_at = row.confirmed_by = None
        unit.session.flush()
    if undone:
        emit(unit, "system.policy.changes_undone", source=SOURCE, action=row.action, lowering_id=row.id, undone=undone)
    return undone


def _undo_policy(unit: Unit, change: Payload) -> str:
    action, before, after = change["action"], change["before"], change["after"]
    if policies.at_rest(unit.session, action) != after:
        return ""
    unit.session.merge(Policy(action=action, policy=before, set_at=unit.now, set_by=str(unit.actor)))
    unit.session.flush()
    return f"policy of {action}: {before}"


def _undo_setting(unit: Unit, change: Payload) -> str:
    key, before, after = change["key"], change["before"], change["after"]
    if node_settings.value(unit.session, key) != after:
        return ""
    node_settings.put(unit, key, before)
    return f"setting {key}: {before or 'none'}"


def _undo_added(unit: Unit, change: Payload) -> str:
    row = unit.session.get(Operator, change["operator"])
    if row is None or row.removed_at is not None or operators.approvers(unit.session) == [row.name]:
        return ""
    operators.remove(unit, row.name)
    approvals.operator_left(unit, row.name)
    return f"operator {row.name}: removed"


def _undo_removed(unit: Unit, change: Payload) -> str:
    row = unit.session.get(Operator, change["operator"])
    if row is None or row.removed_at is None:
        return ""
    operators.restore(unit, row)  # whatever its name: an earlier version took others than `add` does
    return f"operator {row.name}: brought back"


UNDO: Mapping[str, Callable[[Unit, Payload], str]] = {
    "system.policy.changed": _undo_policy,
    "system.settings.changed": _undo_setting,
    "system.operator.added": _undo_added,
    "system.operator.removed": _undo_removed,
}
"""By the kind of the event that recorded a change, what undoes it; each returns what it did, or nothing."""
