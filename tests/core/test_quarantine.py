"""Restoring: an older state is put back whole, and takes no part until somebody says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from fedtui.core.audit.events import Event
from fedtui.core.bootstrap import open_node, restore_node
from fedtui.core.errors import Refused, Unusable, WrongUsage
from fedtui.core.jobs import restore
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import approvals, quarantine
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import tokens
from fedtui.core.protocol import manual_heartbeat
from fedtui.core.runtime import backup as upkeep
from fedtui.core.runtime import daemons
from tests.conftest import ManualClock
from tests.core.world import ADA, BEN, World, make_world

WHY = "the disk died"


def put_back(node: Node, file: Path) -> Node:
    """Back up, close, restore, open again."""
    upkeep.backup(node.database, file)
    node.close()
    restore_node(node.settings, file, reason=WHY, clock=node.clock)
    return open_node(node.settings, clock=node.clock)


def refused(node: Node, action: str, params: dict[str, object]) -> str:
    with pytest.raises(Refused) as caught:
        node.request(ADA, action, params, reason=WHY)
    return caught.value.code


@pytest.mark.sqlite
def test_a_restored_node_stands_in_quarantine(node: Node, tmp_path: Path) -> None:
    """It has what the backup had; what came after is beside it; it says since when and what to go through; a second
    restore on top changes nothing of that."""
    world = make_world(node)
    upkeep.backup(node.database, tmp_path / "one.db")
    world.grant()
    with node.read() as session:
        events = session.scalar(select(func.count()).select_from(Event))
    node.close()
    told = restore_node(node.settings, tmp_path / "one.db", reason=WHY, clock=node.clock)
    assert (told["quarantine"], told["reason"]) == (True, WHY)
    assert told["to_go_through"]["peers"] == 1
    again = open_node(node.settings, clock=node.clock)
    with again.read() as session:
        assert restore.shape(session)["quarantine"] is True
        assert session.scalar(select(func.count()).select_from(Event)) < (events or 0)
    again.close()
    aside = Path(str(told["put_aside"]))
    assert sorted(one.name for one in node.settings.home.glob("*restoring*")) == []
    restore_node(node.settings, aside, reason="it was the right one", clock=node.clock)
    newest = open_node(node.settings, clock=node.clock)
    with newest.read() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == (events or 0) + 1
    newest.close()


@pytest.fixture
def quarantined(node: Node) -> World:
    """A node with an active peer, an open token and an open request, put into quarantine."""
    world = make_world(node)
    node.request(ADA, "system.federation_peer_propose", {"url": "https://c.example"})
    with node.unit(ADA) as unit:
        tokens.issue(unit, world.peer_id)
    restore.begin(node, ADA, WHY)
    return world


def test_what_could_be_used_twice_is_ended(quarantined: World) -> None:
    """Open tokens are cancelled and open requests withdrawn, and it says how many; begun again, nothing more is."""
    node = quarantined.node
    for _ in range(2):
        told = restore.begin(node, ADA, WHY)
        assert (told["tokens_cancelled"], told["requests_ended"]) == (1, 1)
    with node.read() as session:
        newest = tokens.newest(session, quarantined.peer_id)
        assert newest is not None
        assert newest.state == "cancelled"
        assert {row.status for row in approvals.listing(session) if "propose" in row.action} == {"withdrawn"}


def test_it_calls_nobody_and_sweeps_nothing(quarantined: World) -> None:
    """The heartbeat job degrades nobody and sends nothing, the manager reconciles nothing, by hand neither goes."""
    node = quarantined.node
    with node.unit(ADA) as unit:
        daemons.register(unit.session, node.holder, url="https://a", operations_url=None, now=unit.now)
    assert isinstance(node.clock, ManualClock)
    for _ in range(60):
        node.clock.advance(seconds=10)
        with node.unit(ADA) as unit:
            daemons.seen(unit.session, node.holder, now=unit.now, ttl=node.settings.lease_ttl)
    assert job_tasks.federation_heartbeat(node) == {"swept": 0, "held_back": True, "quarantine": True}
    ticked = job_tasks.manager_tick(node, node.acts)
    assert ticked["status"] == "quarantine"
    assert "probed" not in ticked
    with pytest.raises(Refused) as caught:
        manual_heartbeat.send(node, ADA, quarantined.peer_id)
    assert caught.value.code == "node_quarantined"


def test_only_what_takes_away_can_be_done(quarantined: World) -> None:
    """Proposing and issuing are refused with the way out; suspending is not, and revoking goes through approval and
    the manager, as ever."""
    node = quarantined.node
    assert refused(node, "system.federation_peer_propose", {"url": "https://d.example"}) == "node_quarantined"
    issue = {"peer": quarantined.peer_id, "subject": "x@b", "kind": "doc", "scopes": ["read"]}
    assert refused(node, "system.federation_grant_issue", issue) == "node_quarantined"
    done = node.request(ADA, "system.federation_peer_suspend", {"peer": quarantined.peer_id, "reason": WHY})
    assert isinstance(done, Done)
    asked = node.request(ADA, "system.federation_peer_revoke", {"peer": quarantined.peer_id, "reason": WHY})
    assert isinstance(asked, Pending)
    node.approve(BEN, asked.approval.id, asked.approval.digest, reason=WHY)
    assert job_tasks.manager_tick(node, node.acts)["executed"] == 1


def test_it_ends_when_another_says_so(quarantined: World) -> None:
    """Ending it needs a second operator where there is one; then everything goes again, and it cannot end twice."""
    node = quarantined.node
    asked = node.request(ADA, quarantine.END, {}, reason=WHY)
    assert isinstance(asked, Pending)
    node.approve(BEN, asked.approval.id, asked.approval.digest, reason=WHY)
    job_tasks.manager_tick(node, node.acts)
    with node.read() as session:
        assert quarantine.current(session) is None
    node.request(ADA, "system.federation_peer_propose", {"url": "https://d.example"})
    assert refused(node, quarantine.END, {}) == "not_quarantined"


@pytest.mark.sqlite
def test_what_cannot_be_restored_changes_nothing(node: Node, tmp_path: Path) -> None:
    """No file, rubbish, another node's backup, an operator whom it does not know, a daemon that runs: each is refused
    with its reason, and the node is as it was."""
    good, rubbish = tmp_path / "good.db", tmp_path / "rubbish.db"
    upkeep.backup(node.database, good)
    rubbish.write_bytes(b"rubbish" * 1000)
    with node.unit(ADA) as unit:
        daemons.register(unit.session, node.holder, url="https://a", operations_url=None, now=unit.now)
    with pytest.raises(Refused) as running:
        restore_node(node.settings, good, reason=WHY, clock=node.clock)
    assert running.value.code == "daemon_running"
    with node.unit(ADA) as unit:
        daemons.forget(unit.session, node.holder)
    for file in (tmp_path / "none.db", rubbish):
        with pytest.raises((WrongUsage, Unusable)) as bad:
            restore_node(node.settings, file, reason=WHY, clock=node.clock)
        assert bad.value.fix
    (node.settings.home / "vault.key").write_bytes(b"k" * 32)
    with pytest.raises(Unusable):
        restore_node(node.settings, good, reason=WHY, clock=node.clock)
    assert list(node.settings.home.glob("*restoring*")) + list(node.settings.home.glob("*before*")) == []
    with node.read() as session:
        assert quarantine.current(session) is None
