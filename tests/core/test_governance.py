"""Governance: what each rule finds, that nothing flaps, and where every finding leads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
import pytest
import typer
from sqlalchemy import event, insert, select, update

from fedtui.app import Console
from fedtui.cli.program import app
from fedtui.core.administration import operators
from fedtui.core.administration.operators import Operator
from fedtui.core.audit.events import Event
from fedtui.core.diagnosis.causes import BY_SYMPTOM
from fedtui.core.errors import NotFound, Problem, Refused, WrongUsage
from fedtui.core.governance import findings, reporting, scanning
from fedtui.core.governance import listing as finding_listing
from fedtui.core.governance.findings import ACKNOWLEDGED, GONE, OPEN
from fedtui.core.governance.listing import FindingLine
from fedtui.core.governance.rules import BY_KIND, RULES
from fedtui.core.grants.grants import Grant
from fedtui.core.grants.resources import Resource
from fedtui.core.node import Node
from fedtui.core.operations import overrides, policies
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.runtime import daemons, lease, prefixes
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.lease import Held, LeaseLost
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer, put_in

ADA = Actor("operator", "ada", origin="test")
JOB = Actor("job", "test", origin="test")
DECLARED = {"platform_version": "2.1.0", "data_residency": "EU", "operator_contact": "ops@b.example"}


def found(node: Node, *states: str, kind: str | None = None, peer_id: str | None = None) -> list[FindingLine]:
    """Findings on record, open ones unless told otherwise."""
    with node.read() as session:
        return finding_listing.rows(session, now=node.clock.now(), states=states or (OPEN,), kind=kind, peer_id=peer_id)


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


def certify(node: Node, peer_id: str, lifetime: timedelta, *, left: timedelta | None = None, **values: Any) -> None:
    """A certificate of the peer, so old that this much is `left` of it; `values` as it stands on record."""
    with node.unit(JOB) as unit:
        authority = signing.open_authority(unit.session, node.vault)
        row = signing.issue_for_peer(
            unit,
            authority,
            peer_id=peer_id,
            instance_id=peers.get(unit.session, peer_id).node_instance_id,
            key=signing.new_key().public_key(),
            lifetime=lifetime,
        )
        ends = unit.now + (lifetime if left is None else left)
        values = {"not_before": ends - lifetime, "not_after": ends, **values}
        unit.session.execute(update(Certificate).where(Certificate.id == row.id).values(**values))


CYCLE = timedelta(days=90)
"""How long certificates live; what renews itself does so with 22 to 18 days left."""


def days(number: float) -> timedelta:
    return timedelta(days=number)


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
        overrides.lower(unit, "system.federation_peer_revoke", policies.NOTIFY, timedelta(hours=1), "fire")


def _lower_act_restore(stage: Stage) -> None:
    action = "system.federation_peer_propose"
    stage.node.request(
        ADA,
        "system.policy_lower",
        {"policy_action": action, "policy": "notify_and_proceed", "span": "1h", "reason": "fire"},
    )
    stage.node.request(ADA, action, {"url": "https://hasty.example"})
    stage.node.request(ADA, "system.policy_restore", {"policy_action": action})


def _weaken(stage: Stage) -> None:
    stage.node.request(ADA, "system.settings_change", {"key": "single_operator", "value": "off"})
    stage.node.request(
        ADA, "system.policy_set", {"policy_action": "system.operator_add", "policy": "notify_and_proceed"}
    )
    stage.node.request(ADA, "system.operator_add", {"name": "ben"})


def _look_alike(stage: Stage) -> None:
    with stage.node.unit(JOB) as unit:
        unit.session.add(Operator(name="\u212aim", permissions=[operators.VIEW], added_at=unit.now, removed_at=None))


def _drill(stage: Stage) -> None:
    stage.node.request(ADA, "system.settings_change", {"key": "drill_mode", "value": "on"})
    new_peer(stage.node, "https://anyone.example", drill_mode=True)


def _old_grant(stage: Stage) -> None:
    change_grant(stage.node, grant(stage.node, stage.peer_id, ttl=timedelta(days=365)), issued_at=stage.at(days=-91))


def _document(stage: Stage, size: int, grant_id: str | None = None) -> None:
    """A document of the peer's, said to be so large."""
    with stage.node.unit(JOB) as unit:
        unit.session.execute(
            insert(Resource).values(
                kind="doc",
                id="one",
                document="{}",
                version=1,
                updated_at=unit.now,
                updated_by="x",
                digest="",
                size=size,
                peer_id=stage.peer_id,
                grant_id=grant_id,
            )
        )


