"""Policies: for each action, whether it runs at once, is announced, asks, or is blocked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import operators
from fedtui.core.administration.operators import CONTROL, MANAGE_GRANTS, MANAGE_OPERATORS, MANAGE_PEERS
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Text_, Time

AUTO, NOTIFY, ASK, BLOCKED = "auto_approve", "notify_and_proceed", "require_approval", "blocked"
POLICIES = (AUTO, NOTIFY, ASK, BLOCKED)
"""From the most permissive to the strictest."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an action starts with: its policy, the permission to ask for it, and its floor."""

    policy: str
    permission: str
    never_auto: bool = False
    asks_once_two_can_approve: bool = False
    never_blocked: bool = False
    never_lowered: bool = False
    """It guards policies, settings or operators: who could lower it alone could end four-eyes for good."""
    critical: bool = False
    """It cannot be undone: asking for it takes a reason, and the console asks the approver for one, too."""
    severity: str | None = None
    """Of the event that says the act was made; None: medium where its policy announces it, else low."""


_PEER = Rule(NOTIFY, MANAGE_PEERS)
_GATED = Rule(ASK, MANAGE_PEERS, never_auto=True)
_REVOKING = Rule(ASK, MANAGE_PEERS, never_auto=True, critical=True)
_GRANT = Rule(NOTIFY, MANAGE_GRANTS)
_EMERGENCY = Rule(NOTIFY, CONTROL, never_blocked=True, severity="high")
_WEAKENING = Rule(ASK, MANAGE_OPERATORS, asks_once_two_can_approve=True, never_lowered=True)

RULES: Mapping[str, Rule] = {
    "system.federation_peer_propose": _GATED,
    "system.federation_peer_accept": _GATED,
    "system.federation_peer_revoke": _REVOKING,
    "system.federation_peer_suspend": _PEER,
    "system.federation_peer_resume": _PEER,
    "system.federation_peer_token": _PEER,
    "system.federation_peer_edit": _PEER,
    "system.federation_grant_issue": _GRANT,
    "system.federation_grant_edit": _GRANT,
    "system.federation_grant_renew": _GRANT,
    "system.federation_grant_revoke": Rule(ASK, MANAGE_GRANTS),
    "system.federation_bridge_propose": _GRANT,
    "system.federation_bridge_activate": _GRANT,
    "system.federation_bridge_suspend": _GRANT,
    "system.federation_bridge_revoke": _GRANT,
    "system.federation_resource_put": _GRANT,
    "system.federation_resource_delete": _GRANT,
    "system.inventory_change": _GRANT,
    "system.federation_certificate_rotate": _PEER,
    "system.federation_certificate_store": _PEER,
    "system.federation_certificate_mint": Rule(ASK, MANAGE_PEERS),
    "system.federation_certificate_revoke": Rule(ASK, MANAGE_PEERS, critical=True),
    "system.federation_certificate_anchor": Rule(ASK, MANAGE_PEERS),
    "system.operator_add": _WEAKENING,
    "system.operator_remove": _WEAKENING,
    "system.settings_change": _WEAKENING,
    "system.quarantine_end": Rule(
        ASK, MANAGE_OPERATORS, asks_once_two_can_approve=True, never_blocked=True, severity="high"
    ),
    "system.policy_set": replace(_WEAKENING, never_blocked=True),
    "system.policy_lower": replace(_EMERGENCY, never_lowered=True),
    "system.policy_restore": _EMERGENCY,
    "system.policy_confirm": _EMERGENCY,
    "system.manager_pause": Rule(NOTIFY, CONTROL, severity="high"),
    "system.manager_resume": Rule(NOTIFY, CONTROL, severity="high"),
}
"""Domain, section 7. An action that is not here does not exist."""
GUARDS = tuple(action for action, rule in RULES.items() if rule.never_lowered and rule.policy == ASK)
"""What guards policies, settings and operators."""
NEVER_LOWERED = tuple(action for action, rule in RULES.items() if rule.never_lowered)


