"""Opening a node: the one that is there, a new one, or one from a backup."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tomli_w

from fedtui.core.administration import node_settings, operators
from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused, Unusable, WrongUsage
from fedtui.core.jobs import restore
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node, acting_operator, assemble
from fedtui.core.pki import signing
from fedtui.core.pki import vault as vaults
from fedtui.core.pki.vault import Vault
from fedtui.core.runtime import backup as upkeep
from fedtui.core.runtime import daemons, home, identity, migrate, process_lock, urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.clock import Clock, SystemClock
from fedtui.core.runtime.daemons import Daemon
from fedtui.core.runtime.database import Database
from fedtui.core.runtime.identity import NodeIdentity
from fedtui.core.runtime.settings import DATABASE_FILE, Settings
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import unit_of_work

NAME_LIMIT = 40


def open_node(settings: Settings, *, clock: Clock | None = None, migrate_first: bool = True) -> Node:
    """Open the node in `settings.home`.

    Raises `Unusable` when there is none, when others can read it, when the database is newer
    than this program, or when the vault's key is not the one it was set up with.
    """
    database = open_database(settings)
    try:
        vault = Vault(vaults.read_key(settings.vault_key_path))
        if migrate_first:
            upgrade(settings, database, clock=clock)
        else:
            migrate.require_current(database)
        with database.explained(), database.reading() as session:
            known = identity.load(session)
            vault.require_key(session, known.id)
            operator = operators.canonical(session, acting_operator(settings))
    except BaseException:
        database.close()
        raise
    return assemble(settings, clock or SystemClock(settings.clock_offset), database, vault, known, operator)


def upgrade(settings: Settings, database: Database, *, clock: Clock | None = None) -> bool:
    """Bring the database to this program's schema. True if anything was done.

    Raises `Refused` while a daemon works on an older one: it is an older program's, and would go on with what it knows.
    """
    if migrate.revision(database) not in (None, migrate.HEAD):
        running = _running(settings, database, clock)
        if running:
            raise Refused(
                "An older fedtui's daemon works on this database.",
                cause=f"{_places(running)} would go on without knowing what an upgrade changes.",
                fix="Stop it, on several machines all of them; then: fedtui db upgrade",
                code="daemon_running",
            )
    return migrate.upgrade(database)


def restore_node(settings: Settings, backup: Path, *, reason: str, clock: Clock | None = None) -> Mapping[str, Any]:
    """Put a backup in the place of the node's database; the node is in quarantine from its first moment.

    The old database is put aside, not removed. Raises `Refused` while a daemon runs, or for an operator whom the
    backup does not know as one who may; `WrongUsage` for a file that is no backup; `Unusable` for one that this
    vault's key does not open.
    """
    home.require_private(settings.home)
    with process_lock.kept_out(settings.home) as free:
        if not free:
            raise _daemon_runs("A daemon of this home")
        _require_stopped(settings, clock)
        aside, begun = _replace_database(settings, backup, reason, clock)
    return {"restored": str(backup), "put_aside": str(aside) if aside else None, **begun}


def _replace_database(
    settings: Settings, backup: Path, reason: str, clock: Clock | None
) -> tuple[Path | None, Mapping[str, Any]]:
    """Put a backup in the database's place: where the old one is now, and how the quarantine began."""
    staged = upkeep.stage(backup, settings.home)
    try:
        copied = replace(settings, database_url=f"sqlite:///{quote(str(staged))}")
        with closing(Database(copied.database_url)) as database:
            migrate.upgrade(database)  # whatever daemon was alive when it was made
        node = open_node(copied, clock=clock)
        try:
            begun = restore.begin(node, node.actor("cli"), reason)
            found = upkeep.check(node.database)
            now, file = node.clock.now(), settings.home / DATABASE_FILE
        finally:
            node.close()
        if found:
            raise Unusable(
                "The backup is damaged.", cause="; ".join(found), fix="Take an older one.", code="backup_damaged"
            )
        aside = upkeep.put_in_place(staged, file, now)
    finally:
        for left in settings.home.glob(f"{upkeep.STAGED}*"):
            left.unlink()
    return aside, begun


def _require_stopped(settings: Settings, clock: Clock | None) -> None:
    """Raise `Refused` where a daemon is known to run on the database that is to be replaced."""
    if settings.database_url:
        raise Refused(
            "This node keeps its records on a database server.",
            cause="Only the built-in SQLite database is restored by fedtui.",
            fix="Use the server's own tool (pg_restore), then: fedtui db quarantine --begin --reason ...",
            code="backup_elsewhere",
        )
    if not settings.config_file.exists() or not (settings.home / DATABASE_FILE).exists():
        return
    try:
        node = open_node(settings, clock=clock, migrate_first=False)
    except Unusable:
        return  # what cannot be opened is what is to be replaced
    try:
        running = _running(settings, node.database, clock)
    finally:
        node.close()
    if running:
        raise _daemon_runs(_places(running))


def _daemon_runs(which: str) -> Refused:
    return Refused(
        "A daemon of this node runs.",
        cause=f"{which} would go on with the old database.",
        fix="Stop it, then restore again.",
        code="daemon_running",
    )


