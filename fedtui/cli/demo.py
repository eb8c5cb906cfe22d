"""`fedtui demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtui.cli.output import show, table


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(demo)


def demo(
    nodes: Annotated[int, typer.Option(help="How many nodes; the first peers with each of the others.")] = 2,
    headless: Annotated[bool, typer.Option("--headless", help="No console: progress on standard error.")] = False,
    exit_when_active: Annotated[
        bool, typer.Option("--exit-when-active", help="Print the outcome as JSON and leave. Implies --headless.")
    ] = False,
    fault: Annotated[str | None, typer.Option(help="Break something, to practise; see --list-faults.")] = None,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="What can be broken, and leave.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Make the nodes in this directory and leave them there.")] = None,
) -> None:
    """Run real nodes on this machine, federate them, and open the console on the first."""
    from fedtui.lab import demo as demonstration

    if list_faults:
        rows = demonstration.faults()
        show(rows, lambda: table(rows, (("name", "FAULT"), ("told", "WHAT IS BROKEN")), empty="None."))
        return
    raise typer.Exit(
        demonstration.run(
            nodes=nodes,
            keep=keep,
            headless=headless or exit_when_active,
            exit_when_active=exit_when_active,
            fault=fault,
        )
    )
