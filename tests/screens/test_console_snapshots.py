"""What the console looks like, in every state, at both first-class sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from fake_node import SEEN, FakeNode, console, peer, settled, table, type_in, until, zoo
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.errors import Unusable
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Secret, Told
from fedtui.screens.dialogs.wait import Waiting
from fedtui.screens.peers.screen import PeerScreen
from fedtui.screens.shell.console_file import ConsoleFile
from fedtui.screens.shell.data_freshness import DataFreshness
from fedtui.screens.shell.frame import Frame
from fedtui.screens.shell.help import HelpScreen
from fedtui.screens.shell.prompt import CommandPrompt, FilterPrompt

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
ALL_AT_ONCE = replace(SEEN, manager_paused=True, drill_mode=True, waiting=12, daemons=0)


@dataclass(frozen=True)
class State:
    """How to get to a state: the node, the console's options, the keys, and what is on top then."""

    claim: str
    node: Callable[[], FakeNode] = lambda: FakeNode(zoo())
    keys: tuple[str, ...] = ()
    top: type[object] = Frame
    options: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    then: Callable[[Pilot[None], FakeNode], Awaitable[None]] | None = None


async def lose(pilot: Pilot[None], node: FakeNode) -> None:
    """The database breaks."""
    app = pilot.app
    assert isinstance(app, Console)
    node.broken = OSError("disk I/O error")
    await until(pilot, lambda: app.shared.pulse.trouble is not None)
    await pilot.pause(1.2)
    await settled(pilot)


async def hidden_marks(pilot: Pilot[None], node: FakeNode) -> None:
    """Three marks, two of them hidden by a filter."""
    await pilot.press(*["space"] * 4, "slash", *"kilo", "enter")
    await until(pilot, lambda: table(pilot).position == (1, 1))
    await pilot.press("S")
    await until(pilot, lambda: isinstance(pilot.app.screen, Ask) and pilot.app.screen.ready)


def seen(**fields: Any) -> FakeNode:
    """A node with two peers and this overview."""
    node = FakeNode(zoo()[:2])
    node.seen = replace(SEEN, **fields)
    return node


def preferring(given: dict[str, Any]) -> FakeNode:
    """A node whose operator prefers this."""
    node = FakeNode(zoo())
    node.preferred = given
    return node


def slow() -> FakeNode:
    """A node whose reads never come back in time."""
    node = FakeNode(zoo())
    node.delay = 2.0
    return node


def failing() -> FakeNode:
    """A node whose heartbeats do not arrive."""
    node = FakeNode(zoo())
    node.heartbeat_fails = "remote_refused: nothing listens on charlie.example.org:8443"
    return node


def held() -> FakeNode:
    """A node whose database another program holds."""
    node = FakeNode(zoo())
    node.refuses = Unusable(
        "Another program holds the node's database.",
        cause="database is locked (/srv/fedtui/fedtui.db)",
        fix="See which one (fuser FILE, lsof FILE) and let it finish, or stop it; then try again.",
        code="database_unavailable",
    )
    return node


