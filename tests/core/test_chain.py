"""The authorization chain: the domain's checks in the domain's order, each refusing with its own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from fedtui.core.errors import NotFound, WrongUsage
from fedtui.core.grants import decisions, explain, usage, what_if
from fedtui.core.grants import operations as grant_operations
from fedtui.core.grants.chain import CHAIN, MISMATCH, AuthorizationResult
from fedtui.core.grants.decisions import Decision, Recorder
from fedtui.core.grants.grants import Grant
from fedtui.core.grants.what_if import HypotheticalRequest
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.pki.certificates import Certificate
from tests.conftest import ManualClock
from tests.core.test_peers import put_in
from tests.core.world import ADA, ELSEWHERE, NETWORK, World, make_world

REVOKE = "system.federation_grant_revoke"


@pytest.fixture
def world(node: Node) -> World:
    return make_world(node)


def set_certificate(world: World, **columns: Any) -> None:
    """Change the peer's certificate on record."""
    with world.node.unit(ADA) as unit:
        row = unit.session.query(Certificate).filter_by(fingerprint=world.fingerprint).one()
        for name, value in columns.items():
            setattr(row, name, value)


def bridge(world: World, *steps: str) -> None:
    """A bridge of the peer on `NETWORK`, moved on by these steps."""
    made = world.act("system.federation_bridge_propose", {"peer": world.peer_id, "network": NETWORK})
    for step in steps:
        world.act(f"system.federation_bridge_{step}", {"bridge": made["id"]})


def revoke(world: World, grant_id: str) -> None:
    world.act(REVOKE, {"grant": grant_id, "reason": "test"})


def end_term(world: World) -> None:
    with world.node.unit(world.node.actor("test")) as unit:
        peers.get(unit.session, world.peer_id).expires_at = unit.now


def forget_peer(world: World) -> None:
    set_certificate(world, peer_id="0195d3a2-0000-7000-8000-000000000000")


def archive(world: World, grant_id: str) -> None:
    with world.node.unit(ADA) as unit:
        unit.session.get_one(Grant, grant_id).archived_at = unit.now


Arrange = Callable[[World, str], object]
CASES: list[tuple[str, str, int, Mapping[str, Any], Mapping[str, Any], Arrange | None]] = [
    # code, check, status, terms of the grant, changes of the call, what else
    ("cert_not_presented", "client_certificate", 401, {}, {"fingerprint": None}, None),
    ("cert_unknown", "certificate_known", 401, {}, {"fingerprint": "sha256:" + "0" * 64}, None),
    (
        "cert_wrong_kind",
        "certificate_known",
        401,
        {},
        {},
        lambda world, _: set_certificate(world, subject_kind="instance", peer_id=None),
    ),
    (
        "cert_revoked",
        "certificate_known",
        401,
        {},
        {},
        lambda world, _: set_certificate(world, revoked_at=world.node.clock.now()),
    ),
    (
        "cert_expired",
        "certificate_known",
        401,
        {},
        {},
        lambda world, _: set_certificate(world, not_after=world.node.clock.now()),
    ),
    ("peer_missing", "peer", 401, {}, {}, lambda world, _: forget_peer(world)),
    ("peer_not_reachable", "peer", 401, {}, {}, lambda world, _: put_in(world.node, world.peer_id, "suspended")),
    ("peer_not_reachable", "peer", 401, {}, {}, lambda world, _: put_in(world.node, world.peer_id, "accepted")),
    ("term_ended", "peer", 403, {}, {}, lambda world, _: end_term(world)),
    ("grant_token_malformed", "grant", 401, {}, {"bearer": None}, None),
    ("grant_token_malformed", "grant", 401, {}, {"bearer": "fg-x"}, None),
    ("grant_token_malformed", "grant", 401, {}, {"bearer": ELSEWHERE}, None),
    ("grant_token_unknown", "grant", 401, {}, {"bearer": f"fg-{ELSEWHERE}"}, None),
    ("grant_revoked", "grant_in_force", 403, {}, {}, revoke),
    ("grant_revoked", "grant_in_force", 403, {}, {}, archive),
    ("kind_mismatch", "resource", 403, {}, {"kind": "zone"}, None),
    ("resource_mismatch", "resource", 403, {"id": "two"}, {}, None),
    ("scope_insufficient", "scope", 403, {}, {"method": "PUT"}, None),
    ("scope_insufficient", "scope", 403, {"scopes": ["read", "write"]}, {"method": "DELETE"}, None),
    ("instance_not_allowed", "instance", 403, {"instances": [ELSEWHERE]}, {}, None),
    ("network_not_allowed", "network", 403, {"networks": [NETWORK]}, {}, None),
    ("network_not_allowed", "network", 403, {"networks": [NETWORK]}, {"network_id": "rubbish\x00"}, None),
    ("network_bridge_inactive", "network", 403, {"networks": [NETWORK]}, {"network_id": NETWORK}, None),
    (
        "network_bridge_inactive",
        "network",
        403,
        {"networks": [NETWORK]},
        {"network_id": NETWORK},
        lambda world, _: bridge(world, "activate", "suspend"),
    ),
    ("source_ip_not_allowed", "source_address", 403, {"cidrs": ["192.0.2.0/24"]}, {}, None),
    ("source_ip_not_allowed", "source_address", 403, {"cidrs": ["10.0.0.0/8"]}, {"source_ip": None}, None),
    ("kind_not_served", "inventory", 422, {"kind": "zone"}, {"kind": "zone"}, None),
]


