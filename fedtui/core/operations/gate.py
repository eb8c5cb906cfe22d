"""The gate: the one way to change state.

By policy, permission and four-eyes an act runs now, becomes an approval request, or is
refused. Screens, commands, wizards and MCP have no other way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fedtui.core.administration import manager_pause, operators
from fedtui.core.audit.events import emit
from fedtui.core.errors import Problem, Refused
from fedtui.core.operations import approvals, executions, policies, quarantine
from fedtui.core.operations.approval_status import ALSO_PAUSED
from fedtui.core.operations.approvals import SECRET_PARAMS, Approval
from fedtui.core.operations.operation import Call, Change, Operation, OperationRequest, OperationTable, Result
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.vault import Owner
from fedtui.core.runtime.actor import MANAGER, Actor
from fedtui.core.runtime.correlation import correlated
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
AGAIN = "again"
"""Asked for with the id of an ended request under this name alone, its act is asked for anew, exactly as it was."""
ABANDONED_AFTER = timedelta(minutes=2)
"""An execution not finished by then was left behind by a process that died."""


@dataclass(frozen=True, slots=True)
class Done:
    """The act has run."""

    result: Result


@dataclass(frozen=True, slots=True)
class Pending:
    """The act waits for an approval."""

    approval: Approval


def request(
    site: NodeContext,
    table: OperationTable,
    actor: Actor,
    action: str,
    raw: Mapping[str, Any],
    *,
    reason: str | None = None,
    claiming: bool = True,
) -> Done | Pending:
    """Ask for an act. Runs it where policy allows, else files a request.

    Without `claiming`, what was approved for its requester to carry out is left to them: the asker
    is not a person who could be shown what is shown once.

    `raw` is what the act takes, or `{"again": ID}` of an ended request. Raises `WrongUsage` for bad
    parameters, `Refused` for permission, policy or state, `RemoteFailed` where an act that ran at
    once met a failing remote.
    """
    act = table[action]
    raw = _fetched(site, act, actor, raw)
    with site.unit(actor) as unit:
        operators.require(unit.session, actor.name, policies.RULES[action].permission)
        wanted = _wanted(unit, site, act, raw)
        act.precondition(wanted.params, unit.now)
        if action not in quarantine.ALLOWED:
            quarantine.require_free(unit.session)
        policy = policies.in_force(unit.session, action, unit.now)
        if policy == policies.BLOCKED:
            raise _blocked(action)
        claims = claiming and policy == policies.ASK and act.shown_once
        permitted = _permitted(unit, act, wanted) if claims else None
        if policy == policies.ASK and permitted is None:
            return Pending(_ask(unit, site, act, wanted, reason))
        if permitted is not None:
            unit.join(permitted.correlation_id)
        if act.apply is not None:
            result = act.apply(unit, site, wanted.params)
            if permitted is not None:
                executions.claim(unit, permitted, site.holder, abandoned_before=unit.now)
                unit.session.refresh(permitted)
                executions.finish(unit, permitted, site.holder, result={"claimed": True})
            _announce(unit, act, policy, wanted, reason)
            return Done(result)
        _announce(unit, act, policy, wanted, reason)
        call = Call(actor, wanted.params, wanted.secrets, unit.correlation_id)
    assert act.perform is not None  # noqa: S101 - an act has exactly one of the two
    with correlated(call.correlation_id):
        return Done(act.perform(site, call))


def preview(
    site: NodeContext, table: OperationTable, actor: Actor, action: str, raw: Mapping[str, Any]
) -> tuple[str, list[Change]]:
    """What an act would do, in words and as before and after; nothing is done. Raises as `request`."""
    act = table[action]
    raw = _fetched(site, act, actor, raw)
    with site.unit(actor) as unit:
        wanted = _wanted(unit, site, act, raw)
        target = act.target(unit.session, wanted.params) or {}
        told = act.summary(wanted.params, target), list(act.changes(wanted.params, target))
        unit.session.rollback()
        return told


def _fetched(site: NodeContext, act: Operation, actor: Actor, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was asked for, with what its remote adds. It is called for those alone who may ask for the act."""
    with site.read() as session:
        operators.require(session, actor.name, policies.RULES[act.action].permission)
    return act.fetch(site, raw)


