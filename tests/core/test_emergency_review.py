"""What one person did alone under a lowered policy: confirmed by another, undone, or kept in sight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.operators import Operator
from fedtui.core.audit.events import emit, recent
from fedtui.core.errors import Refused
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import overrides, policies
from fedtui.core.operations.gate import Done
from fedtui.core.operations.policies import NOTIFY, RULES, PolicyOverride
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit
from tests.conftest import ManualClock

ADA, BEN, CLEO = Actor("operator", "ada"), Actor("operator", "ben"), Actor("operator", "cleo")
PROPOSE = "system.federation_peer_propose"
GUARDS = (
    "system.policy_set",
    "system.policy_lower",
    "system.settings_change",
    "system.operator_add",
    "system.operator_remove",
)


@pytest.fixture
def two(node: Node) -> Node:
    """A node with a second operator, ben."""
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Done)
    return node


def lower(node: Node, action: str = PROPOSE) -> str:
    """Lower a policy as ada; the lowering's id."""
    given = {"policy_action": action, "policy": NOTIFY, "span": "30m", "reason": "fire"}
    done = node.request(ADA, "system.policy_lower", given, reason="fire")
    assert isinstance(done, Done)
    return str(done.result["id"])


def as_an_earlier_version_did(node: Node, action: str, change: Callable[[Unit], object], span: timedelta) -> str:
    """Lower a guarding policy and act under it at once, as was allowed once; the lowering's id."""
    with node.unit(ADA) as unit:
        row = PolicyOverride(
            id=new_id(),
            action=action,
            policy=NOTIFY,
            before=policies.ASK,
            reason="fire",
            lowered_by="ada",
            lowered_at=unit.now,
            until=unit.now + span,
            restored_at=None,
            restored_by=None,
            acts=None,
            confirmed_at=None,
            confirmed_by=None,
        )
        unit.session.add(row)
        unit.session.flush()
        change(unit)
        emit(unit, "system.act", source="gate", action=action, policy=NOTIFY, params={}, reason="fire")
        return str(row.id)


def confirm(node: Node, actor: Actor, lowering_id: str) -> Mapping[str, Any]:
    done = node.request(actor, "system.policy_confirm", {"lowering": lowering_id})
    assert isinstance(done, Done)
    return done.result


def findings(node: Node) -> set[str]:
    node.scan_governance(BEN)
    return {finding["kind"] for finding in node.governance_report()["findings"]}


def set_policy(unit: Unit) -> None:
    action = "system.federation_peer_revoke"
    unit.session.merge(policies.Policy(action=action, policy=NOTIFY, set_at=unit.now, set_by="ada"))
    emit(unit, "system.policy.changed", source="control", action=action, before=policies.ASK, after=NOTIFY)


CHANGES: Mapping[str, tuple[str, Callable[[Unit], object], Callable[[Node], bool]]] = {
    "a setting": (
        "system.settings_change",
        lambda unit: node_settings.put(unit, "single_operator", "on"),
        lambda node: _read(node, lambda session: node_settings.is_on(session, "single_operator")),
    ),
    "a policy": (
        "system.policy_set",
        set_policy,
        lambda node: _read(node, lambda s: policies.at_rest(s, "system.federation_peer_revoke") == NOTIFY),
    ),
    "an operator added": (
        "system.operator_add",
        lambda unit: operators.add(unit, "mallory", operators.PERMISSIONS),
        lambda node: _read(node, lambda s: "mallory" in operators.approvers(s)),
    ),
    "an operator removed": (
        "system.operator_remove",
        lambda unit: operators.remove(unit, "ben"),
        lambda node: _read(node, lambda s: "ben" not in operators.approvers(s)),
    ),
}
"""By what was changed: the action, how it was changed under it, and whether the change stands."""


def _read(node: Node, look: Callable[[Any], bool]) -> bool:
    with node.read() as session:
        return look(session)


@pytest.mark.parametrize("action", GUARDS)
def test_what_guards_four_eyes_is_never_lowered(two: Node, action: str) -> None:
    """No policy on policies, settings or operators can be lowered, by anybody, and nothing changes."""
    with pytest.raises(Refused) as refused:
        lower(two, action)
    assert refused.value.code == "policy_never_lowered"
    assert tuple(name for name in RULES if name in GUARDS) == policies.NEVER_LOWERED
    assert _read(two, lambda session: overrides.history(session) == [])


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_alone_is_undone_at_the_end(two: Node, what: str) -> None:
    """Policies, settings and operators changed under a lowering of an earlier version are as before at its end."""
    action, change, stands = CHANGES[what]
    as_an_earlier_version_did(two, action, change, timedelta(hours=1))
    assert stands(two)
    assert job_tasks.manager_tick(two, two.acts)["policies_restored"] == [action]
    assert not stands(two)
    with two.read() as session:
        [undone] = recent(session, kind="system.policy.changes_undone")
        [row] = overrides.history(session)
    assert undone.severity == "high"
    assert len(undone.payload["undone"]) == 1
    assert row.acts == 1


