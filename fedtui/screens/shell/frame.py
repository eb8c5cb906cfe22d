"""What every screen has: the band on top, a line of keys at the bottom, and a calm clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from fedtui import manual
from fedtui.core.errors import WrongUsage
from fedtui.screens.dialogs.tell import Shown
from fedtui.screens.node import lists, operators
from fedtui.screens.node.actions import NODE_ACTS, begin
from fedtui.screens.node.lists import LISTS
from fedtui.screens.shell.band import band, key_lines, trail_line
from fedtui.screens.shell.commands import BY_NAME, EVERYWHERE, Command, at, bindings, completions
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.data_freshness import trouble
from fedtui.screens.shell.node_handle import NodeHandle
from fedtui.screens.shell.prompt import CommandPrompt
from fedtui.screens.shell.record_search import ROUTED, records_with
from fedtui.screens.shell.saved_views import REMEMBER, THEME
from fedtui.screens.widgets.paint import BLANK, Lines, Painted, paragraphs
from fedtui.screens.widgets.palettes import PALETTES

TICK_SECONDS = 0.5
FRAME = "frame"
WIDE = 120
"""Cells from which on there is room for two columns."""
TALL = 18
"""Lines from which on the keys may take two of them."""


class Frame(Screen[None], inherit_bindings=False):
    """A screen between the band and the line of keys.

    Subclasses say where they are (`places`, for their commands), give `body`, and `tick` it.
    A command runs as the method `do_NAME`; whether it may, `refusal` says.
    """

    places: ClassVar[tuple[str, ...]] = (EVERYWHERE,)
    DEFAULT_CSS = """
    Frame { background: ansi_default; color: ansi_default; layout: vertical; }
    Frame #keys { height: auto; }
    Frame #notice, Frame #said { display: none; height: auto; max-height: 3; }
    Frame #notice.-shown, Frame #said.-shown { display: block; }
    """

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__()
        self.shared = shared

    def __init_subclass__(cls, **options: Any) -> None:
        cls.BINDINGS = [*bindings(*cls.places)]
        super().__init_subclass__(**options)

    @property
    def place(self) -> str:
        """Where this is, as `:` and deep links write it: `peers`, `peers/ID`."""
        return ""

    def trail(self) -> str:
        """Where this is, in words, from the outermost place inwards."""
        return ""

    def body(self) -> Iterator[Widget]:
        """The widgets between band and keys."""
        yield from ()

    def tick(self) -> None:
        """Bring the body up to date; called twice a second and when something changed."""

    def compose(self) -> ComposeResult:
        yield Lines(id="band")
        yield Lines(id="notice")
        yield Lines(id="trail")
        yield from self.body()
        yield Lines(id="said")
        yield Lines(id="keys")

    def on_mount(self) -> None:
        """Start the clock. It stands still while another screen is on top."""
        self.set_class(Painted.ascii_only, "-ascii")
        self._clock = self.set_interval(TICK_SECONDS, self.update)

    def on_screen_suspend(self) -> None:
        """Something is on top. Under a dialog the band goes on, and all else keeps still (rule 2)."""
        self.hold(True)
        if not isinstance(self.app.screen, ModalScreen):
            self._clock.pause()

    def on_screen_resume(self) -> None:
        """On top again."""
        self.hold(False)
        self._clock.resume()
        self.update()

    def hold(self, still: bool) -> None:
        """Stop refreshing what the body shows, or go on."""

    def on_resize(self) -> None:
        """Fit the lines to the new width."""
        self.call_after_refresh(self.update)

    def update(self) -> None:
        """Bring the screen up to date. What goes wrong here is shown, and must not end the console."""
        if not self.is_mounted:
            return
        try:
            width = self.size.width
            self.query_one("#band", Lines).present([band(self.shared, width)])
            self.query_one("#trail", Lines).present([trail_line(self.trail(), self.remark(), width)])
            if self.is_current:
                self._present_if(self.shared.notice(), "#notice", "›", "notice")
                self._present_if(self.shared.said(), "#said", "!", "warn")
                most = 2 if self.size.height >= TALL else 1
                self.query_one("#keys", Lines).present(key_lines(self.commands_shown(), width, most=most))
                self.tick()
        except Exception as error:
            self.shared.pulse.miss(error, FRAME)
        else:
            self.shared.pulse.rest(FRAME)

    def _present_if(self, text: str, id: str, glyph: str, style: str) -> None:
        block = self.query_one(id, Lines)
        block.present(paragraphs([(f"{glyph} {text}", style)], self.size.width, margin=1) if text else [BLANK])
        block.set_class(bool(text), "-shown")

    def action_scroll(self, lines: int) -> None:
        """Scroll by so many lines what the body shows, where it is longer than the screen."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_scroll_page(self, pages: int) -> None:
        """Scroll by so many pages; a line of the one before stays in sight."""
        self.action_scroll(pages * max(self.query_one(VerticalScroll).size.height - 1, 1))

    def remark(self) -> str:
        """A few words for the right end of the trail."""
        return ""

    def commands(self) -> list[Command]:
        """The commands that work here."""
        return at(*self.places)

    def commands_shown(self) -> list[tuple[Command, bool]]:
        """Those of the line of keys, and whether each may be used now."""
        shown = [one for one in self.commands() if one.footer]
        if self.shared.pulse.trouble is not None:
            shown.insert(0, replace(BY_NAME["refresh"], footer="try again"))
        return [(one, not self.refusal(one)) for one in shown]

    def refusal(self, command: Command) -> str:
        """Why a command may not be used now, in a sentence; empty when it may."""
        return self.shared.refusal(command)

    def action_run(self, name: str) -> None:
        """Run a command, or say why not."""
        command = BY_NAME[name]
        if reason := self.refusal(command):
            self.say(reason)
            return
        if command.place:
            self.go(command.place)
            return
        if command.takes:
            self._prompt(f"{name} ")
            return
        if name in NODE_ACTS:
            begin(self, command)
            return
        if name in LISTS:
            self._show_list(name)
            return
        run: Callable[[], None] | None = getattr(self, _method(name), None)
        if run is None:
            self.say(f"{name} does not work here.")
        else:
            run()

    def say(self, text: str) -> None:
        """Show a line above the keys for a few seconds."""
        self.shared.say(text)
        self.update()

    # The commands that work everywhere

    def do_help(self) -> None:
        """Show the keys and commands of this screen."""
        self.go("help")

    def do_back(self) -> None:
        """One step out, unless a key before was one already."""
        if self.is_current and len(self.app.screen_stack) > 1:
            self.app.pop_screen()
            self.go("..")

    def do_command(self) -> None:
        """Ask for a command."""
        self._prompt("")

    def _prompt(self, typed: str) -> None:
        prompt = CommandPrompt(
            self.commands(), self.refusal, self.arguments, typed, search=self._search, history=self.shared.typed
        )
        self.app.push_screen(prompt, self._run_typed)

    async def _search(self, place: str, text: str) -> Sequence[tuple[str, str]]:
        """Records of a place in which a text is found."""
        if not self.shared.opened.is_set():
            return ()
        return await self.shared.aside.run(lambda: records_with(self.shared, place, text))

    async def _go_to(self, place: str, text: str) -> None:
        """Go to the one record that begins with an id or holds a text; to the list of them where there are several."""
        if place in ROUTED:
            self.go(f"{place}/{text}")
            return
        try:
            found = await self._search(place, text)
        except Exception as error:
            self._tell_failed(error)
            return
        if len(found) > 1:
            self.shared.filters[place] = text
            self.go(place)
        else:
            self.go(f"{place}/{found[0][0] if found else text}")

    def _tell_failed(self, error: Exception) -> None:
        """Say what went wrong with what was asked of the prompt."""
        failed = trouble(error)
        self.say(f"{failed.problem} {failed.fix}")

    def take_filter(self) -> None:
        """Show what this place was gone to for, where it has a filter."""

    def arguments(self, command: Command) -> Sequence[tuple[str, str]]:
        """What may be typed behind a command, each with a few words on what it is."""
        if command.name == "theme":
            return [(name, palette.told) for name, palette in PALETTES.items()]
        if command.name == "manual":
            return [(page.topic, page.title) for page in manual.topics()]
        return [("on", ""), ("off", "")] if command.name == "remember" else []

    def _run_typed(self, typed: str | None) -> None:
        words = (typed or "").split()
        if not words:
            return
        self.shared.typed.append(" ".join(words))
        name, rest = words[0].lower(), words[1:]
        known = [one for one in self.commands() if one.name.startswith(name)]
        found = [one for one in known if one.name == name] or known
        if len(found) == 1 and found[0].place and rest:
            self.app.run_worker(self._go_to(found[0].place, " ".join(rest)), group="go", exit_on_error=False)
        elif len(found) == 1 and found[0].takes:
            getattr(self, _method(found[0].name))(" ".join(rest))
        elif len(found) == 1:
            self.run_command(found[0])
        else:
            near = ", ".join(one.name for one in completions(name, self.commands())[:4])
            self.say(f"There is no command {name!r}." + (f" Did you mean {near}?" if near else " ? lists them."))

    def run_command(self, command: Command) -> None:
        """Run a command as its key would."""
        if command.action:
            self.call_later(self.run_bound, command.action)
        else:
            self.action_run(command.name)

    async def run_bound(self, action: str) -> None:
        """Run a Textual action where the keys are."""
        await self.app.run_action(action, default_namespace=self.focused or self)

    def do_operators(self) -> None:
        """Show the operators, and how one is added and let in."""
        self._show_text("Operators", lambda node: operators.listing(node.operators()), "fedtui operators list")

    def _show_list(self, name: str) -> None:
        listed = LISTS[name]
        self._show_text(listed.title, lambda node: lists.text(listed, node.rows_of(name)), listed.instead)

    def _show_text(self, title: str, read: Callable[[NodeHandle], str], instead: str) -> None:
        """Show a text that is read beside the event loop. `instead` is the shell's command for it."""

        async def showing() -> None:
            try:
                node = self.shared.opened_node()
                text = await self.shared.aside.run(lambda: read(node))
            except Exception as error:
                self._tell_failed(error)
                return
            await self.app.push_screen_wait(Shown(title, text, instead=instead))

        self.app.run_worker(showing(), group="act", exit_on_error=False)

    def do_theme(self, name: str) -> None:
        """Take another theme, and keep it for this operator."""
        if name not in PALETTES:
            unknown = f"There is no theme {name!r}. " if name else ""
            self.say(f"{unknown}Themes: {', '.join(PALETTES)}.")
            return
        self.app.post_message(Wear(name))
        without = " NO_COLOR is set, so it shows none." if self.app.no_color else ""
        self.keep({THEME: name}, f"Theme {name}.{without}")

    def do_manual(self, topic: str) -> None:
        """Open a page of the manual; without a topic, the list of topics."""
        try:
            self.go(f"manual/{manual.page(topic).topic if topic else ''}")
        except WrongUsage as error:
            self.say(f"{error.problem} {error.fix}")

    def do_remember(self, switch: str) -> None:
        """Whether the last saved view of each table comes back at the next start."""
        if switch not in ("on", "off"):
            now = "on" if self.shared.preferences.get(REMEMBER) else "off"
            self.say(f"It is {now}: the last saved view of each table comes back at the next start only if it is on.")
            return
        on = switch == "on"
        self.keep({REMEMBER: on or None}, f"The next start begins with {'the last saved views' if on else 'no view'}.")

    def keep(self, given: Mapping[str, Any], said: str) -> None:
        """Keep preferences beside the event loop, and say so."""

        async def keeping() -> None:
            try:
                lasts = await self.shared.prefer(given)
            except Exception as error:
                told = trouble(error, what="It could not be kept.")
                self.say(f"{told.problem} {told.fix}")
            else:
                self.say(said if lasts else f"{said} This console is read-only: it holds until you leave.")

        self.app.run_worker(keeping(), group="keep", exit_on_error=False)

    def do_doctor_all(self) -> None:
        """Begin the wizard with everything."""
        self.go("playbook/everything")

    def do_previous(self) -> None:
        """The view before this one."""
        self.go("-")

    def go(self, place: str) -> None:
        """Go to a place; the app knows the way."""
        self.app.post_message(Go(place))

    def do_refresh(self) -> None:
        """Open the node again if it is not open."""
        self.app.post_message(Go("refresh"))

    def do_quit(self) -> None:
        """Leave."""
        self.app.exit()


def _method(name: str) -> str:
    return "do_" + name.replace("-", "_")


class Wear(Message):
    """Take a theme; the app has it."""

    bubble = True

    def __init__(self, theme: str) -> None:
        super().__init__()
        self.theme = theme


class Go(Message):
    """Go to a place: `peers`, `peers/ID`, `-` for the one before, `<` for where a wizard was begun; `..` tells of a
    step out."""

    bubble = True

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
