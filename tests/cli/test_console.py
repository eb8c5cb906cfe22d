"""The console as its operator runs it: on a terminal, with the daemon it needs, and on an empty machine."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtui.lab.faults.model import MARKER
from tests.benchmarks.terminal import Terminal, environment
from tests.homes import Home, MakeHome, free_port, until

RUNS_ONE = "No daemon was running: this console runs one"
Open = Callable[..., Terminal]


@pytest.fixture
def open_console() -> Iterator[Open]:
    """Opens `fedtui WORDS` on a terminal for a home: `open_console(home.path, "console")`."""
    opened: list[Terminal] = []

    def open_(home: Path, *words: str) -> Terminal:
        environ = environment(FEDTUI_HOME=str(home), FEDTUI_OPERATOR="ada")
        opened.append(Terminal("-m", "fedtui", *words, environ=environ))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def daemons_of(home: Path) -> list[int]:
    """The processes that serve this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and f"FEDTUI_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # ended meanwhile, or not ours
    return found


def serves(home: Home, times: int = 1) -> bool:
    """Whether a console's child serves the node by now, the so-many-th that was started."""
    log = home.path / "daemon.log"
    return log.exists() and log.read_text().count("listening on https") == times


def test_without_a_daemon_the_console_runs_one_until_it_is_left(make_home: MakeHome, open_console: Open) -> None:
    """It says so, the child serves the node, and after q no process and no record of it is left."""
    home = make_home()
    console = open_console(home.path)
    console.await_text(RUNS_ONE)
    until(lambda: serves(home), "the child serves")
    [child] = daemons_of(home.path)
    assert b"FEDTUI_OPERATOR" not in Path(f"/proc/{child}/environ").read_bytes()
    console.press("q")
    assert console.wait() == 0
    assert daemons_of(home.path) == []
    assert home.ok("manager", "status")["daemons"] == []
    assert (home.path / "daemon.log").stat().st_mode & 0o777 == 0o600


def test_a_node_that_the_demo_made_says_so_in_every_console(make_home: MakeHome, open_console: Open) -> None:
    """Opened by itself, as its second operator does, the console's band says DEMO; on any other node it does not."""
    for name, made_by_the_demo in (("alpha", True), ("beta", False)):
        home = make_home(name)
        if made_by_the_demo:
            (home.path / MARKER).touch()
        console = open_console(home.path, "console", "--read-only", "-c", "peers")
        console.await_text("No peers yet")
        assert (b"DEMO" in console.text) == made_by_the_demo


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_however_the_console_ends_its_daemon_does(make_home: MakeHome, open_console: Open, number: int) -> None:
    """kill -9 and a hang-up of the console end the child it started."""
    home = make_home()
    console = open_console(home.path, "console")
    until(lambda: serves(home), "the child serves")
    console.process.send_signal(number)
    console.wait()
    until(lambda: daemons_of(home.path) == [], "the child has ended")


def test_with_a_daemon_running_none_is_started(make_home: MakeHome, open_console: Open) -> None:
    """A console beside a daemon starts none, and leaves that daemon alone when it leaves."""
    home = make_home()
    daemon = home.serve(cold=True)
    console = open_console(home.path, "console", "-c", "nowhere/at-all")
    console.await_text("There is no place")
    assert daemons_of(home.path) == [daemon.pid]
    console.press("q")
    assert console.wait() == 0
    assert RUNS_ONE.encode() not in console.text
    assert daemon.poll() is None


def test_a_second_console_takes_over_when_the_first_leaves(make_home: MakeHome, open_console: Open) -> None:
    """The second starts no daemon beside the first's; when that ends, it runs one itself, and says so."""
    home = make_home()
    first = open_console(home.path)
    until(lambda: serves(home), "the first console's child serves")
    [child] = daemons_of(home.path)
    second = open_console(home.path)
    second.await_text("No peers yet")
    assert daemons_of(home.path) == [child]
    first.press("q")
    assert first.wait() == 0
    second.await_text(RUNS_ONE, seconds=10)
    until(lambda: serves(home, 2), "the second console's child serves")
    assert child not in daemons_of(home.path)
    second.press("q")
    assert second.wait() == 0
    assert daemons_of(home.path) == []


