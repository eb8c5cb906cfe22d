"""Commands on operators: who may act on this node, and by which SSH key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedtui.cli.common import SECRET_LIMIT, ask, group, opened, piped, viewing
from fedtui.cli.console import load_settings
from fedtui.cli.output import fields, narrate, show, table
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import child_process
from fedtui.core.runtime.actor import os_user

operators_app = group("Operators: who may act on this node.")
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the decision and the outcome.")]
KEYS = Path(".ssh/authorized_keys")
"""In the account's home directory."""


@operators_app.command("list")
def operators_list() -> None:
    """Operators and what each may do."""
    from fedtui.core.administration import operators
    from fedtui.core.views import serializers

    with viewing() as (_node, session):
        rows = [serializers.operator(row) for row in operators.listing(session)]
    columns = (("name", "NAME"), ("permissions", "PERMISSIONS"), ("added_at", "ADDED"))
    show(rows, lambda: table(rows, columns, empty=""))


@operators_app.command("add")
def operators_add(
    name: str,
    permission: Annotated[list[str] | None, typer.Option(help="Once for each; all of them if left out.")] = None,
    reason: Reason = None,
    wait: Wait = False,
) -> None:
    """Add an operator; needs approval once a second operator can approve."""
    ask("system.operator_add", {"name": name, "permissions": permission or []}, reason=reason, wait=wait)


@operators_app.command("remove")
def operators_remove(name: str, reason: Reason = None, wait: Wait = False) -> None:
    """Remove an operator; never the last who can approve."""
    ask("system.operator_remove", {"name": name}, reason=reason, wait=wait)
    narrate(f"Their SSH keys, if they have any, stay until: fedtui operators authorize {name} --remove")


@operators_app.command("authorize")
def operators_authorize(
    name: str,
    key: Annotated[
        Path | None, typer.Option(help="Their public SSH key: the file that ends in .pub; - reads it.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take their keys away instead.")] = False,
    file: Annotated[Path | None, typer.Option(help="Default: this account's .ssh/authorized_keys.")] = None,
) -> None:
    """Let an SSH key of theirs open a restricted console here, and nothing else."""
    from fedtui.core.operations import operator_access

    if (key is None) == (not remove):
        raise WrongUsage(
            "Give a key, or --remove.",
            cause="One adds a line to authorized_keys, the other takes theirs away.",
            fix="fedtui operators authorize NAME --key NAME.pub",
        )
    keys = file or _own_keys()
    with opened() as node:
        actor = node.actor("cli")
        if key is None:
            done = operator_access.deauthorize(node, actor, name, keys)
        else:
            done = operator_access.authorize(node, actor, name, _read(key), keys, _console)
    show(done, lambda: fields(done))
    if remove and not done["removed"]:
        narrate(f"{keys}: no key of {name} is in it.")
    else:
        narrate(f"{keys}: {'removed' if remove else 'written'}. sshd reads it at the next login.")


def _own_keys() -> Path:
    try:
        return Path.home() / KEYS
    except RuntimeError as error:
        raise WrongUsage(
            "This account has no home directory.",
            cause=str(error),
            fix="Say where its authorized_keys are: --file FILE.",
            code="home_unknown",
        ) from error


def _read(key: Path) -> str:
    if str(key) == "-":
        return piped("-", limit=SECRET_LIMIT)
    try:
        return key.read_text(errors="replace")[:SECRET_LIMIT]
    except OSError as error:
        raise WrongUsage(
            f"{key} cannot be read.",
            cause=str(error),
            fix="Give the operator's public key: a file that ends in .pub.",
            code="ssh_key_invalid",
        ) from error


def _console(name: str) -> list[str]:
    """What a login of theirs runs, whatever it asks for: by full path, on this home, as this operator.

    Python takes no PYTHON* variable: PYTHONINSPECT, say, would leave an interpreter behind, and that is a shell.
    """
    script = Path(sys.executable).with_name("fedtui")
    program = [sys.executable, "-I", str(script)] if script.exists() else child_process.command("fedtui")
    home = str(load_settings().home)
    return [*program, "console", "--operator", name, "--restricted", "--home", home]


@operators_app.command("recover")
def operators_recover(
    reason: Annotated[str, typer.Option(help="Why; it stays on record, and every console shows it.")],
    name: Annotated[str | None, typer.Option(help="Whom to make an operator. Default: this OS account.")] = None,
) -> None:
    """Break the glass: get in when no operator is left who could let anybody in."""
    from fedtui.core.operations import operator_access

    with opened() as node:
        done = operator_access.recover(node, node.actor("cli"), name or os_user(), reason)
    show(done, lambda: fields(done))
    narrate("Every console shows this until another operator says: fedtui operators acknowledge")


@operators_app.command("acknowledge")
def operators_acknowledge() -> None:
    """Say that you have seen the recoveries; not your own, unless you are alone."""
    from fedtui.core.operations import operator_access

    with opened() as node:
        names = operator_access.acknowledge(node, node.actor("cli"))
    show({"acknowledged": names}, f"acknowledged: {', '.join(names) or 'nothing was open'}")
