"""The first run: where there is no node yet, see the demo or set one up, before the console opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import urls
from fedtui.screens.dialogs.ask import Ask, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.dialogs.tell import Told
from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.shell.terminal import Leaving, over_ssh
from fedtui.screens.shell.terminal_app import TerminalApp
from fedtui.screens.widgets.paint import BLANK, Line, Lines, Part, paragraphs, row

LEAVE, DEMO, CONSOLE, CRASHED = "leave", "demo", "console", "crashed"
"""How a first run ends."""
ONE, SEVERAL = "one", "several"
NAME_LIMIT = 40
DEFAULT_PORT = 8443
FIRST_FREE_PORT = 1024
"""Below it, a port is for root."""
TEXT_WIDTH = 84
MARGIN = 3
INDENT = 2
PATIENCE_SECONDS = 10.0
"""How long a set-up under way is waited for on leaving, so that no half of a node stays behind."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node would be set up, and by whom. `host` is this machine's name, for a first guess at
    the node's; `listen` is set where the configuration has settled it."""

    home: Path
    operator: str
    host: str = ""
    listen: str = ""


@dataclass(frozen=True, slots=True)
class SetupAnswers:
    """The node to set up."""

    name: str
    url: str
    listen: str
    single_operator: bool


SetUp = Callable[[SetupAnswers], Mapping[str, str]]
"""Sets a node up and returns `name`, `url`, `listen`, `home`, `operator`, `ca_fingerprint` and `vault_key`.
Called beside the event loop; what it raises is shown."""


def listen_for(url: str) -> str:
    """Where a node of this URL should listen: on its port, unless that is for root; alone, if the URL is loopback.

    Empty while the URL is not one.
    """
    try:
        host, port = urls.host_port(urls.normalize(url))
    except WrongUsage:
        return ""
    if port < FIRST_FREE_PORT and os.geteuid() != 0:
        port = DEFAULT_PORT
    if host == "localhost" or host.startswith("127."):
        return f"127.0.0.1:{port}"
    if host == "::1":
        return f"[::1]:{port}"
    return f"[::]:{port}" if ":" in host else f"0.0.0.0:{port}"