CASES: Mapping[str, tuple[str, str, Callable[[Stage], object]]] = {
    "our own prefix": ("overlapping_prefix_advertisement", "critical", _overlap_with_us),
    "prefix of another peer": ("overlapping_prefix_advertisement", "high", _overlap),
    "accepted, not signed": (
        "stale_accepted_without_handshake",
        "medium",
        lambda s: s.set(status="accepted", signed_at=None),
    ),
    "term over": ("expired_trust", "high", lambda s: s.set(expires_at=s.at(seconds=-1))),
    "term ends": ("term_ending", "medium", lambda s: s.set(expires_at=s.at(days=29))),
    "term ends soon": ("term_ending_soon", "high", lambda s: s.set(expires_at=s.at(days=7))),
    "term over, in grace": (
        "term_ending",
        "medium",
        lambda s: s.set(expires_at=s.at(days=-9), term_grace_until=s.at(days=20)),
    ),
    "stale": ("peer_heartbeat_stale", "medium", _go_stale),
    "stale and swept": ("peer_heartbeat_stale", "medium", lambda s: (_go_stale(s), s.set(status="degraded"))),
    "extensions only": ("peer_capability_drift", "medium", lambda s: s.set(extension_slugs=["sdwan"])),
    "theirs not renewed": ("peer_cert_expiring", "medium", lambda s: certify(s.node, s.peer_id, CYCLE, left=days(16))),
    "theirs, suspended": (
        "peer_cert_expiring",
        "medium",
        lambda s: (certify(s.node, s.peer_id, CYCLE, left=days(29)), s.set(status="suspended")),
    ),
    "ours renewed by hand": (
        "peer_cert_expiring",
        "medium",
        lambda s: certify(s.node, s.peer_id, CYCLE, left=days(29), direction="outbound"),
    ),
    "ours, its renewal late": (
        "peer_cert_expiring",
        "medium",
        lambda s: certify(s.node, s.peer_id, CYCLE, left=days(20), direction="outbound", renew_at=s.at(hours=-3)),
    ),
    "certificate ended": (
        "peer_cert_expired",
        "high",
        lambda s: (certify(s.node, s.peer_id, timedelta(hours=1)), s.clock.advance(hours=2)),
    ),
    "server ends": ("own_cert_expiring", "high", lambda s: change_own(s.node, "server", not_after=s.at(days=13))),
    "CA ends": ("own_cert_expiring", "high", lambda s: change_own(s.node, "ca", not_after=s.at(days=364))),
    "server ended": ("own_cert_expired", "critical", lambda s: change_own(s.node, "server", not_after=s.at(days=-1))),
    "major apart": ("peer_schema_version_drift", "medium", lambda s: s.set(platform_version="1.1.0")),
    "minors apart": ("peer_schema_version_drift", "medium", lambda s: s.set(platform_version="2.4.0")),
    "no version": ("peer_schema_version_missing", "low", lambda s: s.set(platform_version=None)),
    "no residency": ("peer_residency_missing", "low", lambda s: s.set(data_residency="")),
    "no contact": ("peer_contact_missing", "low", lambda s: s.set(operator_contact=None)),
    "unrestricted admin": (
        "grant_unrestricted_scope",
        "medium",
        lambda s: grant(s.node, s.peer_id, scopes=["read", "admin"]),
    ),
    "unrestricted migrate": (
        "grant_unrestricted_scope",
        "medium",
        lambda s: grant(s.node, s.peer_id, scopes=["migrate"]),
    ),
    "grant ends": ("grant_expiring", "medium", lambda s: grant(s.node, s.peer_id, ttl=timedelta(days=7))),
    "documents of a peer": ("peer_quota_near", "medium", lambda s: _document(s, 900_000_000)),
    "documents of a grant": (
        "grant_quota_near",
        "medium",
        lambda s: _document(s, 450_000_000, grant(s.node, s.peer_id)),
    ),
    "old grant": ("grant_review_overdue", "low", _old_grant),
    "lowered": ("policy_lowered", "high", _lower),
    "lowered and outlived": (
        "policy_lowered",
        "high",
        lambda s: (_lower(s), pass_time(s.node, s.clock, hours=2), put_in(s.node, s.peer_id, "active")),
    ),
    "drill": ("drill_mode_peer", "high", _drill),
    "http": ("peer_url_insecure", "high", lambda s: s.set(remote_instance_url="http://b.example")),
    "done alone": ("emergency_unconfirmed", "high", _lower_act_restore),
    "decides alone": (
        "single_operator_among_several",
        "high",
        lambda s: s.node.request(ADA, "system.operator_add", {"name": "ben"}),
    ),
    "one is enough": ("guard_policy_weak", "high", _weaken),
    "look-alike": ("operator_name_ambiguous", "medium", _look_alike),
}


