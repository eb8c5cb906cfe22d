"""The peer's states: the table, and that nothing gets round it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fedtui.core.errors import NotFound, Problem, Refused, WrongUsage
from fedtui.core.node import Node
from fedtui.core.operations.gate import Done
from fedtui.core.peers import peers
from fedtui.core.peers.peers import STATUSES, TRANSITIONS, Peer
from fedtui.core.protocol import heartbeats
from fedtui.core.protocol.heartbeats import Declared
from tests.conftest import ManualClock


def put_in(node: Node, peer_id: str, status: str) -> None:
    """Set a peer's status past all rules, as a starting point."""
    with node.unit(node.actor("test")) as unit:
        peer = peers.get(unit.session, peer_id)
        peer.status, peer.last_heartbeat_at = status, unit.now


def new_peer(node: Node, url: str = "https://b.example", **options: object) -> str:
    with node.unit(node.actor("test")) as unit:
        return peers.add(unit, url=url, **options).id  # type: ignore[arg-type]


@pytest.mark.parametrize("to", STATUSES)
@pytest.mark.parametrize("origin", STATUSES)
def test_only_the_table_moves_a_peer(node: Node, origin: str, to: str) -> None:
    """Every pair of states is allowed exactly if the table says so, and a refusal names what is allowed."""
    peer_id = new_peer(node)
    put_in(node, peer_id, origin)
    if to in TRANSITIONS[origin]:
        with node.unit(node.actor("test")) as unit:
            assert peers.move(unit, peer_id, to).status == to
        return
    with pytest.raises(Refused) as refused, node.unit(node.actor("test")) as unit:
        peers.move(unit, peer_id, to)
    assert refused.value.code == "transition_refused"
    for allowed in TRANSITIONS[origin]:
        assert allowed in refused.value.cause
    with node.read() as session:
        assert peers.get(session, peer_id).status == origin


def test_a_peer_of_the_network_alone_is_refused_for_what_it_is(node: Node) -> None:
    """It may well be active: no heartbeat and no certificate goes to it for its kind, and that is what is said."""
    peer_id = new_peer(node, kind="sdwan_only")
    put_in(node, peer_id, "active")
    actor = node.actor("test")
    acts: tuple[Callable[[], object], ...] = (
        lambda: node.heartbeat_now(actor, peer_id),
        lambda: node.request(actor, "system.federation_certificate_rotate", {"peer": peer_id}),
    )
    for act in acts:
        with pytest.raises(Refused) as refused:
            act()
        assert "https://b.example is sdwan_only" in refused.value.problem


