"""The engine: runs the checks, many at once, and concludes. It serves the wizard, the doctor and MCP alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fedtui.core.audit.events import SEVERITIES
from fedtui.core.diagnosis import causes
from fedtui.core.diagnosis.check_runner import CheckResult, Tell, run
from fedtui.core.diagnosis.checks import CHECKS
from fedtui.core.diagnosis.commands import needs_policy
from fedtui.core.diagnosis.model import ESCALATION, RUNBOOK, CaseContext, Cause, Finding, Fix, Subject
from fedtui.core.diagnosis.triage import NODE, DiagnosisTarget, Survey, survey
from fedtui.core.errors import WrongUsage
from fedtui.core.operations import policies
from fedtui.core.operations.operation import OperationTable
from fedtui.core.pki.node_context import NodeContext

BESIDE = "medium"
"""How grave a check is that failed for no cause that is known."""
LIMIT_SECONDS = 30.0
"""For all checks together, besides the limit that each has. What has not come by then is unknown."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was seen and what follows from it; the root cause first."""

    checked_at: datetime
    seconds: float
    seen: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    left_out: int = 0
    elsewhere: tuple[Finding, ...] = ()
    """Causes of other symptoms that explain the checks that failed, where none of the one asked about is found."""
    held: tuple[CheckResult, ...] = ()
    """Checks of what an incident is about that do not pass though its cause is gone: it stays open for them."""
    asks: frozenset[str] = frozenset()
    """Actions that have to be approved, by the policies in force."""
    notes: tuple[Finding, ...] = ()
    """What is as an operator decided, or waits within its time: it explains what is seen, and is no fault."""

    @property
    def offered(self) -> tuple[Finding, ...]:
        """What there is to mend: what was asked about, else what is wrong in its place."""
        return self.findings or self.elsewhere

    @property
    def beside(self) -> tuple[CheckResult, ...]:
        """Checks that failed though no cause was found: something is wrong, and not what was asked about."""
        return () if self.findings else tuple(one for one in self.seen if one.outcome.state == "bad")

    @property
    def unexplained(self) -> tuple[CheckResult, ...]:
        """Those of `beside` that no cause of another symptom explains either."""
        explained = {one.subject.key for one in self.elsewhere}
        return tuple(one for one in self.beside if one.subject.key not in explained)

    @property
    def telling(self) -> tuple[CheckResult, ...]:
        """The checks whose evidence is to be shown: those of what was found, and those that failed."""
        about = {one.subject.key for one in self.offered}
        return tuple(one for one in self.seen if one.outcome.state == "bad" or one.subject.key in about)

    @property
    def of_heartbeats(self) -> bool:
        """Whether something is found that may be from before the next heartbeat: about a peer, or about a call that
        was refused for who made it. What a grant allows is so at once."""
        about = [one.subject for one in self.offered if one.cause.symptom != "grant_scope_mismatch"]
        return any(one.scope in ("peer", "decision") for one in (*about, *(seen.subject for seen in self.held)))

    @property
    def well(self) -> bool:
        """Whether nothing was found to be wrong."""
        return not (self.offered or self.held or self.beside)

    def holding(self, held: Sequence[CheckResult]) -> Diagnosis:
        """The same, for an incident that these checks keep open: elsewhere counts only what is wrong with theirs."""
        about = {one.subject.key for one in held}
        elsewhere = tuple(one for one in self.elsewhere if one.subject.key in about)
        return replace(self, held=tuple(held), elsewhere=elsewhere)


def diagnose(
    site: NodeContext,
    table: OperationTable,
    wanted: DiagnosisTarget,
    tell: Tell = lambda _seen: None,
    *,
    again: Sequence[Subject] = (),
) -> Diagnosis:
    """Look at what is wanted, and `again` at what was found before; name the causes. Changes nothing.

    `tell` gets each check as it ends, in this thread. Raises `WrongUsage` for an unknown symptom,
    `NotFound` for a thing that is not there.
    """
    began, now = time.monotonic(), site.clock.now()
    about = wanted.symptom if wanted.symptom != ESCALATION else None
    if wanted.symptom is not None and wanted.symptom not in causes.BY_SYMPTOM:
        raise _unknown(wanted.symptom)
    with site.read() as session:
        found: Survey = survey(session, site, now, wanted)
    surveyed = {one.key for one in found.subjects}
    subjects = (*found.subjects, *(one for one in again if one.key not in surveyed))
    cases = [CaseContext(site, table, now, subject, wanted.pointed, symptom=about) for subject in subjects]
    seen = run(cases, CHECKS, tell, limit=LIMIT_SECONDS)
    findings, notes = _parted(conclude(cases, causes.of(wanted.symptom)))
    failed = {one.subject.key for one in seen if one.outcome.state == "bad"}
    others = [case for case in cases if case.subject.key in failed] if not findings else []
    elsewhere, more = _parted(conclude(others, causes.CAUSES))
    actions = {needs_policy(fix) for one in (*findings, *elsewhere) for fix in one.sense.fixes} - {""}
    with site.read() as session:
        asks = frozenset(one for one in actions if policies.in_force(session, one, now) == policies.ASK)
    seconds = round(time.monotonic() - began, 3)
    told = {one.key: one for one in (*notes, *more)}
    return Diagnosis(
        now, seconds, tuple(seen), findings, found.left_out, elsewhere, asks=asks, notes=tuple(told.values())
    )


