"""Commands on the node itself: init, serve, console, config, openapi, settings."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from fedtui.cli.common import ask, group, opened, viewing
from fedtui.cli.console import init_here, load_settings, open_console
from fedtui.cli.output import fields, narrate, show, table, to_json

settings_app = group("Settings that weaken the node: kept in its database, changed through the gate.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for function in (init, serve, console, config, openapi):
        app.command()(function)
    app.add_typer(settings_app, name="settings")


def init(
    name: Annotated[str, typer.Option(help="What people call this node.")],
    url: Annotated[str, typer.Option(help="Where other platforms reach it, https://HOST[:PORT].")],
    listen: Annotated[str | None, typer.Option(help="Where it listens, HOST:PORT.")] = None,
    single_operator: Annotated[bool, typer.Option(help="Operators may decide their own requests.")] = False,
    drill_mode: Annotated[bool, typer.Option(help="Peers proposed without a token accept any caller.")] = False,
) -> None:
    """Set up a node in FEDTUI_HOME. You become its first operator."""
    from fedtui.core.runtime import urls

    settings = load_settings(listen=listen)
    urls.split_listen(settings.listen)
    made = init_here(settings, name=name, url=url, single_operator=single_operator, drill_mode=drill_mode)
    show(made, lambda: fields(made))
    narrate("Next: fedtui serve   (and keep a copy of vault.key apart from the database's backups)")


def serve(
    listen: Annotated[str | None, typer.Option(help="Where to listen, HOST:PORT; port 0 picks a free one.")] = None,
    until_eof: Annotated[bool, typer.Option(hidden=True, help="Also stop when standard input ends.")] = False,
) -> None:
    """Run the node: federation API and scheduler. SIGTERM drains and stops, SIGHUP reloads certificates."""
    from fedtui import daemon
    from fedtui.core.audit import logs
    from fedtui.core.runtime import process_lock

    # Before the database is opened: a restore that is under way puts another in its place.
    with process_lock.announced(load_settings().home), opened(listen=listen) as node:
        logs.configure(format_=node.settings.log_format, level=node.settings.log_level)
        code = daemon.serve(node, announce=_announce, until_eof=until_eof)
    raise typer.Exit(code)


def _announce(url: str) -> None:
    with contextlib.suppress(OSError):  # the node serves whether or not this can be printed; its log says it, too
        show({"listening": url}, f"listening on {url}")


def console(
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every act; start no daemon.")] = False,
    restricted: Annotated[
        bool, typer.Option("--restricted", help="One operator's session, begun by a forced command over SSH.")
    ] = False,
    home: Annotated[
        str, typer.Option("--home", metavar="DIR", help="The node's home, whatever FEDTUI_HOME says.")
    ] = "",
    place: Annotated[str, typer.Option("-c", metavar="PLACE", help="Where to begin: peers, or peers/ID.")] = "",
) -> None:
    """Open the console on this machine's node."""
    raise typer.Exit(open_console(read_only=read_only, place=place, restricted=restricted, home=home))


def config() -> None:
    """Every setting of this process, its value, and where that came from."""
    rows = load_settings().rows()
    columns = (("key", "SETTING"), ("value", "VALUE"), ("origin", "FROM"), ("help", "WHAT IT IS"))
    show(rows, lambda: table(rows, columns, empty=""))


def openapi() -> None:
    """What the federation API takes and answers, as an OpenAPI document (JSON)."""
    from fedtui.api.openapi import document

    show(document(), lambda: to_json(document()))


@settings_app.command("list")
def settings_list() -> None:
    """The node settings."""
    from fedtui.core.administration import node_settings

    with viewing() as (_node, session):
        rows = node_settings.rows(session)
    columns = (("key", "SETTING"), ("value", "VALUE"), ("default", "DEFAULT"), ("help", "WHAT IT DOES"))
    show(rows, lambda: table(rows, columns, empty=""))


@settings_app.command("set")
def settings_set(
    key: str,
    value: str,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
) -> None:
    """Change a node setting; needs approval once a second operator can approve."""
    ask("system.settings_change", {"key": key, "value": value}, reason=reason, wait=wait)
