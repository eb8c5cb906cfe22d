"""Fixtures shared by every test: time that is passed in, and nodes on a real database.

`pytest --database postgresql` runs every test that has a node on PostgreSQL instead of SQLite.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedtui.core.bootstrap import init_node
from fedtui.core.node import Node
from fedtui.core.runtime import home as homes
from fedtui.core.runtime import migrate, settings
from fedtui.core.runtime.database import Database
from tests import forks
from tests.postgres import NotHere, Server, new_server

os.environ.pop("PYTHONUNBUFFERED", None)  # few users have it, and what is said into a pipe must come all the same
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that begins the tests in the background has them ignore Ctrl-C, and with them all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
SQLITE, POSTGRESQL = "sqlite", "postgresql"
LONGEST = "chaos"
"""The folder of the tests that take longest, each by itself."""
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
    parser.addoption("--write-golden", action="store_true", help="Pin anew what tests/golden compares with.")


def pytest_configure(config: pytest.Config) -> None:
    """One server for the whole run, started before its workers are."""
    if config.getoption("--database") == POSTGRESQL and not hasattr(config, "workerinput"):
        try:
            config.stash[SHARED_SERVER] = new_server()
        except NotHere as why:
            raise pytest.UsageError(f"There is no PostgreSQL to test on: {why}") from why
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Workers())


def pytest_unconfigure(config: pytest.Config) -> None:
    forks.end()
    if SHARED_SERVER in config.stash:
        config.stash[SHARED_SERVER].stop()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor: half of their time tests wait, for a clock, a socket, a disk, a screen at rest."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * ours


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage again and again took a quarter of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """What is garbage goes now: pytest looks for it five times more, when its process has been told to end already."""
    gc.collect()
    gc.freeze()


class Workers:
    """Tells each worker process of the server that all of them use."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if SHARED_SERVER in node.config.stash:
            shared = node.config.stash[SHARED_SERVER]
            node.workerinput["postgres"] = (shared.url, shared.template)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest come first, so that none is left to the end, when other workers have nothing to do. On PostgreSQL,
    those that have a database, but those about SQLite itself."""
    items.sort(key=lambda item: LONGEST not in item.path.parts)
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
    template: Path
    made: list[str] = field(default_factory=list)

    def place(self, home: Path) -> dict[str, str]:
        """A database with the schema and nothing else for a node to be set up in `home`; what config.toml says of it.

        It is a copy on either kind of database: to migrate takes four fifths of the time of setting up a node.
        What begins with no database at all is in test_migrations.py and test_contract.py.
        """
        homes.make(home)
        if self.server is None:
            if not (home / settings.DATABASE_FILE).exists():
                shutil.copyfile(self.template, home / settings.DATABASE_FILE)
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


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with this program's schema, which those of the nodes are copies of."""
    file = tmp_path_factory.mktemp("template") / settings.DATABASE_FILE
    database = Database(f"sqlite:///{file}")
    try:
        migrate.upgrade(database)
    finally:
        database.close()  # the last connection to leave takes the log of writes with it
    assert not file.with_name(f"{file.name}-wal").exists()
    return file


@pytest.fixture
def databases(shared_server: Server | None, template: Path) -> Iterator[Databases]:
    """Gives each node of a test a database of its own."""
    given = Databases(shared_server, template)
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
        if config := databases.place(tmp_path / name):
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