class Policy(Base):
    """A policy that was changed from what its action starts with."""

    __tablename__ = "policies"

    action: Mapped[str] = mapped_column(Text_, primary_key=True)
    policy: Mapped[str]
    set_at: Mapped[Time]
    set_by: Mapped[str]


class PolicyOverride(Base):
    """A policy lowered for an emergency: from `lowered_at` until `until`, whatever becomes of who did it.

    It ends by the clock; `restored_at` is when its end was noticed, or asked for, and announced.
    """

    __tablename__ = "policy_lowerings"
    __table_args__ = (Index("ix_policy_lowerings_action_id", "action", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(Text_)
    policy: Mapped[str]
    before: Mapped[str]
    reason: Mapped[str]
    lowered_by: Mapped[str]
    lowered_at: Mapped[Time]
    until: Mapped[Time]
    restored_at: Mapped[Time | None]
    restored_by: Mapped[str | None]
    acts: Mapped[int | None]
    """How many acts ran under it, once it has ended."""
    confirmed_at: Mapped[Time | None]
    confirmed_by: Mapped[str | None]
    """Another operator, who has seen those acts and stands by them."""


def active_overrides(session: Session, now: datetime, action: str | None = None) -> list[PolicyOverride]:
    """The lowerings in force, those that end first on top; of one action where given.

    Before it began one is not in force either: a clock that is set back does not make it last longer. Nor is one of
    an action that is never lowered, which an earlier version allowed.
    """
    begun, allowed = PolicyOverride.lowered_at <= now, PolicyOverride.action.not_in(NEVER_LOWERED)
    query = select(PolicyOverride).where(
        PolicyOverride.restored_at.is_(None), begun, allowed, PolicyOverride.until > now
    )
    query = query if action is None else query.where(PolicyOverride.action == action)
    return list(session.scalars(query.order_by(PolicyOverride.until, PolicyOverride.id)))


def in_force(session: Session, action: str, now: datetime) -> str:
    """The policy that applies now: that of a lowering, else the one that was set, else its default."""
    lowering = active_overrides(session, now, action)
    return lowering[0].policy if lowering else at_rest(session, action)


def at_rest(session: Session, action: str) -> str:
    """The policy that applies without a lowering."""
    row = session.get(Policy, action)
    if row is not None:
        return row.policy
    rule = RULES[action]
    if rule.asks_once_two_can_approve and len(operators.approvers(session)) < 2:
        return NOTIFY
    return rule.policy


def check(action: str, policy: str) -> None:
    """Raise `WrongUsage` for an unknown action or policy, `Refused` below the action's floor."""
    if action not in RULES or policy not in POLICIES:
        raise WrongUsage(
            f"There is no {'policy ' + repr(policy) if action in RULES else 'action ' + repr(action)}.",
            cause=f"It is one of: {', '.join(POLICIES if action in RULES else RULES)}.",
            fix="See them with: fedtui policies list",
            code="policy_unknown",
        )
    rule = RULES[action]
    if (rule.never_auto and policy == AUTO) or (rule.never_blocked and policy == BLOCKED):
        raise Refused(
            f"{action} cannot be {policy}.",
            cause="Peering changes who is trusted; the decision is never left out."
            if policy == AUTO
            else "Blocking it would leave no way to set any policy again.",
            fix=f"Choose another of: {', '.join(one for one in POLICIES if one != policy)}.",
            code="policy_floor",
        )


def listing(session: Session, now: datetime) -> list[dict[str, object]]:
    """Every action with its policy in force, what it starts with, and its permission."""
    stored = {row.action: row for row in session.scalars(select(Policy))}
    lowerings = {row.action: row for row in reversed(active_overrides(session, now))}
    return [
        {
            "action": action,
            "policy": in_force(session, action, now),
            "lowered_until": lowerings[action].until if action in lowerings else None,
            "default": rule.policy,
            "permission": rule.permission,
            "set_by": stored[action].set_by if action in stored else None,
            "set_at": stored[action].set_at if action in stored else None,
        }
        for action, rule in RULES.items()
    ]
