"""Measures: how many, how old and how late, as the record has it at one moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from fedtui.core.audit.events import emit
from fedtui.core.governance import metrics as governance
from fedtui.core.node import Node
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import daemons, job_runs, lease
from fedtui.core.runtime.lease import Held
from fedtui.core.views.metrics import AGES, QUESTIONS, Look, Samples
from tests.conftest import ManualClock
from tests.core.test_peers import new_peer, put_in
from tests.core.world import ADA, World, make_world


@pytest.fixture
def world(node: Node) -> World:
    """A node with an active peer; ben can approve."""
    return make_world(node)


def measured(node: Node) -> dict[str, Samples]:
    return {one.name: one.samples for one in node.measures()}


def test_peers_are_counted_by_state_and_by_how_long_they_were_silent(node: Node, clock: ManualClock) -> None:
    """States and kinds; ages cumulative, of platforms that should be heard of; the oldest of them."""
    for place, (status, age) in enumerate([("active", 30), ("active", 90), ("degraded", 7000), ("suspended", 9999)]):
        peer_id = new_peer(node, f"https://p{place}.example")
        put_in(node, peer_id, status)
        with node.unit(ADA) as unit:
            heard = clock.now() - timedelta(seconds=age)
            unit.session.execute(update(Peer).where(Peer.id == peer_id).values(last_heartbeat_at=heard))
    new_peer(node, "https://new.example")
    found = measured(node)
    assert found["fedtui_peers"] == {
        ("active",): 2,
        ("degraded",): 1,
        ("suspended",): 1,
        ("proposed",): 1,
    }
    ages = found["fedtui_peers_by_heartbeat_age"]
    assert [ages[le,] for le in ("60", "120", "3600", "21600", "+Inf")] == [1, 2, 2, 3, 3]
    assert found["fedtui_oldest_heartbeat_age_seconds"] == {(): 7000}


@pytest.mark.sqlite
def test_ages_of_active_peers_are_read_from_the_sweeps_index(node: Node) -> None:
    """Every count of them, and the oldest, by a range of it and not by a walk over the peers."""
    seen: list[str] = []
    with node.read() as session:
        connection = session.connection()

        def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
            plan = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            if "status = 'active'" in statement:
                seen.append(" ".join(row[3] for row in plan))

        event.listen(connection, "before_cursor_execute", note)
        look = Look(session, node, node.clock.now(), node.jobs())
        for question in QUESTIONS:
            if question.name in ("fedtui_peers_by_heartbeat_age", "fedtui_oldest_heartbeat_age_seconds"):
                question.ask(look)
    assert len(seen) == len(AGES) + 2
    assert all("INDEX ix_peers_active_heartbeat (status=?" in plan for plan in seen), seen


def test_an_empty_node_answers_every_question(node: Node) -> None:
    """No peer, no job, no request: zeros or nothing, and the node's own certificates."""
    found = measured(node)
    assert set(found) == {question.name for question in (*QUESTIONS, *governance.QUESTIONS)}
    assert found["fedtui_peers"] == {}
    assert found["fedtui_oldest_heartbeat_age_seconds"] == {}
    assert set(found["fedtui_peers_by_heartbeat_age"].values()) == {0}
    assert found["fedtui_approvals"] == {(status,): 0 for status in ("pending", "approved", "executing", "failed")}
    assert found["fedtui_certificates_by_days_left"]["+Inf",] == 2
    assert found["fedtui_own_certificate_days_left"]["server",] == pytest.approx(90, abs=1)
    assert found["fedtui_own_certificate_days_left"]["ca",] > 3600


def test_certificates_are_counted_by_the_days_they_have_left(node: Node, clock: ManualClock) -> None:
    """Cumulative; what was revoked or replaced is out of it."""
    world = make_world(node)
    ours = 2  # the CA and the server certificate, which by then has ended

    def left(le: str) -> float:
        return measured(node)["fedtui_certificates_by_days_left"][le,]

    assert (left("60"), left("+Inf")) == (0, ours + 1)
    clock.advance(days=794)
    assert (left("0"), left("1"), left("7"), left("30")) == (1, 1, 2, 2)
    clock.advance(days=7)
    assert left("0") == 2
    world.act("system.federation_certificate_revoke", {"serial": world.serial, "reason": "test"})
    assert (left("0"), left("+Inf")) == (1, ours)