@pytest.fixture
def stage(make_node: MakeNode, clock: ManualClock) -> Stage:
    node = make_node(single_operator=True, platform_version="2.2.0")
    listen(node)
    pass_time(node, clock, hours=1)
    with node.unit(JOB) as unit:
        from fedtui.core.grants import inventory

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


# --- what no rule finds ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (
            "prefixes of different /48",
            lambda s: [
                s.node.request(ADA, "system.federation_peer_edit", {"peer": peer, "prefix": f"fd00:1:{number}::/48"})
                for number, peer in enumerate((s.peer_id, settled(s.node, "https://c.example")))
            ],
        ),
        ("stale, but in planned maintenance", lambda s: (_go_stale(s), s.set(maintenance_until=s.at(hours=1)))),
        ("suspended and silent", lambda s: (_go_stale(s), s.set(status="suspended"))),
        ("one minor apart", lambda s: s.set(platform_version="2.1.7")),
        ("degraded, its declarations kept", lambda s: s.set(status="degraded")),
        ("admin from one network", lambda s: grant(s.node, s.peer_id, scopes=["admin"], cidrs=["10.0.0.0/8"])),
        ("a grant that renews itself", lambda s: grant(s.node, s.peer_id, ttl=timedelta(days=7), auto_renew=True)),
        (
            "a certificate that another has replaced",
            lambda s: (certify(s.node, s.peer_id, timedelta(days=5)), certify(s.node, s.peer_id, timedelta(days=90))),
        ),
        (
            "their certificate, to be renewed by them about now",
            lambda s: certify(s.node, s.peer_id, CYCLE, left=days(17)),
        ),
        ("a certificate of theirs that is new and does not live long", lambda s: certify(s.node, s.peer_id, days(29))),
        (
            "our certificate, to be renewed in days",
            lambda s: certify(s.node, s.peer_id, CYCLE, left=days(25), direction="outbound", renew_at=s.at(days=3)),
        ),
        (
            "our certificate, its renewal under way",
            lambda s: certify(s.node, s.peer_id, CYCLE, left=days(20), direction="outbound", renew_at=s.at(hours=-1)),
        ),
        (
            "drill-mode row on a node that is not in drill mode",
            lambda s: new_peer(s.node, "https://anyone.example", drill_mode=True),
        ),
        ("grants of a revoked peer", lambda s: (grant(s.node, s.peer_id, scopes=["admin"]), s.set(status="revoked"))),
        ("the term of a revoked peer", lambda s: s.set(status="revoked", expires_at=s.at(days=-1))),
    ],
)
def test_what_is_as_it_should_be_is_no_finding(stage: Stage, name: str, make: Callable[[Stage], object]) -> None:
    """Each of these looks like a finding from afar, and is none."""
    make(stage)
    assert kinds(stage.node) == set(), name


