"""The wizard: look, name the cause, mend, prove. Each step is written down; where one stands follows from that.

The screen and the text version are two faces of these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fedtui.core.audit import events
from fedtui.core.diagnosis import causes, engine, incidents, progress
from fedtui.core.diagnosis.check_runner import CheckResult
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.incidents import Incident
from fedtui.core.diagnosis.model import Finding, Fix, Subject, in_words
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Problem, Refused
from fedtui.core.governance import change_requests
from fedtui.core.governance import listing as findings
from fedtui.core.operations import approvals, gate, policies
from fedtui.core.operations.gate import Pending
from fedtui.core.operations.operation import OperationTable
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.unit import Unit

A_DAY = timedelta(days=1)
MOST_EVENTS = 20
AT_ONCE = "It is carried out at once, and recorded."
BY_POLICY = {
    policies.ASK: "It has to be approved first; it is waited for.",
    policies.BLOCKED: "Its policy blocks it: it will be refused.",
}
UNEVENTFUL = frozenset(("opened", "check", "looked"))
"""Lines of a transcript in which nothing came of it."""


def begin(site: NodeContext, actor: Actor, wanted: DiagnosisTarget) -> str:
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
    site: NodeContext,
    table: OperationTable,
    actor: Actor,
    incident_id: str,
    *,
    tell: Callable[[CheckResult], object] = lambda _seen: None,
    token: str | None = None,
    proving: bool = False,
) -> Diagnosis:
    """Run the checks, and write down what they saw and what follows.

    Where a cause was named before and none is left, every check of what the incident is about has to pass: then
    it closes as fixed. One that does not pass keeps it open (`held`), with what explains it (`elsewhere`).
    """
    with site.read() as session:
        row = incidents.find(session, incident_id)
        named, wanted = incidents.subjects(session, row.id), _wanted(row, token)
        diagnosed = bool(row.causes)
    found = engine.diagnose(site, table, wanted, tell, again=named)
    if diagnosed and not found.findings:
        found = found.holding(_not_passed(found, wanted, named))
    with site.unit(actor) as unit:
        row = incidents.working(unit, incident_id)
        _write_what_became(unit, row.id)
        _write_looked(unit, row, found, proving)
        if row.causes and not found.offered and not found.held:
            row.fixed_at = unit.now
            beside = "; ".join(one.outcome.said for one in found.beside)
            words = f"its checks pass; beside it: {beside}" if beside else "every check passes"
            incidents.close(unit, row.id, "fixed", words)
    return found


def _not_passed(found: Diagnosis, wanted: DiagnosisTarget, named: Sequence[Subject]) -> list[CheckResult]:
    """The checks that do not pass, of what a cause was named for or the incident was begun with, and of nothing
    else: what is wrong with another peer keeps no incident about this one open."""
    ours = {one.key for one in named}
    failed = [one for one in found.seen if one.outcome.state in ("bad", "unknown")]
    return [one for one in failed if one.subject.key in ours or wanted.is_about(one.subject)]


def _write_looked(unit: Unit, row: Incident, found: Diagnosis, proving: bool) -> None:
    for seen in found.seen:
        incidents.write(unit, row.id, "check", _check(seen))
    for one in found.offered:
        incidents.write(unit, row.id, "finding", _finding(one))
    if found.offered:
        incidents.diagnosed(unit, row, [one.cause.code for one in found.offered], found.offered[0].subject.peer_id)
    incidents.write(
        unit,
        row.id,
        "verified" if proving else "looked",
        {
            "found": [one.cause.code for one in found.offered],
            "seconds": found.seconds,
            **({"keeps_open": [engine.failed_shape(one) for one in found.held]} if found.held else {}),
        },
    )


def preview(site: NodeContext, table: OperationTable, actor: Actor, fix: Fix) -> list[str]:
    """What a fix will change, and whether it waits, in lines; nothing where it is for a person to do."""
    if fix.by_hand:
        return []
    summary, changes = gate.preview(site, table, actor, fix.action, fix.params)
    told = (f"{one.what}: {in_words(one.before or 'nothing')} -> {in_words(one.after or 'nothing')}" for one in changes)
    with site.read() as session:
        policy = policies.in_force(session, fix.action, site.clock.now())
    return [summary, *told, BY_POLICY.get(policy, AT_ONCE)]


def mend(site: NodeContext, table: OperationTable, actor: Actor, incident_id: str, fix: Fix) -> Mapping[str, Any]:
    """Carry out a fix through the gate: `done`, `pending` with the approval's id, or `failed` with the problem.

    A fix without an act is for a person; it is written down as theirs to do. What an act yields that is shown once
    is in the answer alone (`shown_once`), for whoever carried it out.
    """
    with site.unit(actor) as unit:
        incident = incidents.working(unit, incident_id)
    shown: Mapping[str, Any] = {}
    outcome: dict[str, Any] = {
        "title": fix.title,
        "command": fix.command,
        "action": fix.action or None,
        "params": dict(fix.params),
    }
    if fix.by_hand:
        outcome |= {"outcome": "by_hand", "where": fix.where}
    else:
        try:
            with correlated(incident.correlation_id):
                done = gate.request(site, table, actor, fix.action, fix.params, reason=f"incident {incident_id[:13]}")
        except Problem as problem:
            outcome |= {"outcome": "failed", "problem": problem.as_dict()}
        else:
            if isinstance(done, Pending):
                outcome |= {"outcome": "pending", "approval": done.approval.id, "then": fix.then}
            else:
                outcome |= {"outcome": "done", "left": _left(fix.then, done.result)}
                shown = done.result if table[fix.action].shown_once else {}
    with site.unit(actor) as unit:
        incidents.write(unit, incident_id, "act", outcome)
    return {**outcome, "shown_once": shown} if shown else outcome


def asked_for(site: NodeContext, incident_id: str) -> Fix:
    """The fix that an incident waits for, as it was asked for. What is shown once its requester makes, by asking for
    exactly the same again once it was approved."""
    with site.read() as session:
        row = incidents.find(session, incident_id)
        last = incidents.last_of(session, row.id, "act")
    if last is None:
        raise Refused(
            "Nothing was asked for in that incident.",
            cause="No fix of it was taken up.",
            fix=f"See it with: fedtui incidents show {row.id}",
            code="nothing_asked_for",
        )
    told = last.content
    return Fix(told["title"], told["command"], told["action"] or "", told["params"], then=told.get("then", ""))


def _left(then: str, result: Mapping[str, Any] | None) -> str:
    """What is left for people after an act, with what it yielded; empty where it was not carried out."""
    return then.format_map(result) if then and result else ""


def escalate(site: NodeContext, actor: Actor, incident_id: str, *, title: str, body: str) -> Mapping[str, Any]:
    """File a change request for an incident with its owner, and close the incident as handed on."""
    with site.unit(actor) as unit:
        row = incidents.working(unit, incident_id)
        filed = change_requests.file(unit, title=title, body=body, incident_id=row.id, peer_id=row.peer_id)
        incidents.write(unit, row.id, "escalated", {"change_request": filed.id, "title": filed.title})
        incidents.close(unit, row.id, "escalated", f"change request {filed.id}")
        return change_requests.shape(filed)


def leave(site: NodeContext, actor: Actor, incident_id: str) -> bool:
    """Close an incident that came to nothing: every look found all well, and nothing was written or done in it.

    Whether it was closed. One that a colleague has taken over is theirs.
    """
    with site.read() as session:
        row = incidents.find(session, incident_id)
        lines = incidents.transcript(session, row.id)
        kinds = {one.kind for one in lines}
        well = all(one.content["state"] in ("ok", "skipped") for one in lines if one.kind == "check")
        mine = row.closed_at is None and row.owner == actor.name
    if not (mine and well and "looked" in kinds and kinds <= UNEVENTFUL):
        return False
    with site.unit(actor) as unit:
        incidents.close(unit, incident_id, "explained", "nothing was wrong")
    return True


def surroundings(site: NodeContext, incident_id: str) -> dict[str, Any]:
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


def _write_what_became(unit: Unit, incident_id: str) -> None:
    """Of an act that needed approval: how its request has ended, once."""
    last = incidents.last_of(unit.session, incident_id, "act", "act_ended")
    if last is None or last.kind != "act" or "approval" not in last.content:
        return
    asked = approvals.find(unit.session, last.content["approval"])
    if asked.status in progress.ENDED:
        incidents.write(
            unit,
            incident_id,
            "act_ended",
            {
                "title": last.content["title"],
                "approval": asked.id,
                "outcome": asked.status,
                "decided_by": asked.decided_by,
                "problem": asked.error,
                "left": _left(last.content.get("then", ""), asked.result),
            },
        )


def _wanted(row: Incident, token: str | None) -> DiagnosisTarget:
    about = row.about
    things = {name: about.get(name) for name in ("peer", "decision", "approval", "grant")}
    return DiagnosisTarget(row.symptom, token=token, **things)


def _check(seen: CheckResult) -> dict[str, Any]:
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
        "symptom": one.cause.symptom,
        "severity": one.severity,
        "subject": one.subject.label,
        "scope": one.subject.scope,
        "subject_id": one.subject.id,
        "peer_id": one.subject.peer_id,
        "because": one.sense.because,
        "fixes": [fix.title for fix in one.sense.fixes],
    }
