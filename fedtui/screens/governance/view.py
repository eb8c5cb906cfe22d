"""A finding in words: the cells of its line, what it means, and where it is settled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from fedtui.screens.peers.columns import Paragraph, address, ago
from fedtui.screens.shell.commands import key_of
from fedtui.screens.widgets.columns import Cell, Column
from fedtui.screens.widgets.severities import severity

if TYPE_CHECKING:
    from fedtui.core.governance.listing import FindingLine
    from fedtui.screens.shell.console_context import ConsoleContext


def columns(_shared: ConsoleContext) -> list[Column[FindingLine]]:
    """The columns of the findings."""
    return [
        Column("severity", "Severity", 10, _severity),
        Column("said", "What", 38, lambda line, _: _quiet(line, said(line)), share=1),
        Column("first", "Since", 6, lambda line, now: _quiet(line, ago(line.first_seen, now)), right=True),
        Column("last", "Seen", 6, lambda line, now: _quiet(line, ago(line.last_seen, now)), right=True, priority=1),
        Column("state", "State", 14, state),
    ]


def said(line: FindingLine) -> str:
    """What it says, as a list shows it: https goes without saying."""
    return line.said.replace("https://", "")


def _severity(line: FindingLine, _now: datetime) -> Cell:
    cell = severity(line.severity)
    return cell if line.state == "open" else Cell(cell.text, "dim")


def _quiet(line: FindingLine, text: str) -> Cell:
    return Cell(text, "" if line.state == "open" else "dim")


def state(line: FindingLine, now: datetime) -> Cell:
    """Open, whose it is and until when, or since when it is gone."""
    if line.state == "acknowledged" and line.acknowledged_until is not None:
        return Cell(f"◔ by {line.acknowledged_by}", "dim")
    if line.state == "gone":
        return Cell(f"× gone {ago(line.gone_at, now)}" if line.gone_at is not None else "× gone", "dim")
    return Cell("○ open", "warn")


def finding_name(line: FindingLine) -> str:
    """A finding in a sentence."""
    return f"{line.kind} ({address(line.peer_url)})" if line.peer_url else line.kind


def finding_label(line: FindingLine) -> str:
    """A finding among others: all that it says."""
    return f"{line.severity}: {line.said}"


def describe(line: FindingLine, now: datetime, _shared: ConsoleContext) -> Iterator[Paragraph]:
    """The finding in words: what, how grave, since when, what to do, and who has taken it upon themselves."""
    yield Paragraph("", line.said, "strong")
    yield Paragraph("", "")
    yield Paragraph("Severity", *severity(line.severity))
    yield Paragraph("State", *state(line, now))
    if line.acknowledged_until is not None and line.state == "acknowledged":
        yield Paragraph("Until", f"{line.acknowledged_until:%F %H:%M} UTC; then it is open again by itself")
    if line.acknowledgement:
        yield Paragraph("Reason", f"{line.acknowledgement} ({line.acknowledged_by})")
    yield Paragraph("First seen", f"{ago(line.first_seen, now)} ago ({line.first_seen:%F %H:%M} UTC)")
    yield Paragraph("Last seen", f"{ago(line.last_seen, now)} ago")
    if line.gone_at is not None:
        yield Paragraph("Gone", f"{ago(line.gone_at, now)} ago")
    if line.reopened:
        yield Paragraph("Came back", f"{line.reopened} times" if line.reopened > 1 else "once")
    yield Paragraph("", "")
    if line.advice:
        yield Paragraph("What to do", line.advice)
    if line.leads_to:
        yield Paragraph(f"{key_of('settle')} leads to", line.leads_to)
    if line.fix:
        yield Paragraph("By command", line.fix)
    for number, (key, value) in enumerate(line.detail.items()):
        yield Paragraph("Rests on" if number == 0 else " ", f"{key.replace('_', ' ')}: {value}")
    yield Paragraph("", "")
    if line.peer_url:
        yield Paragraph("Peer", address(line.peer_url))
    yield Paragraph("Kind", line.kind, "dim")
    yield Paragraph("Finding", line.id, "dim")
