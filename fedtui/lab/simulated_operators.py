"""Everybody but the one who practises: alpha's other operator, beta's people, whoever else has a part in the fix.

They do their part once they are told of it, and no sooner: by a fix that the wizard has written down as theirs, by
an incident that was handed up, by a request that waits for an approver. What they did, and what comes next, is said
in the notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fedtui.core.diagnosis import engine, incidents
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Problem
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.lab.faults.catalogue import FAULTS
from fedtui.lab.faults.model import BEN, HERE, THERE, Fault, Part, Range, theirs
from fedtui.lab.faults.staging import peer_of
from fedtui.lab.nodes import PROPOSER
from fedtui.lab.range import PracticeRange

STEP_SECONDS = 1.5
"""Between two looks at what the one who practises has done."""
READING_SECONDS = 3.0
"""How long an approver reads a request, so that it is seen waiting."""
END_SECONDS = 6.0
"""How long a part that is being played is waited for at the end; its thread is a daemon's."""
PREFIX = "Practice: "


class Told(NamedTuple):
    """A line of an incident that tells somebody of their part, or that it is for the one who practises."""

    id: str
    where: str
    action: str
    params: Mapping[str, Any]


class Done(NamedTuple):
    """What the incidents since the fault was staged say: the causes that were named, whether one of them is open,
    whether one that named a cause is closed, and who was told what, oldest first."""

    named: frozenset[str]
    open: bool
    closed: bool
    told: tuple[Told, ...]


