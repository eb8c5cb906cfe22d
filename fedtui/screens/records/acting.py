"""Acting on records: ask, act beside the event loop, tell what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.tell import Told, invite_shown
from fedtui.screens.dialogs.wait import Waiting
from fedtui.screens.records.model import Kind, L, RecordAct
from fedtui.screens.shell.commands import BY_NAME, Command
from fedtui.screens.shell.console_context import Records
from fedtui.screens.shell.data_freshness import UNDONE, Trouble, trouble
from fedtui.screens.shell.frame import Frame
from fedtui.screens.shell.next_step import waits_for_approval

QUICK_SECONDS = 0.3
"""Work that is over by then shows no dialog of its own."""
MOST_NAMED = 3
HELPS: Mapping[str, str] = {
    "token_mangled": "accept",
    "invite_invalid": "accept",
    "peer_not_found": "refresh",
    "approval_stale": "refresh",
    "approval_not_open": "refresh",
    "database_unavailable": "refresh",
}
"""The command that does the fix, by the problem's code."""


class Acting(Frame, Generic[L]):
    """A screen with acts on records of a kind. Subclasses say which records a command acts on."""

    kind: Kind[L]

    def selected(self, command: Command) -> list[str]:
        """The ids of the records that a command acts on."""
        return []

    async def line_of(self, id: str) -> L | None:
        """The record's line as it is now, or None."""

        def read() -> L | None:
            source: Records[L] = self.shared.source_of(self.shared.opened_node(), self.kind.place)
            return next(iter(source.lines([id])), None)

        return await self.shared.aside.run(read)

    def do_doctor(self) -> None:
        """Begin the wizard with the record under the cursor."""
        [id] = self.selected(BY_NAME["doctor"])

        async def begin() -> None:
            line = await self.line_of(id)
            about = self.kind.about(line) if line is not None else ""
            if about:
                self.go(f"playbook/{about}")
            else:
                self.say("There is nothing to examine behind this one.")

        self.app.run_worker(begin(), group="act", exit_on_error=False)

    def action_run(self, name: str) -> None:
        """Run a command; acts on records go the way of their table."""
        if name not in self.kind.acts:
            super().action_run(name)
            return
        command = BY_NAME[name]
        if reason := self.refusal(command):
            self.say(reason)
        else:
            self.shared.ahead.expecting = True
            self.act(command)

    def act(self, command: Command) -> None:
        """Begin to act, beside whatever else goes on."""
        self.app.run_worker(self._act(command), group="act", exit_on_error=False)

    def acted(self, ids: Sequence[str], *, all_done: bool) -> None:
        """It is done to these; `all_done` if nothing failed."""

    async def _act(self, command: Command) -> None:
        drafts, draft = self.shared.drafts, self._draft(command, ())
        try:
            lines, question = await self._asked(command, self.selected(command))
            if not question.confirm:
                self.shared.ahead.forget()
                self.say(" ".join(question.happens))
                return
            draft = self._draft(command, lines)
            question = drafts.fill(draft, question)
            asking = Ask(question, refusal=lambda: self.shared.refusal(command), aside=self.shared.aside)
            asked = self.app.push_screen(asking, wait_for_dismiss=True)
            self.shared.ahead.expecting = False
            answers = await asked
            if answers is not None:
                drafts.keep(draft, question, answers)
                await self._perform(command, lines, answers)
        except Exception as error:
            self.shared.ahead.forget()
            await self.tell_trouble(error, remark=drafts.kept(draft))

    def _draft(self, command: Command, lines: Sequence[L]) -> tuple[str, ...]:
        """What the answers to a command on these records are kept under."""
        return (self.kind.place, command.name, *sorted(line.id for line in lines))

    async def _asked(self, command: Command, ids: Sequence[str]) -> tuple[Sequence[L], Question]:
        """The records as they are now, also those that a filter hides, and what to ask about them."""
        kind, node = self.kind, self.shared.opened_node()

        def read() -> tuple[Sequence[L], Question]:
            source: Records[L] = self.shared.source_of(node, kind.place)
            found = source.lines(ids) if ids else []
            wanted = found if kind.acts[command.name].needs_records else ()
            records = {line.id: record for line in wanted if (record := kind.record(node, line.id)) is not None}
            fitting, question = kind.question(command.name, found, records)
            weigh = kind.acts[command.name].weigh
            if weigh is not None and fitting:
                question = replace(question, weigh=partial(weigh, node, fitting[0]))
            return fitting, question

        return await self.shared.aside.run(read)

    async def _perform(self, command: Command, lines: Sequence[L], answers: Answers) -> None:
        """Act on one after the other; leaving the waiting stops after the one at hand."""
        node, act = self.shared.opened_node(), self.kind.acts[command.name]
        outcomes: list[tuple[L | None, Any]] = []
        targets: Sequence[L | None] = lines or [None]
        left = False

        async def all_of_them() -> None:
            for line in targets:
                if left:
                    return
                try:
                    outcome = await self.shared.acting.run(lambda line=line: act.run(node, line, answers))  # type: ignore[misc]
                except Exception as error:
                    outcome = error
                outcomes.append((line, outcome))

        work = asyncio.ensure_future(all_of_them())
        left = await self.left(work, act.doing, lambda: f"{len(outcomes)} of {len(targets)},")
        await work
        done = [line for line, outcome in outcomes if not isinstance(outcome, Exception)]
        self.acted([line.id for line in done if line is not None], all_done=len(done) == len(outcomes))
        drafts, draft = self.shared.drafts, self._draft(command, lines)
        remark = drafts.kept(draft)
        rest = self._draft(command, [line for line in lines if line not in done])
        drafts.move(draft, rest if len(done) < len(targets) else None)
        await self._tell(act, outcomes, of=len(targets), remark=remark)

    async def left(self, work: asyncio.Future[Any], doing: str, progress: Callable[[], str] = str) -> bool:
        """Wait for work, in a dialog if it takes its time; whether the operator left it before its end."""
        await asyncio.wait({work}, timeout=QUICK_SECONDS)
        if work.done() or await self.app.push_screen_wait(Waiting(f"{doing} ...", work, progress=progress)):
            return False
        self.say("It goes on without the waiting, and stops after what is at hand. You will be told.")
        return True

    async def _tell(self, act: RecordAct[L], outcomes: Sequence[tuple[L | None, Any]], *, of: int, remark: str) -> None:
        """What became of it: failures in a dialog, a secret in its own, the rest in a line."""
        failed = [(line, outcome) for line, outcome in outcomes if isinstance(outcome, Exception)]
        worked = [(line, outcome) for line, outcome in outcomes if not isinstance(outcome, Exception)]
        waiting = [outcome.approval for _, outcome in worked if hasattr(outcome, "approval")]
        for _, outcome in worked:
            result = getattr(outcome, "result", None) or {}
            if "invite" in result:
                await self.app.push_screen_wait(invite_shown(result))
        if worked:
            told = "" if waiting or len(worked) > 1 else act.told(worked[0][1])
            done = self._done(act, [line for line, _ in worked if line is not None])
            self.say(waits_for_approval(waiting) if waiting else told or done)
        if failed:
            told_of = self._failures(failed, of) if of > 1 else None
            await self.tell_trouble(failed[0][1], told_of, remark=remark)
        elif len(outcomes) < of:
            self.say(f"Stopped: {len(outcomes)} of {of} {act.done}.")

    async def tell_trouble(self, error: Exception | None, told: Trouble | None = None, *, remark: str = "") -> None:
        """A dialog with problem, cause, fix, and the key that does it where there is one."""
        helps = HELPS.get(getattr(error, "code", ""), "")
        fix = BY_NAME[helps].help if helps else ""
        if told is None and error is not None:
            told = trouble(error, what=UNDONE)
        if (
            told is not None
            and await self.app.push_screen_wait(Told(told, fix=fix, remark=remark))
            and helps
            and self.is_current
        ):
            self.action_run(helps)

    def _done(self, act: RecordAct[L], lines: Sequence[L]) -> str:
        if len(lines) > MOST_NAMED:
            return f"{len(lines)} {self.kind.place}: {act.done}."
        return f"{', '.join(map(self.kind.name, lines)) or 'Done'}: {act.done}."

    def _failures(self, failed: Sequence[tuple[L | None, Any]], of: int) -> Trouble:
        """Several failures in one: each record with its own problem."""
        said = (f"{self.kind.name(line)}: {trouble(error).problem}" for line, error in failed if line)
        return Trouble(f"{len(failed)} of {of} were refused or failed.", "\n".join(said), trouble(failed[0][1]).fix)
