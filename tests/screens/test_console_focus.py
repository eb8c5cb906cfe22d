"""What is drawn as focused is what has the focus, in every dialog and form: Enter acts on what is lit."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from fake_node import console, in_loop, shown, until
from test_console_dialogs import WAYS, Way, on_top, open_dialog, opener
from test_console_rules import whole
from test_first_run import PLACE, Maker
from textual.geometry import NULL_REGION, Region
from textual.pilot import Pilot
from textual.widget import Widget

import fedtui
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.first_run import FirstRun
from fedtui.screens.shell.data_freshness import Trouble


def stops(dialog: Dialog[Any]) -> list[Widget]:
    """Every field and button that can take the focus now, in Tab's order."""
    return list(dialog.focus_chain)


def in_sight(dialog: Dialog[Any], widget: Widget) -> Region:
    """The part of a widget that is on the terminal."""
    region, clip = dialog._compositor.visible_widgets.get(widget, (NULL_REGION, NULL_REGION))
    return region.intersection(clip)


def assert_lit_is_focused(pilot: Pilot[Any], dialog: Dialog[Any]) -> None:
    """Of all fields and buttons in sight, only the focused one shows a reversed cell on the terminal."""
    strips = dialog._compositor.render_strips()
    lit = set()
    for widget in dialog.query("*"):
        place = in_sight(dialog, widget)
        for y in range(place.y, place.bottom) if widget.can_focus else ():
            if any(segment.style and segment.style.reverse for segment in strips[y].crop(place.x, place.right)):
                lit.add(widget)
    assert lit == {dialog.focused} - {None}, (dialog.focused, shown(pilot))


async def lights_what_it_focuses(pilot: Pilot[Any], dialog: Dialog[Any]) -> None:
    """On opening; after each Tab and Shift+Tab, all around; after a click on each; under another dialog, and back."""
    await until(pilot, lambda: dialog.focused is None or in_sight(dialog, dialog.focused))
    assert_lit_is_focused(pilot, dialog)
    for key in ("tab", "shift+tab"):
        for _ in range(len(stops(dialog)) + 1):
            await pilot.press(key)
            await until(pilot, lambda: dialog.focused is None or in_sight(dialog, dialog.focused))
            assert_lit_is_focused(pilot, dialog)
    for widget in reversed(stops(dialog)):
        if in_sight(dialog, widget) == widget.region:
            await pilot.mouse_down(widget, offset=(1, 0))
            await pilot.pause()
            assert dialog.focused is widget
            assert_lit_is_focused(pilot, dialog)
    await pilot.app.push_screen(Told(Trouble("It failed.", "", "")))
    over = await on_top(pilot, Told, dialog)
    assert_lit_is_focused(pilot, over)
    await pilot.press("escape")
    await until(pilot, lambda: pilot.app.screen is dialog)
    assert_lit_is_focused(pilot, dialog)


@pytest.mark.parametrize("way", WAYS, ids=[way.id for way in WAYS])
@in_loop
async def test_what_is_lit_has_the_focus_in_every_dialog(way: Way) -> None:
    """In each dialog what is lit is what has the focus: opened, after Tab, Shift+Tab and clicks, covered, uncovered,
    and opened once more."""
    node = whole()
    way.node(node)
    app = console(node, place=way.place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen, dialog = await open_dialog(pilot, way)
        await lights_what_it_focuses(pilot, dialog)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not dialog)
        if not way.then:
            await until(pilot, lambda: app.screen is screen)
            await pilot.press(*(opener(way) or ("colon", *way.command, "enter")))
            again = await on_top(pilot, way.kind, dialog)
            assert_lit_is_focused(pilot, again)
        if node.held is not None:
            node.held.set()


@in_loop
async def test_what_is_lit_has_the_focus_in_the_first_form() -> None:
    """The form that sets a node up lights what has the focus."""
    app = FirstRun(PLACE, Maker())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await lights_what_it_focuses(pilot, await on_top(pilot, Ask))


HANDLERS = ("on_focus", "_on_focus", "on_blur", "_on_blur", "on_descendant_focus", "on_descendant_blur")


def test_nothing_is_drawn_when_a_focus_event_arrives() -> None:
    """No widget or screen handles Focus or Blur: its handler would run before Textual has set `has_focus`."""
    root = Path(fedtui.__path__[0])
    defined = [
        f"{file.relative_to(root)}: {node.name}"
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in HANDLERS
    ]
    assert defined == []
