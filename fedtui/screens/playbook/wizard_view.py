"""A diagnosis in words: the steps at the left, the evidence and the way on at the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.peers.columns import Paragraph, address
from fedtui.screens.shell.commands import key_of

if TYPE_CHECKING:
    from fedtui.core.diagnosis.check_runner import CheckResult
    from fedtui.core.diagnosis.engine import Diagnosis
    from fedtui.core.diagnosis.model import Finding, Fix
    from fedtui.core.diagnosis.progress import IncidentState

STEPS = {
    "look": "Look",
    "cause": "Name the cause",
    "mend": "Mend",
    "wait": "Wait for approval",
    "prove": "Prove it",
    "done": "Done",
}
ORDER = tuple(STEPS)
CHECKED = {"ok": ("✓", ""), "bad": ("✗", "bad"), "unknown": ("?", "warn"), "skipped": ("·", "dim")}
SEVERITY = {"low": "", "medium": "warn", "high": "bad", "critical": "loud"}
NEXT = {
    "look": "Enter looks.",
    "cause": "Enter carries out the fix that is marked; it asks first.",
    "by_hand": "A person does this: Enter writes it down; {refresh} looks again once it is done.",
    "wait": "It goes on by itself once it is decided. You can leave; it is all written down.",
    "make": "It was approved, and is yours to make: Enter makes it, and shows it once.",
    "prove": "Enter looks again, whether it helped.",
    "told": "Once it is done, Enter looks again.",
    "elsewhere": "Enter looks at everything; Esc leads back.",
    "unexplained": "Enter looks again; {escalate} hands it up.",
    "settling": "It looks again by itself at {at}, after a heartbeat; Enter looks now.",
    "held": "Enter looks again, whether all of its checks pass.",
    "well": "Nothing is wrong. Enter looks again; Esc leads back, and closes the incident.",
    "unseen": "Enter looks again; Esc leads back, and closes the incident.",
    "failed": "Enter tries again; Esc leads back.",
    "done": "Esc leads back.",
}
OF_NO_USE = "It was carried out, and the checks still find it. {refresh} looks again; the next fix is marked."


def steps(step: str, seen: Sequence[CheckResult]) -> list[tuple[str, str]]:
    """The steps, which one is on, and beneath the first of them what the checks came to."""
    here = ORDER.index(step)
    lines: list[tuple[str, str]] = []
    for number, name in enumerate(ORDER):
        if name == "wait" and step != "wait":
            continue
        if name == "mend":
            continue
        mark = "✓" if number < here or step == "done" else "›" if name == step else "·"
        lines.append((f"{mark} {STEPS[name]}", "strong" if name == step else "dim" if number > here else ""))
        if name == "look":
            counts = {state: sum(one.outcome.state == state for one in seen) for state in CHECKED}
            told = [f"{counts[state]} {word}" for state, word in COUNTED.items() if counts[state]]
            if told:
                lines.append((f"  {', '.join(told)}", "dim"))
    return lines


COUNTED = {"ok": "ok", "bad": "failed", "unknown": "unknown", "skipped": "not needed"}


def checks(seen: Sequence[CheckResult]) -> list[tuple[str, str]]:
    """Each check with what it came to, in the order in which they ended."""
    return [(f"{CHECKED[one.outcome.state][0]} {one.check.title}", CHECKED[one.outcome.state][1]) for one in seen]


def looking(seen: Sequence[CheckResult]) -> Iterator[Paragraph]:
    """While it looks: what was seen so far, with the words of what is wrong."""
    yield Paragraph("", "Looking. Nothing is changed by it.", "strong")
    yield Paragraph("", "")
    for one in seen:
        glyph, style = CHECKED[one.outcome.state]
        whose = "" if one.subject.scope == "node" else f" ({address(one.subject.label)})"
        yield Paragraph("", f"{glyph} {one.check.title}{whose}: {one.outcome.said}", style)


def causes(found: Diagnosis, place: int, standing: IncidentState | None = None) -> Iterator[Paragraph]:
    """Every finding, the root first, with its fixes and what came of them in the incident, as it stands; the one at
    `place` among all fixes is marked. Where nothing of what was asked about is left, first what fails in its place."""
    if not found.findings:
        yield from _instead(found)
    if not found.offered:
        return
    number = 0
    for rank, one in enumerate(found.offered):
        yield from _finding(one, rank)
        for index, fix in enumerate(one.sense.fixes):
            joined = "" if index == 0 else "then " if one.sense.together else "or "
            yield from _fix(fix, joined, standing, marked=number == place)
            number += 1
        if one.stays:
            yield Paragraph(
                "", "It stays as it was, whatever is mended: once its people are told, :end-incident ends this."
            )
        yield Paragraph("", f"It could also be: {one.cause.could_be}", "dim")
        if one.sense.undecided:
            yield Paragraph("", f"It cannot be told from here, and may be: {', '.join(one.sense.undecided)}", "warn")
        yield Paragraph("", f"Runbook: {one.cause.code} ({key_of('runbook')} opens the page)", "dim")
        yield Paragraph("", "")
    yield Paragraph("Evidence", "")
    for seen in found.telling:
        yield from _evidence(seen)


def settling() -> Iterator[Paragraph]:
    """Above what is found again right after its fix."""
    yield Paragraph("", "The fix was carried out. What is still found may be from before it.", "strong")
    yield Paragraph("", "")


def _instead(found: Diagnosis) -> Iterator[Paragraph]:
    """No cause of what was asked about: either all is well, or something else is wrong, or keeps it open."""
    if not found.seen:
        yield Paragraph("", "Nothing on record shows it, so nothing was looked at.", "strong")
        yield Paragraph("", "")
        yield Paragraph("", f"Point at what it is about: {key_of('doctor')} on the peer, grant, request or event.")
        return
    if not (found.held or found.beside):
        yield Paragraph("", "✓ Nothing is wrong.", "good")
        return
    proved = "What was found is found no more. It stays open, as not every check passes:"
    yield Paragraph("", proved if found.held else "No cause of it was found, and not all is well:", "strong")
    yield Paragraph("", "")
    failing = found.held or found.beside
    if found.elsewhere:
        for seen in failing:
            yield Paragraph("", _said(seen), CHECKED[seen.outcome.state][1])
        yield Paragraph("", "")
        yield Paragraph("", "Causes of other symptoms explain it:", "strong")
        return
    for seen in failing:
        yield from _evidence(seen)
    if found.held:
        yield Paragraph("", "")
        yield Paragraph(
            "",
            "No cause explains it. Once a heartbeat may have come, look again; "
            f"{key_of('escalate')} hands it up, :end-incident ends it without the proof.",
        )


def _finding(one: Finding, rank: int) -> Iterator[Paragraph]:
    first = "Cause" if rank == 0 else "And"
    yield Paragraph(first, f"{one.cause.code}  {one.cause.severity.upper()}", SEVERITY[one.cause.severity])
    yield Paragraph("Of", address(one.subject.label))
    yield Paragraph("", f"{one.cause.means} {one.sense.because}")


def _fix(fix: Fix, joined: str, standing: IncidentState | None, *, marked: bool) -> Iterator[Paragraph]:
    from fedtui.core.diagnosis import progress

    where = " (on the other side)" if fix.where == "there" else "" if fix.action else " (by hand)"
    mark = "›" if marked else " "
    title = f"{joined}{fix.title[0].lower()}{fix.title[1:]}" if joined else fix.title
    yield Paragraph("", f"{mark} Fix: {title}{where}", "cursor" if marked else "strong")
    if fix.command:
        yield Paragraph("", f"  {fix.command}", "dim")
    if standing is not None and (before := progress.tried(standing, fix)) is not None:
        yield Paragraph("", f"  {before.said}")


def _said(seen: CheckResult) -> str:
    return f"{CHECKED[seen.outcome.state][0]} {seen.check.title}: {seen.outcome.said}"


def _evidence(seen: CheckResult) -> Iterator[Paragraph]:
    from fedtui.core.diagnosis.model import in_words

    yield Paragraph("", _said(seen), CHECKED[seen.outcome.state][1])
    for item in seen.outcome.evidence:
        yield Paragraph("", f"    {item.what}: {in_words(item.value)}  [{item.source}, {item.at:%H:%M:%S}]", "dim")


def mended(outcome: Mapping[str, Any]) -> Iterator[Paragraph]:
    """What became of a fix."""
    yield Paragraph("", str(outcome["title"]), "strong")
    yield Paragraph("", "")
    kind = outcome["outcome"]
    if kind == "done":
        yield Paragraph("", "✓ Done.", "good")
    elif kind == "by_hand":
        there = outcome["where"] == "there"
        whose = "Tell the other side's operators." if there else "A person does it by hand, on this side."
        yield Paragraph("", f"It is written down. {whose}")
        if outcome["command"]:
            yield Paragraph("", f"  {outcome['command']}", "strong")
    elif kind == "failed":
        problem = outcome["problem"]
        yield Paragraph("", f"✗ It failed: {problem['problem']}", "bad")
        yield Paragraph("why", problem["cause"])
        yield Paragraph("fix", problem["fix"])
        yield Paragraph("", "Enter looks again; then take another fix.")


def waiting(shape: Mapping[str, Any]) -> Iterator[Paragraph]:
    """Why a fix waits: who can decide it, and until when; once it was approved, for whom."""
    waits = shape["waiting"]
    pending = shape["status"] == "pending"
    yield Paragraph("", "The fix needs approval." if pending else f"The fix is {shape['status']}.", "strong")
    yield Paragraph("", str(shape["summary"]))
    yield Paragraph("", "")
    if not pending:
        yield Paragraph("By", str(shape["decided_by"]))
        yield Paragraph("Now", str(waits["then"]))
        return
    yield Paragraph("Can decide", ", ".join(waits["can_decide"]) or "nobody", "" if waits["can_decide"] else "bad")
    for name, reason in waits["cannot_decide"].items():
        yield Paragraph("Cannot", f"{name}: {reason}", "dim")
    yield Paragraph("Until", f"{shape['expires_at']:%H:%M} UTC; then the clock rejects it")
    yield Paragraph("Request", f"{shape['id'][:13]}, {shape['status']}; {key_of('approvals')} leads to the queue")


def around(found: Mapping[str, Any]) -> str:
    """Events and findings around an incident, as a text."""
    lines = [
        "Open findings of governance, the gravest first:" if found["findings"] else "No open findings of governance"
    ]
    lines += [f"  {one['severity'].upper()}  {one['kind']}: {one['said']}" for one in found["findings"]]
    lines += ["", "Latest events, newest first:" if found["events"] else "No events"]
    for one in found["events"]:
        lines.append(f"  {one['at']:%F %H:%M:%S}  {one['severity']}  {one['kind']}  by {one['actor']}")
    return "\n".join(lines)


def left(transcript: Sequence[Mapping[str, Any]]) -> Iterator[Paragraph]:
    """What the acts that were carried out leave for people to do."""
    for line in transcript:
        if line["content"].get("left"):
            yield Paragraph("", "")
            yield Paragraph("Still to do", str(line["content"]["left"]), "notice")


def over(shape: Mapping[str, Any]) -> Iterator[Paragraph]:
    """A closed incident: how it ended, and its transcript in short."""
    ended = {
        "fixed": "✓ Fixed: its checks pass.",
        "explained": "Explained.",
        "escalated": "Handed on.",
        "abandoned": "Given up.",
    }
    yield Paragraph(
        "", ended.get(str(shape["outcome"]), "Closed."), "good" if shape["outcome"] == "fixed" else "strong"
    )
    yield Paragraph("", "")
    yield Paragraph("Causes", ", ".join(shape["causes"]) or "none found")
    for label, key in (("Diagnosis", "seconds_to_diagnosis"), ("Fix", "seconds_to_fix")):
        if shape[key] is not None:
            yield Paragraph(label, f"after {shape[key]:.0f} s")
    yield Paragraph("By", f"{shape['closed_by']}, {shape['closed_at']:%F %H:%M} UTC")
    reasons = [line["content"]["reason"] for line in shape["transcript"] if line["content"].get("reason")]
    yield from (Paragraph("Because", str(reason)) for reason in reasons[-1:])
    yield from left(shape["transcript"])
    yield Paragraph("", "")
    yield Paragraph("Transcript", f"{len(shape['transcript'])} lines; {key_of('export-incident')} shows it to copy")
