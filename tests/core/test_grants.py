"""Grants: issued as asked for, refused by field, renewed, ended, archived; and what they lean on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.audit.events import recent
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.grants import bridges, grants
from fedtui.core.grants import listing as grant_listing
from fedtui.core.grants.resources import EmbeddedStore, VersionMismatch
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.runtime.document_text import of
from tests.conftest import ManualClock
from tests.core.test_peers import put_in
from tests.core.world import ADA, BEN, ELSEWHERE, NETWORK, World, make_world, pending

ISSUE = "system.federation_grant_issue"
EDIT = "system.federation_grant_edit"
RENEW = "system.federation_grant_renew"
REVOKE = "system.federation_grant_revoke"


@pytest.fixture
def world(node: Node) -> World:
    return make_world(node)


def kinds(node: Node, prefix: str = "federation.grant.") -> list[str]:
    """The kinds of the events so far, oldest first."""
    with node.read() as session:
        return [one.kind for one in reversed(recent(session)) if one.kind.startswith(prefix)]


def test_a_grant_is_as_asked_for(world: World) -> None:
    """Subject, resource, scopes, lists and time are stored in one spelling; it lives 30 days unless told otherwise."""
    grant = world.row(
        world.grant(scopes=["write", "read"], id="one", cidrs=["::ffff:10.0.0.0/104"], instances=[ELSEWHERE.upper()])
    )
    assert grant.permission_scopes == ["read", "write"]
    assert (grant.resource_kind, grant.resource_id) == ("doc", "one")
    assert (grant.source_cidrs, grant.node_instance_ids) == (["10.0.0.0/8"], [ELSEWHERE])
    assert grant.expires_at - grant.issued_at == timedelta(days=30)
    assert kinds(world.node) == ["federation.grant.issued"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "a b"}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"subject": "a\x1b[31m"}, "subject"),
        ({"kind": "Doc"}, "kind"),
        ({"kind": ""}, "kind"),
        ({"id": "a/b"}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"scopes": []}, "scope"),
        ({"scopes": ["read", "own"]}, "scope"),
        ({"ttl": "6d"}, "ttl"),
        ({"ttl": "366d"}, "ttl"),
        ({"ttl": "a month"}, "ttl"),
        ({"ttl": "1s", "short_ttl": True}, "ttl"),
        ({"ttl": "2h", "short_ttl": True, "auto_renew": True}, "auto_renew"),
        ({"instances": ["b"]}, "instance"),
        ({"networks": ["10.0.0.0/8"]}, "network"),
        ({"cidrs": ["10.0.0.1/8"]}, "cidr"),
    ],
)
def test_what_is_malformed_is_refused_and_the_field_named(world: World, wrong: Mapping[str, Any], field: str) -> None:
    """Each malformed field is refused by name, and nothing is written."""
    with pytest.raises(WrongUsage, match=f"^{field}: "):
        world.grant(**wrong)
    with world.node.read() as session:
        assert grant_listing.rows(session) == []


def test_a_short_time_takes_a_word(world: World) -> None:
    """Less than 7 days is taken where it is said to be meant."""
    grant = world.row(world.grant(ttl="1h", short_ttl=True))
    assert grant.expires_at - grant.issued_at == timedelta(hours=1)


def test_what_renews_itself_lives_a_day(world: World) -> None:
    """The job looks once an hour: a shorter one is refused at issue, at an edit and at a renewal."""
    short = world.grant(ttl="2h", short_ttl=True)
    renewing = world.grant(auto_renew=True)
    for action, params in (
        (EDIT, {"grant": short, "auto_renew": True}),
        (RENEW, {"grant": renewing, "ttl": "2h", "short_ttl": True}),
    ):
        with pytest.raises(WrongUsage, match=r"^auto_renew: "):
            world.act(action, params)
    assert world.row(short).renew_at is None
    assert world.row(renewing).ttl_seconds == timedelta(days=30).total_seconds()


def test_a_revoked_peer_gets_no_grant(world: World) -> None:
    """A grant needs a peer whose certificate can be used."""
    put_in(world.node, world.peer_id, "revoked")
    with pytest.raises(Refused) as refused:
        world.grant()
    assert refused.value.code == "peer_not_reachable"


def test_an_edit_replaces_lists_and_leaves_the_rest(world: World) -> None:
    """Entries are added and taken away; scopes and resource stay as issued; the event says what changed."""
    grant_id = world.grant(cidrs=["10.0.0.0/8"])
    world.act(EDIT, {"grant": grant_id, "add_cidr": ["fd00::/8"], "remove_cidr": ["10.0.0.0/8"], "auto_renew": True})
    grant = world.row(grant_id)
    assert grant.source_cidrs == ["fd00::/8"]
    assert grant.permission_scopes == ["read"]
    assert grant.renew_at == grant.issued_at + timedelta(days=22, hours=12)
    assert kinds(world.node)[-1] == "federation.grant.edited"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({}, "nothing_to_do"),
        ({"add_cidr": ["10.0.0.0/8"]}, "nothing_to_do"),
        ({"remove_cidr": ["192.0.2.0/24"]}, "cidr_not_listed"),
        ({"remove_cidr": ["10.0.0.0/8"]}, "cidr_list_would_open"),
        ({"add_instance": ["x"]}, "instance_invalid"),
    ],
)
def test_an_edit_that_is_none_or_opens_the_grant_is_refused(world: World, edit: Mapping[str, Any], code: str) -> None:
    """An edit without effect, of what is not there, or one that would open the grant by emptying a list."""
    grant_id = world.grant(cidrs=["10.0.0.0/8"])
    with pytest.raises(WrongUsage) as refused:
        world.act(EDIT, {"grant": grant_id, **edit})
    assert refused.value.code == code
    assert world.row(grant_id).source_cidrs == ["10.0.0.0/8"]


def test_lifting_a_list_takes_its_own_word(world: World) -> None:
    """`any_cidr` empties the list on purpose."""
    grant_id = world.grant(cidrs=["10.0.0.0/8"])
    world.act(EDIT, {"grant": grant_id, "any_cidr": True})
    assert world.row(grant_id).source_cidrs == []


def test_renewing_runs_anew_from_now_also_after_the_end(world: World, clock: ManualClock) -> None:
    """A renewed grant lives as long as it was issued for, from now; one that has expired works again."""
    grant_id = world.grant()
    clock.advance(days=31)
    assert world.code(grant_id) == "grant_expired"
    world.act(RENEW, {"grant": grant_id})
    assert world.row(grant_id).expires_at == clock.now() + timedelta(days=30)
    assert world.code(grant_id) is None
    world.act(RENEW, {"grant": grant_id, "ttl": "90d"})
    assert world.row(grant_id).expires_at == clock.now() + timedelta(days=90)


def test_revoking_waits_for_approval_and_is_final(world: World) -> None:
    """A revocation is asked for with a reason, approved, and then nothing brings the grant back."""
    grant_id = world.grant()
    with pytest.raises(WrongUsage):
        world.node.request(ADA, REVOKE, {"grant": grant_id})
    asked = pending(world.node.request(ADA, REVOKE, {"grant": grant_id, "reason": "gone"}))
    assert world.code(grant_id) is None, "an open request changes nothing"
    world.node.decide(ADA, "withdraw", asked.id)
    world.act(REVOKE, {"grant": grant_id, "reason": "gone for good"})
    assert world.code(grant_id) == "grant_revoked"
    for action in (EDIT, RENEW, REVOKE):
        with pytest.raises(Refused) as refused:
            world.act(action, {"grant": grant_id, "reason": "x", "add_cidr": ["10.0.0.0/8"]})
        assert refused.value.code == "grant_revoked"


def test_a_revocation_that_waits_outlives_a_renewal(world: World, clock: ManualClock) -> None:
    """A grant that is renewed, by the job or by hand, or edited meanwhile, is revoked as approved all the same."""
    grant_id = world.grant(auto_renew=True)
    clock.advance(days=23)
    asked = pending(world.node.request(ADA, REVOKE, {"grant": grant_id, "reason": "leaked"}))
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 1
    world.act(RENEW, {"grant": grant_id, "ttl": "90d"})
    world.act(EDIT, {"grant": grant_id, "add_cidr": ["10.0.0.0/8"]})
    world.node.approve(BEN, asked.id, asked.digest, reason="test")
    assert gate.execute(world.node, world.node.acts, asked.id) == "executed"
    assert world.code(grant_id) == "grant_revoked"


def test_a_grant_that_says_so_renews_itself_and_says_it(world: World, clock: ManualClock) -> None:
    """The maintenance job renews at three quarters of the time, not before, and emits an event; others just end."""
    renewing, plain = world.grant(auto_renew=True), world.grant(subject="other@b")
    clock.advance(days=22)
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 0
    clock.advance(days=1)
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 1
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 0
    assert world.row(renewing).expires_at == clock.now() + timedelta(days=30)
    assert kinds(world.node)[-1] == "federation.grant.renewed"
    clock.advance(days=8)
    assert (world.code(renewing), world.code(plain)) == (None, "grant_expired")


def test_no_grant_renews_itself_past_a_year(world: World, clock: ManualClock) -> None:
    """Renewals stop at 365 days from issue, the end is announced, and then the grant expires."""
    grant_id = world.grant(auto_renew=True)
    issued = world.row(grant_id).issued_at
    for _ in range(400):
        clock.advance(days=1)
        job_tasks.maintenance(world.node)
        assert world.row(grant_id).expires_at <= issued + timedelta(days=365)
    assert world.row(grant_id).expires_at == issued + timedelta(days=365)
    assert world.code(grant_id) == "grant_expired"
    assert "federation.grant.renewal_ended" in kinds(world.node)


@pytest.mark.parametrize("status", ["suspended", "revoked"])
def test_a_grant_of_a_peer_at_rest_does_not_renew_itself(world: World, clock: ManualClock, status: str) -> None:
    """Once its peer is suspended or revoked a grant is left to end."""
    grant_id = world.grant(auto_renew=True)
    before = world.row(grant_id).expires_at
    put_in(world.node, world.peer_id, status)
    clock.advance(days=25)
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 0
    assert world.row(grant_id).expires_at == before


def test_an_expired_grant_is_not_renewed_by_a_job(world: World, clock: ManualClock) -> None:
    """What has run out while no process ran stays ended until a person renews it."""
    grant_id = world.grant(auto_renew=True)
    clock.advance(days=31)
    assert job_tasks.maintenance(world.node)["grants_renewed"] == 0
    assert world.code(grant_id) == "grant_expired"


def test_a_revoked_grant_is_archived_after_90_days(world: World, clock: ManualClock) -> None:
    """It stays in the list for 90 days, then only among the archived, and is refused all along."""
    grant_id = world.grant()
    world.act(REVOKE, {"grant": grant_id, "reason": "gone"})
    clock.advance(days=89)
    assert job_tasks.maintenance(world.node)["grants_archived"] == 0
    clock.advance(days=1)
    assert job_tasks.maintenance(world.node)["grants_archived"] == 1
    with world.node.read() as session:
        assert grant_listing.rows(session) == []
        assert [row.id for row in grant_listing.rows(session, archived=True)] == [grant_id]
        assert grant_listing.count(session) == 0
    assert world.code(grant_id) == "grant_revoked"


def test_a_grant_is_found_by_id_beginning_and_bearer(world: World) -> None:
    """An id, the unique beginning of one, or `fg-<id>`; two of one beginning are none."""
    first = world.grant()
    with world.node.read() as session:
        for wanted in (first, first[:20], grants.bearer(first), f" FG-{first.upper()} "):
            assert grants.find(session, wanted).id == first
        for wanted in ("", "fg-", "nope"):
            with pytest.raises(NotFound):
                grants.find(session, wanted)


@pytest.mark.parametrize("sort", grant_listing.SORTS)
def test_pages_of_every_order_meet(world: World, sort: str, clock: ManualClock) -> None:
    """Pages after and before a key, and the rank of a row, agree with the whole list in every order."""
    for number in range(7):
        clock.advance(hours=1)
        world.grant(subject=f"s{number % 3}@b", ttl=f"{30 - number}d")
    now = clock.now()
    with world.node.read() as session:
        whole = grant_listing.page(session, now=now, sort=sort, limit=50)
        assert len(whole) == grant_listing.count(session) == 7
        for place, line in enumerate(whole):
            key = grant_listing.key(line, sort)
            assert grant_listing.rank(session, key, sort=sort) == place
            assert grant_listing.page(session, now=now, sort=sort, after=key, limit=50) == whole[place + 1 :]
            assert (
                grant_listing.page(session, now=now, sort=sort, before=key, limit=2) == whole[max(place - 2, 0) : place]
            )
        found = grant_listing.page(session, now=now, text="S1@")
        assert {line.remote_subject for line in found} == {"s1@b"}
        assert grant_listing.count(session, text="s1@", invert=True) == 7 - len(found)


# --- bridges, inventory, resources -------------------------------------------------------


def test_a_bridge_has_its_own_transitions(world: World) -> None:
    """proposed, active, suspended, active, revoked; every other step is refused with what is allowed."""
    bridge = str(world.act("system.federation_bridge_propose", {"peer": world.peer_id, "network": NETWORK})["id"])

    def step(name: str) -> str:
        return str(world.act(f"system.federation_bridge_{name}", {"bridge": bridge})["status"])

    with pytest.raises(Refused) as refused:
        step("suspend")
    assert "active, revoked" in refused.value.cause
    assert [step(name) for name in ("activate", "suspend", "activate", "revoke")] == [
        "active",
        "suspended",
        "active",
        "revoked",
    ]
    for name in ("activate", "suspend", "revoke"):
        with pytest.raises(Refused):
            step(name)
    assert bridges.TRANSITIONS["revoked"] == ()


def test_one_live_bridge_a_peer_and_network(world: World) -> None:
    """A second one is refused until the first has been revoked."""
    asked = {"peer": world.peer_id, "network": NETWORK}
    first = world.act("system.federation_bridge_propose", asked)["id"]
    with pytest.raises(Refused) as refused:
        world.act("system.federation_bridge_propose", asked)
    assert refused.value.code == "bridge_exists"
    world.act("system.federation_bridge_revoke", {"bridge": first})
    assert world.act("system.federation_bridge_propose", asked)["status"] == "proposed"


def test_the_inventory_says_what_is_served(world: World) -> None:
    """A grant may name a kind that is not served; using it is refused until it is."""
    grant_id = world.grant(kind="zone")
    assert world.code(grant_id, kind="zone") == "kind_not_served"
    world.act("system.inventory_change", {"kind": "zone", "served": True})
    assert world.code(grant_id, kind="zone") is None
    world.act("system.inventory_change", {"kind": "zone", "served": False})
    assert world.code(grant_id, kind="zone") == "kind_not_served"
    with pytest.raises(NotFound):
        world.act("system.inventory_change", {"kind": "zone", "served": False})


def test_a_resource_counts_its_versions_and_honours_the_expected_one(world: World) -> None:
    """Writes count up; a tag that is not the present one writes and removes nothing; a new life has a new tag."""
    store = EmbeddedStore()
    with world.node.unit(ADA) as unit:
        first = store.put(unit, "doc", "one", of({"a": 1}))
        second = store.put(unit, "doc", "one", of({"a": 2}), expected=[first.etag])
        assert (first.version, second.version) == (1, 2)
        for expected in ([first.etag], [f"W/{second.etag}"], []):
            with pytest.raises(VersionMismatch):
                store.put(unit, "doc", "one", of({"a": 3}), expected=expected)
            with pytest.raises(VersionMismatch):
                store.delete(unit, "doc", "one", expected=expected)
        assert store.delete(unit, "doc", "one", expected=["*"])
        with pytest.raises(VersionMismatch):
            store.put(unit, "doc", "one", of({"a": 1}), expected=["*"])
        assert not store.delete(unit, "doc", "one")
        assert store.put(unit, "doc", "one", of({"a": 9})).etag != first.etag


def test_the_event_of_a_written_document_does_not_hold_it(world: World) -> None:
    """The record has a document's size and digest; the document itself stands in one place."""
    secret = "nobody reads this in the record"
    world.act("system.federation_resource_put", {"kind": "doc", "id": "one", "document": {"text": secret}})
    with world.node.read() as session:
        assert all(secret not in str(event.payload) for event in recent(session))
