"""The program started as nobody should start it: streams closed, turned round or full, words that are no text."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fedtui.cli.guard import guarded
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.actor import os_user
from fedtui.core.runtime.settings import default_home
from tests.forks import Forked
from tests.homes import Home, MakeHome

NO_SUCH_COMMAND = ("frobnicate", "--json")
TOLD_ON = {
    "<&-": (True, True),
    ">&-": (False, True),
    "2>&-": (True, False),
    "<&- >&- 2>&-": (False, False),
    "1</dev/null": (False, True),
    "2</dev/null": (True, False),
    "0>/dev/null": (True, True),
    ">/dev/full": (False, True),
    "2>/dev/full": (True, False),
    ">/dev/full 2>/dev/full": (False, False),
}
"""How the streams are, and which of the two still tell: closed, turned round, full."""


def started(words: tuple[str, ...], redirected: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program from a shell, with its streams `redirected`."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$@" {redirected}', sys.executable, "-m", "fedtui", *words],
        env={**plain(), **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def plain() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FEDTUI_")}


@pytest.mark.parametrize("redirected", TOLD_ON)
def test_an_error_is_told_on_the_streams_that_are_left(redirected: str) -> None:
    """Its code is the one it always has, JSON is one object, and Python itself says nothing."""
    done = started(NO_SUCH_COMMAND, redirected)
    printed, told = TOLD_ON[redirected]
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "wrong_usage" if printed else done.stdout == b""
    assert done.stderr.startswith(b"fedtui: No such command") if told else done.stderr == b""
    assert b"Traceback" not in done.stderr


def test_what_is_printed_with_no_stream_open_goes_nowhere_else(make_home: MakeHome) -> None:
    """No file that the program opens takes the number of a closed stream: the database stays whole."""
    home: Home = make_home("alpha", "--single-operator")
    assert started(("events", "--json"), "<&- >&- 2>&-", **home.environment()).returncode == 0
    assert started(("db", "check"), **home.environment()).returncode == 0


def test_words_that_are_no_text_are_refused() -> None:
    """Bytes that no character is made of are told, before a database is asked to keep them."""
    word = os.fsdecode(b"\xff\xfe")
    assert json.loads(started(("peers", "show", word, "--json")).stdout)["error"]["code"] == "not_text"


def test_a_terminal_without_our_characters_is_shown_what_they_are() -> None:
    """What the output's encoding lacks is spelled out."""
    done = started(("frobnicaté",), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, b"fedtui: No such command 'frobnicat\\xe9'.")


def test_a_daemon_serves_whether_or_not_its_output_is_read(make_home: MakeHome) -> None:
    """`serve | true`: that it listens stands in its log, too, and it ends as it is told to."""
    home = make_home("alpha", "--single-operator")
    reading, writing = os.pipe()
    os.close(reading)
    daemon = Forked(
        ["serve", "--listen", "127.0.0.1:0"], env=home.environment(), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert daemon.stderr is not None
    try:
        told = [daemon.stderr.readline()]
        while told[-1] and "listens on https://127.0.0.1:" not in told[-1]:
            told.append(daemon.stderr.readline())
    finally:
        daemon.terminate()
    told += daemon.stderr.readlines()
    assert daemon.wait(30) == 0
    daemon.stderr.close()
    assert "listens on" in "".join(told)
    assert "Traceback" not in "".join(told)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(), 0, ""),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [BrokenPipeError()])]), 0, ""),
        (ExceptionGroup("tasks", [OSError(errno.ENOSPC, "full")]), 3, "no room left"),
        (MemoryError(), 3, "not enough memory"),
        (NotADirectoryError(errno.ENOTDIR, "no directory", "/etc/passwd"), 3, "/etc/passwd"),
    ],
    ids=repr,
)
def test_what_the_machine_refuses_is_no_bug_of_ours(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone or among tasks that ran at once, as MCP's do: the code and words of what is the matter."""

    def work() -> int:
        raise error

    assert guarded(work) == code
    assert said in capsys.readouterr().err


def test_an_account_without_a_name_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers that are given any uid: who acts is told all the same."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert os_user() == "uid-3999999999"


def test_without_a_home_directory_the_nodes_home_is_asked_for() -> None:
    """A home that nobody named and the system does not know is told, with how to name it."""
    with pytest.raises(WrongUsage, match="cannot be told"):
        default_home({"FEDTUI_HOME": "~nobody-of-this-name/home"})


def test_ctrl_c_while_the_program_is_being_loaded_just_ends_it(tmp_path: Path) -> None:
    """Before there is anybody to catch it, too, Python has nothing to say."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport nothing\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = started(("--version",), PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
