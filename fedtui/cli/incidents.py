"""Incidents from the command line, and the wizard as plain text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedtui.cli.common import MOST, group, opened, piped
from fedtui.cli.output import FORMATS, give, narrate, one_of, show, table, to_json, visible

if TYPE_CHECKING:
    from fedtui.core.node import Node

app = group("Incidents: runs of the playbook, with their transcripts.")


@app.command("list")
def list_(
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 100,
) -> None:
    """Incidents, open ones first, newest first."""
    with opened() as node:
        _require(node)
        rows = node.incidents(open_only=open_only, limit=limit)
    columns = (
        ("id", "INCIDENT"),
        ("opened_at", "OPENED"),
        ("state", "STATE"),
        ("owner", "WHO"),
        ("causes", "CAUSES"),
        ("title", "WHAT"),
    )
    show(rows, lambda: table(rows, columns, empty="No incidents."))


@app.command("show")
def show_(incident: Annotated[str, typer.Argument(help="An id, or a beginning of one.")]) -> None:
    """One incident with its transcript."""
    from fedtui.core.diagnosis import incidents

    with opened() as node:
        _require(node)
        shape = node.incident(incident)
    show(shape, lambda: incidents.markdown(shape))


@app.command()
def export(
    incident: Annotated[str, typer.Argument(help="An id, or a beginning of one.")],
    format_: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
    to: Annotated[Path | None, typer.Option(help="Write it to this file instead.")] = None,
) -> None:
    """An incident as Markdown or JSON, without secrets."""
    from fedtui.core.diagnosis import incidents

    one_of("--format", format_, FORMATS)
    with opened() as node:
        _require(node)
        shape = node.incident(incident)
    give(to_json(shape) if format_ == "json" else "\n".join(map(visible, incidents.markdown(shape).splitlines())), to)


@app.command()
def note(incident: str, text: str) -> None:
    """Write a note into an incident."""
    with opened() as node:
        node.note_incident(node.actor("cli"), incident, text)
    narrate("Noted.")


@app.command()
def close(
    incident: str,
    outcome: Annotated[str, typer.Option("--as", help="fixed, explained, escalated or abandoned.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """End an incident."""
    with opened() as node:
        node.close_incident(node.actor("cli"), incident, outcome, reason)
        shape = node.incident(incident)
    show(shape, f"{shape['id']} is closed: {outcome}")


def register(program: typer.Typer) -> None:
    """Add `escalate` to the program."""
    program.command()(escalate)


def escalate(
    title: Annotated[str | None, typer.Option(help="What is missing, in a line.")] = None,
    body: Annotated[str | None, typer.Option(help="Why, and what would help; - reads standard input.")] = None,
    incident: Annotated[str | None, typer.Option(help="The incident it is about; it is closed as handed on.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Change requests, newest first.")] = False,
    export: Annotated[str | None, typer.Option(help="Print this one as Markdown, with its incident.")] = None,
    settle: Annotated[str | None, typer.Option(help="Say what became of this one; takes --as and --reason.")] = None,
    outcome: Annotated[str, typer.Option("--as", help="done, declined, or open again.")] = "",
    reason: Annotated[str, typer.Option(help="What was changed, or why not.")] = "",
) -> None:
    """Hand up what the runbook does not resolve: a change request to the federation's owner."""
    from fedtui.core.diagnosis import incidents
    from fedtui.core.governance import change_requests

    with opened() as node:
        _require(node)
        if list_ or export is not None:
            with node.read() as session:
                found = change_requests.listing(session) if list_ else [change_requests.find(session, str(export))]
                rows = [change_requests.shape(row) for row in found]
            if list_:
                columns = (
                    ("id", "REQUEST"),
                    ("created_at", "WHEN"),
                    ("created_by", "WHO"),
                    ("status", "STATUS"),
                    ("title", "WHAT"),
                )
                show(rows, lambda: table(rows, columns, empty="No change requests."))
                return
            [one] = rows
            transcript = incidents.markdown(node.incident(one["incident_id"])) if one["incident_id"] else ""
            show({**one, "transcript": transcript}, lambda: change_requests.markdown(one, transcript))
            return
        if settle is not None:
            shape = node.settle_request(node.actor("cli"), settle, outcome, reason)
            show(shape, f"{shape['id']} is {shape['status']}")
            return
        filed = node.escalate(node.actor("cli"), incident, title=title or "", body=piped(body) if body else "")
    show(filed, f"{filed['id']} is filed. Send it with: fedtui escalate --export {filed['id'][:13]}")


def _require(node: Node) -> None:
    from fedtui.core.administration import operators

    with node.read() as session:
        operators.require(session, node.operator)
