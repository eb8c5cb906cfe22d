"""The record of two nodes that federate: complete, one id for an act and all it caused, and fit to hand over."""

from __future__ import annotations

import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from fedtui.core.audit import events
from fedtui.core.audit.events import Event
from fedtui.core.audit.logs import JsonFormatter
from fedtui.core.audit.redaction import HIDDEN
from fedtui.core.certificates import operations as certificate_operations
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.governance import listing as finding_listing
from fedtui.core.grants import inventory
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.operations.gate import Done
from fedtui.core.pki import certificates, signing
from fedtui.core.protocol import heartbeat_sender, heartbeats
from fedtui.core.runtime import correlation
from fedtui.core.views import audit_export
from tests.api.conftest import ADA, Federated, Serve, Served, accept_body, act, federate, proposed_with_token
from tests.conftest import START, ManualClock
from tests.core.world import NETWORK

# --- one id ------------------------------------------------------------------------------


def happened(node: Node, **wanted: Any) -> list[Event]:
    with node.read() as session:
        return events.recent(session, limit=10_000, **wanted)[::-1]


def of_act(node: Node, kind: str) -> list[str]:
    """The kinds of all events that share the id of the newest of this kind."""
    id = happened(node, kind=kind)[-1].correlation_id
    return [one.kind for one in happened(node, correlation_id=id)]


def test_an_act_and_all_it_caused_share_an_id(federated: Federated) -> None:
    """On the accepting side the request, its approval, the execution, the handshake and the greeting are one story;
    on the admitting side each call that came is one."""
    told = of_act(federated.b.node, "system.approval.executed")
    assert told[:2] == ["system.approval.requested", "system.approval.approved"]
    assert told[-1] == "system.approval.executed"
    assert {
        "federation.peer.proposed",
        "federation.peer.anchor_added",
        "federation.peer.credentials_stored",
        "federation.certificate.issued",
        "federation.peer.accepted",
        "federation.handshake.delivered",
    } <= set(told)
    admitted = of_act(federated.a.node, "federation.peer.accepted")
    assert {"federation.certificate.issued", "federation.peer.accepted"} <= set(admitted)
    assert "federation.peer.token_issued" not in admitted
    assert of_act(federated.a.node, "federation.peer.proposed")[-1] == "system.approval.executed"


