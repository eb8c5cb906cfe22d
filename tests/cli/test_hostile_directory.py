"""The program started in a directory that somebody else has filled: nothing of it is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.terminal import Terminal, environment
from tests.homes import MakeHome, until

PLANTED = ("fedtui", "typer", "httpx", "sqlalchemy", "sqlite3", "json", "asyncio")
NOBODY = 65534
RUNS_ONE = "No daemon was running: this console runs one"
CODE = "open({marker!r}, 'a').write(__name__ + '\\n')\n"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory in which every module of the program is somebody else's; returns what their code writes."""
    directory, marker = tmp_path / "hostile", tmp_path / "hostile" / "RAN"
    for name in PLANTED:
        (directory / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (directory / name / file).write_text(CODE.format(marker=str(marker)))
    monkeypatch.chdir(directory)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return marker


def program() -> list[str]:
    """The installed command, or what it is: the package run without the current directory."""
    script = Path(sys.executable).with_name("fedtui")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "fedtui"]


def test_a_console_and_its_daemon_run_nothing_of_the_current_directory(make_home: MakeHome, hostile: Path) -> None:
    """The daemon that a console starts serves the node, and no planted module ran in either."""
    home = make_home()
    environ = environment(FEDTUI_HOME=str(home.path), FEDTUI_OPERATOR="ada")
    environ.pop("PYTHONPATH", None)
    first, *words = program()
    console = Terminal(*words, environ=environ, program=first)
    try:
        console.await_text(RUNS_ONE)
        log = home.path / "daemon.log"
        until(lambda: log.exists() and "listening on https" in log.read_text(), "the child serves")
        console.press("q")
        assert console.wait() == 0
    finally:
        console.close()
    assert not hostile.exists()


def require_runnable(uid: int) -> None:
    """Skip the test where this account cannot become `uid`, or that one cannot run this Python."""
    if uid != os.getuid() and os.getuid() != 0:
        pytest.skip("only root can become another account")
    try:
        subprocess.run([*program(), "--version"], user=uid, check=True, capture_output=True, env={})
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python cannot be run by another account")


@pytest.mark.parametrize("uid", [os.getuid(), NOBODY], ids=["own account", "as sudo -u"])
def test_the_demo_runs_nothing_of_the_current_directory(tmp_path: Path, hostile: Path, uid: int) -> None:
    """Its nodes are this package's, also where another account runs it from a directory of its caller's."""
    require_runnable(uid)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tmp_path.parents[1]) and os.access(parent, os.W_OK):
            parent.chmod(parent.stat().st_mode | 0o011)
    hostile.parent.chmod(0o777)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    ran = subprocess.run(
        [*program(), "demo", "--headless", "--exit-when-active"],
        env={**inherited, "TMPDIR": str(temporary), "HOME": str(temporary)},
        user=uid,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not hostile.exists()
