"""The Peers screen on a real node: its database, its listing, and what other processes commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from fake_node import cursor_url, in_loop, settled, shown, table, until
from sqlalchemy import insert

from fedtui.app import Console
from fedtui.core.node import Node, open_node
from fedtui.core.peering import listing, peers
from fedtui.core.peering.peers import Peer
from fedtui.core.runtime.clock import Clock
from fedtui.screens.sources import PeersSource
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
    """What another connection commits to the node's database shows within a second."""
    app = Console(lambda: open_node(node.settings), now=clock.now)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "No peers yet." in shown(pilot)[2]
        assert shown(pilot)[0].split()[:4] == ["alpha", "https://alpha.example", "operator", "ada"]
        began = time.monotonic()
        add(node, "https://bravo.example", "https://charlie.example:8443")
        await until(pilot, lambda: "○ proposed" in shown(pilot)[2])
        assert time.monotonic() - began < 1
        assert "charlie.example:8443" in shown(pilot)[3]
    app.shared.close()


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
        for sort in [*listing.SORTS[1:], listing.SORTS[0]]:
            await pilot.press("s")
            await until(pilot, lambda sort=sort: f"by {sort}" in shown(pilot)[-1])
            await until(pilot, lambda url=url: cursor_url(pilot) == url)
            await pilot.pause(0.3)
            assert cursor_url(pilot) == url
        assert table(pilot).position == (299, 301)
    app.shared.close()


@pytest.mark.parametrize("sort", listing.SORTS)
def test_slices_of_the_real_listing_are_its_full_order(node: Node, sort: str) -> None:
    """Read around any record, in any order, the rows are those of one long page."""
    fill(node, 400)
    opened = open_node(node.settings)
    source = PeersSource(opened)
    with opened.read() as session:
        truth = listing.page(session, sort=sort, limit=1000)
    keys = [listing.key(line, sort) for line in truth]
    assert all(one < following for one, following in pairwise(keys))
    for place in (0, 1, 7, 200, 399, 400):
        found = look(source, Want(Query(sort), truth[place], 0, 5, 20, None, needed=True))
        assert found is not None
        assert (found.index, found.count) == (place, 401)
        assert list(found.rows) == truth[found.start : found.start + len(found.rows)]
        assert found.start <= max(place - 5, 0)
    opened.close()


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
        assert "bravo.example" in shown(pilot)[2]
        with node.unit(node.actor("test")) as unit:
            unit.session.connection().exec_driver_sql("ALTER TABLE peers_away RENAME TO peers")
        await until(pilot, lambda: shown(pilot)[0].endswith("live"))
    app.shared.close()
