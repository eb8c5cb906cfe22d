"""Faults of requests that are stuck, and of the manager and the policies."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from fedtui.core.administration import operators
from fedtui.core.operations.approvals import Approval
from fedtui.lab.faults.model import BEN, HERE, Fault, Look, Range, theirs, yours
from fedtui.lab.faults.staging import STRANGER, WHY


def _asked(stand: Range) -> str:
    with stand.opened(HERE) as node:
        outcome = node.request(node.actor("drill"), "system.federation_peer_propose", {"url": STRANGER}, reason=WHY)
        return str(outcome.approval.id)


def _pending(stand: Range) -> Look:
    """A request within its time is no fault: only whoever points at it is told what it waits for."""
    return {"approval": _asked(stand)}


def _decided(stand: Range) -> None:
    """The other operator says no to what waits."""
    with stand.opened(HERE, BEN) as node:
        with node.read() as session:
            waiting = session.scalars(select(Approval.id).where(Approval.status == "pending")).all()
        for asked in waiting:
            node.decide(node.actor("drill"), "reject", asked, WHY)


def _timed_out(stand: Range) -> None:
    asked = _asked(stand)
    with stand.opened(HERE) as node:
        with node.unit(node.actor("drill")) as unit:
            past = unit.now - timedelta(minutes=1)
            unit.session.execute(update(Approval).where(Approval.id == asked).values(expires_at=past))

        def ended() -> bool | None:
            with node.read() as session:
                return session.get_one(Approval, asked).status == "expired" or None

        stand.until("the clock rejects it", ended)


def _nobody_can(stand: Range) -> None:
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        operators.remove(unit, BEN)
    _asked(stand)


def _somebody_can(stand: Range) -> None:
    stand.act(HERE, "operator_add", {"name": BEN})


def _manager_paused(stand: Range) -> None:
    stand.act(HERE, "manager_pause", {"reason": WHY})


def _policy_lowered(stand: Range) -> None:
    lowered = {"policy_action": "system.federation_peer_propose", "policy": "notify_and_proceed", "span": "30m"}
    stand.act(HERE, "policy_lower", {**lowered, "reason": WHY})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "request-pending",
        "a request waits to be decided",
        ("approval_pending",),
        _pending,
        mend=(theirs(_decided, BEN),),
    ),
    Fault("request-timed-out", "a request was rejected by the clock", ("approval_timed_out",), _timed_out),
    Fault(
        "nobody-can-approve",
        "nobody can decide a request",
        ("no_eligible_approver",),
        _nobody_can,
        mend=(yours(_somebody_can), theirs(_decided, BEN)),
    ),
    Fault("manager-paused", "alpha's manager is paused", ("manager_paused",), _manager_paused),
    Fault("policy-lowered", "a policy of alpha is lowered", ("policy_lowered",), _policy_lowered),
)
