"""Home on the console: what it says when all is well and when it is not, where its lines lead, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fake_access import requests
from fake_node import CALM, NOW, SEEN, FakeNode, console, in_loop, page, peer, shown, until, zoo
from fake_record import findings
from test_console_certs import certs
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.bootstrap import open_node
from fedtui.core.certificates.listing import Urgent
from fedtui.core.diagnosis.alerts import Alerts
from fedtui.core.diagnosis.dashboard import BUCKETS, Dashboard, Denials, Late
from fedtui.core.errors import Unusable
from fedtui.core.grants import decisions
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.peers.listing import urgency
from fedtui.core.runtime.clock import Clock
from fedtui.screens.home.screen import AS_IT_WAS, HomeScreen, lay_out
from fedtui.screens.home.view import ALERTS, ALL_WELL, Section, Spot, headline, sections
from fedtui.screens.peers.screen import PeerScreen, PeersScreen
from fedtui.screens.shell.data_freshness import DataFreshness
from fedtui.screens.widgets.columns import Cell
from fedtui.screens.widgets.spark import BARS, spark

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
DECISION = "01950000-0000-7000-a000-000000000001"


def incident(number: int, title: str, outcome: str | None = None) -> dict[str, Any]:
    """An incident as Home needs it."""
    opened = NOW - timedelta(minutes=4 * number)
    return {
        "id": f"01950000-0000-7000-c000-{number:012d}",
        "title": title,
        "owner": "bob",
        "outcome": outcome,
        "opened_at": opened,
    }


def busy() -> Dashboard:
    """A little of everything that can be wrong."""
    sick = [one for one in zoo() if one.status == "degraded" or one.drill_mode or one.last_outbound_error]
    beats = [10.0] * 20 + [None, None, 10.0, 9.5, 9.0, 8.0, 8.0, 7.0, 7.0, 7.0]
    return replace(
        CALM,
        peers={"proposed": 2, "accepted": 1, "active": 9, "degraded": 1, "suspended": 1},
        troubled=tuple(sorted(sick, key=urgency)),
        troubled_count=3,
        approvals=tuple(one for one in requests() if one.status == "pending" and one.requested_by == "bob"),
        approvals_open=5,
        approvals_for_me=3,
        certificates=tuple(certs()[:5]),
        urgent=Urgent(2, 1, 6),
        incidents=(incident(1, "A peer was active and is degraded"), incident(9, "Approval timed out", "fixed")),
        incidents_open=1,
        findings=tuple(one for one in findings() if one.state == "open"),
        findings_open={"critical": 1, "high": 1, "medium": 1, "low": 4},
        heartbeats=tuple(beats),
        heard=7,
        denials=Denials((0,) * (BUCKETS - 3) + (1, 0, 12), 13, "source_ip_not_allowed", DECISION),
    )


def broken() -> FakeNode:
    """A node in trouble of every sort."""
    made = FakeNode(zoo())
    lowered = (("system.federation_peer_revoke", "notify_and_proceed", NOW + timedelta(minutes=21)),)
    made.seen = replace(
        SEEN, manager_paused=True, waiting=3, lowered=lowered, recovered=("carol",), notices_failing=2, drill_mode=True
    )
    late = (Late("sdwan_manager", NOW - timedelta(minutes=9), None),)
    made.glance = replace(busy(), paused_by="operator bob", late=late)
    return made


def busy_node() -> FakeNode:
    """A node whose own jobs run, with peers and requests that need somebody."""
    made = FakeNode(zoo())
    made.seen, made.glance = replace(SEEN, waiting=3), busy()
    return made


def no_daemon() -> FakeNode:
    """A node that nothing serves."""
    made = FakeNode(zoo()[:2])
    made.seen = replace(SEEN, daemons=0)
    made.glance = replace(CALM, lease_holder=None, heard=None, heartbeats=(None,) * BUCKETS, peers={})
    return made


NODES: dict[str, Callable[[], FakeNode]] = {
    "home-calm": lambda: FakeNode(zoo()[:2]),
    "home-busy": busy_node,
    "home-broken": broken,
    "home-no-daemon": no_daemon,
}


async def home(pilot: Pilot[None]) -> HomeScreen:
    """Go home, and wait until something stands there."""
    app = pilot.app
    assert isinstance(app, Console)
    if not isinstance(app.screen, HomeScreen):
        await until(pilot, lambda: app.shared.overview)
        await pilot.press("0")
    await until(pilot, lambda: isinstance(app.screen, HomeScreen) and app.screen._found)
    await until(pilot, lambda: app.shared.overview)
    assert isinstance(app.screen, HomeScreen)
    app.screen.update()
    await pilot.pause()
    return app.screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", NODES)
def test_looks(snap_compare: Compare, state: str, size: str) -> None:
    """What is wrong and what waits is seen in one glance, or said to be nothing, in words."""
    app = console(NODES[state]())
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)

    async def go(pilot: Pilot[None]) -> None:
        await home(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


@pytest.mark.parametrize("variable", ["NO_COLOR", "LANG"])
def test_looks_home_without_colour_and_without_glyphs(
    snap_compare: Compare, terminal: Callable[..., None], variable: str
) -> None:
    """Without colour, or without UTF-8, it can be read just the same, bars too."""
    terminal(**{variable: {"NO_COLOR": "1", "LANG": "C"}[variable]})
    app = console(busy_node())
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)

    async def go(pilot: Pilot[None]) -> None:
        await home(pilot)

    assert snap_compare(app, terminal_size=(80, 24), run_before=go)


def test_all_is_well_only_where_it_is() -> None:
    """The words that all is well stand there when nothing is wrong and nothing waits, and never else."""
    checked = "2 peers, 4 certificates, 0 requests checked 12:00"
    assert headline(SEEN, CALM).text == f"● {ALL_WELL}; {checked}."
    denied = headline(SEEN, replace(CALM, denials=Denials(count=2, newest="d"))).text
    assert denied == f"● {ALL_WELL}; {checked}; 2 calls denied within the hour."
    ended = headline(SEEN, replace(CALM, not_done=1)).text
    assert ended == f"● {ALL_WELL}; {checked}; 1 request failed or timed out within the day."
    for seen, found in (
        (replace(SEEN, daemons=0), CALM),
        (replace(SEEN, manager_paused=True), CALM),
        (replace(SEEN, notices_failing=1), CALM),
        (replace(SEEN, lowered=(("a", "notify_and_proceed", NOW),)), CALM),
        (replace(SEEN, recovered=("carol",)), CALM),
        (SEEN, replace(CALM, approvals_for_me=1)),
        *(
            (SEEN, replace(CALM, alerts=(Alerts(sort, 1, (("peer", "p", "https://b.example", None),)),)))
            for sort in ALERTS
        ),
        (SEEN, replace(CALM, late=(Late("sdwan_manager", None, None),))),
        (SEEN, replace(CALM, peers={"degraded": 1}, troubled_count=1)),
        (SEEN, replace(CALM, troubled_count=1)),
        (SEEN, replace(CALM, urgent=Urgent(1, 0, 0))),
        (SEEN, replace(CALM, urgent=Urgent(0, 1, 0))),
        (SEEN, replace(CALM, incidents_open=1)),
        (SEEN, replace(CALM, undecidable=1)),
        (SEEN, replace(CALM, findings_open={"critical": 0, "high": 1})),
    ):
        assert f"● {ALL_WELL}" not in headline(seen, found).text, (seen, found)


def test_counts_are_of_all_and_not_of_a_page() -> None:
    """Headline, heading and remark tell the same number of requests, however few of them the lists hold."""
    found = replace(CALM, approvals=busy().approvals[:2], approvals_for_me=14, approvals_open=20)
    [heading] = [one.head for one in sections(SEEN, found, NOW) if one.head.label == "Approvals"]
    assert "14 requests wait for you" in headline(SEEN, found).text
    assert [cell.text for cell in heading.cells] == ["○ 14 for you", "6 other"]


def test_each_sort_of_alert_is_named_and_leads_to_its_record() -> None:
    """A clock ahead, a refused newcomer, denied calls: each is in the headline and on a line of its own."""
    found = replace(
        CALM,
        alerts=(
            Alerts("clock", 1, (("peer", "p-1", "https://b.example", 600.0),)),
            Alerts("denied", None, (("decision", "d-1", "GET doc from https://c.example", None),)),
        ),
    )
    assert headline(SEEN, found).text == "▲ 1 peer with a clock difference, calls denied."
    [alerts] = [one for one in sections(SEEN, found, NOW) if one.head.label == "Alerts"]
    assert [(spot.leads_to, spot.cells[-1].text) for spot in alerts.spots] == [
        ("peers/p-1", "clock 600 s ahead"),
        ("playbook/decision:d-1", "denied"),
    ]


def test_a_long_list_leaves_room_for_the_others() -> None:
    """Where not all lines fit, every heading stays, and each section keeps its first lines."""
    long = Section(Spot("a", (), "A"), tuple(Spot(f"a/{n}", ()) for n in range(50)))
    short = Section(Spot("b", (), "B"), tuple(Spot(f"b/{n}", ()) for n in range(2)))
    lines = [one.leads_to for one in lay_out([long, short], 9) if one is not None]
    assert lines == ["a", *(f"a/{n}" for n in range(5)), "b", "b/0", "b/1"]


def test_bars_tell_nothing_from_little_and_from_unknown() -> None:
    """Zero, a little, the most and what nobody counted differ, in UTF-8 and in ASCII."""
    assert spark([0, 1, 1000, None]) == BARS[0] + BARS[1] + BARS[-1] + " "
    assert spark([]) == ""
    assert spark([5], most=10) == BARS[4]


@in_loop
async def test_the_console_opens_with_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Home is what comes first; from there a key leads to the peers, and another back."""
    monkeypatch.setattr(Console, "DEFAULT_MODE", "home")
    app = console(busy_node())
    async with app.run_test(size=(80, 24)) as pilot:
        await home(pilot)
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, PeersScreen))
        await pilot.press("minus")
        await until(pilot, lambda: isinstance(app.screen, HomeScreen))
        app.screen.go("home/nobody")
        await until(pilot, lambda: "There is no place home/nobody" in page(pilot))
    app.shared.close()


