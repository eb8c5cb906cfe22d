"""The first run: the offer, the form that checks while one types, and what it says when it is done or fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fake_node import in_loop, shown, until
from textual.pilot import Pilot

from fedtui.core.errors import Unusable
from fedtui.screens.dialogs.ask import Ask
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.first_run import (
    CONSOLE,
    DEMO,
    LEAVE,
    FirstRun,
    Form,
    Offer,
    Place,
    Result,
    SetupAnswers,
    listen_for,
)

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Compare = Callable[..., bool]
HOME = Path("/home/ada/.local/share/fedtui")
PLACE = Place(HOME, "ada", host="north.example.org")
WANTED = SetupAnswers("north", "https://north.example.org:8443", "0.0.0.0:8443", single_operator=True)


class Maker:
    """Sets nodes up in memory: remembers what was wanted, and fails as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.wanted: list[SetupAnswers] = []
        self.failures = list(failures)
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, wanted: SetupAnswers) -> Mapping[str, str]:
        self.wanted.append(wanted)
        self.go_on.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        return {
            "name": wanted.name,
            "url": wanted.url,
            "listen": wanted.listen,
            "home": str(HOME),
            "operator": "ada",
            "ca_fingerprint": "sha256:" + "0123456789abcdef" * 4,
            "vault_key": str(HOME / "vault.key"),
        }


def port_taken() -> Unusable:
    return Unusable(
        "0.0.0.0:8443 cannot be listened on.",
        cause="[Errno 98] Address already in use",
        fix="See what uses it (ss -ltnp), or give another with --listen HOST:PORT.",
        code="port_unavailable",
    )


async def at(pilot: Pilot[str], screen: type[object]) -> None:
    """Wait until a screen of this kind is on top."""
    await until(pilot, lambda: isinstance(pilot.app.screen, screen))


