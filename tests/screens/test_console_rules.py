"""The rules that hold on every screen of the console: keys, help, ways back, danger, and terminals of all kinds."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
from fake_access import access_node
from fake_node import FakeNode, console, in_loop, page, shown, trail, until, zoo
from fake_record import record_node
from test_console_certs import node as certs_node
from test_console_home import busy
from test_console_playbook import node as sick_node
from test_console_table import CountingDriver, driver_of
from textual.pilot import Pilot

from fedtui.app import Console
from fedtui.core.errors import Unusable
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.node.actions import NODE_ACTS
from fedtui.screens.node.lists import LISTS as TEXT_LISTS
from fedtui.screens.shell.commands import (
    ALWAYS,
    BY_NAME,
    COMMANDS,
    DIALOGS,
    EVERYWHERE,
    TOGETHER,
    Command,
    at,
    key_names,
)
from fedtui.screens.shell.frame import Frame
from fedtui.screens.shell.help import HelpScreen
from fedtui.screens.widgets.window import Window


def whole() -> FakeNode:
    """A node with something of everything."""
    node = access_node()
    node.peers = {line.id: line for line in zoo()}
    for other in (record_node(), certs_node(), sick_node("cause")):
        node.others |= other.others
        node.records |= other.records
    sick = sick_node("cause")
    node.incident_shapes, node.stands, node.diagnosed = sick.incident_shapes, sick.stands, sick.diagnosed
    node.glance = busy()
    return node


NODE = whole()
LISTS = ("peers", "grants", "approvals", "certs", "events", "governance")
PLACES = [
    "home",
    *LISTS,
    f"peers/{next(iter(NODE.peers))}",
    *(f"{place}/{next(iter(NODE.others[place]))}" for place in LISTS[1:]),
    "playbook",
    "playbook/degraded",
]
IDS = [place.partition("/")[0] + ("-one" if "/" in place else "") for place in PLACES]
everywhere = pytest.mark.parametrize("place", PLACES, ids=IDS)


async def arrive(pilot: Pilot[None], place: str) -> Frame:
    """Wait for the place, with all that it shows."""
    app = pilot.app
    assert isinstance(app, Console)

    def there() -> bool:
        screen = app.screen
        return (
            isinstance(screen, Frame)
            and screen.place.partition("/")[0] == place.partition("/")[0]
            and ("/" in screen.place or "/" not in place)
        )

    await until(pilot, there)
    await until(pilot, lambda: app.shared.overview is not None and "Reading" not in page(pilot))
    await until(pilot, lambda: not getattr(app.screen, "_busy", False))
    screen = app.screen
    assert isinstance(screen, Frame)
    for window in screen.query(Window):
        await until(pilot, lambda window=window: window.position is not None)  # type: ignore[misc]
    screen.update()
    await pilot.pause()
    return screen


def screens() -> Iterator[type[Frame]]:
    """Every screen with a band and a line of keys: in every module but those that others build on."""
    import fedtui.screens

    for module in pkgutil.walk_packages(fedtui.screens.__path__, "fedtui.screens."):
        for kind in vars(import_module(module.name)).values():
            shown = module.name.rpartition(".")[2] in ("screen", "wizard", "help")
            if shown and isinstance(kind, type) and issubclass(kind, Frame) and kind.__module__ == module.name:
                yield kind


def dialogs() -> Iterator[type[Dialog[object]]]:
    """Every kind of dialog."""
    waiting = [*Dialog.__subclasses__()]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield kind


# --- keys (rules 1 and 3) ---------------------------------------------------------------------


def test_the_table_knows_every_screen() -> None:
    """What may stand together in one place, as console.toml is checked against it, is what the screens declare."""
    assert {frozenset(kind.places) for kind in screens()} == {frozenset(together) for together in TOGETHER}


def test_no_key_means_two_things_in_one_place() -> None:
    """In the table of commands no key is taken twice where both rows hold."""
    for kind in (*screens(), *dialogs()):
        keys = [key for command in at(*kind.places, ALWAYS) for key in command.keys.split(",") if key]
        assert len(keys) == len(set(keys)), kind
    assert len(BY_NAME) == len(COMMANDS)


MEANINGS = {
    "enter": "go on with what is picked, open, lead, begin, go-on, choose, press, close, close-*",
    "escape": "one step out: back, cancel, close, close-*, done, stop-waiting, leave-it",
    "q": "leave: quit, close, close-*",
    "tab": "the next: next, next-fix, complete",
    "shift+tab": "the one before: before, fix-before",
    "space": "take this one: mark, turn, press",
    "right": "to the right: turn, right",
    "left": "to the left: turn-back, left",
    "j,down": "down: pick-next, down, scroll-down, next, choose-next",
    "k,up": "up: pick-before, up, scroll-up, before, choose-before",
    "g,home": "the first: pick-first, first, scroll-first",
    "G,end": "the last: pick-last, last, scroll-last",
    "pagedown": "a page down: page-down, text-down, scroll-page-down",
    "pageup": "a page up: page-up, text-up, scroll-page-up",
    "d": "doctor: doctor, examine",
    "n": "anew: renew, renew-cert, again, scan",
    "a": "take on: accept, acknowledge",
    "x": "show in full, to copy: export, export-incident, report",
    "X": "for good: revoke, revoke-grant, revoke-cert",
    "o": "go to what it is about: go-to, settle",
    "v": "the next part: part, severity, state",
    "c": "copy: copy, copy-text",
    "f": "do what helps: fix, do-fix",
}
"""The keys that several commands have, and the one meaning that they share."""


def test_a_key_means_the_same_everywhere() -> None:
    """Whoever has learnt a key on one screen knows it on all: commands share one only where it means the same."""
    meant = {key: text.replace(":", ",").split(", ") for keys, text in MEANINGS.items() for key in keys.split(",")}
    for command in COMMANDS:
        for key in filter(None, command.keys.split(",")):
            sharing = [one.name for one in COMMANDS if key in one.keys.split(",") and one is not command]
            family = command.name.partition("-")[0] + "-*"
            if sharing:
                assert key in meant, f"{key}: {command.name} and {', '.join(sharing)}"
                assert command.name in meant[key] or family in meant[key], f"{key} means {meant[key][0]}"


def test_every_command_of_a_screen_can_be_run() -> None:
    """Each row of the table leads to an action that its screen, its table, or the program has."""
    for kind in screens():
        acts = getattr(getattr(kind, "kind", None), "acts", {})
        for command in at(*kind.places):
            name = f"action_{command.action.partition('(')[0]}" if command.action else f"do_{command.name}"
            has = any(hasattr(one, name.replace("-", "_")) for one in (kind, Window))
            known = {*acts, *NODE_ACTS, *TEXT_LISTS}
            assert has or command.name in known or command.place, (
                kind,
                command.name,
            )


def test_nothing_that_confirms_opens_a_dialog() -> None:
    """The key that confirms is no act's key, and every act is asked about by a dialog of its kind."""
    confirming = set(BY_NAME["confirm"].keys.split(","))
    for command in COMMANDS:
        if not set(command.where) & DIALOGS:
            assert confirming.isdisjoint(command.keys.split(",")), command.name


