"""The rules that hold in every dialog of the console, whoever opens it: ways out, danger, targets, terminals."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_access import request
from fake_node import NOW, SEEN, FakeNode, console, in_loop, page, shown, type_in, until
from test_console_certs import report
from test_console_rules import arrive, dialogs, whole
from test_console_table import CountingDriver, driver_of
from test_first_run import PLACE, Maker
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widget import Widget

import fedtui.screens
from fedtui.core.errors import Refused
from fedtui.core.node import OPERATIONS
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.box import Dialog
from fedtui.screens.dialogs.checked import Checked
from fedtui.screens.dialogs.field import Choice, Text
from fedtui.screens.dialogs.probing import Probing
from fedtui.screens.dialogs.tell import Secret, Shown, Told
from fedtui.screens.dialogs.wait import Waiting
from fedtui.screens.first_run import FirstRun
from fedtui.screens.node.forms import FORMS
from fedtui.screens.node.lists import LISTS
from fedtui.screens.shell.commands import BY_NAME, COMMANDS, DIALOGS, key_names
from fedtui.screens.shell.frame import Frame
from fedtui.screens.shell.prompt import CommandPrompt, FilterPrompt
from fedtui.screens.widgets.clean import clean, to_ascii
from fedtui.screens.widgets.press import Press

Then = tuple[type[Dialog[Any]], tuple[str, ...]]


@dataclass(frozen=True)
class Way:
    """How one gets to a dialog: from a place, after its `first` keys, by a command, and from each dialog in between by
    further keys. `title` is how its words begin.
    """

    place: str
    command: str
    title: str
    kind: type[Dialog[Any]] = Ask
    first: tuple[str, ...] = ()
    then: tuple[Then, ...] = ()
    node: Callable[[FakeNode], object] = lambda node: None

    @property
    def id(self) -> str:
        """The test's name."""
        return "-".join((self.place.partition("/")[0], self.command, self.kind.__name__, *("then" for _ in self.then)))


def refuses(node: FakeNode) -> None:
    node.refuses = Refused("No peer has that id.", fix="Read again.", code="peer_not_found")


def slow(node: FakeNode) -> None:
    node.held = threading.Event()


def lowered(node: FakeNode) -> None:
    end = NOW + timedelta(minutes=21)
    node.seen = replace(SEEN, lowered=(("system.federation_peer_revoke", "notify_and_proceed", end),))


def probed(node: FakeNode) -> None:
    node.probed = report("expired", "name_mismatch")


def timed_out(node: FakeNode) -> None:
    ended = request(7, "Propose to peer with https://november.example.org.", status="expired", requested_by="bob")
    node.others["approvals"] = {ended.id: ended}


WHY_ASKED: Then = (Ask, (*("tab",) * 7, "enter"))
WAYS = (
    Way("peers", "propose", "Propose to peer with a platform"),
    Way("peers", "accept", "Accept another platform's invite"),
    Way("peers", "token", "Make an acceptance token"),
    Way("peers", "cancel-token", "Cancel the acceptance token"),
    Way("peers", "confirm-endpoint", "Confirm an endpoint"),
    Way("peers", "suspend", "Suspend this peer"),
    Way("peers", "resume", "Resume this peer"),
    Way("peers", "revoke", "Revoke this peer for good"),
    Way("grants", "issue", "Issue a grant"),
    Way("grants", "edit", "Edit the grant"),
    Way("grants", "renew", "Renew this grant"),
    Way("grants", "revoke-grant", "Revoke this grant for good"),
    Way("grants", "why", "Why: put a call through every check"),
    Way("grants", "why", "Refused (403): source_ip_not_allowed", Checked, then=(WHY_ASKED,)),
    Way("grants", "why", "Do what helps", then=(WHY_ASKED, (Checked, ("f",)))),
    Way("approvals", "approve", "Approve this request"),
    Way("approvals", "reject", "Reject this request"),
    Way("approvals", "withdraw", "Withdraw your request"),
    Way("approvals", "again", "Ask again", node=timed_out),
    Way("approvals", "retry", "Try it again"),
    Way("certs", "renew-cert", "Renew this certificate"),
    Way("certs", "mint", "Mint again"),
    Way("certs", "revoke-cert", "Revoke this certificate for good"),
    Way("certs", "export", "we show delta.example.org:8443", Shown),
    Way("certs", "probe", "Probe of delta.example.org:8443", Probing, node=probed),
    Way("governance", "acknowledge", "Acknowledge this finding"),
    Way("playbook", "begin", "What does this mean?", first=("j",) * 20),
    Way("playbook/degraded", "go-on", "Have its operator start its daemon"),
    Way("playbook/degraded", "note", "A note for the transcript"),
    Way("playbook/degraded", "escalate", "Hand it up"),
    Way("playbook/degraded", "end-incident", "End the incident"),
    Way("playbook/degraded", "background", "What went on around it", Shown),
    Way("home", "pause-manager", "Pause the SDWAN Manager"),
    Way("home", "resume-manager", "Resume the SDWAN Manager"),
    Way("home", "add-operator", "Add an operator"),
    Way("home", "remove-operator", "Remove an operator"),
    Way("home", "operators", "Operators", Shown),
    *(Way("home", name, OPERATIONS[action].forms[name].title) for name, action in FORMS.items()),
    *(Way("home", name, listed.title, Shown) for name, listed in LISTS.items()),
    Way("home", "lower-policy", "EMERGENCY: lower a policy"),
    Way("home", "restore-policy", "Restore a policy", node=lowered),
    Way("home", "confirm-lowered", "Confirm what ran under a lowered policy"),
    Way(
        "peers",
        "suspend",
        "No peer has that id.",
        Told,
        then=((Ask, ("text:why", "tab", "tab", "enter")),),
        node=refuses,
    ),
    Way("peers", "token", "It is shown this once", Secret, then=((Ask, ("tab", "tab", "enter")),)),
    Way("peers", "resume", "Resuming ...", Waiting, then=((Ask, ("y",)),), node=slow),
    *(Way(place, "command", "a command:", CommandPrompt) for place in ("home", "playbook/degraded")),
    *(Way(place, "filter", "a text, or !text", FilterPrompt) for place in ("peers", "events")),
)
"""To every kind of dialog, and to every question that anything asks."""


