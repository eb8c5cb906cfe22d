"""Acts on grants: issue, edit, renew, revoke; and what they would cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.errors import WrongUsage
from fedtui.core.grants import allowlists, grants, quota, resources, usage
from fedtui.core.grants.chain import WhatIf
from fedtui.core.grants.grants import Grant
from fedtui.core.grants.usage import Used
from fedtui.core.operations.operation import Change, Operation, OperationRequest, Params, Result
from fedtui.core.operations.reasons import reason_of
from fedtui.core.peers import peers
from fedtui.core.peers.operations import named_peer, peer_target
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import durations
from fedtui.core.runtime.unit import Unit

LISTS: Mapping[str, str] = {"instances": "node_instance_ids", "networks": "sdwan_network_ids", "cidrs": "source_cidrs"}
"""The parameters that issue takes, and the allowlist that each fills."""


# --- issue -------------------------------------------------------------------------------


def _read_issue(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = named_peer(unit, raw)
    ttl, short = _ttl(raw.get("ttl")) or grants.DEFAULT_TTL, bool(raw.get("short_ttl"))
    wanted = grants.check_new(
        subject=str(raw.get("subject") or ""),
        kind=str(raw.get("kind") or ""),
        # An empty id is a slip (a variable of a script that is not set), never "all of the kind".
        resource_id=None if raw.get("id") is None else str(raw["id"]),
        scopes=_several(raw, "scopes"),
        **{name: _several(raw, name) for name in LISTS},
        ttl=ttl,
        short_ttl=short,
        auto_renew=bool(raw.get("auto_renew")),
    )
    return OperationRequest(
        {
            "peer_id": peer.id,
            "subject": wanted.remote_subject,
            "kind": wanted.resource_kind,
            "id": wanted.resource_id,
            "scopes": list(wanted.permission_scopes),
            **{name: list(getattr(wanted, column)) for name, column in LISTS.items()},
            "ttl": durations.show(ttl),
            "short_ttl": short,
            "auto_renew": wanted.auto_renew,
        },
        peer.id,
    )


def _several(raw: Mapping[str, Any], name: str) -> list[str]:
    given = raw.get(name) or ()
    return [str(one) for one in ([given] if isinstance(given, str) else given)]


def _ttl(given: Any) -> timedelta | None:
    return given if given is None or isinstance(given, timedelta) else durations.parse(str(given), field="ttl")


def _summarise_issue(params: Params, target: Mapping[str, Any]) -> str:
    what = f"{params['kind']}/{params['id'] or '*'}"
    open_ = "" if any(params[name] for name in LISTS) else ", from anywhere"
    renewing = ", renewing itself" if params["auto_renew"] else ""
    return (
        f"Grant {params['subject']} at {target['remote_instance_url']} {', '.join(params['scopes'])} on {what} "
        f"for {params['ttl']}{renewing}{open_}."
    )


def _issue_changes(params: Params, _target: Mapping[str, Any]) -> Sequence[Change]:
    listed = [Change(_LABELS[column], "", _entries(params[name])) for name, column in LISTS.items()]
    return (
        Change("grant", "", f"{params['kind']}/{params['id'] or '*'} for {params['subject']}"),
        Change("scopes", "", ", ".join(params["scopes"])),
        *listed,
        Change("lifetime", "", params["ttl"] + (", renewing itself" if params["auto_renew"] else "")),
    )


def _issue(unit: Unit, _site: NodeContext, params: Params) -> Result:
    peer = peers.lock(unit, params["peer_id"])
    wanted = grants.check_new(
        subject=params["subject"],
        kind=params["kind"],
        resource_id=params["id"],
        scopes=params["scopes"],
        **{name: params[name] for name in LISTS},
        ttl=durations.parse(params["ttl"], field="ttl"),
        short_ttl=params["short_ttl"],
        auto_renew=params["auto_renew"],
    )
    return shape(grants.issue(unit, peer, wanted), unit.now)


# --- edit, renew, revoke -----------------------------------------------------------------


def _depends_on(*columns: str) -> Callable[[Session, Params], Mapping[str, Any] | None]:
    """What an act on a grant depends on: these columns, and whether it has ended. Not how it is used."""

    def target(session: Session, params: Params) -> Mapping[str, Any] | None:
        grant = session.get(Grant, params["grant_id"])
        peer = peer_target(session, {"peer_id": grant.peer_id}) if grant else None
        if grant is None or peer is None:
            return None
        seen = {
            **{column: getattr(grant, column) for column in grants.TERMS},
            "auto_renew": grant.renew_at is not None,
            "expires_at": grant.expires_at.isoformat(),
        }
        return {
            "peer": peer["remote_instance_url"],
            **{column: seen[column] for column in columns},
            "revoked": grant.revoked_at is not None,
        }

    return target


WHAT_FOR = ("remote_subject", "resource_kind", "resource_id", "permission_scopes")
"""The terms that stay as issued."""
edit_target = _depends_on(*grants.TERMS, "auto_renew")
renew_target = _depends_on(*grants.TERMS, "expires_at")
# Not the lists, nor when it expires: a grant that renews itself must not outrun its revocation.
revoke_target = _depends_on(*WHAT_FOR)


def edited(grant: Grant, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that an edit replaces, in one spelling; without those that it leaves as they are.

    `raw` has whole lists under the columns' names, or `add_<name>`, `remove_<name>` (lists)
    and `any_<name>` (lift it) for `instance`, `network` and `cidr`; and `auto_renew`.
    Raises `WrongUsage` naming the field, also for a removal of what is not there.
    """
    changes: dict[str, Any] = {}
    for column, name in allowlists.NAMES.items():
        now = list(getattr(grant, column))
        wanted = allowlists.read(column, raw[column]) if raw.get(column) is not None else now
        gone = allowlists.read(column, _several(raw, f"remove_{name}"))
        missing = sorted({*gone} - {*wanted})
        if missing:
            raise WrongUsage(
                f"{name}: {missing[0]} is not in the list.",
                cause=f"The list is: {allowlists.shown(now) or 'empty, which does not restrict'}.",
                fix=f"See the grant: fedtui grants show {grant.id}",
                code=f"{name}_not_listed",
            )
        wanted = sorted({*wanted, *allowlists.read(column, _several(raw, f"add_{name}"))} - {*gone})
        if gone and not wanted and not raw.get(f"any_{name}"):
            raise WrongUsage(
                f"{name}: that would leave the list empty.",
                cause="An empty list does not restrict: taking out the last entry opens the grant to all.",
                fix=f"If that is meant, say so: --any-{name}. To end access, revoke the grant.",
                code=f"{name}_list_would_open",
            )
        if raw.get(f"any_{name}"):
            wanted = []
        if wanted != sorted(now):
            changes[column] = wanted
    renewing = raw.get("auto_renew")
    if renewing is not None and bool(renewing) != (grant.renew_at is not None):
        changes["auto_renew"] = bool(renewing)
    return changes


