"""The windowed table on the Peers screen: navigation, the cursor's record, states, and bytes."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from fake_node import NOW, FakeNode, console, in_loop, peer, rows, settled, shown, table, trail, until
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from fedtui.screens.peers.screen import PeersScreen


class CountingDriver(HeadlessDriver):
    """A driver that keeps what is written to the terminal."""

    written: list[str]

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.__dict__.setdefault("written", []).append(data)

    def flush(self) -> None:
        pass

    def begin(self) -> None:
        """Forget what was written so far."""
        self.__dict__["written"] = []

    async def rests(self, seconds: float) -> None:
        """Wait for so long a silence. How long the screen takes to come to rest says nothing of speed."""
        end = time.monotonic() + 20
        while True:
            self.begin()
            await asyncio.sleep(seconds)
            if not self.written:
                return
            assert time.monotonic() < end, self.written


def driver_of(pilot: Pilot[None]) -> CountingDriver:
    """The driver of a console that has a counting one."""
    driver = pilot.app._driver
    assert isinstance(driver, CountingDriver)
    return driver


@dataclass
class Clock:
    """A clock the test moves."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        return self.time


def many(count: int) -> FakeNode:
    """A node with so many active peers, in the order of their numbers."""
    return FakeNode([peer(number) for number in range(count)])


def cursor(pilot: Pilot[None]) -> int | None:
    """The number of the peer under the cursor."""
    row = table(pilot).current
    return None if row is None else int(row.id[-12:])


def cursor_line(pilot: Pilot[None]) -> int:
    """The line of the screen on which the cursor is."""
    window = table(pilot)
    return window.region.y + 1 + window._cursor - window._top


@in_loop
async def test_keys_move_through_a_thousand_rows() -> None:
    """j, k, arrows, pages, g, G, Home and End go where k9s and lazygit go."""
    async with console(many(1000)).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        page = 18
        for keys, expected in (
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("up", 0),
            ("k", 0),
            ("pagedown", page),
            ("pageup", 0),
            ("G", 999),
            ("j", 999),
            ("k", 998),
            ("g", 0),
            ("end", 999),
            ("pageup", 999 - page),
            ("home", 0),
        ):
            await pilot.press(keys)
            await until(pilot, lambda: table(pilot).current)
            assert cursor(pilot) == expected, keys
            assert table(pilot).position == (expected + 1, 1000)
        assert shown(pilot)[cursor_line(pilot)].split()[3] == "peer-000000.example.org"


@in_loop
async def test_every_row_is_shown_once_on_the_way_down() -> None:
    """Going down line by line, the screen shows exactly the rows between its first and its last."""
    async with console(many(30)).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for step in range(30):
            await until(pilot, lambda: "…" not in "".join(rows(pilot)))
            urls = [line.split()[3] for line in rows(pilot)]
            first = max(step - 18, 0)
            assert urls == [f"peer-{number:06d}.example.org" for number in range(first, first + 19)]
            table(pilot).action_move(1)
            await pilot.pause()


@in_loop
async def test_a_hundred_thousand_rows_hold_few() -> None:
    """The table holds a few screenfuls however many rows there are, also at the far end."""
    async with console(many(100_000)).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("G")
        await until(pilot, lambda: cursor(pilot) == 99_999)
        assert len(table(pilot)._held.rows) < 150
        assert trail(pilot).endswith("100000 of 100000")


