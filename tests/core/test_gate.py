"""The gate: who may do what, what waits for whom, and that an approved act happens once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from fedtui.core.administration import operators
from fedtui.core.audit.events import recent
from fedtui.core.bootstrap import open_node
from fedtui.core.errors import NotFound, Problem, Refused, WrongUsage
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approvals, eligible_approvers, executions, gate, policies
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers, tokens
from fedtui.core.pki import vault as vaults
from fedtui.core.pki.vault import Owner
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in

ADA, BEN = Actor("operator", "ada"), Actor("operator", "ben")
PROPOSE = "system.federation_peer_propose"
REVOKE = "system.federation_peer_revoke"
URL = "https://b.example"


@pytest.fixture
def two(node: Node) -> Node:
    """A node with a second operator, ben."""
    done(node.request(ADA, "system.operator_add", {"name": "ben"}))
    return node


def done(outcome: Done | Pending) -> Mapping[str, Any]:
    assert isinstance(outcome, Done)
    return outcome.result


def pending(outcome: Done | Pending) -> Approval:
    assert isinstance(outcome, Pending)
    return outcome.approval


def propose(node: Node, url: str = URL) -> Approval:
    return pending(node.request(ADA, PROPOSE, {"url": url}, reason="why not"))


def status(node: Node, approval: Approval) -> str:
    with node.read() as session:
        return approvals.find(session, approval.id).status


def test_propose_waits_is_approved_and_runs_at_the_tick(two: Node) -> None:
    """A gated act changes nothing until another approves it and the manager ticks; then exactly it happens."""
    asked = propose(two)
    with two.read() as session:
        assert peers.by_url(session, URL) is None
        assert eligible_approvers.deciders(session, asked) == (
            ["ben"],
            {"ada": "asked for it, and nobody decides their own request"},
        )
    assert two.approve(BEN, asked.id, asked.digest[:8]).status == "approved"
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 0
    assert status(two, asked) == "executed"
    with two.read() as session:
        peer = peers.by_url(session, URL)
        assert peer is not None
        assert peer.status == "proposed"
        kinds = [event.kind for event in recent(session) if event.correlation_id == asked.correlation_id]
        assert {"system.approval.requested", "federation.peer.proposed", "system.approval.executed"} <= set(kinds)


def test_nobody_decides_their_own_request(two: Node) -> None:
    """Four eyes: the requester can neither approve nor reject, except on a single-operator node."""
    asked = propose(two)
    for decide in (
        lambda: two.approve(ADA, asked.id, asked.digest),
        lambda: gate.decide(two, ADA, "reject", asked.id, "x"),
    ):
        with pytest.raises(Refused) as refused:
            decide()
        assert refused.value.code == "four_eyes"
    assert status(two, asked) == "pending"


def test_a_single_operator_decides_alone(make_node: MakeNode) -> None:
    """Set up for a single operator, the node still asks, and lets the one who asked decide."""
    node = make_node(single_operator=True)
    asked = propose(node)
    assert node.approve(ADA, asked.id, asked.digest).status == "approved"


def test_approving_takes_the_permission_and_the_digest(two: Node) -> None:
    """Without infra_tasks.control, or with another digest, nothing is approved."""
    done_or_pending = two.request(ADA, "system.operator_add", {"name": "cy", "permissions": [operators.VIEW]})
    two.approve(BEN, pending(done_or_pending).id, pending(done_or_pending).digest)
    job_tasks.manager_tick(two, two.acts)
    asked = propose(two)
    for actor, digest, code in (
        (Actor("operator", "cy"), asked.digest, "permission_missing"),
        (Actor("operator", "mallory"), asked.digest, "operator_unknown"),
        (BEN, asked.digest[:7], "digest_mismatch"),
        (BEN, "0" * 64, "digest_mismatch"),
    ):
        with pytest.raises(Problem) as refused:
            two.approve(actor, asked.id, digest)
        assert refused.value.code == code
    with pytest.raises(Refused) as refused:
        two.request(Actor("operator", "cy"), PROPOSE, {"url": "https://c.example"})
    assert refused.value.code == "permission_missing"


def test_a_changed_target_makes_the_request_stale(two: Node) -> None:
    """What the act depends on changed since it was asked for: approving is refused and recorded."""
    asked = propose(two)
    new_peer(two, url=URL)
    with pytest.raises(Refused) as refused:
        two.approve(BEN, asked.id, asked.digest)
    assert refused.value.code == "approval_stale"
    assert status(two, asked) == "stale"


def test_a_target_that_changes_after_approval_is_not_acted_on(two: Node) -> None:
    """Between approval and tick the same check holds."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    new_peer(two, url=URL)
    assert job_tasks.manager_tick(two, two.acts)["failed"] == 1
    assert status(two, asked) == "stale"


