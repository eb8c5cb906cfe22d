"""Events and Governance on the console: the tail and its pause, ways on from a line, acknowledging, scanning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fake_node import NOW, console, in_loop, page, shown, trail, type_in, until
from fake_record import PEER, REQUEST, events, findings, record_node
from textual.pilot import Pilot
from textual.screen import Screen

from fedtui.app import Console
from fedtui.core.audit import listing as event_listing
from fedtui.core.audit.events import emit
from fedtui.core.bootstrap import open_node
from fedtui.core.errors import Refused
from fedtui.core.governance import findings as core_findings
from fedtui.core.governance import listing as finding_listing
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.runtime.clock import Clock
from fedtui.core.views.node_summary import EventRecord
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Shown, Told
from fedtui.screens.events.screen import EventScreen, EventsScreen
from fedtui.screens.events.view import describe_record, leads_to
from fedtui.screens.governance.screen import FindingScreen, FindingsScreen
from fedtui.screens.peers.screen import PeerScreen
from fedtui.screens.shell.commands import key_of
from fedtui.screens.shell.data_freshness import DataFreshness
from fedtui.screens.widgets.window import Window

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
LOOKS: dict[str, tuple[str, tuple[str, ...], type[Screen[Any]]]] = {
    "events": ("events", (), EventsScreen),
    "event": (f"events/{events()[3].id}", (), EventScreen),
    "governance": ("governance", (), FindingsScreen),
    "finding": (f"governance/{findings()[1].id}", (), FindingScreen),
    "governance-acknowledge": ("governance", ("a", "text:their contact is on holiday", "tab"), Ask),
}


async def at(pilot: Pilot[None], place: str) -> Any:
    """Wait until the place is shown and read; its screen."""
    app = pilot.app
    await until(pilot, lambda: getattr(app.screen, "place", "").startswith(place))
    screen: Any = app.screen
    if "/" in place:
        await until(pilot, lambda: screen._look.line is not None)
    else:
        await until(pilot, lambda: screen.query_one(Window).has_rows)
    await until(pilot, lambda: app.shared.overview is not None)  # type: ignore[attr-defined]
    screen.update()
    await pilot.pause()
    return screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", LOOKS)
def test_looks(snap_compare: Compare, state: str, size: str) -> None:
    """What happened and what was found tell their severity by glyph and word, and what can be done about them."""
    place, keys, top = LOOKS[state]
    app = console(record_node(), place=place)
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)

    async def go(pilot: Pilot[None]) -> None:
        await at(pilot, place)
        await type_in(pilot, *keys)
        await until(pilot, lambda: isinstance(app.screen, top) and getattr(app.screen, "ready", True))

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


def test_an_event_leads_to_the_most_particular_thing() -> None:
    """A request before the peer it is about, and nowhere where there is nothing."""
    assert [leads_to(one) for one in events()] == [
        f"peers/{PEER}",
        f"approvals/{REQUEST}",
        "",
        "certs/6f0a11c2d3e4",
        "playbook/i-1",
        f"peers/{PEER}",
    ]


@in_loop
async def test_ways_on_from_an_event() -> None:
    """`o` goes to what it is about, from list and detail, or says that it is about nothing; `d` begins the doctor."""
    app = console(record_node(), place="events")
    gone: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await at(pilot, "events")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, PeerScreen))
        await pilot.press("6", "enter")
        detail = await at(pilot, "events/")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, PeerScreen))
        await pilot.press("6")
        await until(pilot, lambda: app.screen is screen)
        assert detail is not screen
        screen.go = gone.append
        await pilot.press("d", "j", "d")
        await until(pilot, lambda: len(gone) == 2)
        await pilot.press("j", "o")
        await until(pilot, lambda: "about nothing that has a place" in page(pilot))
        assert gone == [f"playbook/peer:{PEER}", f"playbook/approval:{REQUEST}"]
    app.shared.close()


@in_loop
async def test_the_same_act_is_shown_in_the_list() -> None:
    """`C` filters by the correlation, from the list and from the detail; Esc takes the filter away."""
    app = console(record_node(), place="events")
    async with app.run_test(size=(120, 30)) as pilot:
        await at(pilot, "events")
        wanted = f"/correlation:{events()[0].correlation_id}"
        await pilot.press("C")
        await until(pilot, lambda: wanted in trail(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: wanted not in trail(pilot))
        await pilot.press("enter")
        await at(pilot, "events/")
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, EventsScreen) and wanted in trail(pilot))
    app.shared.close()


@in_loop
async def test_acknowledging_asks_for_a_reason_and_a_time() -> None:
    """Acknowledging sends reason and time; a gone finding is refused before anything is asked."""
    node = record_node()
    app = console(node, place="governance")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "governance")
        await type_in(pilot, "a", "text:on holiday", "tab", "right", "tab", "tab", "enter")
        await until(pilot, lambda: "acknowledged" in page(pilot) and node.asked)
        assert node.asked == [("acknowledge", {"id": findings()[0].id, "span": timedelta(days=30)}, "on holiday")]
        await pilot.press("G", "a")
        await until(pilot, lambda: "This finding is gone" in page(pilot))
        assert len(node.asked) == 1
        node.refuses = Refused("alice may not.", cause="She lacks a permission.", fix="Ask bob.")
        await type_in(pilot, "g", "a", "text:on holiday", "tab", "tab", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, Told) and "She lacks a permission." in page(pilot))
    app.shared.close()


@in_loop
async def test_settling_and_scanning() -> None:
    """`o` goes where the rule says that it is settled; a scan tells what it came to; read-only, there is none."""
    for read_only in (False, True):
        node = record_node()
        app = console(node, place="governance", read_only=read_only)
        async with app.run_test(size=(80, 24)) as pilot:
            await at(pilot, "governance")
            await pilot.press("n")
            said = "This console is read-only." if read_only else "Scanned: 1 new, 2 gone, 3 open."
            await until(pilot, lambda said=said: said in page(pilot))
            assert len(node.asked) == (0 if read_only else 1)
            await pilot.press("o")
            await until(pilot, lambda app=app: isinstance(app.screen, PeerScreen))
        app.shared.close()


def tell(node: Node, *kinds: str, **fields: Any) -> None:
    """Something happens."""
    for kind in kinds:
        with node.unit(node.actor("test")) as unit:
            emit(unit, kind, source="test", **fields)


def opened(node: Node, clock: Clock, place: str, **options: Any) -> Console:
    """A console on a node's database, through a connection of its own."""
    return Console(lambda: open_node(node.settings, clock=clock), now=clock.now, place=place, **options)