def approve(
    site: NodeContext, table: OperationTable, actor: Actor, approval_id: str, digest: str, *, reason: str | None = None
) -> Approval:
    """Approve what was shown. Raises `Refused`; a request whose target changed ends as stale."""
    with site.unit(actor) as unit:
        approval = approvals.find(unit.session, approval_id)
        if approval.status == "pending":
            table[approval.action].precondition(approval.params, unit.now)
        target = table[approval.action].target(unit.session, approval.params)
        decided = approvals.approve(unit, approval.id, digest, target_now=target, reason=reason)
    if decided.status == "stale":
        told = decided.error or {}
        raise Refused(told["problem"], cause=told["cause"], fix=told["fix"], code=told["code"])
    return decided


def decide(site: NodeContext, actor: Actor, what: str, approval_id: str, *words: str) -> Approval:
    """Reject, withdraw or retry a request, by name of the decision."""
    with site.unit(actor) as unit:
        return _DECISIONS[what](unit, approval_id, *words)


_DECISIONS: Mapping[str, Callable[..., Approval]] = {
    "reject": approvals.reject,
    "withdraw": approvals.withdraw,
    "retry": executions.retry,
}


def execute(site: NodeContext, table: OperationTable, approval_id: str) -> str | None:
    """Carry out an approved request, once; its status after, or None if another process was first or the
    manager has been paused."""
    act: Operation
    try:
        with site.unit(MANAGER) as unit:
            approval = approvals.find(unit.session, approval_id)
            act = table[approval.action]
            resumed = approval.status == "executing"
            unit.join(approval.correlation_id)
            if manager_pause.status(unit.session) == manager_pause.PAUSED and approval.action not in ALSO_PAUSED:
                return None
            if not executions.claim(unit, approval, site.holder, abandoned_before=unit.now - ABANDONED_AFTER):
                return None
            unit.session.refresh(approval)
            _require_still_allowed(unit, approval)
            target = _target_now(unit, act, approval)
            if not resumed and not _unchanged(act, approval, target):
                approvals.go_stale(unit, approval, target)
                return approval.status
            if act.apply is not None:
                result = act.apply(unit, site, approval.params)
                executions.finish(unit, approval, site.holder, result=result)
                return approval.status
            secrets = _open_secrets(unit, site, approval)
    except Exception as error:
        # The unit was rolled back, claim and all: the failure is recorded against a fresh claim.
        return _failed(site, approval_id, error, claimed=False)
    assert act.perform is not None  # noqa: S101
    asker = Actor("manager", MANAGER.name, origin=f"approval {approval.id} asked by {approval.requested_by}")
    try:
        with correlated(approval.correlation_id):
            result = act.perform(site, Call(asker, approval.params, secrets, approval.correlation_id))
    except Exception as error:
        return _failed(site, approval_id, error, claimed=True)
    return _finished(site, approval_id, result=result)


def _finished(site: NodeContext, approval_id: str, **outcome: Any) -> str | None:
    """Record how a claimed execution ended; None if another process has taken it over meanwhile."""
    try:
        with site.unit(MANAGER) as unit:
            approval = approvals.find(unit.session, approval_id)
            unit.join(approval.correlation_id)
            executions.finish(unit, approval, site.holder, **outcome)
            return approval.status
    except Refused as refused:
        log.warning("[SDWAN Manager] the outcome of %s was not recorded: %s", approval_id, refused.problem)
        return None


def _failed(site: NodeContext, approval_id: str, error: Exception, *, claimed: bool) -> str | None:
    if not isinstance(error, Problem):
        log.exception("[SDWAN Manager] executing %s failed", approval_id, exc_info=error)
    shown = error.as_dict() if isinstance(error, Problem) else {"code": "internal", "problem": type(error).__name__}
    if not claimed:
        with site.unit(MANAGER) as unit:
            approval = approvals.find(unit.session, approval_id)
            if not executions.claim(unit, approval, site.holder, abandoned_before=unit.now - ABANDONED_AFTER):
                return None
    return _finished(site, approval_id, error=shown)


