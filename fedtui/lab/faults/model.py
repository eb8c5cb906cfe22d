"""What a fault is: how it is staged on two federated nodes, and which causes the doctor must name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedtui.core.errors import Refused

MARKER = "practice.json"
"""In the home of every node that the demo makes. A home without it is somebody's own."""
Node = Any
"""An open node (`core/node.py`), which stands above this package."""
Look = Mapping[str, str]
"""What else the doctor is told: the token that is held, the decision that is asked about."""
HERE, THERE = "alpha", "beta"
"""The node that is diagnosed, and its peer."""
NETWORK = "0195d3a2-7c1e-7000-8000-0000000000b1"
"""The SDWAN network over which calls reach the practice nodes."""
YOU, BETA, CALLER, BEN = "you", "beta's people", "the caller's people", "ben"
PROXY = "the proxy's people"
"""Who has a part in mending: whoever practises, as alpha's operator ada, and those whom the demo plays."""


class Range(Protocol):
    """Two nodes that are active with each other, as a fault may handle them."""

    def home(self, name: str) -> Path: ...
    def url(self, name: str) -> str: ...
    def opened(self, name: str, operator: str = "") -> AbstractContextManager[Node]:
        """The node, as its first operator unless told otherwise."""

    def act(self, name: str, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """An act through the gate, approved by the other operator where it must be; its result."""

    def start(self, name: str) -> None:
        """Start the daemon, and wait until it listens."""

    def stop(self, name: str) -> None:
        """Stop the daemon."""

    def configure(self, name: str, **values: Any) -> None:
        """Set keys of config.toml; None takes one out. A running daemon does not see it."""

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` gives as soon as it gives anything."""

    def post(
        self,
        name: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        peer: bool = False,
        method: str = "POST",
        bearer: str = "",
        pair: tuple[str, bytes] | None = None,
    ) -> int:
        """A call to a node's API, as a stranger, with the other node's pair, or with one made up; the status."""

    def beside(self, program: str, *words: str) -> None:
        """Run a Python program beside the nodes until the range ends, or `stop_beside`."""

    def stop_beside(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part of mending that no act of alpha's gate carries out as it is offered: whose it is, and what they do."""

    whose: str
    do: Callable[[Range], None]

    @property
    def played(self) -> bool:
        """Whether it is somebody's whom the demo plays; else it is for the one who practises."""
        return self.whose != YOU


def yours(do: Callable[[Range], None]) -> Part:
    """What alpha's own operator does, by hand on this machine or through the gate."""
    return Part(YOU, do)


def theirs(do: Callable[[Range], None], whose: str = BETA) -> Part:
    """What others do once they are told."""
    return Part(whose, do)


@dataclass(frozen=True, slots=True)
class Fault:
    """A row: what is broken, in words for the one who practises, and how.

    `causes` is what `doctor` names at alpha, exactly, asked for `symptom` where one is given; `stage` returns
    further options of the doctor. `mend` is what people do, one after the other, where the acts that are
    offered at alpha do not suffice. Without it they do, at alpha or (`Fix.where`) at beta.
    """

    name: str
    told: str
    causes: tuple[str, ...]
    stage: Callable[[Range], Look | None]
    symptom: str | None = None
    mend: tuple[Part, ...] = ()


def require_practice(home: Path) -> None:
    """Raise `Refused` for a home that the demo did not make."""
    if not (home / MARKER).is_file():
        raise Refused(
            f"{home} was not made by the demo.",
            cause="Faults are staged on practice nodes only.",
            fix="Run: fedtui demo --fault NAME",
            code="not_for_practice",
        )
