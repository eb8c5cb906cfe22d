"""The node at a glance: what it counts is what is there, and what does not run is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from fedtui.core.administration import manager_pause, operators
from fedtui.core.audit.events import emit
from fedtui.core.certificates import listing as certificate_listing
from fedtui.core.diagnosis import dashboard, triage
from fedtui.core.diagnosis.dashboard import BUCKETS, Late
from fedtui.core.grants import decisions
from fedtui.core.jobs import tasks as act_jobs
from fedtui.core.node import Node
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons, job_runs
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.types import new_id
from tests.conftest import ManualClock

HELD = Held("host:1:abcd", 1)


def add(node: Node, *ages: int) -> list[str]:
    """Active peers, last heard from so many seconds ago; their ids."""
    with node.unit(node.actor("test")) as unit:
        first = peers.add(unit, url="https://first.example")
        columns = {column.key: getattr(first, column.key) for column in Peer.__mapper__.column_attrs}
        rows = [
            columns
            | {
                "id": new_id(),
                "remote_instance_url": f"https://peer-{number:03d}.example",
                "status": "active",
                "last_heartbeat_at": unit.now - timedelta(seconds=age),
            }
            for number, age in enumerate(ages)
        ]
        unit.session.execute(insert(Peer), rows)
    return [str(row["id"]) for row in rows]


def ran(node: Node, job: str, ago: timedelta, outcome: str = "ok", **detail: object) -> None:
    """A run of a job that began so long ago."""
    with node.unit(node.actor("test")) as unit:
        run = job_runs.started(unit.session, job, HELD, unit.now - ago)
        unit.session.flush()
        job_runs.finished(unit.session, run, outcome, detail, unit.now - ago)


def test_the_heartbeat_job_keeps_how_many_were_heard(node: Node) -> None:
    """Only active peers heard from within one and a half intervals count; the job's result says so, and the
    glance puts it into the bucket of its minute."""
    add(node, 5, 60, 85, 120, 4000)
    with node.read() as session:
        assert heartbeats.heard(session, node.settings, node.clock.now()) == 3
    node.stopping.set()  # so that it sends nothing to names that do not exist
    assert act_jobs.federation_heartbeat(node)["heard"] == 3
    ran(node, heartbeats.JOB, timedelta(minutes=50), heard=1)
    ran(node, heartbeats.JOB, timedelta(minutes=1), heard=2)
    ran(node, heartbeats.JOB, timedelta(seconds=1), heard=3)
    ran(node, heartbeats.JOB, timedelta(hours=3), heard=9)
    found = node.home()
    assert found.heard == 3
    assert [value for value in found.heartbeats if value is not None] == [1, 2.5]
    assert len(found.heartbeats) == BUCKETS


def test_what_does_not_run_is_named(node: Node, clock: ManualClock) -> None:
    """Without a daemon nothing is late; with one, a job that did not come for three intervals is, and one whose
    last run failed says with what; one that began to serve just now is given its time."""
    assert node.home().late == ()
    with node.unit(node.actor("test")) as unit:
        daemons.register(unit.session, HELD.holder, url=node.url, operations_url=None, now=unit.now)
    assert node.home().late == ()
    ran(node, heartbeats.JOB, timedelta())
    clock.advance(minutes=5)
    with node.unit(node.actor("test")) as unit:
        daemons.seen(unit.session, HELD.holder, now=unit.now, ttl=timedelta(hours=1))
    ran(node, manager_pause.MANAGER_JOB, timedelta(), "failed", error="OSError: disk full")
    assert node.home().late == (
        Late(heartbeats.JOB, clock.now() - timedelta(minutes=5), None),
        Late(manager_pause.MANAGER_JOB, clock.now(), "OSError: disk full"),
    )


def test_refused_calls_of_the_last_hour_are_counted(node: Node) -> None:
    """Refusals are counted whatever they hold, the newest by code and id; with none there is none."""
    assert node.home().denials == dashboard.Denials()
    with node.unit(node.actor("test")) as unit:
        for code in ("cert_expired", "cert_expired", "cert_unknown"):
            last = decisions.store_handshake(unit, code=code, detail="so it is", source_ip="192.0.2.7")
    found = node.home().denials
    assert (found.count, sum(found.buckets), found.newest_code, found.newest) == (3, 3, "cert_unknown", last)


def test_requests_that_nobody_can_decide_are_counted(node: Node, clock: ManualClock) -> None:
    """One who asked cannot decide it; a second operator can, and whoever is alone by the node's setting; what is
    over waits for nobody."""
    ada = node.actor("test")
    node.request(ada, "system.operator_add", {"name": "ben", "permissions": ["system.federation_peers.manage"]})
    node.request(ada, "system.federation_peer_propose", {"url": "https://c.example"}, reason="test")
    assert node.home().undecidable == 1
    with node.unit(ada) as unit:
        operators.add(unit, "carol", [operators.CONTROL])
    assert node.home().undecidable == 0
    with node.unit(ada) as unit:
        operators.remove(unit, "carol")
    assert node.home().undecidable == 1
    clock.advance(hours=5)
    assert node.home().undecidable == 0


def test_peers_are_counted_and_the_troubled_named(node: Node) -> None:
    """Counts are by state; troubled are the degraded, the open and the unreached, worst first, cut and counted."""
    ids = add(node, *range(1, 21))
    with node.unit(node.actor("test")) as unit:
        for one in ids[:3]:
            peers.move(unit, one, "degraded")
        for one in ids[3:18]:
            peers.lock(unit, one).last_outbound_error = "remote_timeout: no answer"
        peers.add(unit, url="https://drill.example", drill_mode=True)
    found = node.home()
    assert found.peers == {"active": 17, "degraded": 3, "proposed": 2}
    assert (len(found.troubled), found.troubled_count) == (dashboard.MOST, 19)
    ranks = [peer_listing.urgency(line) for line in found.troubled]
    assert ranks == [0, 0, 0, 1, *[2] * (dashboard.MOST - 4)]


def test_certificates_near_their_end_are_counted_and_named(node: Node, clock: ManualClock) -> None:
    """Nothing is urgent at first; a month before its end the server's certificate is, and after it, it has expired."""
    assert node.home().urgent == certificate_listing.Urgent(0, 0, 0)
    clock.advance(days=70)
    assert node.home().urgent == certificate_listing.Urgent(0, 0, 1)
    clock.advance(days=30)
    found = node.home()
    assert found.urgent == certificate_listing.Urgent(0, 1, 0)
    assert [line.subject_kind for line in found.certificates] == ["server"]


