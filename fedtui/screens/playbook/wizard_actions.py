"""What can be done with an incident besides its next step: notes, handing it up, ending it, its transcript."""

from __future__ import annotations

from collections.abc import Callable

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.tell import Shown, Told
from fedtui.screens.playbook import wizard_view
from fedtui.screens.shell.console_context import ORIGIN, ConsoleContext
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.shell.frame import Frame

OUTCOMES = ("explained", "escalated", "abandoned", "fixed")


class WizardActs(Frame):
    """A screen about an incident. Subclasses read where it stands."""

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__(shared)
        self._incident: str | None = None
        self._title = ""

    async def _read(self) -> None:
        """Where the incident stands now."""
        raise NotImplementedError

    def do_note(self) -> None:
        """Write something into the incident."""
        self.app.run_worker(self._note(), group="act", exit_on_error=False)

    async def _note(self) -> None:
        node = self.shared.opened_node()
        question = Question(
            "A note for the transcript",
            (),
            "Write it down",
            fields=(Field("text", "Note", check=required, limit=2000),),
        )
        await self._ask(
            question,
            lambda incident, answers: node.note_incident(node.actor(ORIGIN), incident, answers["text"]),
            "Noted.",
        )

    def do_escalate(self) -> None:
        """Hand the incident up to the federation's owner."""
        self.app.run_worker(self._escalate(), group="act", exit_on_error=False)

    async def _escalate(self) -> None:
        node = self.shared.opened_node()
        question = Question(
            "Hand it up",
            ("A change request to the federation's owner, with this incident's transcript. It closes the incident.",),
            "Hand it up",
            fields=(
                Field("title", "Title", self._title[:200], check=required, limit=200),
                Field("body", "What is missing, and why", check=required, limit=4000),
            ),
        )
        await self._ask(
            question,
            lambda incident, answers: node.escalate(
                node.actor(ORIGIN), incident, title=answers["title"], body=answers["body"]
            ),
            "Handed up: fedtui escalate --list",
        )

    async def _ask(self, question: Question, act: Callable[[str, Answers], object], done: str) -> None:
        """Ask, act beside the event loop, say what came of it, and read the incident again."""
        drafts, incident = self.shared.drafts, self._incident
        draft = (question.title, incident)
        question = drafts.fill(draft, question)
        answers: Answers | None = await self.app.push_screen_wait(Ask(question))
        if answers is None or incident is None:
            return
        try:
            with drafts.until_done(draft, question, answers):
                await self.shared.acting.run(lambda: act(incident, answers))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error), remark=drafts.kept(draft)))
        else:
            self.say(done)
        await self._read()
        self.update()

    def do_background(self) -> None:
        """Show the events and findings around the incident."""
        self.app.run_worker(self._background(), group="act", exit_on_error=False)

    async def _background(self) -> None:
        node = self.shared.opened_node()
        await self._show("What went on around it", lambda incident: wizard_view.around(node.surroundings(incident)))

    async def _show(self, title: str, read: Callable[[str], str], *, instead: str = "") -> None:
        """Show a text about the incident, read beside the event loop, or why there is none. `instead` prints it."""
        incident = self._incident
        if incident is None:
            return
        try:
            text = await self.shared.aside.run(lambda: read(incident))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error)))
            return
        await self.app.push_screen_wait(Shown(title, text, instead=instead))

    def do_end_incident(self) -> None:
        """Close the incident without a proof."""
        self.app.run_worker(self._end(), group="act", exit_on_error=False)

    async def _end(self) -> None:
        node = self.shared.opened_node()
        question = Question(
            "End the incident",
            ("It is closed, and its transcript kept.",),
            "End it",
            fields=(
                Field("outcome", "As (Left, Right)", choices=OUTCOMES, value=OUTCOMES[0]),
                Field("reason", "Why"),
            ),
        )
        await self._ask(
            question,
            lambda incident, answers: node.close_incident(
                node.actor(ORIGIN), incident, answers["outcome"], answers["reason"]
            ),
            "The incident is closed.",
        )

    def do_export_incident(self) -> None:
        """Show the transcript as Markdown, to copy."""
        self.app.run_worker(self._export(), group="act", exit_on_error=False)

    async def _export(self) -> None:
        node = self.shared.opened_node()

        def written(incident: str) -> str:
            from fedtui.core.diagnosis import incidents

            return incidents.markdown(node.incident(incident))

        id = (self._incident or "")[:13]
        await self._show(f"Incident {id}", written, instead=f"fedtui incidents export {id}")
