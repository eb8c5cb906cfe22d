"""The playbook's catalogue, engine, incidents and recogniser, on records alone; with real nodes see tests/faults."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from fedtui.core.administration import manager_pause
from fedtui.core.audit import events
from fedtui.core.diagnosis import causes, checks, commands, engine, error_lookup, incidents, wizard
from fedtui.core.diagnosis.check_runner import CheckResult, run
from fedtui.core.diagnosis.checks.limits import FAR_LIMIT
from fedtui.core.diagnosis.model import CaseContext, Check, Evidence, Fix, Match, Outcome, Subject
from fedtui.core.diagnosis.triage import NODE, DiagnosisTarget
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.governance.rules import BY_KIND
from fedtui.core.grants import chain, explain
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.grants import Grant
from fedtui.core.jobs import restore
from fedtui.core.node import Node
from fedtui.core.operations import policies
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import Invite
from fedtui.core.pki import certificates, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.protocol import heartbeats
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.runtime import daemons, lease
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.types import new_id
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in
from tests.core.world import World, make_world

ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
DOMAIN = {
    "token_mismatch": "token_mistyped token_already_used token_expired token_superseded",
    "token_missing": "token_not_sent drill_mode_peer",
    "stuck_accepted": "job_not_registered worker_not_running sweep_overdue sweep_endpoint_missing "
    "sweep_endpoint_failing sweep_endpoint_unauthorized handshake_incomplete outbound_unreachable "
    "outbound_tls_failed outbound_rejected never_heard daemon_not_responding port_taken clock_stepped",
    "degraded": "remote_unreachable remote_tls_failed remote_rejecting_auth remote_rate_limited remote_failing "
    "clock_skew one_way_partition recovering gone_over_24h silent_peer ended_there wrong_node term_ended",
    "partial_mtls": "key_missing cert_missing key_cert_mismatch vault_unreadable",
    "grant_scope_mismatch": "instance_not_allowed network_not_allowed network_bridge_inactive source_ip_not_allowed "
    "scope_insufficient kind_mismatch resource_mismatch grant_expired grant_revoked",
    "unauthorized_with_grant": "cert_not_presented cert_chain_invalid trust_chain_mismatch cert_expired cert_revoked "
    "cert_unknown cert_wrong_kind peer_missing peer_not_reachable grant_token_malformed grant_token_unknown "
    "grant_of_other_peer proxy_misconfigured",
    "approval_blocked": "approval_pending approval_timed_out no_eligible_approver manager_paused manager_not_ticking "
    "policy_lowered approval_failed approval_stale",
    "escalation": "record_tampered",
}
"""The catalogue as the product's facts have it."""


def alive(node: Node, *, ran: bool = True) -> None:
    """A daemon that has been listening for ten minutes, with its jobs run just now."""
    with node.unit(ADA) as unit:
        daemons.register(unit.session, node.holder, url=node.url, operations_url=None, now=unit.now)
        unit.session.execute(update(daemons.Daemon).values(listening_since=unit.now - timedelta(minutes=10)))
        lease.take(unit.session, node.holder, now=unit.now, ttl=node.settings.lease_ttl)
        for job in node.jobs() if ran else ():
            unit.session.add(
                JobRun(
                    id=new_id(),
                    job=job.name,
                    holder=node.holder,
                    epoch=1,
                    started_at=unit.now,
                    finished_at=unit.now,
                    outcome="ok",
                    detail={},
                )
            )


def refused_accept(node: Node, peer_id: str) -> None:
    """A proposed peer's accept, refused for a token that was mistyped."""
    with node.unit(ADA) as unit:
        tokens.issue(unit, peer_id)
        events.emit(
            unit, "federation.peer.accept_refused", source="test", peer_id=peer_id, cause="token_unknown", answered=""
        )


def found(node: Node, symptom: str | None = None, **look: Any) -> list[str]:
    return [one.cause.code for one in node.diagnose(DiagnosisTarget(symptom, **look)).findings]


def case(node: Node, subject: Subject = NODE, **facts: Any) -> CaseContext:
    """A case in which one check has established these facts."""
    made = CaseContext(node, node.acts, node.clock.now(), subject)
    made.outcomes["seen"] = Outcome("ok", "seen", facts=facts)
    for check in checks.CHECKS:
        made.outcomes.setdefault(check.name, Outcome("bad", check.name))
    return made


# --- the catalogue -------------------------------------------------------------------------


def test_every_cause_of_the_catalogue_is_there() -> None:
    """Each symptom with its causes, none missing; what is more is named here."""
    ours: dict[str, set[str]] = {}
    for cause in causes.CAUSES:
        ours.setdefault(cause.symptom, set()).add(cause.code)
    wanted = {symptom: set(codes.split()) for symptom, codes in DOMAIN.items()}
    assert {symptom: codes - wanted[symptom] for symptom, codes in ours.items() if codes - wanted[symptom]} == {
        "grant_scope_mismatch": {"kind_not_served"},
        "stuck_accepted": {"node_quarantined", "status_disagrees"},
        "degraded": {"ca_disagrees", "remote_body_refused", "body_refused"},
    }
    assert all(wanted[symptom] <= ours.get(symptom, set()) for symptom in wanted)
    assert set(wanted) == set(causes.BY_SYMPTOM)


def test_every_row_says_all_that_a_person_needs() -> None:
    """What it means, what else it could be, where the runbook has it; no code twice; what explains it exists."""
    assert len(causes.BY_CODE) == len(causes.CAUSES)
    for cause in causes.CAUSES:
        assert cause.means.endswith(".")
        assert cause.could_be.endswith(".")
        assert cause.section
        assert set(cause.after) <= set(causes.BY_CODE), (cause.code, set(cause.after) - set(causes.BY_CODE))
        assert set(cause.also) <= set(causes.BY_SYMPTOM) - {cause.symptom}, cause.code


def test_a_check_needs_only_what_is_there() -> None:
    """Names are unique, and what a check needs is a check of the same kind of subject."""
    by_name = {check.name: check for check in checks.CHECKS}
    assert len(by_name) == len(checks.CHECKS)
    for check in checks.CHECKS:
        assert {by_name[name].scope for name in check.needs} <= {check.scope}


# --- the engine ----------------------------------------------------------------------------


def test_a_node_that_is_well_yields_nothing(node: Node) -> None:
    """A daemon that listens, jobs that ran, no peers: every check is ok."""
    alive(node)
    assert found(node) == []


def test_without_a_daemon_that_is_the_root(node: Node) -> None:
    """No daemon: named alone and first, whatever follows from it."""
    peer_id = new_peer(node, "https://b.example")
    put_in(node, peer_id, "accepted")
    node.clock.advance(minutes=30)  # type: ignore[attr-defined]
    assert found(node)[0] == "worker_not_running"
    assert "outbound_unreachable" not in found(node)


def test_a_quarantine_is_the_root(make_node: MakeNode, clock: ManualClock) -> None:
    """A node that stands aside hears and reaches nobody: that is named, and not what follows from it."""
    node = make_node(lease_ttl="1h")
    put_in(node, new_peer(node, "https://b.invalid"), "degraded")
    clock.advance(hours=1)
    alive(node)
    assert found(node, "degraded") == ["remote_unreachable"]
    restore.begin(node, ADA, "the disk died")
    assert found(node, "degraded") == ["node_quarantined"]


def test_jobs_that_never_ran_and_jobs_that_stopped(make_node: MakeNode, clock: ManualClock) -> None:
    """Other jobs run and one never did: not registered; all of them stopped: overdue."""
    node = make_node(lease_ttl="1h")
    alive(node, ran=False)
    with node.unit(ADA) as unit:
        unit.session.add(
            JobRun(
                id=new_id(),
                job=manager_pause.MANAGER_JOB,
                holder=node.holder,
                epoch=1,
                started_at=unit.now,
                finished_at=unit.now,
                outcome="ok",
                detail={},
            )
        )
    assert found(node, "stuck_accepted") == ["job_not_registered"]
    other = make_node("beta", lease_ttl="1h")
    alive(other)
    clock.advance(minutes=10)
    assert found(other, "stuck_accepted") == ["sweep_overdue"]


