"""kill -9, at moments nobody chose: two federated nodes, their daemons, commands and consoles.

    python -m tests.chaos.kills --kills 200 [--seed N] [--postgresql]

Each round begins something (an accept, an approval, a renewal, ...) and kills one of those at work on it: after a
random number of statements, or a random number of milliseconds. Then it is started again, as an operator would, and
once the nodes are at rest every sentence of `invariants.py` must be true and the doctor must find nothing. The seed
is printed: with it, the same rounds come again, though never to the microsecond.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.grants.grants import Grant
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approvals, gate
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.gate import Pending
from fedtui.core.peers import peers
from fedtui.core.pki import key_pairs
from tests import forks
from tests.benchmarks.terminal import Terminal, environment
from tests.chaos import invariants
from tests.chaos.doomed import FILE
from tests.chaos.locked import fill_in
from tests.homes import Home, acted, set_up, until
from tests.postgres import ELSEWHERE, Server, new_server

QUICK = {
    "heartbeat_interval": "1s",
    "manager_interval": "1s",
    "sealing_interval": "1s",
    "lease_ttl": "2s",
    "outbound_timeout": "8s",
    "heartbeats_per_minute": 6000,
    "accepts_per_minute": 6000,
}
LATER = gate.ABANDONED_AFTER + timedelta(seconds=5)
SETTLE_SECONDS = 60.0
FLOW_SECONDS = 4.0
"""What is still alive by then is killed by hand."""
OF_A_CLEAN_SLATE = {"cert_revoked", "peer_not_reachable"}
"""What the doctor truly says of the calls that came between a peer's revocation here and there."""
PASSING = ("remote_", "database_unavailable")
"""Beginnings of the codes of failures that an operator tries again: the other side's, and a machine too slow."""


class Doomed(Home):
    """A home whose daemon and commands die when the doom says so."""

    @property
    def doom(self) -> Path:
        return self.path.parent / f"{self.path.name}.doom"

    def environment(self, operator: str = "ada", **more: str) -> dict[str, str]:
        return super().environment(operator, **{FILE: str(self.doom), **more})

    def start(self) -> None:
        """Start a daemon, if none is alive."""
        if not self.daemons or self.daemon.poll() is not None:
            self.serve(module=DOOMED)


DOOMED = "tests.chaos.doomed"