@pytest.mark.parametrize(("code", "check", "status", "terms", "call", "arrange"), CASES)
def test_each_check_refuses_with_its_code(
    world: World,
    code: str,
    check: str,
    status: int,
    terms: Mapping[str, Any],
    call: Mapping[str, Any],
    arrange: Arrange | None,
) -> None:
    """Each reason to refuse has its code, its place in the chain and its status; every 403 begins the same."""
    grant_id = world.grant(**terms)
    assert world.grant(subject="another@b")
    if arrange is not None:
        arrange(world, grant_id)
    judged = world.judge(world.asked(grant_id, **call))
    assert judged.refusal is not None
    assert (judged.code, judged.refusal.status) == (code, status)
    assert next(one.check for one in judged.results if one.passed is False) == check
    assert judged.refusal.public.startswith(MISMATCH) == (status == 403 and code != "term_ended")
    assert not judged.allowed


def test_a_call_that_nothing_speaks_against_is_allowed(world: World) -> None:
    """With every list populated and met, over an active bridge, all eleven checks pass."""
    bridge(world, "activate")
    grant_id = world.grant(
        id="one", instances=[world.instance_id, ELSEWHERE], networks=[NETWORK], cidrs=["10.0.0.0/8", "fd00::/8"]
    )
    judged = world.judge(world.asked(grant_id, network_id=NETWORK.upper(), source_ip="::ffff:10.9.9.9"))
    assert judged.allowed
    assert [one.passed for one in judged.results] == [True] * 11


def test_the_order_is_the_domains(world: World) -> None:
    """The first failing check answers; for the record all of them are looked at, also those after it."""
    assert [one.name for one in CHAIN] == [
        "client_certificate",
        "certificate_known",
        "peer",
        "grant",
        "grant_in_force",
        "resource",
        "scope",
        "instance",
        "network",
        "source_address",
        "inventory",
    ]
    grant_id = world.grant(kind="zone", instances=[ELSEWHERE], networks=[NETWORK], cidrs=["192.0.2.0/24"])
    judged = world.judge(world.asked(grant_id, kind="zone", method="PUT"))
    assert judged.code == "scope_insufficient"
    refused = [one.check for one in judged.results if one.passed is False]
    assert refused == ["scope", "instance", "network", "source_address", "inventory"]