def test_checks_run_at_once_and_wait_for_what_they_need(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Independent checks overlap, dependent ones follow, and what depends on a failure is not looked at."""
    both = threading.Barrier(2, timeout=10)

    def meet(_case: CaseContext) -> Outcome:
        both.wait()
        return Outcome("ok", "met")

    def refuse(_case: CaseContext) -> Outcome:
        return Outcome("bad", "no")

    def never(_case: CaseContext) -> Outcome:
        raise AssertionError("it was looked at all the same")

    table = (
        Check("a", "node", "a", meet),
        Check("b", "node", "b", meet),
        Check("c", "node", "c", refuse, ("a", "b")),
        Check("d", "node", "d", never, ("c",)),
    )
    monkeypatch.setattr(engine, "CHECKS", table)
    told: list[str] = []
    diagnosis = engine.diagnose(
        node, node.acts, DiagnosisTarget("approval_blocked"), lambda seen: told.append(seen.check.name)
    )
    assert [(seen.check.name, seen.outcome.state) for seen in diagnosis.seen][2:] == [("c", "bad"), ("d", "skipped")]
    assert told == [seen.check.name for seen in diagnosis.seen]


def test_each_check_has_a_limit_of_its_own(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes longer than its limit is unknown and says so, what needs it is not looked at, and the rest go
    on to their ends."""
    let_go = threading.Event()

    def hang(_case: CaseContext) -> Outcome:
        let_go.wait(60)
        return Outcome("ok", "too late")

    def never(_case: CaseContext) -> Outcome:
        raise AssertionError("it was looked at all the same")

    table = (
        Check("slow", "node", "slow", hang, limit=0.1),
        Check("after", "node", "after", never, ("slow",)),
        Check("rest", "node", "rest", lambda _case: Outcome("ok", "at once")),
    )
    monkeypatch.setattr(engine, "CHECKS", table)
    seen = {
        one.check.name: one.outcome
        for one in engine.diagnose(node, node.acts, DiagnosisTarget("approval_blocked")).seen
    }
    let_go.set()
    assert {name: outcome.state for name, outcome in seen.items()} == {
        "slow": "unknown",
        "after": "skipped",
        "rest": "ok",
    }
    assert seen["slow"].said == "It took longer than its 0.1 s."
    assert seen["after"].said == "Not looked at: slow comes first."


def test_what_a_check_finds_too_late_counts_no_more(node: Node) -> None:
    """A check that ends after it was given up changes nothing of what was said, while others go on."""
    given_up, over = threading.Event(), threading.Event()

    def hang(_case: CaseContext) -> Outcome:
        given_up.wait(60)
        over.set()
        return Outcome("bad", "too late")

    def rest(_case: CaseContext) -> Outcome:
        assert over.wait(60)
        return Outcome("ok", "to the end")

    table = (Check("slow", "node", "slow", hang, limit=0.1), Check("rest", "node", "rest", rest, limit=60))
    told: list[CheckResult] = []

    def tell(seen: CheckResult) -> None:
        told.append(seen)
        given_up.set()

    one = case(node)
    one.outcomes.clear()
    assert run([one], table, tell, limit=60) == told
    assert [(seen.check.name, seen.outcome.state) for seen in told] == [("slow", "unknown"), ("rest", "ok")]
    assert one.outcomes["slow"].state == "unknown"


def test_every_check_ends_before_the_bound_for_all() -> None:
    """No limit is beyond what all of them have together; those that call have more than those that read."""
    by_name = {check.name: check.limit for check in checks.CHECKS}
    assert all(0 < limit < engine.LIMIT_SECONDS for limit in by_name.values())
    assert by_name["probe"] >= 4 * FAR_LIMIT.total_seconds()
    assert by_name["their_view"] > FAR_LIMIT.total_seconds() < by_name["sweep_endpoint"]


def test_what_a_check_cannot_see_is_unknown(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails, or takes too long, ends no other, and is neither good nor bad."""
    slow = threading.Event()

    def fail(_case: CaseContext) -> Outcome:
        raise RuntimeError("bug")

    def hang(_case: CaseContext) -> Outcome:
        slow.wait(20)
        return Outcome("ok", "late")

    table = (Check("a", "node", "a", fail), Check("b", "node", "b", hang))
    monkeypatch.setattr(engine, "CHECKS", table)
    monkeypatch.setattr(engine, "LIMIT_SECONDS", 0.3)
    diagnosis = engine.diagnose(node, node.acts, DiagnosisTarget("approval_blocked"))
    slow.set()
    assert {seen.outcome.state for seen in diagnosis.seen} == {"unknown"}
    assert diagnosis.seconds < 5


def test_checks_change_nothing(node: Node) -> None:
    """A diagnosis commits nothing to the database."""
    alive(node)
    put_in(node, new_peer(node, "https://b.example"), "degraded")
    changes = node.changes()
    changes.poll()
    node.diagnose(DiagnosisTarget())
    assert not changes.poll()


def test_a_thousand_healthy_peers_are_quick(make_node: MakeNode) -> None:
    """Nothing is looked at closely where nothing is wrong: the number of checks does not grow with the peers."""
    node = make_node()
    alive(node)
    for number in range(30):
        peer_id = new_peer(node, f"https://p{number}.example")
        put_in(node, peer_id, "active")
    diagnosis = node.diagnose(DiagnosisTarget())
    assert diagnosis.findings == ()
    assert {seen.subject for seen in diagnosis.seen} == {NODE}


def test_an_unknown_symptom_and_an_unknown_peer(node: Node) -> None:
    """Both are said, with what there is."""
    with pytest.raises(WrongUsage) as caught:
        found(node, "headache")
    assert "stuck_accepted" in caught.value.cause
    with pytest.raises(NotFound):
        found(node, peer="https://nobody.example")


# --- causes by facts -----------------------------------------------------------------------


def rows(*pairs: tuple[str, dict[str, Any]]) -> list[Any]:
    return [pytest.param(code, facts, id=f"{code}-{number}") for number, (code, facts) in enumerate(pairs)]


def peer(status: str, **more: Any) -> dict[str, Any]:
    """Facts of a peer's record."""
    given = Peer(
        id="p", remote_instance_url="https://b.example", status=status, peer_kind="platform", enroll_owed=False
    )
    return {"peer": given, "status": status, "url": "https://b.example", "error": None, "error_code": "", **more}


THEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PIN, OTHER_PIN = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def reached(status: str, **more: Any) -> dict[str, Any]:
    """Facts of a peer that this node's calls reach, and that is not heard."""
    facts = peer(status, faults=[], view={}, waiting_for=timedelta(hours=1), pair_state="complete", **more)
    facts["peer"].last_outbound_at = THEN
    return facts


def past_its_term() -> dict[str, Any]:
    """Facts of a peer whose agreed term is over."""
    facts = peer("degraded", faults=[])
    facts["peer"].expires_at = THEN
    return facts


def through_a_proxy(code: str, **caller: Any) -> dict[str, Any]:
    """Facts of a call that was refused, and came through a trusted proxy."""
    return {"code": code, "caller": {"proxy": PIN, **caller}}


OWED = Peer(id="p", remote_instance_url="https://b.example", status="accepted", peer_kind="platform", enroll_owed=True)


HOLDS = rows(
    ("sweep_endpoint_missing", {"sweep_endpoint": "missing"}),
    ("sweep_endpoint_failing", {"sweep_endpoint": "failing"}),
    ("sweep_endpoint_unauthorized", {"sweep_endpoint": "unauthorized"}),
    ("handshake_incomplete", {**peer("accepted"), "peer": OWED}),
    ("handshake_incomplete", {**peer("accepted"), "peer": OWED, "delivery_paused": True}),
    ("handshake_incomplete", peer("accepted", pair_state="none")),
    ("outbound_unreachable", peer("accepted", faults=["refused"])),
    ("outbound_tls_failed", peer("enrolled", faults=["unknown_ca"])),
    ("outbound_rejected", peer("accepted", faults=["own_certificate_rejected"])),
    ("remote_unreachable", peer("degraded", faults=["dns"])),
    ("remote_tls_failed", peer("active", error="x", faults=["expired"])),
    ("remote_rejecting_auth", peer("degraded", faults=[], view_code="remote_rejecting_auth")),
    ("remote_rate_limited", peer("degraded", error_code="remote_rate_limited", faults=[])),
    ("remote_failing", peer("degraded", error_code="remote_failing", faults=[])),
    ("clock_skew", peer("active", skew=600.0)),
    ("clock_skew", peer("degraded", skew=1.0, skew_now=-300.0)),
    ("one_way_partition", peer("active", error="remote_timeout: x", faults=["timeout"])),
    ("one_way_partition", peer("degraded", faults=[], view={"last_outbound_code": "remote_timeout"})),
    ("recovering", peer("degraded", faults=[], view={}, error="remote_refused: x")),
    ("gone_over_24h", peer("degraded", faults=["refused"], degraded_for=timedelta(hours=30))),
    ("key_missing", peer("active", broken="key_missing")),
    ("key_missing", peer("degraded", view={"pair": "key_missing"}, faults=[])),
    ("cert_missing", peer("accepted", broken="cert_missing", request_waits=True)),
    ("key_cert_mismatch", peer("active", broken="mismatch")),
    ("vault_unreadable", peer("active", broken="vault_unreadable")),
    ("token_mistyped", {"held_token": "mangled"}),
    ("token_superseded", {"held_token": "cancelled"}),
    ("drill_mode_peer", peer("proposed", drill=True)),
    *((code, {"code": code}) for code in (DOMAIN["grant_scope_mismatch"] + " kind_not_served").split()),
    *((code, {"code": code}) for code in DOMAIN["unauthorized_with_grant"].split() if not code.startswith("proxy")),
    ("cert_chain_invalid", {"code": "cert_not_yet_valid"}),
    ("manager_paused", {"manager_paused": True}),
    ("manager_not_ticking", {"jobs_late": {manager_pause.MANAGER_JOB: timedelta(hours=1)}}),
    ("manager_not_ticking", {"daemons": [], "approved_waiting": ["x"]}),
    ("worker_not_running", {"daemons": []}),
    ("worker_not_running", {"daemons": [], "ended": [(4711, THEN)]}),
    ("daemon_not_responding", {"daemons": [], "hung": [(4711, "stopped", THEN)]}),
    ("daemon_not_responding", {"daemons": [], "hung": [(4711, "silent", THEN)]}),
    ("port_taken", {"daemons": [], "port_taken": "127.0.0.1:8443"}),
    ("record_tampered", {"tampered": "Event x was changed after it was sealed."}),
    ("remote_body_refused", peer("degraded", error_code="remote_body_refused", faults=[])),
    ("body_refused", peer("degraded", body_refused="heartbeat: the body is larger than 65536 bytes", faults=[])),
    ("clock_stepped", {"clock_stepped_by": timedelta(hours=2), "clock_until": THEN}),
    ("sweep_overdue", {"jobs_late": {heartbeats.JOB: timedelta(hours=1)}, "holder": "vm:4711:ab"}),
    ("job_not_registered", {"jobs_missing": [heartbeats.JOB]}),
    ("never_heard", reached("accepted")),
    ("silent_peer", reached("degraded", heartbeat_age=timedelta(minutes=6))),
    ("ended_there", peer("active", error="peering_ended: x", error_code="peering_ended")),
    ("ended_there", peer("degraded", faults=["peering_ended"])),
    ("term_ended", past_its_term()),
    ("term_ended", peer("active", error="term_ended: x", error_code="term_ended")),
    ("remote_unreachable", peer("degraded", faults=["silent"])),
    ("remote_unreachable", peer("active", error="remote_refused: x", faults=["refused"], heard_since_failing=False)),
    ("one_way_partition", peer("active", error="remote_refused: x", faults=["refused"], heard_since_failing=True)),
    *(("one_way_partition", peer("degraded", faults=[], view={"last_outbound_code": code})) for code in commands.HOW),
    ("remote_tls_failed", peer("active", error="x", faults=["handshake_failed"])),
    ("remote_tls_failed", peer("degraded", error="x", faults=["url_insecure"])),
    ("remote_tls_failed", peer("degraded", error_code="remote_tls_failed", faults=["disconnected"])),
    ("remote_rejecting_auth", peer("degraded", faults=["own_certificate_rejected"], own_certificate_ended=THEN)),
    ("handshake_incomplete", {**peer("accepted"), "peer": OWED, "delivery_error": "remote_rejecting: x"}),
    ("handshake_incomplete", {**peer("accepted"), "peer": OWED, "delivery_error": "remote_rejecting_auth: x"}),
    ("handshake_incomplete", {**peer("accepted"), "peer": OWED, "delivery_error": "remote_timeout: x"}),
    ("proxy_misconfigured", through_a_proxy("cert_not_presented")),
    ("proxy_misconfigured", through_a_proxy("cert_not_presented", unreadable="what x-ssl-client-cert holds is none")),
    ("proxy_misconfigured", through_a_proxy("source_ip_not_allowed", fingerprint=PIN)),
    ("proxy_misconfigured", {"code": "cert_not_presented", "caller": {"ignored": ["x-ssl-client-cert"]}}),
)
"""Facts by which causes hold."""


@pytest.mark.parametrize(("code", "facts"), HOLDS)
def test_a_cause_holds_by_its_facts_and_offers_a_fix(node: Node, code: str, facts: dict[str, Any]) -> None:
    """What the checks saw makes the cause hold; it says why, and what helps, whose act exists."""
    cause = causes.BY_CODE[code]
    sense = cause.holds(case(node, Subject(cause.scope, "p"), **facts))
    assert isinstance(sense, Match), facts
    assert sense.fixes
    assert all(not fix.action or fix.action in policies.RULES for fix in sense.fixes)
    assert all(fix.title for fix in sense.fixes)


@pytest.mark.parametrize("cause", causes.CAUSES, ids=lambda cause: cause.code)
def test_no_cause_holds_where_nothing_is_known(node: Node, cause: causes.Cause) -> None:
    """Without facts nothing follows; a peer that is active and answers is no finding."""
    assert cause.holds(case(node, Subject(cause.scope, "p"))) is None
    fine = peer(
        "active", faults=[], view={"pair": "complete"}, pair_state="complete", skew=0.1, heartbeat_age=timedelta()
    )
    assert cause.holds(case(node, Subject(cause.scope, "p"), **fine, daemons=["x"], can_decide=[])) is None


@pytest.mark.parametrize(
    ("said", "code", "undecided"),
    [
        ("The peer answered HTTP 401: acceptance_token does not match stored digest", "token_already_used", True),
        ("The peer answered HTTP 401: acceptance_token not recognized or expired", "token_already_used", True),
        ("The peer answered HTTP 401: acceptance_token has expired (expired_at 2026-01-01)", "token_expired", False),
    ],
)
def test_what_only_the_other_side_can_tell_is_said(node: Node, said: str, code: str, undecided: bool) -> None:
    """Of an accept that was refused there, this node knows the words alone: it names who can tell."""
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    until = node.clock.now() + timedelta(days=1)
    invite = tokens.write_invite(Invite("https://a.example", new_token(node), until, "sha256:" + "ab" * 32))
    asked = node.request(ADA, "system.federation_peer_accept", {"invite": invite}).approval  # type: ignore[union-attr]
    with node.unit(ADA) as unit:
        failed = {"status": "failed", "error": {"code": "remote_rejecting_auth", "problem": said}}
        unit.session.execute(update(Approval).where(Approval.id == asked.id).values(**failed))
    [one] = node.diagnose(DiagnosisTarget("token_mismatch")).findings
    assert (one.cause.code, bool(one.sense.undecided)) == (code, undecided)
    assert one.fix is not None
    assert one.fix.where == "there"
    assert all(node.url in fix.command for fix in one.sense.fixes), "what it knows this node by, and no token"
    seen = next(seen for seen in node.diagnose(DiagnosisTarget("token_mismatch")).seen if seen.check.name == "approval")
    assert said in [evidence.value for evidence in seen.outcome.evidence]


def new_token(node: Node) -> str:
    """A well-formed token."""
    peer_id = new_peer(node, "https://z.example")
    made = node.request(ADA, "system.federation_peer_token", {"peer": peer_id}).result  # type: ignore[union-attr]
    return str(made["acceptance_token"])


@pytest.mark.parametrize("code", ["remote_timeout", "remote_tls_failed", "remote_rejecting_auth"])
def test_their_failing_calls_are_a_cause(node: Node, code: str) -> None:
    """Reached, and not reaching this node: however their calls fail, it is named, with what helps."""
    facts = peer("degraded", faults=[], view={"last_outbound_code": code}, own_ca="sha256:ab")
    sense = causes.BY_CODE["one_way_partition"].holds(case(node, Subject("peer", "p"), **facts))
    assert sense is not None
    assert commands.HOW[code] in sense.because
    assert sense.fixes


def test_planned_maintenance_is_no_finding(node: Node) -> None:
    """A degraded peer in planned maintenance raises nothing."""
    facts = peer("degraded", faults=["refused"], in_maintenance=True, degraded_for=timedelta(hours=30))
    held = [
        one.code
        for one in causes.CAUSES
        if one.scope == "peer" and one.holds(case(node, Subject("peer", "p"), **facts))
    ]
    assert held == []


def test_two_causes_at_once_are_both_named_the_root_first(node: Node, clock: ManualClock) -> None:
    """A paused manager and a lowered policy: findings in the order of the roots; a pending request is a note."""
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    lowered = {"policy_action": "system.federation_peer_revoke", "policy": "notify_and_proceed", "span": "1h"}
    node.request(ADA, "system.policy_lower", {**lowered, "reason": "test"})
    node.request(ADA, "system.federation_peer_propose", {"url": "https://c.example"})
    assert found(node) == ["manager_paused", "policy_lowered"]
    assert [one.cause.code for one in node.diagnose(DiagnosisTarget()).notes] == ["approval_pending"], (
        "it is within its time"
    )
    shaped = engine.shape(node.diagnose(DiagnosisTarget()), fail_on="high")
    assert shaped["ok"] is False
    assert engine.shape(node.diagnose(DiagnosisTarget()), fail_on="critical")["ok"] is True
    keys = {"symptom", "cause", "severity", "peer_id", "subject", "evidence", "explanation", "fix", "hint_url"}
    assert all(keys <= set(one) for one in shaped["findings"])
    assert {"title", "command", "action", "params", "needs_approval"} <= set(shaped["findings"][0]["fix"])


def test_whether_a_fix_has_to_be_approved_is_as_the_policies_stand(node: Node) -> None:
    """The policy that is in force says it, in the finding and before the fix is carried out; not the one at birth."""
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})

    def said() -> tuple[bool, str]:
        diagnosis = node.diagnose(DiagnosisTarget())
        [finding] = [one for one in diagnosis.findings if one.cause.code == "manager_paused"]
        assert finding.fix is not None
        return engine.finding_shape(finding, diagnosis)["fix"]["needs_approval"], node.preview(ADA, finding.fix)[-1]

    assert said() == (False, wizard.AT_ONCE)
    for policy, asks in (("require_approval", True), ("blocked", False)):
        node.request(ADA, "system.policy_set", {"policy_action": "system.manager_resume", "policy": policy})
        assert said() == (asks, wizard.BY_POLICY[policy])


