"""The program from a cold start: the others of these tests run it forked (tests/forks.py), which must be the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import forks
from tests.homes import Home, MakeHome

COMMANDS = (
    ["--version"],
    ["--help"],
    ["peers", "list", "--json"],
    ["approvals", "list", "--json"],
    ["events", "--json"],
    ["certs", "list", "--json"],
    ["governance", "report", "--json"],
    ["grants", "list"],
    ["operators", "list"],
    ["config", "--json"],
    ["peers", "show", "nobody", "--json"],
    ["frobnicate"],
    ["console"],
)
Start = Callable[..., "subprocess.CompletedProcess[str]"]


def cold(words: list[str], *, env: Mapping[str, str], input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fedtui", *words],
        env=dict(env),
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def forked(words: list[str], *, env: Mapping[str, str], input: str = "") -> subprocess.CompletedProcess[str]:
    return forks.run(words, env=env, input=input, timeout=60)


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home("alpha", "--single-operator")


def test_forked_and_cold_say_the_same(home: Home) -> None:
    """Code, output and errors of a command do not depend on how its process was started."""
    env = home.environment()
    assert forks.possible(env)
    for words in COMMANDS:
        one, other = (start(list(words), env=env) for start in (cold, forked))
        assert (one.returncode, one.stderr) == (other.returncode, other.stderr), words
        assert untimed(one.stdout) == untimed(other.stdout), words


def untimed(text: str) -> str:
    """Without when a report was made."""
    if not text.startswith("{"):
        return text
    return json.dumps({key: value for key, value in json.loads(text).items() if not key.endswith("_at")})


def test_the_installed_script_is_the_program() -> None:
    """`fedtui` beside the interpreter does what `python -m fedtui` does."""
    script = Path(sys.executable).with_name("fedtui")
    said = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == cold(["--version"], env=os.environ).stdout


@pytest.mark.parametrize("start", [cold, forked])
def test_standard_input_is_the_commands_own(home: Home, start: Start) -> None:
    """An option's value of - is read from there, whole."""
    done = start(["peers", "accept", "--invite", "-", "--json"], env=home.environment(), input="fi1\nzzzz\n")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "token_mangled")


def test_a_fork_ends_as_a_process_does(home: Home) -> None:
    """By a signal it is a negative code, and its environment is what it was given."""
    process = forks.Forked(["events", "--follow"], env=home.environment(), stdout=subprocess.PIPE)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL == process.poll()
    assert process.stdout is not None
    process.stdout.close()
    assert "nobody-known is not an operator" in home.run("operators", "list", operator="nobody-known").err


def test_ids_of_forks_are_their_own(home: Home) -> None:
    """The random part of an id differs between processes of one parent: nothing was drawn before the fork."""
    made = [home.ok("peers", "propose", f"https://b{one}.example", code=4)["approval"]["id"] for one in range(3)]
    assert len({one.rpartition("-")[2] for one in made}) == 3


def test_an_environment_read_at_the_start_is_not_forked() -> None:
    """Where the interpreter or a library would begin otherwise, a process is started from the beginning."""
    assert forks.possible({**os.environ, "FEDTUI_HOME": "/nowhere", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"})
    assert not forks.possible({**os.environ, "PYTHONIOENCODING": "ascii"})
    assert not forks.possible({**os.environ, "NO_COLOR": "1"})


@pytest.mark.parametrize(("typed", "offered"), [("fedtui pee", ["peers"]), ("fedtui peers su", ["suspend"])])
def test_a_shell_completes_commands(typed: str, offered: list[str]) -> None:
    """Called as the completion that `--install-completion` writes calls it, it offers the words that fit."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = cold([], env={**os.environ, "_FEDTUI_COMPLETE": "complete_bash", **words})
    assert (done.stdout.split(), done.stderr) == (offered, "")


SHORT = (["--version"], ["--help"], ["events", "--json"])
"""What prints so little that it is held back until the program ends."""


def sent(words: list[str], home: Home, out: int) -> tuple[int, str]:
    """The exit code of a command whose output goes to `out`, and what it says on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "fedtui", *words],
        env=home.environment(),
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", SHORT, ids=" ".join)
def test_output_that_nobody_reads_is_no_failure(home: Home, words: list[str]) -> None:
    """`fedtui ... | true` ends as it would have, and nothing complains."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert sent(words, home, writing) == (0, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    ("words", "ended"), [(["peers", "propose", "https://b.example"], 4), (["doctor", "--json"], 1)], ids=str
)
def test_how_it_ended_is_told_though_nobody_reads(home: Home, words: list[str], ended: int) -> None:
    """`fedtui peers propose ... | true`: the exit code of an act or a check does not depend on who reads its output."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, said = sent(words, home, writing)
    finally:
        os.close(writing)
    assert code == ended, said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", SHORT, ids=" ".join)
def test_output_that_cannot_be_kept_is_told(home: Home, words: list[str]) -> None:
    """`fedtui ... > FILE` on a full disk fails, with what is wrong and a way on."""
    with Path("/dev/full").open("w") as full:
        code, said = sent(words, home, full.fileno())
    assert code == 3
    assert "no room left on the disk" in said
    assert "fix:" in said
    assert "Exception ignored" not in said
