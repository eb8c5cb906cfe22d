"""Carrying out what was approved: who takes a request up, how it ended, and another try.

Of two executors one wins. A request that a process left behind when it died is taken up anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from fedtui.core.administration import operators
from fedtui.core.administration.operators import CONTROL
from fedtui.core.operations import approvals
from fedtui.core.operations.approvals import EXECUTE_WITHIN, Approval
from fedtui.core.runtime.unit import Unit


def permitted(session: Session, *, digest: str, requester: str, now: datetime) -> Approval | None:
    """The requester's own approved request with this digest, waiting to be claimed."""
    query = select(Approval).where(
        Approval.digest == digest,
        Approval.requested_by == requester,
        Approval.status == "approved",
        Approval.expires_at > now,
    )
    return session.scalars(query.limit(1)).first()


def to_execute(session: Session, *, now: datetime, abandoned_before: datetime) -> list[Approval]:
    """Requests the manager should take up, oldest decision first."""
    approved = (Approval.status == "approved") & (Approval.expires_at > now)
    query = select(Approval).where(approved | _left_behind(abandoned_before))
    return list(session.scalars(query.order_by(Approval.decided_at, Approval.id)))


def claim(unit: Unit, approval: Approval, executor: str, *, abandoned_before: datetime) -> bool:
    """Take a request for execution: approved, or left executing by a process that died.

    False if another process was first.
    """
    claimed = unit.session.execute(
        update(Approval)
        .where(Approval.id == approval.id, (Approval.status == "approved") | _left_behind(abandoned_before))
        .values(status="executing", executor=executor, executing_since=unit.now)
        .returning(Approval.id)
    ).one_or_none()
    return claimed is not None


def finish(
    unit: Unit,
    approval: Approval,
    executor: str,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Record how execution ended. A failed request keeps its sealed parameters, for a retry.

    Raises `Refused` if another executor has taken the request over meanwhile.
    """
    if approval.executor != executor:
        raise approvals.not_open(approval)
    if error is None:
        approvals.close(unit, approval, "executing", "executed", result=_storable(result or {}), finished_at=unit.now)
    else:
        closing = {"error": dict(error), "finished_at": unit.now, "expires_at": unit.now + EXECUTE_WITHIN}
        approvals.move(unit, approval, "executing", "failed", **closing)
        approvals.announce(unit, "failed", approval, error=dict(error))


def retry(unit: Unit, approval_id: str) -> Approval:
    """Put a failed request back among the approved, for the manager to take up again."""
    approval = approvals.find(unit.session, approval_id)
    operators.require(unit.session, unit.actor.name, CONTROL)
    if approval.status != "failed":
        raise approvals.not_open(approval, "Only a failed request can be tried again.")
    again = {"error": None, "executing_since": None, "finished_at": None, "expires_at": unit.now + EXECUTE_WITHIN}
    approvals.move(unit, approval, "failed", "approved", **again)
    approvals.announce(unit, "retried", approval)
    return approval


def _left_behind(before: datetime) -> ColumnElement[bool]:
    return (Approval.status == "executing") & (Approval.executing_since < before)


def _storable(result: Mapping[str, Any]) -> dict[str, Any]:
    """An act's result as JSON keeps it: times as ISO 8601."""
    kept: dict[str, Any] = json.loads(json.dumps(result, default=lambda one: one.isoformat()))
    return kept
