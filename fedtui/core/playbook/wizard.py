"""The wizard: look, name the cause, mend, prove. Each step is written down; where one stands follows from that.

The screen and the text version are two faces of these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from fedtui.core.acts import gate
from fedtui.core.acts.gate import Pending
from fedtui.core.acts.table import ActTable
from fedtui.core.control import approvals
from fedtui.core.errors import Problem
from fedtui.core.governance import change_requests
from fedtui.core.governance import listing as findings
from fedtui.core.playbook import causes, engine, incidents
from fedtui.core.playbook.engine import Diagnosis, Seen
from fedtui.core.playbook.incidents import Incident
from fedtui.core.playbook.model import Finding, Fix
from fedtui.core.playbook.survey import Wanted
from fedtui.core.record import events
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust.site import Site

A_DAY = timedelta(days=1)
MOST_EVENTS = 20
STEPS = ("look", "cause", "mend", "wait", "prove", "done")
"""What a wizard goes through. `wait` is there only where an act needs approval."""
ENDED = ("executed", "failed", "rejected", "expired", "withdrawn", "stale")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an incident stands: its step, the request it waits for, and who works on it."""

    incident_id: str
    step: str
    owner: str
    waits_for: str | None = None
    waiting_status: str | None = None
    outcome: str | None = None


def begin(site: Site, actor: Actor, wanted: Wanted) -> str:
    """Open an incident; its id."""
    symptom = causes.BY_SYMPTOM.get(wanted.symptom or "")
    title = symptom.title if symptom is not None else "Is anything wrong?"
    about = {key: value for key, value in asdict(wanted).items() if value and key not in ("token", "symptom")}
    if wanted.token:
        about |= {"token": "one that was given"}  # the token itself is never kept
    with site.unit(actor) as unit:
        named = ", ".join(f"{key} {value}" for key, value in about.items())
        title = f"{title} ({named})" if named else title
        return incidents.open_(unit, symptom=wanted.symptom, title=title, about=about, peer_id=None).id


def look(
    site: Site, table: ActTable, actor: Actor, incident_id: str, *, tell: Callable[[Seen], object] = lambda _seen: None,
    token: str | None = None, proving: bool = False,
) -> Diagnosis:  # fmt: skip
    """Run the checks, and write down what they saw and what follows. Nothing found where a cause was named before
    closes the incident as fixed."""
    with site.read() as session:
        row = incidents.find(session, incident_id)
        wanted = _wanted(row, token)
    found = engine.diagnose(site, table, wanted, tell)
    with site.unit(actor) as unit:
        row = incidents.working(unit, incident_id)
        _write_what_became(unit, row.id)
        for seen in found.seen:
            incidents.write(unit, row.id, "check", _check(seen))
        for one in found.findings:
            incidents.write(unit, row.id, "finding", _finding(one))
        if found.findings:
            row.causes = list(dict.fromkeys([*row.causes, *(one.cause.code for one in found.findings)]))
            row.peer_id = row.peer_id or found.findings[0].subject.peer_id
            row.diagnosed_at = row.diagnosed_at or unit.now
        incidents.write(unit, row.id, "verified" if proving else "looked", {
            "found": [one.cause.code for one in found.findings], "seconds": found.seconds,
        })  # fmt: skip
        if not found.findings and row.causes:
            row.fixed_at = unit.now
            beside = "; ".join(one.outcome.said for one in found.beside)
            incidents.close(
                unit, row.id, "fixed", f"found no more; beside it: {beside}" if beside else "every check passes"
            )
    return found


def preview(site: Site, table: ActTable, actor: Actor, fix: Fix) -> list[str]:
    """What a fix will change, in lines; nothing where it is for a person to do."""
    if not fix.action or fix.where == "there":
        return []
    summary, changes = gate.preview(site, table, actor, fix.action, fix.params)
    return [summary, *(f"{one.what}: {one.before or 'nothing'} -> {one.after or 'nothing'}" for one in changes)]