@pytest.mark.parametrize("place", ["home", "peers"])
@in_loop
async def test_what_to_do_is_in_sight(place: str) -> None:
    """Also where a server's reason for not answering takes several lines at 80x24."""
    said = 'connection failed: connection to server at "db.example.com" (192.0.2.7), port 5432 failed: no answer.'
    fix = "See that its server runs, has that database and lets this account in; in a URL, an @ and a : are %40 %3A."
    app = console(broken(), place=place)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "bravo" in page(pilot))
        app.shared.pulse.miss(Unusable("The node's database did not answer.", cause=f"{said} Does it run?", fix=fix))
        app.screen.update()
        await until(pilot, lambda: "are %40 %3A." in page(pilot))
        assert "did not answer" in page(pilot)
    app.shared.close()


def test_a_node_in_quarantine_is_not_well() -> None:
    """It is named first in the headline, and leads to the wizard."""
    seen = replace(SEEN, quarantined=True)
    assert "in quarantine" in headline(seen, CALM).text
    [node, *_] = sections(seen, CALM, NOW)
    assert [spot.leads_to for spot in node.spots] == ["playbook/stuck_accepted"]


@in_loop
async def test_what_cannot_be_read_is_not_said_to_be_well() -> None:
    """A database that hangs, without an error yet: as soon as the band says STALE the headline no longer says that
    nothing is wrong."""
    app = console(FakeNode([]))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await home(pilot)
        assert ALL_WELL in page(pilot)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DataFreshness, "age", property(lambda _pulse: 60.0))
            screen.update()
            assert "STALE 60 s" in shown(pilot)[0]
            assert ALL_WELL not in page(pilot)
            assert AS_IT_WAS in page(pilot)
    app.shared.close()


