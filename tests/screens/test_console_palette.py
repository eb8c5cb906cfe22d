"""The prompt for commands: what comes first, arrows, what was typed before, records by a part of their name."""

from __future__ import annotations

import pytest
from fake_access import access_node
from fake_node import FakeNode, console, in_loop, page, peer, table, trail, until, zoo
from test_console_dialogs import on_top
from test_console_rules import arrive, screens

from fedtui.core.administration import operators
from fedtui.core.errors import Unusable
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.node.operators import PERMISSIONS
from fedtui.screens.peers.screen import PeerScreen
from fedtui.screens.shell.commands import COMMANDS, at, completions
from fedtui.screens.shell.prompt import MOST_SHOWN, CommandPrompt


def hosts() -> FakeNode:
    """Peers whose names begin alike."""
    return FakeNode([peer(n, f"https://p{n}.example.com") for n in (1, 2, 3, 30)])


def test_what_only_moves_something_comes_last() -> None:
    """On every screen the palette begins with places and acts; commands that move the cursor follow all others."""
    for kind in screens():
        offered = completions("", at(*kind.places))
        assert not any(one.action for one in offered[:MOST_SHOWN]), kind
        moving = [bool(one.action) for one in offered]
        assert moving == sorted(moving), kind


@in_loop
async def test_arrows_choose_among_what_fits() -> None:
    """Down and Up move over the lines shown, and Enter runs the chosen one."""
    app = console(FakeNode(zoo()))
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        await pilot.press("colon")
        prompt = await on_top(pilot, CommandPrompt)
        assert isinstance(prompt, CommandPrompt)
        second = prompt._fitting()[1]
        await pilot.press("down", "down", "down", "up", "enter")
        await until(pilot, lambda: app.screen is not prompt)
        await until(pilot, lambda: second.place in getattr(app.screen, "place", ""))


@in_loop
async def test_up_brings_back_what_was_typed() -> None:
    """With nothing typed, Up goes through the commands of before, the newest first; Down comes back."""
    app = console(FakeNode(zoo()))
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        for typed in ("columns url", "unmark"):
            await pilot.press("colon")
            await on_top(pilot, CommandPrompt)
            await pilot.press(*("space" if one == " " else one for one in typed), "enter")
            await until(pilot, lambda: not isinstance(app.screen, CommandPrompt))
        await pilot.press("colon")
        prompt = await on_top(pilot, CommandPrompt)
        assert isinstance(prompt, CommandPrompt)
        await pilot.press("up")
        assert prompt._text.value == "unmark"
        await pilot.press("up")
        assert prompt._text.value == "columns url"
        await pilot.press("down", "down")
        assert prompt._text.value == ""


@in_loop
async def test_a_peer_is_found_by_a_part_of_its_name() -> None:
    """`:peers p2` opens the one peer with that in its name, and shows it while it is typed."""
    app = console(hosts())
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        await pilot.press("colon", *"peers", "space", *"p2")
        prompt = await on_top(pilot, CommandPrompt)
        await until(pilot, lambda: "p2.example.com (active)" in page(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is not prompt and isinstance(app.screen, PeerScreen))
        await until(pilot, lambda: "p2.example.com" in trail(pilot))


@in_loop
async def test_several_that_fit_are_listed() -> None:
    """`:peers p3` with two such peers filters the table by it; an arrow and Enter open one of them at once."""
    app = console(hosts())
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        await pilot.press("colon", *"peers", "space", *"p3", "enter")
        await until(pilot, lambda: table(pilot).position == (1, 2))
        assert "/p3" in trail(pilot)
        await pilot.press("colon", *"peers", "space", *"p3")
        await until(pilot, lambda: "p30.example.com (active)" in page(pilot))
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, PeerScreen) and "p30.example.com" in trail(pilot))


@in_loop
async def test_an_operator_is_added_in_the_console() -> None:
    """`:add-operator` goes through the gate with the permissions named; `:operators` shows all, and how a key is let
    in."""
    node = access_node()
    app = console(node, place="home")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, "home")
        await pilot.press("colon", *"operators", "enter")
        await on_top(pilot, Shown)
        assert "bob approve" in page(pilot)
        assert "fedtui operators authorize NAME --key NAME.pub" in page(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("colon", *"add-operator", "enter")
        await on_top(pilot, Ask)
        await pilot.press(*"carol", "tab", *"view", "comma", *"root", "tab", *"new", "tab")
        assert "There is no permission root." in page(pilot)
        await pilot.press("shift+tab", "shift+tab", *"view", "comma", *"peers", "enter", "enter", "enter")
        await until(pilot, lambda: node.asked)
        given = {"name": "carol", "permissions": [PERMISSIONS["view"], PERMISSIONS["peers"]]}
        assert node.asked == [("system.operator_add", given, "new")]


def test_every_permission_has_a_short_name() -> None:
    """What an operator may do in the core can be given in the console."""
    assert set(PERMISSIONS.values()) == set(operators.PERMISSIONS)


@in_loop
async def test_operators_that_cannot_be_read_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """`:operators` with a database that does not answer says so in the line of messages."""

    def silent() -> None:
        raise Unusable("The database does not answer.", cause="It is down.", fix="Start it.")

    node = access_node()
    monkeypatch.setattr(node, "operators", silent)
    app = console(node, place="home")
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "home")
        await pilot.press("colon", *"operators", "enter")
        await until(pilot, lambda: "The database does not answer. Start it." in page(pilot))


@in_loop
async def test_what_waits_for_approval_leads_on_in_the_console() -> None:
    """Propose ends with the keys that open the queue and the request, not with a command for a shell."""
    app = console(FakeNode(zoo()))
    async with app.run_test(size=(80, 24)) as pilot:
        await arrive(pilot, "peers")
        await pilot.press("p")
        await on_top(pilot, Ask)
        await pilot.press(*"https", "colon", "slash", "slash", *"new", "tab", "tab", "tab", "tab")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "Waits for approval until" in page(pilot))
        assert "3 opens the queue, :approvals 01950000-0000-7000-9000-00000000000a" in page(pilot)
        assert "fedtui approvals" not in page(pilot)


def test_no_command_is_in_two_parts_of_the_palette() -> None:
    """Each command is offered once, whatever is typed."""
    assert len({one.name for one in completions("", COMMANDS)}) == len(COMMANDS)
