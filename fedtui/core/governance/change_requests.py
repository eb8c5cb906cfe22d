"""Change requests to the federation's owner: what the runbook does not resolve, with its incident and evidence."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.control import operators
from fedtui.core.errors import WrongUsage
from fedtui.core.record.events import emit
from fedtui.core.record.redaction import redact_text
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

TITLE_LIMIT, BODY_LIMIT = 200, 8000
SOURCE = "escalation"


class ChangeRequest(Base):
    """One request. The transcript of incident `incident_id` is its evidence. `status`: `open`, `done`, `declined`."""

    __tablename__ = "change_requests"

    id: Mapped[Id] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]
    incident_id: Mapped[str | None] = mapped_column(Text_)
    status: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[Time]


def file(unit: Unit, *, title: str, body: str, incident_id: str | None = None) -> ChangeRequest:
    """Write one down. Raises `WrongUsage` for an empty or too long text."""
    operators.require(unit.session, unit.actor.name)
    said, told = title.strip(), body.strip()
    if not said or not told or len(said) > TITLE_LIMIT or len(told) > BODY_LIMIT:
        raise WrongUsage(
            "A change request has a title and a body.",
            cause=f"A title is 1 to {TITLE_LIMIT} characters, a body 1 to {BODY_LIMIT}.",
            fix="fedtui escalate --title 'Grant auto-renewal for ...' --body 'What is missing, and why'",
            code="change_request_invalid",
        )
    row = ChangeRequest(
        id=new_id(),
        title=redact_text(said),
        body=redact_text(told),
        incident_id=incident_id,
        status="open",
        created_by=str(unit.actor.name),
        created_at=unit.now,
    )
    unit.session.add(row)
    unit.session.flush()
    emit(unit, "system.change_request.filed", source=SOURCE, change_request_id=row.id, title=row.title,
         incident_id=incident_id)  # fmt: skip
    return row


def find(session: Session, wanted: str) -> ChangeRequest:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(
        session,
        ChangeRequest,
        wanted,
        noun="change request",
        see="fedtui escalate --list",
        code="change_request_not_found",
    )


def listing(session: Session, *, limit: int = 100) -> list[ChangeRequest]:
    """Change requests, newest first."""
    return list(session.scalars(select(ChangeRequest).order_by(ChangeRequest.id.desc()).limit(limit)))


def shape(row: ChangeRequest) -> dict[str, Any]:
    """A change request as JSON."""
    return {
        "id": row.id,
        "title": row.title,
        "body": row.body,
        "incident_id": row.incident_id,
        "status": row.status,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def markdown(shaped: dict[str, Any], transcript: str = "") -> str:
    """A change request as Markdown, with the transcript of its incident."""
    head = [
        f"# {shaped['title']}",
        "",
        f"* Change request `{shaped['id']}`, {shaped['status']}",
        f"* By {shaped['created_by']}, {shaped['created_at']:%F %H:%M} UTC",
        "",
        shaped["body"],
    ]
    return "\n".join([*head, "", "---", "", transcript] if transcript else head)