@in_loop
async def test_every_line_leads_to_its_place() -> None:
    """Enter on each of the lines comes to a screen of the place that the line names, and back again by a key."""
    app = console(broken(), read_only=True)
    async with app.run_test(size=(80, 60)) as pilot:
        screen = await home(pilot)
        await pilot.press("g")
        for number, spot in enumerate(screen._spots):
            await pilot.press(*"j" * (number > 0), "enter")
            await until(pilot, lambda spot=spot: getattr(app.screen, "place", "") == spot.leads_to)
            await pilot.press("0")
            await until(pilot, lambda: app.screen is screen)
    app.shared.close()


@in_loop
async def test_the_picked_line_stays_with_what_it_is_about() -> None:
    """When other lines come above it, the picked one is still the same peer; when that is well again, its neighbour."""
    node = busy_node()
    node.glance = replace(busy(), troubled=(peer(2, "https://charlie.example.org", "degraded"),))
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await home(pilot)
        place = next(n for n, one in enumerate(screen._spots) if one.leads_to.startswith("peers/"))
        await pilot.press(*"j" * place)
        first = peer(1, "https://bravo.example.org", "degraded")
        node.glance = replace(node.glance, troubled=(first, *node.glance.troubled))
        node.version += 1
        await until(pilot, lambda: "bravo" in page(pilot))
        assert screen._spots[screen._at].leads_to == f"peers/{peer(2).id}"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PeerScreen))
    app.shared.close()