# --- help, and the ways back (rule 1) ----------------------------------------------------------


@everywhere
@in_loop
async def test_help_has_every_key(place: str) -> None:
    """`?` tells each command of the screen with its keys; it is closed by the same key, and Esc and `-` lead back."""
    app = console(whole(), place=place)
    async with app.run_test(size=(120, 120)) as pilot:
        screen = await arrive(pilot, place)
        where = trail(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and ":back" in page(pilot))
        told = page(pilot)
        for command in at(*screen.places):
            line = f"{', '.join(key_names(command))} :{command.name} {command.help}"
            assert " ".join(line.split()) in told, command.name
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("2" if place != "grants" else "1")
        await until(pilot, lambda: app.screen is not screen and trail(pilot) != where)
        await pilot.press("minus")
        await until(pilot, lambda: isinstance(app.screen, Frame) and app.screen.place == screen.place)
        if "/" in place:
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, Frame) and app.screen.place == place.partition("/")[0])


@everywhere
@in_loop
async def test_keys_that_may_not_be_used_stay_and_say_why(place: str) -> None:
    """Read-only: every act of every screen is refused with the reason, and none of them leaves the line of keys."""
    app = console(whole(), place=place, read_only=True)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await arrive(pilot, place)
        for command in screen.commands():
            if command.permission or command.danger != "none":
                assert screen.refusal(command) == "This console is read-only.", command.name
                if command.footer:
                    assert f"{key_names(command)[0]} {command.footer}" in page(pilot)
        assert (app.shared.node.asked if isinstance(app.shared.node, FakeNode) else None) == []