def test_what_the_proxy_says_counts_before_the_certificate(world: World) -> None:
    """The calling instance is the one that a trusted proxy names, else that of the certificate."""
    grant_id = world.grant(instances=[ELSEWHERE])
    assert world.code(grant_id, instance_id=ELSEWHERE) is None
    assert world.code(grant_id) == "instance_not_allowed"
    assert world.code(world.grant(instances=[world.instance_id])) is None


def watched(world: World, grant_id: str) -> tuple[AuthorizationResult, list[tuple[str, Any]]]:
    """A judgement, and what was asked of the database for it: statements with their parameters."""
    statements: list[tuple[str, Any]] = []
    engine = world.node.database.engine

    def seen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", seen)
    try:
        return world.judge(world.asked(grant_id, network_id=NETWORK)), statements
    finally:
        event.remove(engine, "before_cursor_execute", seen)


@pytest.mark.sqlite
def test_what_a_decision_asks_of_the_database_does_not_grow(world: World) -> None:
    """However many grants there are, as many questions, and an index answers each of them."""
    grant_id = world.grant(networks=[NETWORK], cidrs=["10.0.0.0/8"])
    _, first = watched(world, grant_id)
    for number in range(20):
        world.grant(subject=f"s{number}@b", networks=[NETWORK])
    judged, later = watched(world, grant_id)
    assert judged.code == "network_bridge_inactive", "all the checks that read were made"
    assert later == first
    with world.node.read() as session:
        cursor = session.connection().connection.cursor()
        asked = [(statement, values) for statement, values in later if statement.startswith("SELECT")]
        plans = [cursor.execute(f"EXPLAIN QUERY PLAN {one}", values).fetchall() for one, values in asked]
    steps = [step[3] for plan in plans for step in plan]
    assert len(asked) >= 4
    assert [step for step in steps if "USING" not in step] == []


def test_an_unknown_grant_and_a_foreign_one_answer_alike(world: World) -> None:
    """Same status, same words, the same checks left undone, and as many questions to the database."""
    other = make_world(world.node, "https://c.example")
    foreign, unknown = other.grant(), ELSEWHERE

    def answer(grant_id: str) -> tuple[Any, list[Any], list[str]]:
        judged, statements = watched(world, grant_id)
        assert judged.refusal is not None
        told = (judged.refusal.status, judged.refusal.public)
        return told, [one.passed for one in judged.results], [statement for statement, _ in statements]

    assert answer(foreign) == answer(unknown)
    assert (world.code(foreign), world.code(unknown)) == ("grant_of_other_peer", "grant_token_unknown")


@pytest.mark.parametrize("call", ["enroll", "heartbeat", "renew"])
def test_other_calls_are_judged_by_the_first_three(world: World, call: str) -> None:
    """A call that needs no grant passes with a certificate and a state that allows it."""
    asked = replace(world.asked(None), call=call)
    assert [one.check for one in world.judge(asked).results] == ["client_certificate", "certificate_known", "peer"]
    assert world.judge(asked).allowed
    put_in(world.node, world.peer_id, "accepted")
    assert world.judge(asked).allowed == (call != "renew")


# --- decisions ---------------------------------------------------------------------------


def test_a_decision_keeps_the_call_and_every_check_and_replays(world: World) -> None:
    """What was judged is kept whole, cleaned of what no terminal may see, and judged again gives the same."""
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    asked = world.asked(grant_id, resource_id="one\x1b[31m")
    kept = world.kept(asked)
    with world.node.read() as session:
        row = decisions.find(session, kept[:30])
        assert (row.code, row.status, row.peer_id, row.grant_id) == (
            "source_ip_not_allowed",
            403,
            world.peer_id,
            grant_id,
        )
        assert [one["check"] for one in row.checks] == [one.name for one in CHAIN]
        assert "\x1b" not in str(row.context)
        assert world.judge(decisions.replay(row)).code == row.code


