"""Grants and requests in memory, with a little of everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fake_node import NOW, FakeNode, zoo

from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import AccessRequest, AuthorizationResult, Refusal, Result
from fedtui.core.grants.explain import Change, Explanation
from fedtui.core.grants.listing import GrantLine
from fedtui.core.grants.usage import Used
from fedtui.core.operations.approval_queue import ApprovalLine
from fedtui.core.views.node_summary import ApprovalRecord, GrantRecord

INSTANCE = "01950000-0000-7000-8000-00000000abcd"


def grant(number: int, subject: str, **fields: Any) -> GrantLine:
    """A grant with a recognisable id, read on all docs for another 20 days, unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-8000-{number:012d}",
        "peer_id": "01950000-0000-7000-8000-000000000001",
        "peer_url": "https://bravo.example.org",
        "peer_status": "active",
        "remote_subject": subject,
        "resource_kind": "doc",
        "resource_id": None,
        "permission_scopes": ("read",),
        "node_instance_ids": (),
        "sdwan_network_ids": (),
        "source_cidrs": (),
        "issued_at": NOW - timedelta(days=10),
        "expires_at": NOW + timedelta(days=20, hours=1),
        "renew_at": None,
        "revoked_at": None,
        "revocation_reason": None,
        "used": 0,
        "last_used_at": None,
    }
    return GrantLine(**{**values, **fields})


def grants() -> list[GrantLine]:
    """One of each sort."""
    lately = NOW - timedelta(minutes=4)
    return [
        grant(1, "report@bravo", expires_at=NOW - timedelta(days=1)),
        grant(
            2,
            "sync@bravo",
            expires_at=NOW + timedelta(hours=30),
            used=48,
            last_used_at=lately,
            source_cidrs=("10.0.0.0/8", "fd00:12::/48"),
            node_instance_ids=(INSTANCE,),
        ),
        grant(
            3,
            "backup@charlie",
            peer_url="https://charlie.example.org:8443",
            permission_scopes=("read", "write"),
            resource_id="zone-1",
            renew_at=NOW + timedelta(days=15),
            used=12_345,
            last_used_at=lately,
        ),
        grant(
            4,
            "parent-operator@delta",
            resource_kind="managed_child_operator",
            peer_url="https://delta.example.org",
            permission_scopes=("read", "write", "admin"),
            expires_at=NOW + timedelta(days=300),
        ),
        grant(5, "old@golf", peer_url="https://golf.example.org", peer_status="suspended"),
        grant(6, "gone@hotel", revoked_at=NOW - timedelta(days=3), revocation_reason="contract ended"),
    ]


