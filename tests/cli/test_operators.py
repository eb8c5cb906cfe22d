"""Operators on a shared host: keys bound to them, sessions that nothing can turn into another's, emergencies."""

from __future__ import annotations

import grp
import json
import os
import pty
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.terminal import Terminal, environment
from tests.homes import Home, MakeHome, free_port, until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
needs_sshd = pytest.mark.skipif(
    not SSHD or not shutil.which("ssh") or not shutil.which("ssh-keygen"), reason="OpenSSH is not installed"
)
MCP_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
"""What an MCP client begins with; a server answers it with `jsonrpc` in a line."""
PROPOSE = "system.federation_peer_propose"


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    """A node of ada and ben."""
    home = make_home("alpha")
    home.ok("operators", "add", "ben")
    return home


@pytest.fixture
def restricted() -> Iterator[Callable[..., Terminal]]:
    """Opens a restricted console on a terminal, in whatever environment."""
    opened: list[Terminal] = []

    def open_(*words: str, **more: str) -> Terminal:
        opened.append(Terminal("-m", "fedtui", "console", *words, environ=environment(**more)))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def test_the_environment_changes_nothing_in_a_restricted_session(
    home: Home, make_home: MakeHome, restricted: Callable[..., Terminal]
) -> None:
    """Operator and home are those of the forced command, whatever the environment says; the band says RESTRICTED."""
    other = make_home("other")
    console = restricted(
        "--operator",
        "ben",
        "--restricted",
        "--home",
        str(home.path),
        "--read-only",
        FEDTUI_HOME=str(other.path),
        FEDTUI_OPERATOR="ada",
        FEDTUI_DATABASE_URL="sqlite:////nowhere",
        XDG_DATA_HOME=str(other.path),
    )
    console.await_text("operator ben")
    console.await_text("RESTRICTED")
    console.await_text("alpha")
    console.press("q")
    assert console.wait() == 0


def test_a_restricted_session_of_nobody_shows_nothing(home: Home, restricted: Callable[..., Terminal]) -> None:
    """One who is not, or no longer, an operator is told so and sees no data."""
    console = restricted("--operator", "zoe", "--restricted", "--home", str(home.path))
    console.await_text("zoe is not an operator of this node")
    console.press("q")
    assert console.wait() == 0


def test_a_restricted_session_sets_no_node_up(tmp_path: Path, restricted: Callable[..., Terminal]) -> None:
    """Where there is no node it ends with words; a first run is not for a session that is bound."""
    console = restricted("--operator", "ben", "--restricted", "--home", str(tmp_path / "empty"))
    console.await_text("fedtui init")
    assert console.wait() != 0


