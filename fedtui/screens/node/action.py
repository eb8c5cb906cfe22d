"""An act on the node as a whole, as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required

if TYPE_CHECKING:
    from textual.app import App

    from fedtui.screens.shell.console_context import ConsoleContext


WHY = Field("reason", "Reason, for the record", check=required)
"""Asked for by each act on the node."""


class ActingScreen(Protocol):
    """What an act needs of the screen that it is begun from."""

    shared: ConsoleContext

    @property
    def app(self) -> App[object]:
        """The program, which opens dialogs."""

    def say(self, text: str) -> None:
        """Show a line above the keys."""


def _as_answered(_shared: ConsoleContext, answers: Answers) -> Mapping[str, Any]:
    return answers


@dataclass(frozen=True, slots=True)
class NodeAct:
    """What is asked (it may read, so beside the event loop), the core's action, and what happened when it is done.

    `params` makes the action's parameters of the answers. `done` is None where the operation declares it.
    """

    ask: Callable[[ConsoleContext], Question]
    action: str
    done: str | None
    params: Callable[[ConsoleContext, Answers], Mapping[str, Any]] = _as_answered