async def open_dialog(pilot: Pilot[None], way: Way) -> tuple[Frame, Dialog[Any]]:
    """Go there; the screen beneath, and the dialog, ready for keys."""
    screen = await arrive(pilot, way.place)
    command = BY_NAME[way.command]
    await pilot.press(*way.first)
    for _ in range(20):
        if not screen.refusal(command):
            break
        await pilot.press("j")
    assert not screen.refusal(command), screen.refusal(command)
    await pilot.press(*(opener(way) or ("colon", *way.command, "enter")))
    dialog: Dialog[Any] | None = None
    for kind, keys in way.then:
        dialog = await on_top(pilot, kind, dialog)
        await type_in(pilot, *keys)
    return screen, await on_top(pilot, way.kind, dialog)


def opener(way: Way) -> tuple[str, ...]:
    """The key that the way begins with, where it has one."""
    return tuple(filter(None, BY_NAME[way.command].keys.split(",")[:1]))


async def on_top(pilot: Pilot[Any], kind: type[Dialog[Any]], before: Dialog[Any] | None = None) -> Dialog[Any]:
    """The dialog of this kind, once it takes keys."""
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, kind) and app.screen is not before and app.screen.ready)
    assert isinstance(app.screen, Dialog)
    return app.screen


def told(pilot: Pilot[Any], dialog: Dialog[Any]) -> str:
    """The words in the dialog's box, or of the whole screen where it has none."""
    for box in dialog.query(".box"):
        inside = box.content_region
        lines = shown(pilot)[inside.y : inside.bottom]
        return " ".join(" ".join(line[inside.x : inside.right] for line in lines).split())
    return page(pilot)


# --- what is true of each ----------------------------------------------------------------------


def fits_and_reads(pilot: Pilot[Any], dialog: Dialog[Any]) -> None:
    """Rules 4 and 5: ASCII without colour, nothing to scroll sideways, every button on the screen."""
    strips = dialog._compositor.render_strips()
    assert all(segment.text.isascii() for strip in strips for segment in strip), shown(pilot)
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    colours = {one.name for style in styles for one in (style.color, style.bgcolor) if one and not one.is_default}
    assert not colours - {"bright_black"}, colours  # a border's grey: Textual draws it, NO_COLOR filters it
    assert {widget.max_scroll_x for widget in dialog.query(VerticalScroll)} <= {0}
    assert all(len(line) <= 80 for line in shown(pilot))
    for button in dialog.query(Press):
        assert button.region.height == 1, button
        assert button.region.right <= dialog.query_one(".box").region.right - 2


def says_the_way_out(pilot: Pilot[Any], dialog: Dialog[Any]) -> None:
    """Rule 1: every key of its last line is there to be read, Esc among them."""
    words = told(pilot, dialog)
    assert "Esc " in words
    for command in dialog.commands():
        if command.name != "fix":  # that says what it does
            assert f"{key_names(command)[0]} {command.footer}" in words, command.name


def begins_where_it_does_no_harm(dialog: Dialog[Any]) -> None:
    """Rule 3: what has the focus is never what confirms; it is Cancel where nothing is to be filled in."""
    if isinstance(dialog, Ask):
        fields = dialog.query("Text, Choice")
        assert dialog.focused is (fields.first() if fields else dialog.query_one("#cancel"))


def names_its_targets(pilot: Pilot[Any], dialog: Dialog[Any], way: Way) -> None:
    """Rule 3: what it is done to stands there, each by its name."""
    command = BY_NAME[way.command]
    if isinstance(dialog, Ask) and not way.then:
        targets = dialog._question.targets
        assert bool(targets) == bool(command.target and command.danger != "none")
        for target in targets:
            assert " ".join(to_ascii(clean(target.label)).split()) in told(pilot, dialog)


