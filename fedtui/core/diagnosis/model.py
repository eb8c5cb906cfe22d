"""What a diagnosis is made of: checks that look, causes that follow from what was seen, fixes that act.

Checks never change anything. A cause is a row: how it is told from what the checks saw, what it
means, and the smallest fix. The engine knows none of them by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from fedtui.core.operations.operation import OperationTable
from fedtui.core.pki.node_context import NodeContext

Scope = Literal["node", "peer", "token", "decision", "grant", "approval"]
State = Literal["ok", "bad", "unknown", "skipped"]
RUNBOOK = "federation-troubleshooting"
"""The user's document, which every cause points into."""
RECORD_SECONDS = 10.0
"""The limit of a check that reads this node's own record, and calls nobody: as long as the database waits."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}")
ESCALATION = "escalation"
"""The symptom of whoever has none: everything is looked at, and handed up."""


def in_words(value: Any) -> str:
    """A value as people read it: yes or no; times in one form, also those that a remote or a transcript has as text."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {in_words(one)}" for key, one in value.items()) or "none"
    moment = _moment(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%F %H:%M:%S} UTC" if isinstance(moment, datetime) else str(value)


def sentence(text: str) -> str:
    """A phrase, as records hold them, as a sentence that can stand beside others."""
    begun = text if text.startswith(("http://", "https://")) else text[:1].upper() + text[1:]
    return begun if not begun or begun.endswith((".", "?", "!")) else f"{begun}."


def without_code(error: str) -> str:
    """An error as it is kept, without the code before its colon."""
    code, colon, words = error.partition(": ")
    return words if colon and _CODE.fullmatch(code) else error


_CODE = re.compile("[a-z]+(_[a-z0-9]+)+")


def _moment(text: str) -> datetime | None:
    """The time that a text is, whole."""
    try:
        moment = datetime.fromisoformat(text) if _TIME.match(text) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


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

    @property
    def key(self) -> tuple[str, str]:
        """What makes two the same, whatever they are called."""
        return self.scope, self.id


@dataclass
class CaseContext:
    """One subject under examination, with what was seen so far. `asked` says that a person pointed at it, `symptom`
    which symptom was asked about."""

    site: NodeContext
    table: OperationTable
    now: datetime
    subject: Subject
    asked: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    symptom: str | None = None

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
    """A row: something to look at. It is skipped where one of `needs` did not come to `ok`, and unknown where it
    takes longer than `limit` seconds."""

    name: str
    scope: Scope
    title: str
    look: Callable[[CaseContext], Outcome]
    needs: tuple[str, ...] = ()
    limit: float = RECORD_SECONDS


@dataclass(frozen=True, slots=True)
class Fix:
    """The smallest change that helps: in words, as a command, and as an act with its parameters.

    `where` is `here`, or `there` for what only the other platform's operator can do. `then` is what is left for
    people once the act is carried out; `{name}` in it stands for a value of the act's result.
    """

    title: str
    command: str = ""
    action: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    where: Literal["here", "there"] = "here"
    then: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether it is for a person to do, here or on the other side: no act of this node carries it out."""
        return not self.action or self.where == "there"


@dataclass(frozen=True, slots=True)
class Match:
    """That a cause holds: what it rests on, and how to mend it, the smallest fix first."""

    because: str
    evidence: Sequence[Evidence] = ()
    fixes: Sequence[Fix] = ()
    undecided: tuple[str, ...] = ()
    """Codes that it could be as well, where that cannot be told from here."""
    together: bool = False
    """Whether the fixes are steps of one change, each needed; otherwise each does by itself."""
    after: tuple[str, ...] = ()
    """Causes of calls that were refused here to the same peer, or of this node: where one is found, it explains
    this."""
    severity: str = ""
    """Where it is graver, or less grave, than its cause mostly is."""
    expected: bool = False
    """Whether this is as an operator decided, or waits within its time: reported as a note, never as a finding."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the catalogue (domain, section 9).

    `holds` tells it from what was seen; `rank` orders several, the root first; it is not named where
    one of `after` is found, which then explains it. `could_be` is what else it might look like. `also` are other
    symptoms under which a person might look for it.
    """

    code: str
    symptom: str
    scope: Scope
    severity: str
    rank: int
    means: str
    could_be: str
    section: str
    holds: Callable[[CaseContext], Match | None]
    after: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


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
    sense: Match

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two findings the same."""
        return self.cause.code, self.subject.scope, self.subject.id

    @property
    def severity(self) -> str:
        """How grave it is: as its cause mostly is, unless what was seen says otherwise."""
        return self.sense.severity or self.cause.severity

    @property
    def stays(self) -> bool:
        """Whether it is about what is over and can only be answered: a token, or the call of one who is no peer. No
        check of it passes any more, so that an incident about it is ended by hand."""
        return self.subject.scope == "token" or (self.subject.scope == "decision" and self.subject.peer_id is None)

    @property
    def fix(self) -> Fix | None:
        """The smallest fix, if there is one."""
        return self.sense.fixes[0] if self.sense.fixes else None