async def fill_in(pilot: Pilot[str]) -> None:
    """From the offer to the last button of the form, and press it."""
    await pilot.press("s")
    await at(pilot, Ask)
    await pilot.press("tab", "tab", "tab", "tab", "tab", "enter")


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("https://north.example.org:9443", "0.0.0.0:9443"),
        ("https://127.0.0.1:9443/", "127.0.0.1:9443"),
        ("https://localhost:9443", "127.0.0.1:9443"),
        ("https://[::1]:9443", "[::1]:9443"),
        ("https://[2001:db8::5]:9443", "[::]:9443"),
        ("https://north.example.org", "0.0.0.0:8443"),
        ("not a url", ""),
    ],
)
def test_where_to_listen_follows_from_the_url(url: str, listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL's port, a free one in place of those for root; all addresses, unless the URL is loopback."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert listen_for(url) == listen


def test_a_port_that_has_to_be_forwarded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the node can't listen on the URL's port, the form says that somebody has to forward it."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    form = Form(PLACE)
    assert form.check_url("https://north.example.org") == ""
    assert form.tell_listen("") == "0.0.0.0:8443, all addresses; have port 443 forwarded here"
    assert form.check_url("ftp://x") != ""
    assert form.tell_listen("10.0.0.1:1") == ""


@pytest.mark.parametrize(("key", "ending"), [("d", DEMO), ("q", LEAVE), ("escape", LEAVE), ("ctrl+c", LEAVE)])
@in_loop
async def test_the_offer_ends_by_a_key(key: str, ending: str) -> None:
    """d means the demo; q, Esc and Ctrl-C leave; nothing is made."""
    maker = Maker()
    app = FirstRun(PLACE, maker)
    async with app.run_test() as pilot:
        await at(pilot, Offer)
        await pilot.press(key)
    assert (app.ending, maker.wanted) == (ending, [])


@in_loop
async def test_the_form_sets_the_node_up() -> None:
    """Taken as it is, the form makes the node it shows, then the console may open."""
    maker = Maker()
    app = FirstRun(PLACE, maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await fill_in(pilot)
        await at(pilot, Result)
        assert any("Keep a copy of" in line for line in shown(pilot))
        await pilot.press("enter")
    assert maker.wanted == [WANTED]
    assert app.ending == CONSOLE


@in_loop
async def test_a_wrong_answer_is_said_and_cannot_be_confirmed() -> None:
    """What is wrong shows while it is typed, and the button does nothing until it is right."""
    maker = Maker()
    app = FirstRun(PLACE, maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await at(pilot, Ask)
        await pilot.press("ctrl+u", "tab", "ctrl+u", *"http://x", "tab", *"8443", "tab", "tab")
        await until(pilot, lambda: any("HOST:PORT, with a port" in line for line in shown(pilot)))
        said = "\n".join(shown(pilot))
        assert "Name  This is needed." in said
        assert "It does not begin with https://" in said
        await pilot.press("tab", "enter")
        assert isinstance(app.screen, Ask)
    assert maker.wanted == []


@in_loop
async def test_a_failure_is_told_and_the_form_stays_filled_in() -> None:
    """A port in use is shown as a problem; then the form is there again with every answer."""
    maker = Maker(port_taken())
    app = FirstRun(PLACE, maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await at(pilot, Ask)
        await pilot.press("ctrl+u", *"south", "tab", "tab", "tab", "right", "tab", "tab", "enter")
        await at(pilot, Told)
        assert any("Address already in use" in line for line in shown(pilot))
        await pilot.press("escape")
        await at(pilot, Ask)
        await pilot.press("tab", "tab", *"127.0.0.1:9000", "tab", "tab", "tab", "enter")
        await at(pilot, Result)
    assert [one.name for one in maker.wanted] == ["south", "south"]
    assert [one.listen for one in maker.wanted] == ["0.0.0.0:8443", "127.0.0.1:9000"]
    assert [one.single_operator for one in maker.wanted] == [False, False]


@in_loop
async def test_where_the_configuration_says_where_to_listen_nobody_asks() -> None:
    """An address from config.toml or the environment is used as it is."""
    maker = Maker()
    app = FirstRun(Place(HOME, "ada", host="north.example.org", listen="127.0.0.1:7777"), maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await at(pilot, Ask)
        assert not app.screen.query("#field-listen")
        await pilot.press("tab", "tab", "tab", "tab", "enter")
        await at(pilot, Result)
    assert [one.listen for one in maker.wanted] == ["127.0.0.1:7777"]


@in_loop
async def test_leaving_waits_for_a_set_up_under_way() -> None:
    """When the terminal goes away while the node is being made, the making comes to its end."""
    maker = Maker()
    maker.go_on.clear()
    app = FirstRun(PLACE, maker)
    async with app.run_test(size=(80, 24)) as pilot:
        await fill_in(pilot)
        await until(pilot, lambda: maker.wanted)
        assert app.leave()
    threading.Timer(0.1, maker.go_on.set).start()
    app.finish()
    assert maker.go_on.is_set()
    assert app.ending == LEAVE


@SIZES
def test_first_run_offer(snap_compare: Compare, size: tuple[int, int]) -> None:
    """Two ways on, and one out."""
    assert snap_compare(FirstRun(PLACE, Maker()), terminal_size=size, run_before=lambda pilot: at(pilot, Offer))


@SIZES
@pytest.mark.parametrize("look", ["color", "no-color", "ascii"])
def test_first_run_form(snap_compare: Compare, size: tuple[int, int], look: str, terminal: Callable[..., None]) -> None:
    """The form over the offer; also without colour, and in ASCII."""
    terminal(**{"color": {}, "no-color": {"NO_COLOR": "1"}, "ascii": {"LANG": "C"}}[look])

    async def open_it(pilot: Pilot[str]) -> None:
        await pilot.press("s")
        await at(pilot, Ask)

    assert snap_compare(FirstRun(PLACE, Maker()), terminal_size=size, run_before=open_it)


@SIZES
def test_first_run_failed(snap_compare: Compare, size: tuple[int, int]) -> None:
    """What went wrong, why, and what to do."""

    async def fail(pilot: Pilot[str]) -> None:
        await fill_in(pilot)
        await at(pilot, Told)

    assert snap_compare(FirstRun(PLACE, Maker(port_taken())), terminal_size=size, run_before=fail)


@SIZES
def test_first_run_done(snap_compare: Compare, size: tuple[int, int]) -> None:
    """The node, its fingerprint, and what to keep."""

    async def make(pilot: Pilot[str]) -> None:
        await fill_in(pilot)
        await at(pilot, Result)

    assert snap_compare(FirstRun(PLACE, Maker()), terminal_size=size, run_before=make)
