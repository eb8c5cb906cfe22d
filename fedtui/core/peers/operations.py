"""Acts on peers: propose, token, suspend, resume, revoke, edit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings
from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.operations.form import PEER, Form, Parameter
from fedtui.core.operations.operation import Change, Operation, OperationRequest, Params, Result
from fedtui.core.operations.reasons import reason_of
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import Invite
from fedtui.core.pki import certificates
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import durations, prefixes, urls
from fedtui.core.runtime.unit import Unit

SOURCE = "operator"
NO_PREFIX, NEVER = "none", "never"
"""What takes away a peer's prefix, and the end of its term."""


def peer_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    """What acts on a peer depend on: which platform it is, and whether it still counts.

    Not its liveness: a heartbeat or a missed one must not make a request stale.
    """
    peer = session.get(Peer, params["peer_id"])
    if peer is None:
        return None
    return {
        "remote_instance_url": peer.remote_instance_url,
        "node_instance_id": peer.node_instance_id,
        "resting": peer.status if peer.status in ("proposed", "suspended", "revoked") else "in_service",
    }


def named_peer(unit: Unit, raw: Mapping[str, Any]) -> Peer:
    """The peer that `peer` names: an id, a unique beginning of one, or a URL."""
    return peers.find(unit.session, str(raw.get("peer", "")))


# --- propose -----------------------------------------------------------------------------


