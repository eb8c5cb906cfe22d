"""The one wizard: look, name the cause, mend, prove. The next act is always on Enter; everything is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget

from fedtui.screens import wizard_words
from fedtui.screens.commands import DETAIL, EVERYWHERE, WIZARD, Command
from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.handle import ORIGIN, Shared
from fedtui.screens.trouble import trouble
from fedtui.screens.widgets.paint import Lines, paragraphs
from fedtui.screens.wizard_acts import WizardActs
from fedtui.screens.words import Paragraph, paragraph_lines

if TYPE_CHECKING:
    from fedtui.core.playbook.engine import Diagnosis, Seen
    from fedtui.core.playbook.model import Finding, Fix
    from fedtui.core.playbook.survey import Wanted

LOOK_SECONDS = 0.25
WAIT_SECONDS, WATCH_SECONDS = 1.0, 2.0
POINTED = ("peer", "grant", "decision", "approval")


class WizardScreen(WizardActs):
    """An incident, step by step. `what` is a symptom, `everything`, `peer:ID`, `grant:ID`, `decision:ID`,
    `approval:ID`, `this` (what was pasted), or the beginning of an incident's id."""

    places: ClassVar[tuple[str, ...]] = (WIZARD, DETAIL, EVERYWHERE)
    DEFAULT_CSS: ClassVar[str] = """
    WizardScreen #sides { height: 1fr; }
    WizardScreen #steps { width: 26; height: 1fr; padding: 0 1; border-right: solid ansi_bright_black; }
    WizardScreen.-ascii #steps { border-right: ascii ansi_bright_black; }
    WizardScreen VerticalScroll { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    WizardScreen.-ascii VerticalScroll { scrollbar-size-vertical: 0; }
    WizardScreen #evidence { height: auto; }
    WizardScreen #next { height: auto; }
    """

    def __init__(self, shared: Shared, what: str) -> None:
        super().__init__(shared)
        self._what = what
        self._step = "look"
        self._owner = ""
        self._seen: list[Seen] = []
        self._found: Diagnosis | None = None
        self._outcome: Mapping[str, Any] | None = None
        self._waiting: Mapping[str, Any] | None = None
        self._over: Mapping[str, Any] | None = None
        self._fix = 0
        self._of_no_use: set[str] = set()
        self._carried_out = ""
        self._busy = False
        self._token: str | None = None
        self._failed: Exception | None = None

    @property
    def place(self) -> str:
        """The place: the incident once there is one, so that it can be gone on with."""
        return f"playbook/{self._incident or self._what}"

    def trail(self) -> str:
        """The playbook, and what this is about."""
        return f"Playbook › {self._title or self._what}"

    def remark(self) -> str:
        """Whose it is."""
        return f"{self._owner}   {self._incident[:13]}" if self._incident else ""

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
            with suppress(Exception):  # that the database does not answer is shown by the band
                await self._catch_up(incident)

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
        node = self.shared.opened_node()
        try:
            wanted = self._wanted()
            if wanted is None:
                await self._go_on(self._what)
                return
            if not self.shared.read_only:
                self._incident = await self.shared.acting.run(lambda: node.begin_incident(node.actor(ORIGIN), wanted))
                await self._read()
            await self._look(wanted)
        except Exception as error:
            self._failed = error
        self.update()

    def _wanted(self) -> Wanted | None:
        """What to look at; None where it is an incident to go on with."""
        from fedtui.core.playbook.causes import BY_SYMPTOM
        from fedtui.core.playbook.survey import Wanted

        kind, _, id = self._what.partition(":")
        if self._what == "this" and self.shared.wanted is not None:
            pasted: Wanted = self.shared.wanted
            self._token = pasted.token
            return pasted
        if kind in POINTED and id:
            self._title = f"{kind} {id[:13]}"
            return Wanted(**{kind: id})
        if self._what in BY_SYMPTOM:
            self._title = BY_SYMPTOM[self._what].title
            return Wanted(self._what)
        if self._what == "everything":
            self._title = "everything"
            return Wanted()
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
        self._over = shape if standing.step == "done" else None
        self._waiting = None
        if standing.step == "wait" and standing.waits_for:
            asked = standing.waits_for
            record = await self.shared.aside.run(lambda: node.approval_record(asked))
            self._waiting = record.shape if record is not None else None
            self.run_worker(self._wait(), group="wait", exclusive=True, exit_on_error=False)

    async def _look(self, wanted: Wanted | None) -> None:
        """Run the checks, shown as they end."""
        node, incident, token = self.shared.opened_node(), self._incident, self._token
        self._seen, self._found, self._outcome, self._busy, self._fix = [], None, None, True, 0
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
        if self._carried_out and any(fix.title == self._carried_out for _, fix in self._fixes()):
            self._of_no_use.add(self._carried_out)
            self.say("It was carried out, and the checks still find it. r looks again; the next fix is marked.")
        self._carried_out = ""
        # What did not help is not offered first again.
        useful = (place for place, (_, fix) in enumerate(self._fixes()) if fix.title not in self._of_no_use)
        self._fix = next(useful, 0)
        wrong = self._found is not None and self._found.findings
        self._step = "cause" if wrong else "done" if self._over is not None else "look"
        self.update()

    async def _wait(self) -> None:
        """Until what it waits for is decided, and carried out; then prove it."""
        node, incident = self.shared.opened_node(), self._incident
        while incident is not None and self.is_mounted:
            await asyncio.sleep(WAIT_SECONDS)
            standing = await self.shared.aside.run(lambda: node.standing(incident))
            if standing.step != "wait":
                self._step = standing.step
                if standing.waiting_status not in (None, "executed"):
                    self.say(f"The request ended as {standing.waiting_status}: the fix was not carried out.")
                    self._of_no_use.add(self._carried_out)
                    self._carried_out = ""
                if standing.step == "prove":
                    await self._look(None)
                self.update()
                return

    # --- what is shown -----------------------------------------------------------------------

    def tick(self) -> None:
        """Steps, evidence, and the next act."""
        left, right, below = (self.query_one(name, Lines) for name in ("#steps", "#evidence", "#next"))
        told = [*wizard_words.steps(self._step, self._seen), ("", ""), *wizard_words.checks(self._seen)]
        left.present(paragraphs(told, max(left.size.width, 10), margin=0))
        right.present(paragraph_lines(self._evidence(), max(right.size.width, 20)))
        below.present(paragraphs([(self._next(), "notice")], self.size.width, margin=1))

    def _evidence(self) -> list[Paragraph]:
        if self._failed is not None:
            return [Paragraph("", text, style) for text, style in trouble(self._failed).told()]
        if self._busy:
            return [*wizard_words.looking(self._seen)]
        if self._over is not None:
            return [*wizard_words.over(self._over)]
        if self._waiting is not None and self._step == "wait":
            return [*wizard_words.waiting(self._waiting)]
        if self._outcome is not None:
            return [*wizard_words.mended(self._outcome)]
        if self._found is not None:
            return [*wizard_words.causes(self._found, self._fix)]
        return [Paragraph("", "Reading …", "dim")]

    def _next(self) -> str:
        if self._failed is not None:
            return "Esc leads back."
        if self._busy:
            return "Looking …"
        if self._outcome is not None and self._step != "wait":
            return wizard_words.NEXT["prove"]
        if self._step == "cause" and self.shared.read_only:
            return "This console is read-only: it looks, and changes nothing."
        if self._something_else:
            return "Enter looks at everything; Esc leads back."
        if self._step == "look" and self._found is not None:
            return "Nothing is wrong. Enter looks again; Esc leads back."
        return wizard_words.NEXT.get(self._step, "")

    @property
    def _something_else(self) -> bool:
        """Whether something is wrong, and not what was asked about."""
        return self._step == "look" and self._found is not None and bool(self._found.beside)

    # --- what the keys do --------------------------------------------------------------------

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: an incident is needed for what is written into it."""
        reason = super().refusal(command)
        if reason or command.name not in ("note", "escalate", "end-incident", "export-incident", "background"):
            return reason
        return "" if self._incident is not None else "A read-only console keeps no incident."

    def action_go_on(self) -> None:
        """The next act."""
        if self._busy or self._failed is not None or self._over is not None:
            return
        if self._something_else:
            self.go("playbook/everything")
        elif self._step == "cause" and self._outcome is None and not self.shared.read_only:
            self.app.run_worker(self._mend(), group="act", exit_on_error=False)
        elif self._step != "wait":
            self.run_worker(self._again(), group="look", exclusive=True, exit_on_error=False)

    async def _again(self) -> None:
        try:
            await self._look(self._wanted() if self._incident is None else None)
        except Exception as error:
            self._failed = error
            self.update()

    def action_pick(self, lines: int) -> None:
        """Mark the next fix, or the one before; where there is nothing to choose, scroll."""
        fixes = self._fixes()
        if self._step == "cause" and self._outcome is None and len(fixes) > 1:
            self._fix = min(max(self._fix + lines, 0), len(fixes) - 1)
            self.update()
        else:
            self.action_scroll(lines)

    def action_scroll(self, lines: int) -> None:
        """Scroll the evidence."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def _fixes(self) -> list[tuple[Finding, Fix]]:
        return [(one, fix) for one in self._found.findings for fix in one.sense.fixes] if self._found else []

    async def _mend(self) -> None:
        """Show what the marked fix will do, ask, and carry it out through the gate."""
        fixes = self._fixes()
        if not fixes or self._incident is None:
            return
        finding, fix = fixes[self._fix]
        node, incident = self.shared.opened_node(), self._incident
        by_hand = not fix.action or fix.where == "there"
        try:
            changes = await self.shared.aside.run(lambda: node.preview(node.actor(ORIGIN), fix))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error)))
            return
        told = [f"For {finding.cause.code} of {finding.subject.label}.", *changes]
        told += [fix.command] if fix.command else []
        gated = "It goes through the gate: it may have to be approved."
        told.append("This is for a person to do; it is written down." if by_hand else gated)
        question = Question(fix.title, tuple(told), "Write it down" if by_hand else "Do it")
        answers: Answers | None = await self.app.push_screen_wait(Ask(question))
        if answers is None:
            return
        self._busy, self._carried_out = True, fix.title
        try:
            self._outcome = await self.shared.acting.run(lambda: node.mend(node.actor(ORIGIN), incident, fix))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error)))
        finally:
            self._busy = False
        if self._outcome is None or self._outcome["outcome"] in ("failed", "by_hand"):
            self._carried_out = ""
        if self._outcome is not None and self._outcome["outcome"] == "failed":
            self._of_no_use.add(fix.title)
        if self._outcome is not None and self._outcome["outcome"] == "pending":
            await self._read()
        elif self._outcome is not None and self._outcome["outcome"] == "done":
            self._step = "prove"
            await self._again()
        self.update()

    def do_refresh(self) -> None:
        """Look again."""
        super().do_refresh()
        if not self._busy and self._over is None and self._step != "wait":
            self.run_worker(self._again(), group="look", exclusive=True, exit_on_error=False)