async def once_more(pilot: Pilot[None], _node: FakeNode) -> None:
    """Close what tells that it failed, and press the key again."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Told) and pilot.app.screen.ready)
    await type_in(pilot, "escape", "p")


def everything() -> FakeNode:
    """A node in every mode at once."""
    node = FakeNode(zoo())
    node.seen = ALL_AT_ONCE
    return node


NO_COLOR = {"NO_COLOR": "1"}
ASCII = {"LANG": "C"}
BROKEN = {"text": "degraded", "sort": "url"}
PROPOSED = ("p", "text:https://new.example", *["enter"] * 3, "text:as agreed", "enter", "enter")
STATES = {
    "peers-several": State("Peers in every state tell it by glyph and word, the drill-mode one loudly."),
    "peers-demo": State(
        "The demo names itself in the band and narrates beneath it.",
        lambda: FakeNode(zoo()[:2]),
        options={"mode": "DEMO", "notice": lambda: "bravo accepted the invite"},
    ),
    "peers-empty": State("A node without peers says what to do next.", FakeNode),
    "peers-loading": State("Until the first read is back, the table says that it reads.", slow),
    "peers-stale": State("When reads fail, the rows stay, and the screen says that they are stale.", then=lose),
    "peers-filter": State("A filter is shown while it is typed.", keys=("slash", "text:!example"), top=FilterPrompt),
    "peers-nothing-found": State("A filter that leaves nothing says so.", keys=("slash", *"xyz", "enter")),
    "peers-marks": State("Marks are glyphs at the edge, and counted.", keys=("space", "space", "j", "space")),
    "peers-no-color": State("Without colour, band, cursor and loud peer still stand out.", variables=NO_COLOR),
    "peers-high-contrast": State(
        "High contrast: bright on black, and what matters most black on bright.",
        keys=("j", "space"),
        options={"file": ConsoleFile(theme="high-contrast")},
    ),
    "peers-light": State("On a light ground no yellow and no cyan.", options={"file": ConsoleFile(theme="ansi-light")}),
    "dialog-high-contrast": State(
        "A dangerous dialog in high contrast.",
        keys=("X",),
        top=Ask,
        options={"file": ConsoleFile(theme="high-contrast")},
    ),
    "views": State(
        "`V` shows the saved views, and what each is.",
        lambda: preferring({"view/peers/broken": BROKEN, "view/peers/night": {"columns": ["state", "url"]}}),
        keys=("V",),
        top=CommandPrompt,
    ),
    "peers-ascii": State("Where the locale is not UTF-8, nothing but ASCII is drawn.", variables=ASCII),
    "band-all-tags": State(
        "Every tag at once leaves room for the name and the freshness.",
        everything,
        options={"mode": "DEMO", "read_only": True},
    ),
    "band-all-tags-no-color": State(
        "Tags stand out of the band without colour, too.", everything, options={"mode": "DEMO"}, variables=NO_COLOR
    ),
    "band-another-node": State("Another node has another colour.", lambda: seen(node_id="n-3", waiting=2)),
    "refused": State("A key that may not be used now says why.", keys=("t",), options={"read_only": True}),
    "help": State("Help has every command, and why it cannot be used.", keys=("question_mark",), top=HelpScreen),
    "command": State("The prompt shows what fits, with keys and reasons.", keys=("colon", *"re"), top=CommandPrompt),
    "dialog-propose": State("A form says what happens, and what is still needed.", keys=("p",), top=Ask),
    "dialog-propose-wrong": State("A wrong address is named.", keys=("p", "text:ftp://gamma", "tab"), top=Ask),
    "dialog-accept": State("A mangled invite is named.", keys=("a", "text:fi1oops"), top=Ask),
    "dialog-suspend": State("Every target is listed, also those hidden.", then=hidden_marks, top=Ask),
    "dialog-revoke": State(
        "Revoking asks for the address.", keys=("X", "text:contract ended", "tab", "text:charlie.example.or"), top=Ask
    ),
    "dialog-revoke-ascii": State("Dialogs are ASCII where they must be.", keys=("X",), top=Ask, variables=ASCII),
    "dialog-resume-no-color": State(
        "Cancel has the focus, seen without colour.",
        lambda: FakeNode([peer(1, status="suspended")]),
        keys=("R",),
        top=Ask,
        variables=NO_COLOR,
    ),
    "dialog-secret": State(
        "A secret says that it is shown once.",
        lambda: FakeNode([peer(1, status="proposed")]),
        keys=("t", "enter", "enter"),
        top=Secret,
    ),
    "dialog-problem-kept": State("What was filled in is kept, and that is said.", held, keys=PROPOSED, top=Told),
    "dialog-propose-again": State("The form has it again.", held, keys=PROPOSED, then=once_more, top=Ask),
    "dialog-problem": State("A problem has cause, fix and key.", failing, keys=("h",), top=Told),
    "peer-degraded": State("A peer in full: states, endpoints, what it declares.", keys=("enter",), top=PeerScreen),
    "peer-end": State("The end of it: certificates, times, events.", keys=("enter", *"j" * 30), top=PeerScreen),
    "peer-drill": State("A peer that takes any caller says so.", keys=("j", "enter"), top=PeerScreen),
    "peer-hostile": State("A hostile address is spelled out.", keys=("G", *"kkkkkk", "enter"), top=PeerScreen),
    "peer-unknown": State("An id that is nobody's is said.", options={"place": "peers/0000"}, top=PeerScreen),
}


@pytest.mark.parametrize(
    ("state", "size"),
    [(state, size) for state, here in STATES.items() for size in SIZES if size == "80x24" or not here.variables],
)
def test_looks(snap_compare: Compare, terminal: Callable[..., None], state: str, size: str) -> None:
    """Each state looks as it did when somebody last looked at it and found it good (see the claims)."""
    here = STATES[state]
    terminal(**here.variables)
    node = here.node()
    app = console(node, **here.options)
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)

    async def go(pilot: Pilot[None]) -> None:
        if node.delay:
            await until(pilot, lambda: app.shared.node is not None)
            app.screen.update()  # type: ignore[attr-defined]
            return
        await settled(pilot)
        await type_in(pilot, *here.keys)
        if here.then is not None:
            await here.then(pilot, node)
        await until(pilot, lambda: isinstance(app.screen, here.top) and getattr(app.screen, "ready", True))
        await pilot.pause(0.1)
        await settled(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=go)


@pytest.mark.parametrize("size", SIZES)
def test_peers_error(snap_compare: Compare, size: str) -> None:
    """A node that cannot be opened says what is wrong, why, what to do, and the key that tries again."""

    def fail() -> FakeNode:
        raise Unusable(
            "The vault key does not open this node's vault.",
            cause="vault.key was replaced, or belongs to another home.",
            fix="Put back the key this home was made with, then press r.",
        )

    app = console(FakeNode())
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)
    app._open_node = fail
    assert snap_compare(app, terminal_size=SIZES[size], run_before=settled)


def test_dialog_waiting(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes its time says what it is, how far, and how to leave it."""
    node = FakeNode([peer(1), peer(2)])
    app = console(node)
    app.shared.pulse = DataFreshness(clock=lambda: 0.0)

    async def go(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press("space", "space", "S", *"why", "tab", "tab")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        monkeypatch.setattr("fedtui.screens.dialogs.wait.time", SimpleNamespace(monotonic=lambda: 1000.0))
        node.delay = 3
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, Waiting) and app.screen.ready)

    assert snap_compare(app, terminal_size=(80, 24), run_before=go)