def test_a_decision_of_the_handshake_cannot_be_replayed(world: World) -> None:
    """What TLS refused stands with its reason; there is no call to judge again."""
    with world.node.unit(ADA) as unit:
        kept = decisions.store_handshake(unit, code="cert_expired", detail="certificate has expired", source_ip="::1")
        row = decisions.find(unit.session, kept)
        with pytest.raises(NotFound, match="handshake"):
            decisions.replay(row)


def test_the_recorder_folds_and_bounds() -> None:
    """The same within a minute is one with a count; one caller has sixty a minute, others have theirs."""
    at = [0.0]
    recorder = Recorder(clock=lambda: at[0])
    assert recorder.repeated("x") is None
    recorder.kept("x", "id-1")
    assert [recorder.repeated("x") for _ in range(3)] == ["id-1"] * 3
    assert recorder.take() == {"id-1": 3}
    assert recorder.take() == {}
    at[0] = 61
    assert recorder.repeated("x") is None
    assert sum(recorder.admits("a") for _ in range(100)) == decisions.PER_CALLER
    assert recorder.admits("b")
    assert recorder.take_dropped() == 100 - decisions.PER_CALLER
    assert recorder.take_dropped() == 0
    assert sum(recorder.admits(f"c{number}") for number in range(2 * decisions.PER_NODE)) < decisions.PER_NODE


def test_the_recorder_remembers_only_so_many() -> None:
    """However many different outcomes come, what is remembered is bounded: the oldest goes."""
    recorder = Recorder()
    for number in range(decisions.MOST_REMEMBERED + 1):
        recorder.kept(number, str(number))
    assert recorder.repeated(0) is None
    assert recorder.repeated(1) == "1"


def test_repetitions_are_counted_where_the_first_stands(world: World, clock: ManualClock) -> None:
    """`times` and `last_at` tell how often the same was refused, and when last."""
    kept = world.kept(world.asked(ELSEWHERE))
    clock.advance(seconds=30)
    with world.node.unit(ADA) as unit:
        decisions.count(unit, {kept: 4})
    with world.node.read() as session:
        row = decisions.find(session, kept)
        assert (row.times, row.last_at) == (5, clock.now())


