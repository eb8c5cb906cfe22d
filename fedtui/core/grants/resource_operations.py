"""Acts on what grants lean on: network bridges, the inventory, and this node's own resources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.audit.events import emit
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.grants import allowlists, bridges, inventory, resources
from fedtui.core.grants.bridges import Bridge
from fedtui.core.grants.resources import Document, EmbeddedStore, Provider
from fedtui.core.operations.form import PEER, Form, Parameter, document
from fedtui.core.operations.operation import Change, Operation, OperationRequest, Params, Result
from fedtui.core.peers import peers
from fedtui.core.peers.operations import named_peer, peer_target
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import document_text
from fedtui.core.runtime.unit import Unit

PROVIDER: Provider = EmbeddedStore()
"""Where this node's resources live."""
LARGEST_DOCUMENT = 1024 * 1024


# --- bridges -----------------------------------------------------------------------------


def _read_propose(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer, given = named_peer(unit, raw), str(raw.get("network") or "")
    allowlists.check_supplied("network", given)
    network = allowlists.network_id(given)
    if peer.status == "revoked":
        raise peers.transition_refused(peer, "bridged")
    existing = bridges.live(unit.session, peer.id, network)
    if existing is not None:
        raise bridges.already_there(existing)
    return OperationRequest({"peer_id": peer.id, "network": network}, peer.id)


def _propose(unit: Unit, _site: NodeContext, params: Params) -> Result:
    return bridge_shape(bridges.propose(unit, params["peer_id"], params["network"]))


def _read_bridge(to: str) -> Any:
    def read(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
        bridge = bridges.find(unit.session, str(raw.get("bridge", "")))
        if to not in bridges.TRANSITIONS[bridge.status]:
            raise bridges.refused(bridge, to)
        return OperationRequest({"bridge_id": bridge.id}, bridge.peer_id)

    return read


def bridge_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    """What acts on a bridge depend on."""
    bridge = session.get(Bridge, params["bridge_id"])
    peer = peer_target(session, {"peer_id": bridge.peer_id}) if bridge else None
    if bridge is None or peer is None:
        return None
    return {"peer": peer["remote_instance_url"], "network": bridge.network_id, "status": bridge.status}


def bridge_shape(bridge: Bridge) -> dict[str, Any]:
    """A bridge as a JSON object."""
    return {
        "id": bridge.id,
        "peer_id": bridge.peer_id,
        "network_id": bridge.network_id,
        "status": bridge.status,
        "can_become": list(bridges.TRANSITIONS[bridge.status]),
        "created_at": bridge.created_at,
        "updated_at": bridge.updated_at,
    }


def _bridge_act(name: str, to: str, effect: str, *, dangerous: bool) -> Operation:
    form = Form(
        title=f"{name.capitalize()} a network bridge",
        consequence=f"{effect[0].upper()}{effect[1:]} :bridges lists the bridges.",
        confirm=name.capitalize(),
        done=f"The bridge is {to}.",
        parameters=(Parameter("bridge", "Bridge (its ID)"),),
        dangerous=dangerous,
    )
    return Operation(
        action=f"system.federation_bridge_{name}",
        read=_read_bridge(to),
        target=bridge_target,
        summary=lambda _, target: f"{name.capitalize()} {target['peer']}'s bridge on {target['network']}: {effect}",
        changes=lambda _, target: (Change("bridge", target["status"], to),),
        apply=lambda unit, _, params: bridge_shape(bridges.move(unit, params["bridge_id"], to)),
        forms={f"{name}-bridge": form},
    )


# --- inventory ---------------------------------------------------------------------------


def _read_inventory(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    kind, served = inventory.check_kind(str(raw.get("kind") or "")), bool(raw.get("served"))
    if not served:
        inventory.require(unit.session, kind)
    return OperationRequest({"kind": kind, "served": served})


def _change_inventory(unit: Unit, _site: NodeContext, params: Params) -> Result:
    (inventory.add if params["served"] else inventory.remove)(unit, params["kind"])
    return dict(params)


def _summarise_inventory(params: Params, _target: Mapping[str, Any]) -> str:
    if params["served"]:
        return f"Serve the resource kind {params['kind']} to peers that hold a grant for it."
    return f"Serve the resource kind {params['kind']} no longer: every call for it is refused."


def _word(served: bool) -> str:
    return "served" if served else "not served"


# --- resources ---------------------------------------------------------------------------


def _read_put(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    kind, id = inventory.check_kind(str(raw.get("kind") or "")), resources.check_id(str(raw.get("id") or ""))
    document = raw.get("document")
    try:
        size = len(document_text.of(document).text.encode())
    except ValueError as error:
        raise WrongUsage(
            "document: it cannot be kept.",
            cause=f"{str(error)[:1].upper()}{str(error)[1:]}.",
            fix="Correct it, and put it again.",
            code="document_invalid",
        ) from None
    if document is None or size > LARGEST_DOCUMENT:
        raise WrongUsage(
            "document: null is no document." if document is None else f"document: {size} bytes are too many.",
            cause=f"A document is any JSON but null, up to {LARGEST_DOCUMENT} bytes.",
            fix="To remove it: fedtui resources delete KIND ID" if document is None else "Split it.",
            code="document_invalid",
        )
    return OperationRequest({"kind": kind, "id": id, "document": document})


def _read_delete(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    kind, id = str(raw.get("kind") or ""), str(raw.get("id") or "")
    require_document(unit.session, kind, id)
    return OperationRequest({"kind": kind, "id": id})


def require_document(session: Session, kind: str, id: str) -> Document:
    """A document. Raises `NotFound`."""
    found = PROVIDER.get(session, kind, id)
    if found is None:
        raise NotFound(
            f"There is no {kind[:80]}/{id[:80]}.",
            cause="Nothing is stored under this kind and id.",
            fix="See what is: fedtui resources list",
            code="resource_not_found",
        )
    return found


def _document_target(session: Session, params: Params) -> Mapping[str, Any]:
    found = PROVIDER.get(session, params["kind"], params["id"])
    return {"version": found.version if found else None, "served": inventory.serves(session, params["kind"])}


def _put(unit: Unit, _site: NodeContext, params: Params) -> Result:
    kind, id = params["kind"], params["id"]
    written = PROVIDER.put(unit, kind, id, document_text.of(params["document"]))
    emit(unit, "federation.resource.written", source="operator", resource_kind=kind, id=id, version=written.version)
    return {"kind": kind, "id": id, "version": written.version, "updated_at": written.updated_at}


def _delete(unit: Unit, _site: NodeContext, params: Params) -> Result:
    kind, id = params["kind"], params["id"]
    if not PROVIDER.delete(unit, kind, id):
        raise Refused(f"There is no {kind}/{id} any more.", cause="It was removed meanwhile.", code="resource_gone")
    emit(unit, "federation.resource.deleted", source="operator", resource_kind=kind, id=id)
    return {"kind": kind, "id": id, "deleted": True}


def _versions(after: str) -> Any:
    def changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
        before = f"version {target['version']}" if target["version"] else ""
        return (Change(f"{params['kind']}/{params['id']}", before, after),)

    return changes


def _without_document(params: Params) -> Params:
    """What an event says of a written document: its size and digest, not what is in it."""
    document = json.dumps(params["document"], sort_keys=True).encode()
    digest = hashlib.sha256(document).hexdigest()
    return {**params, "document": {"bytes": len(document), "sha256": digest}}


KIND, ID = Parameter("kind", "Resource kind", hint="doc"), Parameter("id", "ID")
DOCUMENT_LIMIT = 64 * 1024
"""Of a document that is typed or pasted, in characters."""


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.federation_bridge_propose",
        read=_read_propose,
        target=peer_target,
        summary=lambda params, target: (
            f"Propose a bridge for {target['remote_instance_url']} on network {params['network']}; not yet active."
        ),
        changes=lambda params, _: (Change(f"bridge on {params['network']}", "", "proposed"),),
        apply=_propose,
        forms={
            "propose-bridge": Form(
                title="Propose a network bridge",
                consequence="The bridge has no effect until it is activated (:activate-bridge).",
                confirm="Propose",
                done="Proposed. Next: :activate-bridge.",
                parameters=(PEER, Parameter("network", "SDWAN network")),
            )
        },
    ),
    _bridge_act("activate", "active", "grants restricted to this network begin to work.", dangerous=False),
    _bridge_act("suspend", "suspended", "grants restricted to this network stop working.", dangerous=True),
    _bridge_act("revoke", "revoked", "for good; grants restricted to this network stop working.", dangerous=True),
    Operation(
        action="system.inventory_change",
        read=_read_inventory,
        target=lambda session, params: {"served": inventory.serves(session, params["kind"])},
        summary=_summarise_inventory,
        changes=lambda params, target: (Change(params["kind"], _word(target["served"]), _word(params["served"])),),
        apply=_change_inventory,
        forms={
            "serve-kind": Form(
                title="Serve a resource kind",
                consequence="Peers with a grant for this kind can call this node for it.",
                confirm="Serve",
                done="Served from now on.",
                parameters=(KIND,),
                fixed={"served": True},
            ),
            "stop-kind": Form(
                title="Stop serving a resource kind",
                consequence="This node denies every call for this kind. Its documents stay.",
                confirm="Stop",
                done="No longer served.",
                parameters=(KIND,),
                fixed={"served": False},
                dangerous=True,
            ),
        },
    ),
    Operation(
        action="system.federation_resource_put",
        read=_read_put,
        target=_document_target,
        summary=lambda params, _: f"Write {params['kind']}/{params['id']}.",
        changes=_versions("the new document"),
        recorded=_without_document,
        apply=_put,
        forms={
            "put-resource": Form(
                title="Write a document",
                consequence="A document with this kind and ID is replaced. Larger ones: fedtui resources put.",
                confirm="Write",
                done="Written.",
                parameters=(KIND, ID, Parameter("document", "Document (JSON)", read=document, limit=DOCUMENT_LIMIT)),
            )
        },
    ),
    Operation(
        action="system.federation_resource_delete",
        read=_read_delete,
        target=_document_target,
        summary=lambda params, _: f"Remove {params['kind']}/{params['id']}.",
        changes=_versions(""),
        apply=_delete,
        forms={
            "delete-resource": Form(
                title="Delete a document",
                consequence="The document is gone for this node and for every peer.",
                confirm="Delete",
                done="Deleted.",
                parameters=(KIND, ID),
                dangerous=True,
            )
        },
    ),
)
