"""The approval queue as lines of a table: keyset pages of four views of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal, not_, or_, select
from sqlalchemy.orm import Session

from fedtui.core.operations import approval_status, approvals, eligible_approvers
from fedtui.core.operations.approvals import OPEN, Approval
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key

FOR_ME, MINE, ALL_OPEN, HISTORY = "for me", "mine", "open", "history"
VIEWS = (ALL_OPEN, FOR_ME, MINE, HISTORY)
SORTS = ("deadline",)
"""One order a view: what the clock ends first on top; in the history, what came last."""


@dataclass(frozen=True, slots=True)
class ApprovalLine:
    """One request as a list shows it. `status` is as of the clock: an overdue one is `expired`, noticed or not."""

    id: str
    action: str
    status: str
    summary: str
    digest: str
    reason: str | None
    requested_by: str
    requested_origin: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


@dataclass(frozen=True, slots=True)
class View:
    """A part of the queue, as an operator sees it at a moment. `name` is one of `VIEWS`, "" for all."""

    name: str
    operator: str
    now: datetime


def key(line: ApprovalLine, sort: str) -> Key:
    """Where a line stands: what `page` and `rank` take, whatever the view."""
    return (line.expires_at, line.id)


def page(
    session: Session,
    *,
    view: View,
    sort: str = "deadline",
    text: str = "",
    invert: bool = False,
    after: Key | None = None,
    before: Key | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[ApprovalLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    query = select(Approval).where(_in(session, view), _matches(text, invert))
    found = keyset.page(
        session, query, _ORDER, after=after, before=before, limit=limit, offset=offset, descending=view.name == HISTORY
    )
    return [_line(row, view.now) for (row,) in found]


def rank(
    session: Session, key: Key, *, view: View, sort: str = "deadline", text: str = "", invert: bool = False
) -> int:
    """How many lines stand before `key`."""
    counting = select(func.count()).select_from(Approval).where(_in(session, view), _matches(text, invert))
    return keyset.rank(session, counting, _ORDER, key, descending=view.name == HISTORY)


def count(session: Session, *, view: View, text: str = "", invert: bool = False) -> int:
    """How many lines there are."""
    counting = select(func.count()).select_from(Approval).where(_in(session, view), _matches(text, invert))
    return session.scalar(counting) or 0


def one(
    session: Session,
    approval_id: str,
    *,
    view: View | None = None,
    text: str = "",
    invert: bool = False,
    now: datetime | None = None,
) -> ApprovalLine | None:
    """The line of one request, if view and filter leave it in."""
    query = select(Approval).where(Approval.id == approval_id, _matches(text, invert))
    row = session.scalars(query if view is None else query.where(_in(session, view))).one_or_none()
    return None if row is None else _line(row, view.now if view else now)


def starting_with(
    session: Session, beginning: str, *, limit: int = 2, now: datetime | None = None
) -> list[ApprovalLine]:
    """The lines of requests whose id begins so; two tell already that it is not the one."""
    query = select(Approval).where(Approval.id.startswith(beginning.lower(), autoescape=True))
    return [_line(row, now) for row in session.scalars(query.order_by(Approval.id).limit(limit))]


def beside(session: Session, approval_id: str, view: View, *, forwards: bool) -> str | None:
    """The id of the request after, or before, this one in a view; None at its end.

    Also for one that has left the view, since it was decided: the next is what would follow it.
    """
    row = session.get(Approval, approval_id)
    if row is None:
        return None
    here = row.expires_at if row.decided_at is None else row.requested_at + approvals.TIMEOUT
    place = {"after" if forwards else "before": (here, row.id)}
    found = page(session, view=view, limit=1, **place)  # type: ignore[arg-type]
    return found[0].id if found else None


_ORDER: Sequence[Any] = (Approval.expires_at, Approval.id)


def _in(session: Session, view: View) -> ColumnElement[bool]:
    overdue = approvals.overdue(view.now)
    if view.name == FOR_ME:
        return eligible_approvers.decidable_by(session, view.operator, view.now)
    if view.name == MINE:
        return (Approval.requested_by == view.operator) & Approval.status.in_(OPEN) & not_(overdue)
    if view.name == ALL_OPEN:
        return Approval.status.in_(OPEN) & not_(overdue)
    if view.name == HISTORY:
        return Approval.status.not_in(OPEN) | overdue
    return literal(True)


def _matches(text: str, invert: bool) -> ColumnElement[bool]:
    if not text:
        return literal(True)
    columns = (Approval.summary, Approval.action, Approval.status, Approval.requested_by, Approval.id)
    found = or_(*(column.icontains(text, autoescape=True) for column in columns))
    return not_(found) if invert else found


def _line(row: Approval, now: datetime | None) -> ApprovalLine:
    return ApprovalLine(
        id=row.id,
        action=row.action,
        status=approval_status.effective_status(row.status, row.expires_at, now),
        summary=row.summary,
        digest=row.digest,
        reason=row.reason,
        requested_by=row.requested_by,
        requested_origin=row.requested_origin,
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        decision_reason=row.decision_reason,
    )
