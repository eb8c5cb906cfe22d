"""What was filled in for an act that did not come about: kept, so that nobody types it twice."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedtui.screens.dialogs.ask import Answers, Question

KEPT = "What you filled in is kept: the same key asks again, with it."
AGAIN = "Filled in as before, when it could not be done."


class Drafts:
    """Answers by what they were for. Of each question only what was changed is kept: the rest may have moved on.

    They are kept from the moment that somebody confirms until what was asked for is done, and end with the console.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Answers] = {}

    def keep(self, key: Hashable, question: Question, answers: Answers) -> None:
        """Keep what was filled in."""
        filled_in = {
            field.key: answers[field.key]
            for field in question.fields
            if answers[field.key] != field.value and not field.anew
        }
        if filled_in:
            self._kept[key] = {**self._kept.get(key, {}), **filled_in}

    def fill(self, key: Hashable, question: Question) -> Question:
        """The question with what is kept for it, and a word that it is."""
        kept = self._kept.get(key, {})
        fields = tuple(replace(field, value=kept.get(field.key, field.value)) for field in question.fields)
        return replace(question, fields=fields, happens=(*question.happens, AGAIN)) if kept else question

    def kept(self, key: Hashable) -> str:
        """What to tell whoever filled it in, if anything is kept."""
        return KEPT if key in self._kept else ""

    @contextmanager
    def until_done(self, key: Hashable, question: Question, answers: Answers) -> Iterator[None]:
        """Keep what was filled in while it is being done, and on if that fails."""
        self.keep(key, question, answers)
        yield
        self.move(key, None)

    def move(self, key: Hashable, rest: Hashable | None) -> None:
        """It is done, all of it (None) or but for a rest, which what is kept is kept for."""
        kept = self._kept.pop(key, None)
        if kept is not None and rest is not None:
            self._kept[rest] = kept