def test_the_queue_has_an_age(world: World, clock: ManualClock) -> None:
    """Pending requests, and since when the oldest waits."""
    node = world.node
    node.request(ADA, "system.federation_peer_propose", {"url": "https://n.example"})
    clock.advance(minutes=5)
    node.request(ADA, "system.federation_peer_propose", {"url": "https://m.example"})
    found = measured(node)
    assert found["fedtui_approvals"]["pending",] == 2
    assert found["fedtui_oldest_pending_approval_seconds"] == {(): 300}


def test_jobs_have_a_duration_a_lag_and_outcomes(node: Node, clock: ManualClock) -> None:
    """The sweep's own time, each run's, what failed in the last hour, and what is overdue."""
    held = Held(node.holder, 1)

    def ran(job: str, outcome: str, seconds: float, **detail: object) -> None:
        with node.database.writing() as session:
            run = job_runs.started(session, job, held, clock.now())
            session.flush()
            clock.advance(seconds=seconds)
            job_runs.finished(session, run, outcome, detail, clock.now())

    ran("maintenance", "failed", 1)
    clock.advance(hours=2)
    ran("sdwan_manager", "failed", 1)
    clock.advance(seconds=59)
    ran("sdwan_manager", "ok", 2)
    ran("federation_heartbeat", "ok", 4, sweep_seconds=0.25)
    clock.advance(seconds=66)
    found = measured(node)
    assert found["fedtui_sweep_duration_seconds"] == {(): 0.25}
    assert found["fedtui_job_duration_seconds"]["sdwan_manager",] == 2
    assert found["fedtui_job_lag_seconds"]["federation_heartbeat",] == 10
    assert found["fedtui_job_lag_seconds"]["maintenance",] > 3600
    assert found["fedtui_job_runs_last_hour"] == {
        ("sdwan_manager", "failed"): 1,
        ("sdwan_manager", "ok"): 1,
        ("federation_heartbeat", "ok"): 1,
    }


def test_one_process_holds_the_lease(node: Node, clock: ManualClock) -> None:
    """1 where this process holds it, 0 once it let go and once another has it; the epoch and the daemons either way."""
    ttl = node.settings.lease_ttl
    with node.database.writing() as session:
        lease.take(session, node.holder, now=clock.now(), ttl=ttl)
        daemons.register(session, node.holder, url=node.url, operations_url=None, now=clock.now())
    found = measured(node)
    assert (found["fedtui_lease_held"][()], found["fedtui_daemons"][()]) == (1, 1)
    clock.advance(seconds=60)
    with node.database.writing() as session:
        lease.release(session, node.holder, now=clock.now())
    assert measured(node)["fedtui_lease_held"][()] == 0
    with node.database.writing() as session:
        lease.take(session, "another", now=clock.now(), ttl=ttl)
    later = measured(node)
    assert (later["fedtui_lease_held"][()], later["fedtui_daemons"][()]) == (0, 0)
    assert later["fedtui_lease_epoch"][()] == found["fedtui_lease_epoch"][()] + 1


def test_events_of_the_last_hour_are_counted_by_severity(node: Node) -> None:
    """Ids tell their time, so the count is bounded; every severity has its line."""
    before = measured(node)["fedtui_events_last_hour"]
    with node.unit(ADA) as unit:
        emit(unit, "federation.peer.heartbeat_stale", source="test")
        emit(unit, "federation.peer.heartbeat_stale", source="test", severity="critical")
    after = measured(node)["fedtui_events_last_hour"]
    assert set(after) == {("low",), ("medium",), ("high",), ("critical",)}
    assert {key: after[key] - before[key] for key in after} == {
        ("low",): 0,
        ("medium",): 1,
        ("high",): 0,
        ("critical",): 1,
    }


def test_emergencies_show(world: World) -> None:
    """A lowered policy and a paused manager are measures, too."""
    world.act(
        "system.policy_lower",
        {
            "policy_action": "system.federation_peer_propose",
            "policy": "notify_and_proceed",
            "span": "30m",
            "reason": "test",
        },
    )
    world.act("system.manager_pause", {})
    found = measured(world.node)
    assert (found["fedtui_policies_lowered"], found["fedtui_manager_paused"]) == ({(): 1}, {(): 1})


def test_findings_are_counted_by_severity(world: World, clock: ManualClock) -> None:
    """Nothing before the first scan but zeros; then what is open, and how old the scan is."""
    before = measured(world.node)
    assert set(before["fedtui_governance_findings"].values()) == {0}
    assert before["fedtui_governance_scan_age_seconds"] == {}
    world.grant(scopes=["admin"])
    world.node.scan_governance(ADA)
    clock.advance(minutes=3)
    after = measured(world.node)
    assert after["fedtui_governance_findings"]["medium",] >= 1
    assert after["fedtui_governance_scan_age_seconds"] == {(): 180}