def cut_off(session: Session, grant: Grant, changes: Mapping[str, Any] | None, now: datetime) -> list[Used]:
    """What was used in the last 30 days and an edit, or a revocation (None), would refuse."""
    lists = None if changes is None else {key: value for key, value in changes.items() if key in allowlists.READERS}
    if lists is not None and not lists:
        return []
    return usage.cut_off(session, grant, None if lists is None else WhatIf(lists), now)


def _calls(cut: Sequence[Used]) -> int:
    return sum(one.times for one in cut)


def _read_edit(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    grant = grants.find(unit.session, str(raw.get("grant", "")))
    changes = edited(grant, raw)
    if not changes:
        raise WrongUsage(
            "There is nothing to change.",
            cause="The grant is like that already, or no edit was named.",
            fix="Give --add-cidr, --remove-cidr, --any-cidr (or instance, network), or --auto-renew.",
            code="nothing_to_do",
        )
    cut = _calls(cut_off(unit.session, grant, changes, unit.now))
    return OperationRequest({"grant_id": grant.id, "changes": changes, "cuts_off": cut}, grant.peer_id)


def _summarise_edit(params: Params, target: Mapping[str, Any]) -> str:
    said = "; ".join(f"{one.what} from {one.before} to {one.after}" for one in _edit_changes(params, target))
    return f"Edit the grant of {target['remote_subject']} at {target['peer']}: {said}.{_cuts(params)}"


def _edit_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    def told(column: str, value: Any) -> str:
        return _entries(value) if column in allowlists.READERS else ("yes" if value else "no")

    return [
        Change(_LABELS[column], told(column, target[column]), told(column, value))
        for column, value in params["changes"].items()
    ]


def _cuts(params: Params) -> str:
    calls = params["cuts_off"]
    return f" It cuts off what was used {calls} times in the last 30 days." if calls else ""


def _edit(unit: Unit, _site: NodeContext, params: Params) -> Result:
    grant = grants.edit(unit, params["grant_id"], params["changes"])
    return {**shape(grant, unit.now), "cuts_off": params["cuts_off"]}


def _read_renew(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    grant = grants.find(unit.session, str(raw.get("grant", "")))
    ttl, short = _ttl(raw.get("ttl")), bool(raw.get("short_ttl"))
    if ttl is not None:
        grants.check_ttl(ttl, short=short)
    params = {"grant_id": grant.id, "ttl": durations.show(ttl) if ttl else None, "short_ttl": short}
    return OperationRequest(params, grant.peer_id)


def _summarise_renew(params: Params, target: Mapping[str, Any]) -> str:
    span = f"for {params['ttl']}" if params["ttl"] else "for as long as it was issued for"
    return f"Renew the grant of {target['remote_subject']} at {target['peer']} from now {span}."


def _renew_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    return (
        Change("expires", target["expires_at"], f"{params['ttl'] or 'its lifetime'} from the moment it is renewed"),
    )


def _renew(unit: Unit, _site: NodeContext, params: Params) -> Result:
    ttl = durations.parse(params["ttl"], field="ttl") if params["ttl"] else None
    return shape(grants.renew(unit, params["grant_id"], ttl, short=params["short_ttl"]), unit.now)


def _read_revoke(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    grant = grants.find(unit.session, str(raw.get("grant", "")))
    reason = reason_of(raw)
    grants.require_open(grant)
    cut = _calls(cut_off(unit.session, grant, None, unit.now))
    return OperationRequest({"grant_id": grant.id, "reason": reason, "cuts_off": cut}, grant.peer_id)


def _summarise_revoke(params: Params, target: Mapping[str, Any]) -> str:
    what = f"{target['resource_kind']}/{target['resource_id'] or '*'}"
    return (
        f"Revoke the grant of {target['remote_subject']} at {target['peer']} on {what}: "
        f"its next call is refused.{_cuts(params)} {params['reason']}"
    )


def _revoke_changes(_params: Params, _target: Mapping[str, Any]) -> Sequence[Change]:
    return (Change("grant", "in force", "revoked for good"),)


def _revoke(unit: Unit, _site: NodeContext, params: Params) -> Result:
    grant = grants.revoke(unit, params["grant_id"], params["reason"])
    return {**shape(grant, unit.now), "cuts_off": params["cuts_off"]}


_LABELS = {
    "node_instance_ids": "instances allowed",
    "sdwan_network_ids": "networks allowed",
    "source_cidrs": "addresses allowed",
    "auto_renew": "renews itself",
}


def _entries(entries: Sequence[str]) -> str:
    return allowlists.shown(entries) or "any"


def quota_of(session: Session, site: NodeContext, grant_id: str) -> dict[str, Any]:
    """What a grant has stored, and may store."""
    return quota.shape(resources.stored(session, grant_id=grant_id), quota.of(site.settings).grant)


def shape(grant: Grant, now: datetime) -> dict[str, Any]:
    """A grant as the contract's JSON object."""
    return {
        "id": grant.id,
        "bearer_token": grants.bearer(grant.id),
        "status": grants.state(grant, now),
        "peer_id": grant.peer_id,
        **{column: getattr(grant, column) for column in grants.TERMS},
        "issued_at": grant.issued_at,
        "issued_by": grant.issued_by,
        "expires_at": grant.expires_at,
        "auto_renew": grant.renew_at is not None,
        "renew_at": grant.renew_at,
        "renewed_at": grant.renewed_at,
        "revoked_at": grant.revoked_at,
        "revocation_reason": grant.revocation_reason,
        "archived_at": grant.archived_at,
    }


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.federation_grant_issue",
        read=_read_issue,
        target=peer_target,
        summary=_summarise_issue,
        changes=_issue_changes,
        apply=_issue,
    ),
    Operation(
        action="system.federation_grant_edit",
        read=_read_edit,
        target=edit_target,
        summary=_summarise_edit,
        changes=_edit_changes,
        apply=_edit,
    ),
    Operation(
        action="system.federation_grant_renew",
        read=_read_renew,
        target=renew_target,
        summary=_summarise_renew,
        changes=_renew_changes,
        apply=_renew,
    ),
    Operation(
        action="system.federation_grant_revoke",
        read=_read_revoke,
        target=revoke_target,
        summary=_summarise_revoke,
        changes=_revoke_changes,
        apply=_revoke,
    ),
)