class Stand:
    """Two federated nodes, and the dice."""

    def __init__(self, folder: Path, seed: int, server: Server | None = None) -> None:
        self.dice = random.Random(seed)  # noqa: S311
        self.server = server
        self.a, self.b = (
            set_up(folder / name, "--single-operator", kind=Doomed, **QUICK, **_records(server))
            for name in ("alpha", "beta")
        )
        self.killed: Counter[str] = Counter()
        self.number = 0
        for one in (self.a, self.b):
            one.start()
        self.federate("symmetric", "symmetric", "autonomous_peer")

    def federate(self, role: str, other: str, mode: str) -> str:
        """Propose and invite; the id of the request at beta to accept."""
        acted(self.a, "federation_peer_propose", {"url": self.b.url, "role": role, "mode": mode})
        invite = acted(self.a, "federation_peer_token", {"peer": self.b.url})["invite"]
        return self.ask(self.b, "federation_peer_accept", {"invite": invite, "role": other, "mode": mode})

    def part(self) -> None:
        """Revoke the peering on both sides."""
        for here, there in ((self.a, self.b), (self.b, self.a)):
            acted(here, "federation_peer_revoke", {"peer": there.url, "reason": "a clean slate"})

    def ask(self, home: Doomed, action: str, params: Mapping[str, Any], *, approve: bool = True) -> str:
        """Ask for an act that needs approval, and approve it: the request's id."""
        with home.opened() as node:
            outcome = node.request(node.actor("cli"), f"system.{action}", params, reason="test")
            assert isinstance(outcome, Pending)
            if approve:
                node.approve(node.actor("cli"), outcome.approval.id, outcome.approval.digest, reason="test")
            return outcome.approval.id

    # --- killing -------------------------------------------------------------------------

    def doom(self, home: Doomed, most: int) -> None:
        """Decide when the next process of this home dies."""
        pause = self.dice.choice((0, 0, 0, self.dice.randint(1, 40)))
        home.doom.write_text(f"{self.dice.randint(1, most)} {pause}")

    def kill_daemon(self, home: Doomed, most: int, flow: Callable[[], object] = lambda: None) -> None:
        """Begin `flow` and let this home's daemon die somewhere in it."""
        by_hand = self.dice.random() < 0.3
        if not by_hand:
            self.doom(home, most)
            home.daemon.send_signal(signal.SIGUSR1)
        flow()
        try:
            home.daemon.wait(self.dice.uniform(0, 1.5) if by_hand else FLOW_SECONDS)
        except subprocess.TimeoutExpired:
            home.daemon.kill()
        assert home.daemon.wait(10) == -signal.SIGKILL, home.logs[-1].read_text()
        self.killed[f"daemon of {home.path.name}"] += 1

    def kill_command(self, home: Doomed, most: int, *words: str) -> bool:
        """Run a command that dies somewhere in it; whether it got to its end before that."""
        self.doom(home, most)
        done = forks.run([*words, "--json"], env=home.environment(), module=DOOMED, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 4, 5, -signal.SIGKILL), (words, done)
        self.killed["command"] += done.returncode == -signal.SIGKILL
        return done.returncode != -signal.SIGKILL

    # --- coming to rest ------------------------------------------------------------------

    def settle(self) -> None:
        """Start what is down, wait until both nodes are at rest, and look whether all is well."""
        for home in (self.a, self.b):
            home.start()
        for home in (self.a, self.b):
            with home.opened() as node:
                until(partial(self._at_rest, home, node), "no request is under way", SETTLE_SECONDS)
        for here, there in ((self.a, self.b), (self.b, self.a)):
            with here.opened() as node:
                at_ease = partial(_at_ease, node, there, node.clock.now())
                until(at_ease, f"{here.path.name} is at ease", SETTLE_SECONDS)
        for home in (self.a, self.b):
            with home.opened() as node:
                found = invariants.broken(node)
                assert not found, found
                until(lambda node=node: not _named(node), f"the doctor is content: {_named(node)}", SETTLE_SECONDS)

    def _at_rest(self, home: Doomed, node: Node) -> bool:
        """Whether every approved request has ended. What a dead process left is taken up when its time has come."""
        with node.read() as session:
            rows = list(
                session.scalars(select(Approval).where(Approval.status.in_(("approved", "executing", "failed"))))
            )
        for row in rows:
            if row.status == "executing" and (_is_dead(row.executor) or self._untold(row)):
                with home.opened(LATER) as later:
                    job_tasks.manager_tick(later, later.acts)
            if row.status == "failed":
                assert str((row.error or {}).get("code")).startswith(PASSING), row.error
                node.decide(node.actor("cli"), "retry", row.id)
        return not rows

    def _untold(self, row: Approval) -> bool:
        """Whether it was surely carried out, and its end could not be recorded because the server was down."""
        age = datetime.now(UTC) - row.executing_since if row.executing_since is not None else timedelta()
        return self.server is not None and age > timedelta(seconds=3 * int(QUICK["outbound_timeout"].rstrip("s")))


def _records(server: Server | None) -> dict[str, str]:
    """Where a node keeps its records, as config.toml says it."""
    return {"database_url": server.new_database()} if server is not None else {}


def _named(node: Node) -> set[str]:
    """What the doctor finds that is not of the stand's own making."""
    return {one.cause.code for one in node.diagnose(DiagnosisTarget()).findings} - OF_A_CLEAN_SLATE


def _is_dead(executor: str | None) -> bool:
    try:
        os.kill(int(str(executor).split(":")[1]), 0)
    except ProcessLookupError:
        return True
    return False


def _at_ease(node: Node, other: Doomed, since: datetime) -> bool:
    """Whether this node and its peer hear each other, each with a whole pair, and nothing is owed."""
    with node.read() as session:
        peer = peers.by_url(session, other.url)
        assert peer is not None
        heard = (peer.last_heartbeat_at, peer.last_outbound_at)
        return (
            (peer.status, peer.last_outbound_error, peer.enroll_owed) == ("active", None, False)
            and all(one is not None and one > since for one in heard)
            and key_pairs.pair_state(session, peer.id) == "complete"
        )


# --- the rounds ----------------------------------------------------------------------------


def accept(stand: Stand) -> None:
    """The whole handshake, with either side's daemon killed in it: accept, enroll, first heartbeats."""
    stand.part()
    roles = stand.dice.choice(
        (("symmetric", "symmetric", "autonomous_peer"), ("parent", "child", "managed_child")),
    )
    victim = stand.dice.choice((stand.a, stand.b))
    asked: list[str] = []
    stand.kill_daemon(victim, 250, lambda: asked.append(stand.federate(*roles)))


