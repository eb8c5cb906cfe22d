"""The engine: runs the checks, many at once, and concludes. It serves the wizard, the doctor and MCP alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedtui.core.acts.table import ActTable
from fedtui.core.control import policies
from fedtui.core.errors import Problem, WrongUsage
from fedtui.core.playbook import causes
from fedtui.core.playbook.checks import CHECKS
from fedtui.core.playbook.model import RUNBOOK, Case, Cause, Check, Finding, Fix, Outcome, Subject
from fedtui.core.playbook.survey import NODE, Survey, Wanted, survey
from fedtui.core.record.events import SEVERITIES
from fedtui.core.trust.site import Site

log = logging.getLogger(__name__)
AT_ONCE = 24
LIMIT_SECONDS = 30.0
"""For all checks together. What has not come by then is unknown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One check of one subject, ended."""

    subject: Subject
    check: Check
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was seen and what follows from it; the root cause first."""

    checked_at: datetime
    seconds: float
    seen: tuple[Seen, ...]
    findings: tuple[Finding, ...]
    left_out: int = 0

    @property
    def beside(self) -> tuple[Seen, ...]:
        """Checks that failed though no cause was found: something is wrong, and not what was asked about."""
        return () if self.findings else tuple(one for one in self.seen if one.outcome.state == "bad")


Tell = Callable[[Seen], object]


def diagnose(site: Site, table: ActTable, wanted: Wanted, tell: Tell = lambda _seen: None) -> Diagnosis:
    """Look at what is wanted and name the causes. Changes nothing.

    `tell` gets each check as it ends, in this thread. Raises `WrongUsage` for an unknown symptom,
    `NotFound` for a thing that is not there.
    """
    began, now = time.monotonic(), site.clock.now()
    if wanted.symptom is not None and wanted.symptom not in causes.BY_SYMPTOM:
        raise _unknown(wanted.symptom)
    with site.read() as session:
        found: Survey = survey(session, site, now, wanted)
    cases = [Case(site, table, now, subject, wanted.pointed) for subject in found.subjects]
    seen = _look(cases, tell)
    findings = _conclude(cases, causes.of(wanted.symptom))
    return Diagnosis(now, round(time.monotonic() - began, 3), tuple(seen), findings, found.left_out)


def _look(cases: Sequence[Case], tell: Tell) -> list[Seen]:
    """Run every check of every case, each as soon as what it needs is known."""
    seen: list[Seen] = []
    todo = [(case, check) for case in cases for check in CHECKS if check.scope == case.subject.scope]
    running: dict[Future[Outcome], tuple[Case, Check]] = {}
    until = time.monotonic() + LIMIT_SECONDS
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check")

    def ended(case: Case, check: Check, outcome: Outcome) -> None:
        case.outcomes[check.name] = outcome
        seen.append(Seen(case.subject, check, outcome))
        tell(seen[-1])

    try:
        while todo or running:
            later = []
            for case, check in todo:
                waits_for = [name for name in check.needs if name not in case.outcomes]
                failed = [name for name in check.needs if name in case.outcomes and case.outcomes[name].state != "ok"]
                if failed:
                    ended(case, check, Outcome("skipped", f"Not looked at: {failed[0].replace('_', ' ')} comes first."))
                elif waits_for:
                    later.append((case, check))
                else:
                    running[pool.submit(_one, case, check)] = (case, check)
            todo = later
            if not running:
                continue
            done, _ = wait(running, timeout=max(until - time.monotonic(), 0), return_when=FIRST_COMPLETED)
            for future in done:
                case, check = running.pop(future)
                ended(case, check, future.result())
            if not done:
                for case, check in running.values():
                    ended(case, check, Outcome("unknown", f"It took longer than {LIMIT_SECONDS:g} s."))
                running.clear()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return seen


def _one(case: Case, check: Check) -> Outcome:
    """One check. What it cannot see is unknown, and why; it ends no other."""
    try:
        return check.look(case)
    except Problem as problem:
        return Outcome("unknown", f"{problem.problem} {problem.cause}".strip())
    except Exception as error:
        log.exception("[Playbook] the check %s failed", check.name)
        return Outcome("unknown", f"The check itself failed: {type(error).__name__}.")