def test_a_late_self_renewal_is_a_finding(stage: Stage) -> None:
    """A grant that should have renewed itself hours ago, and has not, is about to end like any other."""
    grant_id = grant(stage.node, stage.peer_id, ttl=timedelta(days=7), auto_renew=True)
    change_grant(stage.node, grant_id, renew_at=stage.at(hours=-3))
    assert kinds(stage.node) == {"grant_expiring"}


@pytest.mark.parametrize("bad", ["", "fe80::/48", "fd00::/40", "fd00:1:2:3::/48", "10.0.0.0/8", "x", "fd00::/489"])
def test_what_is_no_prefix_is_refused(bad: str) -> None:
    """Only unique local /48, /56 and /64 without bits beyond their length can be advertised."""
    with pytest.raises(WrongUsage) as raised:
        prefixes.normalize(bad)
    assert raised.value.code == "prefix_invalid"


def test_a_prefix_has_one_spelling() -> None:
    """However it is written, a prefix is kept with its groups written out, its /48 in front."""
    assert prefixes.normalize("FD00:1::/48") == "fd00:0001:0000::/48"
    assert prefixes.normalize("fd00:1:2:300::/56") == "fd00:0001:0002:0300::/56"
    assert prefixes.site("fd00:0001:0002:0300::/56") == prefixes.site(prefixes.normalize("fd00:1:2::/48"))


def test_many_peers_of_one_48_are_as_many_findings_less_one(stage: Stage) -> None:
    """Each but the first is said to overlap with the first, so that findings do not grow with the square."""
    ids = [stage.peer_id, *(settled(stage.node, f"https://p{number}.example") for number in range(4))]
    for number, peer_id in enumerate(ids):
        change(stage.node, peer_id, remote_prefix_advertisement=f"fd00:0001:0002:000{number}::/64")
    scanning.scan(stage.node)
    lines = found(stage.node)
    assert {line.peer_id for line in lines} == set(ids[1:])
    assert all("https://b.example" in line.said for line in lines)
    assert len(found(stage.node, peer_id=ids[0])) == 4, "the first is the other of each"
    assert len(found(stage.node, peer_id=ids[1])) == 1


# --- nothing flaps -----------------------------------------------------------------------


def test_what_comes_back_is_the_same_finding(stage: Stage) -> None:
    """A finding that goes and comes back keeps its row and its first time, counts it, and tells each change once."""
    stage.set(expires_at=stage.at(seconds=-1))
    scanning.scan(stage.node)
    [first] = found(stage.node)
    scanning.scan(stage.node)
    pass_time(stage.node, stage.clock, minutes=1)
    stage.set(expires_at=None)
    scanning.scan(stage.node)
    assert found(stage.node) == []
    [gone] = found(stage.node, GONE)
    assert (gone.id, gone.gone_at) == (first.id, stage.clock.now())
    assert gone.last_seen == first.first_seen, "it was last seen by the scan before"
    stage.set(expires_at=stage.at(seconds=-1))
    scanning.scan(stage.node)
    scanning.scan(stage.node)
    [back] = found(stage.node)
    assert (back.id, back.first_seen, back.reopened, back.gone_at) == (first.id, first.first_seen, 1, None)
    assert [len(events(stage.node, kind)) for kind in ("appeared", "gone")] == [2, 1]


def test_a_finding_that_stands_is_seen_at_every_scan_and_told_once(stage: Stage) -> None:
    """Its last time moves with the scans although nothing is written to it, and no event repeats it."""
    stage.set(expires_at=stage.at(seconds=-1))
    scanning.scan(stage.node)
    pass_time(stage.node, stage.clock, hours=1)
    put_in(stage.node, stage.peer_id, "active")
    outcome = scanning.scan(stage.node)
    [line] = found(stage.node)
    assert line.last_seen == stage.clock.now() > line.first_seen
    assert (outcome["appeared"], outcome["gone"], outcome["open"]["high"]) == (0, 0, 1)
    [told] = events(stage.node)
    assert (told.severity, told.peer_id, told.payload["finding"]) == ("high", stage.peer_id, "expired_trust")
    assert told.payload["said"] == line.said


