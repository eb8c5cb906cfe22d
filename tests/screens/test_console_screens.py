"""The Peers screen and its neighbours: detail, help, band, opening, leaving, and errors of our own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fake_node import NOW, FakeNode, console, in_loop, peer, settled, shown, table, until, zoo

from fedtui.app import OUR_BUG, crash_report
from fedtui.core.errors import Unusable
from fedtui.screens.detail import DetailScreen
from fedtui.screens.help import HelpScreen
from fedtui.screens.peers import PeersScreen


@in_loop
async def test_enter_opens_the_detail_and_escape_goes_back() -> None:
    """At 80 columns the detail is a screen of its own; Esc leads back to the same record."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DetailScreen))
        await until(pilot, lambda: "lima.example.org" in shown(pilot)[2])
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PeersScreen)
        assert table(pilot).position == (3, 14)


@in_loop
async def test_the_open_detail_is_live() -> None:
    """The detail shows what happens to its peer while it is open, and says when the peer is gone."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: any("▲ degraded" in line for line in shown(pilot)))
        node.change(peer(2).id, status="active", last_heartbeat_at=NOW)
        await until(pilot, lambda: any("● active" in line for line in shown(pilot)))
        node.drop(peer(2).id)
        await until(pilot, lambda: any("no longer there" in line for line in shown(pilot)))


@in_loop
async def test_beside_the_list_where_there_is_room() -> None:
    """From 120 columns on, the detail of the peer under the cursor stands beside the list."""
    async with console(FakeNode(zoo())).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert any("Its next heartbeat makes" in line for line in shown(pilot))
        await pilot.press(*"jjjjj")
        await until(pilot, lambda: any("accepts ANY caller" in line for line in shown(pilot)))
        await pilot.resize_terminal(119, 40)
        await until(pilot, lambda: not any("ANY caller" in line for line in shown(pilot)))


@in_loop
async def test_help_tells_exactly_the_keys_that_work() -> None:
    """Every line of the help names a key that is bound on the screen below, with all its spellings."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await until(pilot, lambda: "Keys on this screen" in shown(pilot)[2])
        lines = [line.strip() for line in shown(pilot)[4:] if line.strip()]
        assert "j, Down                 Next line" in lines
        assert "G, End                  Last line" in lines
        assert "s                       Sort" in lines
        assert len(lines) == 10 + 1
        await pilot.press("question_mark", "escape")
        assert isinstance(pilot.app.screen, PeersScreen)


@in_loop
async def test_the_band_names_node_operator_mode_and_freshness() -> None:
    """Whoever looks at the screen knows which node it is, as whom, in which mode, and how fresh."""
    async with console(FakeNode(zoo()), mode="DEMO").run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert shown(pilot)[0].split() == [
            "alpha", "https://alpha.example.org:8443", "operator", "alice", "DEMO", "live",
        ]  # fmt: skip


@in_loop
async def test_hostile_names_stay_in_the_band() -> None:
    """A long or hostile node name, URL or operator neither leaves the band nor reaches the terminal raw."""
    node = FakeNode(zoo(), name="\x1b[2J" + "n" * 300)
    node.operator = "\u202eevil" * 100
    async with console(node, mode="DEMO").run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        line = shown(pilot)[0]
        assert len(line) == 79
        assert "DEMO" in line
        assert line.endswith("live")
        assert line.isprintable()


@in_loop
async def test_without_utf8_the_whole_screen_is_ascii(terminal: Callable[..., None]) -> None:
    """Where the locale is not UTF-8, borders, scrollbars, glyphs and foreign names are all ASCII."""
    terminal(LANG="C")
    node = FakeNode([*zoo(), peer(90, "https://b\u00fccher.example"), *(peer(n) for n in range(100, 200))])
    async with console(node, notice=lambda: "na\u00efve").run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for keys in ("j", "question_mark", "escape", "enter"):
            await pilot.press(keys)
            await pilot.pause(0.1)
            assert "".join(shown(pilot)).isascii(), [line for line in shown(pilot) if not line.isascii()]


