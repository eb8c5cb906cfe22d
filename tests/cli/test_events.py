"""`fedtui events` as its user runs it: filters, following, export, verify, audit."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fedtui.cli.program import run
from fedtui.core.audit.events import emit
from fedtui.core.bootstrap import open_node
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from tests.homes import PATIENCE_SECONDS, Home, MakeHome, until

ADA = Actor("operator", "ada", origin="test")


@contextmanager
def inside(home: Home) -> Iterator[Any]:
    node = open_node(settings.load({"FEDTUI_HOME": str(home.path), "FEDTUI_OPERATOR": "ada"}))
    try:
        yield node
    finally:
        node.close()


def happened(home: Home, *numbers: int, seal: bool = False, **options: Any) -> None:
    with inside(home) as node:
        for number in numbers:
            with node.unit(ADA) as unit:
                emit(unit, "system.act", source="test", number=number, **options)
        if seal:
            job_tasks.sealing(node)


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home("alpha", "--single-operator")


class Program:
    """The command line, run in this process, which is quicker: its exit code and what it printed."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        monkeypatch.setenv("FEDTUI_HOME", str(home.path))
        monkeypatch.setenv("FEDTUI_OPERATOR", "ada")

    def run(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = run(["events", *words])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def ok(self, *words: str, code: int = 0) -> Any:
        ended, out, err = self.run(*words, "--json")
        assert ended == code, (words, out, err)
        return json.loads(out)


@pytest.fixture
def program(home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(home, capsys, monkeypatch)


def test_filters_narrow_from_the_command_line(home: Home, program: Program) -> None:
    """Every filter works, wrong values are named, and plain `events` is as it was: newest first."""
    happened(home, 1, 2)
    happened(home, 3, severity="critical")
    rows = program.ok()
    assert [row["payload"].get("number") for row in rows[:3]] == [3, 2, 1]
    assert {
        "id",
        "kind",
        "severity",
        "source",
        "peer_id",
        "actor",
        "origin",
        "correlation_id",
        "payload",
        "emitted_at",
    } <= set(rows[0])
    assert [row["payload"]["number"] for row in program.ok("--severity", "high")] == [3]
    assert [row["payload"]["number"] for row in program.ok("--correlation", rows[1]["correlation_id"])] == [2]
    assert program.ok("--until", "1h") == []
    assert len(program.ok("--source", "test", "--since", "1h", "--limit", "2")) == 2
    assert program.ok("--severity", "loud", code=2)["error"]["code"] == "wrong_usage"
    assert program.ok("--correlation", "0", code=2)["error"]["code"] == "correlation_not_found"
    assert program.ok("--peer", "nobody", code=2)["error"]["code"] == "peer_not_found"
    assert program.ok("--source", "test", "verify", code=2)["error"]["code"] == "wrong_usage"


def test_export_writes_everything_once_oldest_first(home: Home, program: Program, tmp_path: Path) -> None:
    """Exported lines are the record in order, each a JSON object; a file that is there is left alone."""
    happened(home, *range(5))
    file = tmp_path / "events.jsonl"
    assert program.run("export", str(file))[0] == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in program.ok("--limit", "1000"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert program.ok("export", str(file), code=3)["error"]["code"] == "file_exists"
    assert program.ok("export", str(tmp_path / "no" / "x"), code=2)["error"]["code"] == "file_unwritable"
    piped = program.run("export", "-", "--source", "test")[1].splitlines()
    assert [json.loads(line)["payload"]["number"] for line in piped] == list(range(5))


def test_verify_tells_what_was_tampered_with(home: Home, program: Program) -> None:
    """A sound record exits 0 and shows its head; a changed event exits 1 and is named; a lost head is told."""
    happened(home, 1, 2, 3, seal=True)
    verdict = program.ok("verify")
    assert verdict["ok"] is True
    assert verdict["first_bad"] is None
    assert verdict["sealed_through"] == 1
    assert program.ok("verify", "--head", verdict["head"])["ok"] is True
    assert program.ok("verify", "--head", "0" * 12, code=1)["first_bad"]["what"] == "head_missing"
    assert program.ok("verify", "--head", "xyz", code=2)["error"]["code"] == "wrong_usage"
    victim = program.ok("--source", "test")[1]["id"]
    with inside(home) as node, node.database.writing() as session:
        session.execute(text("UPDATE events SET actor = 'eve' WHERE id = :victim"), {"victim": victim})
    bad = program.ok("verify", code=1)["first_bad"]
    assert (bad["what"], bad["event_id"]) == ("changed", victim)
    code, _, err = program.run("verify")
    assert code == 1
    assert victim in err


# --- following ---------------------------------------------------------------------------


@contextmanager
def following(home: Home, *words: str) -> Iterator[subprocess.Popen[str]]:
    follower = subprocess.Popen(
        [sys.executable, "-m", "fedtui", "events", "--follow", *words],
        env=home.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield follower
    finally:
        follower.kill()
        follower.communicate()


def line(follower: subprocess.Popen[str]) -> str:
    assert follower.stdout is not None
    ready, _, _ = select.select([follower.stdout], [], [], PATIENCE_SECONDS)
    assert ready, "nothing came"
    return follower.stdout.readline()


def test_following_shows_each_event_once_as_it_happens(home: Home) -> None:
    """What is there comes first, then each new event, sealed or not, until Ctrl-C, which is no error."""
    happened(home, 0)
    with following(home, "--source", "test", "--json") as follower:
        assert json.loads(line(follower))["payload"]["number"] == 0
        for number in (1, 2, 3):
            happened(home, number, seal=number == 2)
            assert json.loads(line(follower))["payload"]["number"] == number
        happened(home, seal=True)
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=PATIENCE_SECONDS)
        assert out == ""
        assert follower.returncode == 0
        assert "Traceback" not in err


def test_following_ends_when_nobody_reads(home: Home) -> None:
    """`events --follow | head -1` ends by itself, also while nothing happens."""
    with following(home) as follower:
        assert follower.stdout is not None
        assert "20" in line(follower), "a line begins with its time"
        follower.stdout.close()
        assert until(lambda: follower.poll() is not None, "the follower noticed")
        assert follower.stderr is not None
        assert (follower.stderr.read(), follower.returncode) == ("", 0)
        follower.stdout = None
