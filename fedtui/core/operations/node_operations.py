"""Acts on the node itself: operators, node settings, policies, the manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import manager_pause, node_settings, operators
from fedtui.core.administration.operators import PERMISSIONS
from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused
from fedtui.core.operations import approvals, policies, quarantine
from fedtui.core.operations.form import Form, Parameter
from fedtui.core.operations.operation import BY_PEOPLE_ONLY, Change, Operation, OperationRequest, Params, Result
from fedtui.core.operations.policies import Policy
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime.unit import Unit


def _read_operator(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    name, given = str(raw.get("name") or ""), raw.get("permissions") or PERMISSIONS
    permissions = [str(one) for one in (given if isinstance(given, list | tuple) else [given])]
    operators.check(name, permissions)
    operators.require_free(unit.session, name)
    return OperationRequest({"name": name, "permissions": sorted(permissions)})


def _read_named_operator(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    return OperationRequest({"name": operators.require(unit.session, str(raw.get("name") or "")).name})


def _operator_target(session: Session, params: Params) -> Mapping[str, Any]:
    known = session.get(operators.Operator, params["name"])
    there = known is not None and known.removed_at is None
    return {"permissions": known.permissions if known and there else None}


def _add_operator(unit: Unit, _site: NodeContext, params: Params) -> Result:
    operator = operators.add(unit, params["name"], params["permissions"])
    return {"name": operator.name, "permissions": operator.permissions}


def _remove_operator(unit: Unit, _site: NodeContext, params: Params) -> Result:
    removed = operators.remove(unit, params["name"]).name
    approvals.operator_left(unit, removed)
    return {"name": removed, "removed": True}


def _read_setting(_unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    key = str(raw.get("key") or "")
    return OperationRequest({"key": key, "value": node_settings.check(key, str(raw.get("value", "")))})


def _setting_target(session: Session, params: Params) -> Mapping[str, Any]:
    return {"value": node_settings.value(session, params["key"])}


def _set_setting(unit: Unit, _site: NodeContext, params: Params) -> Result:
    node_settings.put(unit, params["key"], params["value"])
    return dict(params)


def _read_policy(_unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    action, policy = str(raw.get("policy_action") or ""), str(raw.get("policy") or "")
    policies.check(action, policy)
    return OperationRequest({"policy_action": action, "policy": policy})


def _policy_target(session: Session, params: Params) -> Mapping[str, Any]:
    return {"policy": policies.at_rest(session, params["policy_action"])}


def _set_policy(unit: Unit, _site: NodeContext, params: Params) -> Result:
    action, policy = params["policy_action"], params["policy"]
    before = policies.at_rest(unit.session, action)
    unit.session.merge(Policy(action=action, policy=policy, set_at=unit.now, set_by=str(unit.actor)))
    unit.session.flush()
    emit(unit, "system.policy.changed", source="control", action=action, before=before, after=policy)
    return {"action": action, "policy": policy}


def _read_nothing(_unit: Unit, _site: NodeContext, _raw: Mapping[str, Any]) -> OperationRequest:
    return OperationRequest({})


def _manager_target(session: Session, _params: Params) -> Mapping[str, Any]:
    return {"status": manager_pause.status(session)}


def _pause(unit: Unit, _site: NodeContext, _params: Params) -> Result:
    manager_pause.put(unit, manager_pause.PAUSED)
    return {"status": manager_pause.PAUSED}


def _resume(unit: Unit, _site: NodeContext, _params: Params) -> Result:
    manager_pause.put(unit, manager_pause.ACTIVE)
    return {"status": manager_pause.ACTIVE}


def _quarantine_target(session: Session, _params: Params) -> Mapping[str, Any] | None:
    row = quarantine.current(session)
    return {"since": row.since.isoformat(), "reason": row.reason} if row is not None else None


def _read_quarantine_end(unit: Unit, _site: NodeContext, _raw: Mapping[str, Any]) -> OperationRequest:
    if quarantine.current(unit.session) is None:
        raise Refused("The node is not in quarantine.", fix="There is nothing to end.", code="not_quarantined")
    return OperationRequest({})


def _end_quarantine(unit: Unit, _site: NodeContext, _params: Params) -> Result:
    quarantine.end(unit)
    return {"quarantine": None}


ACTS: tuple[Operation, ...] = (
    Operation(
        action=quarantine.END,
        absent=BY_PEOPLE_ONLY,
        read=_read_quarantine_end,
        target=_quarantine_target,
        summary=lambda _params, target: f"End the quarantine since {target['since']}: peers are answered, grants work.",
        changes=lambda _params, _target: (Change("node", "in quarantine", "takes part again"),),
        apply=_end_quarantine,
        forms={
            "end-quarantine": Form(
                title="End the quarantine",
                consequence="The node answers its peers again, and grants work as its records say.",
                confirm="End it",
                done="The node takes part again.",
                dangerous=True,
            )
        },
    ),
    Operation(
        action="system.operator_add",
        absent=BY_PEOPLE_ONLY,
        read=_read_operator,
        target=_operator_target,
        summary=lambda params, _: f"Add operator {params['name']}: {', '.join(params['permissions'])}.",
        changes=lambda params, target: (
            Change(params["name"], ", ".join(target["permissions"] or ()), ", ".join(params["permissions"])),
        ),
        apply=_add_operator,
    ),
    Operation(
        action="system.operator_remove",
        absent=BY_PEOPLE_ONLY,
        read=_read_named_operator,
        target=_operator_target,
        summary=lambda params, _: f"Remove operator {params['name']}.",
        changes=lambda params, target: (Change(params["name"], ", ".join(target["permissions"] or ()), "removed"),),
        apply=_remove_operator,
    ),
    Operation(
        action="system.settings_change",
        absent=BY_PEOPLE_ONLY,
        read=_read_setting,
        target=_setting_target,
        summary=lambda params, target: f"Change {params['key']} from {target['value']} to {params['value']}.",
        changes=lambda params, target: (Change(params["key"], target["value"], params["value"]),),
        apply=_set_setting,
        forms={
            "set": Form(
                title="Change a setting",
                consequence=":settings lists each setting with its value and what it allows.",
                confirm="Change",
                done="Changed.",
                parameters=(
                    Parameter("key", "Setting (Left, Right)", choices=tuple(node_settings.TABLE)),
                    Parameter("value", "Value", required=False, limit=4096),
                ),
                dangerous=True,
            )
        },
    ),
    Operation(
        action="system.policy_set",
        absent=BY_PEOPLE_ONLY,
        read=_read_policy,
        target=_policy_target,
        summary=lambda params, now: f"Set {params['policy_action']} from {now['policy']} to {params['policy']}.",
        changes=lambda params, now: (Change(params["policy_action"], now["policy"], params["policy"]),),
        apply=_set_policy,
        forms={
            "set-policy": Form(
                title="Set a policy",
                consequence=":policies lists the policy of each operation.",
                confirm="Set",
                done="Set.",
                parameters=(
                    Parameter("policy_action", "Operation (Left, Right)", choices=tuple(policies.RULES)),
                    Parameter("policy", "Policy (Left, Right)", policies.ASK, choices=policies.POLICIES),
                ),
                dangerous=True,
            )
        },
    ),
    Operation(
        action="system.manager_pause",
        read=_read_nothing,
        target=_manager_target,
        summary=lambda _params, _target: "Pause the SDWAN Manager: approved requests wait, nothing is reconciled.",
        changes=lambda _, target: (Change("SDWAN Manager", target["status"], manager_pause.PAUSED),),
        apply=_pause,
    ),
    Operation(
        action="system.manager_resume",
        read=_read_nothing,
        target=_manager_target,
        summary=lambda _params, _target: "Resume the SDWAN Manager.",
        changes=lambda _, target: (Change("SDWAN Manager", target["status"], manager_pause.ACTIVE),),
        apply=_resume,
    ),
)