def hands_over_terminals() -> bool:
    """Whether an sshd of this account's can give a session a terminal: without root, only where new ones are of the
    group that it wants them in."""
    if os.getuid() == 0:
        return True
    master, terminal = pty.openpty()
    try:
        return os.fstat(terminal).st_gid == grp.getgrnam("tty").gr_gid
    except KeyError:
        return True  # there is no such group: it takes the account's own
    finally:
        os.close(master)
        os.close(terminal)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A real sshd on loopback that takes all of a client's environment; its port and authorized_keys."""
    if not hands_over_terminals():
        pytest.skip("without root, sshd cannot hand over a terminal here: /dev/pts is mounted without gid=tty")
    place = tmp_path / "ssh"
    place.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host"], check=True)
    port, keys = free_port(), place / "authorized_keys"
    settings = {
        "Port": str(port),
        "ListenAddress": "127.0.0.1",
        "HostKey": str(place / "host"),
        "AcceptEnv": "*",
        "AuthorizedKeysFile": str(keys),
        "PidFile": str(place / "pid"),
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
    }
    (place / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    assert SSHD is not None
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-f", place / "config", "-E", place / "log"])
    try:
        until(lambda: _listens(port), "sshd listens")
        yield port, keys
    finally:
        server.terminate()
        server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_sshd
def test_a_key_opens_one_operators_console_and_nothing_else(
    home: Home, sshd: tuple[int, Path], tmp_path: Path, make_home: MakeHome
) -> None:
    """Through a real sshd that takes any variable: ben's key shows ben's console, takes no command, not even
    the one that serves an AI client, no other home, no other operator, and none of what Python would do at the
    environment's bidding."""
    port, keys = sshd
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text("print('PLANTED')\n")
    other = make_home("other")
    key = tmp_path / "ben"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    piped = Path(f"{key}.pub").read_text()
    home.ok("operators", "authorize", "ben", "--key", "-", "--file", str(keys), stdin=piped)
    words = [
        "-p",
        str(port),
        "-i",
        str(key),
        "-tt",
        "-q",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "SendEnv=FEDTUI_* PYTHON*",
        "127.0.0.1",
    ]
    for command in ([], ["sh", "-c", "id"], ["fedtui", "console", "--operator", "ada"], ["fedtui", "mcp"]):
        environ = environment(
            FEDTUI_OPERATOR="ada", FEDTUI_HOME=str(other.path), PYTHONINSPECT="1", PYTHONPATH=str(planted)
        )
        session = Terminal(*words, *command, environ=environ, program="ssh")
        try:
            session.await_text("operator ben")
            session.await_text("RESTRICTED")
            assert b"uid=" not in session.text
            session.press("q")
            assert session.wait() == 0
            assert b">>>" not in session.text
            assert b"PLANTED" not in session.text
        finally:
            session.close()
    # Without a terminal, as a program asks: neither a protocol nor a word for it.
    asked = subprocess.run(
        ["ssh", *(word for word in words if word != "-tt"), "-T", "fedtui", "mcp", "--operator", "ada"],
        input=f"{json.dumps(MCP_HELLO)}\n",
        env=environment(FEDTUI_HOME=str(home.path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode != 0
    assert "jsonrpc" not in asked.stdout
    assert home.ok("operators", "authorize", "ben", "--remove", "--file", str(keys))["removed"] == 1
    gone = subprocess.run(
        ["ssh", *words[:-1], "-o", "BatchMode=yes", "127.0.0.1", "true"], capture_output=True, timeout=30, check=False
    )
    assert gone.returncode == 255


def test_operators_from_the_command_line(home: Home, tmp_path: Path) -> None:
    """Wrong keys and recoveries that are none are refused with words; the last approver stays."""
    (tmp_path / "key").write_text("hello\n")
    for words, code, error in (
        (("operators", "authorize", "ben", "--key", str(tmp_path / "key")), 2, "ssh_key_invalid"),
        (("operators", "authorize", "ben", "--key", "/nowhere"), 2, "ssh_key_invalid"),
        (("operators", "authorize", "ben"), 2, "wrong_usage"),
        (("operators", "recover", "--reason", "x"), 3, "not_locked_out"),
    ):
        assert home.ok(*words, code=code)["error"]["code"] == error
    assert home.ok("operators", "acknowledge") == {"acknowledged": []}


def test_a_policy_lowered_from_the_command_line(home: Home) -> None:
    """It lets through at once, shows in the list, and what went through is there for review."""
    words = ("policies", "lower", PROPOSE, "--to", "notify_and_proceed", "--for", "30m", "--reason", "fire")
    assert home.ok(*words)["policy"] == "notify_and_proceed"
    home.ok("peers", "propose", "https://c.example", "--reason", "urgent")
    listed = {row["action"]: row for row in home.ok("policies", "list")}
    assert (listed[PROPOSE]["policy"], bool(listed[PROPOSE]["lowered_until"])) == ("notify_and_proceed", True)
    [lowered] = home.ok("policies", "lowered")
    assert lowered["went_through"][0]["reason"] == "urgent"
    home.ok("policies", "restore", PROPOSE, operator="ben")
    home.ok("peers", "propose", "https://d.example", code=4)
    assert home.ok(*words[:-4], "--for", "5h", "--reason", "x", code=2)["error"]["code"] == "duration_invalid"


def test_the_queue_by_view_and_reason(home: Home) -> None:
    """--mine and --for-me are each operator's own; nobody approves their own; a reason stays on record."""
    asked = home.ok("peers", "propose", "https://c.example", code=4)["approval"]
    assert [row["id"] for row in home.ok("approvals", "list", "--mine")] == [asked["id"]]
    assert home.ok("approvals", "list", "--for-me") == []
    assert [row["id"] for row in home.ok("approvals", "list", "--for-me", operator="ben")] == [asked["id"]]
    shown = home.ok("approvals", "show", asked["id"], operator="ben")
    assert shown["changes"] == [{"what": "https://c.example", "before": "", "after": "proposed"}]
    assert shown["waiting"]["can_decide"] == ["ben"]
    own = home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"], code=3)
    assert own["error"]["code"] == "four_eyes"
    home.ok("approvals", "approve", asked["id"], "--digest", asked["digest"][:8], operator="ben")
    home.ok("manager", "tick")
    revoke = home.ok("peers", "revoke", "https://c.example", "--reason", "over", code=4)["approval"]
    words = ("approvals", "approve", revoke["id"], "--digest", revoke["digest"])
    assert home.ok(*words, "--reason", "agreed", operator="ben")["decision_reason"] == "agreed"


def test_asked_for_again_from_the_command_line(home: Home) -> None:
    """One word asks again for what was withdrawn; for what still waits it is refused."""
    asked = home.ok("peers", "propose", "https://d.example", code=4)["approval"]
    assert home.ok("approvals", "again", asked["id"], code=3)["error"]["code"] == "approval_not_ended"
    home.ok("approvals", "withdraw", asked["id"])
    assert home.ok("approvals", "again", asked["id"], code=4)["approval"]["params"] == asked["params"]


def test_a_daemon_tells_people_who_look_at_no_console(home: Home, tmp_path: Path) -> None:
    """The configured command hears of a request, from the daemon, and nothing waits for one that takes its time."""
    heard, go_on = tmp_path / "heard", tmp_path / "go-on"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >> {heard}\necho >> {heard}\nwhile [ ! -e {go_on} ]; do sleep 0.1; done\n")
    script.chmod(0o755)
    with (home.path / "config.toml").open("a") as config:
        config.write(f'notify_command = "{script}"\nnotify_interval = "1s"\nnotify_timeout = "5m"\n')
    daemon = home.serve()

    def said() -> list[str]:
        lines = heard.read_text().splitlines() if heard.exists() else []
        return [json.loads(line)["approval"]["id"] for line in lines if line.strip() and "approval_id" in line]

    first = home.ok("peers", "propose", "https://c.example", code=4)["approval"]["id"]
    until(lambda: said() == [first], "the command hears of the first")
    second = home.ok("peers", "propose", "https://d.example", code=4)["approval"]["id"]
    assert said() == [first], "asking, and the daemon's answers, did not wait for the command"
    go_on.touch()
    until(lambda: said() == [first, second], "the command hears of the second")
    go_on.unlink()
    home.ok("peers", "propose", "https://e.example", code=4)
    until(lambda: len(said()) == 3, "the command hears of the third")
    daemon.terminate()
    assert daemon.wait(30) == 0, "the daemon does not wait for the command either"
