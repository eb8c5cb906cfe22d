"""Why a request waits: every state explains itself, the clock's word counts at once, and there is always a way on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.administration import manager_pause
from fedtui.core.errors import Refused
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approval_queue, approvals, eligible_approvers, executions, gate, policies
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.runtime.job_runs import JobRun
from fedtui.core.runtime.types import new_id
from fedtui.core.views import serializers
from tests.conftest import MakeNode, ManualClock
from tests.core.test_emergencies import ADA, BEN, PROPOSE, REVOKE, in_force, lower, propose, status, two
from tests.core.test_peers import new_peer

__all__ = ["two"]
RESUME = "system.manager_resume"


def approved(node: Node, action: str, params: dict[str, Any]) -> Approval:
    outcome = node.request(ADA, action, params, reason="test")
    assert isinstance(outcome, Pending)
    return node.approve(BEN, outcome.approval.id, outcome.approval.digest)


def set_policy(node: Node, action: str, policy: str) -> None:
    asked = approved(node, "system.policy_set", {"policy_action": action, "policy": policy})
    assert gate.execute(node, node.acts, asked.id) == "executed"


def ticked(node: Node) -> None:
    """As the scheduler records a run of the manager."""
    with node.unit(ADA) as unit:
        unit.session.add(
            JobRun(
                id=new_id(),
                job=manager_pause.MANAGER_JOB,
                holder="h",
                epoch=1,
                started_at=unit.now,
                finished_at=unit.now,
                outcome="ok",
                detail={},
            )
        )


def in_full(node: Node, asked: Approval) -> dict[str, Any]:
    with node.read() as session:
        return serializers.approval_in_full(session, approvals.find(session, asked.id), node, node.acts)


def then(node: Node, asked: Approval) -> str:
    return str(in_full(node, asked)["waiting"]["then"])


def test_a_request_says_when_the_manager_comes_by_or_that_it_does_not(two: Node, clock: ManualClock) -> None:
    """Not yet, about to tick, late, paused: each in its own words, before and after it is approved."""
    asked = propose(two)
    assert "no daemon has run yet" in then(two, asked)
    ticked(two)
    assert f"at its next tick ({clock.now() + timedelta(minutes=1):%H:%M:%S} UTC)" in then(two, asked)
    two.approve(BEN, asked.id, asked.digest)
    clock.advance(minutes=3, seconds=1)
    assert "has not ticked for 2 min" in then(two, asked)
    two.request(ADA, "system.manager_pause", {})
    assert "PAUSED" in then(two, asked)


def test_what_the_requester_has_to_claim_is_not_left_to_the_manager(two: Node) -> None:
    """A token that needs approval is made by who asked for it, and its request says so."""
    set_policy(two, "system.federation_peer_token", "require_approval")
    asked = approved(two, "system.federation_peer_token", {"peer": new_peer(two)})
    assert then(two, asked) == "ada makes it, once, by asking for exactly the same again"


def test_an_execution_that_was_left_behind_says_so(two: Node, clock: ManualClock) -> None:
    """While it is carried out that is said; after two minutes, that whoever did has died or hangs."""
    asked = propose(two)
    two.approve(BEN, asked.id, asked.digest)
    with two.unit(ADA) as unit:
        row = approvals.find(unit.session, asked.id)
        assert executions.claim(unit, row, "dead:1:x", abandoned_before=unit.now)
    assert then(two, asked) == "it is being carried out"
    clock.advance(minutes=2, seconds=1)
    assert "has died or hangs" in then(two, asked)


@pytest.mark.parametrize("decided", [False, True])
def test_the_clocks_word_counts_before_anybody_notices(two: Node, clock: ManualClock, decided: bool) -> None:
    """Past its time a request reads `expired` everywhere, undecided or approved and not carried out, and no badge
    counts it, though no process has run since."""
    asked = propose(two)
    if decided:
        two.approve(BEN, asked.id, asked.digest)
    clock.advance(hours=4)
    now = clock.now()
    assert in_full(two, asked)["status"] == "expired"
    assert "asked for again" in then(two, asked)
    with two.read() as session:
        assert eligible_approvers.waiting_for(session, "ben", now) == 0
        for wanted, expected in (("expired", [asked.id]), ("pending", []), ("approved", [])):
            assert [one.id for one in approvals.listing(session, status=wanted, now=now)] == expected
        for view, count in ((approval_queue.ALL_OPEN, 0), (approval_queue.MINE, 0), (approval_queue.HISTORY, 1)):
            assert approval_queue.count(session, view=approval_queue.View(view, "ada", now)) == count


@pytest.mark.parametrize("late", [False, True])
def test_a_stale_request_keeps_what_has_changed(two: Node, late: bool) -> None:
    """Whether it was noticed at the approval or at the execution, the history says what was different."""
    peer_id = new_peer(two)
    outcome = two.request(ADA, REVOKE, {"peer": peer_id, "reason": "over"}, reason="over")
    assert isinstance(outcome, Pending)
    asked = outcome.approval
    if late:
        two.approve(BEN, asked.id, asked.digest)
    two.request(ADA, "system.federation_peer_edit", {"peer": peer_id, "url": "https://moved.example"})
    if late:
        assert gate.execute(two, two.acts, asked.id) == "stale"
    else:
        with pytest.raises(Refused):
            two.approve(BEN, asked.id, asked.digest)
    shape = in_full(two, asked)
    assert (shape["status"], shape["error"]["code"]) == ("stale", "approval_stale")
    assert "https://moved.example" in shape["error"]["cause"]


def test_a_paused_manager_can_be_brought_back_though_that_needs_approval(two: Node) -> None:
    """Resuming that is approved is carried out while paused, and so is a policy; nothing else is."""
    set_policy(two, RESUME, "require_approval")
    waiting = propose(two)
    two.approve(BEN, waiting.id, waiting.digest)
    two.request(ADA, "system.manager_pause", {})
    assert gate.execute(two, two.acts, waiting.id) is None, "also where the pause came after the tick had begun"
    resume = approved(two, RESUME, {})
    assert "PAUSED" not in then(two, resume)
    outcome = job_tasks.manager_tick(two, two.acts)
    assert (outcome["status"], outcome["executed"], "redelivered" in outcome) == ("paused", 1, False)
    assert status(two, waiting) == "approved"
    with two.read() as session:
        assert manager_pause.status(session) == manager_pause.ACTIVE
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def test_a_lockdown_of_everything_can_be_lifted(two: Node) -> None:
    """Paused, and blocked wherever that is allowed: two operators still get back in by the policies."""
    for action in policies.RULES:
        if not policies.RULES[action].never_blocked and action != "system.manager_pause":
            set_policy(two, action, "blocked")
    assert isinstance(two.request(ADA, "system.manager_pause", {}), Done)
    with pytest.raises(Refused) as refused:
        two.request(ADA, RESUME, {})
    assert refused.value.code == "policy_blocked"
    approved(two, "system.policy_set", {"policy_action": RESUME, "policy": "notify_and_proceed"})
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1
    assert isinstance(two.request(ADA, RESUME, {}), Done)


def test_a_clock_set_back_does_not_make_a_lowering_last_longer(two: Node, clock: ManualClock) -> None:
    """Before it began a lowering is not in force: an hour set back adds no hour of it."""
    lower(two)
    clock.advance(hours=-1)
    assert in_force(two) == "require_approval"
    clock.advance(hours=1)
    assert in_force(two) == "notify_and_proceed"
    clock.advance(minutes=30)
    assert in_force(two) == "require_approval"
    assert isinstance(two.request(ADA, PROPOSE, {"url": "https://late.example"}), Pending)


# --- asking again ------------------------------------------------------------------------


def revocation(node: Node) -> Approval:
    outcome = node.request(ADA, REVOKE, {"peer": new_peer(node), "reason": "over"}, reason="over")
    assert isinstance(outcome, Pending)
    return outcome.approval


@pytest.mark.parametrize("ended", ["expired", "stale", "rejected", "withdrawn"])
def test_what_came_to_nothing_is_asked_for_again_as_it_was(two: Node, clock: ManualClock, ended: str) -> None:
    """A revocation that timed out, say, is one command from the queue: same parameters, the target as it is now."""
    asked = revocation(two)
    if ended == "expired":
        clock.advance(hours=4)
    elif ended == "stale":
        two.request(ADA, "system.federation_peer_edit", {"peer": asked.params["peer_id"], "url": "https://m.example"})
        with pytest.raises(Refused):
            two.approve(BEN, asked.id, asked.digest)
    elif ended == "rejected":
        two.decide(BEN, "reject", asked.id, "not now")
    else:
        two.decide(ADA, "withdraw", asked.id)
    outcome = two.request(ADA, REVOKE, {"again": asked.id}, reason="still over")
    assert isinstance(outcome, Pending)
    anew = outcome.approval
    assert (anew.params, anew.peer_id, anew.status) == (asked.params, asked.peer_id, "pending")
    assert (anew.id != asked.id, anew.digest != asked.digest) == (True, ended == "stale")
    two.approve(BEN, anew.id, anew.digest)
    assert job_tasks.manager_tick(two, two.acts)["executed"] == 1


def test_what_has_not_ended_or_is_another_act_is_not_asked_for_again(two: Node) -> None:
    """A pending request, an executed one, and one under another action's name are refused; nothing is filed."""
    asked = revocation(two)
    for action in (REVOKE, PROPOSE):
        with pytest.raises(Refused) as refused:
            two.request(ADA, action, {"again": asked.id})
        assert refused.value.code == "approval_not_ended"
    two.approve(BEN, asked.id, asked.digest)
    job_tasks.manager_tick(two, two.acts)
    with pytest.raises(Refused) as refused:
        two.request(ADA, REVOKE, {"again": asked.id})
    assert refused.value.code == "approval_not_ended"
    with two.read() as session:
        assert len(approvals.listing(session)) == 1


def test_a_secret_that_ended_with_its_request_has_to_be_given_again(make_node: MakeNode) -> None:
    """An invite that was taken back cannot be accepted by its digest."""
    inviting, node = make_node("beta"), make_node("alpha")
    peer_id = new_peer(inviting, url="https://alpha.example")
    token = inviting.request(ADA, "system.federation_peer_token", {"peer": peer_id})
    assert isinstance(token, Done)
    outcome = node.request(ADA, "system.federation_peer_accept", {"invite": token.result["invite"]})
    assert isinstance(outcome, Pending)
    node.decide(ADA, "withdraw", outcome.approval.id)
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.federation_peer_accept", {"again": outcome.approval.id})
    assert refused.value.code == "secret_gone"


def test_every_act_that_is_asked_for_with_a_secret_says_so(two: Node) -> None:
    """The table knows which acts seal something: exactly those that read a secret."""
    assert {name for name, act in two.acts.items() if act.secret} == {
        "system.federation_peer_accept",
        "system.federation_certificate_store",
    }