def test_a_refused_call_is_found_and_goes_when_it_would_be_allowed(node: Node) -> None:
    """The newest of each sort is judged again as things are now; strangers only where they are asked for."""
    world: World = make_world(node)
    alive(node)
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    world.kept(world.asked(grant_id))
    world.kept(world.asked(grant_id))
    assert found(node) == ["source_ip_not_allowed"]
    node.request(ADA, "system.federation_grant_edit", {"grant": grant_id, "source_cidrs": ["10.0.0.0/8"]})
    assert found(node) == []
    world.kept(world.asked(None, fingerprint=None, subject=""))
    assert found(node) == []
    assert found(node, "unauthorized_with_grant") == ["cert_not_presented"]


def test_a_refusal_for_the_grant_outlives_a_heartbeat_and_one_for_the_caller_does_not(
    node: Node, clock: ManualClock
) -> None:
    """A heartbeat proves who the peer is, and says nothing of a bearer that is none."""
    world = make_world(node)
    alive(node)
    clock.advance(seconds=1)
    world.kept(world.asked(None, bearer="secret"))
    world.kept(world.asked(None, call="heartbeat", fingerprint="sha256:lost", subject=f"CN=fed:{world.peer_id}"))
    assert found(node) == ["cert_unknown", "grant_token_malformed"]
    clock.advance(seconds=1)
    with node.unit(ADA) as unit:
        heartbeats.record(unit, world.peer_id, Declared())
    assert found(node) == ["grant_token_malformed"]