def test_a_fact_that_changes_is_said_anew_and_is_no_new_finding(stage: Stage) -> None:
    """Another date is another sentence of the same finding, without an event."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    [before] = found(stage.node)
    stage.set(expires_at=stage.at(hours=-2))
    scanning.scan(stage.node)
    [after] = found(stage.node)
    assert after.id == before.id and after.said != before.said and "2026-03-01 11:00" in after.said
    assert len(events(stage.node)) == 1


def test_a_peer_that_hovers_about_the_limit_stays_one_finding(stage: Stage) -> None:
    """Heard of for a moment and stale again: the finding neither goes nor is told again, until that lasts."""
    node, clock = stage.node, stage.clock
    _go_stale(stage)
    scanning.scan(node)
    for _ in range(3):
        put_in(node, stage.peer_id, "active")
        scanning.scan(node)
        assert [line.kind for line in found(node)] == ["peer_heartbeat_stale"]
        _go_stale(stage)
        scanning.scan(node)
    assert (len(events(node)), len(events(node, "gone"))) == (1, 0)
    [line] = found(node)
    assert line.reopened == 0
    for _ in range(4):
        put_in(node, stage.peer_id, "active")
        scanning.scan(node)
        pass_time(node, clock, minutes=4)
    scanning.scan(node)
    assert found(node) == []
    assert (len(events(node)), len(events(node, "gone"))) == (1, 1)


def test_after_our_own_downtime_nobody_is_called_stale(stage: Stage) -> None:
    """While heartbeats could not arrive, stale cannot be told: nothing appears, and what stands is left as it is."""
    node, clock = stage.node, stage.clock
    clock.advance(hours=2)
    assert scanning.scan(node)["held_back"] == ["peer_heartbeat_stale"]
    assert found(node) == []
    with node.unit(JOB) as unit:
        daemons.seen(unit.session, node.holder, now=unit.now, ttl=timedelta(seconds=30))
    clock.advance(minutes=4)
    alive(node)
    assert scanning.scan(node)["held_back"] == ["peer_heartbeat_stale"]
    pass_time(node, clock, minutes=2)
    assert scanning.scan(node)["held_back"] == []
    assert [line.kind for line in found(node)] == ["peer_heartbeat_stale"]
    clock.advance(hours=2)
    put_in(node, stage.peer_id, "active")
    scanning.scan(node)
    [line] = found(node)
    assert line.last_seen < clock.now(), "it was not looked for now"
    with node.read() as session:
        assert findings.held_back(session) == ["peer_heartbeat_stale"]
        assert findings.scanned_at(session) == clock.now()


def test_too_many_of_a_kind_share_an_event(stage: Stage) -> None:
    """The first twenty are told one by one, the rest in one event, as grave as the gravest of them."""
    for number in range(25):
        settled(stage.node, f"https://p{number}.example", expires_at=stage.at(days=-1))
    outcome = scanning.scan(stage.node)
    told = events(stage.node)
    assert outcome["appeared"] == 25 and len(told) == 21
    assert (told[-1].payload["more"], told[-1].severity) == (5, "high")
    assert len({one.correlation_id for one in told}) == 1


def test_what_has_an_event_of_its_own_is_not_pressed_on_people_twice(stage: Stage) -> None:
    """Lowering a policy has told everybody: the finding's own event is a quiet one."""
    _lower(stage)
    scanning.scan(stage.node)
    [told] = events(stage.node)
    assert told.severity == "low"


def test_a_kind_that_is_no_longer_in_the_table_goes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings of a rule that was taken away do not stand for ever, and are shown without one."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    fewer = tuple(rule for rule in RULES if rule.kind != "expired_trust")
    monkeypatch.setattr(scanning, "RULES", fewer)
    for module in (scanning, finding_listing, findings):
        monkeypatch.setattr(module, "BY_KIND", {rule.kind: rule for rule in fewer})
    scanning.scan(stage.node)
    [line] = found(stage.node, GONE)
    assert (line.kind, line.leads_to, line.fix) == ("expired_trust", "", "")


