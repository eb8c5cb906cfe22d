"""An act on the node as a whole, as a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Question

if TYPE_CHECKING:
    from fedtui.screens.shell.console_context import ConsoleContext


@dataclass(frozen=True, slots=True)
class NodeAct:
    """What is asked (it may read, so beside the event loop), the core's action, and what is said when it is done.

    `params` makes the action's parameters of the answers.
    """

    ask: Callable[[ConsoleContext], Question]
    action: str
    done: str
    params: Callable[[Answers], Mapping[str, Any]] = dict
