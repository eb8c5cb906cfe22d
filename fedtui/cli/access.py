"""Commands on what grants lean on: network bridges, the inventory, and this node's resources."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fedtui.cli.common import MOST, ask, group, piped, viewing
from fedtui.cli.output import show, table
from fedtui.cli.peers import PeerArgument, Wait
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import document_text

bridges_app = group("Network bridges: which SDWAN network a peer may come in by.")
inventory_app = group("Inventory: the resource kinds that this node serves.")
resources_app = group("Resources: this node's own documents.")
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")]


@bridges_app.command("list")
def bridges_list(limit: Limit = 100) -> None:
    """Every bridge; those that have ended last."""
    from fedtui.core.grants import bridges, resource_operations

    with viewing() as (_node, session):
        rows = [resource_operations.bridge_shape(row) for row in bridges.listing(session, limit=limit)]
    columns = (("id", "ID"), ("status", "STATUS"), ("peer_id", "PEER"), ("network_id", "NETWORK"))
    empty = "No bridges. Propose one with: fedtui bridges propose PEER NETWORK"
    show(rows, lambda: table(rows, columns, empty=empty))


@bridges_app.command("propose")
def bridges_propose(peer: PeerArgument, network: str, wait: Wait = False) -> None:
    """Propose a bridge for a peer on a network; it works once it is activated."""
    ask("system.federation_bridge_propose", {"peer": peer, "network": network}, wait=wait)


@bridges_app.command("activate")
def bridges_activate(bridge: str, wait: Wait = False) -> None:
    """Let grants restricted to the bridge's network work."""
    ask("system.federation_bridge_activate", {"bridge": bridge}, wait=wait)


@bridges_app.command("suspend")
def bridges_suspend(bridge: str, wait: Wait = False) -> None:
    """Stop them until it is activated again."""
    ask("system.federation_bridge_suspend", {"bridge": bridge}, wait=wait)


@bridges_app.command("revoke")
def bridges_revoke(bridge: str, wait: Wait = False) -> None:
    """End a bridge for good."""
    ask("system.federation_bridge_revoke", {"bridge": bridge}, wait=wait)


@inventory_app.command("list")
def inventory_list() -> None:
    """The kinds that this node serves."""
    from fedtui.core.grants import inventory

    with viewing() as (_node, session):
        listed = inventory.listing(session)
    rows = [{"kind": row.kind, "added_at": row.added_at, "added_by": row.added_by} for row in listed]
    columns = (("kind", "KIND"), ("added_at", "SINCE"), ("added_by", "BY"))
    show(rows, lambda: table(rows, columns, empty="Nothing is served. Add a kind with: fedtui inventory add KIND"))


@inventory_app.command("add")
def inventory_add(kind: str, wait: Wait = False) -> None:
    """Begin to serve a kind."""
    ask("system.inventory_change", {"kind": kind, "served": True}, wait=wait)


@inventory_app.command("remove")
def inventory_remove(kind: str, wait: Wait = False) -> None:
    """Serve a kind no longer; its documents stay."""
    ask("system.inventory_change", {"kind": kind, "served": False}, wait=wait)


@resources_app.command("list")
def resources_list(
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None, limit: Limit = 100
) -> None:
    """The documents, by kind and id."""
    from fedtui.core.grants import resources

    with viewing() as (_node, session):
        listed = resources.listing(session, kind=kind, limit=limit)
    rows = [
        {"kind": row.kind, "id": row.id, "version": row.version, "updated_at": row.updated_at, "by": row.updated_by}
        for row in listed
    ]
    columns = (("kind", "KIND"), ("id", "ID"), ("version", "VERSION"), ("updated_at", "WRITTEN"), ("by", "BY"))
    empty = "No resources. Write one with: fedtui resources put KIND ID --document '{...}'"
    show(rows, lambda: table(rows, columns, empty=empty))


@resources_app.command("get")
def resources_get(kind: str, id: str) -> None:
    """One document."""
    from fedtui.core.grants import resource_operations

    with viewing() as (_node, session):
        found = resource_operations.require_document(session, kind, id)
    shape = {"kind": kind, "id": id, "version": found.version, "etag": found.etag, "document": found.content}
    show(shape, lambda: json.dumps(found.content, indent=2))


@resources_app.command("put")
def resources_put(
    kind: str,
    id: str,
    document: Annotated[str, typer.Option(help="The document as JSON; - reads it from standard input.")],
    wait: Wait = False,
) -> None:
    """Write a document."""
    given = piped(document)
    try:
        if given.strip() != "null":  # the act says what to do instead
            document_text.normalize(given.encode())  # what the API refuses of peers
        content = json.loads(given)
    except ValueError as error:
        raise WrongUsage(
            "--document is not JSON.",
            cause=str(error),
            fix="""Quote it for the shell: --document '{"name": "x"}', or pipe it in with --document -""",
            code="document_invalid",
        ) from error
    ask("system.federation_resource_put", {"kind": kind, "id": id, "document": content}, wait=wait)


@resources_app.command("delete")
def resources_delete(kind: str, id: str, wait: Wait = False) -> None:
    """Remove a document."""
    ask("system.federation_resource_delete", {"kind": kind, "id": id}, wait=wait)