def approve(stand: Stand) -> None:
    """An operator's approval, killed in it: it stands whole or not at all, and can be given again."""
    url = f"https://x{stand.number}.example"
    approval_id = stand.ask(stand.a, "federation_peer_propose", {"url": url}, approve=False)
    digest = stand.a.ok("approvals", "show", approval_id)["digest"]
    stand.kill_command(stand.a, 16, "approvals", "approve", approval_id, "--digest", digest)
    with stand.a.opened() as node:
        with node.read() as session:
            pending = approvals.find(session, approval_id).status == "pending"
        if pending:
            node.approve(node.actor("cli"), approval_id, digest)


def execute(stand: Stand) -> None:
    """An approved act, its manager killed in it."""
    url = f"https://x{stand.number}.example"
    stand.kill_daemon(stand.a, 120, lambda: stand.ask(stand.a, "federation_peer_propose", {"url": url}))


def grant(stand: Stand) -> None:
    """A grant is issued or it is not, and the command can be given again."""
    subject = f"s{stand.number}@beta"
    words = ("grants", "issue", stand.b.url, "--subject", subject, "--kind", "doc", "--scope", "read")
    stand.kill_command(stand.a, 30, *words)
    with stand.a.opened() as node, node.read() as session:
        there = session.scalars(select(Grant).where(Grant.remote_subject == subject)).all()
    if not there:
        stand.a.ok(*words)


def renew(stand: Stand) -> None:
    """A certificate is renewed, and the command or either daemon is killed in it."""
    victim = stand.dice.choice((None, stand.a, stand.b))
    if victim is None:
        stand.kill_command(stand.a, 60, "certs", "rotate", stand.b.url)
        return

    def rotate() -> None:
        subprocess.run(
            [sys.executable, "-m", "fedtui", "certs", "rotate", stand.b.url],
            env=stand.a.environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )

    stand.kill_daemon(victim, 150, rotate)


def sweep(stand: Stand) -> None:
    """A sweep by hand, or the daemon's, killed in it."""
    if stand.dice.random() < 0.5:
        stand.kill_command(stand.a, 20, "sweep")
    else:
        stand.kill_daemon(stand.a, 60)


def backup(stand: Stand) -> None:
    """A backup: a whole file or none, and nothing else left lying about once another was made."""
    folder = stand.a.path.parent / "backups"
    folder.mkdir(exist_ok=True)
    file = folder / f"{stand.number}.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "fedtui", "db", "backup", str(file)],
        env=stand.a.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: list(folder.glob(".*")) or process.poll() is not None, "the copy has begun")
    time.sleep(stand.dice.uniform(0, 0.05))
    process.kill()
    stand.killed["command"] += process.wait() == -signal.SIGKILL
    if file.exists():
        assert not invariants.whole(str(file))
        file.unlink()
    stand.a.ok("db", "backup", str(file))
    assert not invariants.whole(str(file))
    left = [one.name for one in folder.iterdir()]
    assert left == [file.name], left
    file.unlink()


def token(stand: Stand) -> None:
    """A token for a peer that waits: at most one is good at any time."""
    with stand.a.opened() as node, node.read() as session:
        there = session.scalars(select(peers.Peer.id).where(peers.Peer.status == "proposed").limit(1)).first()
    if there is None:
        there = acted(stand.a, "federation_peer_propose", {"url": f"https://y{stand.number}.example"})["peer_id"]
    stand.kill_command(stand.a, 20, "peers", "token", there)


def console(stand: Stand) -> None:
    """A console that runs the daemon as its child, killed while it starts or runs: the child ends with it."""
    stand.a.daemon.terminate()
    stand.a.daemon.wait(SETTLE_SECONDS)
    terminal = Terminal("-m", "fedtui", environ=environment(FEDTUI_HOME=str(stand.a.path), FEDTUI_OPERATOR="ada"))
    try:
        end = time.monotonic() + stand.dice.uniform(0.3, 4)
        while time.monotonic() < end:
            terminal.read(0.05)
        terminal.process.kill()
        terminal.wait()
    finally:
        terminal.close()
    stand.killed["console"] += 1
    until(lambda: not _serving(stand.a.path), "the console's child has ended")


