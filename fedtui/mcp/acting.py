"""The tools that act: each asks the gate, as the operator who started the server.

There is none that approves, rejects or claims, and none that makes a token: what is shown once
is shown to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedtui.core.errors import RemoteFailed
from fedtui.core.governance import findings
from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.operations.gate import Pending
from fedtui.core.peers import peers
from fedtui.core.runtime import durations
from fedtui.core.views import serializers
from fedtui.mcp.parameters import (
    GRANT,
    GRANT_EDITS,
    MODE,
    OPTIONAL_REASON,
    PEER,
    REASON,
    ROLE,
    SHORT_TTL,
    TTL,
    Parameter,
    flag,
    maybe,
    text,
    texts,
)
from fedtui.mcp.table import Given, Tool

ORIGIN = "mcp"
SPELLED: Mapping[str, str] = {
    "remote_instance_url": "url",
    "peer_kind": "kind",
    "spawn_role": "role",
    "spawn_mode": "mode",
    "acceptance_token": "token",
    "remote_subject": "subject",
    "resource_kind": "kind",
    "resource_id": "id",
    "permission_scopes": "scopes",
    "node_instance_ids": "instances",
    "sdwan_network_ids": "networks",
    "source_cidrs": "cidrs",
}
"""The contract's names, and what the acts call the same."""
DECIDED_ELSEWHERE = (
    "Operators decide it in the console (3) or with `fedtui approvals`; the manager then carries it out. "
    "See what becomes of it with system_sdwan_get_approval_request."
)
CLAIMED_ELSEWHERE = "It is approved; the one who asked carries it out in the console or with the command line."


def asking(action: str, **always: Any) -> Callable[[Node, Given], Mapping[str, Any]]:
    """A function that asks the gate for `action`: its result, or the request that it became."""

    def ask(node: Node, given: Given) -> Mapping[str, Any]:
        params = {SPELLED.get(key, key): value for key, value in given.items()}
        outcome = node.request(
            node.actor(ORIGIN), action, {**params, **always}, reason=given.get("reason"), claiming=False
        )
        return pending(node, outcome.approval.id) if isinstance(outcome, Pending) else dict(outcome.result)

    return ask


def pending(node: Node, approval_id: str) -> Mapping[str, Any]:
    """What a request that waits is answered with (contract: `{"pending": true, "approval": ...}`)."""
    with node.read() as session:
        shape = serializers.approval_in_full(session, approvals.find(session, approval_id), node, node.acts)
    then = DECIDED_ELSEWHERE if shape["status"] == "pending" else CLAIMED_ELSEWHERE
    return {"pending": True, "approval": shape, "then": then}


def _heartbeat(node: Node, given: Given) -> Mapping[str, Any]:
    with node.read() as session:
        peer = peers.find(session, given["peer"])
    error = node.heartbeat_now(node.actor(ORIGIN), peer.id)
    if error is not None:
        code, _, said = error.partition(": ")
        raise RemoteFailed(
            f"The heartbeat did not arrive. {said}",
            cause=f"It went to {peer.remote_instance_url}.",
            fix="Find the cause with system_sdwan_federation_doctor for this peer.",
            code=code,
        )
    return {"peer_id": peer.id, "answered": True}


def _escalate(node: Node, given: Given) -> Mapping[str, Any]:
    return node.escalate(node.actor(ORIGIN), given.get("incident"), title=given["title"], body=given["body"])


def _scan(node: Node, _given: Given) -> Mapping[str, Any]:
    return node.scan_governance(node.actor(ORIGIN))


def _acknowledge(node: Node, given: Given) -> Mapping[str, Any]:
    span = durations.parse(given["span"], field="span")
    return findings.shape(node.acknowledge_finding(node.actor(ORIGIN), given["finding"], given["reason"], span))


def act(
    name: str,
    words: str,
    takes: Mapping[str, Parameter],
    action: str,
    *,
    destroys: bool = False,
    calls_out: bool = False,
    **always: Any,
) -> Tool:
    """A row for an act of the gate; `always` is given to it beside what the client gives."""
    run = asking(action, **always)
    return Tool(name=name, words=words, takes=takes, run=run, acts=True, destroys=destroys, calls_out=calls_out)


