"""Homes as people have them: a config.toml that was there first, no right to write, a database URL gone wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.homes import Home, MakeHome, free_port


@contextmanager
def frozen(directory: Path) -> Iterator[None]:
    """A directory in which nothing can be written: without the right to, or for root on a read-only mount."""
    if os.getuid() != 0:
        modes = {path: path.stat().st_mode for path in (directory, *directory.iterdir())}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    mount = [["mount", "--bind", directory, directory], ["mount", "-o", "remount,ro,bind", directory]]
    if any(subprocess.run(words, capture_output=True, check=False).returncode for words in mount):
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def listen_of(home: Home) -> str:
    return next(row["value"] for row in home.ok("config") if row["key"] == "listen")


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    """A home that is not set up yet."""
    port = free_port()
    return Home(tmp_path / "home", f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")


def test_init_keeps_where_it_listens_beside_what_config_says(empty: Home) -> None:
    """--listen is written into a config.toml that was there first, above its comments and tables, and counts."""
    empty.path.mkdir(mode=0o700)
    config = empty.path / "config.toml"
    config.write_text('# ours\nheartbeat_interval = "30s"\n')
    empty.ok("init", "--name", "a", "--url", empty.url, "--listen", empty.listen)
    assert listen_of(empty) == empty.listen
    assert config.read_text().endswith('# ours\nheartbeat_interval = "30s"\n')


def test_init_follows_a_link_to_a_config_elsewhere(empty: Home, tmp_path: Path) -> None:
    """A config.toml that is a link stays one; what it leads to is changed."""
    empty.path.mkdir(mode=0o700)
    elsewhere = tmp_path / "kept.toml"
    elsewhere.write_text('heartbeat_interval = "30s"\n')
    (empty.path / "config.toml").symlink_to(elsewhere)
    empty.ok("init", "--name", "a", "--url", empty.url, "--listen", empty.listen)
    assert (empty.path / "config.toml").is_symlink()
    assert listen_of(empty) == empty.listen


def test_init_does_not_quietly_drop_where_it_listens(empty: Home) -> None:
    """A config.toml that names another address is not overruled in silence: nothing is set up, and it is said."""
    empty.path.mkdir(mode=0o700)
    (empty.path / "config.toml").write_text('listen = "127.0.0.1:1"\n')
    refused = empty.ok("init", "--name", "a", "--url", empty.url, "--listen", empty.listen, code=2)
    assert refused["error"]["code"] == "listen_conflict"
    assert not (empty.path / "fedtui.db").exists()
    empty.ok("init", "--name", "a", "--url", empty.url)
    assert listen_of(empty) == "127.0.0.1:1"


@pytest.mark.parametrize("with_log", [False, True])
def test_a_home_that_cannot_be_written_can_be_read(make_home: MakeHome, tmp_path: Path, with_log: bool) -> None:
    """Lists, events, the doctor and a backup answer where nothing can be written, also beside a log that was left; acts
    are refused with the reason."""
    home = make_home()
    if with_log:
        daemon = home.serve()
        daemon.kill()  # its log is left behind
        daemon.wait()
        assert (home.path / "fedtui.db-wal").stat().st_size
    with frozen(home.path):
        assert home.ok("peers", "list") == []
        assert home.ok("events")
        assert home.run("doctor", "--json").json["checks"] > 0
        assert home.ok("db", "backup", str(tmp_path / "kept.db"))["bytes"] > 0
        refused = home.ok("peers", "propose", "https://b.example", code=3)
        assert refused["error"]["code"] == "database_unavailable"
    assert home.ok("peers", "propose", "https://b.example", code=4)["pending"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:zebra@quagga/okapi@db.example/fedtui",
        "postgresql+psycopg://user:zebra/quagga@okapi@db.example/fedtui",
        "postgresql+psycopg://user:zebra:quagga@okapi:x@db.example/fedtui",
        "mysql://user:zebra@quagga/okapi",
        "postgresql+asyncpg://user:zebra@quagga/okapi",
        "zebra://quagga:okapi@db",
        "user:zebra/quagga@okapi",
    ],
)
def test_no_piece_of_a_database_password_is_shown(make_home: MakeHome, url: str) -> None:
    """A URL that cannot be used is refused without any part of it, and never with advice for another database."""
    ran = make_home().run("peers", "list", FEDTUI_DATABASE_URL=url)
    assert ran.code == 2
    for word in ("zebra", "quagga", "okapi", "psycopg[binary]"):
        assert word not in ran.out + ran.err
    assert "postgresql+psycopg://" in ran.err