def test_liveness_does_not_make_a_request_stale(two: Node, clock: ManualClock) -> None:
    """A heartbeat or a missed one between asking and approving changes nothing about a revocation."""
    peer_id = new_peer(two)
    put_in(two, peer_id, "active")
    asked = pending(two.request(ADA, REVOKE, {"peer": URL, "reason": "gone"}))
    put_in(two, peer_id, "degraded")
    two.approve(BEN, asked.id, asked.digest)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1
    with two.read() as session:
        assert peers.get(session, peer_id).status == "revoked"


def test_the_clock_rejects_after_four_hours_once(two: Node, clock: ManualClock) -> None:
    """A request nobody decides expires at four hours, even before a tick has said so; asking again is new."""
    asked = propose(two)
    clock.advance(hours=4)
    with pytest.raises(Refused) as refused:
        two.approve(BEN, asked.id, asked.digest)
    assert refused.value.code == "approval_timed_out"
    assert job_tasks.manager_tick(two, two.acts)["expired"] == 1
    assert job_tasks.manager_tick(two, two.acts)["expired"] == 0
    assert status(two, asked) == "expired"
    assert propose(two).id != asked.id


def test_asking_twice_is_one_request(two: Node) -> None:
    """The same act by the same operator while the first still waits does not fill the queue."""
    assert propose(two).id == propose(two).id