def test_a_certificate_that_was_replaced_is_not_held_against_calls_from_before(node: Node, clock: ManualClock) -> None:
    """A call refused for its grant is judged again with the certificate that the peer has now; once its grant fits,
    neither a revoked nor a missing certificate brings it back."""
    world = make_world(node)
    alive(node)
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    world.kept(world.asked(grant_id))
    clock.advance(seconds=1)
    with node.unit(ADA) as unit:
        row = certificates.by_fingerprint(unit.session, world.fingerprint)
        assert row is not None
        certificates.revoke(unit, row, "test")
    assert found(node) == []
    world.act(
        "system.federation_certificate_mint",
        {"peer": world.peer_id, "csr_pem": signing.signing_request(signing.new_key(), "b")},
    )
    assert found(node) == ["source_ip_not_allowed"]
    node.request(ADA, "system.federation_grant_edit", {"grant": grant_id, "source_cidrs": ["10.0.0.0/8"]})
    assert found(node) == []


def test_from_a_grant_its_refused_calls_are_found_and_what_refuses_any_call(node: Node, clock: ManualClock) -> None:
    """A grant that is pointed at: the call that was refused with it, however long ago; and that it has expired,
    which nobody has run into yet, with its renewal as the fix and its allowlists left alone."""
    world = make_world(node)
    alive(node)
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    assert found(node, grant=grant_id) == []
    world.kept(world.asked(grant_id))
    clock.advance(hours=2)
    assert found(node, "grant_scope_mismatch", grant=grant_id[:20]) == ["source_ip_not_allowed"]
    with node.unit(ADA) as unit:
        unit.session.execute(update(Grant).values(expires_at=unit.now, source_cidrs=["10.0.0.0/8"]))
    [one] = node.diagnose(DiagnosisTarget("grant_scope_mismatch", grant=grant_id)).findings
    assert one.cause.code == "grant_expired"
    assert one.fix is not None
    assert (one.fix.action, dict(one.fix.params)) == ("system.federation_grant_renew", {"grant": grant_id})


def test_from_a_peer_its_calls_and_requests_are_found(node: Node) -> None:
    """A peer that is pointed at comes with the calls it was refused and with what waits for it."""
    world = make_world(node)
    alive(node)
    world.kept(world.asked(world.grant(cidrs=["192.0.2.0/24"])))
    node.request(ADA, "system.federation_peer_revoke", {"peer": world.peer_id, "reason": "test"})
    node.request(ADA, "system.federation_peer_propose", {"url": "https://c.example"})
    seen = {one.subject.scope for one in node.diagnose(DiagnosisTarget(peer=world.peer_id)).findings}
    assert seen >= {"decision", "approval"}
    labels = [one.subject.label for one in node.diagnose(DiagnosisTarget(peer=world.peer_id)).findings]
    assert not any("c.example" in label for label in labels)


def test_a_peer_that_is_about_to_be_silent_is_one_way_already(node: Node) -> None:
    """Active and not heard of for two intervals, while its own calls to this node fail: named before it degrades."""
    facts = peer("active", faults=[], view={"last_outbound_code": "remote_tls_failed"}, own_ca="sha256:ab")
    cause, late = causes.BY_CODE["one_way_partition"], {"heartbeat_age": timedelta(minutes=3)}
    assert cause.holds(case(node, Subject("peer", "p"), **{**facts, **late})) is not None
    heard = {"heartbeat_age": timedelta(seconds=30)}
    assert cause.holds(case(node, Subject("peer", "p"), **{**facts, **heard})) is None


@pytest.mark.parametrize("code", ["cert_revoked", "cert_unknown", "peer_missing", "trust_chain_mismatch"])
def test_a_call_that_was_refused_here_is_the_root_and_no_partition(node: Node, code: str) -> None:
    """The peer's calls fail because this node turns its certificate away: that is named, and no firewall."""
    silent = peer("degraded", faults=[], view={"last_outbound_code": "remote_rejecting_auth"})
    of_peer = case(node, Subject("peer", "p", "b", "p"), **silent)
    refused = case(node, Subject("decision", "d", "call", "p"), code=code, detail="serial 1")
    of_another = case(node, Subject("decision", "d", "call", "q"), code="cert_revoked", detail="serial 1")
    table = causes.CAUSES
    assert [one.cause.code for one in engine.conclude([of_peer, refused], table)] == [code]
    codes = [one.cause.code for one in engine.conclude([of_peer, of_another], table)]
    assert codes == ["one_way_partition", "cert_revoked"]
    silent["view"] = {"last_outbound_code": "remote_timeout"}
    codes = [one.cause.code for one in engine.conclude([case(node, of_peer.subject, **silent), refused], table)]
    assert sorted(codes) == sorted(["one_way_partition", code]), "a call that times out is no refusal"
    silent["view"] = {"last_outbound_code": "remote_rejecting_auth"}
    used = case(node, Subject("decision", "d", "call", "p"), code="grant_token_unknown", detail="x")
    found = [one.cause.code for one in engine.conclude([case(node, of_peer.subject, **silent), used], table)]
    assert found == ["one_way_partition", "grant_token_unknown"], "a heartbeat needs no grant"


@pytest.mark.parametrize(
    ("endpoint", "code", "codes"),
    [
        ("failing", "remote_failing", ["sweep_endpoint_failing"]),
        ("missing", "remote_rejecting", ["sweep_endpoint_missing"]),
        ("missing", "remote_timeout", ["sweep_endpoint_missing", "one_way_partition"]),
        ("unauthorized", "remote_failing", ["sweep_endpoint_unauthorized", "one_way_partition"]),
    ],
)
def test_what_answers_in_this_nodes_place_explains_how_a_peers_calls_fail(
    node: Node, endpoint: str, code: str, codes: list[str]
) -> None:
    """Errors of what stands at this node's URL reach the peer too; that nothing arrives is another matter."""
    ours = case(node, sweep_endpoint=endpoint)
    silent = peer("degraded", faults=[], view={"last_outbound_code": code})
    found = engine.conclude([ours, case(node, Subject("peer", "p", "b", "p"), **silent)], causes.CAUSES)
    assert [one.cause.code for one in found] == codes


def test_the_runbooks_own_ways_out_are_offered(node: Node) -> None:
    """Half a pair, a lost certificate, a request that waits: what the runbook names besides the smallest fix."""

    def offered(cause: str, scope: Any, **facts: Any) -> list[str]:
        sense = causes.BY_CODE[cause].holds(case(node, Subject(scope, "p"), **facts))
        assert sense is not None
        return [fix.command.partition(" --")[0] for fix in sense.fixes]

    half = peer("active", broken="key_missing", request_waits=True)
    anew = [
        "fedtui peers revoke p",
        "fedtui peers propose https://b.example",
        "fedtui peers token https://b.example",
        "fedtui peers accept",
    ]
    by_hand = ["fedtui certs csr p > a.csr", f"fedtui certs issue {node.url}", "fedtui certs store p", *anew]
    half["peer"] = SimpleNamespace(id="p", remote_instance_url="https://b.example")
    assert offered("key_missing", "peer", **half) == [f"fedtui certs issue {node.url}", *by_hand]
    asked = offered("key_missing", "peer", **{**half, "request_waits": False})
    assert asked == [f"fedtui certs issue {node.url}", *by_hand], "asking takes the pair that is not whole"
    lost = [f"fedtui certs probe {node.url}", "fedtui certs issue p", *anew]
    of_peer = {"decision_peer": half["peer"]}
    assert offered("trust_chain_mismatch", "decision", code="trust_chain_mismatch", **of_peer) == lost
    assert offered("trust_chain_mismatch", "decision", code="trust_chain_mismatch") == lost[:1], "of nobody known"
    words = [explain.Change("Have the caller present the certificate that this node signed for it", where="there")]
    assert offered("cert_not_presented", "decision", code="cert_not_presented", changes=words, **of_peer) == lost
    revoke = Approval(
        id="a",
        action="system.federation_peer_revoke",
        status="expired",
        digest="d" * 64,
        requested_by="ada",
        expires_at=node.clock.now(),
    )
    over = causes.BY_CODE["approval_timed_out"].holds(case(node, Subject("approval", "a"), approval=revoke))
    assert over is not None
    assert "fedtui policies lower system.federation_peer_revoke --to notify_and_proceed" in over.because
    assert len(over.fixes) == 1, "it is said, and not offered by Enter"


