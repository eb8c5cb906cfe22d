"""Fixtures shared by every test: time that is passed in, and nodes on a real database.

`pytest --database postgresql` runs every test that has a node on PostgreSQL instead of SQLite.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedtui.core.node import Node, init_node
from fedtui.core.runtime import home as homes
from fedtui.core.runtime import settings
from tests.postgres import NotHere, Server, new_server

SQLITE, POSTGRESQL = "sqlite", "postgresql"
ON_A_DATABASE = {"shared_server", "postgres"}
"""Fixtures by which a test is known to have a database: what gives it one rests on the first."""
SHARED_SERVER = pytest.StashKey[Server]()
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=(SQLITE, POSTGRESQL), default=SQLITE, help="What the nodes keep records on.")


def pytest_configure(config: pytest.Config) -> None:
    """One server for the whole run, started before its workers are."""
    if config.getoption("--database") == POSTGRESQL and not hasattr(config, "workerinput"):
        config.stash[SHARED_SERVER] = new_server()
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Workers())


def pytest_unconfigure(config: pytest.Config) -> None:
    if SHARED_SERVER in config.stash:
        config.stash[SHARED_SERVER].stop()


class Workers:
    """Tells each worker process of the server that all of them use."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if SHARED_SERVER in node.config.stash:
            shared = node.config.stash[SHARED_SERVER]
            node.workerinput["postgres"] = (shared.url, shared.template)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, the tests that have a database, but those about SQLite itself."""
    if config.getoption("--database") == SQLITE:
        return
    kept, left = [], []
    for item in items:
        with_one = ON_A_DATABASE & set(getattr(item, "fixturenames", ()))
        (kept if with_one and not item.get_closest_marker(SQLITE) else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@dataclass
class Databases:
    """Where the nodes of a test keep their records: in their homes, or on a server."""

    server: Server | None
    made: list[str] = field(default_factory=list)

    def config(self) -> dict[str, str]:
        """What config.toml says of a new node's database."""
        if self.server is None:
            return {}
        self.made.append(self.server.new_database())
        return {"database_url": self.made[-1]}

    def empty(self, folder: Path) -> str:
        """The URL of a database with nothing in it."""
        if self.server is None:
            return f"sqlite:///{folder / 'fedtui.db'}"
        self.made.append(self.server.empty_database())
        return self.made[-1]


@pytest.fixture(scope="session")
def shared_server(request: pytest.FixtureRequest) -> Iterator[Server | None]:
    """The server of the whole run; None on SQLite."""
    told = getattr(request.config, "workerinput", {}).get("postgres")
    yield Server(*told) if told else request.config.stash.get(SHARED_SERVER, None)


@pytest.fixture
def databases(shared_server: Server | None) -> Iterator[Databases]:
    """Gives each node of a test a database of its own."""
    given = Databases(shared_server)
    yield given
    for url in given.made:
        assert shared_server is not None
        shared_server.drop(url)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A PostgreSQL of the test's own, to kill and start, whatever the others run on."""
    try:
        server = new_server()
    except NotHere as why:
        pytest.skip(f"no PostgreSQL to test on: {why}")
    yield server
    server.stop()


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path, clock: ManualClock, databases: Databases) -> Iterator[MakeNode]:
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
        if config := databases.config():
            homes.make(tmp_path / name)
            homes.write_private(tmp_path / name / settings.CONFIG_FILE, tomli_w.dumps(config).encode())
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