def test_reject_and_withdraw(two: Node) -> None:
    """Rejecting takes a reason; only the requester withdraws; an ended request stays ended."""
    asked = propose(two)
    with pytest.raises(WrongUsage):
        gate.decide(two, BEN, "reject", asked.id, "  ")
    assert gate.decide(two, BEN, "reject", asked.id, "not now").status == "rejected"
    with pytest.raises(Refused):
        two.approve(BEN, asked.id, asked.digest)
    second = propose(two)
    with pytest.raises(Refused):
        gate.decide(two, BEN, "withdraw", second.id)
    assert gate.decide(two, ADA, "withdraw", second.id).status == "withdrawn"
    with pytest.raises(NotFound):
        gate.decide(two, ADA, "withdraw", "zzz")


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told(two: Node, second: str) -> None:
    """Two operators decide the same request in the same moment, from processes of their own: one decision counts,
    it is announced once, and the other operator learns whose it was."""
    with two.unit(ADA) as unit:
        operators.add(unit, "cleo", operators.PERMISSIONS)
    asked, barrier = propose(two), threading.Barrier(2)
    won: list[str] = []
    lost: list[Problem] = []

    def decide(name: str, what: str) -> None:
        own, who = open_node(two.settings, clock=two.clock), Actor("operator", name)
        try:
            barrier.wait(30)
            if what == "approve":
                own.approve(who, asked.id, asked.digest)
            else:
                own.decide(who, "reject", asked.id, "no")
            won.append(name)
        except Problem as problem:
            lost.append(problem)
        finally:
            own.close()

    threads = [threading.Thread(target=decide, args=one) for one in (("ben", "approve"), ("cleo", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner], [told] = won, lost
    assert told.code == "approval_not_open"
    assert f"decided by {winner}" in told.problem
    with two.read() as session:
        row = approvals.find(session, asked.id)
        assert row.decided_by == winner
        decided = [
            one.kind for one in recent(session) if one.kind in ("system.approval.approved", "system.approval.rejected")
        ]
        assert decided == [f"system.approval.{row.status}"]


def test_many_managers_execute_once(two: Node) -> None:
    """Of eight executors racing for one approved request, one carries it out."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    barrier, outcomes = threading.Barrier(8), []

    def race() -> None:
        own = open_node(two.settings, clock=two.clock)
        try:
            barrier.wait()
            outcomes.append(gate.execute(own, own.acts, asked.id))
        finally:
            own.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [None] * 7 + ["executed"]
    with two.read() as session:
        assert len(recent(session, kind="federation.peer.proposed")) == 1


def test_a_failing_act_is_recorded_and_can_be_retried(two: Node) -> None:
    """An approved act that is refused when carried out ends as failed with the error; a person can retry it."""
    peer_id = new_peer(two)
    asked = pending(two.request(ADA, REVOKE, {"peer": URL, "reason": "gone"}))
    two.approve(BEN, asked.id, asked.digest)
    broken = dict(two.acts)

    def refuse(*_: object) -> Mapping[str, Any]:
        raise Refused("No.", cause="A test.", code="because")

    import dataclasses

    broken[REVOKE] = dataclasses.replace(broken[REVOKE], apply=refuse)
    assert job_tasks.manager_tick(two, broken)["failed"] == 1
    with two.read() as session:
        row = approvals.find(session, asked.id)
        assert (row.status, (row.error or {})["code"]) == ("failed", "because")
        assert peers.get(session, peer_id).status == "proposed"
    assert gate.decide(two, BEN, "retry", asked.id).status == "approved"
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def test_an_abandoned_execution_is_taken_up_again(two: Node, clock: ManualClock) -> None:
    """A request left executing by a process that died is carried out by the next, after the deadline."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    with two.unit(ADA) as unit:
        row = approvals.find(unit.session, asked.id)
        assert executions.claim(unit, row, "dead:1:x", abandoned_before=unit.now)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 0
    clock.advance(minutes=3)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def test_paused_the_manager_leaves_approvals_alone(two: Node, clock: ManualClock) -> None:
    """Paused, nothing approved is carried out, and the clock still rejects."""
    asked, waiting = propose(two), propose(two, url="https://c.example")
    two.approve(BEN, asked.id, asked.digest)
    done(two.request(ADA, "system.manager_pause", {}))
    assert job_tasks.manager_tick(two, two.acts) == {
        "status": "paused",
        "expired": 0,
        "about_to_expire": 0,
        "policies_restored": [],
    }
    assert status(two, asked) == "approved"
    clock.advance(hours=5)
    assert job_tasks.manager_tick(two, two.acts)["expired"] == 2
    assert status(two, waiting) == "expired"


@pytest.mark.parametrize("action", [PROPOSE, REVOKE, "system.federation_peer_accept"])
def test_the_three_are_never_automatic(node: Node, action: str) -> None:
    """Propose, accept and revoke cannot be set to auto_approve, with or without a second operator."""
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.policy_set", {"policy_action": action, "policy": policies.AUTO})
    assert refused.value.code == "policy_floor"


def test_blocked_refuses_and_policy_set_cannot_be_blocked(node: Node) -> None:
    """A blocked action is refused with the way out; the way out itself cannot be blocked."""
    done(node.request(ADA, "system.policy_set", {"policy_action": PROPOSE, "policy": "blocked"}))
    with pytest.raises(Refused) as refused:
        node.request(ADA, PROPOSE, {"url": URL})
    assert refused.value.code == "policy_blocked"
    with pytest.raises(Refused):
        node.request(ADA, "system.policy_set", {"policy_action": "system.policy_set", "policy": "blocked"})


def test_weakening_asks_once_two_can_approve(two: Node) -> None:
    """Alone, an operator changes settings at once; with a second who can approve, it waits for them."""
    asked = pending(two.request(ADA, "system.settings_change", {"key": "drill_mode", "value": "on"}))
    assert asked.summary == "Change drill_mode from off to on."


def test_the_last_approver_stays(node: Node) -> None:
    """The last operator who can approve cannot be removed."""
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.operator_remove", {"name": "ada"})
    assert refused.value.code == "last_approver"


def test_a_token_that_needs_approval_is_claimed_by_its_requester_once(two: Node) -> None:
    """With the token's policy raised, approval only permits it; the secret goes to who asked, once."""
    policy = {"policy_action": "system.federation_peer_token", "policy": "require_approval"}
    raised = pending(two.request(ADA, "system.policy_set", policy))
    two.approve(BEN, raised.id, raised.digest)
    job_tasks.manager_tick(two, two.acts)
    peer_id = new_peer(two)
    ask = {"peer": peer_id}
    asked = pending(two.request(ADA, "system.federation_peer_token", ask))
    two.approve(BEN, asked.id, asked.digest)
    job_tasks.manager_tick(two, two.acts)
    assert status(two, asked) == "approved"
    pending(two.request(BEN, "system.federation_peer_token", ask))
    assert done(two.request(ADA, "system.federation_peer_token", ask))["acceptance_token"].startswith("ft1")
    with two.read() as session:
        row = approvals.find(session, asked.id)
        assert (row.status, row.result) == ("executed", {"claimed": True})
    pending(two.request(ADA, "system.federation_peer_token", ask))


def test_a_waiting_token_is_sealed_and_destroyed_with_its_request(make_node: MakeNode) -> None:
    """An accept that waits keeps its token sealed, shows a digest, and leaves nothing when it ends."""
    inviting, node = make_node("beta"), make_node("alpha")
    peer_id = new_peer(inviting, url="https://alpha.example")
    invite = done(inviting.request(ADA, "system.federation_peer_token", {"peer": peer_id}))["invite"]
    asked = pending(node.request(ADA, "system.federation_peer_accept", {"invite": invite}))
    token = tokens.read_invite(str(invite)).token
    assert asked.params["token_digest"] == f"sha256:{tokens.digest(token)}"
    assert token not in str(asked.params)
    with node.read() as session:
        assert vaults.names(session, Owner("approval", asked.id)) == {"secret_params"}
    gate.decide(node, ADA, "withdraw", asked.id)
    with node.read() as session:
        assert vaults.names(session, Owner("approval", asked.id)) == set()


def test_an_invitation_that_ran_out_is_refused_at_approval(make_node: MakeNode, clock: ManualClock) -> None:
    """A token known to have expired while its accept waited is not approved."""
    inviting, node = make_node("beta"), make_node("alpha", single_operator=True)
    from datetime import timedelta

    peer_id = new_peer(inviting, url="https://alpha.example")
    made = done(inviting.request(ADA, "system.federation_peer_token", {"peer": peer_id, "ttl": timedelta(hours=1)}))
    asked = pending(node.request(ADA, "system.federation_peer_accept", {"invite": made["invite"]}))
    clock.advance(hours=2)
    with pytest.raises(Refused) as refused:
        node.approve(ADA, asked.id, asked.digest)
    assert refused.value.code == "token_expired"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"url": "https://alpha.example", "token": "t", "ca_fingerprint": "sha256:" + "0" * 64}, "peer_is_self"),
        ({"url": URL, "token": "t"}, "ca_fingerprint_invalid"),
        ({"url": URL, "token": "t", "ca_fingerprint": "sha256:12"}, "ca_fingerprint_invalid"),
        ({"url": URL, "token": " ", "public_ca": True}, "token_empty"),
        ({"invite": "hello"}, "invite_invalid"),
        ({"invite": "fi1aaaa"}, "token_mangled"),
    ],
)
def test_an_accept_is_checked_before_it_asks(node: Node, params: dict[str, Any], code: str) -> None:
    """A mangled or incomplete invitation is named at once; no request is filed."""
    with pytest.raises(Problem) as refused:
        node.request(ADA, "system.federation_peer_accept", params)
    assert refused.value.code == code
    with node.read() as session:
        assert approvals.listing(session) == []