def test_a_call_is_told_by_what_was_called_and_by_whom(node: Node) -> None:
    """A peer's by its URL, a stranger's by its address; the stranger's cannot be answered, and stays as it was."""
    world = make_world(node)
    alive(node)
    world.kept(world.asked(world.grant(), method="PUT"))
    stranger = world.kept(chain.AccessRequest("heartbeat", Caller(None, "192.0.2.7")))
    [of_peer] = node.diagnose(DiagnosisTarget("grant_scope_mismatch")).findings
    [of_stranger] = node.diagnose(DiagnosisTarget("unauthorized_with_grant", decision=stranger)).findings
    assert of_peer.subject.label.startswith("PUT doc/one from https://b.example (decision ")
    assert of_stranger.subject.label.startswith("heartbeat from 192.0.2.7 (decision ")
    assert (of_peer.stays, of_stranger.stays) == (False, True)
    assert of_stranger.sense.because == "The caller presented no client certificate."


def test_a_proxy_that_calls_and_is_not_trusted_can_be(node: Node) -> None:
    """Where the certificate was signed here for a proxy, trusting it beside those that are is offered; else not."""
    world = make_world(node)
    request = signing.signing_request(signing.new_key(), "edge-1")
    world.act("system.federation_certificate_mint", {"proxy": "edge-1", "csr_pem": request})
    trusted = "sha256:" + "0" * 64
    world.act("system.settings_change", {"key": "trusted_proxies", "value": trusted})
    with node.read() as session:
        rows = session.scalars(select(Certificate).where(Certificate.subject_kind.in_(("instance", "server")))).all()
    for row in rows:
        called = world.kept(chain.AccessRequest("heartbeat", Caller(row.fingerprint, "192.0.2.7")))
        [one] = node.diagnose(DiagnosisTarget("unauthorized_with_grant", decision=called)).findings
        offered = [fix.params for fix in one.sense.fixes if fix.action]
        both = ",".join(sorted((row.fingerprint, trusted)))
        wanted = [{"key": "trusted_proxies", "value": both}] if row.subject_kind == "instance" else []
        assert (one.cause.code, offered, one.sense.together) == ("cert_wrong_kind", wanted, False)
    assert {row.subject_kind for row in rows} == {"instance", "server"}


def test_who_paused_the_manager_and_why_is_said_before_it_is_resumed(node: Node) -> None:
    """A pause may be meant (the runbook ends with one): its author, time and reason stand with the cause."""
    alive(node)
    node.request(ADA, "system.manager_pause", {}, reason="it flaps")
    [one] = node.diagnose(DiagnosisTarget("approval_blocked")).findings
    assert one.cause.code == "manager_paused"
    assert re.fullmatch(r"ada paused it at .* UTC: it flaps\. No approved request waits for it\.", one.sense.because), (
        one.sense.because
    )


def test_who_suspended_a_peer_and_why_is_said_before_it_is_resumed(node: Node) -> None:
    """A suspension may be meant: its author and reason stand with the call that was refused for it."""
    world = make_world(node)
    alive(node)
    node.request(ADA, "system.federation_peer_suspend", {"peer": world.peer_id, "reason": "they asked us to"})
    called = world.kept(chain.AccessRequest("heartbeat", Caller(world.fingerprint, "10.1.2.3")))
    [one] = node.diagnose(DiagnosisTarget(decision=called)).findings
    assert one.cause.code == "peer_not_reachable"
    assert re.search(r"ada suspended https://b.example at \S+ \S+ UTC: they asked us to\.$", one.sense.because)


@pytest.mark.parametrize(("terms", "settles"), [({"status": "suspended"}, True), ({"cidrs": ["192.0.2.0/24"]}, False)])
def test_what_a_heartbeat_may_answer_is_told_from_what_a_grant_allows(
    node: Node, terms: dict[str, Any], settles: bool
) -> None:
    """Found again right after its fix, a refusal for who called may be from before; one for the grant is not."""
    world = make_world(node)
    alive(node)
    status = terms.pop("status", None)
    asked = world.asked(world.grant(**terms))
    if status is not None:
        put_in(node, world.peer_id, status)
    called = world.kept(asked)
    assert node.diagnose(DiagnosisTarget(decision=called)).of_heartbeats is settles


@pytest.mark.parametrize(("cause", "told"), [("token_of_other_peer", "another peer"), ("token_cancelled", "cancelled")])
def test_what_the_record_knows_of_a_refused_token_is_said(node: Node, cause: str, told: str) -> None:
    """Beside the answer that was given, and when: what the remote was not told."""
    peer_id = new_peer(node, "https://b.example")
    with node.unit(ADA) as unit:
        events.emit(
            unit,
            "federation.peer.accept_refused",
            source="test",
            peer_id=peer_id,
            cause=cause,
            answered="acceptance_token not recognized or expired",
        )
    [one] = node.diagnose(DiagnosisTarget("token_mismatch", peer=peer_id)).findings
    assert "UTC: acceptance_token not recognized or expired." in one.sense.because
    assert told in one.sense.because


def test_of_a_token_that_is_held_its_story_is_told(node: Node, clock: ManualClock) -> None:
    """For whom it was made, until when it is good, and when it ended."""
    node.request(ADA, "system.operator_add", {"name": "ben"})
    peer_id = new_peer(node, "https://b.example")
    made = node.request(ADA, "system.federation_peer_token", {"peer": peer_id, "ttl": "1h"}).result  # type: ignore[union-attr]
    wanted = DiagnosisTarget("token_mismatch", token=str(made["acceptance_token"]))
    [good] = node.diagnose(wanted).seen
    assert good.outcome.said.startswith("It is good for https://b.example until ")
    clock.advance(hours=2)
    [expired] = node.diagnose(wanted).findings
    assert (expired.cause.code, expired.stays) == ("token_expired", True)
    assert expired.sense.because.startswith("It was for https://b.example, and good until ")
    told = {one.what for one in node.diagnose(wanted).seen[0].outcome.evidence}
    assert {"made for", "made at", "good until"} <= told


def test_a_peer_takes_anybody_only_while_the_node_is_in_drill_mode(node: Node) -> None:
    """The finding goes with drill mode itself, which is offered as its end; the row alone opens nothing."""
    alive(node)
    node.request(ADA, "system.settings_change", {"key": "drill_mode", "value": "on"})
    new_peer(node, "https://b.example", drill_mode=True)
    [one] = node.diagnose(DiagnosisTarget()).findings
    _, over = one.sense.fixes
    assert (one.cause.code, over.action) == ("drill_mode_peer", "system.settings_change")
    node.request(ADA, over.action, over.params)
    assert found(node) == []


def test_what_is_wrong_beside_the_symptom_is_told(node: Node) -> None:
    """Asked about another symptom, the doctor finds no cause of it, and does not say that all is well."""
    alive(node)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    diagnosis = node.diagnose(DiagnosisTarget("degraded"))
    assert diagnosis.findings == ()
    assert [one.check.name for one in diagnosis.beside] == ["manager"]
    [told] = engine.shape(diagnosis)["failed_beside"]
    assert told["check"] == "manager"
    assert engine.shape(node.diagnose(DiagnosisTarget("approval_blocked")))["failed_beside"] == []


def test_whoever_has_no_symptom_looks_at_everything(paused: Node) -> None:
    """`escalation` has no causes of its own: all are looked for, and the incident has its events around it."""
    assert found(paused, "escalation") == found(paused) == ["manager_paused"]
    incident = paused.begin_incident(ADA, DiagnosisTarget("escalation"))
    around = paused.surroundings(incident)
    assert "system.act" in [one["kind"] for one in around["events"]]


# --- recognising ---------------------------------------------------------------------------

