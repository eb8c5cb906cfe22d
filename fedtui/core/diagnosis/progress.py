"""How far an incident has come, by its transcript: its step, what it waits for, and what was tried in it.

Nothing of this is kept beside the transcript, so that whoever goes on with an incident knows what its screen knew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fedtui.core.diagnosis import incidents
from fedtui.core.diagnosis.engine import Diagnosis
from fedtui.core.diagnosis.incidents import Entry
from fedtui.core.diagnosis.model import Finding, Fix, in_words
from fedtui.core.operations import approvals
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeats

CARRIED_OUT = ("done", "executed")
"""How an act ends, at once or by its request, that was carried out."""
ENDED = ("executed", "failed", "rejected", "expired", "withdrawn", "stale")
"""How a request ends."""
CAME = {
    "done": "Carried out at {at}, by {actor}.",
    "by_hand": "Written down at {at}, by {actor}, as for a person to do.",
    "pending": "Asked for at {at}, by {actor}.",
    "executed": "Asked for at {at}, by {actor}; approved, and carried out.",
    "failed": "Tried at {at}, by {actor}, and failed.",
    "rejected": "Asked for at {at}, by {actor}, and rejected.",
    "expired": "Asked for at {at}, by {actor}, and its time ran out.",
    "withdrawn": "Asked for at {at}, by {actor}, and withdrawn.",
    "stale": "Asked for at {at}, by {actor}, and gone stale.",
}
"""What became of a fix, in words."""
OPEN_ENDED = ("by_hand", "pending")
"""What may still come of it: nothing speaks for another fix yet."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A fix that was taken up in an incident: what came of it (a key of `CAME`), when, and whose doing it was."""

    title: str
    command: str
    outcome: str
    at: datetime
    actor: str

    def is_of(self, fix: Fix) -> bool:
        """Whether it is this fix, as people read it: the same words for another peer are another command."""
        return (self.title, self.command) == (fix.title, fix.command)

    @property
    def said(self) -> str:
        """What came of it, as a sentence."""
        return CAME[self.outcome].format(at=in_words(self.at), actor=self.actor)


@dataclass(frozen=True, slots=True)
class IncidentState:
    """Where an incident stands: its step (`look`, `cause`, `wait`, `prove` or `done`), the request it waits for, who
    works on it, and what was tried, the last of it at the end. Until `settles_at` what is found about a peer may be
    from before the last act, as no heartbeat need have come since."""

    incident_id: str
    step: str
    owner: str
    waits_for: str | None = None
    waiting_status: str | None = None
    outcome: str | None = None
    settles_at: datetime | None = None
    tried: tuple[Tried, ...] = ()


def incident_state(site: NodeContext, incident_id: str) -> IncidentState:
    """Where an incident stands, by its transcript and by what it waits for."""
    with site.read() as session:
        row = incidents.find(session, incident_id)
        lines = incidents.transcript(session, row.id)
        last = next((one for one in reversed(lines) if one.kind in ("looked", "verified", "act")), None)
        waits_for = last.content.get("approval") if last is not None and last.kind == "act" else None
        status = approvals.find(session, waits_for).status if waits_for else None
    here = IncidentState(row.id, "look", row.owner, tried=_tried(lines))
    if row.closed_at is not None:
        return replace(here, step="done", outcome=row.outcome)
    if last is None:
        return here
    if last.kind in ("looked", "verified"):
        not_proved = "prove" if last.content.get("keeps_open") else "look"
        step = "cause" if last.content["found"] else not_proved
        return replace(here, step=step, settles_at=_settles_at(site, lines))
    step = "wait" if waits_for and status not in ENDED else "prove"
    return replace(here, step=step, waits_for=waits_for, waiting_status=status)


def tried(incident_state: IncidentState, fix: Fix) -> Tried | None:
    """What came of a fix when it was last taken up in the incident; None where it was not."""
    return next((one for one in reversed(incident_state.tried) if one.is_of(fix)), None)


def next_fix(incident_state: IncidentState, fixes: Sequence[tuple[Finding, Fix]]) -> int:
    """The place of the fix to take next: the first that was not tried to no avail, and is no step already taken."""

    def to_take(finding: Finding, fix: Fix) -> bool:
        before = tried(incident_state, fix)
        return before is None or (before.outcome in OPEN_ENDED and not finding.sense.together)

    return next((place for place, (finding, fix) in enumerate(fixes) if to_take(finding, fix)), 0)


def found_again(incident_state: IncidentState, found: Diagnosis) -> bool:
    """Whether what the last act was carried out against is still found, and it is not one of several steps of which
    some are left."""
    last = incident_state.tried[-1] if incident_state.tried else None
    if last is None or last.outcome not in CARRIED_OUT:
        return False
    of_it = [one for one in found.offered if any(last.is_of(fix) for fix in one.sense.fixes)]
    return any(not (one.sense.together and _steps_left(incident_state, one)) for one in of_it)


def unsettled(incident_state: IncidentState, found: Diagnosis) -> bool:
    """Whether what is found may be from before the last act: it goes by heartbeats, and none need have come."""
    still = bool(found.held) or found_again(incident_state, found)
    return incident_state.settles_at is not None and found.of_heartbeats and still


def _steps_left(incident_state: IncidentState, finding: Finding) -> bool:
    return any(tried(incident_state, fix) is None for fix in finding.sense.fixes)


def _tried(lines: Sequence[Entry]) -> tuple[Tried, ...]:
    """The acts of a transcript. What needed approval ends in a line of its own, for the act before it."""
    taken: list[Tried] = []
    for one in lines:
        if one.kind == "act":
            command = one.content.get("command", "")
            taken.append(Tried(one.content["title"], command, one.content["outcome"], one.at, one.actor))
        elif one.kind == "act_ended" and taken:
            taken[-1] = replace(taken[-1], outcome=one.content["outcome"])
    return tuple(taken)


def _settles_at(site: NodeContext, lines: Sequence[Entry]) -> datetime | None:
    """When a heartbeat has come, late or not, since the last act that was carried out; None where that is over."""
    acts = (one.at for one in reversed(lines) if one.content.get("outcome") in CARRIED_OUT)
    last = next(acts, None)
    moment = last + site.settings.heartbeat_interval * heartbeats.PATIENCE if last is not None else None
    return moment if moment is not None and moment > site.clock.now() else None
