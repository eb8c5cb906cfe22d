"""A request in words: the cells of its line, what it changes, and why it waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fedtui.core.operations import approval_status
from fedtui.screens.peers.columns import Paragraph, ago
from fedtui.screens.widgets.columns import Cell, Column

if TYPE_CHECKING:
    from fedtui.core.operations.approval_queue import ApprovalLine
    from fedtui.core.views.node_summary import ApprovalRecord
    from fedtui.screens.shell.console_context import ConsoleContext

SOON = timedelta(minutes=30)
STATES = {
    "pending": Cell("○ pending", "warn"),
    "approved": Cell("◔ approved", ""),
    "executing": Cell("◑ running", ""),
    "executed": Cell("● done", "good"),
    "failed": Cell("▲ failed", "bad"),
    "rejected": Cell("× rejected", "dim"),
    "expired": Cell("× timed out", "dim"),
    "withdrawn": Cell("× withdrawn", "dim"),
    "stale": Cell("× stale", "dim"),
}


def columns(_shared: ConsoleContext) -> list[Column[ApprovalLine]]:
    """The columns of the queue."""
    return [
        Column("state", "State", 11, lambda line, _: state(line)),
        Column("left", "Left", 6, left, right=True),
        Column("who", "Asked by", 9, lambda line, _: _quiet(line, line.requested_by), priority=1),
        Column("what", "What", 30, lambda line, _: _quiet(line, line.summary), share=1),
    ]


def state(line: ApprovalLine) -> Cell:
    """The status by glyph and word."""
    return STATES.get(line.status, Cell(f"? {line.status}", "bad"))


def left(line: ApprovalLine, now: datetime) -> Cell:
    """How long until the clock rejects it, or ends what was approved."""
    if line.status not in ("pending", "approved"):
        return Cell("", "dim")
    remaining = line.expires_at - now
    return Cell(span(remaining), "bad" if remaining < SOON and line.status == "pending" else "")


def span(remaining: timedelta) -> str:
    """A time that is left: `3:59`, `12 min`, `40 s`."""
    seconds = max(int(remaining.total_seconds()), 0)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}h"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def _quiet(line: ApprovalLine, text: str) -> Cell:
    return Cell(text, "" if line.status in ("pending", "approved", "executing", "failed") else "dim")


def approval_name(line: ApprovalLine) -> str:
    """A request in a sentence: its action, without what all of them begin with."""
    return line.action.removeprefix("system.").removeprefix("federation_").replace("_", " ")


def approval_label(line: ApprovalLine) -> str:
    """A request among others: all that will happen, and its digest."""
    return f"{line.summary} (digest {line.digest[:8]})"


def approval_details(line: ApprovalLine, record: ApprovalRecord | None) -> Iterator[str]:
    """What a decision about a request is about: every change, why it was asked for, and what has changed since."""
    for change in record.shape["changes"] if record is not None else ():
        yield f"{change['what']}: {change['before'] or 'nothing'} → {change['after'] or 'nothing'}"
    yield f"Requested by {line.requested_by}: {line.reason or 'no reason given'}"
    if record is not None and record.changed_since:
        yield f"Changed since it was requested: {record.changed_since}"


def describe(line: ApprovalLine, now: datetime, _shared: ConsoleContext) -> Iterator[Paragraph]:
    """The request in words: what will happen, who asked and why, and how long it waits."""
    yield Paragraph("", line.summary, "strong")
    yield Paragraph("", "")
    yield Paragraph("State", *state(line))
    if line.status in ("pending", "approved"):
        ends = "the clock rejects it" if line.status == "pending" else "what was approved ends"
        told = f"{span(line.expires_at - now)} until {ends} ({line.expires_at:%H:%M} UTC)"
        yield Paragraph("Left", told, left(line, now).style)
    if line.status in approval_status.ENDED:
        yield Paragraph("Then", approval_status.ENDED[line.status])
    yield Paragraph("Asked by", f"{line.requested_by}, {ago(line.requested_at, now)} ago, by {line.requested_origin}")
    yield Paragraph("Why", line.reason or "no reason given", "" if line.reason else "dim")
    if line.decided_by:
        yield Paragraph("Decided by", f"{line.decided_by}: {line.decision_reason or 'no reason given'}")


def describe_record(record: ApprovalRecord, now: datetime) -> Iterator[Paragraph]:
    """What the line does not hold: before and after, the parameters, the target, and why it waits."""
    shape = record.shape
    if record.changed_since:
        yield Paragraph("", "")
        told = f"What it depends on has changed since it was asked for: {record.changed_since}."
        yield Paragraph("", f"! {told} It can only be rejected, and asked for again.", "bad")
    yield Paragraph("", "")
    for number, change in enumerate(shape["changes"]):
        before, after = change["before"] or "nothing", change["after"] or "nothing"
        yield Paragraph("Changes" if number == 0 else " ", f"{change['what']}: {before} → {after}", "strong")
    yield from _mapping("Parameters", shape["params"])
    yield from _mapping("Target", shape["target"])
    yield Paragraph("Digest", shape["digest"][:32] + "…")
    yield from _waiting(shape, now)
    if shape["error"]:
        error = shape["error"]
        yield Paragraph("Error", f"{error.get('problem', '')} {error.get('cause', '')}".strip(), "bad")
    yield Paragraph("", "")
    yield Paragraph("", f"{shape['action']}  {shape['id']}", "dim")


def _waiting(shape: Mapping[str, Any], now: datetime) -> Iterator[Paragraph]:
    """Why it waits: who can decide it, who cannot, and what happens then."""
    if shape["status"] == "pending":
        can = ", ".join(shape["waiting"]["can_decide"])
        yield Paragraph("", "")
        yield Paragraph("Can decide", can or "nobody: fedtui operators add NAME", "" if can else "bad")
        for number, (name, why) in enumerate(shape["waiting"]["cannot_decide"].items()):
            yield Paragraph("Cannot" if number == 0 else " ", f"{name}: {why}")
    told, style = approval_status.then(shape, now)
    if told and shape["status"] not in approval_status.ENDED:
        yield Paragraph("Then", told, style)


def _mapping(label: str, values: Mapping[str, Any]) -> Iterator[Paragraph]:
    shown = [(key, value) for key, value in values.items() if value not in (None, "", [], {})]
    for number, (key, value) in enumerate(shown):
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield Paragraph(label if number == 0 else " ", f"{key.replace('_', ' ')}: {text}")