def request(number: int, summary: str, **fields: Any) -> ApprovalLine:
    """A request by bob, pending for another three hours, unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-9000-{number:012d}",
        "action": "system.federation_peer_propose",
        "status": "pending",
        "summary": summary,
        "digest": f"{number:02d}" + "ab12cd34" * 7 + "ab12cd",
        "reason": "contract 17",
        "requested_by": "bob",
        "requested_origin": "cli via ssh 192.0.2.9",
        "requested_at": NOW - timedelta(minutes=50),
        "expires_at": NOW + timedelta(hours=3, minutes=10),
        "decided_by": None,
        "decided_at": None,
        "decision_reason": None,
    }
    return ApprovalLine(**{**values, **fields})


def requests() -> list[ApprovalLine]:
    """One of each sort."""
    revoke = "system.federation_peer_revoke"
    return [
        request(
            1,
            "Revoke https://hotel.example.org for good: its certificates and tokens end at once.",
            action=revoke,
            expires_at=NOW + timedelta(minutes=12),
            reason="the contract has ended",
        ),
        request(2, "Propose to peer with https://india.example.org as symmetric (autonomous_peer)."),
        request(3, "Propose to peer with https://juliett.example.org as symmetric (autonomous_peer).", reason=None),
        request(4, "Propose to peer with https://kilo.example.org as child (managed_child).", requested_by="alice"),
        request(
            5,
            "Accept the invitation of https://lima.example.org as symmetric.",
            status="approved",
            action="system.federation_peer_accept",
            decided_by="carol",
            decided_at=NOW,
        ),
        request(
            6,
            "Accept the invitation of https://mike.example.org as symmetric.",
            status="failed",
            action="system.federation_peer_accept",
            decided_by="carol",
            decided_at=NOW,
        ),
    ]


def record_of(line: ApprovalLine, *, changed: str = "") -> ApprovalRecord:
    """A request in full."""
    critical = line.action.endswith("_revoke")
    change = {"what": "https://hotel.example.org", "before": "in service", "after": "revoked for good"}
    if not critical:
        change = {"what": "https://india.example.org", "before": "", "after": "proposed"}
    return ApprovalRecord(
        shape={
            "id": line.id,
            "action": line.action,
            "status": line.status,
            "digest": line.digest,
            "params": {"peer_id": "01950000-0000-7000-8000-000000000007", "reason": line.reason},
            "target": {"remote_instance_url": "https://hotel.example.org", "resting": "in_service"},
            "changes": [change],
            "error": {"problem": "The token in this invitation has expired."} if line.status == "failed" else None,
            "waiting": {
                "can_decide": ["alice", "carol"],
                "cannot_decide": {
                    "bob": "asked for it, and nobody decides their own request",
                    "dave": "lacks system.infra_tasks.control",
                },
                "next_tick_at": NOW + timedelta(seconds=21),
                "manager_status": "active",
            },
        },
        changed_since=changed,
        critical=critical,
    )


@dataclass(frozen=True)
class Ids:
    """Ids that the tests speak of."""

    sync: str = "01950000-0000-7000-8000-000000000002"
    revoke: str = "01950000-0000-7000-9000-000000000001"


def refused() -> Explanation:
    """A call that one list refuses."""
    detail = "source address not allowed (allowed: 10.0.0.0/8, fd00:12::/48; supplied: 192.0.2.7)"
    refusal = Refusal("source_ip_not_allowed", detail, 403, f"grant scope mismatch: {detail}")
    names = ("client_certificate", "certificate_known", "peer", "grant", "grant_in_force", "resource", "scope")
    passed = tuple(Result(name, True, "as it should be") for name in names)
    results = (
        *passed,
        Result("instance", True, f"instance {INSTANCE}"),
        Result("network", True, "not restricted"),
        Result("source_address", False, detail, refusal),
        Result("inventory", True, "doc is in the inventory"),
    )
    change = Change(
        "Add cidr 192.0.2.7/32",
        "fedtui grants edit ...",
        "system.federation_grant_edit",
        {"grant": Ids.sync, "source_cidrs": ["10.0.0.0/8", "192.0.2.7/32", "fd00:12::/48"]},
    )
    asked = AccessRequest("resources", Caller(), "GET", "doc", "one")
    return Explanation(AuthorizationResult(asked, results, None, Ids.sync, NOW), (change,), True)


def access_node() -> FakeNode:
    """A node with grants and requests."""
    node = FakeNode(zoo()[:2])
    node.others = {"grants": {one.id: one for one in grants()}, "approvals": {one.id: one for one in requests()}}
    used = {
        "method": "GET",
        "instance_id": INSTANCE,
        "network_id": None,
        "source_ip": "10.1.2.3",
        "times": 48,
        "last_at": NOW - timedelta(minutes=4),
    }
    decision = {
        "id": "01950000-0000-7000-a000-000000000001",
        "allowed": False,
        "code": "source_ip_not_allowed",
        "status": 403,
        "call": "resources",
        "times": 3,
        "last_at": NOW - timedelta(minutes=2),
        "context": {"method": "GET", "resource_id": "one", "caller": {"source_ip": "192.0.2.7"}},
    }
    for line in grants():
        mine = line.used and line.id == Ids.sync
        node.records[line.id] = GrantRecord({}, [used] if mine else [], [decision] if mine else [])
    for asked in requests():
        node.records[asked.id] = record_of(asked)
    node.cut = [Used("GET", INSTANCE, None, "10.1.2.3", 48, NOW - timedelta(minutes=4))]
    node.explained = refused()
    return node
