"""Incidents: a run of the playbook with its transcript, kept so that it outlives the session and the person.

The transcript is the incident: who, when, every check with its evidence, every act with what
became of it, notes. Where it stands follows from it, so that a colleague can go on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import operators
from fedtui.core.audit.events import emit
from fedtui.core.audit.redaction import redact, redact_text
from fedtui.core.diagnosis.model import Subject, in_words
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, JsonList, JsonObject, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

SOURCE = "playbook"
OUTCOMES = ("fixed", "explained", "escalated", "abandoned")
"""How an incident can end: the checks pass; the cause is known and not here to mend; handed on; given up."""
LASTING = ("node", "peer", "grant", "approval")
"""Subjects that are looked at again until the end."""
NOTE_LIMIT = 4000
ENTRY_LIMIT = 64 * 1024


class Incident(Base):
    """One incident. `about` is what it was begun with (`peer`, `decision`, `approval`); `owner` is who works on it;
    `diagnosed_at` when a cause was first named, `fixed_at` when the checks passed."""

    __tablename__ = "incidents"
    __table_args__ = (Index("ix_incidents_closed_at_id", "closed_at", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    symptom: Mapped[str | None]
    title: Mapped[str]
    about: Mapped[JsonObject]
    peer_id: Mapped[str | None] = mapped_column(Text_)
    causes: Mapped[JsonList]
    opened_at: Mapped[Time]
    opened_by: Mapped[str]
    owner: Mapped[str]
    diagnosed_at: Mapped[Time | None]
    fixed_at: Mapped[Time | None]
    closed_at: Mapped[Time | None]
    closed_by: Mapped[str | None]
    outcome: Mapped[str | None]
    correlation_id: Mapped[str]


class Entry(Base):
    """One line of a transcript. `kind`: `opened`, `check`, `finding`, `looked`, `act`, `act_ended`, `note`,
    `taken_over`, `verified`, `escalated`, `closed`."""

    __tablename__ = "incident_entries"
    __table_args__ = (Index("ix_incident_entries_incident_id_id", "incident_id", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(Text_)
    at: Mapped[Time]
    actor: Mapped[str]
    origin: Mapped[str]
    kind: Mapped[str]
    content: Mapped[JsonObject]


def open_(unit: Unit, *, symptom: str | None, title: str, about: Mapping[str, Any], peer_id: str | None) -> Incident:
    """Begin an incident, worked on by the unit's actor. Raises `Refused` for nobody's operator."""
    operators.require(unit.session, unit.actor.name)
    row = Incident(
        id=new_id(),
        symptom=symptom,
        title=redact_text(title)[:200],
        about=redact(dict(about)),
        peer_id=peer_id,
        causes=[],
        opened_at=unit.now,
        opened_by=str(unit.actor.name),
        owner=str(unit.actor.name),
        correlation_id=unit.correlation_id,
    )
    unit.session.add(row)
    unit.session.flush()
    write(unit, row.id, "opened", {"symptom": symptom, "about": dict(about)})
    emit(unit, "system.incident.opened", source=SOURCE, peer_id=peer_id, incident_id=row.id, symptom=symptom)
    return row


def write(unit: Unit, incident_id: str, kind: str, content: Mapping[str, Any]) -> None:
    """Add a line to the transcript, without secrets."""
    storable = json.loads(json.dumps(redact(dict(content)), default=_plain))
    if len(json.dumps(storable)) > ENTRY_LIMIT:
        storable = {"left_out": "too long to be kept whole", "beginning": json.dumps(storable)[:2000]}
    unit.session.add(
        Entry(
            id=new_id(),
            incident_id=incident_id,
            at=unit.now,
            actor=str(unit.actor),
            origin=unit.actor.origin,
            kind=kind,
            content=storable,
        )
    )
    unit.session.flush()


def working(unit: Unit, incident_id: str) -> Incident:
    """An open incident, held until the unit ends; the actor takes it over where it was a colleague's.

    Raises `Refused` for one that is closed.
    """
    operators.require(unit.session, unit.actor.name)
    query = select(Incident).where(Incident.id == incident_id).with_for_update()
    row = unit.session.scalars(query.execution_options(populate_existing=True)).one()
    if row.closed_at is not None:
        raise Refused(
            "That incident is closed.",
            cause=f"{row.closed_by} closed it on {row.closed_at:%F %H:%M} UTC: {row.outcome}.",
            fix="Begin another: fedtui doctor --guided",
            code="incident_closed",
        )
    unit.join(row.correlation_id)
    if row.owner != unit.actor.name:
        write(unit, row.id, "taken_over", {"from": row.owner, "by": unit.actor.name})
        emit(
            unit,
            "system.incident.taken_over",
            source=SOURCE,
            peer_id=row.peer_id,
            incident_id=row.id,
            from_operator=row.owner,
        )
        row.owner = unit.actor.name
        unit.session.flush()
    return row


def note(unit: Unit, incident_id: str, text: str) -> None:
    """Write something down. Raises `WrongUsage` for nothing, or too much."""
    said = text.strip()
    if not said or len(said) > NOTE_LIMIT:
        raise WrongUsage(
            "There is nothing to note." if not said else "The note is too long.",
            cause=f"A note is 1 to {NOTE_LIMIT} characters.",
            code="note_invalid",
        )
    row = working(unit, incident_id)
    write(unit, incident_id, "note", {"text": said})
    emit(unit, "system.incident.noted", source=SOURCE, peer_id=row.peer_id, incident_id=row.id)


def diagnosed(unit: Unit, row: Incident, codes: Sequence[str], peer_id: str | None) -> None:
    """Causes were named; what is new about that is told."""
    causes = list(dict.fromkeys([*row.causes, *codes]))
    if causes == row.causes:
        return
    row.causes = causes
    row.peer_id = row.peer_id or peer_id
    row.diagnosed_at = row.diagnosed_at or unit.now
    emit(unit, "system.incident.diagnosed", source=SOURCE, peer_id=row.peer_id, incident_id=row.id, causes=causes)


def close(unit: Unit, incident_id: str, outcome: str, reason: str = "") -> Incident:
    """End an incident. Raises `WrongUsage` for an outcome that is none, `Refused` where it is closed."""
    if outcome not in OUTCOMES:
        raise WrongUsage(
            f"An incident cannot end as {outcome[:40]!r}.",
            cause=f"It ends as: {', '.join(OUTCOMES)}.",
            code="outcome_invalid",
        )
    row = working(unit, incident_id)
    row.closed_at, row.closed_by, row.outcome = unit.now, str(unit.actor.name), outcome
    if outcome == "fixed" and row.fixed_at is None:
        row.fixed_at = unit.now
    unit.session.flush()
    write(unit, row.id, "closed", {"outcome": outcome, "reason": reason})
    emit(
        unit,
        "system.incident.closed",
        source=SOURCE,
        peer_id=row.peer_id,
        incident_id=row.id,
        outcome=outcome,
        causes=row.causes,
    )
    return row


def find(session: Session, wanted: str) -> Incident:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(
        session, Incident, wanted, noun="incident", see="fedtui incidents list", code="incident_not_found"
    )


def listing(session: Session, *, open_only: bool = False, limit: int = 100) -> list[Incident]:
    """Incidents, open ones first, newest first."""
    query = select(Incident).order_by(Incident.closed_at.is_not(None), Incident.id.desc()).limit(limit)
    return list(session.scalars(query.where(Incident.closed_at.is_(None)) if open_only else query))


def open_count(session: Session) -> int:
    """How many incidents are open."""
    return session.scalar(select(func.count()).select_from(Incident).where(Incident.closed_at.is_(None))) or 0


def transcript(session: Session, incident_id: str) -> Sequence[Entry]:
    """The lines of an incident, oldest first."""
    query = select(Entry).where(Entry.incident_id == incident_id).order_by(Entry.id)
    return list(session.scalars(query))


def last_of(session: Session, incident_id: str, *kinds: str) -> Entry | None:
    """The last line of these kinds."""
    query = select(Entry).where(Entry.incident_id == incident_id, Entry.kind.in_(kinds))
    return session.scalars(query.order_by(Entry.id.desc()).limit(1)).first()


def subjects(session: Session, incident_id: str) -> list[Subject]:
    """What a cause was ever named for, as it was called last. Not calls: which of them were answered since, the
    survey tells; and no token, which is not kept."""
    named: dict[tuple[str, str], Subject] = {}
    for one in transcript(session, incident_id):
        if one.kind == "finding" and one.content.get("scope") in LASTING:
            told = one.content
            subject = Subject(told["scope"], told["subject_id"], told["subject"], told["peer_id"])
            named[subject.key] = subject
    return list(named.values())


def shape(session: Session, row: Incident, *, full: bool = False) -> dict[str, Any]:
    """An incident as JSON; with its transcript where `full`."""
    shaped = {
        "id": row.id,
        "symptom": row.symptom,
        "title": row.title,
        "about": row.about,
        "peer_id": row.peer_id,
        "causes": row.causes,
        "state": "closed" if row.closed_at else "open",
        "outcome": row.outcome,
        "opened_at": row.opened_at,
        "opened_by": row.opened_by,
        "owner": row.owner,
        "diagnosed_at": row.diagnosed_at,
        "fixed_at": row.fixed_at,
        "closed_at": row.closed_at,
        "closed_by": row.closed_by,
        "seconds_to_diagnosis": _seconds(row.opened_at, row.diagnosed_at),
        "seconds_to_fix": _seconds(row.opened_at, row.fixed_at),
        "correlation_id": row.correlation_id,
    }
    if full:
        shaped["transcript"] = [
            {"at": one.at, "actor": one.actor, "origin": one.origin, "kind": one.kind, "content": one.content}
            for one in transcript(session, row.id)
        ]
    return shaped


def markdown(shaped: Mapping[str, Any]) -> str:
    """A full incident (`shape`) as Markdown: what happened, by whom, when, with the evidence."""
    lines = [
        f"# {shaped['title']}",
        "",
        f"* Incident `{shaped['id']}`, {shaped['state']}{': ' + shaped['outcome'] if shaped['outcome'] else ''}",
        f"* Symptom: {shaped['symptom'] or 'none given'}",
        f"* Causes: {', '.join(shaped['causes']) or 'none found'}",
        f"* Opened {_moment(shaped['opened_at'])} by {shaped['opened_by']}; worked on by {shaped['owner']}",
        f"* Time to diagnosis: {_span(shaped['seconds_to_diagnosis'])}; to fix: {_span(shaped['seconds_to_fix'])}",
        "",
        "## Transcript",
        "",
    ]
    for one in shaped["transcript"]:
        lines += [f"### {_moment(one['at'])} {one['kind'].replace('_', ' ')} by {one['actor']}", "", *_told(one), ""]
    return "\n".join(lines)


def _told(entry: Mapping[str, Any]) -> list[str]:
    content = entry["content"]
    if entry["kind"] == "note":
        return [content["text"]]
    if entry["kind"] == "check":
        head = f"{content['state'].upper()}: {content['title']} ({content['subject']}): {content['said']}"
        return [head, *(f"* {one['what']}: {_value(one['value'])} ({one['source']})" for one in content["evidence"])]
    return [f"* {key.replace('_', ' ')}: {_inline(value)}" for key, value in content.items() if value not in (None, "")]


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else f"`{json.dumps(value)}`"


def _value(value: Any) -> str:
    """What a check saw, as people write it."""
    if isinstance(value, list):
        return ", ".join(f"`{in_words(one)}`" for one in value) or "none"
    return "none" if value is None else f"`{in_words(value)}`"


def _moment(moment: datetime) -> str:
    return f"{moment:%F %H:%M:%S} UTC"


def _span(seconds: float | None) -> str:
    return f"{seconds:.0f} s" if seconds is not None else "not yet"


def _seconds(begin: datetime, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds(), 1) if end is not None else None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
