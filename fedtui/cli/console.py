"""Opening the console, or the first run where there is no node yet.

Plain `fedtui` comes here without the command line's parser: its import, and what it brings
with it, would stand between the key and the first paint.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedtui.cli.output import MODE
from fedtui.core.errors import WrongUsage

if TYPE_CHECKING:
    from fedtui.child import Other, Standby
    from fedtui.core.node import Node
    from fedtui.core.runtime.settings import Settings

KEPT = (
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "LANG",
    "TZ",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
)
"""What a restricted session keeps of its environment, besides `LC_*`."""
CHILD_LOG = "daemon.log"
"""In the home: what a console's child daemon says."""


def load_settings(**options: Any) -> Settings:
    """This process's settings; `options` not given are None."""
    from fedtui.core.runtime import settings

    return settings.load(os.environ, {"operator": MODE.operator, **options})


def init_here(settings: Settings, **options: Any) -> dict[str, str]:
    """Set the node up; the contract's object."""
    from fedtui.core.bootstrap import init_node
    from fedtui.core.pki import certificates

    node = init_node(settings, **options)
    try:
        with node.read() as session:
            fingerprint = certificates.own_ca(session).fingerprint
        return {
            "name": node.name,
            "url": node.url,
            "home": str(settings.home),
            "node_id": node.id,
            "ca_fingerprint": fingerprint,
            "operator": node.operator,
        }
    finally:
        node.close()


def open_console(*, read_only: bool = False, place: str = "", restricted: bool = False, home: str = "") -> int:
    """The console, or the first run where there is no node; the exit code.

    `restricted` is a session that a forced command began: the command line alone says who acts
    and on which home. Raises `WrongUsage` off a terminal, `Unusable` where a restricted session
    finds no node.
    """
    from fedtui.core.runtime.settings import DATABASE_FILE

    if restricted:
        _forget_environment()
    if home:
        os.environ["FEDTUI_HOME"] = home
    settings = load_settings()
    if restricted and not MODE.operator:
        raise WrongUsage(
            "A restricted session is one operator's.",
            cause="The forced command names none.",
            fix="Have the line written anew: fedtui operators authorize NAME --key FILE",
            code="operator_missing",
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise WrongUsage(
            "The console needs a terminal.",
            cause="Standard input, output or error is not one.",
            fix="Run it in a terminal, or use a command: fedtui --help",
            code="no_terminal",
        )
    if not settings.database_url and not (settings.home / DATABASE_FILE).exists():
        if restricted:
            from fedtui.core.runtime import identity

            raise identity.not_set_up()
        code = _first_run(settings)
        if code is not None:
            return code
        settings = load_settings()
    return _console(settings, read_only=read_only, place=place, restricted=restricted)


def _forget_environment() -> None:
    """Drop every variable but those that describe the terminal and the login: none of the others may
    change what a restricted session is, or reach what it starts."""
    for name in [name for name in os.environ if name not in KEPT and not name.startswith("LC_")]:
        del os.environ[name]


def _first_run(settings: Settings) -> int | None:
    """Offer the demo and setting up. The exit code, or None when there is a node now and the console is wanted."""
    from fedtui.core.node import acting_operator
    from fedtui.screens import first_run

    def set_up(wanted: first_run.SetupAnswers) -> dict[str, str]:
        from fedtui.api.listener import bind
        from fedtui.core.runtime import urls

        bind(*urls.split_listen(wanted.listen)).close()
        chosen = load_settings(listen=wanted.listen)
        made = init_here(chosen, name=wanted.name, url=wanted.url, single_operator=wanted.single_operator)
        return {**made, "listen": chosen.listen, "vault_key": str(chosen.vault_key_path)}

    here = first_run.Place(
        home=settings.home,
        operator=acting_operator(settings),
        host=socket.gethostname(),
        listen=settings.listen if "listen" in settings.origins else "",
    )
    ending = first_run.run_first_run(here, set_up)
    if ending == first_run.DEMO:
        from fedtui.lab import demo

        return demo.run(nodes=2, keep=None, headless=False, exit_when_active=False)
    return {first_run.LEAVE: 0, first_run.CRASHED: 70}.get(ending)


def _console(settings: Settings, *, read_only: bool, place: str, restricted: bool) -> int:
    """The console, with a daemon as its child while no other runs; a read-only console starts none."""
    from fedtui.app import run_console
    from fedtui.lab.faults.model import MARKER
    from fedtui.screens.shell import console_file

    file = console_file.load(settings.home)
    standby: list[Standby] = []

    def open_here() -> Node:
        # Beside the console, after its first paint: all that is slow to import or to do.
        from fedtui.child import ChildDaemon, Standby
        from fedtui.core.bootstrap import open_node

        node = open_node(settings)
        if restricted:
            _require_on_record(node)
        if not read_only and not standby:
            child = ChildDaemon(settings.home, settings.home / CHILD_LOG, _for_the_daemon(os.environ))
            standby.append(Standby(child, lambda: _other_daemon(node, child.pid)))
            standby[0].begin()
        return node

    try:
        return run_console(
            open_here,
            file=file,
            mode="DEMO" if (settings.home / MARKER).is_file() else "",
            notice=lambda: standby[0].notice() if standby else "",
            read_only=read_only,
            restricted=restricted,
            place=place,
        )
    finally:
        for one in standby:
            one.end()


def _require_on_record(node: Node) -> None:
    from fedtui.core.administration import operators

    try:
        with node.read() as session:
            operators.require(session, node.operator)
    except BaseException:
        node.close()
        raise


def _for_the_daemon(environment: Mapping[str, str]) -> dict[str, str]:
    """The node's settings in our environment; who sits at this console is nothing to the daemon."""
    return {key: value for key, value in environment.items() if key.startswith("FEDTUI_") and key != "FEDTUI_OPERATOR"}


def _other_daemon(node: Node, ours: int | None) -> Other:
    """Return what is known of daemons of the node other than our child, which does not run.

    The database names those that wrote to it lately; the lock of the home, on this machine, also one that cannot.
    """
    from fedtui.child import Other
    from fedtui.core.runtime import backup, daemons, process_lock

    here = socket.gethostname()
    with node.read() as session:
        running = daemons.running(session, now=node.clock.now(), ttl=3 * node.settings.lease_ttl)
        silent = [row.pid for row in daemons.of_host(session, here) if row.pid != ours]
    if any((row.host, row.pid) != (here, ours) for row in running):
        return Other(alive=True)
    if not process_lock.daemon_lives(node.settings.home):
        return Other(alive=False)
    process = f"process {silent[0]}" if len(silent) == 1 else "it"
    if refusal := backup.unwritable(node.database):
        return Other(alive=True, trouble=f"A daemon of this node runs, but {process} cannot write: {refusal.why}.")
    return Other(
        alive=True,
        trouble=f"A daemon of this node exists, but {process} does not respond. "
        "End it (kill -9), and another one is started.",
    )
