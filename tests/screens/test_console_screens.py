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
from fake_node import (
    NOW,
    FakeNode,
    console,
    in_loop,
    page,
    peer,
    record,
    rows,
    settled,
    shown,
    table,
    trail,
    type_in,
    until,
    zoo,
)

from fedtui.core.errors import Unusable
from fedtui.screens.peers.screen import PeerScreen, PeersScreen
from fedtui.screens.peers.view import describe_record
from fedtui.screens.shell.commands import (
    EVERYWHERE,
    PEERS,
    TABLE,
    at,
    key_names,
)
from fedtui.screens.shell.data_freshness import crash_report
from fedtui.screens.shell.help import HelpScreen
from fedtui.screens.shell.terminal_app import OUR_BUG


@in_loop
async def test_enter_opens_the_peer_and_escape_goes_back() -> None:
    """Enter opens the peer under the cursor on a screen of its own; Esc leads back to the same record."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, PeerScreen) and "kilo.example.org" in trail(pilot))
        assert trail(pilot) == " Peers › kilo.example.org"
        assert "[active]" in page(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, PeersScreen))
        assert table(pilot).position == (3, 14)


@in_loop
async def test_the_open_peer_is_live() -> None:
    """The screen shows what happens to its peer while it is open, and says when the peer is gone."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "▲ degraded" in page(pilot))
        node.change(peer(2).id, status="active", last_heartbeat_at=NOW)
        await until(pilot, lambda: "● active" in page(pilot))
        node.broken = OSError("disk I/O error")
        await until(pilot, lambda: "STALE" in shown(pilot)[0] and "r try again" in page(pilot))
        assert "● active" in page(pilot)
        node.broken = None
        node.drop(peer(2).id)
        await until(pilot, lambda: f"There is no peer {peer(2).id}" in page(pilot))
        await until(pilot, lambda: shown(pilot)[0].endswith("live"))


@in_loop
async def test_a_deep_link_leads_to_a_peer_by_the_beginning_of_its_id() -> None:
    """The place given at the start is shown once the node is open, over the screen it belongs to."""
    id = peer(12).id
    async with console(FakeNode(zoo()), place=f"peers/{id[:-1]}").run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "The id of more than one peer begins with" in page(pilot))
        await type_in(pilot, "colon", f"text:peers {id}", "enter")
        await until(pilot, lambda: "a-platform-with-a-remarkably-long-name" in trail(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "1 of 14" in trail(pilot))


@pytest.mark.parametrize(
    ("place", "said"),
    [("peers/0000", "There is no peer 0000."), ("grants\x1b", "There is no place grants\\x1b. There is: home, peers")],
)
@in_loop
async def test_a_place_that_does_not_exist_is_said(place: str, said: str) -> None:
    """A deep link to nowhere says so in words, and the console is there all the same."""
    async with console(FakeNode(zoo()), place=place).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: said in page(pilot))


@in_loop
async def test_minus_goes_to_the_view_before_and_back_again() -> None:
    """`-` toggles between the last two places, whichever way one came."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("minus")
        await pilot.press("enter")
        await until(pilot, lambda: "charlie" in trail(pilot))
        await pilot.press("escape", "j", "enter")
        await until(pilot, lambda: "drill.example" in trail(pilot))
        await pilot.press("minus")
        await until(pilot, lambda: " of 14" in trail(pilot))
        await pilot.press("minus")
        await until(pilot, lambda: "drill.example" in trail(pilot))
        await type_in(pilot, "colon", f"text:peers {peer(1).id}", "enter")
        await until(pilot, lambda: "bravo" in trail(pilot))
        await pilot.press("minus")
        await until(pilot, lambda: "drill.example" in trail(pilot))


@in_loop
async def test_beside_the_list_where_there_is_room() -> None:
    """From 120 columns on, the peer under the cursor stands beside the list in words."""
    async with console(FakeNode(zoo())).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "Its next heartbeat makes" in page(pilot)
        await pilot.press("j")
        await until(pilot, lambda: "accepts ANY caller" in page(pilot))
        await pilot.resize_terminal(119, 40)
        await until(pilot, lambda: "ANY caller" not in page(pilot))


@in_loop
async def test_help_tells_every_command_of_the_screen() -> None:
    """Help has a line for each row of the table of commands that holds there, and why it cannot be used now."""
    node = FakeNode(zoo())
    async with console(node, read_only=True).run_test(size=(120, 120)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen) and ":suspend" in page(pilot))
        assert trail(pilot) == " Peers › help"
        for command in at(PEERS, TABLE, EVERYWHERE):
            assert f"{', '.join(key_names(command))} :{command.name} {command.help}".strip() in page(pilot)
        assert "until it is resumed (This console is read-only)" in page(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, PeersScreen))


@in_loop
async def test_the_prompt_completes_runs_and_says_what_it_does_not_know() -> None:
    """`:` shows what fits while it is typed, Tab completes, Enter runs, and a wrong name is answered."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"so")
        await until(pilot, lambda: "sort s Take the next order" in page(pilot))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "by url" in trail(pilot))
        await pilot.press("colon", *"last", "enter")
        await until(pilot, lambda: "14 of 14" in trail(pilot))
        await type_in(pilot, "colon", "text:token2", "enter")
        await until(pilot, lambda: "There is no command 'token2'" in page(pilot))
        await pilot.press("colon", *"oken", "enter")
        await until(pilot, lambda: "Did you mean token, cancel-token?" in page(pilot))
        await pilot.press("colon", *"q", "escape", "j")
        assert pilot.app.return_code is None
        await pilot.press("colon", *"q", "enter")
    assert pilot.app.return_code == 0