def test_what_went_a_year_ago_is_forgotten(stage: Stage, clock: ManualClock) -> None:
    """Gone findings are kept for a year."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    stage.set(expires_at=None)
    scanning.scan(stage.node)
    clock.advance(days=364)
    scanning.scan(stage.node)
    assert "expired_trust" in {line.kind for line in found(stage.node, GONE)}
    clock.advance(days=2)
    scanning.scan(stage.node)
    assert "expired_trust" not in {line.kind for line in found(stage.node, GONE)}


# --- acknowledging -----------------------------------------------------------------------


def test_what_is_acknowledged_is_hidden_until_its_end(stage: Stage) -> None:
    """It is not open for so long, comes back by itself to the minute, and the next scan says so once."""
    node, clock = stage.node, stage.clock
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(node)
    [line] = found(node)
    taken = node.acknowledge_finding(ADA, line.id[:20], "a new term is being agreed", timedelta(days=7))
    assert (taken.state, taken.acknowledged_by, taken.acknowledgement) == (
        ACKNOWLEDGED,
        "ada",
        "a new term is being agreed",
    )
    scanning.scan(node)
    assert found(node) == [] and len(found(node, ACKNOWLEDGED)) == 1
    clock.advance(days=7)
    assert [one.state for one in found(node)] == [OPEN], "before any scan"
    put_in(node, stage.peer_id, "active")
    scanning.scan(node)
    scanning.scan(node)
    [told] = events(node, "lapsed")
    assert (told.severity, told.payload["finding_id"]) == ("high", line.id)
    [asked] = events(node, "acknowledged")
    assert (asked.actor, asked.payload["reason"]) == ("ada", "a new term is being agreed")


def test_what_comes_back_while_acknowledged_is_quiet(stage: Stage) -> None:
    """Gone and back within the time it is acknowledged for: still hidden, and nobody is called."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    [line] = found(stage.node)
    stage.node.acknowledge_finding(ADA, line.id, "known", timedelta(days=7))
    for until in (None, stage.at(days=-2)):
        stage.set(expires_at=until)
        scanning.scan(stage.node)
    [back] = found(stage.node, ACKNOWLEDGED)
    assert back.reopened == 1
    assert [one.severity for one in events(stage.node)] == ["high", "low"]


