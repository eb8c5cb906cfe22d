"""What operators decided, and what waits within its time, is told as that; what failed or became stale is a cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.grants import chain
from fedtui.core.grants.callers import Caller
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.operations.approvals import TIMEOUT, Approval
from fedtui.core.runtime.actor import MANAGER
from tests.conftest import ManualClock
from tests.core.test_playbook import ADA, BEN, alive, found
from tests.core.world import World, make_world, pending

HEARTBEAT = "heartbeat"


def calls(world: World) -> str:
    """The peer goes on calling, a minute later; the refused call's id."""
    clock = world.node.clock
    assert isinstance(clock, ManualClock)
    clock.advance(seconds=60)
    return world.kept(chain.AccessRequest(HEARTBEAT, Caller(world.fingerprint, "10.1.2.3")))


@pytest.mark.parametrize(("act", "code"), [("suspend", "peer_not_reachable"), ("revoke", "cert_revoked")])
def test_a_peering_that_was_ended_on_purpose_raises_no_alarm(node: Node, act: str, code: str) -> None:
    """The calls that are refused for it are a note with who, when and why; nothing offers to undo it."""
    world = make_world(node)
    world.act(f"system.federation_peer_{act}", {"peer": world.peer_id, "reason": "they were sold"})
    call = calls(world)
    alive(node)
    plain = node.diagnose(DiagnosisTarget())
    shape = engine.shape(plain)
    assert (shape["ok"], shape["findings"], shape["failed_beside"]) == (True, [], [])
    [note] = shape["notes"]
    assert note["cause"] == code
    assert "ada" in note["said"]
    assert " at 2026-03-01 12:00:00 UTC: they were sold." in note["said"]
    for wanted in (DiagnosisTarget("unauthorized_with_grant"), DiagnosisTarget(decision=call)):
        [finding] = node.diagnose(wanted).findings
        assert finding.cause.code == code
        assert [fix.action for fix in finding.sense.fixes] == [""], "no fix undoes a decision"


def test_who_asked_for_what_the_manager_carried_out_is_named(node: Node) -> None:
    """A revocation by way of the approval queue is its requester's and its approver's, not the manager's."""
    world = make_world(node)
    outcome = pending(node.request(ADA, "system.federation_peer_revoke", {"peer": world.peer_id, "reason": "sold"}))
    node.approve(BEN, outcome.id, outcome.digest, reason="test")
    gate.execute(node, node.acts, outcome.id)
    calls(world)
    alive(node)
    [note] = node.diagnose(DiagnosisTarget()).notes
    assert "ada (approved by ben) revoked https://b.example at " in note.sense.because
    assert MANAGER.name not in note.sense.because


def test_a_grant_that_was_revoked_on_purpose_raises_no_alarm(node: Node) -> None:
    """Calls with it are refused as decided; asked about, the doctor says by whom, and issues no other."""
    world = make_world(node)
    alive(node)
    grant = world.grant()
    world.act("system.federation_grant_revoke", {"grant": grant, "reason": "over"})
    world.kept(world.asked(grant))
    assert found(node) == []
    [finding] = node.diagnose(DiagnosisTarget("grant_scope_mismatch")).findings
    assert (finding.cause.code, [fix.action for fix in finding.sense.fixes]) == ("grant_revoked", [""])
    assert ": over." in finding.sense.because


def requested(node: Node, url: str = "https://c.example") -> Approval:
    """A proposal that waits for ben."""
    request: Approval = pending(node.request(ADA, "system.federation_peer_propose", {"url": url}))
    return request


def changed(node: Node, request: Approval, **values: Any) -> None:
    with node.unit(ADA) as unit:
        unit.session.execute(update(Approval).where(Approval.id == request.id).values(**values))


@pytest.fixture
def two(node: Node) -> Node:
    """A node that is well, with a second operator."""
    alive(node)
    node.request(ADA, "system.operator_add", {"name": "ben"})
    return node