def test_decisions_are_pruned_by_age_and_number(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals go after 90 days, successes after 7, and the oldest of too many."""

    def kept() -> set[str]:
        with world.node.unit(ADA) as unit:
            decisions.prune(unit.session, unit.now)
            return {row.id for row in unit.session.query(Decision)}

    grant_id = world.grant(ttl="200d")
    with monkeypatch.context() as patch:
        # Ids carry the machine's time, which stands still for no test: they are made of the clock's.
        patch.setattr(decisions, "new_id", lambda: decisions.id_at(clock.now())[:-4] + f"{len(kept()):04x}")
        allowed, refused = world.kept(world.asked(grant_id)), world.kept(world.asked(ELSEWHERE))
        clock.advance(days=6)
        assert kept() == {allowed, refused}
        clock.advance(days=2)
        assert kept() == {refused}
        clock.advance(days=83)
        assert kept() == set()
        patch.setattr(decisions, "MOST_KEPT", 2)
        several = []
        for _ in range(4):
            clock.advance(hours=1)
            several.append(world.kept(world.asked(ELSEWHERE)))
        assert kept() == set(several[2:])


# --- usage -------------------------------------------------------------------------------


def test_uses_are_counted_by_day_and_way(world: World, clock: ManualClock) -> None:
    """A row for each grant, day and way of use, whatever the number of calls; totals cover 30 days."""
    grant_id = world.grant(ttl="90d")
    world.use(world.asked(grant_id), times=5)
    world.use(world.asked(grant_id), times=2)
    world.use(world.asked(grant_id, source_ip="10.9.9.9"))
    clock.advance(days=20)
    world.use(world.asked(grant_id))
    with world.node.read() as session:
        assert session.query(usage.GrantUsage).count() == 3
        assert usage.totals(session, [grant_id], clock.now())[grant_id].times == 9
        assert [one.times for one in usage.ways(session, grant_id, clock.now())] == [8, 1]
    clock.advance(days=15)
    with world.node.read() as session:
        assert usage.totals(session, [grant_id], clock.now())[grant_id].times == 1


def test_a_grant_used_in_very_many_ways_keeps_few_rows(world: World) -> None:
    """Beyond fifty ways a day the rest is counted together, and nothing is lost from the count."""
    grant_id = world.grant()
    for number in range(usage.MOST_WAYS + 20):
        world.use(world.asked(grant_id, source_ip=f"10.0.0.{number}"))
    with world.node.read() as session:
        assert session.query(usage.GrantUsage).count() == usage.MOST_WAYS + 1
        assert usage.totals(session, [grant_id], world.node.clock.now())[grant_id].times == usage.MOST_WAYS + 20


def test_what_a_narrowing_or_a_revocation_cuts_off(world: World) -> None:
    """By the chain's own checks: what was used and would be refused after the edit, and no more than that."""
    grant_id = world.grant()
    world.use(world.asked(grant_id), times=3)
    world.use(world.asked(grant_id, source_ip="192.0.2.7"), times=2, instance=ELSEWHERE)
    now = world.node.clock.now()
    with world.node.read() as session:
        grant = session.get_one(Grant, grant_id)

        def cut(**edit: Any) -> list[int]:
            changes = grant_operations.edited(grant, edit)
            return [one.times for one in grant_operations.cut_off(session, grant, changes, now)]

        assert [one.times for one in grant_operations.cut_off(session, grant, None, now)] == [3, 2]
        assert cut(add_cidr=["10.0.0.0/8"]) == [2]
        assert cut(add_instance=[ELSEWHERE]) == [3]
        assert cut(add_network=[NETWORK]) == [3, 2]
        assert cut(add_cidr=["0.0.0.0/0"]) == []
        assert cut(auto_renew=True) == []


def test_asking_for_an_edit_says_what_it_cuts_off(world: World) -> None:
    """The act's result, and the words an approver reads, name the calls that would be refused."""
    grant_id = world.grant()
    world.use(world.asked(grant_id), times=3)
    asked = world.node.request(ADA, REVOKE, {"grant": grant_id, "reason": "gone"})
    assert "used 3 times" in asked.approval.summary  # type: ignore[union-attr]
    edited = world.act("system.federation_grant_edit", {"grant": grant_id, "add_cidr": ["192.0.2.0/24"]})
    assert edited["cuts_off"] == 3


# --- what-if -----------------------------------------------------------------------------

FIXABLE = [case for case in CASES if case[1] not in ("client_certificate", "certificate_known", "peer", "grant")]


@pytest.mark.parametrize(("code", "check", "status", "terms", "call", "arrange"), FIXABLE)
def test_the_change_that_is_proposed_lets_the_call_through(
    world: World,
    code: str,
    check: str,
    status: int,
    terms: Mapping[str, Any],
    call: Mapping[str, Any],
    arrange: Arrange | None,
) -> None:
    """For every refusal that an operator can answer, carrying out what is proposed really allows the call."""
    grant_id = world.grant(**terms)
    if arrange is not None:
        arrange(world, grant_id)
    asked = world.asked(grant_id, **call)
    kept = world.kept(asked)
    with world.node.read() as session:
        found = what_if.explain(session, HypotheticalRequest(""), now=world.node.clock.now(), decision=kept)
    assert found.judgement.code == code
    assert found.complete
    for change in found.changes:
        made = world.act(change.action, change.params)
        if change.action == "system.federation_bridge_propose":
            world.act("system.federation_bridge_activate", {"bridge": made["id"]})
        if change.action == "system.federation_grant_issue":
            asked = replace(asked, bearer=str(made["bearer_token"]))
        assert change.command.startswith("fedtui ")
    judged = world.judge(asked)
    assert judged.allowed, judged.refusal


def test_an_expired_grant_is_explained_by_its_renewal(world: World, clock: ManualClock) -> None:
    """The smallest change for one that ran out is to renew it, and that is enough."""
    grant_id = world.grant()
    clock.advance(days=40)
    with world.node.read() as session:
        found = what_if.explain(session, HypotheticalRequest(f"fg-{grant_id}"), now=clock.now())
    assert [one.action for one in found.changes] == ["system.federation_grant_renew"]
    assert found.complete
    assert f"fedtui grants renew {grant_id}" in found.fix


def test_all_that_stands_in_the_way_becomes_one_edit(world: World) -> None:
    """Three lists that refuse take one edit, and a bridge beside it; nothing else."""
    grant_id = world.grant(instances=[ELSEWHERE], networks=[ELSEWHERE], cidrs=["192.0.2.0/24"])
    with world.node.read() as session:
        found = explain.explain(session, world.asked(grant_id, network_id=NETWORK), now=world.node.clock.now())
    assert [one.action for one in found.changes] == [
        "system.federation_grant_edit",
        "system.federation_bridge_propose",
    ]
    edit = found.changes[0].params
    assert edit["source_cidrs"] == ["10.1.2.3/32", "192.0.2.0/24"]
    assert found.complete


def test_a_call_is_judged_as_it_would_be_after_an_edit(world: World) -> None:
    """An edit can be tried on a described call; the grant on record stays as it is."""
    grant_id = world.grant(cidrs=["192.0.2.0/24"])
    described = HypotheticalRequest(f"fg-{grant_id}", source_ip="10.1.2.3")
    now = world.node.clock.now()
    with world.node.read() as session:
        assert what_if.explain(session, described, now=now).judgement.code == "source_ip_not_allowed"
        tried = what_if.explain(session, described, now=now, edit={"add_cidr": ["10.0.0.0/8"]})
        assert tried.judgement.allowed
        with pytest.raises(WrongUsage):
            what_if.explain(session, described, now=now, edit={"add_cidr": ["x"]})
    assert world.row(grant_id).source_cidrs == ["192.0.2.0/24"]


def test_what_only_the_caller_can_mend_is_said_in_words(world: World) -> None:
    """A refusal that no act of ours answers comes with words and is not called complete."""
    foreign_id, now = make_world(world.node, "https://c.example").grant(), world.node.clock.now()
    with world.node.read() as session:
        unknown = what_if.explain(session, HypotheticalRequest(f"fg-{ELSEWHERE}"), now=now)
        assert (unknown.judgement.code, unknown.complete) == ("grant_token_unknown", False)
        assert all(not one.action for one in unknown.changes)
        foreign = what_if.explain(session, HypotheticalRequest(f"fg-{foreign_id}", peer=world.peer_id), now=now)
    assert (foreign.judgement.code, foreign.complete) == ("grant_of_other_peer", False)


@pytest.mark.parametrize("presented", ["secret", f"fg-{ELSEWHERE}", "kind"])
def test_a_caller_that_has_a_grant_for_it_is_told_its_bearer(world: World, presented: str) -> None:
    """With a bearer that is none, of no grant, or of a grant for another kind: whoever has one that allows the call
    is to send that; without one, a grant is to be issued, in a command that names peer, kind, and scope."""
    bearer = f"fg-{world.grant(kind='other.kind')}" if presented == "kind" else presented
    asked = replace(world.asked(None), bearer=bearer)
    now = world.node.clock.now()
    with world.node.read() as session:
        [without] = explain.explain(session, asked, now=now).changes
    ours = ("", f"fedtui grants issue {world.peer_id} --subject SUBJECT --kind doc --scope read")
    anew = ("system.federation_grant_issue", without.command) if presented == "kind" else ours
    assert (without.action, without.command) == anew
    own, over = world.grant(), world.grant()
    world.act("system.federation_grant_revoke", {"grant": over, "reason": "test"})
    with world.node.read() as session:
        [told] = explain.explain(session, asked, now=now).changes
    assert (told.where, told.command) == ("there", f"Authorization: Bearer fg-{own}")


def test_of_two_steps_the_one_that_was_taken_is_not_proposed_again(world: World) -> None:
    """For a kind that is not served: a grant is to be issued and the kind declared; then sent, and declared."""
    now, asked = world.node.clock.now(), world.asked(world.grant(), kind="other.kind")
    with world.node.read() as session:
        first = explain.explain(session, asked, now=now).changes
    assert [one.action for one in first] == ["system.federation_grant_issue", "system.inventory_change"]
    issued = world.act(first[0].action, first[0].params)
    with world.node.read() as session:
        then = explain.explain(session, asked, now=now).changes
    assert [one.command for one in then] == [f"Authorization: Bearer {issued['bearer_token']}", first[1].command]


def test_a_grant_issued_in_place_of_another_says_what_is_left_to_do(world: World) -> None:
    """The caller is to send the new one's bearer; the old one, which is in force, is to be ended then, by its id.
    One that was revoked has been."""
    narrow = world.grant()
    with world.node.read() as session:
        [anew] = explain.explain(session, world.asked(narrow, method="PUT"), now=world.node.clock.now()).changes
    assert "Bearer {bearer_token}" in anew.then
    assert f"fedtui grants revoke {narrow}" in anew.then
    world.act("system.federation_grant_revoke", {"grant": narrow, "reason": "test"})
    with world.node.read() as session:
        [anew] = explain.explain(session, world.asked(narrow), now=world.node.clock.now()).changes
    assert ("Bearer {bearer_token}" in anew.then, "fedtui grants revoke" in anew.then) == (True, False)


@pytest.mark.parametrize(
    ("terms", "option"),
    [({"cidrs": ["10.0.0.0/8"]}, "--source-ip"), ({"networks": [NETWORK]}, "--network")],
)
def test_a_description_that_leaves_something_out_is_asked_for_it(
    world: World, terms: Mapping[str, Any], option: str
) -> None:
    """That a restriction be lifted is never proposed because the operator did not say where the call comes from."""
    grant_id = world.grant(**terms)
    with world.node.read() as session:
        found = what_if.explain(session, HypotheticalRequest(f"fg-{grant_id}"), now=world.node.clock.now())
    assert not found.judgement.allowed
    assert [one.action for one in found.changes] == [""]
    assert f"fedtui grants explain fg-{grant_id} {option}" in found.fix


@pytest.mark.parametrize("field", ["instance", "network", "source_ip"])
def test_a_slip_in_a_description_is_named(world: World, field: str) -> None:
    """What cannot be is not judged as if somebody had called so."""
    described = HypotheticalRequest(f"fg-{world.grant()}", **{field: "10.0.0.0/8"})
    with world.node.read() as session, pytest.raises(WrongUsage, match=rf"^{field}: "):
        what_if.explain(session, described, now=world.node.clock.now())


def test_no_grant_is_proposed_for_what_there_cannot_be(world: World) -> None:
    """A caller that asks for a malformed kind or id has to ask for another; no act could grant it."""
    grant_id = world.grant(id="one")
    for asked in (world.asked(grant_id, kind="Doc"), world.asked(grant_id, resource_id="a/b")):
        with world.node.read() as session:
            found = explain.explain(session, asked, now=world.node.clock.now())
        assert not found.judgement.allowed
        assert (found.complete, [one.action for one in found.changes]) == (False, [""])


def test_a_described_kind_widens_no_further_than_the_grant(world: World) -> None:
    """Without a resource in the description, the new grant that is proposed is for the one the old is for."""
    grant_id = world.grant(id="one")
    with world.node.read() as session:
        found = what_if.explain(session, HypotheticalRequest(f"fg-{grant_id}", kind="zone"), now=world.node.clock.now())
    assert [change.params.get("id") for change in found.changes][:1] == ["one"]


def test_every_refusal_has_an_answer() -> None:
    """No code of the chain is without something that helps."""
    assert {case[0] for case in CASES} | {"grant_expired", "grant_of_other_peer"} == set(explain.ANSWERS)
