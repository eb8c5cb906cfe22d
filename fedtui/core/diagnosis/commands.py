"""What findings have in common: the commands of fixes and the acts behind them, and codes in words."""

from __future__ import annotations

from collections.abc import Mapping

from fedtui.core.diagnosis.model import Fix

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


HOW: Mapping[str, str] = {
    "remote_unreachable": "this node is not reached from there, or TLS with it fails",
    "remote_address_forbidden": "this node's name leads there to an address that may not be dialled",
    "remote_dns": "the name in this node's URL does not resolve there",
    "remote_refused": "nothing listens at this node's URL, as seen from there",
    "remote_timeout": "this node does not answer in time, as seen from there",
    "remote_disconnected": "the connection to this node breaks",
    "remote_tls_failed": "TLS with this node fails, as it does not take this node's server certificate",
    "remote_rejecting_auth": "this node answers 401 or 403",
    "remote_rejecting": "what answers at this node's URL does not know the call",
    "remote_rate_limited": "this node answers 429, as more calls come than it takes",
    "remote_body_refused": "this node answers 413, as what it sends is larger than this node takes",
    "remote_failing": "this node, or what answers in its place, answers with an error",
    "partial_mtls": "the key pair that it presents to this node is not whole",
    "peering_ended": "this node answers that the peering has ended",
    "term_ended": "this node answers that the agreed term is over",
}
"""How a peer's calls to this node fail, by the code that it has for it."""


def anew(peer_id: str, url: str, own_url: str, why: str, number: int = 1) -> tuple[Fix, ...]:
    """Peering from scratch, each step a fix of its own: revoke, propose, token, and what the other side does.

    `number` is the first step's, where others come before.
    """
    of, reason = number + 3, f"{why}; peering anew"
    return (
        Fix(
            f"Peer anew, {number} of {of}: revoke the peer",
            f"fedtui peers revoke {peer_id} --reason '{reason}'",
            "system.federation_peer_revoke",
            {"peer": peer_id, "reason": reason},
        ),
        Fix(
            f"Peer anew, {number + 1} of {of}: once it is revoked, propose it",
            f"fedtui peers propose {url}",
            "system.federation_peer_propose",
            {"url": url},
        ),
        Fix(
            f"Peer anew, {number + 2} of {of}: once it is proposed, create a token, and hand over the invite",
            f"fedtui peers token {url} --ttl 1h",
            "system.federation_peer_token",
            {"peer": url, "ttl": "1h"},
        ),
        Fix(
            f"Peer anew, {number + 3} of {of}: its operators revoke their record of this node ({own_url}), where they "
            "have one, and accept the invite",
            "fedtui peers accept --invite -",
            where="there",
        ),
    )


def needs_policy(fix: Fix) -> str:
    """The action of this node whose policy decides whether a fix has to be approved; empty where there is none."""
    if fix.where == "there":
        return ""
    words = fix.command.split()
    named = ACTION_OF.get((words[1], words[2]), "") if len(words) > 2 and words[0] == "fedtui" else ""
    return fix.action or named
