"""Acting on peers: ask, act beside the event loop, tell what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.commands import BY_NAME, Command
from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.tell import Secret, Told
from fedtui.screens.dialogs.wait import Waiting
from fedtui.screens.frame import Frame
from fedtui.screens.peer_acts import PEER_ACTS, PeerAct, question_for
from fedtui.screens.trouble import Trouble, trouble
from fedtui.screens.words import address

if TYPE_CHECKING:
    from fedtui.core.peering.listing import PeerLine

Outcome = tuple["PeerLine | None", Any]
ORIGIN = "console"
QUICK_SECONDS = 0.3
"""Work that is over by then shows no dialog of its own."""
MOST_NAMED = 3
WHAT = "That could not be done."
HELPS: Mapping[str, str] = {
    "token_mangled": "accept",
    "invite_invalid": "accept",
    "peer_not_found": "refresh",
    "database_unavailable": "refresh",
}
"""The command that does the fix, by the problem's code."""


class PeerActing(Frame):
    """A screen with acts on peers. Subclasses say which peers a command acts on."""

    def selected(self, command: Command) -> list[str]:
        """The ids of the peers that a command acts on."""
        return []

    def action_run(self, name: str) -> None:
        """Run a command; acts on peers go the way of their table."""
        if name not in PEER_ACTS and name != "heartbeat":
            super().action_run(name)
            return
        command = BY_NAME[name]
        if reason := self.refusal(command):
            self.say(reason)
        else:
            self.shared.ahead.expecting = name in PEER_ACTS
            self.app.run_worker(self._act(command), group="act", exit_on_error=False)

    def acted(self, ids: Sequence[str]) -> None:
        """These were acted on."""

    async def _act(self, command: Command) -> None:
        try:
            ids = self.selected(command)
            if command.name == "heartbeat":
                await self._heartbeat(ids[0])
                return
            lines, question = await self._asked(command, ids)
            if not question.confirm:
                self.shared.ahead.forget()
                self.say(" ".join(question.happens))
                return
            asking = Ask(question, refusal=lambda: self.shared.refusal(command))
            asked = self.app.push_screen(asking, wait_for_dismiss=True)
            self.shared.ahead.expecting = False
            answers = await asked
            if answers is not None:
                await self._perform(PEER_ACTS[command.name], lines, answers)
        except Exception as error:
            self.shared.ahead.forget()
            await self._told(error)

    async def _asked(self, command: Command, ids: Sequence[str]) -> tuple[Sequence[PeerLine], Question]:
        """The peers as they are now, also those that a filter hides, and what to ask about them."""
        act, node = PEER_ACTS[command.name], self.shared.opened_node()

        def read() -> tuple[Sequence[PeerLine], Question]:
            found = self.shared.peers_of(node).lines(ids) if ids else []
            record = node.peer_record(found[0].id) if act.needs_record and found else None
            return question_for(command.name, found, record)

        return await self.shared.aside.run(read)

    async def _perform(self, act: PeerAct, lines: Sequence[PeerLine], answers: Answers) -> None:
        """Act on one after the other; leaving the waiting stops after the one at hand."""
        node = self.shared.opened_node()
        outcomes: list[Outcome] = []
        targets: Sequence[PeerLine | None] = lines or [None]
        left = False

        async def all_of_them() -> None:
            for line in targets:
                if left:
                    return
                params, reason = act.given(answers, line)
                try:
                    outcome = await self.shared.acting.run(
                        lambda params=params, reason=reason: node.request(  # type: ignore[misc]
                            node.actor(ORIGIN), act.action, params, reason=reason
                        )
                    )
                except Exception as error:
                    outcome = error
                outcomes.append((line, outcome))

        work = asyncio.ensure_future(all_of_them())
        left = await self._left(work, act.doing, lambda: f"{len(outcomes)} of {len(targets)},")
        await work
        self.acted([line.id for line, _ in outcomes if line is not None])
        await self._tell(act, outcomes, of=len(targets))

    async def _left(self, work: asyncio.Future[Any], doing: str, progress: Callable[[], str] = str) -> bool:
        """Wait for work, in a dialog if it takes its time; whether the operator left it before its end."""
        await asyncio.wait({work}, timeout=QUICK_SECONDS)
        if work.done() or await self.app.push_screen_wait(Waiting(f"{doing} ...", work, progress=progress)):
            return False
        self.say("It goes on without the waiting, and stops after what is at hand. You will be told.")
        return True

    async def _tell(self, act: PeerAct, outcomes: Sequence[Outcome], *, of: int) -> None:
        """What became of it: failures in a dialog, a secret in its own, the rest in a line."""
        failed = [(line, outcome) for line, outcome in outcomes if isinstance(outcome, Exception)]
        worked = [(line, outcome) for line, outcome in outcomes if not isinstance(outcome, Exception)]
        waiting = [outcome.approval for _, outcome in worked if hasattr(outcome, "approval")]
        for _, outcome in worked:
            result = getattr(outcome, "result", {})
            if "invite" in result:
                await self._show_invite(result)
        if worked:
            self.say(_waits(waiting) if waiting else _done(act, [line for line, _ in worked if line is not None]))
        if failed:
            await self._told(failed[0][1], _failures(failed, of) if of > 1 else None)
        elif len(outcomes) < of:
            self.say(f"Stopped: {len(outcomes)} of {of} {act.done}.")

    async def _show_invite(self, result: Mapping[str, Any]) -> None:
        until = f"Good until {result['expires_at']:%F %H:%M} UTC, once."
        how = "Hand it to the other platform's operator, who takes it up there by", "fedtui peers accept --invite -"
        await self.app.push_screen_wait(Secret("Invite", str(result["invite"]), remarks=(until, *how)))

    async def _heartbeat(self, peer_id: str) -> None:
        node = self.shared.opened_node()
        work = asyncio.ensure_future(self.shared.acting.run(lambda: node.heartbeat_now(node.actor(ORIGIN), peer_id)))
        await self._left(work, "Sending a heartbeat")
        failure = await work
        if failure is None:
            self.say("The peer answered.")
            return
        _, _, said = failure.partition(": ")
        fix = "See that its daemon runs, that it can be reached from here, and that the certificates hold."
        await self._told(None, Trouble("The heartbeat did not arrive.", said or failure, fix))

    async def _told(self, error: Exception | None, told: Trouble | None = None) -> None:
        """A dialog with problem, cause, fix, and the key that does it where there is one."""
        helps = HELPS.get(getattr(error, "code", ""), "")
        fix = BY_NAME[helps].help if helps else ""
        if told is None and error is not None:
            told = trouble(error, what=WHAT)
        if told is not None and await self.app.push_screen_wait(Told(told, fix=fix)) and helps and self.is_current:
            self.action_run(helps)


def _waits(waiting: Sequence[Any]) -> str:
    first = waiting[0]
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return f"Waits for approval until {first.expires_at:%H:%M} UTC{more}: fedtui approvals show {first.id[:13]}"


def _done(act: PeerAct, lines: Sequence[PeerLine]) -> str:
    if len(lines) > MOST_NAMED:
        return f"{len(lines)} peers: {act.done}."
    return f"{', '.join(address(line.remote_instance_url) for line in lines) or 'Done'}: {act.done}."


def _failures(failed: Sequence[Outcome], of: int) -> Trouble:
    """Several failures in one: each peer with its own problem."""
    said = (f"{address(line.remote_instance_url)}: {trouble(error).problem}" for line, error in failed if line)
    return Trouble(f"{len(failed)} of {of} were refused or failed.", "\n".join(said), trouble(failed[0][1]).fix)