class People:
    """Plays them on a thread of its own, from `start` to `end`. `say` gets each notice once; `leave` is the
    key that leaves."""

    def __init__(
        self,
        stand: PracticeRange,
        fault: Fault,
        look: Mapping[str, str],
        environment: Path,
        say: Callable[[str], object] = str,
        leave: str = "q",
    ) -> None:
        self._stand, self._fault, self._look, self._environment, self._say = stand, fault, look, environment, say
        self._over, self._leave = stand.over, leave
        self._heard: set[str] = set()
        self._read: set[str] = set()
        self._played: set[Part] = set()
        self._last = ""
        self._text = ""
        with stand.opened(HERE) as node:
            self._began = node.clock.now()  # what was done before is no part of the practice
        self._thread = threading.Thread(target=self._play, name="practice", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._tell(self._where_to_begin())
        self._thread.start()

    def end(self) -> None:
        """Stop: a part that is being played ends at its next wait."""
        self._over.set()
        self._thread.join(END_SECONDS)

    def notice(self) -> str:
        """What the console should say now."""
        return self._text

    def _tell(self, text: str) -> None:
        if PREFIX + text != self._text and not self._over.is_set():
            self._text = PREFIX + text
            self._say(self._text)

    def _play(self) -> None:
        while not self._over.wait(STEP_SECONDS):
            try:
                with self._stand.opened(HERE) as node:
                    self.step(node)
            except Exception as error:  # what went wrong is said, and the next look may go better
                self._tell(f"those who play the others are held up: {error}")

    def step(self, node: Node) -> None:
        """Look once at what was done, do what is asked for, and say what comes next."""
        done = self._done(node)
        for one in done.told:
            if one.id not in self._heard:
                self._heard.add(one.id)
                self._last = self._hear(one)
        waiting = self._waiting(node)
        if waiting:
            self._tell(f"{BEN}, your colleague, reads your request, and approves it.")
            if not self._over.wait(READING_SECONDS):
                self._approve(waiting)
            return
        self._tell(self._next(node, done))

    # --- what was done ----------------------------------------------------------------------------

    def _done(self, node: Node) -> Done:
        named: set[str] = set()
        told: list[Told] = []
        open_ = closed = False
        with node.read() as session:
            rows = [one for one in incidents.listing(session, limit=20) if one.opened_at >= self._began]
            for row in sorted(rows, key=lambda one: one.id):
                named |= set(row.causes)
                open_ = open_ or (bool(row.causes) and row.closed_at is None)
                closed = closed or (bool(row.causes) and row.closed_at is not None)
                told += filter(None, map(_told, incidents.transcript(session, row.id)))
        return Done(frozenset(named), open_, closed, tuple(told))

    def _waiting(self, node: Node) -> list[tuple[str, str]]:
        """What was asked for since the beginning and waits for the other operator."""
        with node.read() as session:
            rows = approvals.listing(session, status="pending")
        asked = [one for one in rows if one.requested_by == PROPOSER and one.requested_at >= self._began]
        return [(one.id, one.digest) for one in asked if one.id not in self._read]

    # --- what the others do -----------------------------------------------------------------------

    def _hear(self, told: Told) -> str:
        """Somebody is told: they do their part; what to say of it."""
        part = self._part_for(told)
        yours = f"yours. In another terminal, first: . {self._environment}"
        if part is None and told.where == "here":
            return yours
        if part is None:
            return "those at the other end cannot help with that. Look again, and take another of the fixes."
        self._tell(f"{part.whose}: told, and at it ...")
        try:
            part.do(self._stand)
        except Problem as problem:
            return yours if told.where == "here" else f"{part.whose}: it cannot be done yet. {problem.problem}"
        self._played.add(part)
        return f"{part.whose}: done. Look again in the wizard."

    def _part_for(self, told: Told) -> Part | None:
        """Whose part a line is about, which is still to be done. What is to be done here is another's only where
        none of it is for the one who practises, or where it is the other operator's."""
        mine_too = any(not one.played for one in self._fault.mend)
        for one in self._fault.mend:
            if one.played and one not in self._played and (told.where == "there" or not mine_too or one.whose == BEN):
                return one
        if told.where == "there" and told.action:
            return theirs(partial(_acts, told=told))
        return None

    def _approve(self, waiting: Sequence[tuple[str, str]]) -> None:
        self._last = f"{BEN} has approved it; the manager carries it out."
        with self._stand.opened(HERE, BEN) as node:
            for id, digest in waiting:
                self._read.add(id)
                try:
                    node.approve(node.actor("drill"), id, digest)
                except Problem as problem:
                    self._last = f"{BEN} cannot approve it. {problem.problem}"

    # --- what to say ------------------------------------------------------------------------------

    def _where_to_begin(self) -> str:
        """How the console leads to the fault."""
        if "token" in self._look:
            return f"somebody's accept is refused. 5, last line, and paste their token: {self._look['token']}"
        if "decision" in self._look:
            return f"somebody's call was turned away. Find out why: :playbook {self._fault.symptom}"
        if "approval" in self._look:
            return f"a request waits. Find out whom it waits for: fedtui doctor --approval {self._look['approval']}"
        if "peer" in self._look:
            return "something is wrong here. Find it: 1, then d on the peer."
        return "something is wrong here. Find it: :doctor-all"

    def _next(self, node: Node, done: Done) -> str:
        found, well = not done.named.isdisjoint(self._fault.causes), self._is_well(node)
        if not (found or well):
            return self._where_to_begin()
        if found and self._call_is_over and (done.closed or done.told):
            return (
                self._finished()
                if done.closed
                else "they are told. What was refused stays so: :end-incident ends it (guided: c)."
            )
        if not well:
            return self._last or "the cause is named. Carry out its fix, or tell others of it."
        return "all is well again. Look once more in the wizard: it proves it." if done.open else self._finished()

    @property
    def _call_is_over(self) -> bool:
        """Whether what is looked at is one call or token, which stays as it was."""
        return "token" in self._look or "decision" in self._look

    def _is_well(self, node: Node) -> bool:
        """Whether the two are at ease with each other, and the doctor finds nothing any more."""
        peer = peer_of(node)
        if self._call_is_over or peer.status != "active" or peer.last_outbound_error is not None:
            return False
        looks = {DiagnosisTarget(self._fault.symptom, peer=self._look.get("peer")), DiagnosisTarget()}
        return all(engine.diagnose(node, node.acts, wanted).well for wanted in looks)

    def _finished(self) -> str:
        names = [one.name for one in FAULTS]
        another = names[(names.index(self._fault.name) + 1) % len(names)]
        return f"well done. {self._leave} leaves. Another: fedtui demo --fault {another}"


def _acts(stand: Range, told: Told) -> None:
    """The act that a fix names, at the other side."""
    stand.act(THERE, told.action.removeprefix("system."), told.params)


def _told(line: incidents.Entry) -> Told | None:
    if line.kind == "escalated":
        return Told(line.id, "there", "", {})
    if line.kind == "act" and line.content.get("outcome") == "by_hand":
        content = line.content
        return Told(line.id, content.get("where") or "here", content.get("action") or "", content.get("params") or {})
    return None
