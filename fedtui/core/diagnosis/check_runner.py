"""Running checks: many at once, each as soon as what it needs is known, each within its own limit."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedtui.core.diagnosis.model import CaseContext, Check, Outcome, Subject
from fedtui.core.errors import Problem

log = logging.getLogger(__name__)
AT_ONCE = 24


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one subject, ended."""

    subject: Subject
    check: Check
    outcome: Outcome


Tell = Callable[[CheckResult], object]
Job = tuple[int, str]
"""A check of a case: the case's place, and the check's name."""


def run(cases: Sequence[CaseContext], checks: Sequence[Check], tell: Tell, *, limit: float) -> list[CheckResult]:
    """Every check of every case, in the order in which they end; what has not ended after `limit` seconds is
    unknown. `tell` gets each, in this thread."""
    return CheckRunner(cases, checks, tell, limit).all()


class CheckRunner:
    """One run. A check that takes too long is left to itself: its thread is a daemon's, holds nobody up, and what
    it finds in the end is thrown away."""

    def __init__(self, cases: Sequence[CaseContext], checks: Sequence[Check], tell: Tell, limit: float) -> None:
        self._todo: dict[Job, tuple[CaseContext, Check]] = {
            (place, check.name): (case, check)
            for place, case in enumerate(cases)
            for check in checks
            if check.scope == case.subject.scope
        }
        self._running: dict[Job, tuple[CaseContext, Check, float]] = {}
        self._ended: queue.SimpleQueue[tuple[Job, Outcome]] = queue.SimpleQueue()
        self._tell = tell
        self._until = time.monotonic() + limit
        self._bound = f"The {limit:g} s for all checks were over."
        self._seen: list[CheckResult] = []

    def all(self) -> list[CheckResult]:
        """Run them all."""
        while self._todo or self._running:
            self._begin()
            if self._running:
                self._await()
        return self._seen

    def _begin(self) -> None:
        """Begin what can begin, and pass over what needs what did not come to `ok`."""
        for job, (case, check) in list(self._todo.items()):
            known = {name: case.outcomes[name].state for name in check.needs if name in case.outcomes}
            failed = next((name for name, state in known.items() if state != "ok"), None)
            if failed is not None:
                del self._todo[job]
                self._end(case, check, Outcome("skipped", f"Not looked at: {failed.replace('_', ' ')} comes first."))
            elif len(known) == len(check.needs) and len(self._running) < AT_ONCE:
                del self._todo[job]
                self._running[job] = (case, check, min(time.monotonic() + check.limit, self._until))
                threading.Thread(
                    target=self._one, args=(job, case, check), name=f"check-{check.name}", daemon=True
                ).start()

    def _one(self, job: Job, case: CaseContext, check: Check) -> None:
        self._ended.put((job, _outcome(case, check)))

    def _await(self) -> None:
        """Take the next that ends, or give up those whose time is over."""
        next_limit = min(until for _, _, until in self._running.values())
        try:
            job, outcome = self._ended.get(timeout=max(next_limit - time.monotonic(), 0))
        except queue.Empty:
            self._give_up(time.monotonic())
            return
        if job in self._running:  # else it was given up before
            case, check, _ = self._running.pop(job)
            self._end(case, check, outcome)

    def _give_up(self, now: float) -> None:
        for job, (case, check, until) in list(self._running.items()):
            if until <= now:
                del self._running[job]
                bound = self._bound if now >= self._until else f"It took longer than its {check.limit:g} s."
                self._end(case, check, Outcome("unknown", bound))
        if now >= self._until:
            for case, check in self._todo.values():
                self._end(case, check, Outcome("unknown", self._bound))
            self._todo.clear()

    def _end(self, case: CaseContext, check: Check, outcome: Outcome) -> None:
        case.outcomes[check.name] = outcome
        self._seen.append(CheckResult(case.subject, check, outcome))
        self._tell(self._seen[-1])


def _outcome(case: CaseContext, check: Check) -> Outcome:
    """What a check comes to. What it cannot see is unknown, and why; it ends no other."""
    try:
        return check.look(case)
    except Problem as problem:
        return Outcome("unknown", f"{problem.problem} {problem.cause}".strip())
    except Exception as error:
        log.exception("[Playbook] the check %s failed", check.name)
        return Outcome("unknown", f"The check itself failed: {type(error).__name__}.")
