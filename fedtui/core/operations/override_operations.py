"""Acts on policies in an emergency: lower one for a while, restore it before its time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.operations import override_review, overrides, policies
from fedtui.core.operations.operation import BY_PEOPLE_ONLY, Change, Operation, OperationRequest, Params, Result
from fedtui.core.operations.policies import PolicyOverride
from fedtui.core.operations.reasons import reason_of
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import durations
from fedtui.core.runtime.unit import Unit


def _read_lower(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    action, to, reason = str(raw.get("policy_action") or ""), str(raw.get("policy") or ""), reason_of(raw)
    given = raw.get("span") or ""
    span = given if isinstance(given, timedelta) else durations.parse(str(given), field="--for")
    overrides.check(unit.session, action, to, span, unit.now)
    return OperationRequest({"policy_action": action, "policy": to, "span": durations.show(span), "reason": reason})


def _lower(unit: Unit, _site: NodeContext, params: Params) -> Result:
    span = durations.parse(params["span"])
    return overrides.shape(
        unit.session, overrides.lower(unit, params["policy_action"], params["policy"], span, params["reason"])
    )


def _read_restore(_unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    action = str(raw.get("policy_action") or "")
    policies.check(action, policies.NOTIFY)
    return OperationRequest({"policy_action": action})


def _restore(unit: Unit, _site: NodeContext, params: Params) -> Result:
    return overrides.shape(unit.session, overrides.restore(unit, params["policy_action"]))


def _read_confirm(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    return OperationRequest({"lowering": str(raw.get("lowering") or "")})


def _lowering_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    row = session.get(PolicyOverride, params["lowering"])
    return (
        None
        if row is None
        else {"action": row.action, "confirmed_by": row.confirmed_by, "acts": len(override_review.acts(session, row))}
    )


def _confirm(unit: Unit, _site: NodeContext, params: Params) -> Result:
    return overrides.shape(unit.session, override_review.confirm(unit, params["lowering"]))


def policy_target(session: Session, params: Params) -> Mapping[str, Any]:
    """What acts on a policy depend on: the one that was set."""
    return {"policy": policies.at_rest(session, params["policy_action"])}


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.policy_lower",
        absent=BY_PEOPLE_ONLY,
        read=_read_lower,
        target=policy_target,
        summary=lambda params, target: (
            f"EMERGENCY: lower {params['policy_action']} from {target['policy']} to {params['policy']} "
            f"for {params['span']}. {params['reason']}"
        ),
        changes=lambda params, target: (
            Change(params["policy_action"], target["policy"], f"{params['policy']} for {params['span']}"),
        ),
        apply=_lower,
    ),
    Operation(
        action="system.policy_restore",
        absent=BY_PEOPLE_ONLY,
        read=_read_restore,
        target=policy_target,
        summary=lambda params, target: f"Restore {params['policy_action']} to {target['policy']} now.",
        changes=lambda params, target: (Change(params["policy_action"], "lowered", target["policy"]),),
        apply=_restore,
    ),
    Operation(
        action="system.policy_confirm",
        absent=BY_PEOPLE_ONLY,
        read=_read_confirm,
        target=_lowering_target,
        summary=lambda _params, target: (
            f"Confirm what ran while {target['action']} was lowered: {target['acts']} acts. What was changed of "
            "policies, settings and operators then stays."
            if target
            else "Confirm what ran under a lowered policy."
        ),
        changes=lambda params, target: (Change(f"lowering of {target['action']}", "unconfirmed", "confirmed"),),
        apply=_confirm,
    ),
)
