"""Tools on what grants lean on: bridges, the inventory, this node's documents; and what an edit would cut off."""

from __future__ import annotations

from typing import Any

from fedtui.core.grants import bridges, grants, inventory, resource_operations, resources
from fedtui.core.grants import operations as grant_operations
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.views import serializers
from fedtui.mcp import answers
from fedtui.mcp.acting import act
from fedtui.mcp.parameters import (
    BRIDGE,
    GRANT,
    GRANT_EDITS,
    KIND,
    LIMIT,
    OF_PEER,
    OPTIONAL_REASON,
    PEER,
    document,
    flag,
    maybe,
    text,
)
from fedtui.mcp.table import Answer, Given, Tool

DOCUMENT_ID = text("The document's id.", longest=300)


def _cut_off(node: Node, given: Given) -> Answer:
    edits = None if given["revoke"] else {key: value for key, value in given.items() if key in GRANT_EDITS}
    with node.read() as session:
        grant = grants.find(session, given["grant"])
        changes = None if edits is None else grant_operations.edited(grant, edits)
        cut = grant_operations.cut_off(session, grant, changes, node.clock.now())
    return {
        "grant_id": grant.id,
        "changes": changes,
        "cuts_off": sum(one.times for one in cut),
        "used_in_30_days_and_cut_off": [serializers.used(one) for one in cut],
    }


def _bridges(node: Node, given: Given) -> Answer:
    with node.read() as session:
        of_peer = peers.find(session, given["peer"]).id if "peer" in given else None
        found = bridges.listing(session, peer_id=of_peer, limit=given["limit"])
        return {"bridges": [resource_operations.bridge_shape(row) for row in found]}


def _inventory(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        found = inventory.listing(session)
    return {"kinds": [{"kind": one.kind, "added_at": one.added_at, "added_by": one.added_by} for one in found]}


def _documents(node: Node, given: Given) -> Answer:
    with node.read() as session:
        found = resources.listing(session, kind=given.get("resource_kind"), limit=given["limit"])
    return {
        "documents": [
            {
                "kind": one.kind,
                "id": one.id,
                "version": one.version,
                "updated_at": one.updated_at,
                "updated_by": one.updated_by,
            }
            for one in found
        ]
    }


def _document(node: Node, given: Given) -> Answer:
    kind, id = given["resource_kind"], given["resource_id"]
    with node.read() as session:
        found = resource_operations.require_document(session, kind, id)
    shown = answers.shown(found.content)
    # One who writes back what was hidden or cut short would destroy it: they must be able to tell.
    return {
        "kind": kind,
        "id": id,
        "version": found.version,
        "etag": found.etag,
        "document": shown,
        "complete": shown == found.content,
    }


def _moving(name: str, words: str, *, destroys: bool = False) -> Tool:
    takes: dict[str, Any] = {"bridge": BRIDGE, "reason": OPTIONAL_REASON}
    full = f"system_sdwan_{name}_federation_bridge"
    return act(full, words, takes, f"system.federation_bridge_{name}", destroys=destroys)


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="system_sdwan_preview_federation_grant_edit",
        words="What an edit of a grant, or its revocation, would cut off of what was used in the last 30 days. "
        "Changes nothing.",
        takes={"grant": GRANT, **GRANT_EDITS, "revoke": flag("As if it were revoked, instead of edited.")},
        run=_cut_off,
    ),
    Tool(
        name="system_sdwan_list_federation_bridges",
        words="Network bridges: which SDWAN network a peer may come in by. Newest first, ended ones last.",
        takes={"peer": OF_PEER, "limit": LIMIT},
        run=_bridges,
    ),
    act(
        "system_sdwan_propose_federation_bridge",
        "Propose a bridge for a peer on a network; it works once it is activated.",
        {"peer": PEER, "network": text("The SDWAN network's id."), "reason": OPTIONAL_REASON},
        "system.federation_bridge_propose",
    ),
    _moving("activate", "Let grants restricted to the bridge's network work."),
    _moving("suspend", "Stop them until the bridge is activated again.", destroys=True),
    _moving("revoke", "End a bridge for good.", destroys=True),
    Tool(
        name="system_sdwan_list_inventory_kinds",
        words="The resource kinds that this node serves.",
        takes={},
        run=_inventory,
    ),
    act(
        "system_sdwan_add_inventory_kind",
        "Begin to serve a resource kind.",
        {"resource_kind": KIND, "reason": OPTIONAL_REASON},
        "system.inventory_change",
        served=True,
    ),
    act(
        "system_sdwan_remove_inventory_kind",
        "Serve a resource kind no longer; its documents stay.",
        {"resource_kind": KIND, "reason": OPTIONAL_REASON},
        "system.inventory_change",
        destroys=True,
        served=False,
    ),
    Tool(
        name="system_sdwan_list_federation_resources",
        words="This node's own documents, by kind and id.",
        takes={"resource_kind": maybe("Only of this kind.", longest=80), "limit": LIMIT},
        run=_documents,
    ),
    Tool(
        name="system_sdwan_get_federation_resource",
        words="One of this node's documents. Where `complete` is false, something in it was hidden or cut short: "
        "do not write it back.",
        takes={"resource_kind": KIND, "resource_id": DOCUMENT_ID},
        run=_document,
    ),
    act(
        "system_sdwan_put_federation_resource",
        "Write one of this node's documents, whole: what was there is replaced.",
        {
            "resource_kind": KIND,
            "resource_id": DOCUMENT_ID,
            "document": document("Any JSON but null."),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_resource_put",
        destroys=True,
    ),
    act(
        "system_sdwan_delete_federation_resource",
        "Remove one of this node's documents.",
        {"resource_kind": KIND, "resource_id": DOCUMENT_ID, "reason": OPTIONAL_REASON},
        "system.federation_resource_delete",
        destroys=True,
    ),
)
