"""Events: what happened, as it happens, newest on top; what each is about is a key away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from fedtui.screens.events.view import columns, describe, describe_record, event_name, leads_to
from fedtui.screens.records.acting import Acting
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import BY_NAME, DETAIL, EVENT, EVENTS, EVERYWHERE, TABLE
from fedtui.screens.shell.console_context import ConsoleContext, Records
from fedtui.screens.widgets.reading import Query
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.audit.listing import EventLine

READER = "tail"
COUNT_SECONDS = 1.0
NO_THING = "This event is about nothing that has a place of its own."


class _Events(Kind["EventLine"]):
    """Events are looked at, and led on from; nothing is done to them."""

    def about(self, line: EventLine) -> str:
        """The request where it is about one, else the peer."""
        place, _, id = leads_to(line).partition("/")
        return f"approval:{id}" if place == "approvals" else super().about(line)

    def refusal(self, name: str, line: EventLine) -> str:
        """Why a command is not for this event."""
        return NO_THING if name == "go-to" and not leads_to(line) else super().refusal(name, line)


EVENTS_KIND = _Events(
    place="events",
    title="Events",
    noun="event",
    acts={},
    first_sort="newest",
    empty=Empty("No events here.", ("{severity}   Show those of every severity",)),
    columns=columns,
    name=event_name,
    label=event_name,
    describe=describe,
    describe_record=describe_record,
    record=lambda node, id: node.event_record(id),
    views=("all", "medium or graver", "high or graver", "critical"),
    tail=True,
)


def _go_to(screen: Acting[EventLine]) -> None:
    """Go to the thing that an event is about."""
    [id] = screen.selected(BY_NAME["go-to"])

    async def go() -> None:
        line = await screen.line_of(id)
        screen.go(leads_to(line)) if line is not None else screen.say("That event is gone.")

    screen.app.run_worker(go(), group="act", exit_on_error=False)


class EventsScreen(ListScreen["EventLine"]):
    """The live tail. On the newest line the cursor stays with the newest; elsewhere with its event."""

    kind = EVENTS_KIND
    places: ClassVar[tuple[str, ...]] = (EVENTS, TABLE, EVERYWHERE)

    def __init__(self, shared: ConsoleContext) -> None:
        super().__init__(shared)
        self._source: Records[EventLine] | None = None
        self._meanwhile = 0

    def trail(self) -> str:
        """Besides the filter: whether it stands still, and how many came since."""
        paused = f"  PAUSED, {self._meanwhile} came meanwhile" if self._table.asked.until else ""
        return super().trail() + paused

    def do_pause(self) -> None:
        """Let the list end with what is the newest now, however one moves in it; or go on."""
        if self._table.asked.until:
            self._ask(replace(self._table.asked, until=""))
        else:
            self.run_worker(self._pause(), group="pause", exclusive=True, exit_on_error=False)

    async def _pause(self) -> None:
        """Pause, and count what comes while it is."""
        node, newest = self.shared.opened_node(), Query("newest")

        def last() -> str:
            self._source = self._source or self.shared.source_of(node, self.kind.place)
            with self._source.reading() as reading:
                return next((line.id for line in reading.page(newest, limit=1)), "")

        def since(query: Query) -> int:
            assert self._source is not None  # noqa: S101 - `last` has made it
            with self._source.reading() as reading:
                return reading.rank(replace(query, until="", sort="newest"), (query.until,))

        try:
            until = await self.shared.aside.run(last)
            self._meanwhile = 0
            self._ask(replace(self._table.asked, until=until))
            while query := self._table.asked if self._table.asked.until == until and until else None:
                if self.is_current:
                    self._meanwhile = await self.shared.aside.run(lambda query=query: since(query))  # type: ignore[misc]
                    self.update()
                await asyncio.sleep(COUNT_SECONDS)
        except Exception as error:
            self.shared.pulse.miss(error, READER)
        else:
            self.shared.pulse.rest(READER)

    def do_severity(self) -> None:
        """Show only the graver ones."""
        self.do_part()

    def do_go_to(self) -> None:
        """Go to what it is about."""
        _go_to(self)

    def do_same_act(self) -> None:
        """Show all that the same act caused."""
        if (line := self._table.current) is not None:
            self._filter(f"correlation:{line.correlation_id}")

    def do_same_peer(self) -> None:
        """Show all about the same peer."""
        if (line := self._table.current) is not None and line.peer_url:
            self._filter(f"peer:{line.peer_url}")
        else:
            self.say("This event is about no peer on record.")


class EventScreen(RecordScreen["EventLine"]):
    """One event in full, with what the same act caused besides."""

    kind = EVENTS_KIND
    places: ClassVar[tuple[str, ...]] = (EVENT, DETAIL, EVERYWHERE)

    def do_go_to(self) -> None:
        """Go to what it is about."""
        _go_to(self)

    def do_same_act(self) -> None:
        """Show all that the same act caused, in the list."""
        if (line := self._look.line) is not None:
            self.shared.filters[self.kind.place] = f"correlation:{line.correlation_id}"
            self.go(self.kind.place)