TOOLS: tuple[Tool, ...] = (
    act(
        "system_sdwan_propose_federation_peer",
        "Propose to peer with a platform. Needs approval; nothing is sent. The token that admits the other side is "
        "made by a person afterwards, in the console (t) or with `fedtui peers token PEER`: it is shown once, "
        "and never here.",
        {
            "remote_instance_url": text("The other platform's URL."),
            "peer_kind": maybe("platform (the default) or sdwan_only.", longest=40),
            "spawn_role": ROLE,
            "spawn_mode": MODE,
            "reason": OPTIONAL_REASON,
        },
        "system.federation_peer_propose",
    ),
    act(
        "system_sdwan_accept_federation_peer",
        "Accept another platform's invitation. Needs approval. Takes an invite; or its URL with acceptance_token and "
        "its CA's fingerprint.",
        {
            "invite": maybe("The invite: URL, token and fingerprint in one.", longest=8192),
            "remote_instance_url": maybe("The inviting platform, where there is no invite."),
            "acceptance_token": maybe("The token that it made for us."),
            "ca_fingerprint": maybe("SHA-256 of its CA, like sha256:..., as its operators read it out.", longest=200),
            "public_ca": flag("Its certificate is publicly trusted, and no fingerprint is needed."),
            "spawn_role": ROLE,
            "spawn_mode": MODE,
            "reason": OPTIONAL_REASON,
        },
        "system.federation_peer_accept",
        calls_out=True,
    ),
    act(
        "system_sdwan_suspend_federation_peer",
        "Turn a peer's calls away until it is resumed.",
        {"peer": PEER, "reason": REASON},
        "system.federation_peer_suspend",
        destroys=True,
    ),
    act(
        "system_sdwan_resume_federation_peer",
        "Let a suspended peer prove itself again with a heartbeat.",
        {"peer": PEER, "reason": OPTIONAL_REASON},
        "system.federation_peer_resume",
    ),
    act(
        "system_sdwan_revoke_federation_peer",
        "End a peering for good, with its certificates and tokens. Needs approval.",
        {"peer": PEER, "reason": REASON},
        "system.federation_peer_revoke",
        destroys=True,
    ),
    act(
        "system_sdwan_cancel_federation_peer_token",
        "End the acceptance token that a proposed peer has, as when it leaked.",
        {"peer": PEER, "reason": OPTIONAL_REASON},
        "system.federation_peer_token",
        destroys=True,
        cancel=True,
    ),
    act(
        "system_sdwan_edit_federation_peer",
        "Change a peer's URL, prefix or term, confirm an endpoint that it declares, or plan maintenance.",
        {
            "peer": PEER,
            "remote_instance_url": maybe("Where the platform has moved."),
            "confirm_endpoint": maybe("A declared endpoint that may be dialled."),
            "maintenance": maybe("Planned maintenance for so long, like 2h; or off.", longest=20),
            "prefix": maybe("The prefix it advertises, like fd12:3456:789a::/48; or none.", longest=100),
            "expires": maybe("How long the peering is agreed for, like 365d; or never.", longest=20),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_peer_edit",
    ),
    Tool(
        name="system_sdwan_send_federation_heartbeat",
        words="Send this node's heartbeat to a peer now.",
        takes={"peer": PEER},
        run=_heartbeat,
        acts=True,
        calls_out=True,
    ),
    act(
        "system_sdwan_issue_federation_grant",
        "Let a subject at a peer use a resource kind, or one resource. An empty allowlist does not restrict.",
        {
            "peer": PEER,
            "remote_subject": text("Who at the peer it is for, like backup@platform-b."),
            "resource_kind": text("The resource kind."),
            "resource_id": maybe("One resource; without it, all of the kind."),
            "permission_scopes": texts("Any of read, write, admin, migrate.", needed=True),
            "node_instance_ids": texts("Only from these instances."),
            "sdwan_network_ids": texts("Only by these networks."),
            "source_cidrs": texts("Only from these addresses."),
            "ttl": TTL,
            "short_ttl": SHORT_TTL,
            "auto_renew": flag("Renew itself, up to 365 days."),
            "reason": OPTIONAL_REASON,
        },
        "system.federation_grant_issue",
    ),
    act(
        "system_sdwan_edit_federation_grant",
        "Change a grant's allowlists, or whether it renews itself. What it would cut off, "
        "system_sdwan_preview_federation_grant_edit tells beforehand.",
        {
            "grant": GRANT,
            **GRANT_EDITS,
            "reason": OPTIONAL_REASON,
        },
        "system.federation_grant_edit",
        destroys=True,
    ),
    act(
        "system_sdwan_renew_federation_grant",
        "Let a grant run anew from now, also one that has expired.",
        {"grant": GRANT, "ttl": TTL, "short_ttl": SHORT_TTL, "reason": OPTIONAL_REASON},
        "system.federation_grant_renew",
    ),
    act(
        "system_sdwan_revoke_federation_grant",
        "End a grant for good. Needs approval.",
        {"grant": GRANT, "reason": REASON},
        "system.federation_grant_revoke",
        destroys=True,
    ),
    act(
        "system_sdwan_rotate_federation_certificate",
        "Ask a peer for our next certificate now, with a new key.",
        {"peer": PEER, "reason": OPTIONAL_REASON},
        "system.federation_certificate_rotate",
        calls_out=True,
    ),
    act(
        "system_sdwan_revoke_federation_certificate",
        "Revoke a certificate that this node signed, for good. Needs approval.",
        {"serial": text("Its serial.", longest=80), "reason": REASON},
        "system.federation_certificate_revoke",
        destroys=True,
    ),
    Tool(
        name="system_sdwan_scan_governance",
        words="Go through the governance rules now; the maintenance job does so each hour.",
        takes={},
        run=_scan,
        acts=True,
    ),
    Tool(
        name="system_sdwan_acknowledge_governance_finding",
        words="Take a finding out of what is open for so long, with a reason.",
        takes={
            "finding": text("A finding's id, or a unique beginning of it."),
            "reason": REASON,
            "span": text("For how long, like 7d.", longest=20),
        },
        run=_acknowledge,
        acts=True,
    ),
    Tool(
        name="system_sdwan_open_change_request",
        words="Hand a matter up to the federation's owner, when the runbook does not resolve it.",
        takes={
            "title": text("In a line.", longest=200),
            "body": text("What is missing, and why.", longest=8000),
            "incident": maybe("The incident it is about; it is closed as handed on, and is the evidence."),
        },
        run=_escalate,
        acts=True,
    ),
)