@in_loop
async def test_the_doctor_begins_with_the_picked_line() -> None:
    """`d` on a peer begins with that peer, on a heading with everything."""
    app = console(busy_node())
    gone: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await home(pilot)
        screen.go = gone.append  # type: ignore[method-assign]
        await pilot.press("d")
        place = next(n for n, one in enumerate(screen._spots) if one.leads_to.startswith("peers/"))
        await pilot.press(*"j" * place, "d")
        assert gone == ["playbook/everything", f"playbook/peer:{screen._spots[place].leads_to[6:]}"]
    app.shared.close()


@in_loop
async def test_a_read_that_fails_is_said_and_nothing_is_called_well() -> None:
    """Where the data cannot be read, the reason stands there, and never that nothing is wrong."""
    node = FakeNode(zoo()[:2])
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        await home(pilot)
        assert ALL_WELL in page(pilot)
        node.broken = OSError("disk I/O error")
        await until(pilot, lambda: "disk I/O error" in page(pilot) and "STALE" in shown(pilot)[0])
        assert ALL_WELL not in page(pilot)
        node.broken = None
        await until(pilot, lambda: ALL_WELL in page(pilot))
    app.shared.close()


@in_loop
async def test_a_tick_without_a_change_paints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bringing the screen up to date again asks the terminal for nothing."""
    app = console(busy_node())
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await home(pilot)
        painted: list[Any] = []
        for block in screen.query("Lines"):
            monkeypatch.setattr(block, "refresh", lambda *args, **options: painted.append((args, options)))
        for _ in range(3):
            screen.update()
        assert painted == []
    app.shared.close()


@in_loop
async def test_home_on_a_real_node(node: Node, clock: Clock) -> None:
    """A real node's own records stand there: no daemon, a peer that is degraded, a request, a refused call."""
    ben = node.actor("test")
    with node.unit(ben) as unit:
        first = peers.add(unit, url="https://bravo.example").id
        peers.add(unit, url="https://charlie.example")
        for status in ("accepted", "enrolled"):
            peers.move(unit, first, status)
        peers.move(unit, first, "active", last_heartbeat_at=unit.now - timedelta(minutes=20))
        peers.move(unit, first, "degraded")
        decisions.store_handshake(unit, code="cert_expired", detail="it is past its end", source_ip="192.0.2.7")
    node.request(ben, "system.federation_peer_propose", {"url": "https://delta.example", "role": "symmetric"})
    app = Console(lambda: open_node(node.settings, clock=clock), now=clock.now)
    async with app.run_test(size=(120, 40)) as pilot:
        await home(pilot)
        seen = page(pilot)
        for said in (
            "No daemon runs",
            "1 peer degraded",
            "▲ 1 degraded",
            "bravo.example silent for 20 min",
            "● none for you",
            "1 for others",
            "1 this hour",
            "the newest: cert_expired",
            "● none open",
        ):
            assert said in seen, said
    app.shared.close()


def test_sections_say_what_is_theirs() -> None:
    """Every count and line of the glance stands in its section, with its clock."""
    told = {one.head.label: one for one in sections(broken().seen, broken().glance, NOW)}
    assert [cell.text for cell in told["Approvals"].head.cells] == ["○ 3 for you", "2 other"]
    assert told["Approvals"].spots[0].cells[0] == Cell("12 min", "bad")
    stuck = {one.head.label: one for one in sections(SEEN, replace(CALM, undecidable=1, approvals_open=1), NOW)}
    assert stuck["Approvals"].spots == (
        Spot("playbook/approval_blocked", (Cell("▲ 1 that nobody can decide", "bad"),)),
    )
    assert [spot.leads_to.partition("/")[0] for spot in told["mTLS"].spots] == ["certs"] * 5
    assert told["Denials"].spots[0].leads_to == f"playbook/decision:{DECISION}"
    assert told["Denials"].head.leads_to == f"playbook/decision:{DECISION}"
    assert "last run 9 min ago" in str(told["Node"].spots)
    assert [cell.text for cell in told["Governance"].head.cells] == [
        "■ 1 critical",
        "▲ 1 high",
        "○ 1 medium",
        "· 4 low",
    ]
    assert [spot.cells[0].text for spot in told["Governance"].spots] == ["■ critical", "▲ high", "○ medium"]
