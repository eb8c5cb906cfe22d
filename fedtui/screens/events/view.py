"""An event in words: the cells of its line, its payload, and where the thing it is about stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fedtui.screens.peers.columns import Paragraph, address, ago
from fedtui.screens.shell.commands import key_of
from fedtui.screens.widgets.columns import Cell, Column
from fedtui.screens.widgets.severities import severity

if TYPE_CHECKING:
    from fedtui.core.audit.listing import EventLine
    from fedtui.core.views.node_summary import EventRecord
    from fedtui.screens.shell.console_context import ConsoleContext

TODAY = timedelta(hours=12)
ABOUT = (
    ("incident_id", "playbook"),
    ("approval_id", "approvals"),
    ("grant_id", "grants"),
    ("finding_id", "governance"),
    ("serial", "certs"),
)
"""What a payload may name, and the place where that stands, the most particular first; else it is the peer."""
VALUE_LIMIT = 400


def columns(_shared: ConsoleContext) -> list[Column[EventLine]]:
    """The columns of the events."""
    return [
        Column("when", "When (UTC)", 11, when),
        Column("severity", "Severity", 10, lambda line, _: severity(line.severity)),
        Column("kind", "What", 26, lambda line, _: Cell(short_kind(line.kind)), share=2),
        Column("about", "About", 16, about, share=1),
        Column("source", "Noticed by", 16, lambda line, _: Cell(line.source, "dim"), share=1, priority=1),
    ]


def when(line: EventLine, now: datetime) -> Cell:
    """The time, and from half a day on the day, too."""
    today = now - line.emitted_at < TODAY
    return Cell(f"{line.emitted_at:%H:%M:%S}" if today else f"{line.emitted_at:%m-%d %H:%M}", "dim")


def short_kind(kind: str) -> str:
    """A kind without what most of them begin with."""
    return kind.removeprefix("federation.")


def about(line: EventLine, _now: datetime) -> Cell:
    """The peer, else who did it."""
    return Cell(address(line.peer_url)) if line.peer_url else Cell(line.actor, "dim")


def leads_to(line: EventLine) -> str:
    """The place of the thing that it is about; empty where there is none."""
    for key, place in ABOUT:
        if id := line.payload.get(key):
            return f"{place}/{id}"
    return f"peers/{line.peer_id}" if line.peer_id else ""


def event_name(line: EventLine) -> str:
    """An event in a sentence."""
    return short_kind(line.kind)


def describe(line: EventLine, now: datetime, _shared: ConsoleContext) -> Iterator[Paragraph]:
    """The event in words: what, when, about whom, by whom, and what it brought along."""
    yield Paragraph("", line.kind, "strong")
    yield Paragraph("", "")
    yield Paragraph("Severity", *severity(line.severity))
    yield Paragraph("When", f"{line.emitted_at:%F %H:%M:%S} UTC ({ago(line.emitted_at, now)} ago)")
    yield Paragraph("About", address(line.peer_url) if line.peer_url else "no peer on record")
    yield Paragraph("By", f"{line.actor}, by way of {line.origin}")
    yield Paragraph("Noticed by", line.source)
    yield Paragraph("", "")
    for number, (key, value) in enumerate(line.payload.items()):
        yield Paragraph("Payload" if number == 0 else " ", f"{key}: {_plain(value)}")
    if not line.payload:
        yield Paragraph("Payload", "nothing", "dim")
    yield Paragraph("", "")
    yield Paragraph("Sealed", f"in batch {line.seal}" if line.seal is not None else "not yet", "dim")
    yield Paragraph("Correlation", line.correlation_id, "dim")
    yield Paragraph("Event", line.id, "dim")


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"


def describe_record(record: EventRecord, now: datetime) -> Iterator[Paragraph]:
    """What one act caused besides it."""
    yield Paragraph("", "")
    yield Paragraph("Same act", "" if record.same else "nothing else")
    for one in record.same:
        text = f"  {one['emitted_at']:%H:%M:%S}  {short_kind(one['kind'])}  by {one['actor']}"
        yield Paragraph("", text, severity(one["severity"]).style)
    if record.more:
        yield Paragraph("", f"  and more: {key_of('same-act')} shows them all", "dim")
