"""The Peers screen on a real node: its database, its listing, and what other processes commit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from fake_node import cursor_url, in_loop, page, rows, settled, shown, table, trail, type_in, until
from sqlalchemy import insert
from textual import events

from fedtui.app import Console
from fedtui.core.bootstrap import open_node
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import settings
from fedtui.core.runtime.clock import Clock
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Secret
from fedtui.screens.shell.sources import RecordsSource
from fedtui.screens.widgets.reading import Query, Want, look


def add(node: Node, *urls: str) -> list[str]:
    """Propose peers; their ids."""
    with node.unit(node.actor("test")) as unit:
        return [peers.add(unit, url=url).id for url in urls]


def fill(node: Node, count: int) -> None:
    """Put so many peers into the database, of every status, as quickly as it takes them."""
    with node.unit(node.actor("test")) as unit:
        first = peers.add(unit, url="https://first.example")
        columns = {column.key: getattr(first, column.key) for column in Peer.__mapper__.column_attrs}
        rows = [
            columns
            | {
                "id": f"01960000-0000-7000-8000-{number:012d}",
                "remote_instance_url": f"https://peer-{number:06d}.example",
                "status": peers.STATUSES[number % len(peers.STATUSES)],
                "last_heartbeat_at": unit.now - timedelta(seconds=number % 977),
                "created_at": unit.now - timedelta(seconds=number % 89),
            }
            for number in range(count)
        ]
        unit.session.execute(insert(Peer), rows)


@in_loop
async def test_another_process_is_seen_within_a_second(node: Node, clock: Clock) -> None:
    """What another connection commits to the node's database shows within a second; the best of a few tries, as
    machines are busy."""
    app = Console(lambda: open_node(node.settings), now=clock.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "No peers yet." in rows(pilot)[0]
        assert shown(pilot)[0].split()[:4] == ["alpha", "https://alpha.example", "operator", "ada"]
        took = []
        for name in ("bravo", "charlie", "delta", "echo"):
            began = time.monotonic()
            add(node, f"https://{name}.example:8443")
            await until(pilot, lambda name=name: f"{name}.example:8443" in page(pilot))
            took.append(time.monotonic() - began)
        assert rows(pilot)[0].startswith(" ○ proposed"), rows(pilot)[0]
    app.shared.close()
    assert min(took) < 1


@in_loop
async def test_the_real_listing_carries_the_cursor_through_every_order(node: Node, clock: Clock) -> None:
    """In each order of the core's listing, ends are reached and the cursor stays with its record."""
    fill(node, 300)
    app = Console(lambda: open_node(node.settings), now=clock.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("G", "k", "k")
        await until(pilot, lambda: table(pilot).position == (299, 301) and table(pilot).current)
        url = cursor_url(pilot)
        for sort in [*peer_listing.SORTS[1:], peer_listing.SORTS[0]]:
            await pilot.press("s")
            await until(pilot, lambda sort=sort: f"by {sort}" in trail(pilot))
            await until(pilot, lambda url=url: cursor_url(pilot) == url)
            await pilot.pause(0.3)
            assert cursor_url(pilot) == url
        assert table(pilot).position == (299, 301)
    app.shared.close()


@pytest.mark.parametrize("sort", peer_listing.SORTS)
def test_slices_of_the_real_listing_are_its_full_order(node: Node, sort: str) -> None:
    """Read around any record, in any order, the rows are those of one long page."""
    fill(node, 400)
    opened = open_node(node.settings)
    source = RecordsSource(opened, "peers")
    with opened.read() as session:
        truth = peer_listing.page(session, sort=sort, limit=1000)
    keys = [peer_listing.key(line, sort) for line in truth]
    assert all(one < following for one, following in pairwise(keys))
    for place in (0, 1, 7, 200, 399, 400):
        found = look(source, Want(Query(sort), truth[place], 0, 5, 20, None, needed=True))
        assert found is not None
        assert (found.index, found.count) == (place, 401)
        assert list(found.rows) == truth[found.start : found.start + len(found.rows)]
        assert found.start <= max(place - 5, 0)
    opened.close()


@pytest.mark.sqlite
@in_loop
async def test_a_database_that_is_taken_away_leaves_the_rows(
    node: Node, clock: Clock, make_node: Callable[..., Node]
) -> None:
    """When the tables are gone, the rows stay, the band says STALE, and the console lives on."""
    add(node, "https://bravo.example")
    app = Console(lambda: open_node(node.settings), now=clock.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        with node.unit(node.actor("test")) as unit:
            unit.session.connection().exec_driver_sql("ALTER TABLE peers RENAME TO peers_away")
        await until(pilot, lambda: "STALE" in shown(pilot)[0])
        assert "bravo.example" in rows(pilot)[0]
        with node.unit(node.actor("test")) as unit:
            unit.session.connection().exec_driver_sql("ALTER TABLE peers_away RENAME TO peers")
        await until(pilot, lambda: shown(pilot)[0].endswith("live"))
    app.shared.close()


def console_of(node: Node, clock: Clock, **options: Any) -> Console:
    """A console on a node's database, through a connection of its own."""
    return Console(lambda: open_node(node.settings, clock=clock), now=clock.now, **options)


@in_loop
async def test_proposing_on_a_real_node_files_a_request(node: Node, clock: Clock) -> None:
    """What the form sends, the gate takes: a pending request with the reason, and nothing done yet."""
    app = console_of(node, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(
            pilot, "p", "text:https://bravo.example", "enter", "enter", "enter", "text:to try", "enter", "enter"
        )
        await until(pilot, lambda: "Waits for approval until 16:00 UTC" in page(pilot))
    app.shared.close()
    with node.read() as session:
        [request] = approvals.listing(session)
        assert (request.action, request.status, request.reason) == (
            "system.federation_peer_propose",
            "pending",
            "to try",
        )
        assert peer_listing.count(session) == 0


@in_loop
async def test_suspending_and_revoking_on_a_real_node(node: Node, clock: Clock) -> None:
    """Two marked peers are suspended at once; revoking one waits for somebody else."""
    ids = add(node, "https://bravo.example", "https://charlie.example")
    with node.unit(node.actor("test")) as unit:
        for id in ids:
            peers.move(unit, id, "accepted")
    app = console_of(node, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, "space", "space", "S", "text:moving", "tab", "tab", "enter")
        await until(pilot, lambda: page(pilot).count("■ suspended") == 2)
        await type_in(pilot, "g", "X", *"gone", "tab", "text:bravo.example", "tab", "tab", "enter")
        await until(pilot, lambda: "Waits for approval" in page(pilot))
    app.shared.close()
    with node.read() as session:
        assert [one.metadata["suspension_reason"] for one in peer_listing.page(session)] == ["moving", "moving"]
        assert [one.action for one in approvals.listing(session)] == ["system.federation_peer_revoke"]


@in_loop
async def test_a_real_invite_is_shown_and_read(
    node: Node, clock: Clock, make_node: Callable[..., Node], caplog: pytest.LogCaptureFixture
) -> None:
    """The invite that one console shows is the one another takes; with a letter changed, it is named as mangled."""
    add(node, "https://bravo.example")
    app = console_of(node, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("t", "enter", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Secret) and pilot.app.screen.ready)
        invite = pilot.app.screen._text  # type: ignore[attr-defined]
        await pilot.press("escape")
    app.shared.close()
    bravo = make_node("bravo")
    other = console_of(bravo, clock)
    async with other.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and pilot.app.screen.ready)
        changed = "a" if invite[40] != "a" else "b"
        pilot.app.post_message(events.Paste(invite[:40] + changed + invite[41:]))
        await until(pilot, lambda: "mangled" in page(pilot))
        await pilot.press("ctrl+u")
        pilot.app.post_message(events.Paste(invite[:50] + "\n" + invite[50:] + "\n"))
        await until(pilot, lambda: "from alpha.example, until 2026-03-01 13:00 UTC" in page(pilot))
        await pilot.press("enter", "enter", "enter", "enter", "enter")
        await until(pilot, lambda: "Waits for approval" in page(pilot))
    other.shared.close()
    assert invite not in caplog.text
    with bravo.read() as session:
        [request] = approvals.listing(session)
        assert invite not in str(request.params) + request.summary


@in_loop
async def test_who_may_not_is_told_on_a_real_node(node: Node, clock: Clock, make_node: Callable[..., Node]) -> None:
    """A read-only console and an operator without the permission are refused before anything is asked."""
    add(node, "https://bravo.example")
    eve = settings.load({"FEDTUI_HOME": str(node.settings.home), "FEDTUI_OPERATOR": "eve"})
    for app, reason in (
        (console_of(node, clock, read_only=True), "This console is read-only."),
        (Console(lambda: open_node(eve, clock=clock), now=clock.now), "eve lacks the permission"),
    ):
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            await pilot.press("t")
            await until(pilot, lambda reason=reason: reason in page(pilot))
        app.shared.close()
    with node.read() as session:
        assert approvals.listing(session) == []


@in_loop
async def test_the_band_tells_what_the_node_is_in(node: Node, clock: Clock) -> None:
    """No daemon, a paused manager and requests waiting show in the band within seconds of their commit."""
    app = console_of(node, clock)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "NO DAEMON" in shown(pilot)[0])
        node.request(node.actor("test"), "system.manager_pause", {})
        await until(pilot, lambda: "PAUSED" in shown(pilot)[0], 3)
    app.shared.close()


@pytest.mark.sqlite
@in_loop
async def test_a_locked_database_holds_an_act_and_not_the_console(node: Node, clock: Clock) -> None:
    """While another process holds the database's write lock, an act waits and says so; the screen goes on."""
    [id] = add(node, "https://bravo.example")
    with node.unit(node.actor("test")) as unit:
        peers.move(unit, id, "accepted")
    app = console_of(node, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("S", *"why", "tab")
        lock = sqlite3.connect(str(node.database.file), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "Suspending ..." in page(pilot))
        assert shown(pilot)[0].endswith("live")
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: "Peers › help" in page(pilot))
        await pilot.press("escape")
        lock.execute("ROLLBACK")
        lock.close()
        await until(pilot, lambda: "■ suspended" in page(pilot))
    app.shared.close()


@pytest.mark.sqlite
@in_loop
async def test_a_database_that_is_removed_is_said(node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was removed would go on answering: the console says that it is gone, and locks what is dangerous."""
    monkeypatch.setattr("fedtui.screens.shell.console_context.OVERVIEW_SECONDS", 0.5)
    add(node, "https://bravo.example")
    app = console_of(node, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert node.database.file is not None
        node.database.file.unlink()
        await until(pilot, lambda: "The node's database is gone." in page(pilot), 8)
        assert "STALE" in shown(pilot)[0]
        await pilot.press("X")
        await until(pilot, lambda: "The data are stale" in page(pilot))
    app.shared.close()
