"""The program: all commands, the options that every command takes, and exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from fedtui.cli import (
    access,
    approvals,
    certs,
    db,
    demo,
    doctor,
    governance,
    grants,
    incidents,
    manual,
    mcp,
    node,
    operators,
    peers,
    record,
)
from fedtui.cli.common import group
from fedtui.cli.console import open_console
from fedtui.cli.guard import INTERRUPTED, guarded
from fedtui.cli.output import MODE, Mode, put
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.settings import require_text

MOST_SAID = 400
"""Characters of what the parser says: it repeats what it was given."""
app = group("A federation node with a terminal console.")
node.register(app)
db.register(app)
demo.register(app)
app.add_typer(peers.app, name="peers")
app.add_typer(approvals.app, name="approvals")
app.add_typer(approvals.policies_app, name="policies")
app.add_typer(approvals.manager_app, name="manager")
app.add_typer(operators.operators_app, name="operators")
app.add_typer(certs.certs_app, name="certs")
app.add_typer(certs.ca_app, name="ca")
app.add_typer(incidents.app, name="incidents")
app.add_typer(grants.app, name="grants")
app.add_typer(access.bridges_app, name="bridges")
app.add_typer(access.inventory_app, name="inventory")
app.add_typer(access.resources_app, name="resources")
app.add_typer(grants.decisions_app, name="decisions")
app.add_typer(record.events_app, name="events")
app.add_typer(governance.app, name="governance")
record.register(app)
doctor.register(app)
incidents.register(app)
mcp.register(app)
manual.register(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """A federation node with a terminal console. Alone, `fedtui` opens the console."""
    if version:
        from fedtui import __version__

        put(f"fedtui {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(open_console())


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code (contract, CLI)."""
    _reset()
    # An error in the words themselves must be JSON too, before any option has been parsed.
    MODE.json = "--json" in arguments
    return guarded(lambda: _run(list(arguments)))


def _run(arguments: list[str]) -> int:
    for place, word in enumerate(arguments, start=1):
        require_text(f"Word {place} of the command line", word)
    try:
        outcome = typer.main.get_command(app).main(arguments, prog_name="fedtui", standalone_mode=False)
    except Abort:
        return INTERRUPTED
    except SystemExit as left:
        if left.code == 1:  # the parser's end where nobody reads
            raise BrokenPipeError from left
        raise  # a signal's
    except TyperException as error:
        raise _wrong_words(error, arguments) from error
    return outcome if isinstance(outcome, int) else 0


def _reset() -> None:
    fresh = Mode()
    MODE.json, MODE.operator = fresh.json, fresh.operator


def _wrong_words(error: TyperException, arguments: Sequence[str]) -> WrongUsage:
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else _path(arguments)
    return WrongUsage(
        error.format_message()[:MOST_SAID],
        cause="The command line is not of the form this command takes.",
        fix=f"See: {path} --help",
    )


def _path(arguments: Sequence[str]) -> str:
    """The command that the words name, for a parser that does not say where it stopped."""
    command: Any = typer.main.get_command(app)
    path = "fedtui"
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path = f"{path} {word}"
    return path
