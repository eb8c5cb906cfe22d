"""The dialog that asks: what will happen, to whom, with which words; and then yes or no.

Cancel has the focus where there is nothing to fill in. The key that confirms is never the
one that opened the dialog, and where it says so, the target's name has to be typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget

from fedtui.screens.aside import Aside
from fedtui.screens.commands import ASK, Command
from fedtui.screens.dialogs.box import LEAST_WIDTH, Dialog, key_line
from fedtui.screens.dialogs.field import Answered, Choice, Field, Text
from fedtui.screens.trouble import trouble
from fedtui.screens.widgets.paint import Line, Lines, Part, paragraphs
from fedtui.screens.widgets.press import Press

Answers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask: a title, what will happen in sentences, to which targets, and what to fill in.

    `weigh` says what the answers would bring about; it may be slow, and is called beside the
    event loop while they are typed.
    """

    title: str
    happens: tuple[str, ...]
    confirm: str
    targets: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    dangerous: bool = False
    weigh: Callable[[Answers], str] | None = None


class Ask(Dialog[Answers]):
    """Asks a question; the answers by field key, or None when it was cancelled.

    `refusal` is asked once more on confirming: much can happen while a dialog is open.
    """

    places: ClassVar[tuple[str, ...]] = (ASK,)
    DEFAULT_CSS = """
    Ask .body { height: auto; max-height: 10; scrollbar-size-vertical: 1; margin-bottom: 1; }
    Ask .fields { height: auto; max-height: 14; scrollbar-size-vertical: 1; }
    Ask #weighed { height: auto; max-height: 4; margin-top: 1; }
    Ask .buttons { height: 1; margin-top: 1; }
    Ask #keys { width: 1fr; }
    """

    def __init__(self, question: Question, *, refusal: Callable[[], str] = str, aside: Aside | None = None) -> None:
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

    def content(self) -> Iterator[Widget]:
        """Title, what happens and to whom, the fields, the buttons."""
        yield Lines(id="title")
        with VerticalScroll(classes="body", can_focus=False):
            yield Lines(id="happens")
        if self._question.fields:
            with VerticalScroll(classes="fields", can_focus=False):
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

    def on_descendant_focus(self) -> None:
        """`y` means yes, or a letter."""
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
        else:
            self.query_one("#cancel" if self.dangerous else "#confirm").focus()

    def on_press_pressed(self, message: Press.Pressed) -> None:
        """Cancel, or confirm."""
        if message.press.id == "confirm":
            self.action_confirm()
        else:
            self.action_close()

    def action_confirm(self) -> None:
        """Go ahead, if every answer holds and it may still be done."""
        self._refused = self._refusal()
        if self._refused or any(map(self._wrong, self._asking)):
            self.show()
        else:
            self.end({asked.field.key: asked.answer for asked in self._asking})

    def action_scroll(self, pages: int) -> None:
        """Scroll what happens, where the targets are many."""
        body = self.query_one(".body", VerticalScroll)
        body.scroll_relative(y=pages * max(body.size.height - 1, 1), animate=False)

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
        told = [(self._refused, "bad")] if self._refused else [(text, "") for text in question.happens]
        body = self.query_one("#happens", Lines)
        body.present(paragraphs([*told, *self._targets()], max(body.size.width, LEAST_WIDTH), margin=0))
        for asked in self._asking:
            self.query_one(f"#label-{asked.field.key}", Lines).present(self._label(asked, width))
        if question.weigh is not None:
            said = [(self._weighed, "warn")] if self._weighed else []
            self.query_one("#weighed", Lines).present(paragraphs(said, width, margin=0))
        self.query_one("#confirm").disabled = any(map(self._wrong, self._asking))
        keys = self.query_one("#keys", Lines)
        keys.present([key_line(self.commands(), max(keys.size.width, 1))])
        self.call_after_refresh(self._into_sight)

    def _into_sight(self) -> None:
        """What is being asked, with its label, where a form is longer than the terminal: Textual scrolls to what has
        the focus, but not to what stands above it."""
        asked = self.focused
        if self.is_current and isinstance(asked, Text | Choice):
            label = self.query_one(f"#label-{asked.field.key}")
            both = label.virtual_region.union(asked.virtual_region)
            self.query_one(".fields", VerticalScroll).scroll_to_region(both, animate=False, force=True)

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

    def _targets(self) -> list[tuple[str, str]]:
        targets: Sequence[str] = self._question.targets
        if len(targets) < 2:
            return [(target, "strong") for target in targets]
        return [(f"{len(targets)} targets:", ""), *((f"- {target}", "strong") for target in targets)]
