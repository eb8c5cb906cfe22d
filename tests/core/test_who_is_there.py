"""Whose doing it is: processes of the own node, another node in the peer's place, tokens and words; and every fix."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from sqlalchemy import update

from fedtui.core.audit import events, seals
from fedtui.core.audit.events import Event
from fedtui.core.diagnosis import causes, commands, engine, error_lookup
from fedtui.core.diagnosis.causes.access import ESCAPED, MISSING_HEADER
from fedtui.core.diagnosis.model import Fix, Match, Subject
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Denied
from fedtui.core.grants import decisions
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import AccessRequest
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import policies
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import certificates, signing
from fedtui.core.pki.x509 import fingerprint, pem_fingerprint, read_certificates
from fedtui.core.protocol import accept_server, heartbeats
from fedtui.core.protocol.accept_server import AcceptRequest
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.runtime import backup, daemons, process_lock
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.types import new_id
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in
from tests.core.test_playbook import ADA, HOLDS, OTHER_PIN, PIN, alive, case, found, peer, through_a_proxy
from tests.core.world import make_world
from tests.homes import until

LOCAL = "0195d3a2-7c1e-7000-8000-0000000000ff"
"""The id of the peer on this node alone."""
CHANGES_NOTHING = {
    "approvals again",
    "approvals approve",
    "approvals retry",
    "approvals withdraw",
    "ca show",
    "certs csr",
    "certs probe",
    "certs show",
    "db quarantine",
    "decisions list",
    "grants explain",
    "grants show",
    "manager status",
    "manager tick",
    "operators recover",
    "db backup",
    "events verify",
    "peers heartbeat",
    "peers show",
}
"""Commands of fixes with which no policy has to do: they look, or have rules of their own."""
ONE_WORD = {"config", "doctor", "serve", "sweep"}
CODES = {*causes.BY_CODE, *commands.HOW}
TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(?![0-9])")


# --- every fix, and every word -----------------------------------------------------------


def senses(node: Node) -> list[tuple[str, Match]]:
    """What follows from each row of facts, for a peer whose local id is `LOCAL`."""
    made = []
    for code, facts in (one.values for one in HOLDS):
        if isinstance(facts.get("peer"), Peer):
            facts["peer"].id = LOCAL
        cause = causes.BY_CODE[code]
        sense = cause.holds(case(node, Subject(cause.scope, LOCAL, "b", LOCAL), **facts))
        assert sense is not None, (code, facts)
        made.append((code, sense))
    return made


def test_what_the_other_side_is_to_run_names_nothing_of_this_one(node: Node) -> None:
    """Its commands carry its own names: this node's URL or its own, never an id of this node's record."""
    for code, sense in senses(node):
        for fix in sense.fixes:
            if fix.where == "there":
                assert LOCAL not in fix.command, (code, fix)
                assert LOCAL not in fix.title, (code, fix)


def test_commands_are_one_a_line(node: Node) -> None:
    """No fix joins two steps in one line of a shell."""
    for code, sense in senses(node):
        for fix in sense.fixes:
            assert not re.search(r"; fedtui|&&|\n", fix.command), (code, fix)


def test_every_command_is_known_to_change_nothing_or_by_its_act(node: Node) -> None:
    """What a fix runs here is an act, whose policy says whether it needs approval, or changes nothing by itself."""
    for code, sense in senses(node):
        for fix in sense.fixes:
            words = fix.command.split()
            if words[:1] != ["fedtui"] or words[1] in ONE_WORD:
                continue
            named = commands.ACTION_OF.get((words[1], words[2]))
            assert named or f"{words[1]} {words[2]}" in CHANGES_NOTHING, (code, fix.command)
            assert not fix.action or not named or fix.action == named, (code, fix)
    assert set(commands.ACTION_OF.values()) <= set(policies.RULES)


def test_every_fix_that_needs_approval_says_so(node: Node) -> None:
    """Also one that is a command for a person: by the policy of the act that the command asks for."""
    alive(node)
    asked = set()
    for _, sense in senses(node):
        for fix in sense.fixes:
            action = commands.needs_policy(fix)
            if not action:
                continue
            diagnosis = engine.diagnose(node, node.acts, DiagnosisTarget())
            with node.read() as session:
                asks = policies.in_force(session, action, node.clock.now()) == policies.ASK
            found_ = engine.Diagnosis(diagnosis.checked_at, 0.0, (), (), asks=frozenset({action} if asks else ()))
            assert engine.fix_shape(fix, found_)["needs_approval"] is asks
            asked |= {action} if asks else set()
    assert {
        "system.federation_peer_revoke",
        "system.federation_peer_propose",
        "system.federation_certificate_mint",
    } <= asked


def test_a_finding_asks_the_policy_of_its_commands(node: Node) -> None:
    """A diagnosis looks up the policies of commands too, not only of acts that the wizard carries out."""
    fix = Fix("Revoke it", f"fedtui peers revoke {LOCAL} --reason 'x'")
    assert (fix.action, commands.needs_policy(fix)) == ("", "system.federation_peer_revoke")


def test_no_code_and_no_bare_time_stands_in_prose(node: Node) -> None:
    """Codes stand beside sentences, not in them; a time has its date and its zone."""
    texts = [(cause.code, text) for cause in causes.CAUSES for text in (cause.means, cause.could_be)]
    texts += [
        (code, text) for code, sense in senses(node) for text in (sense.because, *(fix.title for fix in sense.fixes))
    ]
    for code, text in texts:
        assert not CODES & set(re.findall(r"[a-z]+(?:_[a-z0-9]+)+", text)), (code, text)
        for match in TIME.finditer(text.replace("127.0.0.1:8443", "")):
            assert re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2} $", text[: match.start()]), (code, text)
            assert text[match.end() :].startswith(" UTC"), (code, text)


# --- processes of this node ----------------------------------------------------------------


def on_record(node: Node, pid: int, **values: Any) -> None:
    """A daemon of this machine with this process id, seen just now unless told otherwise."""
    with node.unit(ADA) as unit:
        daemons.register(unit.session, f"vm:{pid}:x", url=node.url, operations_url=None, now=unit.now)
        unit.session.execute(update(daemons.Daemon).values(pid=pid, **values))


@pytest.fixture
def sleeper() -> Any:
    """A process that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_stopped_daemon_is_named_with_its_process(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    """SIGSTOP: it exists and does not respond; it is ended first, then another is started."""
    on_record(node, sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    with process_lock.announced(node.settings.home):
        [finding] = until(lambda: node.diagnose(DiagnosisTarget("stuck_accepted")).findings, "the process has stopped")
    assert finding.cause.code == "daemon_not_responding"
    assert f"Process {sleeper.pid} of this node exists and does not respond" in finding.sense.because
    assert [fix.command for fix in finding.sense.fixes] == [f"kill -9 {sleeper.pid}", "fedtui serve"]


@pytest.mark.sqlite
def test_a_living_daemon_that_cannot_write_is_no_missing_one(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program holds the database and the daemon lives: what holds it is to end, and no second daemon starts."""
    monkeypatch.setattr(backup, "WRITE_LOCK_SECONDS", 0)
    assert node.database.file is not None
    with process_lock.announced(node.settings.home), closing(sqlite3.connect(node.database.file)) as other:
        other.execute("BEGIN IMMEDIATE")
        [finding] = node.diagnose(DiagnosisTarget("stuck_accepted")).findings
        other.execute("ROLLBACK")
    assert finding.cause.code == "daemon_not_responding"
    assert "SQLite answers: database is locked." in finding.sense.because
    assert [fix.command for fix in finding.sense.fixes] == [f"fuser {node.database.file}"]
    assert found(node, "stuck_accepted") == ["worker_not_running"]


def test_no_daemon_begins_while_a_home_is_kept_for_a_restore(tmp_path: Any) -> None:
    """Whoever restores holds the home alone: a daemon that is started meanwhile waits for the end of that, and a
    living one keeps the restore out."""
    begun = threading.Event()

    def serve() -> None:
        with process_lock.announced(tmp_path):
            begun.set()

    with process_lock.kept_out(tmp_path) as free:
        assert free
        waiting = threading.Thread(target=serve)
        waiting.start()
        assert not begun.wait(0.3)
    assert begun.wait(30)
    waiting.join()
    with process_lock.announced(tmp_path), process_lock.kept_out(tmp_path) as free:
        assert not free


def test_a_home_without_locks_has_a_daemon_all_the_same(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where the lock cannot be taken, as in a home that is mounted read-only, that is logged, and nothing fails."""
    (tmp_path / process_lock.LOCK_FILE).mkdir()  # no account, root neither, opens it as a file
    with process_lock.announced(tmp_path):
        assert not process_lock.daemon_lives(tmp_path)
    assert "cannot be locked" in caplog.text


def test_a_killed_daemon_is_missed_at_once(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    """kill -9: its process id is on record, so that nobody waits for three lease times."""
    on_record(node, sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    [finding] = node.diagnose(DiagnosisTarget("stuck_accepted")).findings
    assert finding.cause.code == "worker_not_running"
    assert f"Process {sleeper.pid} of this node has ended and was not stopped" in finding.sense.because


def test_a_number_that_another_process_has_now_is_no_daemon(
    node: Node, clock: ManualClock, sleeper: subprocess.Popen[bytes]
) -> None:
    """Where no daemon of this home lives, as the kernel says, a process with its number is another."""
    on_record(node, sleeper.pid, last_seen_at=clock.now() - timedelta(days=1))
    assert found(node, "stuck_accepted") == ["worker_not_running"]


def test_a_port_that_another_program_holds_is_named(make_node: MakeNode) -> None:
    """No daemon is there, and something listens where it is to: starting one would fail."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        node = make_node(listen=f"127.0.0.1:{other.getsockname()[1]}")
        assert found(node, "stuck_accepted") == ["port_taken"]
    assert found(node, "stuck_accepted") == ["worker_not_running"]


# --- time ------------------------------------------------------------------------------------


def test_times_still_to_come_name_a_clock_that_was_set_back(node: Node, clock: ManualClock) -> None:
    """After a jump of two hours the record holds times in the future; peers age from now, not from then."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    with node.unit(ADA) as unit:
        unit.session.add(
            JobRun(
                id=new_id(),
                job="x",
                holder="h",
                epoch=0,
                started_at=unit.now,
                finished_at=unit.now,
                outcome="ok",
                detail={},
            )
        )
    clock.advance(hours=-2)
    alive(node)
    assert "clock_stepped" in found(node)
    with node.unit(ADA) as unit:
        heartbeats.sweep(unit, node.settings)
        assert peers.get(unit.session, peer_id).last_heartbeat_at == unit.now
    assert "clock_stepped" in found(node), "also once jobs have run by the clock as it is now"
    clock.advance(minutes=6)
    with node.unit(ADA) as unit:
        unit.session.execute(update(daemons.Daemon).values(last_seen_at=unit.now))
        swept = heartbeats.sweep(unit, node.settings)
    assert swept["degraded_ids"] == [peer_id], "dead for longer than the stale window, by whatever clock"


def test_a_record_that_was_tampered_with_is_named(node: Node) -> None:
    """A sealed event that was changed since: critical, and by the first that is not as it was."""
    with node.unit(ADA) as unit:
        events.emit(unit, "federation.peer.proposed", source="test", url="https://b.example")
    with node.unit(ADA) as unit:
        seals.seal_next(unit, job_tasks.sealing_key(node))
    alive(node)
    assert found(node) == []
    with node.unit(ADA) as unit:
        [event] = events.recent(unit.session, kind="federation.peer.proposed")
        unit.session.execute(update(Event).where(Event.id == event.id).values(payload={"url": "https://c.example"}))
    [finding] = node.diagnose(DiagnosisTarget()).findings
    assert (finding.cause.code, finding.severity) == ("record_tampered", "critical")
    assert event.id in finding.sense.because


# --- another node in the peer's place ----------------------------------------------------------


def test_another_ca_than_the_heartbeats_name_is_another_node(node: Node) -> None:
    """The peer's own heartbeats, still arriving, say by which CA it is known: what shows another is not it."""
    with node.read() as session:
        [shown] = read_certificates(certificates.own_ca(session).cert_pem, field="ca")
    facts = peer(
        "active",
        error="remote_tls_failed: x",
        error_code="remote_tls_failed",
        faults=["unknown_ca"],
        shown_ca=shown,
        known_cas=(PIN,),
        heard_since_failing=True,
    )
    subject = Subject("peer", "p", "b", "p")

    def codes(**more: Any) -> list[str]:
        return [one.cause.code for one in engine.conclude([case(node, subject, **{**facts, **more})], causes.CAUSES)]

    assert codes(declared_ca=PIN) == ["wrong_node"]
    sense = causes.BY_CODE["wrong_node"].holds(case(node, subject, **facts, declared_ca=PIN))
    assert sense is not None
    assert not any("trust" in fix.command for fix in sense.fixes), "to trust that CA would break the peering"
    assert codes(declared_ca=fingerprint(shown)) == ["remote_tls_failed"], "it names that CA itself"
    assert codes(declared_ca=PIN, heard_since_failing=False) == ["remote_tls_failed"], "nothing proves that it is there"
    assert codes(declared_ca=OTHER_PIN) == ["remote_tls_failed"]


def test_a_peer_that_was_set_up_anew_has_one_way_back(node: Node) -> None:
    """Nothing is heard of it and it shows another CA: besides trusting that, the whole way to peer anew is offered."""
    with node.read() as session:
        [shown] = read_certificates(certificates.own_ca(session).cert_pem, field="ca")
    facts = peer("degraded", faults=["unknown_ca"], shown_ca=shown, heartbeat_age=timedelta(hours=1))
    sense = causes.BY_CODE["remote_tls_failed"].holds(case(node, Subject("peer", "p"), **facts))
    assert sense is not None
    assert [fix.command.split()[2] for fix in sense.fixes] == ["trust", "revoke", "propose", "token", "accept"]


def test_a_heartbeat_keeps_the_ca_that_it_names(node: Node) -> None:
    """By its fingerprint, without the certificate being parsed."""
    with node.read() as session:
        pem = certificates.own_ca(session).cert_pem
        pin = fingerprint(read_certificates(pem, field="ca")[0])
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    with node.unit(ADA) as unit:
        heartbeats.record(unit, peer_id, Declared(declared_ca=pem_fingerprint(pem)))
    with node.read() as session:
        assert peers.get(session, peer_id).declared_ca == pin
    assert pem_fingerprint("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----") is None


# --- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", MISSING_HEADER)
def test_a_proxy_that_forgets_a_header_is_told_the_line(node: Node, code: str) -> None:
    """The line that is missing, and no grant that is opened to everybody."""
    facts = through_a_proxy(code, fingerprint=PIN)
    found_ = engine.conclude([case(node, Subject("decision", "d", "call", "p"), **facts)], causes.CAUSES)
    [finding] = found_
    assert finding.cause.code == "proxy_misconfigured"
    assert [MISSING_HEADER[code][1] in fix.title for fix in finding.sense.fixes] == [True]
    named = through_a_proxy(code, fingerprint=PIN, **{MISSING_HEADER[code][0]: "x"})
    [other] = engine.conclude([case(node, Subject("decision", "d", "call", "p"), **named)], causes.CAUSES)
    assert other.cause.code == code


def test_a_proxy_through_which_others_come_is_not_to_blame(node: Node) -> None:
    """Where other calls through it had a certificate, the caller presented none."""
    facts = through_a_proxy("cert_not_presented")
    subject = Subject("decision", "d", "call", "p")
    [blamed] = engine.conclude([case(node, subject, **facts)], causes.CAUSES)
    [caller] = engine.conclude([case(node, subject, **facts, proxy_works=True)], causes.CAUSES)
    assert (blamed.cause.code, ESCAPED in blamed.sense.fixes[0].title) == ("proxy_misconfigured", True)
    assert blamed.sense.undecided == ("cert_not_presented",)
    assert caller.cause.code == "cert_not_presented"


# --- tokens ------------------------------------------------------------------------------------------


def test_a_used_token_in_other_hands_is_its_peers(node: Node) -> None:
    """A stranger with a token that has let its peer in: named on that peer, high, with the caller's address."""
    alive(node)
    peer_id = new_peer(node)
    token = str(node.request(ADA, "system.federation_peer_token", {"peer": peer_id}).result["acceptance_token"])  # type: ignore[union-attr]
    with node.unit(ADA) as unit:
        row = tokens.by_digest(unit.session, token)
        assert row is not None
        tokens.use(unit, row, "key")
    put_in(node, peer_id, "active")
    stranger = Actor("peer", "accept", origin="api 203.0.113.9")
    with pytest.raises(Denied):
        accept_server.answer_accept(node, AcceptRequest(1, "https://mallory.example", token), stranger)
    with node.read() as session:
        [event] = events.recent(session, kind="federation.peer.accept_refused")
    assert (event.peer_id, event.severity) == (peer_id, "high")
    shape = engine.shape(node.diagnose(DiagnosisTarget()))
    [finding] = [one for one in shape["findings"] if one["cause"] == "token_already_used"]
    assert (finding["severity"], finding["peer_id"]) == ("high", peer_id)
    assert "203.0.113.9" in finding["explanation"]


@pytest.mark.parametrize(
    ("params", "first"),
    [
        ({"token_expires_at": "2026-03-02T00:00:00+00:00"}, "token_already_used"),
        ({"token_expires_at": "2026-02-01T00:00:00+00:00"}, "token_expired"),
        ({"token_expires_at": None, "token_checked": True}, "token_already_used"),
        ({"token_expires_at": None, "token_checked": False}, "token_mistyped"),
    ],
)
def test_a_token_whose_checksum_held_was_not_mistyped(node: Node, params: dict[str, Any], first: str) -> None:
    """Of an accept that was refused there, what this side knows of its token rules out what cannot be."""
    row = SimpleNamespace(
        action="system.federation_peer_accept",
        status="failed",
        params=params,
        error={"problem": "HTTP 401: acceptance_token does not match stored digest"},
    )
    held = [
        cause.code
        for cause in causes.CAUSES
        if cause.symptom == "token_mismatch"
        and cause.holds(case(node, Subject("approval", "a"), approval=row)) is not None
    ]
    assert held == [first]


# --- who calls -----------------------------------------------------------------------------------------


def claiming(subject: str) -> x509.Certificate:
    """A certificate with this common name, which nobody of note has signed."""
    key, name = signing.new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 4711, start, start + timedelta(days=90))
    return builder.sign(key, hashes.SHA256())


def test_a_forged_name_of_a_living_peer_is_told_of(node: Node, clock: ManualClock) -> None:
    """TLS refused who claims to be a peer: found without being asked for, high, until that caller is let in."""
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    alive(node)
    for subject in (f"fed:{peer_id}", "somebody"):
        with node.unit(ADA) as unit:
            decisions.store_handshake(
                unit,
                code="cert_chain_invalid",
                detail="certificate signature failure",
                source_ip="203.0.113.9",
                presented=claiming(subject),
            )
    [finding] = node.diagnose(DiagnosisTarget()).findings
    assert (finding.cause.code, finding.severity) == ("cert_chain_invalid", "high")
    assert "who claims to be https://b.example" in finding.subject.label
    assert [fix.action for fix in finding.sense.fixes] == [""], "nothing of the peer's own is touched"
    clock.advance(seconds=5)
    for address, still in (("198.51.100.1", ["cert_chain_invalid"]), ("203.0.113.9", [])):
        caller = Caller(PIN, address, subject=f"CN=fed:{peer_id}")
        with node.unit(ADA) as unit:
            decisions.store_let_in(unit, AccessRequest("heartbeat", caller), peer_id)
        assert found(node) == still


# --- what calls say -----------------------------------------------------------------------------------


def test_a_slow_probe_does_not_beat_a_call_that_worked(make_node: MakeNode, clock: ManualClock) -> None:
    """On a busy machine a probe that takes too long is unknown, where a call worked within two intervals."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = make_node(outbound_timeout="1s")
        alive(node)
        peer_id = new_peer(node, f"https://127.0.0.1:{silent.getsockname()[1]}")
        put_in(node, peer_id, "active")
        with node.unit(ADA) as unit:
            peers.lock(unit, peer_id).last_outbound_at = clock.now()
            unit.session.flush()
        diagnosis = node.diagnose(DiagnosisTarget(peer=peer_id))
        [probe] = [one for one in diagnosis.seen if one.check.name == "probe"]
        assert (probe.outcome.state, diagnosis.findings) == ("unknown", ())
        clock.advance(minutes=3)
        [probe] = [one for one in node.diagnose(DiagnosisTarget(peer=peer_id)).seen if one.check.name == "probe"]
        assert probe.outcome.state == "bad"


def test_a_check_that_failed_is_not_ok(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a check fails and no cause is known, the exit code says so, from medium on."""
    diagnosis = node.diagnose(DiagnosisTarget())
    [seen] = [one for one in diagnosis.seen if one.check.name == "daemon"]
    beside = engine.Diagnosis(diagnosis.checked_at, 0.0, (seen,), ())
    assert engine.shape(beside)["ok"] is False
    assert engine.shape(beside, fail_on="high")["ok"] is True
    explained = engine.Diagnosis(diagnosis.checked_at, 0.0, (seen,), (), elsewhere=diagnosis.findings)
    assert engine.shape(explained)["ok"] is True, "what was asked about is not there, and what is has another symptom"


def test_another_peers_grant_is_told_by_its_url(node: Node) -> None:
    """Names in place of ids, where they are on record."""
    world, other = make_world(node), make_world(node, "https://c.example")
    alive(node)
    world.kept(world.asked(other.grant()))
    [finding] = node.diagnose(DiagnosisTarget()).findings
    assert finding.cause.code == "grant_of_other_peer"
    assert "It belongs to https://c.example." in finding.sense.because


@pytest.mark.parametrize(
    ("text", "symptom"),
    [
        ("The peer answered HTTP 503: this node answers no peer at present.", "degraded"),
        ('{"error": "client certificate revoked", "code": "peering_ended"}', "degraded"),
        ('{"id": "x", "status": "stale"}', "approval_blocked"),
        ("What this request depends on has changed since it was filed.", "approval_blocked"),
        ("CRL is not yet valid", "degraded"),
        ("[Errno 98] Address already in use", "stuck_accepted"),
    ],
)
def test_what_these_texts_mean_is_known(node: Node, text: str, symptom: str) -> None:
    """Answers, JSON and lines of the log that lead to the causes above."""
    with node.read() as session:
        found_ = error_lookup.look_up(session, text)
    assert found_ is not None
    assert found_.wanted.symptom == symptom
