"""Upkeep: backups taken while others write, and damage that is found and named."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fedtui.core.audit.events import Event, emit
from fedtui.core.bootstrap import open_node
from fedtui.core.errors import Refused, Unusable
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.runtime import backup as upkeep
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.database import Database

pytestmark = pytest.mark.sqlite
ADA = Actor("operator", "ada")


def copy_of(file: Path) -> Database:
    return Database(f"sqlite:///{file}")


@contextmanager
def busy(node: Node) -> Iterator[None]:
    """Another thread writes pairs of events, each pair in one unit, until the block ends."""
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            with node.unit(ADA) as unit:
                emit(unit, "system.act", source="left")
                emit(unit, "system.act", source="right", filler="x" * 500)
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(10)
        yield
    finally:
        stop.set()
        writer.join(10)


def test_backups_while_another_writes(node: Node, tmp_path: Path) -> None:
    """Each of five backups taken under writing is whole, holds one moment (no half unit), and is not older than
    what was committed before it began."""
    with busy(node):
        for number in range(5):
            with node.read() as session:
                before = session.scalar(select(func.count()).select_from(Event)) or 0
            file = tmp_path / f"backup-{number}.db"
            size = upkeep.backup(node.database, file)
            copy = copy_of(file)
            assert size == file.stat().st_size > 0
            assert upkeep.check(copy) == []
            with copy.reading() as session:
                count = select(func.count()).select_from(Event)
                left = session.scalar(count.where(Event.source == "left"))
                assert left == session.scalar(count.where(Event.source == "right"))
                assert (session.scalar(count) or 0) >= before
            copy.close()


def test_a_backup_opens_as_the_node(node: Node, tmp_path: Path) -> None:
    """Put into a home beside the vault's key, a backup is the same node: CA, peers and sealed keys open."""
    with node.unit(ADA) as unit:
        peer_id = peers.add(unit, url="https://b.example").id
    home = tmp_path / "restored"
    home.mkdir(mode=0o700)
    upkeep.backup(node.database, home / "fedtui.db")
    os.link(node.settings.vault_key_path, home / "vault.key")
    restored = open_node(settings.load({"FEDTUI_HOME": str(home)}))
    with restored.read() as session:
        assert peers.get(session, peer_id).remote_instance_url == "https://b.example"
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert restored.id == node.id
    restored.close()


def test_a_backup_is_private_and_leaves_nothing_beside_it(node: Node, tmp_path: Path) -> None:
    """The file is for this account alone whatever the umask, and is all that the backup leaves."""
    target = tmp_path / "backups"
    target.mkdir()
    before = os.umask(0)
    try:
        upkeep.backup(node.database, target / "b.db")
    finally:
        os.umask(before)
    assert (target / "b.db").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in target.iterdir()] == ["b.db"]


def test_what_a_killed_backup_left_goes_with_the_next(node: Node, tmp_path: Path) -> None:
    """An unfinished copy whose process has died is removed by the next backup there; that of a backup at work, a file
    of the same name, and what a link of that name leads to, are left alone."""
    target, elsewhere = tmp_path / "backups", tmp_path / "elsewhere"
    names = ("dead", "working", "link")
    dead, working, link = (target / f"{upkeep.UNFINISHED}{name}" for name in names)
    for folder in (target, elsewhere, dead, working):
        folder.mkdir()
    (dead / "partial.db").write_text("half")
    (elsewhere / "mine").write_text("mine")
    link.symlink_to(elsewhere)
    (target / f"{upkeep.UNFINISHED}file").write_text("mine")
    at_work = os.open(working, os.O_RDONLY)
    try:
        fcntl.flock(at_work, fcntl.LOCK_EX)
        upkeep.backup(node.database, target / "b.db")
    finally:
        os.close(at_work)
    assert (elsewhere / "mine").read_text() == "mine"
    assert sorted(one.name.removeprefix(upkeep.UNFINISHED) for one in target.iterdir()) == [
        "b.db",
        "file",
        "link",
        "working",
    ]


def test_a_backup_never_writes_over_a_file(node: Node, tmp_path: Path) -> None:
    """An existing destination, a directory there, or a dangling link is refused; whatever lies in the directory,
    also under a name a backup might use on its way, stays as it is."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "file.partial").write_text("mine too")
    (tmp_path / "other.partial").write_text("mine as well")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "dir", "link"):
        with pytest.raises(Refused) as raised:
            upkeep.backup(node.database, tmp_path / name)
        assert raised.value.code == "file_exists"
    upkeep.backup(node.database, tmp_path / "other")
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "file.partial").read_text() == "mine too"
    assert (tmp_path / "other.partial").read_text() == "mine as well"
    assert not (tmp_path / "nowhere").exists()


def test_a_backup_that_cannot_be_written_is_explained(node: Node, tmp_path: Path) -> None:
    """A destination in a directory that does not exist is a problem with a fix, not a traceback."""
    with pytest.raises(Unusable) as raised:
        upkeep.backup(node.database, tmp_path / "absent" / "b.db")
    assert raised.value.code == "backup_failed"


@pytest.mark.parametrize("name", ["q?x", "h#x", "p%20x", "with space", "ü"])
def test_a_backup_is_of_the_right_file(tmp_path: Path, name: str) -> None:
    """Whatever characters the database's path has, the backup is of that file."""
    (tmp_path / name).mkdir()
    database = Database(settings.load({"FEDTUI_HOME": str(tmp_path / name)}).resolved_database_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE marker (x)")
    upkeep.backup(database, tmp_path / "backup.db")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as copy:
        assert copy.execute("SELECT name FROM sqlite_master").fetchall() == [("marker",)]
    database.close()


@pytest.fixture
def copy(node: Node, tmp_path: Path) -> Path:
    """A backup of a node with enough in it to be worth damaging."""
    with node.unit(ADA) as unit:
        for _ in range(200):
            emit(unit, "system.act", source="filler", filler="x" * 300)
    upkeep.backup(node.database, tmp_path / "copy.db")
    return tmp_path / "copy.db"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.25, 0.5, 0.75, 0.99])
def test_a_corrupted_file_is_found(copy: Path, share: float) -> None:
    """Bytes flipped anywhere, from the header to the last page, are found and told in words, never a traceback."""
    assert upkeep.check(copy_of(copy)) == []
    content = bytearray(copy.read_bytes())
    start = int(len(content) * share) // 4096 * 4096
    content[start : start + 64] = bytes(byte ^ 0xA5 for byte in content[start : start + 64])
    copy.write_bytes(content)
    database = copy_of(copy)
    found = upkeep.check(database)
    assert found
    assert all(isinstance(one, str) and one for one in found)
    database.close()


def test_a_truncated_file_is_found(copy: Path) -> None:
    """A file that lost its second half is found."""
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    assert upkeep.check(copy_of(copy))


def test_a_foreign_schema_is_found(copy: Path) -> None:
    """A database at another revision than the program's is reported with both."""
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert ["9999" in one for one in upkeep.check(copy_of(copy))] == [True]


def test_checking_holds_up_no_writer(node: Node) -> None:
    """A check reads only: it runs while another has a write open, and finds nothing."""
    with node.unit(ADA) as unit:
        emit(unit, "system.act", source="open")
        unit.session.flush()
        assert upkeep.check(node.database) == []
