"""Several machines on one PostgreSQL: homes of their own, one node."""

from __future__ import annotations

import json
import shutil
import signal
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
import tomli_w

from tests.forks import Forked
from tests.homes import Home, MakeHome, free_port, until
from tests.postgres import Server

QUICK = {"heartbeat_interval": "1s", "manager_interval": "1s", "lease_ttl": "3s", "stale_after": "2s"}


@pytest.fixture
def machines(make_home: MakeHome, postgres: Server, tmp_path: Path) -> Iterator[list[Home]]:
    """Two homes that share a database and the vault's key, and nothing else; a daemon runs in each."""
    url = postgres.new_database()
    first = make_home("first", "--single-operator", database_url=url, **QUICK)
    listen = f"127.0.0.1:{free_port()}"
    second = Home(tmp_path / "second", first.url, listen)
    second.path.mkdir(mode=0o700)
    shutil.copy(first.path / "vault.key", second.path / "vault.key")
    (second.path / "config.toml").write_text(tomli_w.dumps({"listen": listen, "database_url": url, **QUICK}))
    try:
        first.serve()
        second.serve()
        yield [first, second]
    finally:
        for daemon in second.daemons:
            daemon.kill()
            daemon.wait()
            if daemon.stdout is not None:
                daemon.stdout.close()
        for daemon in first.daemons:
            daemon.kill()
            daemon.wait()
        postgres.drop(url)


def status(home: Home) -> dict[str, object]:
    found: dict[str, object] = home.ok("manager", "status")
    return found


def holder_pid(home: Home) -> int | None:
    """Whose process holds the lease."""
    held = status(home)["lease_holder"]
    return int(str(held).split(":")[1]) if held else None


def test_one_of_them_sweeps_and_the_other_takes_over(machines: list[Home]) -> None:
    """Both are listed, one holds the lease; killed, the other has it within its time, in a higher epoch, and the
    jobs go on: every run was its holder's."""
    first, second = machines
    pids = [home.daemons[0].pid for home in machines]
    until(lambda: len(status(first)["daemons"]) == 2, "both are alive")  # type: ignore[arg-type]
    held = until(lambda: holder_pid(second), "one holds the lease")
    holding, other = (first, second) if held == pids[0] else (second, first)
    holding.daemons[0].kill()
    until(lambda: holder_pid(other) == other.daemons[0].pid, "the other holds it", seconds=15)
    log = other.logs[0]
    until(lambda: "Starting heartbeat sweep" in log.read_text(), "the other sweeps")
    assert "Traceback" not in log.read_text()


def test_what_one_does_the_other_sees(machines: list[Home]) -> None:
    """An act asked for on one machine is carried out by whichever holds the lease, and seen on both."""
    first, second = machines
    asked = first.ok("peers", "propose", "https://b.example", "--reason", "test", code=4)
    approval = asked["approval"]
    second.ok("approvals", "approve", approval["id"], "--digest", approval["digest"])
    until(lambda: first.ok("approvals", "show", approval["id"])["status"] == "executed", "it is carried out")
    shown = [json.dumps(home.ok("peers", "list")) for home in machines]
    assert shown[0] == shown[1]


def test_the_server_killed_and_started_again(machines: list[Home], postgres: Server) -> None:
    """With the database gone a command says so and how to go on, no daemon dies, and once it is back the jobs run
    again by themselves."""
    first, second = machines
    until(lambda: holder_pid(first), "one holds the lease")
    postgres.kill()
    ran = first.run("peers", "list", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "database_unavailable")
    assert "Traceback" not in ran.err
    postgres.start()
    before = status(first)["last_tick_at"]
    until(lambda: status(second)["last_tick_at"] != before, "the manager ticks again")
    assert [home.daemons[0].poll() for home in machines] == [None, None]


def test_a_follower_waits_for_the_server(machines: list[Home], postgres: Server) -> None:
    """With the database gone `events --follow` says once that it waits; once it is back it gives what happened, each
    event once, and ends as ever."""
    first, second = machines
    wanted = ("--kind", "system.approval.requested")
    follower = Forked(["events", *wanted, "--follow", "--json"], env=first.environment(), stdout=PIPE, stderr=PIPE)
    assert follower.stdout is not None
    assert follower.stderr is not None
    urls = [f"https://b{number}.example" for number in range(3)]
    told = []
    try:
        first.ok("peers", "propose", urls[0], code=4)
        told.append(json.loads(follower.stdout.readline()))
        postgres.kill()
        said = [follower.stderr.readline(), follower.stderr.readline()]
        time.sleep(1)  # some looks in vain
        postgres.start()
        second.ok("peers", "propose", urls[1], code=4)
        told.append(json.loads(follower.stdout.readline()))
        second.ok("peers", "propose", urls[2], code=4)
        told.append(json.loads(follower.stdout.readline()))
        follower.send_signal(signal.SIGINT)
        said += follower.stderr.readlines()
        assert follower.stdout.read() == ""
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
        follower.stderr.close()
    assert [next(url for url in urls if url in json.dumps(one)) for one in told] == urls
    assert follower.returncode == 0
    assert [("did not answer" in line, "Waiting" in line) for line in said[:2]] == [(True, False), (False, True)]
    assert [line.strip() for line in said[2:] if line.strip()] == ["It answers again."]


def test_a_server_that_takes_no_writes_is_said(machines: list[Home], postgres: Server) -> None:
    """`db check` and doctor say why nothing can be written, and what to do; commands that read go on."""
    [home, other] = machines
    url = tomllib.loads((home.path / "config.toml").read_text())["database_url"]
    for one in machines:
        one.end()
    assert home.ok("db", "check") == {"ok": True}
    postgres.run_in(url, "ALTER DATABASE {} SET default_transaction_read_only = on")
    found = other.ok("db", "check", code=1)["error"]
    assert ("whole" in found["problem"], "default_transaction_read_only is on" in found["cause"]) == (True, True)
    assert "set it off" in found["fix"]
    assert home.ok("peers", "list") == []

    def named() -> bool:
        causes = {one["cause"]: one["explanation"] for one in home.run("doctor", "--json").json["findings"]}
        return "takes no writes" in causes.get("worker_not_running", "")

    until(named, "the doctor says it")
