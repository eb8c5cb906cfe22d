"""Killed at every step: an approved act happens once, whatever moment its process dies at."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from fedtui.core.audit.events import Event
from fedtui.core.bootstrap import open_node
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approvals, gate
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers
from fedtui.core.runtime.actor import Actor
from tests import forks
from tests.api.conftest import Serve
from tests.conftest import MakeNode, ManualClock

ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
MOST_STEPS = 400


def executed_until(node: Node, approval_id: str, statement: int) -> bool:
    """Carry a request out in a process that is killed before its nth statement; whether it got to the end."""
    done = forks.run(
        [approval_id, str(statement)],
        env={**os.environ, "FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": "ada"},
        module="tests.api.executor",
        timeout=60,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    assert done.returncode or done.stdout.strip() == "executed", done.stdout
    return done.returncode == 0


def approved(node: Node, action: str, params: dict[str, object]) -> str:
    outcome = node.request(ADA, action, params, reason="test")
    assert isinstance(outcome, Pending)
    node.approve(BEN, outcome.approval.id, outcome.approval.digest, reason="test")
    return outcome.approval.id


def later(node: Node, *, by: timedelta = gate.ABANDONED_AFTER + timedelta(seconds=1)) -> Node:
    """The node in another process, when what was left behind counts as such."""
    return open_node(node.settings, clock=ManualClock(at=datetime.now(UTC) + by))


@pytest.mark.timeout(300)
def test_an_act_of_one_unit_happens_once(make_node: MakeNode, clock: ManualClock) -> None:
    """Killed before any of its statements, the act is carried out by the next tick, once, and recorded once."""
    node = make_node()
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Done)
    for statement in range(1, MOST_STEPS):
        url = f"https://b{statement}.example"
        approval_id = approved(node, "system.federation_peer_propose", {"url": url})
        whole = executed_until(node, approval_id, statement)
        successor = later(node)
        try:
            job_tasks.manager_tick(successor, successor.acts)
            with successor.read() as session:
                assert approvals.find(session, approval_id).status == "executed"
                peer = peers.by_url(session, url)
                assert peer is not None
                for kind in ("federation.peer.proposed", "system.approval.executed"):
                    emitted = [
                        event
                        for event in session.query(Event).filter_by(kind=kind)
                        if url in str(event.payload) or event.payload.get("approval_id") == approval_id
                    ]
                    assert len(emitted) == 1, (statement, kind)
        finally:
            successor.close()
        if whole:
            assert statement > 5, "the act has more statements than that"
            return
    pytest.fail("the act did not come to its end")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", range(3))
def test_an_act_that_calls_a_remote_happens_once(
    serve: Serve, make_node: MakeNode, part: int, clock: ManualClock
) -> None:
    """Accepting, killed between any of its calls and records: one peering, accepted on both sides, no leftover."""
    remote = serve("remote").node
    for statement in range(2 + part * 7, MOST_STEPS, 21):
        local = make_node(f"local{statement}", url=f"https://127.0.0.1:{20000 + statement}")
        assert isinstance(local.request(ADA, "system.operator_add", {"name": "ben"}), Done)
        with remote.unit(ADA) as unit:
            peer_id = peers.add(unit, url=local.url).id
        outcome = remote.request(ADA, "system.federation_peer_token", {"peer": peer_id})
        assert isinstance(outcome, Done)
        approval_id = approved(local, "system.federation_peer_accept", {"invite": outcome.result["invite"]})
        whole = executed_until(local, approval_id, statement)
        successor = later(local)
        try:
            for _ in range(2):
                job_tasks.manager_tick(successor, successor.acts)
            with successor.read() as session:
                assert approvals.find(session, approval_id).status == "executed", statement
                known = peers.by_url(session, remote.url)
                assert known is not None
                assert (known.status in peers.MAY_HEARTBEAT, known.enroll_owed) == (True, False), statement
                accepted = session.query(Event).filter_by(kind="federation.peer.accepted").count()
                assert accepted == 1, statement
        finally:
            successor.close()
        with remote.read() as session:
            assert peers.get(session, peer_id).status in peers.MAY_HEARTBEAT
        if whole:
            return
    pytest.fail("the act did not come to its end")