def stage_clock(node: Node, peer: Peer) -> None:
    peer.status, peer.clock_skew_seconds = "accepted", 600.0
    peer.signed_at = node.clock.now()


def stage_refused(node: Node, peer: Peer) -> None:
    with node.unit(node.actor("test")) as unit:
        emit(unit, "federation.peer.accept_refused", source="test", peer_id=peer.id, cause="token_mismatch", times=1)


def stage_leaked(node: Node, peer: Peer) -> None:
    with node.unit(node.actor("test")) as unit:
        emit(
            unit,
            "federation.peer.accept_refused",
            source="test",
            severity="high",
            peer_id=peer.id,
            cause="token_already_used",
            times=1,
        )


def stage_waiting(node: Node, peer: Peer) -> None:
    peer.status, peer.signed_at = "accepted", node.clock.now() - timedelta(hours=1)


def stage_denied(node: Node, peer: Peer) -> None:
    with node.unit(node.actor("test")) as unit:
        unit.session.add(
            decisions.Decision(
                id=new_id(),
                at=unit.now,
                call="resources",
                allowed=False,
                code="source_ip_not_allowed",
                status=403,
                answered=None,
                peer_id=peer.id,
                grant_id=new_id(),
                context={},
                checks=[],
                times=1,
                last_at=unit.now,
            )
        )


STAGES = {
    "clock": stage_clock,
    "refused": stage_refused,
    "leaked": stage_leaked,
    "waiting": stage_waiting,
    "denied": stage_denied,
}


@pytest.mark.parametrize("sort", STAGES)
def test_home_names_what_the_doctor_would_examine(node: Node, sort: str) -> None:
    """A clock 600 s ahead, a refused newcomer, a leaked token, a peer that sends nothing, a denied call: each suspect
    of the doctor's survey is an alert of Home, and without it there is none."""
    with node.unit(node.actor("test")) as unit:
        peer = peers.add(unit, url="https://b.example")
    assert node.home().alerts == ()
    with node.unit(node.actor("test")) as unit:
        row = unit.session.get_one(Peer, peer.id)
        if sort in ("clock", "waiting"):
            STAGES[sort](node, row)
    if sort not in ("clock", "waiting"):
        STAGES[sort](node, peer)
    with node.read() as session:
        subjects = triage.survey(session, node, node.clock.now(), triage.DiagnosisTarget()).subjects
    suspects = {one.key for one in subjects if one.scope != "node"}
    found = node.home()
    assert [one.sort for one in found.alerts] == [sort]
    assert {(scope, id) for one in found.alerts for scope, id, _, _ in one.first} == suspects != set()


def test_the_requests_for_the_operator_are_counted_beyond_the_list(node: Node) -> None:
    """With more requests than a list of Home has lines, the count is of all of them."""
    with node.unit(node.actor("test")) as unit:
        operators.add(unit, "ben", [operators.CONTROL, "system.federation_peers.manage"])
    ben = replace(node.actor("test"), name="ben")
    for number in range(dashboard.MOST + 2):
        url = f"https://p{number:02d}.example"
        node.request(ben, "system.federation_peer_propose", {"url": url}, reason="test")
    found = node.home()
    assert (len(found.approvals), found.approvals_for_me) == (dashboard.MOST, dashboard.MOST + 2)


def test_calls_of_a_peer_that_was_ended_by_decision_raise_no_alert(node: Node) -> None:
    """A suspended peer that calls on is refused as decided: Home counts the call, and has no alert for it."""
    with node.unit(node.actor("test")) as unit:
        peer = peers.add(unit, url="https://b.example")
    stage_denied(node, peer)
    assert [one.sort for one in node.home().alerts] == ["denied"]
    with node.unit(node.actor("test")) as unit:
        unit.session.get_one(Peer, peer.id).status = "suspended"
    found = node.home()
    assert (found.alerts, found.denials.count) == ((), 1)


def test_requests_that_were_not_carried_out_are_counted(node: Node, clock: ManualClock) -> None:
    """A request that timed out is on Home for a day, as the doctor examines it for a day."""
    node.request(Actor("operator", "ada", origin="cli"), "system.federation_peer_propose", {"url": "https://b.example"})
    assert node.home().not_done == 0
    with node.unit(node.actor("test")) as unit:
        unit.session.execute(update(Approval).values(status="expired", expires_at=unit.now))
    clock.advance(hours=23)
    assert node.home().not_done == 1
    clock.advance(hours=2)
    assert node.home().not_done == 0