def test_a_child_that_cannot_start_says_why(make_home: MakeHome, open_console: Open) -> None:
    """When the port is taken by another program, the console goes on and names the port."""
    home = make_home()
    other = make_home("other", "--single-operator")
    config = other.path / "config.toml"
    config.write_text(config.read_text().replace(other.listen, home.listen))
    home.serve()
    console = open_console(other.path)
    console.await_text("none could be started")
    console.await_text("Another program listens there")
    assert home.listen.encode() in console.text
    console.press("q")
    assert console.wait() == 0


def test_beside_a_daemon_that_cannot_write_none_is_started(make_home: MakeHome, open_console: Open) -> None:
    """Another program holds the write lock until the daemon counts as silent: the console names that, and starts
    no second daemon."""
    home = make_home()
    home.serve()
    database = home.path / "fedtui.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with home.opened() as node:
            until(lambda: node.overview().silent_daemon, "the daemon counts as silent")
        console = open_console(home.path)
        console.await_text("DAEMON SILENT")
        console.await_text("cannot write")
        assert f"process {home.daemon.pid}".encode() in console.text
        assert daemons_of(home.path) == []  # the tests' own is forked, and bears another name
        assert not (home.path / "daemon.log").exists()
        console.press("q")
        assert console.wait() == 0


def test_beside_a_daemon_that_is_stopped_none_is_started(make_home: MakeHome, open_console: Open) -> None:
    """A daemon that a signal has stopped is named by its process, not as an address in use."""
    home = make_home()
    home.serve()
    os.kill(home.daemon.pid, signal.SIGSTOP)
    with home.opened() as node:
        until(lambda: node.overview().silent_daemon, "the daemon counts as silent")
    console = open_console(home.path)
    console.await_text(f"process {home.daemon.pid} ")  # and, stopped within a transaction, that it cannot write
    assert not (home.path / "daemon.log").exists()
    console.press("q")
    assert console.wait() == 0


def test_a_read_only_console_starts_nothing(make_home: MakeHome, open_console: Open) -> None:
    """With --read-only the node is looked at and nothing else: no daemon is started, and the band says so."""
    home = make_home()
    console = open_console(home.path, "console", "--read-only")
    console.await_text("READ-ONLY")
    console.await_text("NO DAEMON")
    console.press("q")
    assert console.wait() == 0
    assert not (home.path / "daemon.log").exists()


def test_an_empty_machine_is_offered_two_ways_on(tmp_path: Path, open_console: Open) -> None:
    """Where there is no node, the demo and setting one up are offered; q leaves with 0 and makes nothing."""
    console = open_console(tmp_path / "home")
    console.await_text("d See the demo")
    console.await_text("s Set up a node here")
    console.press("q")
    assert console.wait() == 0
    assert not (tmp_path / "home").exists()


def test_the_first_run_sets_a_node_up(tmp_path: Path, open_console: Open) -> None:
    """The form, filled in by keys, makes a node whose console opens at once, with a daemon of its own."""
    port = free_port()
    home = Home(tmp_path / "home", f"https://127.0.0.1:{port}", f"127.0.0.1:{port}")
    console = open_console(home.path, "console")
    console.await_text("Set up a node here")
    console.press("s")
    console.await_text("Operators")
    console.press("\x15")  # Ctrl-U: away with the guess
    console.await_text("This is needed.")
    console.press("north\t")
    console.press("\x15")
    console.await_text("It does not begin with https://")
    console.press(home.url)
    console.await_text(home.listen)  # what fits the URL, as far as it is typed
    console.press("\t\t\t\t\r")
    console.await_text("open the console")
    console.await_text("sha256:")
    console.press("\r")
    console.await_text("No peers yet")
    until(lambda: serves(home), "the child serves")
    console.press("q")
    assert console.wait() == 0
    made = {row["key"]: row["value"] for row in home.ok("settings", "list")}
    assert made["single_operator"] in ("on", True)
    assert [row["name"] for row in home.ok("operators", "list")] == ["ada"]


def test_a_console_file_that_cannot_be_is_refused_before_anything_starts(
    make_home: MakeHome, open_console: Open
) -> None:
    """A key with two meanings is told with cause and fix, and exit code 2; no screen, and no daemon."""
    home = make_home()
    (home.path / "console.toml").write_text('[keys]\nsuspend = "d"\n')
    console = open_console(home.path)
    console.await_text("suspend cannot be on the key 'd'")
    console.await_text("it is doctor's")
    assert console.wait() == 2
    assert daemons_of(home.path) == []
    assert not (home.path / "daemon.log").exists()