@everywhere
@in_loop
async def test_stale_data_lock_what_is_dangerous(place: str) -> None:
    """When the database cannot be reached, the band says so on every screen, and dangerous keys say why not."""
    node = whole()
    app = console(node, place=place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, place)
        node.broken = OSError("disk I/O error")
        await until(pilot, lambda: app.shared.pulse.stale and "STALE" in shown(pilot)[0])
        dangerous = [one for one in screen.commands() if one.danger == "dangerous"]
        assert dangerous
        for command in dangerous:
            assert "stale" in screen.refusal(command), command.name


# --- terminals (rules 4, 5 and 6) --------------------------------------------------------------


@everywhere
@in_loop
async def test_ascii_however_small_the_terminal(place: str, terminal: Callable[..., None]) -> None:
    """20x5 with LANG=C, where nothing fits and much scrolls, also in what tells of trouble: nothing but ASCII."""
    terminal(LANG="C")
    app = console(whole(), place=place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, place)
        await pilot.resize_terminal(20, 5)
        app.shared.pulse.miss(Unusable("It did not answer. " * 9, cause="Nobody knows.", fix="Wait."))
        screen.say("A long sentence. " * 9)
        await pilot.pause()
        lines = app.screen._compositor.render_strips()
        assert all(segment.text.isascii() for strip in lines for segment in strip), shown(pilot)


@everywhere
@in_loop
async def test_readable_without_colour_and_without_unicode(place: str, terminal: Callable[..., None]) -> None:
    """80x24 with NO_COLOR and LANG=C: nothing but ASCII, no colour, nothing to scroll sideways, and a line of keys."""
    terminal(NO_COLOR="1", LANG="C")
    app = console(whole(), place=place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, place)
        lines = app.screen._compositor.render_strips()
        assert all(segment.text.isascii() for strip in lines for segment in strip)
        styles = [segment.style for strip in lines for segment in strip if segment.style]
        colours = {one.name for style in styles for one in (style.color, style.bgcolor) if one and not one.is_default}
        assert not colours - {"bright_black"}, colours  # a border's grey: Textual draws it, NO_COLOR filters it
        assert all(len(line) <= 80 for line in shown(pilot))
        assert {widget.max_scroll_x for widget in screen.query("VerticalScroll, Window")} <= {0}
        assert "? help" in page(pilot)
        assert "q quit" in page(pilot)


@everywhere
@in_loop
async def test_a_tick_without_a_change_writes_nothing(place: str) -> None:
    """Over several ticks without a change, not a byte goes to the terminal."""
    app = console(whole(), place=place)
    app.driver_class = CountingDriver
    async with app.run_test(size=(80, 24), headless=False) as pilot:
        await arrive(pilot, place)
        await driver_of(pilot).rests(2.2)


# --- danger (rule 3) ---------------------------------------------------------------------------

DANGEROUS = [
    (place, command)
    for place in ("home", *LISTS)
    for command in at(*{"governance": ("findings",)}.get(place, (place,)), *((EVERYWHERE,) if place == "home" else ()))
    if command.danger == "dangerous"
]


@pytest.mark.parametrize(
    ("place", "command"), DANGEROUS, ids=[f"{place}-{command.name}" for place, command in DANGEROUS]
)
@in_loop
async def test_danger_takes_more_than_one_key(place: str, command: Command) -> None:
    """A dangerous key opens a dialog whose confirming button has no focus; pressing it again, and Enter, do nothing."""
    node = whole()
    app = console(node, place=place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await arrive(pilot, place)
        for _ in range(20):
            if not screen.refusal(command):
                break
            await pilot.press("j")
        assert not screen.refusal(command), screen.refusal(command)
        opening = command.keys.split(",") if command.keys else ["colon", *command.name, "enter"]
        await pilot.press(*opening)
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.ready)
        dialog = app.screen
        assert dialog.focused is not None
        assert dialog.focused.id != "confirm"
        await pilot.press(*(command.keys.split(",") if command.keys else ["enter"]), "enter")
        await pilot.pause(0.1)
        assert node.asked == []
        if app.screen is dialog:
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is not dialog)
        assert node.asked == []
