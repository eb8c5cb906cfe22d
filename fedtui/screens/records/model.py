"""Kinds of records: what a place of the console shows and can do, as data.

A list screen and a screen for one record work from it; a new place is a new `Kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.peers.columns import Paragraph
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.widgets.columns import Column
from fedtui.screens.widgets.reading import HasId
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.screens.shell.console_context import ConsoleContext
    from fedtui.screens.shell.node_handle import NodeHandle

L = TypeVar("L", bound=HasId)
NOT_PARAMS = ("name", "reason")
"""Answers that are for the dialog, and the reason, which is asked for in an empty field, too."""


def _fits(_line: Any) -> str:
    return ""


def _done(_outcome: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class RecordAct(Generic[L]):
    """A row: what is asked before an act, what it becomes, and the records it is for.

    `ask` gets the records and, where `needs_records` says so, each in full by its id. `fits`
    says in a sentence why it is not for a record, or nothing. By default the answers go to the
    gate as the core's `action`, the record's id under `target`; `perform` does otherwise. `weigh`
    says what the answers would bring about, beside the event loop, while they are typed.
    `told` says in a line what came of it, where `done` does not say enough.
    """

    ask: Callable[[Sequence[L], Mapping[str, Any]], Question]
    doing: str
    done: str
    action: str = ""
    target: str = ""
    params: Callable[[Answers], Mapping[str, Any]] = dict
    fits: Callable[[L], str] = _fits
    needs_records: bool = False
    perform: Callable[[NodeHandle, L, Answers], Any] | None = None
    weigh: Callable[[NodeHandle, L, Answers], str] | None = None
    told: Callable[[Any], str] = _done

    def run(self, node: NodeHandle, line: L | None, answers: Answers) -> Any:
        """Do it, beside the event loop: the gate's outcome."""
        if self.perform is not None and line is not None:
            return self.perform(node, line, answers)
        reason = answers.get("reason", "").strip()
        asked = {key: answer for key, answer in self.params(answers).items() if key not in NOT_PARAMS}
        target = {self.target: line.id} if line is not None else {}
        given = {**asked, **target, **({"reason": reason} if reason else {})}
        return node.request(node.actor(ORIGIN), self.action, given, reason=reason or None)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[L]):
    """A place of the console. `place` is how `:` and deep links write it, `noun` one of its records.

    `name` is short, for sentences; `label` tells a record apart in a list of targets. `views` are
    looks at a part of the records, the first of them first. In a `tail`, the cursor on the first line
    stays with what comes first, whatever comes. `same` says why several records
    cannot be acted on together, or nothing.
    """

    place: str
    title: str
    noun: str
    acts: Mapping[str, RecordAct[L]]
    first_sort: str
    empty: Empty
    columns: Callable[[ConsoleContext], Sequence[Column[L]]]
    name: Callable[[L], str]
    label: Callable[[L], str]
    describe: Callable[[L, datetime, ConsoleContext], Iterable[Paragraph]]
    describe_record: Callable[[Any, datetime], Iterable[Paragraph]]
    record: Callable[[NodeHandle, str], Any]
    views: tuple[str, ...] = ("",)
    tail: bool = False
    same: Callable[[str, Sequence[L]], str] = lambda _name, _lines: ""

    def about(self, line: L) -> str:
        """What the doctor is to look at, for a record: `peer:ID`, `grant:ID` or `approval:ID`."""
        if self.place in ("approvals", "grants"):
            return f"{self.place.removesuffix('s')}:{line.id}"
        peer_id = line.id if self.place == "peers" else getattr(line, "peer_id", None)
        return f"peer:{peer_id}" if peer_id else ""

    def refusal(self, name: str, line: L) -> str:
        """Why a command is not for this record, in a sentence; empty if it is."""
        act = self.acts.get(name)
        return act.fits(line) if act is not None else ""

    def question(self, name: str, lines: Sequence[L], records: Mapping[str, Any]) -> tuple[Sequence[L], Question]:
        """Those of the records that the command is for, and what to ask; the others are named, too."""
        left_out = [line for line in lines if self.refusal(name, line)]
        fitting = [line for line in lines if line not in left_out]
        why = self.refusal(name, left_out[0]) if left_out and not fitting else self.same(name, fitting)
        if why:
            return [], Question("", (why,), "")
        question = self.acts[name].ask(fitting, records)
        if left_out:
            told = f"Left out, because of their state: {', '.join(map(self.label, left_out))}"
            question = replace(question, happens=(*question.happens, told))
        return fitting, question