def test_lines_of_the_log_carry_the_id(federated: Federated, caplog: pytest.LogCaptureFixture) -> None:
    """What is written to the log during an act carries its correlation id; between acts there is none."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("fedtui")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        federated.b.stop()
        with correlation.correlated() as act_id:
            heartbeat_sender.send_all(federated.a.node)
            job_tasks.sweep(federated.a.node)
        logging.getLogger("fedtui.test").info("between acts")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    sweep = next(line for line in lines if "Starting heartbeat sweep" in line["message"])
    assert sweep["correlation_id"] == act_id
    assert "correlation_id" not in lines[-1]
    failed = happened(federated.a.node, kind="federation.peer.outbound_failed")
    assert [one.correlation_id for one in failed] == [act_id], "also in another thread"


# --- nothing silent ----------------------------------------------------------------------

NO_STATE = {
    "events",
    "event_seals",  # the record itself
    "leases",
    "daemons",
    "job_runs",
    "notices",  # who runs what, and what it came to: rows of their own
    "decisions",
    "grant_usage",
    "incident_entries",
    "governance_scans",  # records in their own right
    "sealed_values",  # go with what they are sealed to
}
LIVENESS = {
    "last_heartbeat_at",
    "last_outbound_at",
    "last_outbound_attempt_at",
    "last_outbound_error",
    "clock_skew_seconds",
    "sync_cursor",
    "offered_csr_pem",
    "updated_at",
    "metadata",
    "last_handshake_at",
    "executor",
    "executing_since",
    "warned_at",
    "attempts",
    "last_error",
    "next_attempt_at",
    "tried_at",
    "fetched_at",
    "this_update",
    "next_update",
    "der",
}
"""Columns that tell when something was last seen or tried, not what is so."""
_WRITE = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+\"?(\w+)\"?(?:\s+SET\s+(.*?)\s+WHERE\b)?", re.DOTALL)


def changed_table(statement: str) -> str | None:
    """The table in which a statement changes state, or None."""
    found = _WRITE.match(statement)
    if found is None:
        return None
    table, setting = found[1], found[2]
    columns = set(re.findall(r"\"?(\w+)\"?\s*=", setting)) if setting else set()
    claimed = table == "approvals" and columns - {"status"} <= {"executor", "executing_since"}
    if "last_heartbeat_at" in columns:
        columns -= set(heartbeats.DECLARED)  # the same as before, or told: the next test
    return None if claimed or table == "peer_crls" or (columns and columns <= LIVENESS) else table


@contextmanager
def watching(node: Node) -> Iterator[list[str]]:
    """Collects the transactions that changed state and emitted nothing."""
    silent: list[str] = []
    written: dict[int, set[str]] = defaultdict(set)
    under_way: dict[int, tuple[str, int]] = {}

    def changes(connection: Any) -> int:
        return int(connection.connection.driver_connection.total_changes)

    def settle(connection: Any) -> None:
        """Whether the statement before this one changed a row at all."""
        table, before = under_way.pop(id(connection), ("", 0))
        if table and changes(connection) > before:
            written[id(connection)].add(table)

    def on_statement(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        settle(connection)
        if (table := changed_table(statement)) is not None:
            under_way[id(connection)] = (table, changes(connection))

    def on_commit(connection: Any) -> None:
        settle(connection)
        tables = written.pop(id(connection), set())
        if tables - NO_STATE and "events" not in tables:
            silent.append(", ".join(sorted(tables - NO_STATE)))

    def on_rollback(connection: Any) -> None:
        written.pop(id(connection), None)
        under_way.pop(id(connection), None)

    engine = node.database.engine
    hooks: list[tuple[str, Callable[..., None]]] = [
        ("before_cursor_execute", on_statement),
        ("commit", on_commit),
        ("rollback", on_rollback),
    ]
    for name, hook in hooks:
        event.listen(engine, name, hook)
    try:
        yield silent
    finally:
        for name, hook in hooks:
            event.remove(engine, name, hook)


@pytest.mark.sqlite
def test_a_silent_change_would_be_noticed(served: Served) -> None:
    """The watch of the next test works: a change of state without an event is caught."""
    with watching(served.node) as silent:
        with served.node.unit(ADA) as unit:
            inventory.add(unit, "docs")
        assert silent == []
        with served.node.database.writing() as session:
            session.add(inventory.ServedKind(kind="maps", added_at=START, added_by="eve"))
    assert silent == ["inventory"]


@pytest.mark.sqlite
def test_everything_that_changes_state_emits(serve: Serve, clock: ManualClock) -> None:
    """Through a whole life of a federation, on both sides, no transaction changes state without an event in it."""
    a, b = serve("alpha"), serve("beta")
    with watching(a.node) as silent_a, watching(b.node) as silent_b:
        both = federate(a, b)
        node, peer = a.node, both.at_a
        act(node, "inventory_change", {"kind": "docs", "served": True})
        grant = act(node, "federation_grant_issue", {"peer": peer, "subject": "s", "kind": "docs", "scopes": ["read"]})[
            "id"
        ]
        act(node, "federation_grant_renew", {"grant": grant})
        act(node, "federation_grant_revoke", {"grant": grant, "reason": "r"})
        act(node, "federation_certificate_rotate", {"peer": peer})
        act(node, "federation_peer_edit", {"peer": peer, "maintenance": "2h"})
        act(node, "federation_peer_suspend", {"peer": peer, "reason": "r"})
        act(node, "federation_peer_resume", {"peer": peer})
        proposed_with_token(node, "https://c.example")
        clock.advance(days=8)
        job_tasks.manager_tick(node, node.acts)
        job_tasks.maintenance(node)
        job_tasks.sealing(node)
        act(node, "federation_peer_revoke", {"peer": peer, "reason": "r"})
    # The helper adds a peer without an event, on purpose: that is the only one.
    assert silent_a == ["peers"]
    assert silent_b == []


@pytest.mark.sqlite
def test_every_act_and_what_is_done_beside_the_gate_emits(federated: Federated, clock: ManualClock) -> None:
    """What the other acts change, and what operators write without the gate: nothing of it is silent."""
    node, peer = federated.a.node, federated.at_a
    with federated.b.node.read() as session:
        authority = certificates.own_ca(session)
    with watching(node) as silent:
        bridge = act(node, "federation_bridge_propose", {"peer": peer, "network": NETWORK})["id"]
        for verb in ("activate", "suspend", "revoke"):
            act(node, f"federation_bridge_{verb}", {"bridge": bridge})
        for served in (True, False):
            act(node, "inventory_change", {"kind": "docs", "served": served})
        act(node, "federation_resource_put", {"kind": "docs", "id": "one", "document": {"a": 1}})
        act(node, "federation_resource_delete", {"kind": "docs", "id": "one"})
        grant = act(node, "federation_grant_issue", {"peer": peer, "subject": "s", "kind": "docs", "scopes": ["read"]})[
            "id"
        ]
        act(node, "federation_grant_edit", {"grant": grant, "add_cidr": ["10.0.0.0/8"]})
        act(node, "federation_certificate_mint", {"peer": peer})
        act(node, "federation_certificate_anchor", {"peer": peer, "ca_fingerprint": authority.fingerprint})
        act(node, "policy_set", {"policy_action": "system.inventory_change", "policy": "require_approval"})
        act(
            node,
            "policy_lower",
            {"policy_action": "system.inventory_change", "policy": "notify_and_proceed", "span": "1h", "reason": "r"},
        )
        act(node, "policy_restore", {"policy_action": "system.inventory_change"})
        act(node, "settings_change", {"key": "own_prefix", "value": "fd12:3456:789a::/48"})
        for verb in ("pause", "resume"):
            act(node, f"manager_{verb}", {})
        act(node, "operator_add", {"name": "eve"})
        act(node, "operator_remove", {"name": "eve"})
        certificate_operations.request_for(node, ADA, peer)
        incident = node.begin_incident(ADA, DiagnosisTarget("degraded", peer))
        node.look(ADA, incident)
        node.note_incident(ADA, incident, "a note")
        filed = node.escalate(ADA, incident, title="t", body="b")
        node.settle_request(ADA, filed["id"], "done", "r")
        node.scan_governance(ADA)
        with node.read() as session:
            [finding, *_] = finding_listing.rows(session, now=clock.now())
        node.acknowledge_finding(ADA, finding.id, "known", timedelta(days=1))
        clock.advance(days=2)
        node.scan_governance(ADA)
    assert silent == []


def test_what_a_peer_declares_is_told_when_it_changes(federated: Federated) -> None:
    """A heartbeat that says what the last one said leaves no event; one that says something new says what."""
    node, peer_id = federated.a.node, federated.at_a
    before = len(happened(node))
    for version in (None, "1.4.0", "1.4.0", "1.5.0"):
        with node.unit(ADA) as unit:
            heartbeats.record(unit, peer_id, heartbeats.Declared(platform_version=version, sync_cursor={"at": before}))
    told = happened(node)[before:]
    assert [(one.kind, one.payload) for one in told] == [
        ("federation.peer.declared", {"changed": ["platform_version"], "platform_version": [None, "1.4.0"]}),
        ("federation.peer.declared", {"changed": ["platform_version"], "platform_version": ["1.4.0", "1.5.0"]}),
    ]


# --- refusals ----------------------------------------------------------------------------


def test_the_same_refusal_is_told_once_and_counted(serve: Serve) -> None:
    """A caller that goes on with a wrong token leaves one event and, in the end, one with the number of the others."""
    served = serve("alpha")
    peer_id, _ = proposed_with_token(served.node)
    for number in range(6):
        assert served.post("accept", accept_body(f"wrong {number}")).status_code == 401
    assert served.post("accept", accept_body(None)).status_code == 422
    kind = "federation.peer.accept_refused"
    told = [one.payload for one in happened(served.node, kind=kind)]
    assert [one["cause"] for one in told] == ["token_mistyped", "token_not_sent"]
    served.stop()
    rest = happened(served.node, kind=kind)[2:]
    assert [(one.payload["cause"], one.payload["times"], one.peer_id) for one in rest] == [
        ("token_mistyped", 5, peer_id)
    ]


# --- no secrets --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(events.KINDS))
def test_no_kind_of_event_keeps_a_secret(served_node: Node, kind: str) -> None:
    """Whatever an emitter hands over by mistake, tokens, invites and keys are not in what is stored."""
    token = "ft1" + "a" * 58
    key = signing.key_pem(signing.new_key()).decode()
    with served_node.unit(ADA) as unit:
        events.emit(
            unit,
            kind,
            source="test",
            token="hush",
            deep=[{"said": f"use {token}", "key": key}],
            acceptance_token="hush",
            invite="fi1" + "b" * 90,
        )
    payload = happened(served_node)[-1].payload
    assert payload["token"] == payload["acceptance_token"] == HIDDEN
    stored = json.dumps(payload)
    for secret in ("hush", token, "PRIVATE KEY", "b" * 40):
        assert secret not in stored


@pytest.fixture(scope="module")
def served_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all kinds."""
    from fedtui.core.bootstrap import init_node
    from fedtui.core.runtime.settings import load

    home = {"FEDTUI_HOME": str(tmp_path_factory.mktemp("kinds") / "alpha"), "FEDTUI_OPERATOR": "ada"}
    node = init_node(load(home), name="alpha", url="https://alpha.example")
    yield node
    node.close()


