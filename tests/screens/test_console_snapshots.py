"""What the console looks like, in every state, at both first-class sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_node import FakeNode, console, settled, until, zoo
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.errors import Unusable
from fedtui.screens.trouble import Pulse

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Compare = Callable[..., bool]


def still(node: FakeNode, **options: object) -> Console:
    """A console whose clocks stand still."""
    app = console(node, **options)
    app.shared.pulse = Pulse(clock=lambda: 0.0)
    return app


@SIZES
def test_peers_several(snap_compare: Compare, size: tuple[int, int]) -> None:
    """Peers in every state tell their state by glyph and word, the drill-mode one loudly."""
    assert snap_compare(still(FakeNode(zoo())), terminal_size=size, run_before=settled)


@SIZES
def test_peers_demo(snap_compare: Compare, size: tuple[int, int]) -> None:
    """The demo names itself in the band and narrates beneath it."""
    app = still(FakeNode(zoo()[:2]), mode="DEMO", notice=lambda: "bravo accepted the invite")
    assert snap_compare(app, terminal_size=size, run_before=settled)


@SIZES
def test_peers_empty(snap_compare: Compare, size: tuple[int, int]) -> None:
    """A node without peers says what to do next."""
    assert snap_compare(still(FakeNode()), terminal_size=size, run_before=settled)


@SIZES
def test_peers_error(snap_compare: Compare, size: tuple[int, int]) -> None:
    """A node that cannot be opened says what is wrong, why, and what to do."""

    def fail() -> FakeNode:
        raise Unusable(
            "The vault key does not open this node's vault.",
            cause="vault.key was replaced, or belongs to another home.",
            fix="Put back the key this home was made with, then press r.",
        )

    app = still(FakeNode())
    app._open_node = fail
    assert snap_compare(app, terminal_size=size, run_before=settled)


@SIZES
def test_peers_stale(snap_compare: Compare, size: tuple[int, int]) -> None:
    """When reads begin to fail, the rows stay, and the screen says that they are stale."""
    node = FakeNode(zoo())
    app = still(node)

    async def lose(pilot: Pilot[None]) -> None:
        await settled(pilot)
        node.broken = OSError("disk I/O error")
        await until(pilot, lambda: app.shared.pulse.trouble is not None)
        await settled(pilot)

    assert snap_compare(app, terminal_size=size, run_before=lose)


@SIZES
@pytest.mark.parametrize("line", [0, 5, 7], ids=["degraded", "drill", "hostile"])
def test_peer_detail(snap_compare: Compare, size: tuple[int, int], line: int) -> None:
    """Enter shows one peer in words: its state and why, what comes next, and the rest."""

    async def open_it(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press(*"j" * line, "enter")
        await settled(pilot)

    assert snap_compare(still(FakeNode(zoo())), terminal_size=size, run_before=open_it)


@SIZES
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    """Help lists every key that works on the screen it was called from."""

    async def ask(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)

    assert snap_compare(still(FakeNode(zoo())), terminal_size=size, run_before=ask)


@SIZES
def test_peers_no_color(snap_compare: Compare, size: tuple[int, int], terminal: Callable[..., None]) -> None:
    """Without colour, the band, the cursor and the loud peer still stand out."""
    terminal(NO_COLOR="1")
    assert snap_compare(still(FakeNode(zoo())), terminal_size=size, run_before=settled)


@SIZES
def test_peers_ascii(snap_compare: Compare, size: tuple[int, int], terminal: Callable[..., None]) -> None:
    """Where the locale is not UTF-8, nothing but ASCII is drawn."""
    terminal(LANG="C")
    assert snap_compare(still(FakeNode(zoo())), terminal_size=size, run_before=settled)
