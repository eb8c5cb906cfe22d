"""Operators' names: plain ASCII, compared without case, and no two that can be taken for each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedtui.core.administration import operators
from fedtui.core.administration.operators import Operator
from fedtui.core.bootstrap import open_node
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.node import Node
from fedtui.core.operations import operator_access
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.runtime.actor import Actor
from tests.conftest import ManualClock

ADA = Actor("operator", "ada")
KELVIN = "\u212aim"
"""KELVIN SIGN and `im`: drawn like `Kim`, and the same without case."""


def put_in(node: Node, name: str) -> None:
    """Add an operator as an earlier version allowed."""
    with node.unit(ADA) as unit:
        unit.session.add(
            Operator(name=name, permissions=list(operators.PERMISSIONS), added_at=unit.now, removed_at=None)
        )


@pytest.mark.parametrize("name", [KELVIN, "bjørn", "ﬁona", "а", "١", "ad a", "", "-x", "a" * 65])
def test_a_name_is_plain_ascii(node: Node, name: str) -> None:
    """Letters that are drawn like others, digits of other scripts and spaces are refused, with a name to choose."""
    with pytest.raises(WrongUsage) as refused:
        node.request(ADA, "system.operator_add", {"name": name})
    assert refused.value.code == "operator_name_invalid"
    assert "--operator NAME" in refused.value.fix


@pytest.mark.parametrize("name", ["Ada", "ADA", "ada"])
def test_case_makes_no_other_person(node: Node, name: str) -> None:
    """Beside ada there is no Ada."""
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.operator_add", {"name": name})
    assert refused.value.code == "operator_exists"


def test_one_who_was_removed_comes_back_under_the_same_name(node: Node) -> None:
    """A removed operator's name in another case is refused, naming the one to use; that one brings them back."""
    node.request(ADA, "system.operator_add", {"name": "ben"})
    with node.unit(ADA) as unit:
        operators.remove(unit, "ben")
    with pytest.raises(Refused) as refused:
        node.request(ADA, "system.operator_add", {"name": "Ben"})
    assert "fedtui operators add ben" in refused.value.fix
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Done)


def test_who_comes_in_in_another_case_is_the_operator_on_record(node: Node, clock: ManualClock) -> None:
    """`--operator ADA` is ada, also in the record; a name that two could mean is nobody's."""
    again = open_node(replace(node.settings, operator="ADA"), clock=clock)
    try:
        assert again.operator == "ada"
    finally:
        again.close()
    put_in(node, "Ada")
    again = open_node(replace(node.settings, operator="ADA"), clock=clock)
    try:
        assert again.operator == "ADA"
    finally:
        again.close()


@pytest.mark.parametrize(("name", "like"), [("Ada", "ada"), (KELVIN, "kim")])
def test_look_alikes_of_an_earlier_version_do_not_decide_for_each_other(node: Node, name: str, like: str) -> None:
    """Two rows that count as one name are no two pairs of eyes: neither decides what the other asked for."""
    for missing in {name, like} - {"ada"}:
        put_in(node, missing)
    put_in(node, "ben")
    asked = node.request(Actor("operator", name), "system.federation_peer_propose", {"url": "https://b.example"})
    assert isinstance(asked, Pending)
    with pytest.raises(Refused) as refused:
        node.approve(Actor("operator", like), asked.approval.id, asked.approval.digest)
    assert refused.value.code == "four_eyes"
    assert node.overview().waiting == (0 if like == "ada" else 1)
    node.approve(Actor("operator", "ben"), asked.approval.id, asked.approval.digest)


def test_names_that_can_be_taken_for_others_are_a_finding(node: Node) -> None:
    """Operators kept from an earlier version are named by governance, once each; plain ones are not."""
    for name in (KELVIN, "Root", "root", "ben"):
        put_in(node, name)
    node.scan_governance(ADA)
    findings = node.governance_report()["findings"]
    subjects = {finding["subject"] for finding in findings if finding["kind"] == "operator_name_ambiguous"}
    assert subjects == {KELVIN, "Root", "root"}


def test_the_last_approver_stays_however_the_name_is_spelled(node: Node) -> None:
    """`remove ADA` is refused as `remove ada` is."""
    with pytest.raises(Refused) as refused, node.unit(ADA) as unit:
        operators.remove(unit, "ADA")
    assert refused.value.code == "last_approver"


def test_recovery_makes_no_second_row_for_a_name(node: Node) -> None:
    """Whoever recovers under another spelling is the operator on record."""
    with node.unit(ADA) as unit:
        operators.require(unit.session, "ada").removed_at = unit.now
    assert operator_access.recover(node, ADA, "Ada", "everybody left")["operator"] == "ada"
    with node.read() as session:
        assert [row.name for row in operators.listing(session)] == ["ada"]


def test_keys_stand_under_the_name_on_record(node: Node, tmp_path: Path) -> None:
    """A key that was let in under one spelling is taken away under any other."""
    file = tmp_path / "authorized_keys"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP1xkSe3FuZZUbUiMWDyL+WwSlp5F2SOyo5RSyQZ+0Qb"
    assert operator_access.authorize(node, ADA, "Ada", key, file, lambda _name: ["fedtui"])["operator"] == "ada"
    assert operator_access.deauthorize(node, ADA, "ADA", file)["removed"] == 1
    assert file.read_bytes() == b""