def _read_propose(unit: Unit, site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    url = urls.secure(str(raw.get("url", "")))
    kind = str(raw.get("kind") or "platform")
    if url == site.url:
        raise Refused(
            "A node cannot peer with itself.",
            cause=f"{url} is this node's own URL.",
            fix="Give the other platform's URL.",
            code="peer_is_self",
        )
    platform = kind == "platform"
    params = {
        "url": url,
        "kind": kind,
        "role": (raw.get("role") or "symmetric") if platform else None,
        "mode": (raw.get("mode") or "autonomous_peer") if platform else None,
    }
    peers.check_new(unit.session, url=url, kind=kind, role=params["role"], mode=params["mode"])
    return OperationRequest(params)


def _url_target(session: Session, params: Params) -> Mapping[str, Any]:
    existing = peers.by_url(session, params["url"])
    return {
        "already_there": existing.status if existing else None,
        "drill_mode": node_settings.is_on(session, "drill_mode"),
    }


def _summarise_propose(params: Params, target: Mapping[str, Any]) -> str:
    role = f" as {params['role']} ({params['mode']})" if params["role"] else f" ({params['kind']})"
    if target.get("drill_mode"):
        return f"DRILL MODE: propose to peer with {params['url']}{role}, accepting ANY caller until a token is made."
    return f"Propose to peer with {params['url']}{role}. Nothing is sent; a token can then be made for it."


def _propose(unit: Unit, _site: NodeContext, params: Params) -> Result:
    drill = node_settings.is_on(unit.session, "drill_mode")
    peer = peers.add(
        unit,
        url=params["url"],
        kind=params["kind"],
        role=params["role"],
        mode=params["mode"],
        drill_mode=drill,
    )
    emit(unit, "federation.peer.proposed", source=SOURCE, peer_id=peer.id, url=peer.remote_instance_url)
    return {"peer_id": peer.id, "status": peer.status, "drill_mode": drill}


# --- token -------------------------------------------------------------------------------


def _read_token(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = named_peer(unit, raw)
    cancel = bool(raw.get("cancel"))
    given: str | timedelta = raw.get("ttl") or tokens.DEFAULT_TTL
    ttl = durations.parse(given, field="ttl") if isinstance(given, str) else given
    if not cancel and peer.status != "proposed":
        raise Refused(
            f"{peer.remote_instance_url} needs no token: it is {peer.status}.",
            cause="A token admits a proposed peer, once.",
            fix="To peer from scratch, revoke it and propose it anew.",
            code="token_not_needed",
        )
    return OperationRequest(
        {"peer_id": peer.id, "cancel": cancel, "ttl": None if cancel else durations.show(ttl)}, peer.id
    )


def _summarise_token(params: Params, target: Mapping[str, Any]) -> str:
    if params["cancel"]:
        return f"Cancel the acceptance token of {target['remote_instance_url']}."
    return (
        f"Make an acceptance token for {target['remote_instance_url']}, good for {params['ttl']}; the one before ends."
    )


def _token(unit: Unit, site: NodeContext, params: Params) -> Result:
    peer = peers.lock(unit, params["peer_id"])
    if params["cancel"]:
        cancelled = tokens.end(unit, peer.id, "cancelled")
        if cancelled:
            emit(unit, "federation.peer.token_cancelled", source=SOURCE, peer_id=peer.id)
        return {"peer_id": peer.id, "cancelled": cancelled}
    token, row = tokens.issue(unit, peer.id, durations.parse(params["ttl"], field="ttl"))
    peer.drill_mode = False
    unit.session.flush()
    invite = Invite(site.url, token, row.expires_at, certificates.own_ca(unit.session).fingerprint)
    emit(
        unit,
        "federation.peer.token_issued",
        source=SOURCE,
        peer_id=peer.id,
        expires_at=row.expires_at.isoformat(),
    )
    return {"acceptance_token": token, "invite": tokens.write_invite(invite), "expires_at": row.expires_at}


# --- suspend, resume, revoke -------------------------------------------------------------


def _read_with_reason(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = named_peer(unit, raw)
    return OperationRequest({"peer_id": peer.id, "reason": reason_of(raw)}, peer.id)


def _read_revoke(unit: Unit, site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    wanted = _read_with_reason(unit, site, raw)
    peer = peers.get(unit.session, wanted.params["peer_id"])
    if peer.status == "revoked":
        raise peers.transition_refused(peer, "revoked")
    return wanted


def _read_peer(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = named_peer(unit, raw)
    return OperationRequest({"peer_id": peer.id}, peer.id)


def _summarise_suspend(params: Params, target: Mapping[str, Any]) -> str:
    return f"Suspend {target['remote_instance_url']}: its calls are turned away until it is resumed. {params['reason']}"


def _summarise_resume(_params: Params, target: Mapping[str, Any]) -> str:
    return f"Resume {target['remote_instance_url']}: it must prove itself again with a heartbeat."


def _summarise_revoke(params: Params, target: Mapping[str, Any]) -> str:
    return (
        f"Revoke {target['remote_instance_url']} for good: its certificates and tokens end at once, "
        f"and only a new proposal brings it back. {params['reason']}"
    )


def _suspend(unit: Unit, _site: NodeContext, params: Params) -> Result:
    peer = peers.move(unit, params["peer_id"], "suspended")
    peers.note(unit, peer, suspension_reason=params["reason"], suspended_by=str(unit.actor), degraded_reason=None)
    emit(unit, "federation.peer.suspended", source=SOURCE, peer_id=peer.id, reason=params["reason"])
    return {"peer_id": peer.id, "status": peer.status}


def _resume(unit: Unit, _site: NodeContext, params: Params) -> Result:
    peer = peers.move(unit, params["peer_id"], "accepted", only_from=("suspended",))
    peers.note(unit, peer, suspension_reason=None, suspended_by=None)
    emit(unit, "federation.peer.resumed", source=SOURCE, peer_id=peer.id)
    return {"peer_id": peer.id, "status": peer.status}


def _revoke(unit: Unit, _site: NodeContext, params: Params) -> Result:
    peer = peers.move(unit, params["peer_id"], "revoked", enroll_owed=False, drill_mode=False)
    peers.note(unit, peer, revocation_reason=params["reason"], revoked_by=str(unit.actor), degraded_reason=None)
    tokens.end(unit, peer.id, "cancelled")
    ended = certificates.revoke_for_peer(unit, peer.id, "cessation_of_operation")
    emit(
        unit,
        "federation.peer.revoked",
        source=SOURCE,
        peer_id=peer.id,
        reason=params["reason"],
        certificates=ended,
    )
    return {"peer_id": peer.id, "status": peer.status, "certificates_revoked": ended}


# --- edit --------------------------------------------------------------------------------


def _read_edit(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = named_peer(unit, raw)
    params: dict[str, Any] = {"peer_id": peer.id}
    if raw.get("url"):
        params["url"] = urls.secure(str(raw["url"]))
        taken = peers.by_url(unit.session, params["url"])
        if taken is not None and taken.id != peer.id:
            raise peers.already_there(taken)
    if raw.get("confirm_endpoint"):
        params["confirm_endpoint"] = _declared(peer, str(raw["confirm_endpoint"]))
    if raw.get("maintenance"):
        given = str(raw["maintenance"])
        params["maintenance"] = given if given == "off" else durations.show(durations.parse(given, field="maintenance"))
    if raw.get("prefix"):
        given = str(raw["prefix"])
        params["prefix"] = given if given == NO_PREFIX else prefixes.normalize(given, field="--prefix")
    if raw.get("expires"):
        given = str(raw["expires"])
        params["expires"] = given if given == NEVER else durations.show(durations.parse(given, field="--expires"))
    if len(params) == 1:
        raise WrongUsage(
            "There is nothing to change.",
            cause="No edit was named.",
            fix="Give --url, --confirm-endpoint, --maintenance, --prefix or --expires.",
            code="nothing_to_do",
        )
    return OperationRequest(params, peer.id)


def _declared(peer: Peer, url: str) -> str:
    wanted = url.strip().rstrip("/")
    declared = [str(one.get("url", "")).rstrip("/") for one in peer.endpoints]
    if wanted not in declared:
        raise WrongUsage(
            f"The peer declares no endpoint {wanted[:200]!r}.",
            cause=f"It declares: {', '.join(declared) or 'none'}.",
            fix="Give one of those; what to dial is the peer's to say and yours to confirm.",
            code="endpoint_unknown",
        )
    return urls.secure(wanted, field="endpoint")


def _summarise_edit(params: Params, target: Mapping[str, Any]) -> str:
    words = {
        "url": "move it to {}",
        "confirm_endpoint": "dial its endpoint {}",
        "maintenance": "planned maintenance: {}",
        "prefix": "the prefix it advertises: {}",
        "expires": "the peering is agreed for: {}",
    }
    said = "; ".join(text.format(params[key]) for key, text in words.items() if key in params)
    return f"Edit {target['remote_instance_url']}: {said}."


def _edit(unit: Unit, _site: NodeContext, params: Params) -> Result:
    peer = peers.lock(unit, params["peer_id"])
    if peer.status == "revoked":
        raise peers.transition_refused(peer, "edited")
    if "url" in params:
        peer.remote_instance_url, peer.resolves_anywhere = params["url"], False
    if "confirm_endpoint" in params:
        peer.confirmed_endpoints = sorted({*peer.confirmed_endpoints, params["confirm_endpoint"]})
    if "maintenance" in params:
        off = params["maintenance"] == "off"
        peer.maintenance_until = None if off else unit.now + durations.parse(params["maintenance"])
    if "prefix" in params:
        peer.remote_prefix_advertisement = None if params["prefix"] == NO_PREFIX else params["prefix"]
    if "expires" in params:
        peer.expires_at = None if params["expires"] == NEVER else unit.now + durations.parse(params["expires"])
        peer.term_grace_until = None
    peer.updated_at = unit.now
    unit.session.flush()
    changed = {key: value for key, value in params.items() if key != "peer_id"}
    emit(unit, "federation.peer.edited", source=SOURCE, peer_id=peer.id, **changed)
    return {"peer_id": peer.id, **changed}


def _status_changes(after: str) -> Callable[[Params, Mapping[str, Any]], Sequence[Change]]:
    """The peer's state, before and after."""

    def changes(_params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
        return (Change(target["remote_instance_url"], target["resting"].replace("_", " "), after),)

    return changes


def _propose_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    after = "proposed, accepting ANY caller" if target.get("drill_mode") else "proposed"
    return (Change(params["url"], target.get("already_there") or "", after),)


def _token_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    after = "cancelled" if params["cancel"] else f"a new one, good for {params['ttl']}"
    return (Change(f"acceptance token of {target['remote_instance_url']}", "the one before, if any", after),)


def _edit_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    before = {
        "url": target["remote_instance_url"],
        "confirm_endpoint": "not dialled",
        "maintenance": "",
        "prefix": "",
        "expires": "",
    }
    return tuple(
        Change(key.replace("_", " "), before[key], str(value)) for key, value in params.items() if key in before
    )


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.federation_peer_propose",
        read=_read_propose,
        target=_url_target,
        summary=_summarise_propose,
        changes=_propose_changes,
        apply=_propose,
    ),
    Operation(
        action="system.federation_peer_token",
        read=_read_token,
        target=peer_target,
        summary=_summarise_token,
        changes=_token_changes,
        apply=_token,
        shown_once=True,
    ),
    Operation(
        action="system.federation_peer_suspend",
        read=_read_with_reason,
        target=peer_target,
        summary=_summarise_suspend,
        changes=_status_changes("suspended"),
        apply=_suspend,
    ),
    Operation(
        action="system.federation_peer_resume",
        read=_read_peer,
        target=peer_target,
        summary=_summarise_resume,
        changes=_status_changes("accepted, until its heartbeat"),
        apply=_resume,
    ),
    Operation(
        action="system.federation_peer_revoke",
        read=_read_revoke,
        target=peer_target,
        summary=_summarise_revoke,
        changes=_status_changes("revoked for good"),
        apply=_revoke,
    ),
    Operation(
        action="system.federation_peer_edit",
        read=_read_edit,
        target=peer_target,
        summary=_summarise_edit,
        changes=_edit_changes,
        apply=_edit,
        forms={
            "edit-peer": Form(
                title="Edit a peer",
                consequence="What is left empty stays as it is.",
                confirm="Change",
                done="Changed.",
                parameters=(
                    PEER,
                    Parameter("url", "New URL", required=False, limit=2048),
                    Parameter("prefix", "Prefix it advertises, or none", required=False, hint="fd12:3456:789a::/48"),
                    Parameter("expires", "Agreed for, or never", required=False, hint="365d"),
                    Parameter("maintenance", "Maintenance for, or off", required=False, hint="2h"),
                ),
            )
        },
    ),
)