def typed(stand: Stand) -> None:
    """A console killed while it files a request: it is there once or not at all, and can be asked for again."""
    url = f"https://z{stand.number}.example"
    environ = environment(FEDTUI_HOME=str(stand.a.path), FEDTUI_OPERATOR="ada", **{FILE: str(stand.a.doom)})
    terminal = Terminal("-m", DOOMED, "console", "-c", "peers", environ=environ)
    try:
        terminal.await_text("symmetric")  # of a row: by now the list may be longer than the screen
        fill_in(terminal, url)
        stand.doom(stand.a, 30)
        terminal.process.send_signal(signal.SIGUSR1)
        terminal.press("\r")
        end = time.monotonic() + FLOW_SECONDS
        while terminal.process.poll() is None and time.monotonic() < end:
            terminal.read(0.05)
        terminal.process.kill()
        assert terminal.wait() == -signal.SIGKILL, terminal.text[-2000:]
    finally:
        terminal.close()
    stand.killed["console"] += 1
    with stand.a.opened() as node:
        asked = _asked_for(node, url)
        assert len(asked) <= 1, f"asked for {len(asked)} times"
        if not asked:
            stand.ask(stand.a, "federation_peer_propose", {"url": url})
        elif asked[0].status == "pending":
            node.approve(node.actor("cli"), asked[0].id, asked[0].digest)


def database(stand: Stand) -> None:
    """The server of both nodes' databases, killed and started again in the middle of a handshake."""
    assert stand.server is not None
    stand.part()
    stand.federate("symmetric", "symmetric", "autonomous_peer")
    time.sleep(stand.dice.uniform(0, 1.5))
    stand.server.kill()
    stand.killed["database"] += 1
    time.sleep(stand.dice.uniform(0, 2))
    stand.server.start()


def _asked_for(node: Node, url: str) -> list[Approval]:
    with node.read() as session:
        return [row for row in session.scalars(select(Approval)) if row.params.get("url") == url]


def _serving(home: Path) -> list[str]:
    """The processes that serve a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and f"FEDTUI_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # ended meanwhile
    return found


ROUNDS: Mapping[Callable[[Stand], None], int] = {
    accept: 5,
    approve: 3,
    execute: 3,
    grant: 2,
    renew: 4,
    sweep: 2,
    backup: 1,
    token: 1,
    console: 1,
    typed: 2,
}
"""Each kind of round, and how often it comes among the others."""
ON_A_SERVER: Mapping[Callable[[Stand], None], int] = {**ROUNDS, backup: 0, database: 4}


def run(
    folder: Path, kills: int, seed: int, tell: Callable[[str], object], server: Server | None = None
) -> Counter[str]:
    """Kill so often; what was killed. Raises `AssertionError` where something does not hold after a kill."""
    stand = Stand(folder, seed, server)
    played: Counter[str] = Counter()
    try:
        stand.settle()
        rounds = ROUNDS if server is None else ON_A_SERVER
        kinds = [kind for kind, times in rounds.items() for _ in range(times)]
        while stand.killed.total() < kills:
            if not stand.number % len(kinds):
                stand.dice.shuffle(kinds)
            kind = kinds[stand.number % len(kinds)]
            stand.number += 1
            began = time.monotonic()
            try:
                kind(stand)
                acting = time.monotonic() - began
                stand.settle()
            except AssertionError as error:
                raise AssertionError(f"round {stand.number}, {kind.__name__}, seed {seed}: {error}") from error
            played[kind.__name__] += 1
            took = time.monotonic() - began
            done = f"{stand.number:4} {kind.__name__:8} {stand.killed.total():4} killed"
            tell(f"{done}  {acting:5.1f} + {took - acting:5.1f} s")
    finally:
        for home in (stand.a, stand.b):
            home.end()
    tell(f"rounds: {dict(played)}; killed: {dict(stand.killed)}; nothing was lost, doubled or left behind")
    return stand.killed


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--keep", action="store_true", help="leave the homes where they are")
    options.add_argument("--postgresql", action="store_true", help="on a server of its own, which is killed, too")
    chosen = options.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.randrange(1_000_000)  # noqa: S311
    folder = Path(tempfile.mkdtemp(prefix="fedtui-kills-"))
    print(f"seed {seed}, homes in {folder}", flush=True)  # noqa: T201
    os.environ.pop(ELSEWHERE, None)  # one that is not ours is not killed
    server = new_server() if chosen.postgresql else None
    try:
        run(folder, chosen.kills, seed, lambda line: print(line, flush=True), server)  # noqa: T201
    finally:
        if server is not None:
            server.stop()
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
