"""Commands on the node's database: upgrade, backup, restore, check, and the quarantine after a restore."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fedtui.cli.common import ask, group, opened, viewing
from fedtui.cli.console import load_settings
from fedtui.cli.output import fields, narrate, show
from fedtui.core.errors import CheckFailed

DAMAGE = ("database_damaged", "vault_unreadable", "vault_key_wrong")
"""Refusals to open a node that are what `db check` looks for."""
db_app = group("The node's database: upgrade, backup, restore, check.")
Why = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(db_app, name="db")


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this program's schema. Safe to run twice, and from several processes."""
    from fedtui.core import bootstrap
    from fedtui.core.runtime import home, migrate
    from fedtui.core.runtime.database import Database

    settings = load_settings()
    home.make(settings.home)
    home.require_private(settings.home)
    database = Database(settings.resolved_database_url)
    try:
        upgraded = bootstrap.upgrade(settings, database)
    finally:
        database.close()
    result = {"upgraded": upgraded, "revision": migrate.HEAD}
    show(result, f"{'upgraded to' if upgraded else 'already at'} revision {migrate.HEAD}")


@db_app.command("backup")
def db_backup(file: Path) -> None:
    """Copy the database to a new file while the node runs. The vault key is not in it."""
    from fedtui.core import bootstrap
    from fedtui.core.runtime import backup as upkeep

    with closing(bootstrap.open_database(load_settings())) as database:  # not opened as a node: that would upgrade it
        size = upkeep.backup(database, file)
    show({"file": str(file), "bytes": size, "holds_vault_key": False}, f"{file}: {size} bytes")
    narrate("vault.key and config.toml are not in it: keep copies of them, the key's apart from this file.")


@db_app.command("restore")
def db_restore(file: Path, reason: Why) -> None:
    """Put a backup in the database's place. The node then stands in quarantine until that is ended (db confirm)."""
    from fedtui.core.bootstrap import restore_node

    settings = load_settings()
    restored = restore_node(settings, file, reason=reason)
    show(restored, lambda: fields(_flat(restored)))
    if not settings.config_file.exists():
        narrate(f"There is no {settings.config_file}: it would listen at {settings.listen}. Is that where peers call?")
    narrate("The node is in quarantine: it answers no peer. What to look at: fedtui db quarantine")


@db_app.command("quarantine")
def db_quarantine(
    begin: Annotated[
        bool, typer.Option("--begin", help="Begin one: the records were put back by other means (pg_restore).")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for the record; needed to begin one.")] = None,
) -> None:
    """Whether the node is in quarantine, and what to look at before that is ended."""
    from fedtui.core.jobs import restore

    if begin:
        with opened() as node:
            restore.begin(node, node.actor("cli"), reason)
    with viewing() as (_node, session):
        found = restore.shape(session)
    show(found, lambda: fields(_flat(found)) if found["quarantine"] else "The node is not in quarantine.")


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """The quarantine for people: what there is to go through on one line."""
    counts = found.get("to_go_through", {})
    said = ", ".join(f"{what}: {count}" for what, count in counts.items())
    return {
        key: f"{said}; any may have been revoked since" if key == "to_go_through" else value
        for key, value in found.items()
    }


@db_app.command("confirm")
def db_confirm(
    reason: Why, wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False
) -> None:
    """End the quarantine: what was revoked or used since the backup has been gone through."""
    ask("system.quarantine_end", {}, reason=reason, wait=wait)


@db_app.command("check")
def db_check() -> None:
    """Check the database and the vault key. Exit 1 if anything is wrong."""
    from fedtui.core.errors import Problem
    from fedtui.core.runtime import backup as upkeep

    try:
        with opened() as node:
            found, unwritable = upkeep.check(node.database), upkeep.unwritable(node.database)
    except Problem as problem:
        if problem.code not in DAMAGE:
            raise
        found, unwritable = [f"{problem.problem} {problem.cause}"], None
    if found:
        raise CheckFailed("The database is damaged.", cause="; ".join(found), fix="Restore a backup: fedtui db restore")
    if unwritable is not None:
        raise CheckFailed(
            "The database is whole, and cannot be written.",
            cause=unwritable.why,
            fix=f"{unwritable.fix} Nothing has to be restored.",
        )
    show({"ok": True}, "the database is whole, and the vault key fits")
