"""The daemon's life: starting, stopping, taking over."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request

import pytest

from tests.homes import MakeHome, free_port, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_zero(make_home: MakeHome, number: int) -> None:
    """SIGTERM and SIGINT stop the daemon cleanly: exit 0, lease released, nobody listed as alive."""
    home = make_home()
    daemon = home.serve(cold=True)
    until(lambda: home.ok("manager", "status")["lease_holder"], "the lease is held")
    daemon.send_signal(number)
    assert daemon.wait(timeout=15) == 0
    after = home.ok("manager", "status")
    assert (after["lease_holder"], after["daemons"]) == (None, [])


def test_the_end_of_standard_input_stops_a_child_daemon(make_home: MakeHome) -> None:
    """A daemon started with --until-eof ends when its parent's end of the pipe closes."""
    daemon = make_home().serve("--until-eof", stdin=subprocess.PIPE)
    assert daemon.stdin is not None
    daemon.stdin.close()
    assert daemon.wait(timeout=15) == 0


def test_hangup_reloads_and_serving_goes_on(make_home: MakeHome) -> None:
    """SIGHUP reloads the certificates; the daemon goes on."""
    home = make_home()
    daemon = home.serve(cold=True)
    daemon.send_signal(signal.SIGHUP)
    until(lambda: "certificates reloaded" in home.logs[0].read_text(), "the reload is logged")
    assert daemon.poll() is None


def test_another_daemon_takes_over_from_a_killed_one(make_home: MakeHome) -> None:
    """kill -9 of the lease's holder: the other daemon holds it within 15 seconds and runs the jobs."""
    home = make_home()
    first = home.serve()
    holder = until(lambda: home.ok("manager", "status")["lease_holder"], "the first holds the lease")
    home.serve("--listen", f"127.0.0.1:{free_port()}")
    first.kill()
    taken = until(
        lambda: (now := home.ok("manager", "status"))["lease_holder"] not in (None, holder) and now,
        "the second took over",
        seconds=15,
    )
    assert taken["lease_holder"].split(":")[1] == str(home.daemons[1].pid)
    until(lambda: "Starting heartbeat sweep" in home.logs[1].read_text(), "the second sweeps")
    known = {"federation_heartbeat", "sdwan_manager", "notices", "sealing", "maintenance"}
    assert {job["job"] for job in taken["jobs"]} == known
    told = until(
        lambda: len(found := home.ok("events", "--kind", "system.lease.taken")) == 2 and found, "both takings are told"
    )
    assert [one["payload"]["holder"] for one in told] == [taken["lease_holder"], holder]


def test_each_run_of_a_job_leaves_a_row(make_home: MakeHome) -> None:
    """After a start every job has run once, with its outcome."""
    home = make_home()
    home.serve()

    def all_ok() -> bool:
        return all(job["last_outcome"] == "ok" for job in home.ok("manager", "status")["jobs"])

    until(all_ok, "every job ran")


def test_health_and_readiness(make_home: MakeHome) -> None:
    """The operations listener is where `manager status` says, and answers healthz, readyz and
    openapi.json."""
    home = make_home()
    home.serve()
    [daemon] = home.ok("manager", "status")["daemons"]
    for path in ("healthz", "readyz"):
        with urllib.request.urlopen(f"{daemon['operations_url']}/{path}", timeout=5) as response:  # noqa: S310
            assert response.status == 200
            assert "status" in json.load(response)["data"]
    with urllib.request.urlopen(f"{daemon['operations_url']}/openapi.json", timeout=5) as response:  # noqa: S310
        assert json.load(response) == home.ok("openapi"), "the API is described there, and by the command"


def test_a_port_in_use_is_said_so(make_home: MakeHome) -> None:
    """A second daemon on the same port ends at once with the port named, exit 3, no traceback."""
    home = make_home()
    home.serve()
    ran = home.run("serve", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "port_unavailable")
    assert home.listen in ran.err
    assert "Traceback" not in ran.err


def test_json_logs_are_json(make_home: MakeHome) -> None:
    """With log_format = json every line of the log is one JSON object."""
    home = make_home(log_format="json")
    daemon = home.serve()
    until(lambda: "sweep" in home.logs[0].read_text(), "something was logged")
    daemon.terminate()
    daemon.wait(timeout=15)
    lines = [json.loads(line) for line in home.logs[0].read_text().splitlines()]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)


def test_a_lowered_policy_comes_back_though_the_process_was_killed(make_home: MakeHome) -> None:
    """kill -9 of the daemon while a policy is lowered: the clock ends it with no process at all, and the next daemon
    announces that end, once."""
    home = make_home(manager_interval="1s")
    daemon = home.serve()
    action = "system.federation_peer_propose"
    home.ok("policies", "lower", action, "--to", "notify_and_proceed", "--for", "15s", "--reason", "test")

    def in_force() -> str:
        [row] = [one for one in home.ok("policies", "list") if one["action"] == action]
        return str(row["policy"])

    assert in_force() == "notify_and_proceed"
    daemon.kill()
    daemon.wait()
    until(lambda: in_force() == "require_approval", "the clock ends it")
    home.serve()
    until(lambda: home.ok("events", "--kind", "system.policy.restored"), "its end is announced")
    assert len(home.ok("events", "--kind", "system.policy.restored")) == 1
