"""Change requests to the federation's owner: what the runbook does not resolve, with its incident and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import operators
from fedtui.core.audit import events
from fedtui.core.audit.events import emit
from fedtui.core.audit.redaction import redact_text
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.governance import listing as listing_of_findings
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, JsonObject, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

TITLE_LIMIT, BODY_LIMIT, REASON_LIMIT = 200, 8000, 500
STATUSES = ("open", "done", "declined")
MOST_EVIDENCE = 20
SOURCE = "escalation"


class ChangeRequest(Base):
    """One request. Its evidence is the transcript of incident `incident_id`, and what stood on record when it was
    filed: `evidence` has the open findings and the latest events of the peer, or of the node."""

    __tablename__ = "change_requests"

    id: Mapped[Id] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]
    incident_id: Mapped[str | None] = mapped_column(Text_)
    status: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[Time]
    evidence: Mapped[JsonObject | None]
    settled_by: Mapped[str | None]
    settled_at: Mapped[Time | None]
    settlement: Mapped[str | None]


def file(
    unit: Unit, *, title: str, body: str, incident_id: str | None = None, peer_id: str | None = None
) -> ChangeRequest:
    """Write one down, with what stands on record. Raises `WrongUsage` for an empty or too long text."""
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
        evidence=_evidence(unit.session, unit.now, peer_id),
    )
    unit.session.add(row)
    unit.session.flush()
    emit(
        unit,
        "system.change_request.filed",
        source=SOURCE,
        change_request_id=row.id,
        title=row.title,
        incident_id=incident_id,
    )
    return row


def settle(unit: Unit, wanted: str, status: str, reason: str) -> ChangeRequest:
    """Say what became of a request, with a reason: done, declined, or open again.

    Raises `WrongUsage`, or `Refused` for who neither filed it nor may control the manager, or where it is so already.
    """
    row = find(unit.session, wanted)
    mine = row.created_by == unit.actor.name
    operators.require(unit.session, unit.actor.name, None if mine else operators.CONTROL)
    said = reason.strip()
    if status not in STATUSES or not said or len(said) > REASON_LIMIT:
        raise WrongUsage(
            "A change request is settled with a status and a reason.",
            cause=f"A status is one of {', '.join(STATUSES)}; a reason 1 to {REASON_LIMIT} characters.",
            fix=f"fedtui escalate --settle {row.id[:13]} --as done --reason 'What was changed, or why not'",
            code="change_request_invalid",
        )
    moved = unit.session.execute(
        update(ChangeRequest)
        .where(ChangeRequest.id == row.id, ChangeRequest.status != status)
        .values(status=status, settled_by=unit.actor.name, settled_at=unit.now, settlement=redact_text(said))
        .execution_options(synchronize_session=False)
        .returning(ChangeRequest.id)
    ).one_or_none()
    unit.session.refresh(row)
    if moved is None:
        raise Refused(
            f"This change request is {status} already.",
            cause=f"{row.settled_by or row.created_by} said so.",
            fix="There is nothing to do.",
            code="change_request_settled",
        )
    emit(
        unit,
        "system.change_request.settled",
        source=SOURCE,
        change_request_id=row.id,
        title=row.title,
        status=status,
        reason=row.settlement,
    )
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
        "settled_by": row.settled_by,
        "settled_at": row.settled_at,
        "settlement": row.settlement,
        "evidence": row.evidence or {},
    }


def markdown(shaped: dict[str, Any], transcript: str = "") -> str:
    """A change request as Markdown, with the transcript of its incident."""
    head = [
        f"# {shaped['title']}",
        "",
        f"* Change request `{shaped['id']}`, {shaped['status']}",
        f"* By {shaped['created_by']}, {shaped['created_at']:%F %H:%M} UTC",
    ]
    if shaped["settled_at"]:
        head.append(
            f"* {shaped['status'].capitalize()} since {shaped['settled_at']:%F %H:%M} UTC, "
            f"by {shaped['settled_by']}: {shaped['settlement']}"
        )
    lines = [*head, "", shaped["body"], *_evidence_lines(shaped["evidence"])]
    return "\n".join([*lines, "", "---", "", transcript] if transcript else lines)


def _evidence(session: Session, now: datetime, peer_id: str | None) -> dict[str, Any]:
    """What stands on record: open findings and the latest events, of a peer or of the whole node."""
    found = listing_of_findings.rows(session, now=now, peer_id=peer_id, limit=MOST_EVIDENCE)
    return {
        "findings": [
            {
                "id": one.id,
                "kind": one.kind,
                "severity": one.severity,
                "said": one.said,
                "first_seen": one.first_seen.isoformat(),
            }
            for one in found
        ],
        "events": [
            {"id": one.id, "kind": one.kind, "severity": one.severity, "at": one.emitted_at.isoformat()}
            for one in events.recent(session, peer_id=peer_id, limit=MOST_EVIDENCE)
        ],
    }


def _evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if evidence.get("findings"):
        lines += ["", "## Open findings when it was filed", ""]
        lines += [f"* {one['severity']}, {one['kind']}: {one['said']}" for one in evidence["findings"]]
    if evidence.get("events"):
        lines += ["", "## Events before it, newest first", ""]
        lines += [f"* {one['at']} {one['kind']} ({one['severity']}), `{one['id']}`" for one in evidence["events"]]
    return lines
