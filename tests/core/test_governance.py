"""Governance: what each rule finds, that nothing flaps, and where every finding leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
import pytest
import typer
from sqlalchemy import select, update

from fedtui.app import Console
from fedtui.cli.program import app
from fedtui.core.access.grants import Grant
from fedtui.core.control import lowering, policies
from fedtui.core.governance import listing, scanning
from fedtui.core.governance.findings import OPEN
from fedtui.core.governance.listing import FindingLine
from fedtui.core.governance.rules import BY_KIND, RULES
from fedtui.core.node import Node
from fedtui.core.peering import peers
from fedtui.core.peering.peers import Peer
from fedtui.core.playbook.causes import BY_SYMPTOM
from fedtui.core.record.events import Event
from fedtui.core.runtime import daemons
from fedtui.core.runtime.actor import Actor
from fedtui.core.trust import signing
from fedtui.core.trust.certificates import Certificate
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in

ADA = Actor("operator", "ada", origin="test")
JOB = Actor("job", "test", origin="test")
DECLARED = {"platform_version": "2.1.0", "data_residency": "EU", "operator_contact": "ops@b.example"}


def found(node: Node, *states: str, kind: str | None = None, peer_id: str | None = None) -> list[FindingLine]:
    """Findings on record, open ones unless told otherwise."""
    with node.read() as session:
        return listing.rows(session, now=node.clock.now(), states=states or (OPEN,), kind=kind, peer_id=peer_id)


def kinds(node: Node) -> set[str]:
    """Scan, and what is open then."""
    scanning.scan(node)
    return {line.kind for line in found(node)}


def events(node: Node, kind: str = "appeared") -> list[Event]:
    with node.read() as session:
        return list(session.scalars(select(Event).where(Event.kind == f"governance.finding.{kind}").order_by(Event.id)))


def change(node: Node, peer_id: str, **values: Any) -> None:
    with node.unit(JOB) as unit:
        unit.session.execute(update(Peer).where(Peer.id == peer_id).values(**values))


def settled(node: Node, url: str = "https://b.example", **values: Any) -> str:
    """An active peer with which nothing is wrong."""
    peer_id = new_peer(node, url)
    put_in(node, peer_id, "active")
    change(node, peer_id, **{**DECLARED, "signed_at": node.clock.now(), **values})
    return peer_id


def listen(node: Node) -> None:
    """A daemon of the node listens from now on."""
    with node.unit(JOB) as unit:
        daemons.register(unit.session, node.holder, url=node.url, operations_url=None, now=unit.now)


def alive(node: Node) -> None:
    """It still does."""
    with node.unit(JOB) as unit:
        daemons.seen(unit.session, node.holder, now=unit.now, ttl=timedelta(days=10_000))


def pass_time(node: Node, clock: ManualClock, **span: float) -> None:
    """Time passes; the daemon listens all along."""
    clock.advance(**span)
    alive(node)


def certify(node: Node, peer_id: str, lifetime: timedelta) -> None:
    with node.unit(JOB) as unit:
        authority = signing.open_authority(unit.session, node.vault)
        signing.issue_for_peer(
            unit, authority, peer_id=peer_id, instance_id=peers.get(unit.session, peer_id).node_instance_id,
            key=signing.new_key().public_key(), lifetime=lifetime,
        )  # fmt: skip


def grant(node: Node, peer_id: str, **terms: Any) -> str:
    given = {"peer": peer_id, "subject": "backup@b", "kind": "doc", "scopes": ["read"], **terms}
    outcome = node.request(ADA, "system.federation_grant_issue", given)
    return str(outcome.result["id"])  # type: ignore[union-attr]


def change_grant(node: Node, grant_id: str, **values: Any) -> None:
    with node.unit(JOB) as unit:
        unit.session.execute(update(Grant).where(Grant.id == grant_id).values(**values))


def change_own(node: Node, subject_kind: str, **values: Any) -> None:
    with node.unit(JOB) as unit:
        which = update(Certificate).where(Certificate.direction == "own", Certificate.subject_kind == subject_kind)
        unit.session.execute(which.values(**values))


# --- what each rule finds ----------------------------------------------------------------


@dataclass
class Stage:
    """What a case of a rule works on: a node that listens, with a peer with which nothing is wrong."""

    node: Node
    clock: ManualClock
    peer_id: str

    def set(self, **values: Any) -> None:
        change(self.node, self.peer_id, **values)

    def at(self, **span: float) -> Any:
        return self.clock.now() + timedelta(**span)


def _overlap_with_us(stage: Stage) -> None:
    stage.node.request(ADA, "system.settings_change", {"key": "own_prefix", "value": "fd00:1:2::/48"})
    stage.node.request(ADA, "system.federation_peer_edit", {"peer": stage.peer_id, "prefix": "fd00:1:2:300::/56"})


def _overlap(stage: Stage) -> None:
    other = settled(stage.node, "https://c.example")
    for peer_id, prefix in ((stage.peer_id, "fd00:1:2::/48"), (other, "fd00:1:2:3::/64")):
        stage.node.request(ADA, "system.federation_peer_edit", {"peer": peer_id, "prefix": prefix})


def _go_stale(stage: Stage) -> None:
    pass_time(stage.node, stage.clock, minutes=6)


def _lower(stage: Stage) -> None:
    with stage.node.unit(ADA) as unit:
        lowering.lower(unit, "system.federation_peer_revoke", policies.NOTIFY, timedelta(hours=1), "fire")


def _drill(stage: Stage) -> None:
    stage.node.request(ADA, "system.settings_change", {"key": "drill_mode", "value": "on"})
    new_peer(stage.node, "https://anyone.example", drill_mode=True)


def _old_grant(stage: Stage) -> None:
    change_grant(stage.node, grant(stage.node, stage.peer_id, ttl=timedelta(days=365)), issued_at=stage.at(days=-91))


CASES: Mapping[str, tuple[str, str, Callable[[Stage], object]]] = {
    "our own prefix": ("overlapping_prefix_advertisement", "critical", _overlap_with_us),
    "prefix of another peer": ("overlapping_prefix_advertisement", "high", _overlap),
    "accepted, not signed": ("stale_accepted_without_handshake", "medium",
                             lambda s: s.set(status="accepted", signed_at=None)),
    "term over": ("expired_trust", "high", lambda s: s.set(expires_at=s.at(seconds=-1))),
    "stale": ("peer_heartbeat_stale", "medium", _go_stale),
    "stale and swept": ("peer_heartbeat_stale", "medium", lambda s: (_go_stale(s), s.set(status="degraded"))),
    "extensions only": ("peer_capability_drift", "medium", lambda s: s.set(extension_slugs=["sdwan"])),
    "certificate ends": ("peer_cert_expiring", "medium", lambda s: certify(s.node, s.peer_id, timedelta(days=29))),
    "certificate ended": ("peer_cert_expired", "high",
                          lambda s: (certify(s.node, s.peer_id, timedelta(hours=1)), s.clock.advance(hours=2))),
    "server ends": ("own_cert_expiring", "high", lambda s: change_own(s.node, "server", not_after=s.at(days=13))),
    "CA ends": ("own_cert_expiring", "high", lambda s: change_own(s.node, "ca", not_after=s.at(days=364))),
    "server ended": ("own_cert_expired", "critical", lambda s: change_own(s.node, "server", not_after=s.at(days=-1))),
    "major apart": ("peer_schema_version_drift", "medium", lambda s: s.set(platform_version="1.1.0")),
    "minors apart": ("peer_schema_version_drift", "medium", lambda s: s.set(platform_version="2.4.0")),
    "no version": ("peer_schema_version_missing", "low", lambda s: s.set(platform_version=None)),
    "no residency": ("peer_residency_missing", "low", lambda s: s.set(data_residency="")),
    "no contact": ("peer_contact_missing", "low", lambda s: s.set(operator_contact=None)),
    "unrestricted admin": ("grant_unrestricted_scope", "medium",
                           lambda s: grant(s.node, s.peer_id, scopes=["read", "admin"])),
    "unrestricted migrate": ("grant_unrestricted_scope", "medium",
                             lambda s: grant(s.node, s.peer_id, scopes=["migrate"])),
    "grant ends": ("grant_expiring", "medium", lambda s: grant(s.node, s.peer_id, ttl=timedelta(days=7))),
    "old grant": ("grant_review_overdue", "low", _old_grant),
    "lowered": ("policy_lowered", "high", _lower),
    "lowered and outlived": ("policy_lowered", "high",
                             lambda s: (_lower(s), pass_time(s.node, s.clock, hours=2), put_in(s.node, s.peer_id,
                                                                                               "active"))),
    "drill": ("drill_mode_peer", "high", _drill),
}  # fmt: skip


@pytest.fixture
def stage(make_node: MakeNode, clock: ManualClock) -> Stage:
    node = make_node(single_operator=True, platform_version="2.2.0")
    listen(node)
    pass_time(node, clock, hours=1)
    with node.unit(JOB) as unit:
        from fedtui.core.access import inventory

        inventory.add(unit, "doc")
    return Stage(node, clock, settled(node))


def _known_place(place: str) -> bool:
    mode, _, id = place.partition("/")
    return mode in Console.PLACES and bool(id) and (mode != "playbook" or id in BY_SYMPTOM)


def _parses(command: str) -> None:
    """Raise unless the command line is one that the program takes."""
    import shlex

    name, *words = shlex.split(command)
    assert name == "fedtui"
    group: Any = typer.main.get_command(app)
    context = click.Context(group)
    while hasattr(group, "commands"):
        _, group, words = group.resolve_command(context, words)
        assert group is not None, command
        context = click.Context(group, parent=context)
    group.make_context(group.name, words)


@pytest.mark.parametrize("case", CASES)
def test_each_rule_finds_its_case_and_leads_somewhere(stage: Stage, case: str) -> None:
    """A healthy node has no finding; its case brings exactly that one, with its severity, a place and a command."""
    kind, severity, make = CASES[case]
    assert kinds(stage.node) == set()
    make(stage)
    assert kinds(stage.node) == {kind}
    [line] = found(stage.node)
    assert line.severity == severity
    assert _known_place(line.leads_to), line.leads_to
    _parses(line.fix)
    assert "{" not in line.said + line.fix + line.leads_to
    assert line.said.endswith(".") and line.advice.endswith(".")


def test_every_rule_has_a_case() -> None:
    """No rule goes untested."""
    assert {kind for kind, _, _ in CASES.values()} == set(BY_KIND)
    assert len(BY_KIND) == len(RULES)
