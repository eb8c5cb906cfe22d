"""Saved views and themes: kept per operator, back at the next start where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_node import FakeNode, console, in_loop, page, rows, settled, table, trail, type_in, until, zoo
from rich.color import Color
from textual.pilot import Pilot

from fedtui.core.errors import WrongUsage
from fedtui.core.node import Node
from fedtui.screens.shell.console_file import ConsoleFile
from fedtui.screens.shell.prompt import CommandPrompt
from fedtui.screens.shell.saved_views import View, read
from fedtui.screens.widgets.paint import Painted
from fedtui.screens.widgets.palettes import DARK, PALETTES
from fedtui.screens.widgets.reading import Query

KEPT = {"sort": "url", "text": "degraded", "invert": True, "part": "", "columns": ["url", "state"]}
FIRST = View(Query("urgency"))
OPTIONS: dict[str, Any] = {"sorts": ("urgency", "url"), "parts": ("",), "columns": ["state", "url", "role"]}


async def command(pilot: Pilot[None], text: str) -> None:
    """Type a command behind `:`."""
    await type_in(pilot, "colon", f"text:{text}", "enter")


def heading(pilot: Pilot[None]) -> list[str]:
    """The titles of the columns."""
    return [part.text for part in table(pilot).shown[0].parts]


@in_loop
async def test_a_view_is_saved_and_looked_through_again() -> None:
    """Filter, order and columns come back under their name, also by `V`, which shows what there is."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await type_in(pilot, "slash", "text:!degraded", "enter", "s")
        await command(pilot, "columns url state")
        await until(pilot, lambda: heading(pilot) == ["Address", "State"])
        await command(pilot, "save night.shift")
        await until(pilot, lambda: node.preferred == {"view/peers/night.shift": KEPT, "last/peers": "night.shift"})
        await command(pilot, "view")
        await until(pilot, lambda: "of 14" in trail(pilot) and "by urgency" in trail(pilot))
        assert heading(pilot)[0] == "State"
        assert len(heading(pilot)) > 2
        await pilot.press("V")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandPrompt) and pilot.app.screen.ready)
        await until(pilot, lambda: "night.shift /!degraded by url columns url state" in page(pilot))
        await pilot.press("n", "tab", "enter")
        await until(pilot, lambda: "of 13" in trail(pilot) and "by url" in trail(pilot))
        assert heading(pilot) == ["Address", "State"]
        assert not any("degraded" in row for row in rows(pilot))
        await command(pilot, "forget night.shift")
        await until(pilot, lambda: node.preferred == {})


@pytest.mark.parametrize("remember", [True, None])
@in_loop
async def test_the_last_view_comes_back_where_that_is_wanted(remember: bool | None) -> None:
    """The next start begins with the last view only for who has said :remember on, and says so."""
    node = FakeNode(zoo())
    node.preferred = {"view/peers/mine": KEPT, "last/peers": "mine"} | ({"remember": True} if remember else {})
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        if remember:
            await until(pilot, lambda: "/!degraded" in trail(pilot) and "As you left it: the view mine." in page(pilot))
        else:
            assert "of 14" in trail(pilot)
        await command(pilot, "remember on" if not remember else "remember off")
        await until(pilot, lambda: node.preferred.get("remember") is (None if remember else True))


