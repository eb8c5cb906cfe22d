"""A list of records: the table, the one under the cursor beside it, filter, order, view and marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from fedtui.screens.peers.columns import paragraph_lines
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.model import L
from fedtui.screens.shell.commands import Command, key_of
from fedtui.screens.shell.console_context import ConsoleContext, Records
from fedtui.screens.shell.frame import WIDE
from fedtui.screens.shell.prompt import FilterPrompt
from fedtui.screens.shell.saved_views import REMEMBER, View, read
from fedtui.screens.widgets.paint import Lines, paragraphs
from fedtui.screens.widgets.reading import Query
from fedtui.screens.widgets.window import Window


class ListScreen(Acting[L]):
    """The live table of one kind of records, and beside it, where there is room, the one under the cursor."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - Textual declares it so
    DEFAULT_CSS: ClassVar[str] = """
    ListScreen #sides { height: 1fr; }
    ListScreen #detail {
        display: none; width: 40; height: 1fr; padding: 0 1; border-left: solid ansi_bright_black;
    }
    ListScreen.-ascii #detail { border-left: ascii ansi_bright_black; }
    ListScreen.-wide #detail { display: block; }
    ListScreen #trouble { display: none; height: auto; max-height: 30%; }
    ListScreen #trouble.-shown { display: block; }
    """

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__(shared)
        self._sorts: Sequence[str] = (self.kind.first_sort,)
        self._table: Window[L] = Window(
            self.kind.columns(shared),
            query=Query(self.kind.first_sort, view=self.kind.views[0]),
            empty=self.kind.empty,
            now=shared.now,
            aside=shared.aside,
            pulse=shared.pulse,
            tail=self.kind.tail,
            rest=lambda: shared.rest,
            id=self.kind.place,
        )

    def body(self) -> Iterator[Widget]:
        """The table, the detail beside it, and a line for what is wrong."""
        yield Horizontal(self._table, Lines(id="detail"), id="sides")
        yield Lines(id="trouble")

    def on_mount(self) -> None:
        """Wait for the node, then follow its records. (Textual calls the frame's own `on_mount` itself.)"""
        self.run_worker(self._follow(), exit_on_error=False)

    def on_screen_resume(self) -> None:
        """Come from elsewhere with a filter in mind. (Textual calls the frame's own `on_screen_resume` itself.)"""
        self.take_filter()

    def take_filter(self) -> None:
        """Filter by what this place was gone to for."""
        if (text := self.shared.filters.pop(self.kind.place, None)) is not None:
            self._filter(text)

    async def _follow(self) -> None:
        await self.shared.opened.wait()

        def reach() -> Records[L]:
            return self.shared.source_of(self.shared.opened_node(), self.kind.place)

        try:
            source = await self.shared.aside.run(reach)
        except Exception as error:
            self.shared.pulse.miss(error)
            return
        self._sorts = source.sorts
        self._begin_as_before()
        await self._table.follow(source)

    def hold(self, still: bool) -> None:
        """The table keeps still under a dialog, and while another screen is on top."""
        self._table.hold(still)

    def acted(self, ids: Sequence[str], *, all_done: bool) -> None:
        """What it is done to is no longer marked; where it failed, the mark stays for the next try."""
        self._table.unmark(ids)

    def tick(self) -> None:
        """Ages in the table, the detail of the record under the cursor, and what is wrong with the reads."""
        self._table.tick()
        detail = self.query_one("#detail", Lines)
        if detail.display:
            now, line = self.shared.now(), self._table.current
            told = [] if line is None else self.kind.describe(line, now, self.shared)
            detail.present(paragraph_lines(told, detail.size.width))
        wrong = self.query_one("#trouble", Lines)
        trouble = self.shared.pulse.trouble if self._table.has_rows else None
        if trouble is not None:
            wrong.present(paragraphs(trouble.told(), self.size.width, margin=1))
        wrong.set_class(trouble is not None, "-shown")

    @property
    def place(self) -> str:
        """The kind's own place."""
        return self.kind.place

    def trail(self) -> str:
        """Where this is, with view and filter if there are any."""
        query = self._table.asked
        view = f"  {query.view}" if query.view else ""
        return f"{self.kind.title}{view}" + (f"  /{'!' if query.invert else ''}{query.text}" if query.text else "")

    def remark(self) -> str:
        """Marks, the order, and the cursor's place among how many."""
        place, count = self._table.position or (0, 0)
        marked = f"{len(self._table.marks)} marked   " if self._table.marks else ""
        order = f"by {self._table.asked.sort}   " if len(self._sorts) > 1 else ""
        return f"{marked}{order}{place} of {count}" if count else marked

    def refusal(self, command: Command) -> str:
        """Besides what holds everywhere: an act on records needs one, in the right state."""
        reason = super().refusal(command)
        if reason or not command.target:
            return reason
        if self._table.marks and command.target == "marks":
            return ""
        line = self._table.current
        return self.kind.refusal(command.name, line) if line else f"There is no {self.kind.noun} under the cursor."

    def selected(self, command: Command) -> list[str]:
        """The ids a command acts on: the marks, where there are any and it takes them, else the cursor's row."""
        if command.target == "marks" and self._table.marks:
            return list(self._table.marks)
        line = self._table.current
        return [line.id] if command.target and line is not None else []

    def do_sort(self) -> None:
        """Take the next order; the cursor stays with its record."""
        query = self._table.asked
        place = self._sorts.index(query.sort) + 1
        self._table.ask(replace(query, sort=self._sorts[place % len(self._sorts)]))
        self.update()

    def do_part(self) -> None:
        """Look at the next part of the records."""
        query, views = self._table.asked, self.kind.views
        place = views.index(query.view) + 1
        self._table.ask(replace(query, view=views[place % len(views)]))
        self.update()

    # Saved views

    @property
    def _first(self) -> View:
        """The table as it comes."""
        return View(Query(self.kind.first_sort, view=self.kind.views[0]))

    def _kept(self) -> dict[str, View]:
        """The operator's views of this table, by name."""
        beneath = f"view/{self.kind.place}/"
        columns = self._table.every_column
        return {
            key.removeprefix(beneath): read(
                value, self._first, sorts=self._sorts, parts=self.kind.views, columns=columns
            )
            for key, value in sorted(self.shared.preferences.items())
            if key.startswith(beneath)
        }

    def arguments(self, command: Command) -> Sequence[tuple[str, str]]:
        """Views by their names, columns by theirs."""
        if command.name == "columns":
            return [(key, "shown" if key in self._table.shown_columns else "") for key in self._table.every_column]
        if command.name in ("view", "save", "forget"):
            return [(name, view.told()) for name, view in self._kept().items()]
        return super().arguments(command)

    def _begin_as_before(self) -> None:
        """At the start: the view that was looked through last, where the operator wants that."""
        name = self.shared.preferences.get(f"last/{self.kind.place}")
        untouched = self._table.asked == self._first.query
        if self.shared.preferences.get(REMEMBER) and untouched and (view := self._kept().get(str(name))):
            self._look_through(view)
            self.say(f"As you left it: the view {name}. {key_of('view')}, then Enter, shows all.")

    def _look_through(self, view: View) -> None:
        self._table.choose(view.columns)
        self._ask(replace(view.query, until=self._table.asked.until))

    def do_view(self, name: str) -> None:
        """Look through a saved view; without a name, as the table comes."""
        view = self._kept().get(name) if name else self._first
        if view is None:
            known = ", ".join(self._kept()) or f"none; {key_of('save')} NAME makes one"
            self.say(f"There is no view {name!r} of {self.kind.title}. There is: {known}.")
            return
        self._look_through(view)
        self.keep({f"last/{self.kind.place}": name or None}, f"The view {name}." if name else "The table as it comes.")

    def do_save(self, name: str) -> None:
        """Save how the table is looked at."""
        if not name:
            self.say("It needs a name: :save NAME")
            return
        place, view = self.kind.place, View(self._table.asked, self._table.chosen)
        given = {f"view/{place}/{name}": view.kept(), f"last/{place}": name}
        self.keep(given, f"Saved as {name}; {key_of('view')} takes you back to it.")

    def do_forget(self, name: str) -> None:
        """Forget a saved view."""
        if name not in self._kept():
            self.say(f"There is no view {name!r} of {self.kind.title}.")
            return
        place = self.kind.place
        last = {f"last/{place}": None} if self.shared.preferences.get(f"last/{place}") == name else {}
        self.keep({f"view/{place}/{name}": None, **last}, f"The view {name} is forgotten.")

    def do_columns(self, typed: str) -> None:
        """Show only these columns; none: all that fit."""
        wanted, known = typed.replace(",", " ").split(), self._table.every_column
        if unknown := [one for one in wanted if one not in known]:
            self.say(f"There is no column {unknown[0]!r}. There is: {', '.join(known)}.")
            return
        self._table.choose(wanted)
        hidden = [one for one in wanted if one not in self._table.shown_columns]
        if hidden:
            self.say(f"There is no room for {', '.join(hidden)} here.")

    def do_filter(self) -> None:
        """Ask for a filter, and show what it leaves while it is typed."""
        query = self._table.asked
        self.app.push_screen(FilterPrompt(("!" if query.invert else "") + query.text, self._filter))

    def _filter(self, typed: str) -> None:
        text = typed.strip()
        invert = text.startswith("!")
        query = replace(self._table.asked, text=text.removeprefix("!"), invert=invert and len(text) > 1)
        if query != self._table.asked:
            self._ask(query)

    def _ask(self, query: Query) -> None:
        """Show these from now on."""
        self._table.ask(query)
        self.update()

    def do_back(self) -> None:
        """Take the filter away."""
        self._filter("")

    def do_refresh(self) -> None:
        """Read again; open the node again if it is not open."""
        super().do_refresh()
        self._table.ask(self._table.asked)

    def on_window_looked(self) -> None:
        """Another record under the cursor, or newer data."""
        self.update()

    def on_window_opened(self, message: Window.Opened) -> None:
        """Show the record on a screen of its own."""
        self.go(f"{self.kind.place}/{message.id}")