@in_loop
async def test_the_notice_comes_and_goes() -> None:
    """The line beneath the band shows what the notice says, and takes no room when it says nothing."""
    said = [""]
    async with console(FakeNode(zoo()), notice=lambda: said[0]).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert shown(pilot)[1].startswith(" State")
        said[0] = "bravo\x1b[31m accepted"
        await until(pilot, lambda: shown(pilot)[1] == " › bravo\\x1b[31m accepted")
        assert shown(pilot)[2].startswith(" State")
        said[0] = ""
        await until(pilot, lambda: shown(pilot)[1].startswith(" State"))


@in_loop
async def test_an_error_in_a_timer_is_shown_and_survived() -> None:
    """A notice that raises is told on the screen; the console lives on, and recovers with it."""
    broken = [True]

    def notice() -> str:
        if broken[0]:
            raise ValueError("no such narrator")
        return ""

    async with console(FakeNode(zoo()), notice=notice).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "degraded" in "".join(shown(pilot))
        broken[0] = False
        await until(pilot, lambda: shown(pilot)[0].endswith("live"))


@in_loop
async def test_a_node_that_does_not_open_can_be_tried_again() -> None:
    """A failure to open is told with problem, cause and fix, and r tries again."""
    failures = [Unusable("No key.", cause="It is gone.", fix="Put it back.")]
    node = FakeNode(zoo())

    def open_node() -> FakeNode:
        if failures:
            raise failures.pop()
        return node

    app = console(node)
    app._open_node = open_node
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No key." in "".join(shown(pilot)))
        text = "\n".join(shown(pilot))
        assert "It is gone." in text
        assert "Put it back." in text
        assert "r try again" in text
        await pilot.press("r")
        await until(pilot, lambda: "degraded" in "".join(shown(pilot)))
        assert "try again" not in "\n".join(shown(pilot))


@in_loop
async def test_the_first_paint_does_not_wait_for_the_node() -> None:
    """While the node is being opened, the screen is there, says so, and can be left."""
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = asyncio.run_coroutine_threadsafe
    app = console(FakeNode())
    app._open_node = lambda: release(waiting.wait(), loop).result() and FakeNode(zoo())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: shown(pilot)[0].endswith("opening"))
        assert "Reading" in shown(pilot)[2]
        waiting.set()
        await until(pilot, lambda: shown(pilot)[0].endswith("live"))


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
@in_loop
async def test_leaving_closes_the_node(key: str) -> None:
    """q, Ctrl+Q and Ctrl+C leave with exit code 0, and the node is closed."""
    node = FakeNode(zoo())
    app = console(node)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press(key)
    app.shared.close()
    assert node.closed
    assert app.return_code == 0


def test_a_crash_report_shows_no_values() -> None:
    """An error of our own is told by kind and place; local variables, and secrets in them, are not."""

    def fail() -> None:
        token = "s3cret"
        raise RuntimeError(f"\x1b[2Jbroken {len(token)}")

    try:
        fail()
    except RuntimeError as error:
        report = crash_report(error)
    assert "s3cret" not in report
    assert "in fail" in report
    assert "RuntimeError: \\x1b[2Jbroken 6" in report


@in_loop
async def test_a_crash_leaves_with_the_code_for_our_own_bug() -> None:
    """An error that nothing catches ends the console with exit code 70 and without local variables."""
    app = console(FakeNode(zoo()))
    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            app._fatal_error_told = True

            def crash() -> None:
                token = "s3cret"
                assert token
                raise ZeroDivisionError

            app.call_later(crash)
            await pilot.pause(0.3)
    assert app.return_code == OUR_BUG


@in_loop
async def test_urgency_is_the_first_order() -> None:
    """What will hurt first stands on top without any key being pressed."""
    node = FakeNode([*(peer(number) for number in range(40)), peer(99, "https://zulu.example.org", "degraded")])
    node.change(peer(99).id, last_heartbeat_at=NOW - timedelta(minutes=9))
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "zulu.example.org" in shown(pilot)[2]


def test_nothing_heavy_is_imported_before_the_first_paint() -> None:
    """Importing the console brings no database, HTTP client or cryptography: they come with the node."""
    heavy = {"sqlalchemy", "alembic", "httpx", "cryptography", "aiohttp", "apscheduler", "pydantic"}
    program = "import sys, fedtui.app; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environ)
    assert heavy.isdisjoint(done.stdout.decode().split())
