"""Commands on the record: events in every form, and the sweep."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtui.cli.common import MOST, answered, group, opened, viewing
from fedtui.cli.output import (
    FORMATS,
    MODE,
    fields,
    narrate,
    one_of,
    put,
    show,
    table,
    text,
    to_json,
    to_json_line,
    visible,
)
from fedtui.core.errors import Refused, WrongUsage

if TYPE_CHECKING:
    from fedtui.core.audit.events import Event, EventFilter
    from fedtui.core.node import Node

events_app = group("What happened: list, follow, export, verify.")
POLL_MS = 200
FOUND_BAD = 1
TOLD_EVERY = 100_000

Source = Annotated[str | None, typer.Option(help="Only from this source, like federation_heartbeat_sweep.")]
Kind = Annotated[str | None, typer.Option(help="Only of this kind, like federation.peer.accepted.")]
Severity = Annotated[str | None, typer.Option(help="Only low, medium, high, critical: that, or graver.")]
Peer = Annotated[str | None, typer.Option(help="Only about this peer: an id, a beginning of one, or a URL.")]
Correlation = Annotated[str | None, typer.Option(help="Only one act and all it caused: its id, or a beginning of it.")]
Since = Annotated[str | None, typer.Option(help="From then on: ISO 8601, or so long ago, like 2h.")]
Until = Annotated[str | None, typer.Option(help="Before then: ISO 8601, or so long ago, like 1h.")]
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]


def register(app: typer.Typer) -> None:
    """Add `sweep` to the program."""
    app.command()(sweep)


@events_app.alone()
def events(
    context: typer.Context,
    source: Source = None,
    kind: Kind = None,
    severity: Severity = None,
    peer: Peer = None,
    correlation: Correlation = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, oldest first.")] = False,
) -> None:
    """What happened, newest first."""
    from fedtui.core.audit import events as record
    from fedtui.core.views import serializers

    given = (source, kind, severity, peer, correlation, since, until)
    if context.invoked_subcommand is not None:
        if follow or any(one is not None for one in given):
            raise WrongUsage(
                f"Options of events go after {context.invoked_subcommand}, where it takes them.",
                cause="Before it they would be ignored.",
                fix=f"See: fedtui events {context.invoked_subcommand} --help",
            )
        return
    with viewing() as (node, session):
        wanted = _wanted(node, session, *given)
        rows = [] if follow else [serializers.event(row) for row in record.newest(session, wanted, limit=limit)]
    if follow:
        _follow(wanted, limit)
        return
    columns = (
        ("emitted_at", "WHEN"),
        ("severity", "SEVERITY"),
        ("kind", "KIND"),
        ("actor", "WHO"),
        ("payload", "WHAT"),
    )
    show(rows, lambda: table(rows, columns, empty="No events."))


@events_app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="A head that was noted earlier, or 8 characters of it: it must still be there.")
    ] = None,
) -> None:
    """Whether the record is as it was sealed; exit 1 and the first thing that is not."""
    from fedtui.core.administration import operators
    from fedtui.core.audit.verify import SHORTEST_HEAD

    noted = head.strip().lower() if head is not None else None
    if noted is not None and (len(noted) < SHORTEST_HEAD or set(noted) - set("0123456789abcdef")):
        raise WrongUsage(
            f"--head: {noted[:80]!r} is not a head.",
            cause=f"A head is hexadecimal, {SHORTEST_HEAD} characters of it or more.",
            fix="Give what `fedtui events verify` printed as head.",
        )
    with opened() as node:
        with node.read() as session:
            operators.require(session, node.operator)
        verdict = node.verify_events(head=noted, tell=_progress())
    shape = _verdict(verdict)
    if not MODE.json and verdict.first_bad is not None:
        narrate(f"fedtui: {verdict.first_bad.said}")
        narrate("  fix: Take the node's database from a backup that verifies, and find out who could write to it.")
    show(shape, lambda: fields({**shape, "first_bad": verdict.first_bad.said if verdict.first_bad else None}))
    if not verdict.ok:
        raise typer.Exit(FOUND_BAD)


@events_app.command()
def export(
    file: Annotated[str, typer.Argument(help="A file that does not exist yet, or - for standard output.")],
    source: Source = None,
    kind: Kind = None,
    severity: Severity = None,
    peer: Peer = None,
    correlation: Correlation = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Events as JSON lines, oldest first."""
    from fedtui.core.audit import tail
    from fedtui.core.views import serializers

    with viewing() as (node, session):
        wanted = _wanted(node, session, source, kind, severity, peer, correlation, since, until)
    count = 0
    with opened() as node, _written(file) as out:
        for page in tail.pages(node.database, wanted):
            out.writelines(to_json_line(serializers.event(row)) + "\n" for row in page)
            count += len(page)
    if file != "-":
        show({"file": file, "events": count})
    narrate(f"{count} events{'' if file == '-' else f' written to {file}'}.")