@in_loop
async def test_a_refresh_never_moves_the_cursor_off_its_record() -> None:
    """Rows that come and go above leave the cursor on its record and on its line of the screen."""
    node = FakeNode([peer(number) for number in range(100, 200)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table(pilot).action_move(40)
        table(pilot).action_move(-5)
        line = cursor_line(pilot)
        assert cursor(pilot) == 135
        node.put(*(peer(number) for number in range(50, 60)))
        await until(pilot, lambda: table(pilot).position == (46, 110))
        assert (cursor(pilot), cursor_line(pilot)) == (135, line)
        node.drop(*(peer(number).id for number in range(50, 120)))
        await until(pilot, lambda: table(pilot).position == (16, 80))
        assert cursor(pilot) == 135


@in_loop
async def test_at_the_top_the_screen_stays_at_the_top() -> None:
    """A peer that turns urgent appears on top, above a cursor that stays with its own."""
    node = many(50)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.change(peer(30).id, status="degraded")
        await until(pilot, lambda: table(pilot).position == (2, 50))
        assert cursor(pilot) == 0
        assert "▲ degraded" in rows(pilot)[0]


@in_loop
async def test_the_cursor_follows_its_record_when_that_moves() -> None:
    """When the record under the cursor changes its place in the order, the cursor goes with it."""
    node = many(500)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("j", "j")
        node.change(peer(2).id, status="revoked")
        await until(pilot, lambda: table(pilot).position == (500, 500))
        assert cursor(pilot) == 2
        assert "× revoked" in shown(pilot)[cursor_line(pilot)]


@in_loop
async def test_a_vanished_record_leaves_the_cursor_in_its_place() -> None:
    """When its record is gone, the cursor takes the one that follows; at the end, the one before."""
    node = many(30)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(*"jjjj")
        node.drop(peer(4).id)
        await until(pilot, lambda: cursor(pilot) == 5)
        await pilot.press("G")
        assert cursor(pilot) == 29
        node.drop(peer(29).id, peer(28).id)
        await until(pilot, lambda: cursor(pilot) == 27)
        assert table(pilot).position == (27, 27)


@in_loop
async def test_the_last_row_goes_and_the_first_one_comes() -> None:
    """A table that becomes empty says what to do; the first row that comes takes the cursor."""
    node = many(2)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.drop(*node.peers)
        await until(pilot, lambda: "No peers yet." in rows(pilot)[0])
        assert any("p Propose to peer with a platform" in line for line in shown(pilot))
        await pilot.press("j", "G", "enter", "pageup")
        node.put(peer(7))
        await until(pilot, lambda: cursor(pilot) == 7)


@in_loop
async def test_a_change_shows_within_a_second() -> None:
    """What another process commits is on the screen within a second; the best of a few tries, as machines are busy."""
    node = many(50)
    took = []
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for number in range(4):
            began = time.monotonic()
            node.change(peer(number).id, last_outbound_error="remote_timeout: no answer")
            await until(pilot, lambda number=number: sum("failing" in line for line in rows(pilot)) == number + 1)
            took.append(time.monotonic() - began)
    assert min(took) < 1


@in_loop
async def test_sorting_keeps_the_cursor_on_its_record() -> None:
    """Each press of s takes the next order, the last leads back to the first, and the record stays."""
    node = FakeNode([peer(number, created_at=NOW - timedelta(days=number)) for number in range(100)])
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(*"jjj")
        orders = []
        for _ in range(5):
            reads = node.reads
            await pilot.press("s")
            await until(pilot, lambda reads=reads: node.reads > reads and table(pilot).current)
            orders.append(table(pilot).asked.sort)
            assert cursor(pilot) == 3
        assert orders == ["url", "status", "heartbeat", "created", "urgency"]


@pytest.mark.parametrize(
    "keys",
    [(), ("enter",), ("question_mark",), ("colon", "r"), ("X",)],
    ids=["table", "peer", "help", "prompt", "dialog"],
)
@in_loop
async def test_an_idle_console_writes_nothing(keys: tuple[str, ...]) -> None:
    """Over several polls and ticks without a change, not a byte goes to the terminal, whatever is on top."""
    node = many(200)
    app = console(node)
    app.driver_class = CountingDriver
    async with app.run_test(size=(120, 40), headless=False) as pilot:
        await settled(pilot)
        await pilot.press(*keys)
        await driver_of(pilot).rests(1.6)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@in_loop
async def test_one_change_writes_little(size: tuple[int, int]) -> None:
    """One changed cell costs a few dozen bytes, not a screenful, however many rows there are."""
    node = many(2000)
    app = console(node)
    app.driver_class = CountingDriver
    async with app.run_test(size=size, headless=False) as pilot:
        await settled(pilot)
        driver = driver_of(pilot)
        await driver.rests(1.1)
        node.change(peer(5).id, certificate_expires_at=NOW + timedelta(days=3))
        await until(pilot, lambda: driver.written)
        await pilot.pause(0.6)
        assert 0 < sum(len(data) for data in driver.written) < 120


@in_loop
async def test_the_clock_repaints_only_ages_that_read_differently() -> None:
    """A second later, an age in seconds is repainted; ages in minutes and hours are not."""
    node = many(15)
    node.change(peer(3).id, last_heartbeat_at=NOW - timedelta(seconds=7))
    clock = Clock()
    app = console(node, now=clock)
    app.driver_class = CountingDriver
    async with app.run_test(size=(80, 24), headless=False) as pilot:
        await settled(pilot)
        driver = driver_of(pilot)
        await driver.rests(1.1)
        clock.time += timedelta(seconds=1)
        await until(pilot, lambda: driver.written)
        await pilot.pause(0.6)
        written = "".join(driver.written)
        assert "8 s" in written
        assert "min" not in written
        assert len(written) < 90


@in_loop
async def test_a_slow_database_does_not_hold_the_keys() -> None:
    """While a read has not come back, keys move the cursor."""
    node = many(1000)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.reading = threading.Event()
        node.change(peer(900).id, status="degraded")
        reads = node.reads
        await until(pilot, lambda: node.reads > reads)
        await pilot.press("j")
        assert cursor(pilot) == 1
        node.reading.set()
        await until(pilot, lambda: table(pilot).position == (3, 1000))
        assert cursor(pilot) == 1


@in_loop
async def test_reads_that_fail_leave_the_rows_and_say_so() -> None:
    """When reads fail the rows stay, the band says STALE and the reason is told; then all is well again."""
    node = many(5)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        node.broken = OSError("disk I/O error")
        await until(pilot, lambda: "STALE" in shown(pilot)[0])
        lines = shown(pilot)
        assert "peer-000004" in rows(pilot)[4]
        assert any("OSError: disk I/O error" in line for line in lines)
        await pilot.press("j")
        assert cursor(pilot) == 1
        node.broken = None
        node.change(peer(0).id, status="degraded")
        await until(pilot, lambda: shown(pilot)[0].endswith("live") and "degraded" in rows(pilot)[0])
        assert not any("disk I/O" in line for line in shown(pilot))


@in_loop
async def test_an_odd_row_does_not_take_the_screen_down() -> None:
    """A row with a value no column expects shows a question mark there and the rest of the table as ever."""
    node = many(3)
    node.change(peer(1).id, last_heartbeat_at="yesterday")
    async with console(node).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert rows(pilot)[1].split()[4] == "?"
        assert "peer-000002" in rows(pilot)[2]
        await pilot.press("j", "enter", "escape")
        assert isinstance(pilot.app.screen, PeersScreen)


@in_loop
async def test_a_smaller_terminal_keeps_the_cursor_in_sight() -> None:
    """However the terminal is resized, the cursor's record stays the same and on the screen."""
    async with console(many(300)).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        table(pilot).action_move(35)
        for size in ((80, 24), (40, 6), (200, 60), (20, 3), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            window = table(pilot)
            assert cursor(pilot) == 35
            assert window._top <= window._cursor < window._top + max(window._height, 1)
        assert "peer-000035" in shown(pilot)[cursor_line(pilot)]


@in_loop
async def test_scrolling_takes_the_cursor_along() -> None:
    """Scrolled by wheel or scrollbar to any place, the rows there are read and the cursor stays in sight."""
    async with console(many(5000)).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table(pilot).scroll_to(y=2500, animate=False)
        await until(pilot, lambda: "peer-002500" in rows(pilot)[0])
        assert cursor(pilot) == 2500