@pytest.mark.parametrize(
    ("reason", "span", "code"),
    [
        ("", timedelta(days=1), "reason_missing"),
        ("x" * 501, timedelta(days=1), "reason_missing"),
        ("known", timedelta(days=91), "duration_invalid"),
        ("known", timedelta(0), "duration_invalid"),
    ],
)
def test_acknowledging_takes_a_reason_and_an_end(stage: Stage, reason: str, span: timedelta, code: str) -> None:
    """Neither without a reason nor for ever."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    [line] = found(stage.node)
    with pytest.raises(WrongUsage) as raised:
        stage.node.acknowledge_finding(ADA, line.id, reason, span)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("system.federation_peers.manage", {"expired_trust"}),
        ("system.federation_grants.manage", {"grant_expiring"}),
        ("system.infra_tasks.control", {"policy_lowered"}),
        ("system.federation_peers.view", set()),
    ],
)
def test_acknowledging_takes_the_permission_of_its_rule(stage: Stage, permission: str, allowed: set[str]) -> None:
    """Who may mend a thing may also say that it can wait; nobody else may."""
    stage.node.request(ADA, "system.operator_add", {"name": "eve", "permissions": [permission]})
    stage.set(expires_at=stage.at(days=-1))
    grant(stage.node, stage.peer_id, ttl=timedelta(days=7))
    _lower(stage)
    scanning.scan(stage.node)
    eve, done = Actor("operator", "eve", origin="test"), set()
    for line in found(stage.node):
        try:
            stage.node.acknowledge_finding(eve, line.id, "known", timedelta(days=1))
            done.add(line.kind)
        except Refused as problem:
            assert problem.code == "permission_missing"
    assert done == allowed


def test_what_is_gone_cannot_be_acknowledged(stage: Stage) -> None:
    """There is nothing to hide; and an unknown id is no traceback."""
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(stage.node)
    [line] = found(stage.node)
    stage.set(expires_at=None)
    scanning.scan(stage.node)
    codes = []
    for wanted in (line.id, "nope"):
        with pytest.raises(Problem) as raised:
            stage.node.acknowledge_finding(ADA, wanted, "known", timedelta(days=1))
        codes.append(raised.value.code)
    assert codes == ["finding_gone", "finding_not_found"]


# --- who scans ---------------------------------------------------------------------------


def test_the_maintenance_job_scans_under_the_lease(stage: Stage) -> None:
    """The job finds what drifts; a holder that lost the lease meanwhile records nothing."""
    node = stage.node
    stage.set(expires_at=stage.at(days=-1))
    [job] = [one for one in node.jobs() if one.name == "maintenance"]
    with node.unit(JOB) as unit:
        held = lease.take(unit.session, "one", now=unit.now, ttl=node.settings.lease_ttl)
    assert held is not None
    with pytest.raises(LeaseLost):
        scanning.scan(node, held=Held("one", held.epoch + 1))
    assert found(node) == []
    assert job.run(held)["governance"]["appeared"] == 1
    [told] = events(node)
    assert told.origin == "job maintenance"


def test_a_stranger_cannot_scan(stage: Stage) -> None:
    """Only operators on record start a scan."""
    with pytest.raises(NotFound):
        stage.node.scan_governance(Actor("operator", "mallory", origin="test"))


# --- the list and the report -------------------------------------------------------------


def _several(stage: Stage) -> None:
    """Ten findings of five severities and kinds: open, acknowledged and gone ones."""
    for number in range(4):
        settled(stage.node, f"https://p{number}.example", data_residency=None, operator_contact=None)
    stage.set(expires_at=stage.at(days=-1))
    change_own(stage.node, "server", not_after=stage.at(days=-1))
    scanning.scan(stage.node)
    lines = found(stage.node, kind="peer_contact_missing")
    stage.node.acknowledge_finding(ADA, lines[0].id, "known", timedelta(days=7))
    change(stage.node, str(lines[1].peer_id), **DECLARED)
    scanning.scan(stage.node)


@pytest.mark.parametrize("sort", finding_listing.SORTS)
def test_pages_walk_the_whole_list_both_ways(stage: Stage, sort: str) -> None:
    """In every order and under every filter pages of two make up the list, forwards and backwards, with right ranks."""
    _several(stage)
    with stage.node.read() as session:
        for text in ("", "contact", "gone", "HIGH", "p2.example"):
            for invert in (False, True):
                _walk(session, stage.clock.now(), sort, {"text": text, "invert": invert})
        for state in (OPEN, ACKNOWLEDGED, GONE):
            _walk(session, stage.clock.now(), sort, {"state": state})


def _walk(session: Any, now: Any, sort: str, narrowed: dict[str, Any]) -> None:
    whole = finding_listing.page(session, now=now, sort=sort, **narrowed, limit=100)
    assert len(whole) == finding_listing.count(session, now=now, **narrowed)
    assert whole, "each of the filters leaves something"
    forwards: list[FindingLine] = []
    while more := finding_listing.page(
        session,
        now=now,
        sort=sort,
        **narrowed,
        limit=2,
        after=finding_listing.key(forwards[-1], sort) if forwards else None,
    ):
        forwards += more
    assert forwards == whole
    for place, line in enumerate(whole):
        key = finding_listing.key(line, sort)
        assert finding_listing.rank(session, key, now=now, sort=sort, **narrowed) == place
        before = finding_listing.page(session, now=now, sort=sort, **narrowed, before=key, limit=2)
        assert before == whole[max(0, place - 2) : place]
        assert finding_listing.one(session, line.id, now=now, **narrowed) == line


def test_what_needs_somebody_stands_on_top(stage: Stage) -> None:
    """Open before acknowledged before gone, the gravest first."""
    _several(stage)
    with stage.node.read() as session:
        lines = finding_listing.page(session, now=stage.clock.now(), limit=100)
    assert [line.state for line in lines] == [OPEN] * 7 + [ACKNOWLEDGED] + [GONE] * 2
    assert [line.severity for line in lines][:2] == ["critical", "high"]


@pytest.mark.sqlite
def test_a_page_of_what_is_open_is_read_from_an_index(stage: Stage) -> None:
    """The first page, the next one, and the gravest of all: in order from the index, without sorting."""
    _several(stage)
    now, seen = stage.clock.now(), []
    with stage.node.read() as session:
        connection = session.connection()

        def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
            plan = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            seen.append([row[3] for row in plan])

        event.listen(connection, "before_cursor_execute", note)
        first = finding_listing.page(session, now=now, state=OPEN, limit=2)
        finding_listing.page(session, now=now, state=OPEN, after=finding_listing.key(first[-1], "urgency"), limit=2)
        finding_listing.rows(session, now=now, limit=2)
        finding_listing.gravest(session, now=now, limit=2)
    assert len(seen) == 4
    for steps in seen:
        assert any("ix_governance_findings_standing" in step for step in steps), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps


def test_the_report_names_everything_and_fails_by_severity(stage: Stage) -> None:
    """JSON and Markdown say what is open, acknowledged and gone, with the words of remotes made harmless."""
    _several(stage)
    stage.set(platform_version="9.9.`x\n# y")
    scanning.scan(stage.node)
    report = stage.node.governance_report()
    assert json.loads(json.dumps(report, default=str))["open"] == {"critical": 1, "high": 1, "medium": 1, "low": 5}
    assert [len(report[part]) for part in ("findings", "acknowledged", "gone")] == [8, 1, 2]
    assert reporting.fails(report["open"], "critical") and not reporting.fails({"low": 3}, "medium")
    said = reporting.markdown(report)
    for line in (*report["findings"], *report["acknowledged"], *report["gone"]):
        assert line["id"] in said
    assert "acknowledged by ada" in said and "## Critical" in said and "\n# y" not in said


def test_a_change_request_carries_its_evidence_and_is_settled(stage: Stage) -> None:
    """What stood on record is kept with it; it is settled by who filed it or who may, with a reason, once."""
    node = stage.node
    stage.set(expires_at=stage.at(days=-1))
    scanning.scan(node)
    filed = node.escalate(ADA, None, title="Terms that renew themselves", body="Too many end by hand.")
    assert [one["kind"] for one in filed["evidence"]["findings"]] == ["expired_trust"]
    assert filed["evidence"]["events"][0]["kind"] == "governance.finding.appeared"
    node.request(ADA, "system.operator_add", {"name": "eve", "permissions": ["system.federation_peers.manage"]})
    with pytest.raises(Refused) as raised:
        node.settle_request(Actor("operator", "eve", origin="test"), filed["id"], "declined", "no")
    assert raised.value.code == "permission_missing"
    done = node.settle_request(ADA, filed["id"], "done", "in the next release")
    assert (done["status"], done["settled_by"], done["settlement"]) == ("done", "ada", "in the next release")
    with pytest.raises(Refused) as again:
        node.settle_request(ADA, filed["id"], "done", "in the next release")
    assert again.value.code == "change_request_settled"
    for status, reason in (("maybe", "x"), ("open", " ")):
        with pytest.raises(WrongUsage):
            node.settle_request(ADA, filed["id"], status, reason)


def test_more_changes_than_a_transaction_takes_up_are_all_recorded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of two, seven findings appear and go as they would at once: told once, seen until the scan before."""
    monkeypatch.setattr(scanning, "BATCH", 2)
    ids = [settled(stage.node, f"https://p{number}.example", expires_at=stage.at(days=-1)) for number in range(7)]
    assert scanning.scan(stage.node)["appeared"] == 7
    seen = stage.clock.now()
    pass_time(stage.node, stage.clock, minutes=1)
    for peer_id in ids:
        change(stage.node, peer_id, expires_at=None)
    assert scanning.scan(stage.node)["gone"] == 7
    assert [line.last_seen for line in found(stage.node, GONE)] == [seen] * 7
    assert [len(events(stage.node, kind)) for kind in ("appeared", "gone")] == [7, 7]