def mend(site: Site, table: ActTable, actor: Actor, incident_id: str, fix: Fix) -> Mapping[str, Any]:
    """Carry out a fix through the gate: `done`, `pending` with the approval's id, or `failed` with the problem.

    A fix without an act is for a person; it is written down as theirs to do.
    """
    with site.unit(actor) as unit:
        incident = incidents.working(unit, incident_id)
    outcome: dict[str, Any] = {"title": fix.title, "action": fix.action or None, "params": dict(fix.params)}
    if not fix.action or fix.where == "there":
        outcome |= {"outcome": "by_hand", "command": fix.command, "where": fix.where}
    else:
        try:
            with correlated(incident.correlation_id):
                done = gate.request(site, table, actor, fix.action, fix.params, reason=f"incident {incident_id[:13]}")
        except Problem as problem:
            outcome |= {"outcome": "failed", "problem": problem.as_dict()}
        else:
            if isinstance(done, Pending):
                outcome |= {"outcome": "pending", "approval": done.approval.id}
            else:
                outcome |= {"outcome": "done"}
    with site.unit(actor) as unit:
        incidents.write(unit, incident_id, "act", outcome)
    return outcome


def escalate(site: Site, actor: Actor, incident_id: str, *, title: str, body: str) -> Mapping[str, Any]:
    """File a change request for an incident with its owner, and close the incident as handed on."""
    with site.unit(actor) as unit:
        row = incidents.working(unit, incident_id)
        filed = change_requests.file(unit, title=title, body=body, incident_id=row.id, peer_id=row.peer_id)
        incidents.write(unit, row.id, "escalated", {"change_request": filed.id, "title": filed.title})
        incidents.close(unit, row.id, "escalated", f"change request {filed.id}")
        return change_requests.shape(filed)


def surroundings(site: Site, incident_id: str) -> dict[str, Any]:
    """What went on around an incident: the latest events from a day before it on, and the open findings of
    governance; of its peer, where it has one."""
    with site.read() as session:
        row = incidents.find(session, incident_id)
        since = row.opened_at - A_DAY
        happened = events.recent(session, peer_id=row.peer_id, since=since, until=row.closed_at, limit=MOST_EVENTS)
        found = findings.rows(session, now=site.clock.now(), peer_id=row.peer_id, limit=MOST_EVENTS)
    return {
        "events": [
            {
                "at": one.emitted_at,
                "kind": one.kind,
                "severity": one.severity,
                "actor": one.actor,
            }
            for one in happened
        ],
        "findings": [{"kind": one.kind, "severity": one.severity, "said": one.said} for one in found],
    }


def standing(site: Site, incident_id: str) -> Standing:
    """Where an incident stands, by its transcript and by what it waits for."""
    with site.read() as session:
        row = incidents.find(session, incident_id)
        lines = incidents.transcript(session, row.id)
        last = next((one for one in reversed(lines) if one.kind in ("looked", "verified", "act")), None)
        waits_for = last.content.get("approval") if last is not None and last.kind == "act" else None
        status = approvals.find(session, waits_for).status if waits_for else None
    if row.closed_at is not None:
        return Standing(row.id, "done", row.owner, outcome=row.outcome)
    if last is None:
        return Standing(row.id, "look", row.owner)
    if last.kind in ("looked", "verified"):
        return Standing(row.id, "cause" if last.content["found"] else "look", row.owner)
    if waits_for and status not in ENDED:
        return Standing(row.id, "wait", row.owner, waits_for, status)
    return Standing(row.id, "prove", row.owner, waits_for, status)


def _write_what_became(unit: Unit, incident_id: str) -> None:
    """Of an act that needed approval: how its request has ended, once."""
    last = incidents.last_of(unit.session, incident_id, "act", "act_ended")
    if last is None or last.kind != "act" or "approval" not in last.content:
        return
    asked = approvals.find(unit.session, last.content["approval"])
    if asked.status in ENDED:
        incidents.write(unit, incident_id, "act_ended", {
            "title": last.content["title"], "approval": asked.id, "outcome": asked.status,
            "decided_by": asked.decided_by, "problem": asked.error,
        })  # fmt: skip


def _wanted(row: Incident, token: str | None) -> Wanted:
    about = row.about
    things = {name: about.get(name) for name in ("peer", "decision", "approval", "grant")}
    return Wanted(row.symptom, token=token, **things)


def _check(seen: Seen) -> dict[str, Any]:
    return {
        "check": seen.check.name,
        "title": seen.check.title,
        "subject": seen.subject.label,
        "state": seen.outcome.state,
        "said": seen.outcome.said,
        "evidence": [
            {"what": one.what, "value": one.value, "source": one.source, "at": one.at} for one in seen.outcome.evidence
        ],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "cause": one.cause.code,
        "severity": one.cause.severity,
        "subject": one.subject.label,
        "because": one.sense.because,
        "fixes": [fix.title for fix in one.sense.fixes],
    }
