"""Commands on governance: look for findings, list and report them, take one upon oneself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedtui.cli.common import MOST, group, opened, viewing
from fedtui.cli.output import FORMATS, MODE, fields, give, narrate, one_of, show, table, to_json, visible

app = group("Governance: what is drifting, seen before it hurts.")
FOUND = 1
SEVERITIES = ("low", "medium", "high", "critical")
ANY = "all"
FailOn = Annotated[str, typer.Option(help="Exit 1 from this severity on: low, medium, high, critical.")]
FindingArgument = Annotated[str, typer.Argument(metavar="ID", help="An id, or a beginning of one.")]
COLUMNS = (
    ("id", "FINDING"),
    ("severity", "SEVERITY"),
    ("state", "STATE"),
    ("first_seen", "SINCE"),
    ("kind", "KIND"),
    ("said", "WHAT"),
)


@app.command()
def scan(fail_on: FailOn = "low") -> None:
    """Look for every kind of finding now. Exit 1 if something is open."""
    from fedtui.core.governance import findings, reporting

    one_of("--fail-on", fail_on, SEVERITIES)
    with opened() as node:
        outcome = node.scan_governance(node.actor("cli"))
        with node.read() as session:
            lines = _lines(node, session, limit=MOST)
    failed = reporting.fails(outcome["open"], fail_on)
    data = {"ok": not failed, **outcome, "findings": [findings.shape(one) for one in lines]}
    if outcome["held_back"]:
        narrate(f"Cannot be told, since this node has not been listening: {', '.join(outcome['held_back'])}")
    show(data, lambda: _in_words(data))
    if failed:
        raise typer.Exit(FOUND)


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(help="open, acknowledged, gone or all.")] = "open",
    peer: Annotated[str | None, typer.Option(help="Only of this peer.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, like grant_expiring.")] = None,
    severity: Annotated[str | None, typer.Option(help="Of this severity or graver.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 100,
) -> None:
    """Findings on record, the gravest first."""
    from fedtui.core.governance import findings
    from fedtui.core.peers import peers

    one_of("--state", state, (*findings.STATES, ANY))
    with viewing() as (node, session):
        peer_id = peers.find(session, peer).id if peer is not None else None
        states = findings.STATES if state == ANY else (state,)
        lines = _lines(node, session, states, peer_id=peer_id, kind=kind, severity=severity, limit=limit)
    rows = [findings.shape(one) for one in lines]
    show(rows, lambda: table(rows, COLUMNS, empty="No findings." if state == ANY else f"No finding is {state}."))


@app.command("show")
def show_(finding: FindingArgument) -> None:
    """One finding: what it rests on, where it leads, what to do."""
    from fedtui.core.governance import findings
    from fedtui.core.governance import listing as finding_listing

    with viewing() as (node, session):
        row = findings.find(session, finding)
        shape = findings.shape(finding_listing.starting_with(session, row.id, now=node.clock.now())[0])
    show(shape, lambda: fields(shape))


@app.command()
def report(
    format_: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
    to: Annotated[Path | None, typer.Option(help="Write it to this file instead.")] = None,
    fail_on: FailOn = "low",
) -> None:
    """What is open, acknowledged and gone lately, as Markdown or JSON. Exit 1 if something is open."""
    from fedtui.core.administration import operators
    from fedtui.core.governance import reporting

    one_of("--format", format_, FORMATS)
    one_of("--fail-on", fail_on, SEVERITIES)
    with opened() as node:
        with node.read() as session:
            operators.require(session, node.operator)
        data = node.governance_report()
    failed = reporting.fails(data["open"], fail_on)
    data = {"ok": not failed, **data}
    as_json = format_ == "json" or MODE.json
    text = to_json(data) if as_json else "\n".join(map(visible, reporting.markdown(data).splitlines()))
    give(text, to)
    if failed:
        raise typer.Exit(FOUND)


@app.command()
def acknowledge(
    finding: FindingArgument,
    reason: Annotated[str, typer.Option(help="Why nothing is done about it for now.")],
    span: Annotated[str, typer.Option("--for", help="For so long, like 7d; 90d at most. Then it is open again.")],
) -> None:
    """Hide a finding from what is open, for so long."""
    from fedtui.core.governance import findings
    from fedtui.core.runtime import durations

    with opened() as node:
        line = node.acknowledge_finding(node.actor("cli"), finding, reason, durations.parse(span, field="--for"))
    shape = findings.shape(line)
    show(shape, f"{line.id[:13]} ({line.kind}) is acknowledged until {line.acknowledged_until:%F %H:%M} UTC")


def _lines(node: Any, session: Any, states: Any = ("open",), **wanted: Any) -> list[Any]:
    from fedtui.core.governance import listing as finding_listing

    return finding_listing.rows(session, now=node.clock.now(), states=states, **wanted)


def _in_words(data: dict[str, Any]) -> str:
    lines = []
    for one in data["findings"]:
        lines += [
            f"{one['severity'].upper()}  {one['kind']}  ({one['id'][:13]})",
            f"  {visible(one['said'])}",
            f"  fix : {one['advice']} {one['fix']}",
            "",
        ]
    total = len(data["findings"])
    changed = f"{data['appeared']} new, {data['gone']} gone"
    end = f"{total} open" if total else "Nothing is open"
    return "\n".join([*lines, f"{end}; {changed}, in {data['duration_ms']} ms."])
