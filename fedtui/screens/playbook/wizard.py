"""The one wizard: look, name the cause, mend, prove. The next act is always on Enter; everything is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.tell import Told, invite_shown
from fedtui.screens.playbook import wizard_view as wizard_words
from fedtui.screens.playbook.wizard_state import WizardView
from fedtui.screens.shell.commands import DETAIL, EVERYWHERE, WIZARD, with_keys
from fedtui.screens.shell.console_context import ORIGIN
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.widgets.paint import Lines

if TYPE_CHECKING:
    from fedtui.core.diagnosis.model import Fix
    from fedtui.core.diagnosis.progress import IncidentState
    from fedtui.core.diagnosis.triage import DiagnosisTarget

T = TypeVar("T")
READER = "wizard"
LOOK_SECONDS = 0.25
WAIT_SECONDS, WATCH_SECONDS = 1.0, 2.0
POINTED = ("peer", "grant", "decision", "approval")


class WizardScreen(WizardView):
    """An incident, step by step. `what` is a symptom, `everything`, `peer:ID`, `grant:ID`, `decision:ID`,
    `approval:ID`, `this` (what was pasted), or the beginning of an incident's id."""

    places: ClassVar[tuple[str, ...]] = (WIZARD, DETAIL, EVERYWHERE)
    DEFAULT_CSS: ClassVar[str] = """
    WizardScreen #sides { height: 1fr; }
    WizardScreen #steps { width: 26; height: 1fr; padding: 0 1; border-right: solid ansi_bright_black; }
    WizardScreen.-ascii #steps { border-right: ascii ansi_bright_black; }
    WizardScreen VerticalScroll { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    WizardScreen #evidence { height: auto; }
    WizardScreen #next { height: auto; }
    """

    def body(self) -> Iterator[Widget]:
        """Steps at the left, evidence at the right, and what Enter does."""
        with Horizontal(id="sides"):
            yield Lines(id="steps")
            with VerticalScroll(can_focus=False):
                yield Lines(id="evidence")
        yield Lines(id="next")

    def on_mount(self) -> None:
        """Begin, or go on. (Textual calls the frame's own `on_mount` itself.)"""
        self.run_worker(self._begin(), exit_on_error=False)
        self.run_worker(self._watch(), exit_on_error=False)

    async def _watch(self) -> None:
        """See that a colleague has taken it over, or ended it."""
        await self.shared.opened.wait()
        while self._over is None:
            await asyncio.sleep(WATCH_SECONDS)
            incident = self._incident
            if incident is None or self._busy or not self.is_current:
                continue
            await self._reading(self._catch_up(incident))

    async def _reading(self, work: Awaitable[T]) -> T | None:
        """What a look from time to time gives; None where it failed, which the band tells until one succeeds."""
        try:
            found = await work
        except Exception as error:
            self.shared.pulse.miss(error, READER)
            return None
        self.shared.pulse.rest(READER)
        return found

    def on_unmount(self) -> None:
        """Nothing is read any more; an incident that came to nothing is not left lying open."""
        self.shared.pulse.rest(READER)
        incident, found = self._incident, self._found
        if incident is not None and self._over is None and found is not None and found.well:
            self.app.run_worker(self._leave(incident), group="leave", exit_on_error=False)

    async def _leave(self, incident: str) -> None:
        node = self.shared.opened_node()
        await self.shared.acting.run(lambda: node.leave_incident(node.actor(ORIGIN), incident))

    async def _catch_up(self, incident: str) -> None:
        node = self.shared.opened_node()
        standing = await self.shared.aside.run(lambda: node.standing(incident))
        if self._owner not in ("", standing.owner):
            self.say(f"{standing.owner} has taken this incident over from {self._owner}.")
        changed = self._owner != standing.owner or standing.step == "done"
        self._owner = standing.owner
        if standing.step == "done" and not self._busy:
            await self._read()
        if changed:
            self.update()

    async def _begin(self) -> None:
        await self.shared.opened.wait()
        await self._trying(self._open)

    async def _trying(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; that it failed is shown, and Enter tries again."""
        self._failed, self._busy = None, True
        try:
            await work()
        except Exception as error:
            self._failed = error
        self._busy = False
        self.update()

    async def _open(self) -> None:
        """Begin an incident, or go on with the one that there is."""
        node, wanted = self.shared.opened_node(), self._wanted()
        if wanted is None or self._incident is not None:
            await self._go_on(self._incident or self._what)
            return
        if not self.shared.read_only:
            self._incident = await self.shared.acting.run(lambda: node.begin_incident(node.actor(ORIGIN), wanted))
            await self._read()
        await self._look(wanted)

    def _wanted(self) -> DiagnosisTarget | None:
        """What to look at; None where it is an incident to go on with."""
        from fedtui.core.diagnosis.causes import BY_SYMPTOM
        from fedtui.core.diagnosis.triage import DiagnosisTarget

        kind, _, id = self._what.partition(":")
        if self._what == "this" and self.shared.wanted is not None:
            pasted: DiagnosisTarget = self.shared.wanted
            self._token = pasted.token
            return pasted
        if kind in POINTED and id:
            self._title = f"{kind} {id[:13]}"
            return DiagnosisTarget(**{kind: id})
        if self._what in BY_SYMPTOM:
            self._title = BY_SYMPTOM[self._what].title
            return DiagnosisTarget(self._what)
        if self._what == "everything":
            self._title = "everything"
            return DiagnosisTarget()
        return None

    async def _go_on(self, incident: str) -> None:
        """Take up an incident where it stands."""
        node = self.shared.opened_node()
        self._incident = (await self.shared.aside.run(lambda: node.incident(incident)))["id"]
        await self._read()
        if self._step in ("look", "cause", "prove") and self._over is None:
            await self._look(None)

    async def _read(self) -> None:
        """Where the incident stands now."""
        node, incident = self.shared.opened_node(), self._incident
        if incident is None:
            return
        standing = await self.shared.aside.run(lambda: node.standing(incident))
        shape = await self.shared.aside.run(lambda: node.incident(incident))
        self._step, self._owner, self._title = standing.step, standing.owner, shape["title"]
        self._standing = standing
        self._everything = not shape.get("symptom") and not shape.get("about")
        self._over = shape if standing.step == "done" else None
        self._waiting = None
        if standing.step == "wait" and standing.waits_for:
            asked = standing.waits_for
            record = await self.shared.aside.run(lambda: node.approval_record(asked))
            self._waiting = record.shape if record is not None else None
            self.run_worker(self._wait(), group="wait", exclusive=True, exit_on_error=False)

    async def _look(self, wanted: DiagnosisTarget | None) -> None:
        """Run the checks, shown as they end."""
        from fedtui.core.diagnosis import progress

        node, incident, token = self.shared.opened_node(), self._incident, self._token
        self._seen, self._found, self._outcome, self._busy, self._fix = [], None, None, True, 0
        self._settling = False
        proving = self._step == "prove"
        self._step = "prove" if proving else "look"
        clock = self.set_interval(LOOK_SECONDS, self.update)
        try:
            if incident is None:
                asked = wanted
                self._found = await self.shared.acting.run(lambda: node.diagnose(asked, self._seen.append))
            else:
                self._found = await self.shared.acting.run(
                    lambda: node.look(node.actor(ORIGIN), incident, self._seen.append, token=token, proving=proving)
                )
        finally:
            clock.stop()
            self._busy = False
        if incident is not None:
            await self._read()
        if self._settle():
            return
        standing, found = self._standing, self._found
        if standing is not None and found is not None:
            if proving and progress.found_again(standing, found):
                self.say(with_keys(wizard_words.OF_NO_USE))
            self._fix = progress.next_fix(standing, self._fixes())
        self._step = self._stands()
        self.update()
        if self._fix:
            self.call_after_refresh(self._keep_in_sight)

    def _settle(self) -> bool:
        """Whether what is found may be from before the fix: then it looks again once a heartbeat has come."""
        from fedtui.core.diagnosis import progress

        standing, found = self._standing, self._found
        self._settling = standing is not None and found is not None and progress.unsettled(standing, found)
        if self._settling and standing is not None and standing.settles_at is not None:
            left = (standing.settles_at - self.shared.now()).total_seconds()
            self.set_timer(max(left, WAIT_SECONDS), self._settled)
            self._step = "prove"
            self.update()
        return self._settling

    def _settled(self) -> None:
        """The heartbeat has come: look again, unless somebody has looked since."""
        if self._settling and not self._busy:
            self.run_worker(self._again(), group="look", exclusive=True, exit_on_error=False)

    def _stands(self) -> str:
        """The step that a look leads to."""
        if self._found is not None and self._found.offered:
            return "cause"
        if self._over is not None:
            return "done"
        return "prove" if self._found is not None and self._found.held else "look"

    async def _wait(self) -> None:
        """Until what it waits for is decided, and carried out; then prove it."""
        node, incident = self.shared.opened_node(), self._incident
        while incident is not None and self.is_mounted and self._step == "wait":
            await asyncio.sleep(WAIT_SECONDS)
            standing = await self._reading(self.shared.aside.run(lambda: node.standing(incident)))
            if standing is not None and standing.step == "wait":
                await self._how_far(standing)
            elif standing is not None:
                self._step = standing.step
                if standing.waiting_status not in (None, "executed"):
                    self.say(f"The request ended as {standing.waiting_status}: the fix was not carried out.")
                if standing.step == "prove":
                    await self._again()
                self.update()
                return

    async def _how_far(self, standing: IncidentState) -> None:
        """Show that what is waited for was approved, as soon as it is."""
        node, asked, known = self.shared.opened_node(), standing.waits_for, self._waiting
        if asked is None or known is None or known["status"] == standing.waiting_status:
            return
        record = await self._reading(self.shared.aside.run(lambda: node.approval_record(asked)))
        if record is not None:
            self._waiting = record.shape
            self.update()

    # --- what the keys do --------------------------------------------------------------------

    def action_go_on(self) -> None:
        """The next act."""
        if self._busy or self._over is not None:
            return
        if self._failed is None and self._something_else and not self._everything:
            self.go("playbook/everything")
        elif self._to_mend:
            self.shared.ahead.expecting = True
            self.app.run_worker(self._mend(), group="act", exit_on_error=False)
        elif self._failed is None and self._mine_to_make:
            self.app.run_worker(self._make(), group="act", exit_on_error=False)
        elif self._failed is not None or self._step != "wait":
            self.run_worker(self._again(), group="look", exclusive=True, exit_on_error=False)

    @property
    def _to_mend(self) -> bool:
        """Whether a fix is to be taken: one is marked, and it is more than to wait for whoever was told."""
        at_a_cause = self._failed is None and self._step == "cause" and self._outcome is None
        return at_a_cause and not self.shared.read_only and not self._told

    async def _again(self) -> None:
        failed = self._failed is not None
        await self._trying(self._open if failed else self._look_again)

    async def _look_again(self) -> None:
        await self._look(self._wanted() if self._incident is None else None)

    def action_pick(self, lines: int) -> None:
        """Mark the next fix, or the one before; where there is nothing to choose, scroll."""
        fixes = self._fixes()
        if self._step == "cause" and self._outcome is None and len(fixes) > 1:
            self._fix = min(max(self._fix + lines, 0), len(fixes) - 1)
            self.update()
            self._keep_in_sight()
        else:
            self.action_scroll(lines)

    async def _mend(self) -> None:
        """Show what the marked fix will do, ask, and carry it out through the gate."""
        fixes, ahead = self._fixes(), self.shared.ahead
        if not fixes or self._incident is None:
            ahead.forget()
            return
        finding, fix = fixes[self._fix]
        node, incident = self.shared.opened_node(), self._incident
        try:
            changes = await self.shared.aside.run(lambda: node.preview(node.actor(ORIGIN), fix))
        except Exception as error:
            ahead.forget()
            await self.app.push_screen_wait(Told(trouble(error)))
            return
        told = [f"For {finding.cause.code} of {finding.subject.label}.", *changes]
        told += [fix.command] if fix.command else []
        told += ["This is for a person to do; it is written down."] if fix.by_hand else []
        question = Question(fix.title, tuple(told), "Write it down" if fix.by_hand else "Do it")
        asked = self.app.push_screen(Ask(question), wait_for_dismiss=True)
        ahead.expecting = False
        answers: Answers | None = await asked
        if answers is None:
            return
        await self._carry_out(incident, lambda: fix)

    async def _make(self) -> None:
        """Make what was approved for this operator alone to make: it is shown once."""
        node, incident = self.shared.opened_node(), self._incident
        if incident is not None:
            await self._carry_out(incident, lambda: node.asked_for(incident))

    async def _carry_out(self, incident: str, read: Callable[[], Fix]) -> None:
        """Carry a fix out through the gate, show what is shown once, and look whether it helped."""
        node = self.shared.opened_node()
        self._busy = True
        try:
            self._outcome = await self.shared.acting.run(lambda: node.mend(node.actor(ORIGIN), incident, read()))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error)))
        finally:
            self._busy = False
        if self._outcome is not None and self._outcome["outcome"] == "done":
            self._step = "prove"
        if self._outcome is not None and "invite" in self._outcome.get("shown_once", {}):
            await self.app.push_screen_wait(invite_shown(self._outcome["shown_once"]))
        if self._outcome is not None and self._outcome["outcome"] == "pending":
            await self._read()
        elif self._outcome is not None and self._outcome["outcome"] == "done" and self._over is None:
            await self._again()
        self.update()

    def do_back(self) -> None:
        """Back to where it was begun."""
        if self.is_current:
            self.go("<")

    def do_refresh(self) -> None:
        """Look again."""
        super().do_refresh()
        if not self._busy and self._over is None and self._step != "wait":
            self.run_worker(self._again(), group="look", exclusive=True, exit_on_error=False)
