"""Events and findings in memory, one of each sort."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fake_node import NOW, FakeNode, zoo

from fedtui.core.audit.listing import EventLine
from fedtui.core.governance.listing import FindingLine
from fedtui.core.views.node_summary import EventRecord

BRAVO, PEER = "https://bravo.example.org", "01950000-0000-7000-8000-000000000001"
REQUEST = "01950000-0000-7000-9000-000000000001"


def event(number: int, kind: str, severity: str = "low", **fields: Any) -> EventLine:
    """An event about bravo, some minutes ago, unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-d000-{number:012d}",
        "kind": kind,
        "severity": severity,
        "source": "accept_controller",
        "peer_id": PEER,
        "peer_url": BRAVO,
        "actor": "operator alice",
        "uid": 1000,
        "origin": "cli via ssh 192.0.2.9",
        "correlation_id": "01950000-0000-7000-e000-000000000001",
        "payload": {},
        "emitted_at": NOW - timedelta(minutes=3 * number),
        "seal": None if number < 3 else 17,
    }
    return EventLine(**{**values, **fields})


def events() -> list[EventLine]:
    """The newest first."""
    none: dict[str, Any] = {"peer_id": None, "peer_url": None}
    return [
        event(
            1,
            "federation.peer.heartbeat_stale",
            "medium",
            source="federation_heartbeat_sweep",
            actor="job federation_heartbeat",
            payload={"reason": "heartbeat stale (>5 minutes)"},
        ),
        event(
            2,
            "system.approval.requested",
            source="approvals",
            payload={"approval_id": REQUEST, "action": "system.federation_peer_revoke"},
        ),
        event(3, "system.operator.recovered", "critical", source="recovery", payload={"operator": "carol"}, **none),
        event(
            4,
            "federation.certificate.revoked",
            "high",
            source="sdwan_manager",
            payload={"serial": "6f0a11c2d3e4", "reason": "the key \x1b[31mleaked"},
        ),
        event(5, "system.incident.opened", source="playbook", payload={"incident_id": "i-1", "symptom": "degraded"}),
        event(600, "federation.peer.accepted", payload={"contract_version": 1}),
    ]


def finding(number: int, kind: str, severity: str, said: str, **fields: Any) -> FindingLine:
    """An open finding about bravo, unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"01950000-0000-7000-f000-{number:012d}",
        "kind": kind,
        "severity": severity,
        "state": "open",
        "said": said,
        "advice": "Its operators can tell.",
        "leads_to": f"peers/{PEER}",
        "fix": f"fedtui peers show {PEER}",
        "permission": "system.federation_peers.manage",
        "peer_id": PEER,
        "peer_url": BRAVO,
        "subject": PEER,
        "detail": {"prefix": "fd00:12::/48"},
        "first_seen": NOW - timedelta(hours=5 * number),
        "last_seen": NOW - timedelta(minutes=20),
        "gone_at": None,
        "reopened": 0,
        "acknowledged_by": None,
        "acknowledged_at": None,
        "acknowledged_until": None,
        "acknowledgement": None,
    }
    return FindingLine(**{**values, **fields})


def findings() -> list[FindingLine]:
    """One of each severity and state."""
    taken = {
        "state": "acknowledged",
        "acknowledged_by": "bob",
        "acknowledged_at": NOW - timedelta(days=1),
        "acknowledged_until": NOW + timedelta(days=6),
        "acknowledgement": "their contact is away",
    }
    return [
        finding(1, "overlapping_prefix_advertisement", "critical", f"{BRAVO} advertises our own prefix, fd00:12::/48."),
        finding(2, "expired_trust", "high", f"The trust in {BRAVO} has ended.", reopened=2),
        finding(
            3,
            "grant_unrestricted_scope",
            "medium",
            "A grant of admin is restricted to nothing.",
            leads_to="grants/01950000-0000-7000-8000-000000000002",
            peer_id=None,
            peer_url=None,
        ),
        finding(4, "peer_contact_missing", "low", f"{BRAVO} does not say whom to reach."),
        finding(5, "peer_residency_missing", "low", f"{BRAVO} does not say where its data lives.", **taken),
        finding(
            6,
            "peer_cert_expired",
            "high",
            f"The certificate of {BRAVO} has expired.",
            state="gone",
            gone_at=NOW - timedelta(days=2),
        ),
    ]


def record_node() -> FakeNode:
    """A node with events and findings."""
    node = FakeNode(zoo()[:2])
    node.others = {"events": {one.id: one for one in events()}, "governance": {one.id: one for one in findings()}}
    same = {
        "kind": "federation.peer.accepted",
        "severity": "low",
        "actor": "operator alice",
        "emitted_at": NOW - timedelta(minutes=4),
    }
    for one in events():
        node.records[one.id] = EventRecord([same], more=False)
    return node