class Form:
    """The questions about a node. What one says depends on another's answer, so it keeps the URL as typed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._url = ""

    def question(self, before: Mapping[str, str]) -> Question:
        """The form, filled in with what was answered before."""
        place = self._place
        name = place.host.partition(".")[0][:NAME_LIMIT]
        url = f"https://{place.host}:{DEFAULT_PORT}" if place.host else "https://"
        fields = [
            Field("name", "Name", before.get("name", name), "what people call it", required, limit=NAME_LIMIT),
            Field("url", "URL", before.get("url", url), "https://HOST[:PORT]", self.check_url, self.tell_url),
        ]
        if not place.listen:
            fields.append(
                Field(
                    "listen",
                    "Listens on",
                    before.get("listen", ""),
                    "HOST:PORT; empty: what fits the URL",
                    self.check_listen,
                    self.tell_listen,
                )
            )
        fields.append(
            Field("operators", "Operators", before.get("operators", ONE), tell=tell_operators, choices=(ONE, SEVERAL))
        )
        return Question(
            title="Set up a node",
            happens=(
                f"In {place.home}, readable by this account alone: its keys (vault.key), its own certificate "
                "authority, its database, and config.toml.",
                f"{place.operator} becomes its first operator, with every permission.",
            ),
            confirm="Set it up",
            fields=tuple(fields),
        )

    def wanted(self, answers: Mapping[str, str]) -> SetupAnswers:
        """The node that was described."""
        listen = self._place.listen or answers.get("listen", "").strip() or listen_for(answers["url"])
        return SetupAnswers(answers["name"].strip(), answers["url"].strip(), listen, answers["operators"] == ONE)

    def check_url(self, text: str) -> str:
        """It must be an https URL."""
        self._url = text
        try:
            urls.secure(text)
        except WrongUsage as wrong:
            return wrong.cause
        return ""

    def tell_url(self, _text: str) -> str:
        """What it is for."""
        return "where other platforms reach this node"

    def check_listen(self, text: str) -> str:
        """It must be HOST:PORT, or empty."""
        try:
            urls.split_listen(text.strip() or "127.0.0.1:0")
        except WrongUsage:
            return "HOST:PORT, with a port from 0 to 65535."
        return ""

    def tell_listen(self, text: str) -> str:
        """Where that is, and what has to be seen to elsewhere."""
        fits = listen_for(self._url)
        listen = text.strip() or fits
        if not fits or self.check_listen(listen):
            return ""
        host, port = urls.split_listen(listen)
        outside = urls.host_port(urls.normalize(self._url))[1]
        told = listen + (", all addresses" if host in ("0.0.0.0", "::") else "")  # noqa: S104 - words, not a socket
        return told + (f"; have port {outside} forwarded here" if port not in (outside, 0) else "")


def tell_operators(answer: str) -> str:
    """What the choice means."""
    if answer == ONE:
        return "you may approve your own requests; on record as such"
    return "requests wait for a second one (fedtui operators add)"


class Said(NamedTuple):
    """A paragraph; an empty one is a gap."""

    text: str = ""
    style: str = ""
    indent: int = 0


class Key(NamedTuple):
    """Keys, the action they call, and a word for the line of keys."""

    keys: str
    action: str
    word: str


class Page(Screen[None], inherit_bindings=False):
    """A page of text between a band and a line of keys."""

    title_words = ""
    keys: ClassVar[tuple[Key, ...]] = ()
    DEFAULT_CSS = """
    Page { background: ansi_default; color: ansi_default; layout: vertical; }
    Page #text { height: 1fr; }
    """

    def __init_subclass__(cls, **options: Any) -> None:
        cls.BINDINGS = [Binding(one.keys, one.action, one.word) for one in cls.keys]
        super().__init_subclass__(**options)

    def told(self) -> list[Said]:
        """The text."""
        return []

    def compose(self) -> ComposeResult:
        yield Lines(id="band")
        yield Lines(id="text")
        yield Lines(id="keys")

    def on_mount(self) -> None:
        """Show it."""
        self.show()

    def on_resize(self) -> None:
        """Wrap the words anew."""
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Bring the page up to date, unless it is gone already: setting up may take no time at all."""
        if not self.query("#keys"):
            return
        width = self.app.size.width
        self.query_one("#band", Lines).present(
            [row([("fedtui", "strong"), (self.title_words, "")], width=width, base="band-blue")]
        )
        lines: list[Line] = [BLANK]
        for text, style, indent in self.told():
            margin = MARGIN + indent
            lines += paragraphs([(text, style)], min(width, TEXT_WIDTH), margin=margin) if text else [BLANK]
        self.query_one("#text", Lines).present(lines)
        self.query_one("#keys", Lines).present([key_line(self.keys)])


def key_line(keys: tuple[Key, ...]) -> Line:
    """The line of keys."""
    parts: list[Part] = []
    x = 1
    for one in keys:
        first = one.keys.split(",")[0]
        name = {"enter": "Enter", "escape": "Esc"}.get(first, first)
        parts += Part(x, cell_len(name), name, "strong"), Part(x + cell_len(name) + 1, cell_len(one.word), one.word)
        x += cell_len(name) + cell_len(one.word) + 3
    return Line(tuple(parts))


