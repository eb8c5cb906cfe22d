"""Fixtures shared by every test: time that is passed in, and nodes on a real SQLite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedtui.core.node import Node, init_node
from fedtui.core.runtime import settings

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class ManualClock:
    """A clock that only moves when it is told to."""

    at: datetime = field(default=START)

    def now(self) -> datetime:
        return self.at

    def advance(self, **span: float) -> None:
        """Let time pass: `advance(minutes=6)`."""
        self.at += timedelta(**span)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the caller's own node, operator or session."""
    for name in [name for name in os.environ if name.startswith(("FEDTUI_", "SSH_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path, clock: ManualClock) -> Iterator[MakeNode]:
    """Sets up nodes: `make_node("alpha", single_operator=True, heartbeat_interval="5s")`."""
    made: list[Node] = []

    def make(
        name: str = "alpha",
        *,
        url: str | None = None,
        operator: str = "ada",
        single_operator: bool = False,
        drill_mode: bool = False,
        **options: object,
    ) -> Node:
        environment = {"FEDTUI_HOME": str(tmp_path / name), "FEDTUI_OPERATOR": operator}
        node = init_node(
            settings.load(environment, options),
            name=name,
            url=url or f"https://{name}.example",
            single_operator=single_operator,
            drill_mode=drill_mode,
            clock=clock,
        )
        made.append(node)
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """A node called alpha, with one operator, ada."""
    return make_node()