def _running(settings: Settings, database: Database, clock: Clock | None) -> list[Daemon]:
    now = (clock or SystemClock(settings.clock_offset)).now()
    with database.reading() as session:
        return daemons.running(session, now=now, ttl=3 * settings.lease_ttl)


def _places(found: Sequence[Daemon]) -> str:
    return "Process " + " and ".join(f"{one.pid} on {one.host}" for one in found)


def init_node(
    settings: Settings,
    *,
    name: str,
    url: str,
    single_operator: bool = False,
    drill_mode: bool = False,
    clock: Clock | None = None,
) -> Node:
    """Set up a node: home, vault key, database, CA, server certificate, first operator.

    Everything but the key file is written in one transaction. Raises `Refused` on a home
    that has a node, `WrongUsage` for a bad name or URL.
    """
    shown_name = name.strip()
    if not 1 <= len(shown_name) <= NAME_LIMIT or not shown_name.isprintable():
        raise WrongUsage(
            f"{name[:80]!r} cannot be a node's name.",
            cause=f"A name is 1 to {NAME_LIMIT} printable characters; it tells nodes apart on the screen.",
            fix="Choose one like platform-a.",
            code="name_invalid",
        )
    own_url = urls.secure(url)
    _require_listen_agrees(settings)
    home.make(settings.home)
    home.require_private(settings.home)
    database = Database(settings.resolved_database_url)
    try:
        upgrade(settings, database, clock=clock)
        return _write_node(
            settings,
            clock or SystemClock(settings.clock_offset),
            database,
            shown_name,
            own_url,
            single_operator,
            drill_mode,
        )
    except BaseException:
        database.close()
        raise


def _write_node(
    settings: Settings,
    clock: Clock,
    database: Database,
    name: str,
    url: str,
    single_operator: bool,
    drill_mode: bool,
) -> Node:
    operator = acting_operator(settings)
    actor = Actor("operator", operator, uid=os.getuid(), origin="init")
    with unit_of_work(database, now=clock.now(), actor=actor) as unit:
        if unit.session.query(NodeIdentity).first() is not None:
            raise _already_set_up(settings)
        key_path = settings.vault_key_path
        # A key left by an init that died before its commit is taken up, not overwritten.
        vault = Vault(vaults.read_key(key_path) if key_path.exists() else vaults.make_key(key_path))
        known = NodeIdentity(id=new_id(), name=name, url=url, created_at=unit.now)
        unit.session.add(known)
        vault.place_check(unit.session, known.id, unit.now)
        signing.create_authority(unit, vault, name)
        operators.add(unit, operator, operators.PERMISSIONS)
        for key, wanted in (("single_operator", single_operator), ("drill_mode", drill_mode)):
            if wanted:
                node_settings.put(unit, key, "on")
        node = assemble(settings, clock, database, vault, known, operator)
        job_tasks.renew_server(unit, node)
        emit(unit, "system.node.initialised", source="init", name=name, url=url)
        _write_config(settings)
    return node


def _write_config(settings: Settings) -> None:
    """Keep where the node listens in config.toml; what somebody wrote there already stays as it is."""
    line = tomli_w.dumps({"listen": settings.listen}).encode()
    file = settings.config_file
    if not file.exists():
        home.write_private(file, line)
    elif settings.origins.get("listen") == "option" and "listen" not in _top_level(file):
        home.replace_private(file, line + file.read_bytes())  # before any table, or it would be a key of that


def _top_level(file: Path) -> Mapping[str, Any]:
    """What config.toml says; the settings in force were read from it, so that it can be read."""
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _require_listen_agrees(settings: Settings) -> None:
    """Raise `WrongUsage` where config.toml names another address than the one asked for, which it would overrule."""
    written = _top_level(settings.config_file).get("listen")
    if settings.origins.get("listen") == "option" and written not in (None, settings.listen):
        raise WrongUsage(
            f"{settings.config_file} says that the node listens on {written}, not on {settings.listen}.",
            cause="A daemon takes the address from that file; one given to init is only written where there is none.",
            fix="Change `listen` in that file, or leave --listen out.",
            code="listen_conflict",
        )


def open_database(settings: Settings) -> Database:
    """The node's database as it is, whatever its schema, and with or without the vault's key.

    Raises `Unusable` where there is none, or when others can read the home.
    """
    home.require_private(settings.home)
    database = Database(settings.resolved_database_url)
    if database.file is not None and not database.file.exists():
        raise identity.not_set_up()
    return database


def _already_set_up(settings: Settings) -> Refused:
    place, fix = (
        f"in {settings.home}",
        "Use it as it is (fedtui config shows it), or another home with FEDTUI_HOME=DIR.",
    )
    if settings.database_url:
        place = "in this database"
        fix = f"Use it as it is: one more machine of it needs a copy of its vault.key ({settings.vault_key_path})."
    return Refused(
        f"There is already a node {place}.",
        cause="Setting up again would replace its CA, and every peer would lose it.",
        fix=fix,
        code="already_set_up",
    )