class Offer(Page):
    """What can be done where there is no node."""

    title_words = "no node here yet"
    keys = (
        Key("d", "app.end('demo')", "see the demo"),
        Key("s,enter", "app.ask", "set up a node"),
        Key("q,escape", "app.end('leave')", "leave"),
    )

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def told(self) -> list[Said]:
        """The three ways on."""
        return [
            Said(f"There is no node in {self._place.home}.", "strong"),
            Said(),
            Said("d  See the demo", "strong"),
            Said(
                "Two real nodes on this machine peer with each other while you watch; the console opens on the "
                "first. Nothing of it stays.",
                indent=INDENT,
            ),
            Said(),
            Said("s  Set up a node here", "strong"),
            Said("A form: name, URL, who approves. Nothing is made before you confirm it.", indent=INDENT),
            Said(),
            Said("q  Leave", "strong"),
            Said("Nothing is made. Another place for a node: FEDTUI_HOME=DIR fedtui", indent=INDENT),
        ]


class Working(Page):
    """While the node is being made: a second or two."""

    title_words = "setting up"

    def told(self) -> list[Said]:
        """That it is under way."""
        return [Said("Making the keys, the certificate authority and the database.", "strong")]


class Result(Page):
    """What was made, and what to keep."""

    title_words = "set up"
    keys = (Key("enter", "app.end('console')", "open the console"), Key("q,escape", "app.end('leave')", "leave"))

    def __init__(self, made: Mapping[str, str]) -> None:
        super().__init__()
        self._made = made

    def told(self) -> list[Said]:
        """The node, its fingerprint, its key."""
        made = self._made
        rows = (("name", "name"), ("URL", "url"), ("listens on", "listen"), ("home", "home"), ("operator", "operator"))
        return [
            Said(f"The node {made['name']} is set up.", "strong"),
            Said(),
            *(Said(f"{label}: {made[key]}") for label, key in rows),
            Said(),
            Said("The fingerprint of its certificate authority, for others to compare:"),
            Said(made["ca_fingerprint"], "strong"),
            Said(),
            Said(f"Keep a copy of {made['vault_key']}, apart from the database's backups.", "warn"),
            Said("Whoever has both has the node; without the key nobody can open what the database holds."),
            Said(),
            Said("The console runs the node while it is open. To run it always: fedtui serve"),
        ]


class FirstRun(TerminalApp[str], inherit_bindings=False):
    """Offers, asks, sets up, tells; ends with LEAVE, DEMO or CONSOLE."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q,ctrl+c", "end('leave')", "Leave", priority=True)]

    def __init__(self, place: Place, set_up: SetUp) -> None:
        super().__init__()
        self._place = place
        self._set_up = set_up
        self._form = Form(place)
        self._answers: Mapping[str, str] = {}
        self._aside = BackgroundWorker("fedtui-set-up")

    @property
    def ending(self) -> str:
        """How it ended."""
        return CRASHED if self.return_code else self.return_value or LEAVE

    def get_default_screen(self) -> Screen[None]:
        """Begin with the offer."""
        return Offer(self._place)

    def action_end(self, how: str) -> None:
        """Leave."""
        self.exit(how)

    def action_ask(self) -> None:
        """Show the form."""
        self.push_screen(Ask(self._form.question(self._answers)), self._answered)

    def _answered(self, answers: Mapping[str, str] | None) -> None:
        if answers is not None:
            self._answers = answers
            self.push_screen(Working())
            self.run_worker(self._make(self._form.wanted(answers)), exit_on_error=False)

    async def _make(self, wanted: SetupAnswers) -> None:
        try:
            made = await self._aside.run(lambda: self._set_up(wanted))
        except Exception as error:
            self.pop_screen()
            self.push_screen(Told(trouble(error)), lambda _: self.action_ask())
        else:
            self.switch_screen(Result(made))

    def finish(self) -> None:
        """Let a set-up under way come to its end."""
        self._aside.close(lambda: None, patience=PATIENCE_SECONDS)


def run_first_run(place: Place, set_up: SetUp) -> str:
    """Run the first run on this terminal; how it ended: LEAVE, DEMO, CONSOLE or CRASHED."""
    app = FirstRun(place, set_up)
    try:
        with Leaving(app):
            app.run(mouse=not over_ssh(os.environ))
    finally:
        app.finish()
    return app.ending