def _parted(found: Sequence[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """The findings, and apart from them what is as it was decided or as it should be."""
    return (
        tuple(one for one in found if not one.sense.expected),
        tuple(one for one in found if one.sense.expected),
    )


def conclude(cases: Sequence[CaseContext], table: Sequence[Cause]) -> tuple[Finding, ...]:
    """The causes that hold, without those that another explains, the root first."""
    found = [
        Finding(cause, case.subject, sense)
        for case in cases
        for cause in table
        if _is_for(cause, case.subject)
        if (sense := cause.holds(case)) is not None
    ]
    refused = {(one.subject.peer_id, one.cause.code) for one in found if one.subject.scope == "decision"}
    of_node = {one.cause.code for one in found if one.subject == NODE}

    def explained(one: Finding) -> bool:
        beside = {other.cause.code for other in found if other.subject == one.subject}
        here = any((one.subject.peer_id, code) in refused or code in of_node for code in one.sense.after)
        return here or any(code in of_node or code in beside for code in one.cause.after)

    # Calls that one and the same change would let through are one finding; the newest of them stands for it.
    once: dict[Any, Finding] = {}
    for one in found:
        if not explained(one):
            once.setdefault((one.cause.code, one.subject.peer_id, repr(one.fix)) if one.fix else one.key, one)
    roots = once.values()
    return tuple(sorted(roots, key=lambda one: (one.cause.rank, -SEVERITIES.index(one.severity), one.subject.label)))


def _is_for(cause: Cause, subject: Subject) -> bool:
    """Causes of refused tokens are told from a peer's record, from a token that somebody holds, and from an
    accept of ours that failed; those of refused calls also from a grant with which any call would be refused."""
    if subject.scope in ("token", "approval") and cause.symptom == "token_mismatch":
        return True
    return cause.scope == ("decision" if subject.scope == "grant" else subject.scope)


def worst(findings: Sequence[Finding]) -> str | None:
    """The highest severity among them."""
    return max((one.severity for one in findings), key=SEVERITIES.index, default=None)


def shape(found: Diagnosis, *, fail_on: str = "low") -> dict[str, Any]:
    """A diagnosis as the contract has it (`doctor --json`)."""
    grave = [one for one in found.findings if SEVERITIES.index(one.severity) >= SEVERITIES.index(fail_on)]
    return {
        "ok": not (grave or (found.unexplained and SEVERITIES.index(fail_on) <= SEVERITIES.index(BESIDE))),
        "checked_at": found.checked_at,
        "duration_ms": round(found.seconds * 1000),
        "findings": [finding_shape(one, found) for one in found.findings],
        "failed_beside": [failed_shape(one) for one in found.beside],
        "elsewhere": [finding_shape(one, found) for one in found.elsewhere],
        "keeps_open": [failed_shape(one) for one in found.held],
        "notes": [note_shape(one) for one in found.notes],
        "not_looked_at": found.left_out,
        "checks": len(found.seen),
    }


def note_shape(one: Finding) -> dict[str, Any]:
    """What is as it was decided or as it should be: the code that explains it, and the reason."""
    return {
        "symptom": one.cause.symptom,
        "cause": one.cause.code,
        "peer_id": one.subject.peer_id,
        "subject": one.subject.label,
        "subject_id": one.subject.id or None,
        "said": one.sense.because,
    }


def failed_shape(one: CheckResult) -> dict[str, Any]:
    """A check that does not pass, with its words."""
    return {"check": one.check.name, "subject": one.subject.label, "said": one.outcome.said}


def finding_shape(one: Finding, found: Diagnosis) -> dict[str, Any]:
    """A finding with its evidence: what the checks of its subject saw."""
    looked = [seen for seen in found.seen if seen.subject == one.subject]
    return {
        "symptom": one.cause.symptom,
        "cause": one.cause.code,
        "severity": one.severity,
        "peer_id": one.subject.peer_id,
        "subject": one.subject.label,
        "subject_id": one.subject.id or None,
        "because": one.sense.because,
        "evidence": [
            {"check": seen.check.name, "what": item.what, "value": item.value, "source": item.source, "at": item.at}
            for seen in looked
            for item in seen.outcome.evidence
        ]
        + [
            {"check": None, "what": item.what, "value": item.value, "source": item.source, "at": item.at}
            for item in one.sense.evidence
        ],
        "explanation": f"{one.cause.means} {one.sense.because}".strip(),
        "could_be": one.cause.could_be,
        "fix": fix_shape(one.fix, found) if one.fix is not None else None,
        "fixes_together": one.sense.together,
        "undecided": list(one.sense.undecided),
        "other_fixes": [fix_shape(fix, found) for fix in one.sense.fixes[1:]],
        "hint_url": f"runbook:{RUNBOOK}#{one.cause.section}",
    }


def fix_shape(fix: Fix, found: Diagnosis) -> dict[str, Any]:
    """A fix, with whether it has to be approved."""
    return {
        "title": fix.title,
        "command": fix.command or None,
        "action": fix.action or None,
        "params": dict(fix.params),
        "where": fix.where,
        "then": fix.then or None,
        "needs_approval": needs_policy(fix) in found.asks,
    }


def _unknown(symptom: str) -> WrongUsage:
    return WrongUsage(
        f"There is no symptom {symptom[:60]!r}.",
        cause=f"It is one of: {', '.join(causes.BY_SYMPTOM)}.",
        fix="Leave it out, and everything is looked at.",
        code="symptom_unknown",
    )
