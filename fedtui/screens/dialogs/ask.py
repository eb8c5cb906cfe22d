"""The dialog that asks: what will happen, to whom, with which words; and then yes or no.

Cancel has the focus where there is nothing to fill in. The key that confirms is never the
one that opened the dialog, and where it says so, the target's name has to be typed. Nothing is
confirmed before all of the text, each target with its details, has been on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from fedtui.screens.dialogs.box import LEAST_WIDTH, Dialog, Scrolled, key_line
from fedtui.screens.dialogs.field import Answered, Choice, Field, Text
from fedtui.screens.dialogs.targets import Exposure, Target, Witnessed
from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.commands import ASK, Command
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.widgets.paint import Line, Lines, Part, paragraphs
from fedtui.screens.widgets.press import Press

Answers = Mapping[str, str]
MOST_FIELDS, LEAST_TEXT = 14, 3
"""Rows that the fields take at most, and the text at least; what is longer is scrolled."""
BUTTONS, WEIGHED = 2, 5
"""Rows of the buttons, and of what the answers bring about, with the blank row above each."""

DRAWN_SECONDS = 0.3
"""After that a dialog takes keys, whether any of its text was drawn or not."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask: a title, what will happen in sentences, to which targets, and what to fill in.

    `weigh` says what the answers would bring about; it may be slow, and is called beside the
    event loop while they are typed.
    """

    title: str
    happens: tuple[str, ...]
    confirm: str
    targets: tuple[Target, ...] = ()
    fields: tuple[Field, ...] = ()
    dangerous: bool = False
    weigh: Callable[[Answers], str] | None = None


class Ask(Dialog[Answers]):
    """Asks a question; the answers by field key, or None when it was cancelled.

    `refusal` is asked once more on confirming: much can happen while a dialog is open.
    """

    places: ClassVar[tuple[str, ...]] = (ASK,)
    DEFAULT_CSS = """
    Ask .body { height: auto; scrollbar-size-vertical: 1; }
    Ask #unseen { margin-bottom: 1; }
    Ask .fields { height: auto; scrollbar-size-vertical: 1; }
    Ask #weighed { height: auto; max-height: 4; margin-top: 1; }
    Ask .buttons { height: 1; margin-top: 1; }
    Ask #keys { width: 1fr; }
    """

    def __init__(
        self, question: Question, *, refusal: Callable[[], str] = str, aside: BackgroundWorker | None = None
    ) -> None:
        super().__init__()
        self._aside = aside
        self._weighed = ""
        self._weighing = False
        self._weigh_again = False
        self.dangerous = question.dangerous
        self._question = question
        self._refusal = refusal
        self._refused = ""
        self._asking: list[Text | Choice] = []
        self._exposure = Exposure()
        self._laid_out = self._goes_on = False

    def content(self) -> Iterator[Widget]:
        """Title, what happens and to whom, the fields, the buttons."""
        yield Lines(id="title")
        with Scrolled(classes="body"):
            yield Witnessed(id="happens")
        yield Lines(id="unseen")
        if self._question.fields:
            with Scrolled(classes="fields", settled=self._into_sight):
                yield from self._fields()
        if self._question.weigh is not None:
            yield Lines(id="weighed")
        with Horizontal(classes="buttons"):
            yield Lines(id="keys")
            yield Press("Cancel", id="cancel")
            yield Press(self._question.confirm, id="confirm")

    def _fields(self) -> Iterator[Widget]:
        for field in self._question.fields:
            asked: Text | Choice = Choice(field) if field.choices else Text(field)
            self._asking.append(asked)
            yield Lines(id=f"label-{field.key}")
            yield asked

    def on_mount(self) -> None:
        """Put the focus where it does no harm. (Textual calls the dialog's own `on_mount` itself.)"""
        first: Widget = self._asking[0] if self._asking else self.query_one("#cancel")
        first.focus(scroll_visible=False)  # by sizes that are not settled yet; see `_into_sight`
        self._weigh()

    def _be_ready(self) -> None:
        """Take keys once the text was drawn and counted, or is not going to be in so small a terminal."""
        if self._laid_out or self._exposure.complete:
            super()._be_ready()
        else:
            self.set_timer(DRAWN_SECONDS, super()._be_ready)

    def on_answered(self, message: Answered) -> None:
        """Check while it is typed."""
        message.stop()
        self._refused = ""
        self._weigh()
        self.show()

    def _weigh(self) -> None:
        """Find out beside the event loop what the answers bring about: one look at a time, the last counts."""
        self._weigh_again = True
        if self._question.weigh is not None and self._aside is not None and not self._weighing:
            self._weighing = True
            self.run_worker(self._keep_weighing(), exit_on_error=False)

    async def _keep_weighing(self) -> None:
        weigh, aside = self._question.weigh, self._aside
        while self._weigh_again and weigh is not None and aside is not None:
            self._weigh_again = False
            answers = {asked.field.key: asked.answer for asked in self._asking}
            if any(map(self._wrong, self._asking)):
                self._weighed = ""
            else:
                try:
                    self._weighed = await aside.run(lambda answers=answers: weigh(answers))  # type: ignore[misc]
                except Exception as error:
                    self._weighed = trouble(error).problem
            self.show()
        self._weighing = False

    def watch_focused(self) -> None:
        """Show the keys that work where the focus now is: `y` confirms, or is a letter."""
        if self.query("#keys"):
            self.show()

    def on_input_submitted(self) -> None:
        """Enter in a text goes on. It confirms only a reason picked by a digit, where nothing is dangerous:
        what is confirmed was not typed, and three keys are enough."""
        asked = self.focused
        picked = isinstance(asked, Text) and asked.answer in asked.field.canned
        if picked and asked is self._asking[-1] and not self.dangerous:
            self.action_confirm()
        else:
            self._go_on()

    def on_choice_taken(self) -> None:
        """Enter on a choice goes on, too."""
        self._go_on()

    def _go_on(self) -> None:
        """To the next field; after the last one to a button, to the harmless one where the act is dangerous."""
        place = self._asking.index(self.focused) if self.focused in self._asking else -1
        if place + 1 < len(self._asking):
            self._asking[place + 1].focus()
        elif wrong := [asked for asked in self._asking if self._wrong(asked)]:
            wrong[0].focus()
        elif not self._exposure.complete:
            self.action_scroll(1)
        else:
            self.query_one("#cancel" if self.dangerous else "#confirm").focus()

    def on_press_pressed(self, message: Press.Pressed) -> None:
        """Cancel, or confirm."""
        if message.press.id == "confirm":
            self.action_confirm()
        else:
            self.action_close()

    def action_confirm(self) -> None:
        """Go ahead, if all was in view, every answer holds and it may still be done."""
        self._refused = self._refusal()
        if self._refused or not self._exposure.complete or any(map(self._wrong, self._asking)):
            self.show()
        else:
            self.end({asked.field.key: asked.answer for asked in self._asking})

    def action_scroll(self, pages: int) -> None:
        """Scroll the text by a page; a line of the one before stays in view."""
        self.query_one(".box", Scrolled).scroll_home(animate=False)
        rows = max(self._rows_in_view() - 1, 1)
        self.query_one(".body", Scrolled).scroll_relative(y=pages * rows, animate=False)

    def commands(self) -> list[Command]:
        """Without `y` where that is a letter."""
        return [one for one in super().commands() if one.name != "confirm" or not isinstance(self.focused, Text)]

    def _wrong(self, asked: Text | Choice) -> str:
        return asked.refused or asked.field.check(asked.answer)

    def show(self) -> None:
        """The words, wrapped to the box; the verdict on each answer; whether it can be confirmed."""
        question = self._question
        width = max(self.query_one("#title", Lines).size.width, LEAST_WIDTH)
        title = [(question.title, "bad" if self.dangerous else "strong")]
        self.query_one("#title", Lines).present(paragraphs(title, width, margin=0))
        text = self.query_one("#happens", Witnessed)
        blocks = self._blocks(max(text.size.width, LEAST_WIDTH))
        text.present([line for block in blocks for line in block])
        if self._exposure.wrap([len(block) for block in blocks]):
            text.witness_anew()
        for asked in self._asking:
            self.query_one(f"#label-{asked.field.key}", Lines).present(self._label(asked, width))
        if question.weigh is not None:
            said = [(self._weighed, "warn")] if self._weighed else []
            self.query_one("#weighed", Lines).present(paragraphs(said, width, margin=0))
        keys = self.query_one("#keys", Lines)
        keys.present([key_line(self.commands(), max(keys.size.width, 1))])
        self._fit(width)
        self.call_after_refresh(self._into_sight)

    def _blocks(self, width: int) -> list[list[Line]]:
        """The text, wrapped: what happens, or why it may not; then each target with its details."""
        question = self._question
        several = len(question.targets) > 1
        happens = [(self._refused, "bad")] if self._refused else [(text, "") for text in question.happens]
        head = [(f"{len(question.targets)} targets:", "")] if several else []
        mark, indent = ("- ", "  ") if several else ("", "")
        texts = [
            *([text] for text in [*happens, *head]),
            *(
                [(mark + label, "strong"), *((indent + detail, "") for detail in details)]
                for label, details in question.targets
            ),
        ]
        return [paragraphs(text, width, margin=0) for text in texts]

    def _fit(self, width: int) -> None:
        """Share the terminal's height between text and fields, so that the box itself need not be scrolled."""
        title, text = (len(self.query_one(id, Lines).shown) for id in ("#title", "#happens"))
        weighed = WEIGHED if self._question.weigh is not None else 0
        room = self.size.height - self.query_one(".box").gutter.height - title - 1 - BUTTONS - weighed
        taken = 0
        for fields in self.query(".fields"):
            wanted = sum(len(label.shown) for label in fields.query(Lines)) + len(self._asking)
            taken = max(min(wanted, MOST_FIELDS, room - min(LEAST_TEXT, text)), 2)
            fields.styles.max_height = taken
        self._goes_on = text > room - taken
        self.query_one(".body").styles.max_height = max(room - taken - self._goes_on, LEAST_TEXT)
        self._tell_unseen(width)

    # --- what was in view -----------------------------------------------------------------

    def on_screen_resume(self) -> None:
        """Uncovered: what is drawn from now on is in view."""
        self.query_one("#happens", Witnessed).witness_anew()

    def on_witnessed_drawn(self, message: Witnessed.Drawn) -> None:
        """Count the lines that the terminal shows."""
        message.stop()
        text = self.query_one("#happens", Witnessed)
        if self.is_current and text.size.width:
            first, self._laid_out = not self._laid_out, True
            if self._exposure.expose(text.drawn) or first:
                super()._be_ready()
                self._tell_unseen(max(self.query_one("#title", Lines).size.width, LEAST_WIDTH))

    def _rows_in_view(self) -> int:
        """How many lines of the text fit the body, the box and the terminal."""
        view = self.query_one(".body").content_region
        return view.intersection(self.query_one(".box").content_region).intersection(self.region).height

    def _tell_unseen(self, width: int) -> None:
        """Say how much has been in view, where that was not all from the first; only then it can be confirmed."""
        count, exposure = len(self._question.targets), self._exposure
        rest = ": PgDn" if not exposure.complete else ""
        told = f"{exposure.seen(count)} of {count} seen{rest}" if count > 1 else f"The text goes on{rest}"
        shown = [(told, "warn" if rest else "dim")] if self._goes_on else []
        self.query_one("#unseen", Lines).present(paragraphs(shown, width, margin=0))
        self.query_one("#confirm").disabled = not exposure.complete or any(map(self._wrong, self._asking))

    def _into_sight(self) -> None:
        """What is being asked, with its label, where a form is longer than the terminal: Textual scrolls to what has
        the focus, but not to what stands above it."""
        asked = self.focused
        if self.is_current and isinstance(asked, Text | Choice):
            label = self.query_one(f"#label-{asked.field.key}")
            both = label.virtual_region.union(asked.virtual_region)
            self.query_one(".fields", Scrolled).scroll_to_region(both, animate=False, force=True, immediate=True)

    def _label(self, asked: Text | Choice, width: int) -> list[Line]:
        """What is asked, and beside it what is wrong with the answer or what it means."""
        wrong = self._wrong(asked)
        [label, *more] = paragraphs([(asked.field.label, "dim")], width, margin=0)
        note = wrong or asked.field.tell(asked.answer)
        if not note:
            return [label, *more]
        style = "notice" if not wrong else "bad" if asked.answer or asked.refused else "dim"
        notes = paragraphs([(note, style)], width, margin=0)
        last = [label, *more][-1].parts[0]
        used = len(last.text) + 2
        if len(notes) == 1 and used + len(notes[0].parts[0].text) <= width:
            told = notes[0].parts[0]
            beside = Line((last._replace(width=used - 2), Part(used, width - used, told.text, told.style)))
            return [*[label, *more][:-1], beside]
        return [label, *more, *notes]
