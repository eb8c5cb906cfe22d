"""A grant in words: the cells of its line, and the paragraphs of its detail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fedtui.core.grants import quota
from fedtui.screens.peers.columns import Paragraph, address, ago
from fedtui.screens.widgets.columns import Cell, Column

if TYPE_CHECKING:
    from fedtui.core.grants.listing import GrantLine
    from fedtui.core.views.node_summary import GrantRecord
    from fedtui.screens.shell.console_context import ConsoleContext

SOON = timedelta(days=7)
LISTS = (
    ("instances", "inst", "node_instance_ids"),
    ("networks", "net", "sdwan_network_ids"),
    ("addresses", "ip", "source_cidrs"),
)
"""The three allowlists: what each is called, in short, and the field it is."""
WAYS_SHOWN, DECISIONS_SHOWN = 5, 6


def columns(_shared: ConsoleContext) -> list[Column[GrantLine]]:
    """The columns of the Grants table."""
    return [
        Column("subject", "Subject", 14, lambda line, _: _quiet(line, line.remote_subject), share=2),
        Column("peer", "Peer", 10, peer, share=1),
        Column("kind", "Kind", 10, lambda line, _: _quiet(line, resource(line)), share=1, priority=1),
        Column("scopes", "Scopes", 10, lambda line, _: _quiet(line, scopes(line))),
        Column("limits", "Limits", 8, limits, priority=2),
        Column("expires", "Expires", 8, expires, right=True),
        Column("used", "Used", 5, used, right=True),
    ]


def peer(line: GrantLine, _now: datetime) -> Cell:
    """Whose it is; a peer that may not call is marked."""
    rests = line.peer_status in ("suspended", "revoked")
    return _quiet(line, f"{'■ ' if rests else ''}{address(line.peer_url)}", "warn" if rests else "")


def resource(line: GrantLine) -> str:
    """What it is for."""
    return f"{line.resource_kind}/{line.resource_id}" if line.resource_id else line.resource_kind


def scopes(line: GrantLine) -> str:
    """One scope in full, several by their beginnings."""
    held = line.permission_scopes
    return held[0] if len(held) == 1 else "+".join(one[:1] if one != "migrate" else "mig" for one in held)


def limits(line: GrantLine, _now: datetime) -> Cell:
    """Which of the allowlists restrict it; a powerful one without any is marked."""
    named = [short for _, short, field in LISTS if getattr(line, field)]
    if named:
        return _quiet(line, "+".join(named))
    powerful = {"admin", "migrate"} & set(line.permission_scopes)
    return _quiet(line, "! none" if powerful else "none", "warn" if powerful else "")


def expires(line: GrantLine, now: datetime) -> Cell:
    """Days left, or how it ended. An arrow says that it renews itself."""
    if line.revoked_at is not None:
        return Cell("revoked", "dim")
    left = line.expires_at - now
    if left <= timedelta(0):
        return Cell("expired", "bad")
    text = f"{left.days} d" if left >= timedelta(days=2) else f"{int(left.total_seconds()) // 3600} h"
    if line.renew_at is not None:
        return Cell(f"↻ {text}")
    return Cell(text, "warn" if left < SOON else "")


def used(line: GrantLine, _now: datetime) -> Cell:
    """Calls of the last 30 days."""
    count = line.used
    text = str(count) if count < 10_000 else f"{count // 1000}k" if count < 1_000_000 else f"{count // 1_000_000}M"
    return _quiet(line, text if count else "-", "" if count else "dim")


def _quiet(line: GrantLine, text: str, style: str = "") -> Cell:
    return Cell(text, "dim" if line.revoked_at is not None else style)


def grant_name(line: GrantLine) -> str:
    """A grant in a sentence."""
    return line.remote_subject


def grant_label(line: GrantLine) -> str:
    """A grant among others."""
    used_ = f", used {line.used} times in 30 days" if line.used else ", not used in 30 days"
    return f"{line.remote_subject} at {address(line.peer_url)}: {scopes(line)} on {resource(line)}{used_}"


def describe(line: GrantLine, now: datetime, _shared: ConsoleContext) -> Iterator[Paragraph]:
    """The grant in words."""
    yield Paragraph("", line.remote_subject, "strong")
    yield Paragraph("", "")
    yield Paragraph("Peer", *peer(line, now))
    yield Paragraph("Resource", f"{line.resource_kind}/{line.resource_id or '* (all of the kind)'}")
    yield Paragraph("Scopes", ", ".join(line.permission_scopes))
    for label, _, field in LISTS:
        entries: Sequence[str] = getattr(line, field)
        yield Paragraph(label.capitalize(), ", ".join(entries) or "any", "" if entries else "dim")
    yield Paragraph("", "")
    yield Paragraph("Expires", *_expires_in_words(line, now))
    yield Paragraph("Issued", f"{line.issued_at:%F %H:%M} UTC")
    last = f", last {ago(line.last_used_at, now)} ago" if line.last_used_at else ""
    yield Paragraph("Used", f"{line.used} times in 30 days{last}" if line.used else "not in the last 30 days")
    if line.revoked_at is not None:
        yield Paragraph("Revoked", f"{line.revoked_at:%F %H:%M} UTC: {line.revocation_reason or 'no reason given'}")
    yield Paragraph("", "")
    yield Paragraph("", f"fg-{line.id}", "dim")


def _expires_in_words(line: GrantLine, now: datetime) -> tuple[str, str]:
    cell = expires(line, now)
    day = f"{line.expires_at:%F %H:%M} UTC"
    renewing = f"; renews itself on {line.renew_at:%F}" if line.renew_at and line.revoked_at is None else ""
    return f"{cell.text.removeprefix('↻ ')} ({day}){renewing}", cell.style


def describe_record(record: GrantRecord, now: datetime) -> Iterator[Paragraph]:
    """What the table's line does not hold: what it has stored, how it was used, and what was decided."""
    if stored := record.shape.get("stored"):
        yield Paragraph("Stored", quota.words(stored), "warn" if stored["near"] else "")
    yield Paragraph("", "")
    yield Paragraph("Used by", "" if record.used else "nobody in the last 30 days")
    for one in record.used[:WAYS_SHOWN]:
        yield Paragraph("", f"  {one['times']:>5} x {way(one)}, last {ago(one['last_at'], now)} ago")
    if len(record.used) > WAYS_SHOWN:
        yield Paragraph("", f"  and {len(record.used) - WAYS_SHOWN} more ways", "dim")
    yield Paragraph("", "")
    yield Paragraph("Decisions", "" if record.decisions else "none on record")
    for one in record.decisions[:DECISIONS_SHOWN]:
        yield Paragraph("", *_decision(one, now))


def way(used_: Mapping[str, Any]) -> str:
    """How a grant was used: method and from where."""
    if used_["method"] is None:
        return "others, counted together"
    parts = [used_["method"], f"from {used_['source_ip']}" if used_["source_ip"] else ""]
    parts += [f"instance {used_['instance_id'][:13]}…" if used_["instance_id"] else ""]
    parts += [f"network {used_['network_id'][:13]}…" if used_["network_id"] else ""]
    return " ".join(part for part in parts if part)


def _decision(one: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    times = f" ({one['times']} times)" if one["times"] > 1 else ""
    context = one["context"]
    what = f"{context.get('method', '')} {context.get('resource_id', '')}".strip() or one["call"]
    came = "✓ allowed" if one["allowed"] else f"✗ {one['code']}"
    return f"  {ago(one['last_at'], now):>7} ago  {came}  {what}{times}  {one['id'][:13]}", "" if one[
        "allowed"
    ] else "bad"
