"""The commands of fixes: which act each of them carries out here, so that its policy can be looked up."""

from __future__ import annotations

from collections.abc import Mapping

from fedtui.core.playbook.model import Fix

ACTION_OF: Mapping[tuple[str, str], str] = {
    ("peers", "propose"): "system.federation_peer_propose",
    ("peers", "accept"): "system.federation_peer_accept",
    ("peers", "revoke"): "system.federation_peer_revoke",
    ("peers", "suspend"): "system.federation_peer_suspend",
    ("peers", "resume"): "system.federation_peer_resume",
    ("peers", "token"): "system.federation_peer_token",
    ("peers", "edit"): "system.federation_peer_edit",
    ("grants", "issue"): "system.federation_grant_issue",
    ("grants", "edit"): "system.federation_grant_edit",
    ("grants", "renew"): "system.federation_grant_renew",
    ("grants", "revoke"): "system.federation_grant_revoke",
    ("certs", "issue"): "system.federation_certificate_mint",
    ("certs", "store"): "system.federation_certificate_store",
    ("certs", "rotate"): "system.federation_certificate_rotate",
    ("certs", "revoke"): "system.federation_certificate_revoke",
    ("certs", "trust"): "system.federation_certificate_anchor",
    ("manager", "pause"): "system.manager_pause",
    ("manager", "resume"): "system.manager_resume",
    ("policies", "set"): "system.policy_set",
    ("policies", "lower"): "system.policy_lower",
    ("policies", "restore"): "system.policy_restore",
    ("operators", "add"): "system.operator_add",
    ("operators", "remove"): "system.operator_remove",
    ("settings", "set"): "system.settings_change",
    ("inventory", "add"): "system.inventory_change",
    ("inventory", "remove"): "system.inventory_change",
    ("db", "confirm"): "system.quarantine_end",
}
"""The act that a command of a fix carries out, by its two words."""


def needs_policy(fix: Fix) -> str:
    """The action of this node whose policy decides whether a fix has to be approved; empty where there is none."""
    if fix.where == "there":
        return ""
    words = fix.command.split()
    named = ACTION_OF.get((words[1], words[2]), "") if len(words) > 2 and words[0] == "fedtui" else ""
    return fix.action or named