def test_random_walks_stay_on_the_table(node: Node, clock: ManualClock) -> None:
    """Whatever sequence of acts, heartbeats and sweeps runs, each step the record takes is in the table."""
    node_, clock_ = node, clock

    class Walk(RuleBasedStateMachine):
        @initialize()
        def propose(self) -> None:
            self.peer_id = new_peer(node_, url=f"https://{clock_.at.timestamp()}.example")
            clock_.advance(seconds=1)
            self.before = "proposed"

        def step(self, work: object) -> None:
            try:
                work()  # type: ignore[operator]
            except Problem as problem:
                assert problem.code in ("transition_refused", "peer_not_reachable")
            with node_.read() as session:
                after = peers.get(session, self.peer_id).status
            path = self.before, after
            # One heartbeat takes two steps, accepted -> enrolled -> active.
            assert after == self.before or after in TRANSITIONS[self.before] or path == ("accepted", "active")
            self.before = after

        def act(self, action: str, **params: object) -> None:
            outcome = node_.request(node_.actor("test"), action, {"peer": self.peer_id, **params})
            assert isinstance(outcome, Done)

        @rule()
        def accept(self) -> None:
            def work() -> None:
                with node_.unit(node_.actor("test")) as unit:
                    peers.move(unit, self.peer_id, "accepted", only_from=("proposed",))

            self.step(work)

        @rule()
        def heartbeat(self) -> None:
            def work() -> None:
                with node_.unit(node_.actor("test")) as unit:
                    heartbeats.record(unit, self.peer_id, Declared())

            self.step(work)

        @rule(minutes=st.integers(0, 12))
        def wait_and_sweep(self, minutes: int) -> None:
            clock_.advance(minutes=minutes)

            def work() -> None:
                listening(node_)
                with node_.unit(node_.actor("test")) as unit:
                    heartbeats.sweep(unit, node_.settings)

            self.step(work)

        @rule()
        def suspend(self) -> None:
            self.step(lambda: self.act("system.federation_peer_suspend", reason="walk"))

        @rule()
        def resume(self) -> None:
            self.step(lambda: self.act("system.federation_peer_resume"))

        @rule()
        def revoke(self) -> None:
            def work() -> None:
                with node_.unit(node_.actor("test")) as unit:
                    node_.acts["system.federation_peer_revoke"].apply(  # type: ignore[misc]
                        unit, node_, {"peer_id": self.peer_id, "reason": "walk"}
                    )

            self.step(work)

        @invariant()
        def active_has_a_heartbeat(self) -> None:
            with node_.read() as session:
                peer = session.get(Peer, getattr(self, "peer_id", ""))
                assert peer is None or peer.status != "active" or peer.last_heartbeat_at is not None

    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def listening(node: Node, *, minutes_ago: float = 60) -> None:
    """Make the node's API look as if it had been listening for so long, and still were."""
    from datetime import timedelta

    from fedtui.core.runtime import daemons

    with node.unit(node.actor("test")) as unit:
        daemons.forget(unit.session, node.holder)
        daemons.register(unit.session, node.holder, url="https://x", operations_url=None, now=unit.now)
        row = unit.session.get(daemons.Daemon, node.holder)
        assert row is not None
        row.listening_since = unit.now - timedelta(minutes=minutes_ago)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"kind": "other"}, "kind_invalid"),
        ({"role": "boss"}, "role_invalid"),
        ({"role": None}, "role_invalid"),
        ({"mode": "x"}, "mode_invalid"),
        ({"url": "ftp://b.example"}, "url_invalid"),
        ({"url": "https://user:pw@b.example"}, "url_invalid"),
        ({"url": "https://b.example:99999"}, "url_invalid"),
        ({"url": "https://b example"}, "url_invalid"),
    ],
)
def test_bad_values_are_named(node: Node, options: dict[str, object], code: str) -> None:
    """A peer with a value outside its list is refused with the field named."""
    with pytest.raises(WrongUsage) as wrong:
        new_peer(node, **{"url": "https://c.example", **options})  # type: ignore[arg-type]
    assert wrong.value.code == code


def test_one_live_peer_per_url_in_any_spelling(node: Node) -> None:
    """A URL is taken whatever its spelling until its peer is revoked."""
    first = new_peer(node, url="https://B.example:443/")
    with pytest.raises(Refused):
        new_peer(node, url="https://b.example")
    put_in(node, first, "revoked")
    assert new_peer(node, url="https://b.example") != first


def test_peers_are_found_by_id_beginning_or_url(node: Node) -> None:
    """PEER is an id, a unique beginning of one, or a URL; anything else says what it may be."""
    first = new_peer(node, url="https://b.example")
    new_peer(node, url="https://c.example")
    with node.read() as session:
        assert peers.find(session, first).id == first
        assert peers.find(session, "https://B.example/").id == first
        with pytest.raises(WrongUsage, match="More than one"):
            peers.find(session, first[:6])
        for nothing in ("", "zzz", "%", "https://nobody.example"):
            with pytest.raises(NotFound):
                peers.find(session, nothing)


def test_an_sdwan_peer_has_no_role(node: Node) -> None:
    """Role and mode belong to platforms only."""
    peer_id = new_peer(node, kind="sdwan_only")
    with node.read() as session:
        peer = peers.get(session, peer_id)
        assert (peer.spawn_role, peer.spawn_mode) == (None, None)