def _require_still_allowed(unit: Unit, approval: Approval) -> None:
    """What may have changed since it was approved: the policy, and whether the requester still may."""
    if policies.in_force(unit.session, approval.action, unit.now) == policies.BLOCKED:
        raise _blocked(approval.action)
    operators.require(unit.session, approval.requested_by, policies.RULES[approval.action].permission)
    operators.require(unit.session, approval.decided_by or "", operators.CONTROL)


def _wanted(unit: Unit, site: NodeContext, act: Operation, raw: Mapping[str, Any]) -> OperationRequest:
    """What is asked for, checked; of an ended request, what was asked for then, as things are now."""
    if AGAIN not in raw:
        return act.read(unit, site, raw)
    ended = approvals.ended(unit, str(raw[AGAIN]), act.action)
    if act.secret:
        raise Refused(
            "That request cannot be asked for again as it was.",
            cause="What was secret in it, a token or a key, was destroyed when it ended.",
            fix="Ask for the act itself, and give the secret again.",
            code="secret_gone",
        )
    if act.target(unit.session, ended.params) is None:
        raise Refused(
            "What that request was about is gone.",
            cause=f"It was: {ended.summary}",
            fix="Ask for the act itself, on what there is now.",
            code="target_gone",
        )
    return OperationRequest(ended.params, ended.peer_id)


def _permitted(unit: Unit, act: Operation, wanted: OperationRequest) -> Approval | None:
    """The requester's own approved request for exactly this, waiting to be claimed."""
    target = act.target(unit.session, wanted.params) or {}
    digest = approvals.digest_of(act.action, wanted.params, target)
    return executions.permitted(unit.session, digest=digest, requester=unit.actor.name, now=unit.now)


def _ask(unit: Unit, site: NodeContext, act: Operation, wanted: OperationRequest, reason: str | None) -> Approval:
    target = act.target(unit.session, wanted.params) or {}
    approval = approvals.ask(
        unit,
        action=act.action,
        params=wanted.params,
        target=target,
        summary=act.summary(wanted.params, target),
        reason=reason,
        peer_id=wanted.peer_id,
    )
    if wanted.secrets:
        sealed = json.dumps(dict(wanted.secrets)).encode()
        site.vault.seal(unit.session, Owner("approval", approval.id), SECRET_PARAMS, sealed, unit.now)
    return approval


def _target_now(unit: Unit, act: Operation, approval: Approval) -> Mapping[str, Any] | None:
    act.precondition(approval.params, unit.now)
    return act.target(unit.session, approval.params)


def _unchanged(act: Operation, approval: Approval, target: Mapping[str, Any] | None) -> bool:
    return target is not None and approvals.digest_of(act.action, approval.params, target) == approval.digest


def _open_secrets(unit: Unit, site: NodeContext, approval: Approval) -> dict[str, str]:
    sealed = site.vault.open(unit.session, Owner("approval", approval.id), SECRET_PARAMS)
    return json.loads(sealed) if sealed else {}


def _announce(unit: Unit, act: Operation, policy: str, wanted: OperationRequest, reason: str | None) -> None:
    emit(
        unit,
        "system.act",
        source="gate",
        peer_id=wanted.peer_id,
        severity=policies.RULES[act.action].severity or ("medium" if policy == policies.NOTIFY else None),
        action=act.action,
        policy=policy,
        params=dict(act.recorded(wanted.params)),
        reason=reason,
    )


def _blocked(action: str) -> Refused:
    return Refused(
        f"{action} is blocked on this node.",
        cause="Its policy is set to blocked.",
        fix=f"An operator with system.operators.manage can change it: fedtui policies set {action} require_approval",
        code="policy_blocked",
    )