def test_revoking_ends_certificates_and_tokens(two: Node) -> None:
    """A revoked peer has no live token and no valid certificate of ours."""
    from tests.core.test_handshake import accept, issue, new_csr

    peer_id = new_peer(two)
    accept(two, issue(two, peer_id), csr_pem=new_csr())
    asked = pending(two.request(ADA, REVOKE, {"peer": peer_id, "reason": "compromised"}))
    two.approve(BEN, asked.id, asked.digest)
    job_tasks.manager_tick(two, two.acts)
    with two.read() as session:
        row = approvals.find(session, asked.id)
        assert row.result == {"peer_id": peer_id, "status": "revoked", "certificates_revoked": 1}
        assert peers.get(session, peer_id).metadata_["revocation_reason"] == "compromised"
        assert tokens.live(session, peer_id) is None


@pytest.mark.parametrize("change", ["blocked", "removed"])
def test_what_changed_since_the_approval_counts(two: Node, change: str) -> None:
    """An approved act is not carried out once its policy is blocked or its requester is no operator any more."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    with two.unit(BEN) as unit:
        if change == "blocked":
            unit.session.merge(policies.Policy(action=PROPOSE, policy="blocked", set_at=unit.now, set_by="test"))
        else:
            operators.remove(unit, "ada")
    assert job_tasks.manager_tick(two, two.acts)["failed"] == 1
    with two.read() as session:
        assert peers.by_url(session, URL) is None
        assert (approvals.find(session, asked.id).error or {})["code"] in ("policy_blocked", "operator_unknown")


def test_a_request_approved_in_time_is_carried_out(two: Node, clock: ManualClock) -> None:
    """Approved in the last minute of its four hours, it is taken up at the next tick all the same."""
    asked = propose(two)
    clock.advance(hours=3, minutes=59, seconds=30)
    two.approve(BEN, asked.id, asked.digest)
    clock.advance(seconds=45)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def test_drill_mode_is_part_of_what_is_approved(make_node: MakeNode) -> None:
    """The request says DRILL MODE, and one filed without it goes stale when it is switched on."""
    node = make_node(single_operator=True)
    asked = propose(node)
    done(node.request(ADA, "system.settings_change", {"key": "drill_mode", "value": "on"}))
    with pytest.raises(Refused) as refused:
        node.approve(ADA, asked.id, asked.digest)
    assert refused.value.code == "approval_stale"
    assert propose(node).summary.startswith("DRILL MODE")


def test_an_execution_taken_over_does_not_record_twice(two: Node, clock: ManualClock) -> None:
    """Whoever lost a request to another executor leaves its record alone, and the tick goes on."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    with two.unit(ADA) as unit:
        row = approvals.find(unit.session, asked.id)
        assert executions.claim(unit, row, "first:1:x", abandoned_before=unit.now)
    clock.advance(minutes=3)
    with two.unit(ADA) as unit:
        assert executions.claim(unit, approvals.find(unit.session, asked.id), "second:2:y", abandoned_before=unit.now)
    with pytest.raises(Refused), two.unit(ADA) as unit:
        executions.finish(unit, approvals.find(unit.session, asked.id), "first:1:x", result={})


