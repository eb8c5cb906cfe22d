"""Finding the records of a place by a text, for the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedtui.screens.widgets.reading import Query

if TYPE_CHECKING:
    from fedtui.screens.shell.console_context import ConsoleContext, Records

MOST_FOUND = 8
KINDS: Mapping[str, tuple[str, str]] = {
    "peers": ("peers.screen", "PEERS_KIND"),
    "grants": ("grants.screen", "GRANTS_KIND"),
    "approvals": ("approvals.screen", "APPROVALS_KIND"),
    "certs": ("mtls.screen", "CERTS_KIND"),
    "events": ("events.screen", "EVENTS_KIND"),
    "governance": ("governance.screen", "FINDINGS_KIND"),
}
"""Where each place of records has its kind; imported when it is asked for."""
ROUTED = ("home", "playbook")
"""Places whose names behind them are no records in a table."""


def records_with(shared: ConsoleContext, place: str, text: str) -> Sequence[tuple[str, str]]:
    """Ids of the records whose id begins with a text, else of those that hold it, each with its label."""
    if place not in KINDS:
        return ()
    module, name = KINDS[place]
    kind = getattr(import_module(f"fedtui.screens.{module}"), name)
    source: Records[Any] = shared.source_of(shared.opened_node(), place)
    lines = source.starting_with(text)
    if not lines:
        query = Query(source.sorts[0], text=text)
        with source.reading() as reading:
            lines = reading.page(query, limit=MOST_FOUND)
    return [(line.id, kind.label(line)) for line in lines]