def _conclude(cases: Sequence[Case], table: Sequence[Cause]) -> tuple[Finding, ...]:
    """The causes that hold, without those that another explains, the root first."""
    found = [
        Finding(cause, case.subject, sense)
        for case in cases
        for cause in table
        if _is_for(cause, case.subject)
        if (sense := cause.holds(case)) is not None
    ]
    of_node = {one.cause.code for one in found if one.subject == NODE}

    def explained(one: Finding) -> bool:
        beside = {other.cause.code for other in found if other.subject == one.subject}
        return any(code in of_node or code in beside for code in one.cause.after)

    # Calls that one and the same change would let through are one finding; the newest of them stands for it.
    once: dict[Any, Finding] = {}
    for one in found:
        if not explained(one):
            once.setdefault((one.cause.code, one.subject.peer_id, repr(one.fix)) if one.fix else one.key, one)
    roots = once.values()
    return tuple(
        sorted(roots, key=lambda one: (one.cause.rank, -SEVERITIES.index(one.cause.severity), one.subject.label))
    )


def _is_for(cause: Cause, subject: Subject) -> bool:
    """Causes of refused tokens are told from a peer's record, from a token that somebody holds, and from an
    accept of ours that failed; those of refused calls also from a grant with which any call would be refused."""
    if subject.scope in ("token", "approval") and cause.symptom == "token_mismatch":
        return True
    return cause.scope == ("decision" if subject.scope == "grant" else subject.scope)


def worst(findings: Sequence[Finding]) -> str | None:
    """The highest severity among them."""
    return max((one.cause.severity for one in findings), key=SEVERITIES.index, default=None)


def shape(found: Diagnosis, *, fail_on: str = "low") -> dict[str, Any]:
    """A diagnosis as the contract has it (`doctor --json`)."""
    grave = [one for one in found.findings if SEVERITIES.index(one.cause.severity) >= SEVERITIES.index(fail_on)]
    return {
        "ok": not grave,
        "checked_at": found.checked_at,
        "duration_ms": round(found.seconds * 1000),
        "findings": [finding_shape(one, found) for one in found.findings],
        "failed_beside": [
            {"check": one.check.name, "subject": one.subject.label, "said": one.outcome.said} for one in found.beside
        ],
        "not_looked_at": found.left_out,
    }


def finding_shape(one: Finding, found: Diagnosis) -> dict[str, Any]:
    """A finding with its evidence: what the checks of its subject saw."""
    looked = [seen for seen in found.seen if seen.subject == one.subject]
    return {
        "symptom": one.cause.symptom,
        "cause": one.cause.code,
        "severity": one.cause.severity,
        "peer_id": one.subject.peer_id,
        "subject": one.subject.label,
        "subject_id": one.subject.id or None,
        "because": one.sense.because,
        "evidence": [
            {"check": seen.check.name, "what": item.what, "value": item.value, "source": item.source, "at": item.at}
            for seen in looked
            for item in seen.outcome.evidence
        ] + [{"check": None, "what": item.what, "value": item.value, "source": item.source, "at": item.at}
             for item in one.sense.evidence],
        "explanation": f"{one.cause.means} {one.sense.because}".strip(),
        "could_be": one.cause.could_be,
        "fix": fix_shape(one.fix) if one.fix is not None else None,
        "fixes_together": one.sense.together,
        "undecided": list(one.sense.undecided),
        "other_fixes": [fix_shape(fix) for fix in one.sense.fixes[1:]],
        "hint_url": f"runbook:{RUNBOOK}#{one.cause.section}",
    }  # fmt: skip


def fix_shape(fix: Fix) -> dict[str, Any]:
    """A fix, with whether it has to be approved."""
    rule = policies.RULES.get(fix.action)
    return {
        "title": fix.title,
        "command": fix.command or None,
        "action": fix.action or None,
        "params": dict(fix.params),
        "where": fix.where,
        "needs_approval": rule is not None and rule.policy == policies.ASK,
    }


def _unknown(symptom: str) -> WrongUsage:
    return WrongUsage(
        f"There is no symptom {symptom[:60]!r}.",
        cause=f"It is one of: {', '.join(causes.BY_SYMPTOM)}.",
        fix="Leave it out, and everything is looked at.",
        code="symptom_unknown",
    )
