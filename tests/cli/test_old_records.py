"""Old records: a database of the first schema, a backup taken under load; both come back whole, and federate."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fedtui.core.bootstrap import open_node
from fedtui.core.runtime import migrate, settings
from fedtui.core.runtime.database import Database
from tests.homes import Home, acted, until

pytestmark = [pytest.mark.sqlite, pytest.mark.timeout(300)]
FIRST = "0001"
WHY = ("--reason", "the disk died")
Rows = dict[str, list[dict[str, Any]]]


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in found if name != "alembic_version"]


def columns(file: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def rows(file: Path, shape: Path) -> Rows:
    """What `file` holds of the tables and columns that `shape` has."""
    found: Rows = {}
    with closing(sqlite3.connect(file)) as connection:
        for table in tables(shape):
            names = columns(shape, table)
            asked = connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2")  # noqa: S608
            found[table] = [dict(zip(names, row, strict=True)) for row in asked]
    return found


def of_the_first_schema(home: Home, file: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Write the node's records as the first release kept them: made by its own migration; what they are."""
    database = Database(f"sqlite:///{file}")
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", FIRST)
        migrate.upgrade(database)
    database.close()
    known = rows(home.path / "fedtui.db", file)
    with closing(sqlite3.connect(file)) as connection, connection:
        for table, lines in known.items():
            for line in lines:
                marks = ", ".join("?" * len(line))
                connection.execute(f"INSERT INTO {table} ({', '.join(line)}) VALUES ({marks})", [*line.values()])  # noqa: S608
    return known


def stop(home: Home) -> None:
    home.daemons[-1].send_signal(signal.SIGTERM)
    assert home.daemons[-1].wait(timeout=30) == 0


def federates(home: Home, other: Home) -> None:
    """Wait until each has heard the other since now."""
    now = datetime.now(UTC)

    def heard() -> bool:
        [peer] = [one for one in home.ok("peers", "list") if one["remote_instance_url"] == other.url]
        times = [peer["last_heartbeat_at"], peer["last_outbound_at"]]
        return peer["status"] == "active" and all(time and datetime.fromisoformat(time) > now for time in times)

    until(heard, f"{home.path.name} and its peer hear each other", 60)


def made_of_everything(home: Home, other: Home) -> None:
    """Something in every table."""
    acted(home, "federation_grant_issue", {"peer": other.url, "subject": "s", "kind": "doc", "scopes": ["read"]})
    acted(home, "policy_set", {"policy_action": "system.federation_peer_edit", "policy": "require_approval"})
    acted(home, "manager_pause", {"reason": "test"})
    acted(home, "manager_resume", {"reason": "test"})


def test_the_first_schema_comes_to_the_present_whole(two: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch) -> None:
    """A running node's records as the first release kept them, with rows in every table of then: upgraded, none of
    them and nothing in them is lost; the seals begin, the node serves, and its peer hears it."""
    home, other = two
    made_of_everything(home, other)
    old, file = home.path.parent / "old.db", home.path / "fedtui.db"
    before = of_the_first_schema(home, old, monkeypatch)
    assert [table for table, lines in before.items() if not lines] == []
    stop(home)
    for part in home.path.glob("fedtui.db*"):
        part.unlink()
    shutil.copy(old, file)
    file.chmod(0o600)
    home.ok("db", "backup", str(home.path.parent / "before.db"))
    assert rows(home.path.parent / "before.db", old) == before, "a backup is of what is there, not of an upgrade"
    assert home.ok("db", "upgrade") == {"upgraded": True, "revision": migrate.HEAD}
    after = rows(file, old)
    for table, lines in before.items():
        assert after[table] == lines, table
    home.serve()
    federates(home, other)
    assert home.ok("events", "verify")["ok"] is True
    assert home.ok("db", "check") == {"ok": True}
    assert [one["remote_subject"] for one in home.ok("grants", "list")] == ["s"]


def test_an_old_backup_is_restored_and_upgraded(two: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of the first schema, restored by this release: whole, in quarantine, and after that is ended the
    peer hears the node again."""
    home, other = two
    made_of_everything(home, other)
    old = home.path.parent / "old.db"
    before = of_the_first_schema(home, old, monkeypatch)
    stop(home)
    assert home.ok("db", "restore", str(old), *WHY)["quarantine"] is True
    after = rows(home.path / "fedtui.db", old)
    for table, lines in before.items():
        kept = [line for line in after[table] if line.get("id") in {one.get("id") for one in lines}]
        if table not in ("approvals", "acceptance_tokens", "daemons"):  # which the quarantine ends
            assert kept == lines, table
    home.serve()
    home.ok("db", "confirm", *WHY)
    federates(home, other)
    assert home.ok("events", "verify")["ok"] is True


@contextmanager
def load(home: Home, other: Home) -> Iterator[list[str]]:
    """Grants issued one after the other until the block ends: the subjects of those that are."""
    issued: list[str] = []
    over = threading.Event()

    def issue() -> None:
        node = open_node(settings.load({"FEDTUI_HOME": str(home.path), "FEDTUI_OPERATOR": "ada"}))
        try:
            while not over.is_set():
                subject = f"s{len(issued)}"
                wanted = {"peer": other.url, "subject": subject, "kind": "doc", "scopes": ["read"]}
                node.request(node.actor("test"), "system.federation_grant_issue", wanted)
                issued.append(subject)
        finally:
            node.close()

    worker = threading.Thread(target=issue)
    worker.start()
    try:
        yield issued
    finally:
        over.set()
        worker.join(30)


def test_a_backup_under_load_is_restored_whole(two: tuple[Home, Home]) -> None:
    """Taken while grants are issued, heartbeats come and the daemon works: all that was done before it began is in
    it, the record fits its seals, and restored it federates again."""
    home, other = two
    file = home.path.parent / "b.db"
    with load(home, other) as issued:
        until(lambda: len(issued) > 20, "the load is on")
        certain = len(issued)
        home.ok("db", "backup", str(file))
        assert len(issued) > certain
    stop(home)
    home.ok("db", "restore", str(file), *WHY)
    there = {one["remote_subject"] for one in home.ok("grants", "list", "--limit", "100000")}
    assert there >= set(issued[:certain])
    assert there == {f"s{number}" for number in range(len(there))}, "what came after one that is not there"
    assert home.ok("events", "verify")["ok"] is True
    assert home.ok("db", "check") == {"ok": True}
    home.serve()
    home.ok("db", "confirm", *WHY)
    federates(home, other)
