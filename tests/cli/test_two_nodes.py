"""Two nodes federate through the command line alone, and no secret is left anywhere."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.homes import Home, MakeHome, until

FAST = {
    "heartbeat_interval": "1s",
    "manager_interval": "1s",
    "stale_after": "4s",
    "lease_ttl": "3s",
    "outbound_timeout": "3s",
}


def approve_newest(home: Home, operator: str) -> str:
    newest = home.ok("approvals", "list", "--status", "pending")[0]
    home.ok("approvals", "approve", newest["id"], "--digest", newest["digest"][:8], operator=operator)
    return str(newest["id"])


def status(home: Home, peer: str) -> str:
    return str(home.ok("peers", "show", peer)["status"])


def statuses(home: Home) -> list[str]:
    """Of all its peers: none, until the manager has carried out what makes the first."""
    return [one["status"] for one in home.ok("peers", "list")]


class ProcessWatch:
    """Collects every command line seen on this machine while it runs (Linux)."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(file.read_text(errors="replace"))
                except OSError:
                    continue  # it has ended meanwhile


def test_two_nodes_federate_and_keep_their_secrets(make_home: MakeHome) -> None:
    """init, serve, propose, approve, token, accept, approve: active on both sides; then one dies, is
    degraded, and recovers; token, invite and private keys appear nowhere but where they were shown."""
    a, b = make_home("alpha", **FAST), make_home("beta", **FAST)
    with ProcessWatch() as watch:
        for home in (a, b):
            home.ok("operators", "add", "ben")
            home.serve(cold=True)  # what it is started with stands in the list of processes
        asked = a.ok("peers", "propose", b.url, "--reason", "test", code=4)
        assert asked["pending"] is True
        assert {"id", "action", "digest", "status", "expires_at"} <= set(asked["approval"])
        assert asked["approval"]["waiting"]["can_decide"] == ["ben"]
        refused = a.run("approvals", "approve", asked["approval"]["id"], "--digest", asked["approval"]["digest"])
        assert refused.code == 3
        approve_newest(a, "ben")
        until(lambda: a.ok("peers", "list"), "the manager carried out the proposal")
        made = a.ok("peers", "token", b.url, "--ttl", "1h", cold=True)
        assert set(made) == {"acceptance_token", "invite", "expires_at"}
        b.ok("peers", "accept", "--invite", "-", stdin=made["invite"] + "\n", code=4, cold=True)
        accept_id = approve_newest(b, "ben")
        until(lambda: statuses(a) == statuses(b) == ["active"], "both sides active")
        again = a.run("peers", "heartbeat", b.url, "--json")
        assert again.code == 0, again
    shown = b.ok("approvals", "show", accept_id)
    assert shown["status"] == "executed"
    assert a.ok("certs", "list")[0]["pair"] in ("complete", "none")

    b.daemons[0].kill()
    b.daemons[0].wait()
    until(lambda: status(a, b.url) == "degraded", "the silent peer is degraded")
    assert a.ok("peers", "show", b.url)["metadata"]["degraded_reason"] == "heartbeat stale (>4s)"
    until(lambda: a.ok("peers", "show", b.url)["last_outbound_error"], "the failing call is on record")
    assert a.run("peers", "heartbeat", b.url).code == 5
    b.serve()
    until(lambda: status(a, b.url) == "active", "the peer recovered by itself")

    secrets = [made["acceptance_token"], made["invite"], "PRIVATE KEY"]
    events = [home.run("events", "--limit", "1000", "--json").out for home in (a, b)]
    everything = [
        home.run("approvals", "list", "--json").out + home.run("peers", "list", "--json").out for home in (a, b)
    ]
    logs = [log.read_text() for home in (a, b) for log in home.logs]
    files = [
        file.read_bytes().decode("latin-1")
        for home in (a, b)
        for file in home.path.iterdir()
        if file.name.startswith("fedtui.db")
    ]
    for secret in secrets:
        for where in (*events, *everything, *logs, *files, *watch.seen):
            assert secret not in where
    for words in ("serve", "peers\0token", "peers\0accept"):
        assert any(words in line for line in watch.seen), words
    assert all("[FederationHeartbeatJob] Starting heartbeat sweep" in log for log in logs)


def test_asking_can_wait_for_the_outcome(make_home: MakeHome) -> None:
    """With --wait the command returns when the manager has carried out what was approved, or was refused."""
    home = make_home("alpha", "--single-operator", **FAST)
    home.serve()
    results: list[object] = []
    for url, decide in (("https://b.example", "approve"), ("https://c.example", "reject")):
        waiting = threading.Thread(
            target=lambda url=url: results.append(home.run("peers", "propose", url, "--wait", "--json"))
        )
        waiting.start()
        [asked] = until(lambda: home.ok("approvals", "list", "--status", "pending"), "the request is filed")
        extra = ["--digest", asked["digest"]] if decide == "approve" else ["--reason", "no"]
        home.ok("approvals", decide, asked["id"], *extra)
        waiting.join()
    approved, rejected = results
    assert (approved.code, approved.json["status"]) == (0, "executed")  # type: ignore[attr-defined]
    assert (rejected.code, rejected.json["error"]["code"]) == (3, "approval_rejected")  # type: ignore[attr-defined]
