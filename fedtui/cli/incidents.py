"""Incidents from the command line, and the wizard as plain text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtui.cli.common import MOST, group, opened, piped
from fedtui.cli.output import narrate, show, table, to_json, visible
from fedtui.core.errors import Refused, WrongUsage

if TYPE_CHECKING:
    from fedtui.core.node import Node
    from fedtui.core.playbook.engine import Diagnosis, Seen
    from fedtui.core.playbook.survey import Wanted

app = group("Incidents: runs of the playbook, with their transcripts.")
FORMATS = ("md", "json")
MARKS = {"ok": "ok", "bad": "FAILED", "unknown": "UNKNOWN", "skipped": "not looked at"}
STILL_WRONG = 1


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
        ("id", "INCIDENT"), ("opened_at", "OPENED"), ("state", "STATE"), ("owner", "WHO"), ("causes", "CAUSES"),
        ("title", "WHAT"),
    )  # fmt: skip
    show(rows, lambda: table(rows, columns, empty="No incidents."))


@app.command("show")
def show_(incident: Annotated[str, typer.Argument(help="An id, or a beginning of one.")]) -> None:
    """One incident with its transcript."""
    from fedtui.core.playbook import incidents

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
    from fedtui.core.playbook import incidents

    if format_ not in FORMATS:
        raise WrongUsage(
            f"--format cannot be {format_[:40]!r}.",
            cause=f"It is one of: {', '.join(FORMATS)}.",
            fix="Write --format md.",
        )
    with opened() as node:
        _require(node)
        shape = node.incident(incident)
    text = incidents.markdown(shape) if format_ == "md" else to_json(shape)
    if to is None:
        print(text if format_ == "json" else "\n".join(map(visible, text.splitlines())))
        return
    try:
        to.write_text(text + "\n")
    except OSError as error:
        raise WrongUsage(f"{to} cannot be written.", cause=str(error), fix="Name another file with --to.") from error
    narrate(f"Written to {to}.")


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
    from fedtui.core.governance import change_requests
    from fedtui.core.playbook import incidents

    with opened() as node:
        _require(node)
        if list_ or export is not None:
            with node.read() as session:
                found = change_requests.listing(session) if list_ else [change_requests.find(session, str(export))]
                rows = [change_requests.shape(row) for row in found]
            if list_:
                columns = (("id", "REQUEST"), ("created_at", "WHEN"), ("created_by", "WHO"), ("status", "STATUS"),
                           ("title", "WHAT"))  # fmt: skip
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


def guided(wanted: Wanted, token: str | None) -> int:
    """The wizard, line by line: look, name the cause, mend, prove. The exit code."""
    with opened() as node:
        actor = node.actor("cli")
        incident = node.begin_incident(actor, wanted)
        _say(f"Incident {incident[:13]}. Everything is written down: fedtui incidents show {incident[:13]}")
        while True:
            _say("")
            _say("Looking.")
            found = node.look(actor, incident, _tell, token=token, proving=False)
            if not found.findings:
                return _over(node, incident)
            if not _offer(node, actor, incident, found):
                _say(f"The incident stays open: fedtui incidents show {incident[:13]}")
                return STILL_WRONG


def _offer(node: Node, actor: Any, incident: str, found: Diagnosis) -> bool:
    """Show the causes, ask which fix to carry out; whether to look again."""
    fixes = []
    for one in found.findings:
        _say("")
        _say(f"Cause: {one.cause.code}, {one.cause.severity}. {one.subject.label}.")
        _say(f"  {one.cause.means} {one.sense.because}")
        for fix in one.sense.fixes:
            fixes.append(fix)
            where = " Only the other side can do this." if fix.where == "there" else ""
            _say(f"  Fix {len(fixes)}: {fix.title}.{where}" + (f" Command: {fix.command}" if fix.command else ""))
        _say(f"  It could also be: {one.cause.could_be}")
    _say("")
    answer = _ask("Number of a fix to carry out, l to look again, q to leave: ")
    if answer == "l":
        return True
    if not answer.isdigit() or not 1 <= int(answer) <= len(fixes):
        return False
    fix = fixes[int(answer) - 1]
    if fix.action and fix.where == "here":
        for line in node.preview(actor, fix):
            _say(f"  {line}")
        if _ask(f"{fix.title}. Type yes to do it: ") != "yes":
            return True
    outcome = node.mend(actor, incident, fix)
    _say(_became(outcome))
    return True


def _became(outcome: Any) -> str:
    if outcome["outcome"] == "done":
        return "Done. Looking whether it helped."
    if outcome["outcome"] == "pending":
        return f"It needs approval: fedtui approvals show {outcome['approval'][:13]}. Look again once it is decided."
    if outcome["outcome"] == "by_hand":
        return (
            "That is for a person to do"
            + (f": {outcome['command']}" if outcome["command"] else "")
            + ". Then look again."
        )
    problem = outcome["problem"]
    return f"It failed: {problem['problem']} {problem['cause']} {problem['fix']}"


def _over(node: Node, incident: str) -> int:
    shape = node.incident(incident)
    if shape["state"] == "closed":
        _say(
            f"Every check passes. The incident is closed as {shape['outcome']}, after {shape['seconds_to_fix']:.0f} s."
        )
        return 0
    _say("Nothing is wrong.")
    node.close_incident(node.actor("cli"), incident, "explained", "nothing was found")
    return 0


def _ask(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise Refused("Nothing more came on standard input.", cause="The wizard asks, and waits for answers.",
                      fix="Run it in a terminal; without a person: fedtui doctor", code="stdin_ended")  # fmt: skip
    return line.strip().lower()


def _tell(seen: Seen) -> None:
    whose = "" if seen.subject.scope == "node" else f" {seen.subject.label}."
    _say(f"{MARKS[seen.outcome.state]}: {seen.check.title}.{whose} {seen.outcome.said}")


def _say(text: str) -> None:
    sys.stdout.write(visible(text) + "\n")
    sys.stdout.flush()


def _require(node: Node) -> None:
    from fedtui.core.control import operators

    with node.read() as session:
        operators.require(session, node.operator)