def test_an_operator_with_an_older_kind_of_name_is_brought_back(two: Node) -> None:
    """One whose name is not plain ASCII, as an earlier version took it, comes back, and the lowering ends."""
    with two.unit(ADA) as unit:
        unit.session.add(
            Operator(name="bjørn", permissions=sorted(operators.PERMISSIONS), added_at=unit.now, removed_at=None)
        )
    as_an_earlier_version_did(
        two, "system.operator_remove", lambda unit: operators.remove(unit, "bjørn"), timedelta(hours=1)
    )
    assert job_tasks.manager_tick(two, two.acts)["policies_restored"] == ["system.operator_remove"]
    assert _read(two, lambda session: "bjørn" in operators.approvers(session))


@pytest.mark.parametrize("what", [what for what in CHANGES if what != "an operator removed"])
def test_what_another_operator_has_confirmed_stays(two: Node, what: str) -> None:
    """Confirmed by somebody who had no part in it, a change outlives the lowering."""
    action, change, stands = CHANGES[what]
    confirm(two, BEN, as_an_earlier_version_did(two, action, change, timedelta(hours=1)))
    job_tasks.manager_tick(two, two.acts)
    assert stands(two)


def test_what_was_changed_again_since_is_left_alone(two: Node) -> None:
    """A setting that was set back properly meanwhile is not touched."""
    action, change, _ = CHANGES["a setting"]
    as_an_earlier_version_did(two, action, change, timedelta(hours=1))
    with two.unit(BEN) as unit:
        node_settings.put(unit, "single_operator", "off")
    job_tasks.manager_tick(two, two.acts)
    with two.read() as session:
        assert not recent(session, kind="system.policy.changes_undone")


def test_nobody_confirms_their_own(two: Node) -> None:
    """Whoever lowered a policy or acted under it cannot confirm it, as long as another operator could."""
    lowering_id = lower(two)
    two.request(BEN, PROPOSE, {"url": "https://b.example"})
    for actor in (ADA, BEN):
        two_could = actor is ADA
        if two_could:
            with two.unit(ADA) as unit:
                operators.add(unit, "cleo", operators.PERMISSIONS)
        with pytest.raises(Refused) as refused:
            confirm(two, actor, lowering_id)
        assert refused.value.code == "four_eyes"
        assert "cleo" in refused.value.fix
    assert confirm(two, CLEO, lowering_id)["confirmed_by"] == "cleo"
    with pytest.raises(Refused) as refused:
        confirm(two, CLEO, lowering_id)
    assert refused.value.code == "lowering_confirmed"


def test_who_is_alone_confirms_alone(node: Node) -> None:
    """With no other operator who could approve, one's own acts under a lowering can be confirmed."""
    lowering_id = lower(node)
    node.request(ADA, PROPOSE, {"url": "https://b.example"})
    assert confirm(node, ADA, lowering_id)["confirmed_by"] == "ada"


def test_what_stays_is_a_finding_until_another_has_seen_it(two: Node, clock: ManualClock) -> None:
    """A peer proposed under a lowering stays, and is a high finding until another operator confirms it."""
    lowering_id = lower(two)
    two.request(ADA, PROPOSE, {"url": "https://b.example"})
    clock.advance(minutes=31)
    job_tasks.manager_tick(two, two.acts)
    assert "emergency_unconfirmed" in findings(two)
    confirm(two, BEN, lowering_id)
    assert "emergency_unconfirmed" not in findings(two)


def test_nobody_stands_by_what_came_after_the_confirmation(two: Node, clock: ManualClock) -> None:
    """Confirmed while it is in force, a lowering that goes on to be used is for review again, until that is seen."""
    lowering_id = lower(two)
    two.request(ADA, PROPOSE, {"url": "https://b.example"})
    confirm(two, BEN, lowering_id)
    clock.advance(minutes=5)
    two.request(ADA, PROPOSE, {"url": "https://c.example"})
    clock.advance(minutes=31)
    job_tasks.manager_tick(two, two.acts)
    assert "emergency_unconfirmed" in findings(two)
    confirm(two, BEN, lowering_id)
    assert "emergency_unconfirmed" not in findings(two)


def test_what_ran_before_the_upgrade_is_for_review_too(two: Node) -> None:
    """A lowering that an earlier version ended is counted at the next tick, and is a finding like any."""
    action, change, _ = CHANGES["a setting"]
    lowering_id = as_an_earlier_version_did(two, action, change, timedelta(hours=1))
    with two.unit(BEN) as unit:
        row = unit.session.get_one(PolicyOverride, lowering_id)
        row.restored_at, row.restored_by = unit.now, "ada"
    assert "emergency_unconfirmed" not in findings(two)
    job_tasks.manager_tick(two, two.acts)
    assert "emergency_unconfirmed" in findings(two)


def test_a_single_operator_among_several_is_a_finding(two: Node) -> None:
    """The setting that lets people decide their own requests is a high finding where others could decide them."""
    assert "single_operator_among_several" not in findings(two)
    with two.unit(BEN) as unit:
        node_settings.put(unit, "single_operator", "on")
    assert "single_operator_among_several" in findings(two)
    with two.unit(BEN) as unit:
        operators.remove(unit, "ada")
    assert "single_operator_among_several" not in findings(two)
