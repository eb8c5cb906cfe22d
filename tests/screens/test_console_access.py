"""Grants and approvals on the console: what they look like, what their keys do, and twenty requests at speed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_access import Ids, access_node, record_of, request, requests
from fake_node import SEEN, console, in_loop, page, rows, settled, shown, table, trail, type_in, until
from textual.pilot import Pilot
from textual.screen import Screen

from fedtui.app import Console
from fedtui.core.bootstrap import open_node
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.operations.approvals import Approval
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.runtime import settings
from fedtui.core.runtime.actor import Actor
from fedtui.screens.approvals.screen import ApprovalScreen, ApprovalsScreen
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.checked import Checked
from fedtui.screens.grants.screen import GrantScreen, GrantsScreen
from fedtui.screens.widgets.window import Window
from tests.conftest import MakeNode, ManualClock

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
PROPOSE = "system.federation_peer_propose"

LOOKS: dict[str, tuple[str, tuple[str, ...], type[Screen[Any]]]] = {
    "grants": ("grants", ("j",), GrantsScreen),
    "grant": (f"grants/{Ids.sync}", (), GrantScreen),
    "grant-issue-wrong": ("grants", ("i", "text:bravo", "tab", "text:a b", "tab"), Ask),
    "grant-edit-cuts": ("grants", ("j", "E", "tab", "tab", "text:, 192.0.2.0/24"), Ask),
    "grant-revoke": ("grants", ("j", "X"), Ask),
    "grant-why": ("grants", ("j", "w", "tab", "tab", "tab", "tab", "tab", "enter", "enter"), Checked),
    "approvals": ("approvals", (), ApprovalsScreen),
    "approval": (f"approvals/{Ids.revoke}", (), ApprovalScreen),
    "approve-critical": (f"approvals/{Ids.revoke}", ("A",), Ask),
    "approve-several": ("approvals", ("j", "space", "space", "A"), Ask),
    "reject-canned": ("approvals", ("D", "2"), Ask),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKS)
def test_looks(snap_compare: Compare, name: str, size: str) -> None:
    """Each state of the screens of access, at both sizes."""
    place, keys, top = LOOKS[name]
    node = access_node()
    app = console(node, place=place)

    async def go(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await at_place(pilot, place)
        for key in keys:
            await type_in(pilot, key)
            await ready(pilot)
        await until(pilot, lambda: isinstance(app.screen, top))
        await ready(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


async def at_place(pilot: Pilot[None], place: str) -> None:
    """Wait until the place is shown, with its record read."""
    app = pilot.app
    assert isinstance(app, Console)
    await until(pilot, lambda: getattr(app.screen, "place", "").startswith(place))
    if "/" in place:
        await until(pilot, lambda: app.screen._look.record is not None)  # type: ignore[attr-defined]
        await until(pilot, lambda: app.screen.update() or "Used by" in page(pilot) or "Digest" in page(pilot))  # type: ignore[attr-defined]
    else:
        await until(pilot, lambda: app.screen.query_one(Window).has_rows)
    app.screen.update()  # type: ignore[attr-defined]
    await pilot.pause()


async def ready(pilot: Pilot[None]) -> None:
    """Wait until a dialog that opens takes keys, and has weighed what was typed."""
    screen = pilot.app.screen
    if isinstance(screen, Ask):
        await until(pilot, lambda: screen.ready and not screen._weighing)
    await pilot.pause(0.05)


@in_loop
async def test_an_edit_says_what_it_cuts_off_while_it_is_typed() -> None:
    """The words appear as soon as the list would refuse what was used, and go when it would not."""
    node = access_node()
    app = console(node, place="grants")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "grants")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "It cuts off" not in page(pilot)
        await type_in(pilot, "tab", "tab", "text:192.0.2.0/24")
        await until(pilot, lambda: "It cuts off what was used in the last 30 days: 48 x GET" in page(pilot))
        await type_in(pilot, "x")
        await until(pilot, lambda: "cannot stand in an allowlist" in page(pilot))
        assert "It cuts off" not in page(pilot)


@in_loop
async def test_an_edit_that_lifts_a_restriction_says_so() -> None:
    """A list that is emptied opens the grant: that is said before it is confirmed."""
    app = console(access_node(), place=f"grants/{Ids.sync}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"grants/{Ids.sync}")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "opens" not in page(pilot)
        await type_in(pilot, "tab", "tab", "ctrl+u")
        await until(pilot, lambda: "It opens the grant to all addresses." in page(pilot))


@in_loop
async def test_why_names_a_slip_while_it_is_typed() -> None:
    """An address that is none is said beside its field, and is not put through the checks."""
    app = console(access_node(), place=f"grants/{Ids.sync}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"grants/{Ids.sync}")
        await type_in(pilot, "w", "tab", "tab", "tab", "tab", "tab")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "Resource kind" in page(pilot)
        await type_in(pilot, "x")
        await until(pilot, lambda: "source_ip: 'x' will not do." in page(pilot))
        await type_in(pilot, "enter", "enter")
        assert isinstance(app.screen, Ask)


@in_loop
async def test_why_offers_the_change_and_makes_it_when_asked_twice() -> None:
    """The failing check stands out, `f` asks once more, and only then the act goes to the gate."""
    node = access_node()
    app = console(node, place=f"grants/{Ids.sync}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"grants/{Ids.sync}")
        await type_in(pilot, "w", "tab")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "192.0.2.7" in page(pilot), "filled in from the last refusal"
        await type_in(pilot, "tab", "tab", "tab", "tab", "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Checked) and app.screen.ready)
        assert "✗ REFUSED source address" in page(pilot)
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert node.asked == []
        await pilot.press("y")
        await until(pilot, lambda: node.asked)
        assert node.asked[0][0] == "system.federation_grant_edit"


@in_loop
async def test_a_read_only_console_explains_and_changes_nothing() -> None:
    """Looking is free; every key that acts says that the console is read-only."""
    node = access_node()
    app = console(node, place="grants", read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "grants")
        for key in ("i", "E", "n", "X"):
            await pilot.press(key)
            await until(pilot, lambda: "read-only" in page(pilot))
        await pilot.press("3")
        await at_place(pilot, "approvals")
        for key in ("A", "D"):
            await pilot.press(key)
            await until(pilot, lambda: "read-only" in page(pilot))
        assert not isinstance(app.screen, Ask)
        assert node.asked == []


@in_loop
async def test_the_places_are_a_key_apart() -> None:
    """1, 2 and 3 lead to peers, grants and approvals, `-` back, and `:grants ID` to one of them."""
    app = console(access_node())
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("2")
        await at_place(pilot, "grants")
        await pilot.press("3")
        await at_place(pilot, "approvals")
        await pilot.press("minus")
        await at_place(pilot, "grants")
        await type_in(pilot, "colon", f"text:grants {Ids.sync}", "enter")
        await at_place(pilot, f"grants/{Ids.sync}")
        assert "sync@bravo" in trail(pilot)


@in_loop
async def test_requests_of_different_kinds_are_not_approved_together() -> None:
    """Marks over several kinds are refused in a sentence, and nothing is asked."""
    app = console(access_node(), place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "approvals")
        await pilot.press("space", "space", "A")
        await until(pilot, lambda: "Only requests of the same kind are approved together" in page(pilot))
        assert not isinstance(app.screen, Ask)


@in_loop
async def test_ones_own_request_can_be_withdrawn_and_not_decided() -> None:
    """Four eyes and whose request it is are said on the key, before anything is asked."""
    app = console(access_node(), place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "approvals")
        await pilot.press("W")
        await until(pilot, lambda: "Only bob, who asked, can withdraw it" in page(pilot))
        await pilot.press("j", "j", "j", "A")
        await until(pilot, lambda: "Nobody decides their own request" in page(pilot))
        await pilot.press("W")
        await until(pilot, lambda: isinstance(app.screen, Ask))


@in_loop
async def test_a_request_that_went_stale_says_so_before_it_is_approved() -> None:
    """What has changed since it was asked for stands above everything else."""
    node = access_node()
    node.records[Ids.revoke] = record_of(requests()[0], changed="resting was in_service and is suspended")
    app = console(node, place=f"approvals/{Ids.revoke}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"approvals/{Ids.revoke}")
        assert "resting was in_service and is suspended" in page(pilot)


@in_loop
async def test_the_bell_rings_once_for_a_request_that_one_can_decide() -> None:
    """When more wait for this operator than before the terminal is rung, once; not when fewer do."""
    node, rung = access_node(), []
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        app.shared.ring = lambda: rung.append(1)
        for waiting in (1, 1, 0, 2):
            node.seen = replace(SEEN, waiting=waiting)
            node.version += 1
            await until(pilot, lambda: app.shared.overview is node.seen)
        assert len(rung) == 2


@in_loop
async def test_marked_grants_are_renewed_together() -> None:
    """The dialog lists every target, also the one that it is not for, and each of the others is asked for."""
    node = access_node()
    app = console(node, place="grants")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "grants")
        await pilot.press("space", "space", "G", "space", "n")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "Renew 2 grants" in page(pilot)
        assert "Left out, because of their state: gone@hotel" in page(pilot)
        await pilot.press("y")
        await until(pilot, lambda: len(node.asked) == 2)
        assert {action for action, _, _ in node.asked} == {"system.federation_grant_renew"}


@in_loop
async def test_a_restricted_session_ends_with_its_operator() -> None:
    """Removed while the console is open, the operator of a restricted session is shown out."""
    node = access_node()
    app = console(node, restricted=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.seen = replace(SEEN, permissions=frozenset())
        node.version += 1
        await until(pilot, lambda: app._exit)


# --- on the real queue -------------------------------------------------------------------


@pytest.fixture
def as_ben(make_node: MakeNode, clock: ManualClock) -> Iterator[tuple[Node, Callable[..., Console]]]:
    """A node of ada and ben, and a console on it as ben."""
    node = make_node()
    assert isinstance(node.request(ADA, "system.operator_add", {"name": "ben"}), Done)
    opened: list[Console] = []
    bens = settings.load({**os.environ, "FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": "ben"})

    def open_(**options: Any) -> Console:
        app = Console(lambda: open_node(bens, clock=clock), now=clock.now, **options)
        opened.append(app)
        return app

    yield node, open_
    for app in opened:
        app.shared.close()


def asked(node: Node, count: int) -> list[Approval]:
    found = []
    for number in range(count):
        outcome = node.request(ADA, PROPOSE, {"url": f"https://p{number:02d}.example"}, reason=f"number {number}")
        assert isinstance(outcome, Pending)
        found.append(outcome.approval)
    return found


def statuses(node: Node, found: list[Approval]) -> list[str]:
    with node.read() as session:
        return [approvals.find(session, one.id).status for one in found]


@in_loop
async def test_twenty_requests_take_no_more_than_three_keys_each(
    as_ben: tuple[Node, Callable[..., Console]],
) -> None:
    """Opened once, each request is seen in full, approved by two keys, and the next comes up by itself."""
    node, open_ = as_ben
    found = asked(node, 20)
    app, pressed = open_(place="approvals"), 0
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "approvals")
        await pilot.press("enter")
        pressed += 1
        for number in range(20):
            url = f"https://p{number:02d}.example"
            await until(pilot, lambda url=url: url in page(pilot) and not isinstance(app.screen, Ask))  # type: ignore[misc]
            await pilot.press("A")
            await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
            assert url in page(pilot), "the dialog shows what is approved"
            await pilot.press("y")
            pressed += 2
            await until(pilot, lambda number=number: statuses(node, found)[number] == "approved")  # type: ignore[misc]
        await until(pilot, lambda: "That was the last one for you." in page(pilot))
    assert statuses(node, found) == ["approved"] * 20
    assert pressed <= 60


@in_loop
async def test_several_of_a_kind_are_approved_after_one_look_at_all_of_them(
    as_ben: tuple[Node, Callable[..., Console]],
) -> None:
    """Marked requests are listed with all that will happen, and approved by the digests that were shown."""
    node, open_ = as_ben
    found = asked(node, 3)
    app = open_(place="approvals")
    async with app.run_test(size=(120, 40)) as pilot:
        await at_place(pilot, "approvals")
        await pilot.press("space", "space", "space", "A")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert all(f"https://p{number:02d}.example" in page(pilot) for number in range(3))
        assert all(f"digest {one.digest[:8]}" in page(pilot) for one in found)
        await pilot.press("y")
        await until(pilot, lambda: statuses(node, found) == ["approved"] * 3)


@in_loop
async def test_rejecting_takes_a_reason_that_a_digit_can_be(as_ben: tuple[Node, Callable[..., Console]]) -> None:
    """Without a reason it cannot be confirmed; a digit puts one in, Enter confirms it, and the requester reads it."""
    node, open_ = as_ben
    [request] = asked(node, 1)
    app = open_(place=f"approvals/{request.id}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"approvals/{request.id}")
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert app.screen.query_one("#confirm").disabled
        await pilot.press("enter")
        assert isinstance(app.screen, Ask)
        await pilot.press("2", "enter")
        await until(pilot, lambda: statuses(node, [request]) == ["rejected"])
    with node.read() as session:
        assert approvals.find(session, request.id).decision_reason == "wrong target"


@in_loop
async def test_a_request_that_changed_while_it_was_looked_at_is_not_approved(
    as_ben: tuple[Node, Callable[..., Console]],
) -> None:
    """Between the look and the key the target changed: refused as stale, with what has changed."""
    node, open_ = as_ben
    [request] = asked(node, 1)
    app = open_(place=f"approvals/{request.id}")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, f"approvals/{request.id}")
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        with node.unit(ADA) as unit:
            from fedtui.core.peers import peers

            peers.add(unit, url="https://p00.example")
        await pilot.press("y")
        await until(pilot, lambda: "has changed since it was filed" in page(pilot))
        assert statuses(node, [request]) == ["stale"]


@in_loop
async def test_the_clock_is_seen_running_out(as_ben: tuple[Node, Callable[..., Console]], clock: ManualClock) -> None:
    """The time that is left counts down, and past it the request is no longer among the open ones."""
    node, open_ = as_ben
    asked(node, 1)
    app = open_(place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "approvals")
        assert "4:00h" in rows(pilot)[0] or "3:59h" in rows(pilot)[0]
        clock.advance(hours=3, minutes=45)
        await until(pilot, lambda: "15 min" in rows(pilot)[0])
        clock.advance(minutes=15)
        await pilot.press("r")
        await until(pilot, lambda: not table(pilot).has_rows)
        await pilot.press("v", "v", "v")
        await until(pilot, lambda: "timed out" in "".join(rows(pilot)))


@in_loop
async def test_a_lowered_policy_counts_down_in_every_console(
    as_ben: tuple[Node, Callable[..., Console]], clock: ManualClock
) -> None:
    """The band says which policy is lowered, to what, and how long yet; at its end the words go."""
    node, open_ = as_ben
    lower = {"policy_action": PROPOSE, "policy": "notify_and_proceed", "span": "30m", "reason": "fire"}
    node.request(ADA, "system.policy_lower", lower)
    app = open_()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "LOWERED peer_propose to notify 30:00" in shown(pilot)[0])
        clock.advance(minutes=29)
        await until(pilot, lambda: "1:00" in shown(pilot)[0])
        clock.advance(minutes=1)
        await until(pilot, lambda: "LOWERED" not in shown(pilot)[0])


@in_loop
async def test_what_came_to_nothing_is_asked_for_again() -> None:
    """`n` files a request that ended anew, by whoever asks, after a question; for one that waits it says why not."""
    node = access_node()
    ended = request(7, "Propose to peer with https://november.example.org.", status="expired", requested_by="bob")
    node.others["approvals"] = {one.id: one for one in (requests()[1], ended)}
    node.records[ended.id] = record_of(ended)
    app = console(node, place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        await at_place(pilot, "approvals")
        await pilot.press("n")
        await until(pilot, lambda: "This request is pending; this is for one that is expired" in page(pilot))
        await pilot.press("j", "n")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        assert "It is filed anew by you" in page(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, Ask))
        assert node.asked == []
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        await pilot.press("y")
        await until(pilot, lambda: bool(node.asked))
    assert node.asked == [(ended.action, {"again": ended.id}, ended.reason)]
