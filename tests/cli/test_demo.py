"""The demo as a newcomer runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fedtui.core.audit import events
from fedtui.lab.nodes import DemoNode, Federation, await_active, build, plan
from tests.homes import PATIENCE_SECONDS, until


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """A caller with a node of their own, which the demo must leave alone."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    own = {
        "FEDTUI_HOME": str(tmp_path / "own"),
        "FEDTUI_DATABASE_URL": "sqlite:////nowhere/x.db",
        "FEDTUI_OPERATOR": "me",
    }
    return {**os.environ, **own, "TMPDIR": str(temporary), **more}


def daemons_under(directory: Path) -> list[int]:
    """Processes that still run on a home below `directory`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"FEDTUI_HOME={directory}/".encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue  # ended meanwhile, or not ours
    return found


def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedtui", "demo", *words],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("nodes", [2, 3])
def test_the_demo_federates_and_cleans_up(tmp_path: Path, nodes: int) -> None:
    """All peerings active on both sides, the contract's JSON, exit 0, nothing left behind or touched."""
    demo = start(tmp_path, "--headless", "--exit-when-active", "--nodes", str(nodes))
    out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, err
    result = json.loads(out)
    assert len(result["nodes"]) == nodes
    for number, member in enumerate(result["nodes"]):
        assert set(member) == {"name", "url", "home", "peers"}
        expected = nodes - 1 if number == 0 else 1
        assert [peer["status"] for peer in member["peers"]] == ["active"] * expected
    assert result["seconds"] > 0
    assert "ft1" not in err
    assert "fi1" not in err
    assert list((tmp_path / "tmp").iterdir()) == []
    assert daemons_under(tmp_path / "tmp") == []
    assert not (tmp_path / "own").exists()


def test_a_peer_that_was_too_slow_is_called_again(tmp_path: Path) -> None:
    """On a machine so busy that an accept is not answered in time, the demo has it tried again, and gets there."""
    federation = Federation(plan(tmp_path, 2))
    alpha, beta = federation.nodes
    waited = threading.Thread(target=let_go_on_after_a_failure, args=(alpha, beta), daemon=True)

    def stop_alpha_for_the_accept(text: str) -> None:
        if text.startswith("beta$ fedtui peers accept"):
            os.kill(alpha.daemon.pid or 0, signal.SIGSTOP)
            waited.start()

    began = time.monotonic()
    try:
        build(federation, stop_alpha_for_the_accept)
        await_active(federation, began)
    finally:
        for member in federation.nodes:
            member.daemon.stop()
    assert not waited.is_alive()


def let_go_on_after_a_failure(alpha: DemoNode, beta: DemoNode) -> None:
    """Continue alpha's stopped daemon once beta's call to it has failed."""
    with beta.opened("ada") as node:

        def failed() -> bool:
            with node.read() as session:
                return bool(events.recent(session, kind="system.approval.failed"))

        until(failed, "the accept has failed once")
    os.kill(alpha.daemon.pid or 0, signal.SIGCONT)


def finished(tmp_path: Path, demo: subprocess.Popen[str]) -> None:
    """Mend it in a shell that reads the demo's file, where it is at alpha and no longer at a node of its own."""
    [file] = (tmp_path / "tmp").glob("*/env")
    shell = ["sh", "-c", f". {file}; {sys.executable} -m fedtui manager resume"]
    subprocess.run(shell, env=environment(tmp_path), check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    assert demo.stderr is not None
    assert "well done" in next(line for line in demo.stderr if "something is wrong" not in line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_demo(tmp_path: Path, number: int) -> None:
    """However the demo ends, kill -9 included, its daemons end; what a killed one left, the next removes. Where it
    was for practice, it was finished from another terminal by what the demo prints."""
    practising = number == signal.SIGTERM
    demo = start(tmp_path, "--headless", *(["--fault", "manager-paused"] if practising else []))
    assert demo.stderr is not None
    for line in demo.stderr:
        if "Running until Ctrl-C" in line:
            break
    if practising:
        finished(tmp_path, demo)
    assert len(daemons_under(tmp_path / "tmp")) == 2
    demo.send_signal(number)
    demo.wait(timeout=PATIENCE_SECONDS)
    demo.stdout.close()  # type: ignore[union-attr]
    demo.stderr.close()
    until(lambda: daemons_under(tmp_path / "tmp") == [], "the daemons have ended")
    if number == signal.SIGKILL:
        next_ = start(tmp_path, "--headless", "--exit-when-active")
        next_.communicate(timeout=90)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_keep_leaves_the_nodes_usable(tmp_path: Path) -> None:
    """--keep makes the nodes in a directory and leaves them; a directory in use is refused."""
    keep = tmp_path / "kept"
    demo = start(tmp_path, "--headless", "--exit-when-active", "--keep", str(keep))
    out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, err
    assert {Path(member["home"]) for member in json.loads(out)["nodes"]} == {keep / "alpha", keep / "beta"}
    again = start(tmp_path, "--headless", "--keep", str(keep))
    assert again.wait(timeout=PATIENCE_SECONDS) == 3
    again.communicate()


def test_the_number_of_nodes_is_checked(tmp_path: Path) -> None:
    """One node cannot federate."""
    demo = start(tmp_path, "--nodes", "1")
    assert "2 to 8 nodes" in demo.communicate(timeout=PATIENCE_SECONDS)[1]
    assert demo.returncode == 2