SEEDS = {
    "acceptance_token does not match stored digest": "token_mismatch",
    "acceptance_token required (peer has acceptance_token_digest set)": "token_missing",
    "NameError: uninitialized constant FederationHeartbeatJob": "stuck_accepted",
    "[FederationHeartbeatJob] Starting heartbeat sweep": "stuck_accepted",
    "[PeerClient] partial mTLS config — cert_pem=true, key_pem=false; falling back to plaintext": "partial_mtls",
    "[PeerClient] partial mTLS config — cert_pem=false, key_pem=true; falling back to plaintext": "partial_mtls",
    'status: "degraded"': "degraded",
    'status: "accepted"': "stuck_accepted",
    'HTTP/1.1 403 Forbidden\n\n{"error": "grant scope mismatch: ..."}': "grant_scope_mismatch",
    "ConnectionError: the peer hung up": "degraded",
    '{"error": "client certificate revoked", "code": "unauthorized"}': "unauthorized_with_grant",
    "the request auto-rejected after 4 hours": "approval_blocked",
    '{ "data": { "swept": 0, "degraded_ids": [], "ran_at": "..." } }': "stuck_accepted",
    "POST http://localhost:3000/api/v1/system/worker_api/federation/heartbeat_sweep 404": "stuck_accepted",
    'puts peer.metadata["degraded_reason"]': "degraded",
    "applies_to_source_ip? returned false": "grant_scope_mismatch",
    "FederationApi::BaseController#authenticate_federation_peer!": "unauthorized_with_grant",
    "stuck in the Ai::ApprovalRequest queue": "approval_blocked",
    "finding peer_capability_drift": "escalation",
    "finding overlapping_prefix_advertisement": "escalation",
    "finding stale_accepted_without_handshake": "stuck_accepted",
    "acceptance_token_expires_at": "token_mismatch",
    "acceptance_token has expired (expired_at 2026-01-01T00:00:00+00:00)": "token_mismatch",
    "acceptance_token not recognized or expired": "token_mismatch",
    "new_token = peer.generate_acceptance_token!(ttl_seconds: 1.hour.to_i)": "token_mismatch",
    "system_sdwan_accept_federation_peer": "token_mismatch",
    "drill-mode peers (no digest set) accept any caller": "token_missing",
    'grep -A3 "federation_heartbeat:" sidekiq.yml': "stuck_accepted",
    "ls: cannot access 'worker/app/jobs/federation_heartbeat_job.rb'": "stuck_accepted",
    "powernode-worker@default.service: Failed with result 'exit-code'": "stuck_accepted",
    "Active: inactive (dead)": "stuck_accepted",
    "POST /api/v1/system/worker_api/federation/heartbeat_sweep 500": "stuck_accepted",
    "look at Federation::PeerClient": "degraded",
    "HeartbeatSweepService": "degraded",
    "last_heartbeat_at older than HEARTBEAT_STALE_AFTER": "degraded",
    "puts peer.heartbeat_stale?": "degraded",
    "B's federation_api/heartbeat answers 429": "degraded",
    "remote platform offline; investigation in progress": "degraded",
    "503 Service Unavailable": "degraded",
    "peer.node_certificate.credentials returned one half": "partial_mtls",
    "node_certificate.store_in_vault(cert_pem: ..., private_key_pem: ...)": "partial_mtls",
    "System::InternalCaService.issue_certificate(csr_pem: ...)": "partial_mtls",
    "puts grant.active?": "grant_scope_mismatch",
    "puts grant.permission_scopes": "grant_scope_mismatch",
    "puts grant.source_cidrs": "grant_scope_mismatch",
    'find_by_bearer_token("fg-<id>")': "unauthorized_with_grant",
    "Authorization: Bearer fg-0195d3a2-7c1e-7000-8000-00000000dead": "unauthorized_with_grant",
    "openssl s_client -showcerts -connect platform-a:443": "unauthorized_with_grant",
    "Visit /ai/autonomy/approvals": "approval_blocked",
    "policy require_approval": "approval_blocked",
    "system.federation_peer_revoke": "approval_blocked",
    "the system.infra_tasks.control permission": "approval_blocked",
    'SDWAN Manager: status: "paused"': "approval_blocked",
    'source: "federation_heartbeat_sweep"': "degraded",
    'source: "sdwan_manager"': "approval_blocked",
    'source: "accept_controller"': "token_mismatch",
    "platform.recent_events": "escalation",
    "Ai::GovernanceReport": "escalation",
}


def symptom_of(node: Node, text: str) -> str | None:
    """What a text is recognised as."""
    with node.read() as session:
        known = error_lookup.look_up(session, text)
    assert known is not None
    return known.wanted.symptom


@pytest.mark.parametrize(("text", "symptom"), SEEDS.items())
def test_the_runbooks_own_strings_are_recognised(node: Node, text: str, symptom: str) -> None:
    """Each string of the runbook leads to its symptom."""
    assert symptom_of(node, f"2026-01-01 12:00 host app: {text}\n") == symptom


OURS = {
    "[FederationApi] TLS handshake with 192.0.2.7 failed: certificate verify failed": "unauthorized_with_grant",
    "[SDWAN Manager] the handshake with https://c.example is still unfinished: remote_refused": "stuck_accepted",
    "[SDWAN Manager] executing 0195 failed": "approval_blocked",
    "resource kind is not served by this node": "grant_scope_mismatch",
    "The connection to the peer broke.": "degraded",
    "The peer did not answer in time.": "degraded",
    "The peer answers, but TLS with it fails.": "degraded",
    "This node has only half of what it needs to call https://c.example.": "partial_mtls",
    "sslv3 alert certificate expired": "degraded",
    "connect: No route to host": "degraded",
    "Hostname mismatch, certificate is not valid for 'c.example'": "degraded",
}
"""What this program and those that it calls write into logs."""


@pytest.mark.parametrize(("text", "symptom"), OURS.items())
def test_what_logs_say_is_recognised(node: Node, text: str, symptom: str) -> None:
    """A line of this node's log, or the words of OpenSSL and the network in it, leads to its symptom."""
    assert symptom_of(node, text) == symptom


@pytest.mark.parametrize("code", [*causes.BY_CODE, *causes.BY_SYMPTOM, *BY_KIND])
def test_every_name_of_the_catalogue_is_recognised(node: Node, code: str) -> None:
    """What the doctor, here or on the other side, names by its code can be pasted, alone or in a sentence."""
    with node.read() as session:
        assert error_lookup.look_up(session, f'their doctor says "{code}", medium') is not None


def test_what_a_text_names_on_record_counts_more_than_its_topic(node: Node) -> None:
    """A grant's bearer that is on record is looked at for whatever is wrong with it; one that is not is a symptom."""
    world = make_world(node)
    header = "Authorization: Bearer fg-{}"
    with node.read() as session:
        on_record = error_lookup.look_up(session, header.format(world.grant()))
        unknown = error_lookup.look_up(session, header.format("0195d3a2-7c1e-7000-8000-00000000dead"))
    assert on_record is not None
    assert on_record.wanted.symptom is None
    assert unknown is not None
    assert unknown.wanted == DiagnosisTarget("unauthorized_with_grant")


def test_every_answer_of_this_api_is_recognised(node: Node) -> None:
    """What the chain tells a remote is recognised here."""
    source = Path(chain.__file__).read_text()
    told = re.findall(r'40[13], "([^"]+)"|422,\s+"([^"]+)"', source)
    assert len(told) > 5
    with node.read() as session:
        assert all(error_lookup.look_up(session, " ".join(words)) for words in told)


def test_ids_and_urls_in_a_text_are_what_it_is_about(node: Node) -> None:
    """A decision's id, a peer's URL with a path, and a grant's bearer lead to the record; unknown ones do not."""
    world = make_world(node)
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    kept = world.kept(world.asked(grant_id))
    with node.read() as session:
        known = error_lookup.look_up(session, f'{{"error": "grant scope mismatch: x", "decision_id": "{kept}"}}')
        assert known is not None
        assert (known.wanted.decision, known.wanted.symptom) == (kept, "grant_scope_mismatch")
        known = error_lookup.look_up(session, "GET https://b.example/api/v1/x: connection refused")
        assert known is not None
        assert known.wanted.peer == world.peer_id
        known = error_lookup.look_up(session, f"Authorization: Bearer fg-{grant_id}")
        assert known is not None
        assert (known.wanted.grant, known.wanted.peer) == (grant_id, None)
        assert error_lookup.look_up(session, "all is well") is None
        assert error_lookup.look_up(session, "0195d3a2-7c1e-7000-8000-00000000dead") is None


def test_a_token_is_looked_at_and_never_kept(node: Node) -> None:
    """A pasted token is recognised; what became of it is found; no transcript holds it."""
    node.request(ADA, "system.operator_add", {"name": "ben"})
    peer_id = new_peer(node, "https://b.example")
    made = node.request(ADA, "system.federation_peer_token", {"peer": peer_id}).result  # type: ignore[union-attr]
    token = str(made["acceptance_token"])
    with node.read() as session:
        for text in (token, made["invite"], token[:-3]):
            known = error_lookup.look_up(session, str(text))
            assert known is not None
            assert known.wanted.token is not None
            assert token not in repr(known)
    wanted = DiagnosisTarget("token_mismatch", token=token[:-3] + "aaa")
    assert [one.cause.code for one in node.diagnose(wanted).findings] == ["token_mistyped"]
    incident = node.begin_incident(ADA, wanted)
    node.look(ADA, incident, token=wanted.token)
    assert token[:20] not in json.dumps(node.incident(incident), default=str)


