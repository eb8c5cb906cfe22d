"""The playbook: what do you see? Pick a symptom, paste a text, or go on with an open incident."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget

from fedtui.screens.dialogs.ask import Answers, Ask, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.peers.columns import ago
from fedtui.screens.shell.commands import EVERYWHERE, PICK, PLAYBOOK
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.shell.frame import Frame
from fedtui.screens.widgets.paint import Line, Lines, Part

READ_SECONDS = 2.0
EVERYTHING, PASTE = "everything", "paste"
TEXT_LIMIT = 8000
ROOMY = 30
"""Rows of a terminal from which on each line of the list has a second one."""
READER = "playbook"


@dataclass(frozen=True, slots=True)
class Row:
    """A line that can be picked: where it leads, what it says, and what stands beneath."""

    leads_to: str
    title: str
    told: str = ""


class PlaybookScreen(Frame):
    """Symptoms by what a person sees, and the incidents that are open."""

    places: ClassVar[tuple[str, ...]] = (PLAYBOOK, PICK, EVERYWHERE)
    DEFAULT_CSS: ClassVar[str] = """
    PlaybookScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 0; }
    PlaybookScreen #rows { height: auto; }
    """

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__(shared)
        self._at = 0
        self._rows: list[Row] = []
        self._open: list[dict[str, Any]] = []
        self._open_count = 0

    @property
    def place(self) -> str:
        """The place's name."""
        return "playbook"

    def trail(self) -> str:
        """Where this is."""
        return "Playbook"

    def remark(self) -> str:
        """How many incidents are open."""
        return f"{self._open_count} open" if self._open_count else ""

    def body(self) -> Iterator[Widget]:
        """One list."""
        with VerticalScroll(can_focus=False):
            yield Lines(id="rows")

    def on_mount(self) -> None:
        """Read what is open, and go on reading. (Textual calls the frame's own `on_mount` itself.)"""
        self.run_worker(self._follow(), exit_on_error=False)

    def on_unmount(self) -> None:
        """It is not read any more."""
        self.shared.pulse.rest(READER)

    async def _follow(self) -> None:
        await self.shared.opened.wait()
        node = self.shared.opened_node()
        while True:
            if self.is_current:
                try:
                    self._rows = await self.shared.aside.run(_symptoms) if not self._rows else self._rows
                    self._open = await self.shared.aside.run(lambda: node.incidents(open_only=True, limit=20))
                    self._open_count = await self.shared.aside.run(node.open_incidents)
                    self.shared.pulse.beat(READER)
                except Exception as error:
                    self.shared.pulse.miss(error, READER)
                self.update()
            await asyncio.sleep(READ_SECONDS)

    def _all(self) -> list[Row]:
        now = self.shared.now()
        waiting = [Row(one["id"], f"Go on: {one['title']}", _begun(one, now)) for one in self._open]
        return [*waiting, *self._rows]

    def tick(self) -> None:
        """The lines, the picked one marked."""
        block = self.query_one("#rows", Lines)
        width = max(block.size.width, 20)
        rows = self._all()
        self._at = min(self._at, max(len(rows) - 1, 0))
        lines = (
            [Line((Part(0, width, "What do you see?", "dim"),)), Line()]
            if rows
            else [Line((Part(0, width, "Reading …", "dim"),))]
        )
        for number, row in enumerate(rows):
            here = number == self._at
            lines.append(
                Line((Part(0, width, f"{'›' if here else ' '} {row.title}", "strong"),), "cursor" if here else "")
            )
            if row.told and (here or self._roomy):
                lines.append(Line((Part(4, width - 4, row.told, "dim"),)))
        block.present(lines)

    @property
    def _roomy(self) -> bool:
        """Whether there is room for what stands beneath each line; else only the picked one says it."""
        return self.size.height >= ROOMY

    def action_move(self, lines: int) -> None:
        """Pick the next line, or the one before."""
        rows = self._all()
        if rows:
            self._at = min(max(self._at + lines, 0), len(rows) - 1)
            self.tick()
            above = sum(2 if row.told and self._roomy else 1 for row in rows[: self._at])
            self.query_one(VerticalScroll).scroll_to(y=max(above - self.size.height // 2, 0), animate=False)

    def action_open(self) -> None:
        """Begin with the picked line."""
        rows = self._all()
        if not rows:
            return
        leads_to = rows[self._at].leads_to
        if leads_to == PASTE:
            self.app.run_worker(self._paste(), group="act", exit_on_error=False)
        else:
            self.go(f"playbook/{leads_to}")

    async def _paste(self) -> None:
        """Ask for a text, and begin with what it means."""
        question = Question(
            "What does this mean?",
            ("Paste an error, a log line or the answer of a call. It is looked at here, and not kept.",),
            "Look it up",
            fields=(Field("text", "Text", check=required, limit=TEXT_LIMIT),),
        )
        drafts = self.shared.drafts
        question = drafts.fill(PASTE, question)
        answers: Answers | None = await self.app.push_screen_wait(Ask(question))
        if answers is None:
            return
        node = self.shared.opened_node()
        try:
            with drafts.until_done(PASTE, question, answers):
                found = await self.shared.aside.run(lambda: node.recognise(answers["text"]))
        except Exception as error:
            await self.app.push_screen_wait(Told(trouble(error), remark=drafts.kept(PASTE)))
            return
        if found is None:
            self.say("The playbook does not know that text. Pick what you see, or look at everything.")
            return
        self.say(f"{found.means} ({found.said})")
        self.shared.wanted = found.wanted
        self.go("playbook/this")


def _begun(one: dict[str, Any], now: datetime) -> str:
    """Whose an open incident is, since when, and what was found."""
    found = ", ".join(one["causes"]) or "no cause named"
    return f"{one['owner']}, begun {ago(one['opened_at'], now)} ago; {found}"


def _symptoms() -> list[Row]:
    """The catalogue's symptoms; imports the core, so run it beside the event loop."""
    from fedtui.core.diagnosis.causes import SYMPTOMS

    rows = [Row(one.name, one.title, one.seen) for one in SYMPTOMS]
    return [
        *rows,
        Row(EVERYTHING, "I do not know: look at everything", "All of the checks; the root comes first."),
        Row(PASTE, "I have a text: what does this mean?", "An error, a log line, the answer of a call, an id."),
    ]
