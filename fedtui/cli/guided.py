"""`fedtui doctor --guided`: the wizard as plain text, line by line, for screen readers and plain terminals."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fedtui.cli.common import opened
from fedtui.cli.output import put, visible
from fedtui.core.errors import Problem, Refused

if TYPE_CHECKING:
    from fedtui.core.diagnosis.check_runner import CheckResult
    from fedtui.core.diagnosis.engine import Diagnosis
    from fedtui.core.diagnosis.model import Fix
    from fedtui.core.diagnosis.progress import IncidentState
    from fedtui.core.diagnosis.triage import DiagnosisTarget
    from fedtui.core.node import Node

MARKS = {"ok": "ok", "bad": "FAILED", "unknown": "UNKNOWN", "skipped": "not looked at"}
STILL_WRONG = 1
AGAIN, LEFT, ENDED = "again", "left", "ended"
"""What comes after the causes were shown: looking again, leaving the incident open, or nothing, as it is closed."""


def guided(wanted: DiagnosisTarget, token: str | None, resumed: str | None = None) -> int:
    """The wizard, line by line: look, name the cause, mend, prove; or a `resumed` incident, from where it stands.
    The exit code."""
    with opened() as node:
        actor = node.actor("cli")
        incident = node.incident(resumed)["id"] if resumed else node.begin_incident(actor, wanted)
        again = f"fedtui doctor --guided --incident {incident[:13]}"
        _say(f"Incident {incident[:13]}. Everything is written down; to go on with it later: {again}")
        while True:
            standing = node.standing(incident)
            if standing.step == "wait":
                if not _waits(node, actor, standing):
                    return _left(again)
                continue
            if standing.waits_for is not None:
                _say(_ended(node, standing.waits_for))
            _say("")
            _say("Looking.")
            found = node.look(actor, incident, _tell, token=token, proving=standing.step == "prove")
            if not (found.offered or found.held):
                return _over(node, incident, found)
            outcome = _offer(node, actor, node.standing(incident), found)
            if outcome != AGAIN:
                return STILL_WRONG if outcome == ENDED else _left(again)


def _left(again: str) -> int:
    _say(f"The incident stays open. To go on with it: {again}")
    return STILL_WRONG


def _waits(node: Node, actor: Any, standing: IncidentState) -> bool:
    """Say what a fix waits for, or make what was approved for this operator to make; whether to go on."""
    record = node.approval_record(str(standing.waits_for))
    if record is not None and record.shape["status"] == "pending":
        waits = record.shape["waiting"]
        _say(f"The fix waits for approval: {record.shape['summary']}")
        _say(f"  Can decide: {', '.join(waits['can_decide']) or 'nobody'}.")
        for name, reason in waits["cannot_decide"].items():
            _say(f"  Cannot: {name}: {reason}")
    elif record is not None:
        shape, waits = record.shape, record.shape["waiting"]
        _say(f"The fix is {shape['status']}, by {shape['decided_by']}: {waits['then']}.")
        if (shape["status"], waits["claimed_by"]) == ("approved", node.operator):
            made = _ask("y to make it now, q to leave: ") == "y"
            return made and _mended(node, actor, standing.incident_id, node.asked_for(standing.incident_id))
    return _ask("l to see what became of it, q to leave: ") == "l"


def _ended(node: Node, approval_id: str) -> str:
    """How the request of a fix has ended."""
    record = node.approval_record(approval_id)
    if record is None:
        return "The request is on record no more."
    shape = record.shape
    if shape["status"] == "executed":
        return f"The fix was approved by {shape['decided_by']}, and carried out."
    why = (shape["error"] or {}).get("problem") or shape["decision_reason"] or "no reason was given"
    return f"The fix was not carried out: its request is {shape['status']} ({why})."


def _offer(node: Node, actor: Any, standing: IncidentState, found: Diagnosis) -> str:
    """Show the causes and what can be done, until something was: `AGAIN`, `LEFT`, or `ENDED`."""
    incident = standing.incident_id
    for line in (*_before(standing, found), *_instead(found)):
        _say(line)
    numbered = {str(number): fix for number, fix in enumerate(_causes(found, standing), start=1)}
    first = "Number of a fix to carry out; l look again" if numbered else "l look again"
    while True:
        _say("")
        answer = _ask(f"{first}, e evidence, b background, n note, u hand it up, c close it, q leave: ")
        if answer in ("l", "q"):
            return AGAIN if answer == "l" else LEFT
        if answer == "e":
            for line in _evidence(found):
                _say(line)
        elif answer == "b":
            for line in _background(node.surroundings(incident)):
                _say(line)
        elif answer == "n":
            node.note_incident(actor, incident, _ask("Note: ", lower=False))
        elif answer == "u":
            _hand_up(node, actor, incident)
            return ENDED
        elif answer == "c":
            node.close_incident(actor, incident, "explained", _ask("Why, for the transcript: ", lower=False))
            _say("The incident is closed as explained, without the proof.")
            return ENDED
        elif answer in numbered:
            if _carried_out(node, actor, incident, numbered[answer]):
                return AGAIN
        else:
            _say(f"That is none of them. There are {len(numbered)} fixes.")


def _before(standing: IncidentState, found: Diagnosis) -> list[str]:
    """What is said where the last fix was carried out, and something is found all the same."""
    from fedtui.core.diagnosis import progress
    from fedtui.core.diagnosis.model import in_words

    if progress.unsettled(standing, found):
        after = in_words(standing.settles_at)
        return [
            f"What is still found may be from before the fix. Check again (l) after {after}, when a heartbeat has come."
        ]
    return ["It was carried out, and the checks still find it."] if progress.found_again(standing, found) else []


def _instead(found: Diagnosis) -> list[str]:
    """What is said where no cause of what was asked about is left, and not all is well."""
    if found.findings:
        return []
    lines = [
        "",
        "What was found is found no more. The incident stays open, as not every check passes:"
        if found.held
        else "No cause of it was found, and not all is well:",
    ]
    lines += [f"  {one.check.title}. {one.subject.label}: {one.outcome.said}" for one in found.held or found.beside]
    if found.elsewhere:
        return [*lines, "Causes of other symptoms explain it:"]
    return [
        *lines,
        "No cause explains it. Look again once a heartbeat may have come, hand it up, or close it without "
        "the proof (c).",
    ]


def _causes(found: Diagnosis, standing: IncidentState) -> list[Fix]:
    """Show each cause with its fixes; the fixes, as they are numbered."""
    from fedtui.core.diagnosis import progress

    fixes: list[Fix] = []
    for one in found.offered:
        _say("")
        _say(f"Cause: {one.cause.code}, {one.severity}. {one.subject.label}.")
        _say(f"  {one.cause.means} {one.sense.because}")
        for fix in one.sense.fixes:
            fixes.append(fix)
            joined = "" if fix is one.sense.fixes[0] else ", then" if one.sense.together else ", or instead"
            where = " Only the other side can do this." if fix.where == "there" else ""
            before = progress.tried(standing, fix)
            came = f" {before.said}" if before is not None else ""
            command = f" Command: {fix.command}" if fix.command else ""
            _say(f"  Fix {len(fixes)}{joined}: {fix.title}.{came}{where}{command}")
        if one.stays:
            _say("  It stays as it was, whatever is mended: once its people are told, close the incident (c).")
        _say(f"  It could also be: {one.cause.could_be}")
        if one.sense.undecided:
            _say(f"  It cannot be told from here, and may be: {', '.join(one.sense.undecided)}.")
        _say(f"  Runbook: {one.cause.section}.")
    return fixes


def _carried_out(node: Node, actor: Any, incident: str, fix: Fix) -> bool:
    """Show what a fix changes, ask, and carry it out; whether it is time to look again."""
    if fix.action and fix.where == "here":
        try:
            told = node.preview(actor, fix)
        except Problem as problem:
            _say(f"  It cannot be done: {problem.problem} {problem.cause} {problem.fix}")
            return False
        for line in told:
            _say(f"  {line}")
        if _ask(f"{fix.title}. Type yes to do it: ") != "yes":
            return False
    return _mended(node, actor, incident, fix)


def _mended(node: Node, actor: Any, incident: str, fix: Fix) -> bool:
    """Carry a fix out, and say what came of it; whether it is time to look again."""
    outcome = node.mend(actor, incident, fix)
    _say(_became(outcome))
    if "invite" in outcome.get("shown_once", {}):
        _say(
            f"The invite, shown this once; hand it to the other platform's operator: {outcome['shown_once']['invite']}"
        )
    return bool(outcome["outcome"] in ("done", "pending"))


def _evidence(found: Diagnosis) -> list[str]:
    """What was seen, where and when: of what was found, and of what failed."""
    from fedtui.core.diagnosis.model import in_words

    lines: list[str] = []
    for seen in found.telling:
        lines.append(f"{MARKS[seen.outcome.state]}: {seen.check.title}. {seen.subject.label}.")
        lines += [
            f"  {one.what}: {in_words(one.value)}. From {one.source}, at {in_words(one.at)}."
            for one in seen.outcome.evidence
        ]
    return lines


def _background(found: dict[str, Any]) -> list[str]:
    lines = [f"Finding: {one['kind']}, {one['severity']}. {one['said']}" for one in found["findings"]]
    lines += [f"Event: {one['at']:%F %H:%M:%S} UTC, {one['kind']}, by {one['actor']}." for one in found["events"]]
    return lines or ["No events in the last day, and no open findings."]


def _hand_up(node: Node, actor: Any, incident: str) -> None:
    """File a change request, which ends the incident."""
    title = _ask("Title of the change request: ", lower=False)
    filed = node.escalate(actor, incident, title=title, body=_ask("What is missing, and why: ", lower=False))
    _say(f"Handed up. Send it with: fedtui escalate --export {filed['id'][:13]}")


def _became(outcome: Any) -> str:
    if outcome["outcome"] == "done":
        return " ".join(filter(None, ("Done.", _still_to_do(outcome), "Looking whether it helped.")))
    if outcome["outcome"] == "pending":
        return f"It needs approval: fedtui approvals show {outcome['approval'][:13]}."
    if outcome["outcome"] == "by_hand":
        there = outcome["where"] == "there"
        whose = "Tell the other side's operators" if there else "A person does it by hand, on this side"
        command = f": {outcome['command']}" if outcome["command"] else ""
        return f"It is written down. {whose}{command}. Then look again (l)."
    problem = outcome["problem"]
    return f"It failed: {problem['problem']} {problem['cause']} {problem['fix']}"


def _still_to_do(outcome: Any) -> str:
    return f"Still to do, by you: {outcome['left']}." if outcome.get("left") else ""


def _over(node: Node, incident: str, found: Diagnosis) -> int:
    shape = node.incident(incident)
    if shape["state"] == "closed":
        for line in shape["transcript"]:
            if line["kind"] == "act_ended" and line["content"].get("left"):
                _say(_still_to_do(line["content"]))
        proof = "Its checks pass." if found.beside else "Every check passes."
        _say(f"{proof} The incident is closed as {shape['outcome']}, after {shape['seconds_to_fix']:.0f} s.")
        return 0
    for note in found.notes:
        _say(f"As it should be: {note.subject.label}. {note.sense.because}")
    for one in found.beside:
        _say(f"No cause of it was found, and not all is well. {one.subject.label}: {one.outcome.said}")
    well = "Nothing is wrong." if found.seen else "Nothing on record shows it, so nothing was looked at: name a peer."
    _say("To look at everything: fedtui doctor --guided" if found.beside else well)
    node.close_incident(node.actor("cli"), incident, "explained", "nothing of it was found")
    return STILL_WRONG if found.beside else 0


def _ask(question: str, *, lower: bool = True) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise Refused(
            "Nothing more came on standard input.",
            cause="The wizard asks, and waits for answers.",
            fix="Run it in a terminal; without a person: fedtui doctor",
            code="stdin_ended",
        )
    return line.strip().lower() if lower else line.strip()


def _tell(seen: CheckResult) -> None:
    whose = "" if seen.subject.scope == "node" else f" {seen.subject.label}."
    _say(f"{MARKS[seen.outcome.state]}: {seen.check.title}.{whose} {seen.outcome.said}")


def _say(text: str) -> None:
    if not put(visible(text)):
        raise BrokenPipeError  # nobody is there to be guided
