"""Refused callers on record: bounded for each address block and in all, with what is about peers apart."""

from __future__ import annotations

import pytest

from fedtui.core.audit.events import recent
from fedtui.core.grants import decisions
from fedtui.core.grants.decisions import Decision, Recorder
from fedtui.core.node import Node
from fedtui.core.protocol import refusals
from fedtui.core.protocol.refusals import OF_STRANGERS, PER_BLOCK, PER_PEER, Refusal, Refusals
from fedtui.core.runtime.rate_limit import Budget, TokenBuckets, block_key
from fedtui.core.runtime.types import new_id
from tests.conftest import MakeNode

UNKNOWN = Refusal(None, None, "token_unknown", "not recognized", "https://x.example")


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def address(number: int) -> str:
    return f"10.{number // 250 // 250}.{number // 250 % 250}.{number % 250}"


def test_a_flood_of_strangers_leaves_few_events() -> None:
    """Thousands of refusals from thousands of addresses: some events in full, and one count of all others."""
    time = Time()
    kept = Refusals(clock=time)
    in_full = sum(kept.admits(UNKNOWN, address(number * 250)) for number in range(5000))
    assert in_full == OF_STRANGERS
    time.now = 61
    assert kept.over() == {UNKNOWN._replace(url=None): (5000 - in_full, refusals.MOST_BLOCKS)}
    assert kept.over() == {}


def test_one_block_of_addresses_has_its_share() -> None:
    """256 addresses of a /24, each with other words, have no more events than one host may have."""
    kept = Refusals(clock=Time())
    causes = [UNKNOWN._replace(cause=f"cause {number}") for number in range(50)]
    assert sum(kept.admits(one, f"10.0.0.{number}") for number in range(4) for one in causes) == PER_BLOCK
    assert kept.admits(UNKNOWN, "10.0.1.1")


def test_strangers_leave_room_for_what_is_about_peers() -> None:
    """While strangers flood, a refusal that concerns a peer on record stands in full; each peer has its own share."""
    kept = Refusals(clock=Time())
    for number in range(1000):
        kept.admits(UNKNOWN, address(number * 250))
    for peer in ("p1", "p2"):
        about = [UNKNOWN._replace(peer_id=peer, cause="token_mistyped", token_id=str(one)) for one in range(30)]
        assert sum(kept.admits(one, "10.9.9.9") for one in about) == PER_PEER


def test_the_same_again_is_counted_and_memory_is_bounded() -> None:
    """One event a minute for the same; kinds beyond a number are counted together."""
    time = Time()
    kept = Refusals(clock=time)
    assert [kept.admits(UNKNOWN, "10.0.0.1") for _ in range(4)] == [True, False, False, False]
    for number in range(10_000):
        kept.admits(UNKNOWN._replace(cause=f"cause {number}"), "10.0.0.1")
    counted = kept.over(all_=True)
    assert len(counted) <= refusals.MOST_COUNTED + 1
    assert sum(times for times, _ in counted.values()) >= 10_000 - OF_STRANGERS
    assert counted[UNKNOWN._replace(url=None)] == (3, 1)


def test_an_event_of_a_refusal_is_small(node: Node) -> None:
    """However long what the caller sent, its event has some hundred bytes; the count says how often and from where."""
    with node.unit(node.actor("test")) as unit:
        refusals.record(unit, UNKNOWN._replace(url="https://" + "x" * 2000, answered="y" * 3000))
        refusals.record_counted(unit, {UNKNOWN: (7, 3)})
    with node.read() as session:
        count, full = recent(session, kind=refusals.KIND)
    assert len(str(full.payload)) < 600
    assert (count.payload["times"], count.payload["address_blocks"]) == (7, 3)


def test_blocks_of_addresses() -> None:
    """A /24 of IPv4, a /48 of IPv6; what is no address is its own."""
    assert block_key("192.0.2.77") == block_key("::ffff:192.0.2.1") == "192.0.2.0/24"
    assert block_key("2001:db8:1:2::3") == "2001:db8:1::/48"
    assert block_key("") == ""


# --- decisions ---------------------------------------------------------------------------


def test_strangers_do_not_use_up_what_is_kept_for_peers() -> None:
    """However many decisions strangers make, those about a peer are kept."""
    recorder = Recorder(clock=Time())
    kept = sum(recorder.admits(address(one), address=address(one * 250)) for one in range(2000))
    assert kept == decisions.OF_STRANGERS
    assert sum(recorder.admits(f"10.0.0.{one}", address=f"10.0.0.{one}") for one in range(200)) == 0
    assert recorder.admits("peer")


def test_no_caller_pushes_out_what_is_about_another(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many decisions, those go that strangers or one loud peer have left; a quiet peer's stays."""
    for name, most in (("MOST_KEPT", 30), ("MOST_OF_STRANGERS", 5), ("MOST_OF_PEER", 10)):
        monkeypatch.setattr(decisions, name, most)
    node = make_node()
    with node.unit(node.actor("test")) as unit:
        for peer_id, count in (("quiet", 1), ("loud", 40), (None, 40)):
            for _ in range(count):
                unit.session.add(
                    Decision(
                        id=new_id(),
                        at=unit.now,
                        call="heartbeat",
                        allowed=False,
                        code="x",
                        status=401,
                        answered="x",
                        peer_id=peer_id,
                        grant_id=None,
                        context={},
                        checks=[],
                        times=1,
                        last_at=unit.now,
                    )
                )
            unit.session.flush()
        # Ids that are made by the machine's clock, while the node's is another.
        decisions.prune(unit.session, unit.now.replace(year=1990))
        left = [row.peer_id for row in decisions.listing(unit.session, limit=1000)]
    assert (left.count("quiet"), left.count("loud"), left.count(None)) == (1, 10, 5)


# --- budgets -----------------------------------------------------------------------------


def test_a_budget_is_owed_and_comes_back() -> None:
    """What something has cost is taken afterwards; who owes waits, and nobody else does."""
    time = Time()
    budget = Budget(6, 1000, clock=time)
    assert budget.owed("a") == 0
    budget.charge("a", seconds=6.5)
    assert 4 < budget.owed("a") < 6
    assert budget.owed("b") == 0
    budget.charge("b", size=10**9)
    assert 59 < budget.owed("b") < 61  # never more than one filling
    time.now = 61
    assert budget.owed("a") == budget.owed("b") == 0


def test_a_bucket_that_is_only_charged_refuses_after_its_filling() -> None:
    """Ten wrong guesses a minute: the eleventh waits."""
    tries = TokenBuckets(10, 10, clock=Time())
    for _ in range(10):
        assert tries.owed("a", 1) == 0
        tries.charge("a", 1)
    assert tries.owed("a", 1) > 0