def kinds(pilot: Pilot[None]) -> list[str]:
    """What the rows of the Events screen say happened."""
    place = pilot.app.screen.query_one(Window).region
    return [line.split()[3] for line in shown(pilot)[place.y + 1 : place.bottom] if line.strip()]


@in_loop
async def test_the_tail_of_a_real_node(node: Node, clock: Clock) -> None:
    """What is committed elsewhere comes in on top within a second, with the cursor on the newest; paused, nothing
    comes in, however one moves, and what came is counted; resumed, it is all there."""
    app = opened(node, clock, "events")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await at(pilot, "events")
        tell(node, "federation.peer.proposed")
        await until(pilot, lambda: kinds(pilot)[0] == "peer.proposed")
        assert screen._table.current.kind == "federation.peer.proposed"
        await pilot.press("z")
        await until(pilot, lambda: "PAUSED, 0 came meanwhile" in trail(pilot))
        tell(node, "federation.peer.revoked", "federation.peer.accepted")
        await until(pilot, lambda: "PAUSED, 2 came meanwhile" in trail(pilot))
        await pilot.press("G", "g")
        await pilot.pause(0.6)
        assert kinds(pilot)[0] == "peer.proposed"
        await pilot.press("z")
        await until(pilot, lambda: kinds(pilot)[:2] == ["peer.accepted", "peer.revoked"])
        assert "PAUSED" not in trail(pilot)
        await pilot.press("j")
        tell(node, "federation.peer.enrolled")
        await until(pilot, lambda: kinds(pilot)[0] == "peer.enrolled")
        assert screen._table.current.kind == "federation.peer.revoked"
    app.shared.close()