# --- the audit excerpt -------------------------------------------------------------------


def test_the_excerpt_for_a_peer_tells_of_it_and_of_nobody_else(federated: Federated, clock: ManualClock) -> None:
    """Events, approvals, decisions, certificates, grants and tokens of one peer, without secrets or third parties."""
    node = federated.a.node
    other, token = proposed_with_token(node, "https://third.example")
    act(node, "inventory_change", {"kind": "docs", "served": True})
    terms = {"subject": "s", "kind": "docs", "scopes": ["read"]}
    grant = act(node, "federation_grant_issue", {"peer": federated.at_a, **terms})["id"]
    outcome = node.request(ADA, "system.federation_peer_token", {"peer": other})
    assert isinstance(outcome, Done)
    with node.unit(ADA) as unit:
        events.emit(
            unit,
            "federation.peer.edited",
            source="test",
            peer_id=federated.at_a,
            beside=f"{other} of https://third.example/",
            origin_of="x",
        )
    job_tasks.sealing(node)
    verdict = node.verify_events()
    told = audit_export.excerpt(
        node,
        federated.at_a,
        clock.now().replace(year=2000),
        clock.now(),
        verdict={"ok": verdict.ok, "head": verdict.head, "sealed_through": 1, "unsealed": 0},
    )
    text = json.dumps(told)
    assert told["peer"]["remote_instance_url"] == federated.b.node.url
    assert {one["peer_id"] for one in map(dict, told["events"]) if "peer_id" in one} == set()
    kinds = [one["kind"] for one in told["events"]]
    assert kinds == [one.kind for one in happened(node, peer_id=federated.at_a)]
    assert [one["id"] for one in told["grants"]] == [grant]
    assert [one["state"] for one in told["tokens"]] == ["used"]
    assert {one["direction"] for one in told["certificates"]} == {"inbound", "outbound"}
    assert told["approvals"], "what was decided about it"
    for foreign in (other, "third.example", token, "PRIVATE KEY", "BEGIN CERTIFICATE"):
        assert foreign not in text
    assert audit_export.BLOTTED in text
    shown = audit_export.markdown(told)
    assert verdict.head in shown
    assert all(kind in shown for kind in kinds)