def test_an_operator_is_checked_before_anything_is_filed(two: Node) -> None:
    """A bad name or permission is named at once, not after an approval."""
    for params in ({"name": "bad name!"}, {"name": "cy", "permissions": ["nope"]}):
        with pytest.raises(WrongUsage):
            two.request(ADA, "system.operator_add", params)


@pytest.mark.parametrize("single", [False, True])
def test_what_waits_for_an_operator_is_what_they_can_decide(make_node: MakeNode, single: bool) -> None:
    """The count for the band agrees with who can decide each request, for everyone."""
    node = make_node(single_operator=single)
    propose(node)
    with node.unit(ADA) as unit:
        operators.add(unit, "ben", operators.PERMISSIONS)
        operators.add(unit, "cy", [operators.VIEW])
    node.request(BEN, PROPOSE, {"url": "https://c.example"})
    with node.read() as session:
        pending_rows = approvals.listing(session, status="pending")
        assert len(pending_rows) == 2
        for name in ("ada", "ben", "cy", "nobody"):
            expected = sum(name in eligible_approvers.deciders(session, row)[0] for row in pending_rows)
            assert eligible_approvers.waiting_for(session, name, node.clock.now()) == expected


ODD = [None, "", 0, -1, 1.5, True, [], {}, ["x"], {"a": 1}, "x" * 5000, "\0", "a\nb", "1h", "peer", 10**30]
NAMES = [
    "auto_renew",
    "bridge",
    "ca_fingerprint",
    "cert_pem",
    "chain_pem",
    "confirm_endpoint",
    "csr_pem",
    "document",
    "expires",
    "grant",
    "id",
    "invite",
    "key",
    "key_pem",
    "kind",
    "maintenance",
    "mode",
    "name",
    "network",
    "peer",
    "permissions",
    "policy",
    "policy_action",
    "prefix",
    "proxy",
    "public_ca",
    "reason",
    "role",
    "serial",
    "served",
    "short_ttl",
    "span",
    "subject",
    "token",
    "ttl",
    "url",
    "value",
]


def test_whatever_is_asked_of_an_act_is_taken_or_refused_in_words(node: Node) -> None:
    """Nothing at all, and each parameter as something it cannot be: every act's reading ends, or raises a Problem."""
    asked = [{}, *(dict.fromkeys(NAMES, odd) for odd in ODD)]
    asked += [{**dict.fromkeys(NAMES, "x"), name: odd} for name in NAMES for odd in (None, {"a": 1})]
    taken = set()
    for act in node.acts.values():
        for raw in asked:
            with suppress(Problem), node.unit(node.actor("test")) as unit:
                act.read(unit, node, raw)
                taken.add(act.action)
    assert {"system.operator_add", "system.inventory_change"} <= taken  # what is asked does reach the acts