@pytest.mark.parametrize("text", ["", "\x00" * 100, "a" * 100_000, "https://[::1", "ft1", "fi1 !!", "(" * 5000])
def test_any_text_is_taken(node: Node, text: str) -> None:
    """Nothing that is pasted brings up more than a word of not knowing, and soon."""
    began = time.monotonic()
    with node.read() as session:
        error_lookup.look_up(session, text)
    assert time.monotonic() - began < 5


# --- incidents -----------------------------------------------------------------------------


@pytest.fixture
def paused(node: Node) -> Node:
    """A node whose manager is paused, with a second operator."""
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    return node


def test_from_symptom_to_proof(paused: Node, clock: ManualClock) -> None:
    """Look, mend, prove: the incident closes when the checks pass, with every step and its times on record."""
    incident = paused.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    assert paused.standing(incident).step == "look"
    clock.advance(seconds=20)
    ran(paused)
    seen = paused.look(ADA, incident)
    assert paused.standing(incident).step == "cause"
    [one] = seen.findings
    assert one.fix is not None
    assert paused.mend(ADA, incident, one.fix)["outcome"] == "done"
    assert paused.standing(incident).step == "prove"
    clock.advance(seconds=10)
    ran(paused)
    assert paused.look(ADA, incident, proving=True).findings == ()
    shaped = paused.incident(incident)
    assert (shaped["state"], shaped["outcome"], shaped["causes"]) == ("closed", "fixed", ["manager_paused"])
    assert (shaped["seconds_to_diagnosis"], shaped["seconds_to_fix"]) == (20.0, 30.0)
    kinds = [line["kind"] for line in shaped["transcript"]]
    assert [kind for kind in kinds if kind != "check"] == [
        "opened",
        "finding",
        "looked",
        "act",
        "verified",
        "closed",
    ]
    with paused.read() as session:
        told = [event.kind for event in events.recent(session) if "incident" in event.kind]
    assert told == [f"system.incident.{kind}" for kind in ("closed", "diagnosed", "opened")]


def ran(node: Node, *but: str) -> None:
    """The daemon is there, and its jobs have just run, all `but` these."""
    with node.unit(ADA) as unit:
        daemons.seen(unit.session, node.holder, now=unit.now, ttl=timedelta(hours=1))
        for job in node.jobs():
            if job.name not in but:
                unit.session.add(
                    JobRun(
                        id=new_id(),
                        job=job.name,
                        holder=node.holder,
                        epoch=1,
                        started_at=unit.now,
                        finished_at=unit.now,
                        outcome="ok",
                        detail={},
                    )
                )


def test_it_stays_open_while_a_check_of_its_subject_fails_and_offers_what_explains_it(
    paused: Node, clock: ManualClock
) -> None:
    """The paused manager is mended, and meanwhile the heartbeat job has stopped: another symptom's cause, of the same
    node. It is named in the same incident with its fix; only when that check passes too is the incident fixed."""
    incident = paused.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    [one] = paused.look(ADA, incident).findings
    assert one.fix is not None
    paused.mend(ADA, incident, one.fix)
    clock.advance(minutes=10)
    ran(paused, heartbeats.JOB)
    looked = paused.look(ADA, incident, proving=True)
    assert (looked.findings, [other.cause.code for other in looked.offered]) == ((), ["sweep_overdue"])
    assert [(seen.check.name, seen.outcome.state) for seen in looked.held] == [("schedule", "bad")]
    assert all(other.sense.fixes for other in looked.offered)
    shaped = paused.incident(incident)
    assert (shaped["state"], shaped["causes"]) == ("open", ["manager_paused", "sweep_overdue"])
    assert paused.standing(incident).step == "cause"
    told = engine.shape(looked)
    assert told["keeps_open"] == [
        {"check": "schedule", "subject": "this node", "said": looked.held[0].outcome.said},
    ]
    assert [other["cause"] for other in told["elsewhere"]] == ["sweep_overdue"]
    ran(paused)
    assert paused.look(ADA, incident, proving=True).held == ()
    shaped = paused.incident(incident)
    assert (shaped["outcome"], shaped["transcript"][-1]["content"]["reason"]) == ("fixed", "every check passes")


