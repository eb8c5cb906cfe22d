"""What a diagnosis is made of: checks that look, causes that follow from what was seen, fixes that act.

Checks never change anything. A cause is a row: how it is told from what the checks saw, what it
means, and the smallest fix. The engine knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fedtui.core.acts.table import ActTable
from fedtui.core.trust.site import Site

Scope = Literal["node", "peer", "token", "decision", "grant", "approval"]
State = Literal["ok", "bad", "unknown", "skipped"]
RUNBOOK = "federation-troubleshooting"
"""The user's document, which every cause points into."""
ESCALATION = "escalation"
"""The symptom of whoever has none: everything is looked at, and handed up."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A value that was seen: what it is, where it was read, and when."""

    what: str
    value: Any
    source: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to. `facts` are for the causes, `evidence` is for people."""

    state: State
    said: str
    evidence: tuple[Evidence, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: the node itself, or one peer, token, decision, grant or approval; `label` is for people."""

    scope: Scope
    id: str = ""
    label: str = ""
    peer_id: str | None = None
    secret: str = field(default="", repr=False)


@dataclass
class Case:
    """One subject under examination, with what was seen so far. `asked` says that a person pointed at it."""

    site: Site
    table: ActTable
    now: datetime
    subject: Subject
    asked: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def fact(self, name: str, default: Any = None) -> Any:
        """A fact that any of the checks has established."""
        for outcome in self.outcomes.values():
            if name in outcome.facts:
                return outcome.facts[name]
        return default

    def seen(self, name: str, value: Any, source: str) -> Evidence:
        """Evidence read just now."""
        return Evidence(name, value, source, self.now)


@dataclass(frozen=True, slots=True)
class Check:
    """A row: something to look at. It is skipped where one of `needs` did not come to `ok`."""

    name: str
    scope: Scope
    title: str
    look: Callable[[Case], Outcome]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fix:
    """The smallest change that helps: in words, as a command, and as an act with its parameters.

    `where` is `here`, or `there` for what only the other platform's operator can do.
    """

    title: str
    command: str = ""
    action: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    where: Literal["here", "there"] = "here"


@dataclass(frozen=True, slots=True)
class Sense:
    """That a cause holds: what it rests on, and how to mend it, the smallest fix first."""

    because: str
    evidence: Sequence[Evidence] = ()
    fixes: Sequence[Fix] = ()
    undecided: tuple[str, ...] = ()
    """Codes that it could be as well, where that cannot be told from here."""
    together: bool = False
    """Whether the fixes are steps of one change, each needed; otherwise each does by itself."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the catalogue (domain, section 9).

    `holds` tells it from what was seen; `rank` orders several, the root first; it is not named where
    one of `after` is found, which then explains it. `could_be` is what else it might look like.
    """

    code: str
    symptom: str
    scope: Scope
    severity: str
    rank: int
    means: str
    could_be: str
    section: str
    holds: Callable[[Case], Sense | None]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a person sees. `also` are symptoms whose causes are looked for with it."""

    name: str
    title: str
    seen: str
    section: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that holds for a subject."""

    cause: Cause
    subject: Subject
    sense: Sense

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two findings the same."""
        return self.cause.code, self.subject.scope, self.subject.id

    @property
    def fix(self) -> Fix | None:
        """The smallest fix, if there is one."""
        return self.sense.fixes[0] if self.sense.fixes else None
