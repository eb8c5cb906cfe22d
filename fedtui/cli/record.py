"""Commands on the record: events, and the sweep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from fedtui.cli.common import MOST, opened, viewing
from fedtui.cli.output import show, table
from fedtui.core.errors import WrongUsage

Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(events)
    app.command()(sweep)


def events(
    source: Annotated[str | None, typer.Option(help="Only from this source, like federation_heartbeat_sweep.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, like federation.peer.accepted.")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601, or so long ago, like 2h.")] = None,
    limit: Limit = 100,
) -> None:
    """What happened, newest first."""
    from fedtui.core.acts import shapes
    from fedtui.core.record import events as record

    with viewing() as (node, session):
        start = _since(since, node.clock.now()) if since else None
        found = record.recent(session, source=source, kind=kind, since=start, limit=limit)
        rows = [shapes.event(row) for row in found]
    columns = (
        ("emitted_at", "WHEN"),
        ("severity", "SEVERITY"),
        ("kind", "KIND"),
        ("actor", "WHO"),
        ("payload", "WHAT"),
    )
    show(rows, lambda: table(rows, columns, empty="No events."))


def sweep() -> None:
    """Degrade peers not heard of within the stale window, now; safe beside the daemon."""
    from fedtui.core.acts import jobs

    with opened() as node:
        swept = jobs.sweep(node, node.actor("cli"))
    held = " (held back: this node's own API has not been listening for a whole stale window)"
    show(swept, f"{swept['swept']} degraded{held if swept['held_back'] else ''}")


def _since(text: str, now: datetime) -> datetime:
    from fedtui.core.runtime import durations

    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        try:
            return now - durations.parse(text, field="--since")
        except (WrongUsage, OverflowError) as error:
            raise WrongUsage(
                f"--since: {text[:60]!r} is neither a time nor a duration.",
                cause="A time is ISO 8601, a duration like 2h.",
                fix="Write --since 2026-01-31T12:00:00Z or --since 2h.",
            ) from error