@in_loop
async def test_only_the_graver_and_only_one_column_of_a_real_node(node: Node, clock: Clock) -> None:
    """`v` leaves what is so grave or graver; a filter may name the column; both say so above the table."""
    tell(node, "federation.peer.proposed", "federation.peer.suspended", "federation.peer.revoked")
    tell(node, "system.operator.recovered")
    app = opened(node, clock, "events")
    async with app.run_test(size=(80, 24)) as pilot:
        await at(pilot, "events")
        await pilot.press("v", "v")
        await until(pilot, lambda: kinds(pilot)[:2] == ["system.operator.recovered", "peer.revoked"])
        assert "high or graver" in trail(pilot)
        await pilot.press("v", "v")
        await type_in(pilot, "slash", "text:kind:suspended severity:medium", "enter")
        await until(pilot, lambda: kinds(pilot) == ["peer.suspended"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EventScreen) and "Correlation" in page(pilot))
    app.shared.close()


def test_filters_of_the_listing_agree_with_a_plain_look(node: Node) -> None:
    """Severity, the held end and named columns leave what they should, counted and paged alike."""
    tell(node, "federation.peer.proposed", "federation.peer.suspended", "federation.peer.revoked", peer_id=None)
    with node.read() as session:
        everything = event_listing.page(session, limit=100)
        for options, keep in (
            ({"least": "high"}, lambda one: one.severity in ("high", "critical")),
            ({"until": everything[2].id}, lambda one: one.id <= everything[2].id),
            ({"text": "source:test"}, lambda one: one.source == "test"),
            ({"text": "source:test", "invert": True}, lambda one: one.source != "test"),
            ({"text": "kind:revoked severity:low"}, lambda one: False),
            ({"text": "kind:peer severity:low"}, lambda one: "peer" in one.kind and one.severity == "low"),
            ({"text": "nonsense:test"}, lambda one: False),
            (
                {"text": f"correlation:{everything[0].correlation_id}"},
                lambda one: one.correlation_id == everything[0].correlation_id,
            ),
        ):
            wanted = [one for one in everything if keep(one)]  # type: ignore[no-untyped-call]
            assert event_listing.page(session, limit=100, **options) == wanted, options  # type: ignore[arg-type]
            assert event_listing.count(session, **options) == len(wanted)  # type: ignore[arg-type]
            for number, one in enumerate(wanted):
                assert event_listing.rank(session, (one.id,), **options) == number  # type: ignore[arg-type]
                assert event_listing.one(session, one.id, **options) == one  # type: ignore[arg-type]


@in_loop
async def test_governance_on_a_real_node(node: Node, clock: Clock) -> None:
    """A scan from the console finds what is there; acknowledging moves it to its own view, in which it stands with
    its reason; the report names it."""
    with node.unit(node.actor("test")) as unit:
        one = peers.add(unit, url="https://bravo.example").id
        peers.move(unit, one, "accepted")
    app = opened(node, clock, "governance")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "No findings here." in page(pilot))
        await pilot.press("n")
        await until(pilot, lambda: "Scanned: 1 new" in page(pilot))
        await at(pilot, "governance")
        assert "○ medium" in page(pilot)
        await type_in(pilot, "a", "text:they are on it", "tab", "tab", "tab", "enter")
        await until(pilot, lambda: "No findings here." in page(pilot))
        await pilot.press("v")
        await until(pilot, lambda: "they are on it (ada)" in page(pilot))
        assert "acknowledged" in trail(pilot)
        await pilot.press("v")
        await until(pilot, lambda: "No findings here." in page(pilot))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Shown) and "# Governance of alpha" in page(pilot))
    app.shared.close()
    with node.read() as session:
        [line] = finding_listing.page(session, now=clock.now(), state=core_findings.ACKNOWLEDGED)
        assert (line.acknowledged_by, line.acknowledged_until) == ("ada", clock.now() + timedelta(days=7))
        assert finding_listing.count(session, now=clock.now(), state=core_findings.OPEN) == 0


def test_what_is_not_shown_of_an_act_is_a_key_away() -> None:
    """Where an act caused more than is listed, the key that lists it all is named as it is on this console."""
    told = [one.text for one in describe_record(EventRecord([], more=True), NOW)]
    assert told[-1] == f"  and more: {key_of('same-act')} shows them all"
    assert key_of("same-act") == "C"