@in_loop
async def test_a_filter_shows_while_it_is_typed() -> None:
    """`/` filters live, `!` turns it round, Enter keeps it, Esc puts back the one before, Esc takes it away."""
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await type_in(pilot, "slash", "text:degraded")
        await until(pilot, lambda: "1 of 1" in trail(pilot) and "charlie" in rows(pilot)[0])
        await pilot.press("home", "!")
        await until(pilot, lambda: "of 13" in trail(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, PeersScreen) and "Peers  /!degraded" in trail(pilot))
        await pilot.press("slash", "end", *"xx")
        await until(pilot, lambda: "of 14" in trail(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "of 13" in trail(pilot))
        await type_in(pilot, "slash", *["backspace"] * 9, "text:nobody")
        await until(pilot, lambda: "Nothing matches the filter. Esc takes it away." in page(pilot))
        await pilot.press("enter", "escape")
        await until(pilot, lambda: "of 14" in trail(pilot))


@in_loop
async def test_marks_belong_to_records() -> None:
    """Marks survive refreshes, orders and filters; the count is told; `u` takes them away."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("space", "space")
        await until(pilot, lambda: "2 marked" in trail(pilot))
        assert [line[0] for line in rows(pilot)[:3]] == ["+", "+", " "]
        node.put(peer(90, status="degraded"))
        await until(pilot, lambda: [line[0] for line in rows(pilot)[:4]] == ["+", " ", "+", " "])
        await type_in(pilot, "slash", "text:!charlie", "enter")
        await until(pilot, lambda: "of 14" in trail(pilot))
        assert "2 marked" in trail(pilot)
        assert table(pilot).marks == (peer(2).id, peer(8).id)
        await pilot.press("u")
        await until(pilot, lambda: "marked" not in trail(pilot))


@in_loop
async def test_the_band_names_node_operator_mode_and_freshness() -> None:
    """Whoever looks at the screen knows which node it is, as whom, in which mode, and how fresh."""
    async with console(FakeNode(zoo()), mode="DEMO").run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert shown(pilot)[0].split() == [
            "alpha",
            "https://alpha.example.org:8443",
            "operator",
            "alice",
            "DEMO",
            "live",
        ]


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
        assert trail(pilot) == shown(pilot)[1]
        said[0] = "bravo\x1b[31m accepted"
        await until(pilot, lambda: shown(pilot)[1] == " › bravo\\x1b[31m accepted")
        said[0] = ""
        await until(pilot, lambda: trail(pilot) == shown(pilot)[1])


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
        assert "Reading" in rows(pilot)[0]
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
        assert "zulu.example.org" in rows(pilot)[0]


def test_nothing_heavy_is_imported_before_the_first_paint() -> None:
    """Importing the console brings no database, HTTP client or cryptography: they come with the node."""
    heavy = {"sqlalchemy", "alembic", "httpx", "cryptography", "aiohttp", "apscheduler", "pydantic"}
    program = "import sys, fedtui.app; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environ)
    assert heavy.isdisjoint(done.stdout.decode().split())


def test_what_a_remote_declares_is_shown_in_part() -> None:
    """A megabyte of capabilities, extensions and endpoints takes a few lines, with how much more there is."""
    full = record(peer(1))
    full.shape["capabilities"] = {f"key-{n}" * 20: {"deep": ["x" * 1000] * n} for n in range(1000)}
    full.shape["capabilities"] |= {"first": "y" * 100_000}
    full.shape["extension_slugs"] = ["z" * 5000] * 1000
    full.shape["endpoints"] = [{"url": f"https://e{n}.example", "scope": "wan", "priority": n} for n in range(1000)]
    full.shape["operator_contact"] = "c" * 100_000
    text = "\n".join(paragraph.text for paragraph in describe_record(full, NOW))
    assert len(text) < 8000
    assert "and 988 more" in text