async def shows_what_is_typed(pilot: Pilot[Any], dialog: Dialog[Any]) -> None:
    """Rule 4: in a form longer than the terminal, what has the focus is in sight with its label, there and back."""
    fields = list(dialog.query("Text, Choice")) if isinstance(dialog, Ask) else []
    for key in ("tab", "shift+tab"):
        for field in fields:
            assert dialog.focused is field
            assert_in_sight(field, dialog.query_one(f"#label-{field.field.key}"))  # type: ignore[attr-defined]
            await pilot.press(key)
            await pilot.pause()
        if fields:
            await pilot.press("shift+tab" if key == "tab" else "tab")
            await pilot.pause()
        fields.reverse()


def assert_in_sight(field: Widget, label: Widget) -> None:
    for one in (field, label):
        assert one.parent is not None
        box = one.parent.region  # type: ignore[attr-defined]
        assert box.contains_region(one.region), (one, one.region, box)


async def takes_more_than_the_opening_key(pilot: Pilot[Any], dialog: Dialog[Any], way: Way) -> None:
    """Rule 3: the key that opened it, pressed again, does not confirm, nor does Enter in what is filled in first."""
    if isinstance(dialog, Ask):
        await pilot.press(*(key for key in opener(way) if key != "enter"))
        if isinstance(dialog.focused, Text | Choice):
            await pilot.press("enter")
        await pilot.pause()


@pytest.mark.parametrize("way", WAYS, ids=[way.id for way in WAYS])
@in_loop
async def test_the_rules_hold_in_every_dialog(way: Way, terminal: Callable[..., None]) -> None:
    """At 80x24 with NO_COLOR and LANG=C each dialog can be read whole, says its keys and its targets, begins where it
    does no harm, is not confirmed by the key that opened it, and is left by Esc, with nothing asked of the node."""
    terminal(NO_COLOR="1", LANG="C")
    node = whole()
    way.node(node)
    app = console(node, place=way.place)
    async with app.run_test(size=(80, 24)) as pilot:
        screen, dialog = await open_dialog(pilot, way)
        asked = list(node.asked)
        await until(pilot, lambda: to_ascii(way.title) in told(pilot, dialog))
        fits_and_reads(pilot, dialog)
        says_the_way_out(pilot, dialog)
        begins_where_it_does_no_harm(dialog)
        names_its_targets(pilot, dialog, way)
        await shows_what_is_typed(pilot, dialog)
        await takes_more_than_the_opening_key(pilot, dialog, way)
        assert app.screen is dialog
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert node.asked == asked
        if node.held is not None:
            node.held.set()


@in_loop
async def test_the_rules_hold_in_the_first_form(terminal: Callable[..., None]) -> None:
    """The form that sets a node up is held to the same rules, and makes nothing when it is left."""
    terminal(NO_COLOR="1", LANG="C")
    maker = Maker()
    app = FirstRun(PLACE, maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        dialog = await on_top(pilot, Ask)
        fits_and_reads(pilot, dialog)
        says_the_way_out(pilot, dialog)
        begins_where_it_does_no_harm(dialog)
        await shows_what_is_typed(pilot, dialog)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not dialog)
        assert maker.wanted == []


QUIET = ("suspend", "background", "filter")


@pytest.mark.parametrize("way", [way for way in WAYS if way.command in QUIET and not way.then], ids=lambda way: way.id)
@in_loop
async def test_a_dialog_at_rest_writes_nothing(way: Way) -> None:
    """Rule 6: over two ticks under a dialog, not a byte goes to the terminal."""
    app = console(whole(), place=way.place)
    app.driver_class = CountingDriver
    async with app.run_test(size=(80, 24), headless=False) as pilot:
        await open_dialog(pilot, way)
        await driver_of(pilot).rests(1.2)


# --- that none is left out ---------------------------------------------------------------------


def questions() -> Iterator[tuple[str, str]]:
    """Every question in the source: its file, and how its title begins, as far as the source has it."""
    for file in Path(fedtui.screens.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Question":
                title: Any = node.args[0] if node.args else node.keywords[0].value
                while not isinstance(title, ast.Constant):
                    if not isinstance(title, ast.BinOp | ast.JoinedStr):
                        break  # it comes from elsewhere, as a fix's does
                    title = title.left if isinstance(title, ast.BinOp) else title.values[0]
                if isinstance(title, ast.Constant) and title.value:
                    yield file.name, title.value


def test_no_dialog_is_left_out() -> None:
    """The ways lead to every kind of dialog, every command that changes something, and every question in the source."""
    kinds = {kind for kind in dialogs() if not kind.__subclasses__()}
    assert kinds == {way.kind for way in WAYS}
    ours = {one.name for one in COMMANDS if one.danger != "none" and not set(one.where) & DIALOGS}
    assert ours - {way.command for way in WAYS} == set()
    titles = ("Set up a node", *(way.title for way in WAYS))
    assert [one for one in questions() if not any(title.startswith(one[1]) for title in titles)] == []
