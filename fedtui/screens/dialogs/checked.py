"""The dialog that shows a call put through every check, which of them fails, and what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.shell.commands import CHECKS, Command

if TYPE_CHECKING:
    from fedtui.core.grants.explain import Explanation

MARKS = {True: ("✓ ok", ""), False: ("✗ REFUSED", "bad"), None: ("·", "dim")}
"""What each check came to: glyph, word, style."""


class Checked(Dialog[bool]):
    """An explanation. True: carry out what would help."""

    places: ClassVar[tuple[str, ...]] = (CHECKS,)

    def __init__(self, found: Explanation, what: str) -> None:
        super().__init__()
        self._found = found
        self._what = what

    @property
    def fixable(self) -> bool:
        """Whether there is something that can be done from here."""
        return any(change.action for change in self._found.changes)

    def commands(self) -> list[Command]:
        """`f` only where there is something to do."""
        return [one for one in super().commands() if one.name != "do-fix" or self.fixable]

    def told(self) -> list[tuple[str, str]]:
        """The answer, every check with what it came to, and what would help."""
        judged = self._found.judgement
        refusal = judged.refusal
        head = (
            "Allowed."
            if judged.allowed
            else f"Refused ({refusal.status}): {judged.code}"
            if refusal
            else "Not decided."
        )
        lines = [(f"{self._what}", "strong"), (head, "good" if judged.allowed else "bad"), ("", "")]
        for one in judged.results:
            word, style = MARKS[one.passed]
            lines.append((f"{word} {one.check.replace('_', ' ')}: {one.detail}", style))
        if self._found.changes:
            lines.append(("", ""))
            lines += [(f"fix: {change.title}", "strong") for change in self._found.changes]
            if not self._found.complete:
                lines.append(("More may stand behind what was not checked.", "dim"))
        return lines

    def action_close(self) -> None:
        """Read and understood."""
        self.end(False)

    def action_fix(self) -> None:
        """Do what helps."""
        if self.fixable:
            self.end(True)