def test_a_request_within_its_time_is_no_cause(two: Node) -> None:
    """It is a note, exit 0, and no incident stays open for it; only pointed at it says who can decide."""
    request = requested(two)
    shape = engine.shape(two.diagnose(DiagnosisTarget()))
    assert (shape["ok"], [one["cause"] for one in shape["notes"]]) == (True, ["approval_pending"])
    assert "lower" not in shape["notes"][0]["said"]
    assert found(two, "approval_blocked") == []
    [finding] = two.diagnose(DiagnosisTarget(approval=request.id)).findings
    assert (finding.cause.code, "ben can decide it" in finding.sense.because) == ("approval_pending", True)
    incident = two.begin_incident(ADA, DiagnosisTarget())
    assert two.look(ADA, incident).well


def test_a_request_past_its_time_is_over_though_no_process_noticed(two: Node, clock: ManualClock) -> None:
    """With no daemon to end it, a request whose time is over is timed out, pending or approved."""
    request = requested(two)
    clock.advance(seconds=TIMEOUT.total_seconds() + 60)
    assert "approval_timed_out" in found(two)
    changed(two, request, status="approved", expires_at=clock.now() - timedelta(minutes=1))
    assert "approval_timed_out" in found(two)


@pytest.mark.parametrize(
    ("status", "code"), [("failed", "approval_failed"), ("stale", "approval_stale"), ("expired", "approval_timed_out")]
)
def test_what_did_not_happen_is_a_cause_until_the_same_was_asked_for_again(two: Node, status: str, code: str) -> None:
    """Failed, stale and timed out: named with what it failed of; another target's request settles nothing."""
    request = requested(two)
    error = {"code": "x", "problem": "The disk is full.", "cause": "It has no room.", "fix": "Make room."}
    changed(two, request, status=status, finished_at=two.clock.now(), error=error, expires_at=two.clock.now())
    assert found(two) == [code]
    requested(two, "https://d.example")
    assert found(two) == [code], "another peer's request is another matter"
    [finding] = two.diagnose(DiagnosisTarget()).findings
    assert status == "expired" or "room" in finding.sense.because
    requested(two)
    assert found(two) == []


def test_what_was_done_by_another_way_is_settled(node: Node) -> None:
    """A timed-out revoke of a peer that is revoked by now is over."""
    alive(node)
    world = make_world(node)
    timed_out = pending(node.request(ADA, "system.federation_peer_revoke", {"peer": world.peer_id, "reason": "a"}))
    changed(node, timed_out, status="expired", expires_at=node.clock.now() - timedelta(minutes=1))
    assert found(node) == ["approval_timed_out"]
    with node.unit(ADA) as unit:
        node.acts["system.federation_peer_revoke"].apply(unit, node, timed_out.params)  # type: ignore[misc]
    assert found(node) == []


def test_a_failed_request_is_old_news_after_a_day(two: Node, clock: ManualClock) -> None:
    """What failed the day before yesterday is found by whoever points at it alone."""
    request = requested(two)
    changed(two, request, status="failed", finished_at=two.clock.now(), error={"problem": "No."})
    clock.advance(days=2)
    assert "approval_failed" not in found(two)
    assert "approval_failed" in found(two, approval=request.id)


def test_another_client_that_is_let_in_mends_no_other(node: Node, clock: ManualClock) -> None:
    """Of two clients of one peer, the one with a malformed bearer stays broken while the other is allowed."""
    world = make_world(node)
    alive(node)
    grant = world.grant()
    world.kept(world.asked(grant, bearer="secret", source_ip="10.9.9.9"))
    assert found(node) == ["grant_token_malformed"]
    clock.advance(seconds=5)
    world.kept(world.asked(grant))
    world.grant()
    assert found(node) == ["grant_token_malformed"], "another address, so another client"
    world.kept(world.asked(grant, source_ip="10.9.9.9"))
    assert found(node) == []