@in_loop
async def test_what_does_not_exist_is_said() -> None:
    """A view, column, theme or switch that does not exist is named, with what there is; so is what was refused."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for typed, said in (
            ("view nobody", "There is no view 'nobody' of Peers. There is: none; :save NAME makes one"),
            ("forget nobody", "There is no view 'nobody' of Peers."),
            ("columns url colour", "There is no column 'colour'. There is: state, role, url"),
            ("theme mauve", "There is no theme 'mauve'. Themes: ansi-dark, ansi-light, high-contrast"),
            ("remember perhaps", "It is off"),
            ("save", "It needs a name: :save NAME"),
        ):
            await command(pilot, typed)
            await until(pilot, lambda said=said: said in page(pilot))  # type: ignore[misc]
        node.refuses = WrongUsage("'*' cannot be a name.", cause="It is none.", fix="Choose one like night-shift.")
        await command(pilot, "save *")
        await until(pilot, lambda: "'*' cannot be a name. Choose one like night-shift." in page(pilot))


@in_loop
async def test_a_read_only_console_keeps_nothing() -> None:
    """There a view and a theme hold until one leaves; nothing is written, and that is said."""
    node = FakeNode(zoo())
    async with console(node, read_only=True).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await type_in(pilot, "slash", "text:degraded", "enter")
        await command(pilot, "save mine")
        await until(pilot, lambda: "it holds until you leave" in page(pilot))
        await command(pilot, "view")
        await until(pilot, lambda: "of 14" in trail(pilot))
        await command(pilot, "view mine")
        await until(pilot, lambda: "of 1" in trail(pilot))
        assert node.preferred == {}


@pytest.mark.parametrize(
    "kept",
    [None, "x", [], {}, {"sort": 3, "text": ["x"], "columns": "url", "invert": "yes", "part": None}, {"columns": [{}]}],
)
def test_a_view_that_was_kept_otherwise_does_no_harm(kept: object) -> None:
    """What a later or earlier program kept, or nobody did, leaves the table as it comes."""
    assert read(kept, FIRST, **OPTIONS) == FIRST


def test_a_view_is_read_as_it_was_kept() -> None:
    """All of it comes back; a column that is gone is left out."""
    view = View(Query("url", "x", True), ("url", "role"))
    assert read(view.kept() | {"columns": ["url", "gone", "role"]}, FIRST, **OPTIONS) == view


# --- themes ------------------------------------------------------------------------------------


def test_every_palette_knows_every_style() -> None:
    """Whatever a screen asks for by name, each palette has."""
    assert all(set(palette.styles) == set(DARK) for palette in PALETTES.values())


@pytest.mark.parametrize("name", [name for name, palette in PALETTES.items() if not palette.ground])
def test_palettes_keep_to_sixteen_colours(name: str) -> None:
    """What keeps the terminal's own ground keeps to its own sixteen colours."""
    used = [colour for style in PALETTES[name].styles.values() for colour in (style.color, style.bgcolor) if colour]
    assert all(colour == Color.parse(colour.name) and (colour.number or 0) < 16 for colour in used)


def test_high_contrast_has_nothing_dim_and_nothing_dark_on_dark() -> None:
    """Every style is bright on black or black on bright."""
    styles = PALETTES["high-contrast"].styles
    for style in (styles[""] + one for one in styles.values()):
        assert not style.dim
        assert style.color is not None
        assert style.bgcolor is not None
        light, dark = sorted((sum(one.get_truecolor()) for one in (style.color, style.bgcolor)), reverse=True)
        assert (dark, light >= 255) == (0, True)


def drawn(pilot: Pilot[None]) -> set[str]:
    """The colours on the screen."""
    styles = [segment.style for strip in pilot.app.screen._compositor.render_strips() for segment in strip]
    return {one.name for style in styles if style for one in (style.color, style.bgcolor) if one and not one.is_default}


@in_loop
async def test_a_theme_is_worn_at_once_and_kept() -> None:
    """`:theme NAME` changes what is drawn, on every screen, and the next console of the operator begins with it."""
    node = FakeNode(zoo())
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "green" in drawn(pilot)
        await command(pilot, "theme high-contrast")
        await until(pilot, lambda: node.preferred == {"theme": "high-contrast"})
        await until(pilot, lambda: "green" not in drawn(pilot) and "#ffff00" in drawn(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "charlie" in trail(pilot))
        assert "green" not in drawn(pilot)
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "#ffff00" in drawn(pilot))
    async with console(FakeNode(zoo()), file=ConsoleFile(theme="blue-yellow")).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "bright_blue" in drawn(pilot)
    async with console(FakeNode(zoo())).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert Painted.styles_by_name is DARK


@pytest.mark.parametrize("theme", PALETTES)
@in_loop
async def test_no_color_wins(theme: str, terminal: Callable[..., None]) -> None:
    """With NO_COLOR no theme has colours, and choosing one says so."""
    terminal(NO_COLOR="1")
    node = FakeNode(zoo())
    node.preferred = {"theme": theme}
    async with console(node).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert drawn(pilot) <= {"bright_black"}  # the scrollbar's grey, which NO_COLOR filters on its way out
        await command(pilot, f"theme {theme}")
        await until(pilot, lambda: "NO_COLOR is set, so it shows none." in page(pilot))
        assert drawn(pilot) <= {"bright_black"}


@in_loop
async def test_views_last_in_a_real_node(node: Node) -> None:
    """Saved by one console, looked through by the next, in the database that all the operator's consoles share."""
    from fedtui.app import Console

    def opened() -> Console:
        return Console(lambda: node, place="events")

    app = opened()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query("#events") and "Events all" in page(pilot))
        await type_in(pilot, "slash", "text:init", "enter", "v")
        await command(pilot, "save births")
        await until(pilot, lambda: "view/events/births" in node.preferences())
        await command(pilot, "remember on")
        await until(pilot, lambda: node.preferences().get("remember") is True)
    app = opened()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query("#events") and "Events medium or graver /init" in page(pilot))
