"""Escape sequences torn apart by a slow link, and a console that was stopped and goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from fake_access import access_node
from fake_node import console, in_loop, until
from test_console_rules import arrive
from test_console_terminal import console as on_terminal
from textual import events

from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.shell.escapes import WITHIN_SECONDS, Escapes
from fedtui.screens.widgets.window import Window


def typed(text: str) -> list[events.Key]:
    """The keys that Textual makes of letters, and of an Escape that stands alone."""
    named = {"\x1b": "escape", "[": "left_square_bracket", "~": "tilde", ";": "semicolon"}
    return [events.Key(named.get(one, one), one) for one in text]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("\x1b[A", ["escape", "up"]),
        ("\x1bOB", ["escape", "down"]),
        ("\x1b[6~", ["escape", "pagedown"]),
        ("\x1b[Z", ["escape", "shift+tab"]),
        ("\x1b[1;5A", ["escape"]),
        ("\x1b[15~A", ["escape", "A"]),
        ("\x1b\x1b[A", ["escape", "escape", "up"]),
        ("\x1bA", ["escape", "A"]),
        ("\x1b[!", ["escape", "left_square_bracket", "!"]),
        ("[A", ["left_square_bracket", "A"]),
    ],
)
def test_what_follows_an_escape_is_the_key_that_it_spells(text: str, keys: list[str]) -> None:
    """The rest of a sequence is its key, or nothing; what is no sequence is what was typed."""
    escapes = Escapes(lambda: 0.5)
    assert [one.key for event in typed(text) for one in escapes.take(event)] == keys
    assert not escapes.holding


def test_letters_long_after_an_escape_are_letters() -> None:
    """After a second the next bracket is a bracket, and one that was held is given back before what follows."""
    now = 0.0
    escapes = Escapes(lambda: now)
    escape, bracket, letter = typed("\x1b[A")
    escapes.take(escape)
    now += WITHIN_SECONDS + 0.1
    assert escapes.take(bracket) == [bracket]
    escapes.take(escape)
    assert escapes.take(bracket) == []
    now += WITHIN_SECONDS + 0.1
    assert escapes.late
    assert escapes.take(letter) == [bracket, letter]


@pytest.mark.parametrize("pieces", [["[", "A"], ["O", "A"], ["[", "B"]], ids="-".join)
@in_loop
async def test_a_torn_arrow_moves_the_cursor_and_opens_nothing(pieces: list[str]) -> None:
    """On Approvals an Escape and later `[A` moves the cursor up; no dialog of an act opens."""
    app = console(access_node(), place="approvals")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, "approvals")
        window = screen.query_one(Window)
        await pilot.press("j", "j")
        await until(pilot, lambda: window.position is not None and window.position[0] == 3)
        await pilot.press("escape")
        await pilot.press(*pieces)
        wanted = 4 if pieces[-1] == "B" else 2
        await until(pilot, lambda: window.position is not None and window.position[0] == wanted)
        assert not isinstance(app.screen, Dialog)


def stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_torn_sequence_on_a_real_terminal_opens_no_dialog() -> None:
    """Escape, 0.4 s, `[S` on a pty: not the dialog that suspends a peer."""
    with on_terminal() as terminal:
        os.write(terminal.master, b"\x1b")
        terminal.read(0.4)
        os.write(terminal.master, b"[S")
        terminal.read(0.5)
        assert b"Suspend this peer" not in terminal.text


def test_the_whole_screen_is_painted_after_a_stop() -> None:
    """SIGTSTP and SIGCONT: band, rows and keys are there again, without a key being pressed."""
    with on_terminal() as terminal:
        terminal.process.send_signal(signal.SIGTSTP)
        end = time.monotonic() + 20
        while not stopped(terminal.process.pid):
            assert time.monotonic() < end
            terminal.read(0.05)
        terminal.read(0.2)
        terminal.text = b""
        terminal.process.send_signal(signal.SIGCONT)
        for wanted in (b"1 of 500", b"quit", b"alice", b"peer-"):
            terminal.read_until(wanted)