@pytest.fixture
def two_sick(node: Node, monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """What the one check of each of two degraded peers comes to, by the peer's URL; a test says which."""
    alive(node)
    states: dict[str, Outcome] = {}
    for url in ("https://p.example", "https://q.example"):
        put_in(node, new_peer(node, url), "degraded")
        states[url] = Outcome("ok", "well")
    table = (Check("one", "peer", "It is well", lambda case: states[case.subject.label]),)
    monkeypatch.setattr(engine, "CHECKS", table)
    return states


BROKEN = {"broken": "key_missing", "status": "active", "peer": peer("active")["peer"]}


@pytest.mark.parametrize("state", ["bad", "unknown"])
def test_a_check_that_no_cause_explains_keeps_it_open_too(node: Node, two_sick: dict[str, Outcome], state: Any) -> None:
    """What was found is gone, and a check of the same peer fails for no cause that is known, or could not be made:
    it is said which and how, and the incident waits to be looked at again."""
    two_sick["https://p.example"] = Outcome("bad", "half a pair", facts=BROKEN)
    incident = node.begin_incident(ADA, DiagnosisTarget("partial_mtls"))
    assert [one.cause.code for one in node.look(ADA, incident).findings] == ["key_missing"]
    two_sick["https://p.example"] = Outcome(state, "it hums")
    looked = node.look(ADA, incident, proving=True)
    assert (looked.offered, [seen.outcome.said for seen in looked.held]) == ((), ["it hums"])
    assert node.incident(incident)["state"] == "open"
    assert node.standing(incident).step == "prove"
    last = node.incident(incident)["transcript"][-1]
    assert last["content"]["keeps_open"] == [{"check": "one", "subject": "https://p.example", "said": "it hums"}]
    two_sick["https://p.example"] = Outcome("ok", "well")
    node.look(ADA, incident, proving=True)
    assert node.incident(incident)["outcome"] == "fixed"


def test_what_is_wrong_with_another_keeps_no_incident_open(node: Node, two_sick: dict[str, Outcome]) -> None:
    """An incident about one peer is fixed when that peer's checks pass; what fails at the other is told beside it,
    and no cause of the other's is offered in it."""
    two_sick["https://p.example"] = Outcome("bad", "half a pair", facts=BROKEN)
    incident = node.begin_incident(ADA, DiagnosisTarget("partial_mtls"))
    node.look(ADA, incident)
    two_sick["https://p.example"] = Outcome("bad", "it hums")
    two_sick["https://q.example"] = Outcome("bad", "too early", facts={"skew": 600.0})
    looked = node.look(ADA, incident, proving=True)
    assert ([seen.subject.label for seen in looked.held], looked.elsewhere) == (["https://p.example"], ())
    two_sick["https://p.example"] = Outcome("ok", "well")
    node.look(ADA, incident, proving=True)
    closed = node.incident(incident)
    assert (closed["outcome"], closed["causes"]) == ("fixed", ["key_missing"])
    assert closed["transcript"][-1]["content"]["reason"] == "its checks pass; beside it: too early"


def test_what_was_found_is_looked_at_again_though_the_record_shows_nothing(
    node: Node, two_sick: dict[str, Outcome]
) -> None:
    """A peer that is active again by the record is no suspect any more; for its incident it is looked at all the
    same, and proven well by its checks."""
    two_sick["https://p.example"] = Outcome("bad", "half a pair", facts=BROKEN)
    incident = node.begin_incident(ADA, DiagnosisTarget("partial_mtls"))
    [one] = node.look(ADA, incident).findings
    put_in(node, one.subject.id, "active")
    looked = node.look(ADA, incident, proving=True)
    assert [found.cause.code for found in looked.findings] == ["key_missing"]
    assert [seen.subject.label for seen in node.diagnose(DiagnosisTarget("partial_mtls")).seen] == ["https://q.example"]


def test_a_cause_of_another_symptom_is_offered_in_the_same_incident(paused: Node) -> None:
    """Begun under the wrong symptom, the incident names what explains the check that failed, and is fixed by it."""
    incident = paused.begin_incident(ADA, DiagnosisTarget("degraded"))
    looked = paused.look(ADA, incident)
    assert (looked.findings, [one.cause.code for one in looked.offered]) == ((), ["manager_paused"])
    assert paused.standing(incident).step == "cause"
    [one] = looked.offered
    assert one.fix is not None
    paused.mend(ADA, incident, one.fix)
    paused.look(ADA, incident, proving=True)
    assert paused.incident(incident)["outcome"] == "fixed"


def test_a_fix_that_needs_approval_is_waited_for_and_resumed(node: Node) -> None:
    """The wizard stands at waiting; a colleague takes it over, both see so; decided, it goes on to the proof."""
    world = make_world(node)
    alive(node)
    incident = node.begin_incident(ADA, DiagnosisTarget(None))
    fix = Fix(
        "Sign another",
        "",
        "system.federation_certificate_mint",
        {"peer": world.peer_id, "csr_pem": signing.signing_request(signing.new_key(), "b")},
    )
    outcome = node.mend(ADA, incident, fix)
    standing = node.standing(incident)
    assert (outcome["outcome"], standing.step, standing.waits_for) == ("pending", "wait", outcome["approval"])
    node.note_incident(BEN, incident, "I go on with this")
    assert node.standing(incident).owner == "ben"
    with node.read() as session:
        digest = session.get_one(wizard.approvals.Approval, outcome["approval"]).digest
    node.approve(BEN, outcome["approval"], digest, reason="test")
    wizard.gate.execute(node, node.acts, outcome["approval"])
    assert node.standing(incident).step == "prove"
    kinds = [line["kind"] for line in node.incident(incident)["transcript"]]
    assert kinds == ["opened", "act", "taken_over", "note"]


def test_what_is_shown_once_is_made_by_its_requester_once_it_was_approved(node: Node) -> None:
    """A token whose policy asks for approval: approved, it waits; asked for as before, it is made, shown, and kept
    nowhere."""
    world = make_world(node)
    alive(node)
    peer_id = new_peer(node, "https://c.example")
    world.act("system.policy_set", {"policy_action": "system.federation_peer_token", "policy": policies.ASK})
    incident = node.begin_incident(ADA, DiagnosisTarget("token_mismatch", peer=peer_id))
    fix = causes.tokens.Fix("New", "fedtui ...", "system.federation_peer_token", {"peer": peer_id, "ttl": "1h"})
    asked = str(node.mend(ADA, incident, fix)["approval"])
    with node.read() as session:
        digest = session.get_one(Approval, asked).digest
    node.approve(BEN, asked, digest, reason="test")
    assert node.standing(incident).step == "wait"
    assert node.asked_for(incident) == fix
    made = node.mend(ADA, incident, node.asked_for(incident))
    assert (made["outcome"], made["shown_once"]["invite"][:3]) == ("done", "fi1")
    assert (node.standing(incident).step, made["shown_once"]["invite"] in str(node.incident(incident))) == (
        "prove",
        False,
    )
    with pytest.raises(Refused):
        node.asked_for(node.begin_incident(ADA, DiagnosisTarget()))


def test_what_a_fix_changes_is_shown_before(node: Node) -> None:
    """In words, and as before and after; nothing is asked for by looking."""
    world = make_world(node)
    fix = Fix("Suspend", "", "system.federation_peer_suspend", {"peer": world.peer_id, "reason": "test"})
    lines = node.preview(ADA, fix)
    assert lines[0].startswith("Suspend https://b.example")
    assert lines[1:] == ["https://b.example: in service -> suspended", wizard.AT_ONCE]
    with node.read() as session:
        assert session.get_one(Peer, world.peer_id).status == "active"
    assert node.preview(ADA, Fix("Start it", "fedtui serve", where="there")) == []


def test_a_fix_that_failed_says_so(paused: Node) -> None:
    """What the gate refuses stands in the transcript with its reason, and the incident stays open."""
    incident = paused.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    fix = Fix("Resume", "", "system.federation_peer_resume", {"peer": "https://nobody.example"})
    outcome = paused.mend(ADA, incident, fix)
    assert (outcome["outcome"], outcome["problem"]["code"]) == ("failed", "peer_not_found")
    assert paused.incident(incident)["state"] == "open"
    by_hand = paused.mend(ADA, incident, Fix("Start it", "fedtui serve", where="there"))
    assert by_hand["outcome"] == "by_hand"


def test_what_an_act_leaves_to_people_is_said_once_it_is_carried_out(node: Node) -> None:
    """With what it yielded: at once where it is carried out at once, else when its request has ended."""
    world = make_world(node)
    alive(node)
    incident = node.begin_incident(ADA, DiagnosisTarget("grant_scope_mismatch"))
    terms = {"peer": world.peer_id, "subject": "backup@b", "kind": "doc", "scopes": ["read"]}
    fix = causes.access.Fix("New", "", "system.federation_grant_issue", terms, then="send {bearer_token}")
    assert str(node.mend(ADA, incident, fix)["left"]).startswith("send fg-")
    world.act("system.policy_set", {"policy_action": fix.action, "policy": policies.ASK})
    asked = str(node.mend(ADA, incident, fix)["approval"])
    with node.read() as session:
        digest = session.get_one(Approval, asked).digest
    node.approve(BEN, asked, digest, reason="test")
    wizard.gate.execute(node, node.acts, asked)
    node.look(ADA, incident)
    lines = node.incident(incident)["transcript"]
    [ended] = [line["content"]["left"] for line in lines if line["kind"] == "act_ended"]
    assert ended.startswith("send fg-")


def test_what_a_fix_yields_once_is_for_whoever_carried_it_out(node: Node) -> None:
    """A new token's invite is in the answer, and nowhere in the transcript."""
    alive(node)
    peer_id = new_peer(node, "https://c.example")
    incident = node.begin_incident(ADA, DiagnosisTarget("token_mismatch", peer=peer_id))
    outcome = node.mend(ADA, incident, causes.tokens.Fix("New", "", "system.federation_peer_token", {"peer": peer_id}))
    assert (outcome["outcome"], outcome["shown_once"]["invite"][:3]) == ("done", "fi1")
    told = json.dumps(node.incident(incident), default=str)
    assert outcome["shown_once"]["acceptance_token"] not in told
    assert outcome["shown_once"]["invite"] not in told


def test_a_closed_incident_is_closed(paused: Node) -> None:
    """It takes no more notes or acts; it ends as one of four; nobody's operator opens none."""
    incident = paused.begin_incident(ADA, DiagnosisTarget())
    with pytest.raises(WrongUsage):
        paused.close_incident(ADA, incident, "won")
    paused.close_incident(ADA, incident, "abandoned", "a drill")
    for act in (
        lambda: paused.note_incident(ADA, incident, "x"),
        lambda: paused.close_incident(ADA, incident, "fixed"),
    ):
        with pytest.raises(Refused):
            act()
    with pytest.raises((Refused, NotFound)):
        paused.begin_incident(Actor("operator", "eve", origin="test"), DiagnosisTarget())


@pytest.mark.parametrize("note", ["", "  ", "x" * 5000])
def test_a_note_has_a_length(paused: Node, note: str) -> None:
    """Nothing, and too much, are refused."""
    incident = paused.begin_incident(ADA, DiagnosisTarget())
    with pytest.raises(WrongUsage):
        paused.note_incident(ADA, incident, note)


def test_the_export_holds_everything_and_no_secret(paused: Node) -> None:
    """Markdown and JSON have each line of the transcript; a token that was noted is hidden."""
    incident = paused.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    paused.look(ADA, incident)
    secret = "ft1" + "abcdefghij234567" * 4
    paused.note_incident(ADA, incident, f"they sent {secret}")
    shaped = paused.incident(incident)
    text = incidents.markdown(shaped)
    assert secret not in text + json.dumps(shaped, default=str)
    assert "(hidden)" in text
    assert text.startswith("# An act waits for approval")
    assert "The SDWAN Manager is not paused (this node): It is paused." in text
    assert text.count("### ") == len(shaped["transcript"])
    assert f"* daemons alive: `{paused.holder} at {paused.url}` (daemons)" in text
    assert "`None`" not in text


def test_only_what_came_to_nothing_is_closed_by_leaving(node: Node) -> None:
    """All well in every look: closed. Before a look, with something wrong, a note, or as a colleague: left as it is."""
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    calm, noted, unseen = (node.begin_incident(ADA, DiagnosisTarget("degraded")) for _ in range(3))
    for one in (calm, noted):
        node.look(ADA, one)
    node.note_incident(ADA, noted, "it was slow at noon")
    assert not any(node.leave_incident(ADA, one) for one in (noted, unseen))
    assert not node.leave_incident(BEN, calm)
    node.request(ADA, "system.manager_pause", {"reason": "test"})
    ill = node.begin_incident(ADA, DiagnosisTarget("approval_blocked"))
    node.look(ADA, ill)
    assert not node.leave_incident(ADA, ill)
    assert node.leave_incident(ADA, calm)
    assert not node.leave_incident(ADA, calm), "it is closed"
    assert (node.incident(calm)["outcome"], node.incident(calm)["causes"]) == ("explained", [])


def test_what_is_too_long_is_cut_and_said_so(paused: Node) -> None:
    """A line of a transcript is bounded."""
    incident = paused.begin_incident(ADA, DiagnosisTarget())
    with paused.unit(ADA) as unit:
        incidents.write(unit, incident, "note", {"text": "x" * 200_000})
    last = paused.incident(incident)["transcript"][-1]
    assert len(json.dumps(last["content"])) < incidents.ENTRY_LIMIT
    assert "left_out" in last["content"]


def test_evidence_has_its_source_and_time(paused: Node) -> None:
    """Every value that is shown says where it was read, and when."""
    for seen in paused.diagnose(DiagnosisTarget()).seen:
        for one in seen.outcome.evidence:
            assert isinstance(one, Evidence)
            assert one.source
            assert one.at is not None