@events_app.command()
def audit(
    peer: Annotated[str, typer.Argument(help="An id, a beginning of one, or a URL; revoked ones, too.")],
    since: Annotated[str, typer.Option(help="From then on: ISO 8601, or so long ago.")] = "72h",
    until: Until = None,
    format_: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
) -> None:
    """What this node holds of its dealings with one peer, to hand to that peer: no secrets, nothing of others."""
    from fedtui.core.peers import peers
    from fedtui.core.views import audit_export

    one_of("--format", format_, FORMATS)
    with viewing() as (node, session):
        peer_id = peers.find_any(session, peer).id
        now = node.clock.now()
        begin, end = _moment(since, now, "--since"), _moment(until, now, "--until") if until else now
    with opened() as node:
        excerpt = audit_export.excerpt(
            node, peer_id, begin, end, verdict=_verdict(node.verify_events(tell=_progress()))
        )
    if format_ == "json" or MODE.json:
        put(to_json(excerpt))
        return
    put(*map(visible, audit_export.markdown(excerpt).splitlines()))


def sweep() -> None:
    """Degrade peers not heard of within the stale window, now; safe beside the daemon."""
    from fedtui.core.jobs import tasks as job_tasks

    with opened() as node:
        swept = job_tasks.sweep(node, node.actor("cli"))
    held = " (held back: this node's own API has not been listening for a whole stale window)"
    show(swept, f"{swept['swept']} degraded{held if swept['held_back'] else ''}")


def _follow(wanted: EventFilter, limit: int) -> None:
    """Print what matches as it happens, until interrupted or until nobody reads it."""
    from fedtui.core.audit.tail import EventTail

    with opened() as node:
        follower, changes = EventTail(node.database, wanted), node.changes()
        owed = False  # there was news, and it could not be read

        def news() -> list[Event]:
            nonlocal owed
            owed = changes.poll() or owed
            found = follower.more() if owed else []
            owed = False
            return found

        try:
            changes.poll()
            _print_each(follower.begin(limit))
            while True:
                _wait_for_the_reader()
                _print_each(answered(news, _wait_for_the_reader))
        except KeyboardInterrupt:
            narrate("")  # after the terminal's ^C


def _print_each(found: list[Event]) -> None:
    from fedtui.core.views import serializers

    told = [serializers.event(row) for row in found]
    if not put(*(to_json_line(one) if MODE.json else _line(one) for one in told)):
        raise BrokenPipeError


def _wait_for_the_reader() -> None:
    """Wait for a moment. Raises `BrokenPipeError` as soon as the other end of our standard output is closed."""
    if _reader_left():
        raise BrokenPipeError


def _line(shape: dict[str, Any]) -> str:
    when, severity, kind, who, what = (
        text(shape[key]) for key in ("emitted_at", "severity", "kind", "actor", "payload")
    )
    return f"{when}  {severity:<8}  {kind:<36}  {who}  {what}"


def _reader_left() -> bool:
    """Wait for a moment; True as soon as the other end of our standard output is closed."""
    try:
        out = sys.stdout.fileno()
    except (OSError, ValueError):
        return True
    look = select.poll()
    look.register(out, 0)  # asked for nothing: only that it is gone is told
    return any(seen & (select.POLLERR | select.POLLHUP) for _, seen in look.poll(POLL_MS))


@contextmanager
def _written(file: str) -> Iterator[Any]:
    """Standard output, or a new file that is removed again if it could not be written whole."""
    if file == "-":
        yield sys.stdout
        return
    path = Path(file)
    try:
        out = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError as error:
        raise Refused(
            f"{path} exists already.",
            cause="An export never writes over a file.",
            fix="Give the name of a file that does not exist yet.",
            code="file_exists",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with out:
            yield out
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def _unwritable(path: Path, error: OSError) -> WrongUsage:
    return WrongUsage(f"{path} cannot be written.", cause=str(error), fix="Name another file.", code="file_unwritable")


def _progress() -> Any:
    """Tells how far verifying has come, where a person watches."""
    told = 0

    def tell(sealed: int) -> None:
        nonlocal told
        if sealed - told >= TOLD_EVERY and sys.stderr.isatty():
            told = sealed
            narrate(f"{sealed} events compared")

    return tell


def _verdict(verdict: Any) -> dict[str, Any]:
    bad = verdict.first_bad
    return {
        "ok": verdict.ok,
        "sealed_through": verdict.sealed_through,
        "first_bad": bad and {"what": bad.what, "seal": bad.seal, "event_id": bad.event_id, "said": bad.said},
        "head": verdict.head,
        "sealed": verdict.sealed,
        "removed": verdict.removed,
        "unsealed": verdict.unsealed,
        "checked_at": verdict.checked_at,
    }


def _wanted(
    node: Node,
    session: Any,
    source: str | None,
    kind: str | None,
    severity: str | None,
    peer: str | None,
    correlation: str | None,
    since: str | None,
    until: str | None,
) -> EventFilter:
    from fedtui.core.audit import events as record
    from fedtui.core.peers import peers

    if severity is not None and severity not in record.SEVERITIES:
        raise WrongUsage(
            f"--severity: {severity[:40]!r} is none.",
            cause=f"A severity is one of: {', '.join(record.SEVERITIES)}.",
            fix="Write --severity high to see what is high or critical.",
        )
    now = node.clock.now()
    return record.EventFilter(
        source,
        kind,
        severity,
        peers.find_any(session, peer).id if peer is not None else None,
        record.correlation(session, correlation) if correlation is not None else None,
        _moment(since, now, "--since") if since is not None else None,
        _moment(until, now, "--until") if until is not None else None,
    )


def _moment(given: str, now: datetime, option: str) -> datetime:
    from fedtui.core.runtime import durations

    return durations.moment(given, now, field=option)
