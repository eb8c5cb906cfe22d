"""MCP as its client sees it: the SDK's own client, over standard input and output, against a real node."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fedtui.core.node import Node
from fedtui.core.operations import approvals
from fedtui.core.operations.gate import Done
from fedtui.mcp import acting, reading, server
from tests.cli.mcp_client import PATIENCE_SECONDS, Session, decide, environment, log_of, talk
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer
from tests.core.world import ADA, BEN, KIND, World, make_world

URL = "https://b.example"
OTHER = "https://c.example"
DECIDING = {"approve", "reject", "claim", "decide", "policy", "operator"}

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
"""What an older client begins with."""


@pytest.fixture
def clock() -> ManualClock:
    """The server is another process, which goes by the machine's clock."""
    return ManualClock(at=datetime.now(UTC))


@pytest.fixture
def world(make_node: MakeNode) -> World:
    """Ada's node with an active peer; ben can approve."""
    return make_world(make_node(outbound_timeout="2s"))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_of_either_era_finds_the_tools(node: Node, mode: str) -> None:
    """With and without the older handshake: every row of the table, with words and a closed schema."""

    async def look(session: Session) -> None:
        found = {tool.name: tool for tool in (await session.client.list_tools()).tools}
        assert set(found) == {tool.name for tool in server.TOOLS}
        assert all(tool.description for tool in found.values())
        assert all(tool.input_schema["additionalProperties"] is False for tool in found.values())
        revoke = found["system_sdwan_revoke_federation_peer"]
        assert revoke.input_schema["required"] == ["peer", "reason"]
        assert revoke.annotations is not None
        assert revoke.annotations.destructive_hint is True
        assert (await session.call("system_sdwan_list_federation_peers")) == {"peers": [], "total": 0}

    talk(node, look, mode=mode)


def test_an_act_that_needs_approval_waits_for_people(world: World) -> None:
    """A proposal becomes a request that says it came by MCP; another operator decides it elsewhere; MCP sees that."""
    node = world.node

    async def propose(session: Session) -> None:
        asked = await session.call("system_sdwan_propose_federation_peer", remote_instance_url=OTHER, reason="pilot")
        request = asked["approval"]
        assert asked["pending"] is True
        assert {"id", "action", "digest", "status", "expires_at"} <= set(request)
        assert (request["requested_by"], request["requested_origin"]) == ("ada", "mcp")
        assert (request["reason"], request["waiting"]["can_decide"]) == ("pilot", ["ben"])
        listed = await session.call("system_sdwan_list_approval_requests", view="mine")
        assert [one["id"] for one in listed["approvals"]] == [request["id"]]
        assert decide(node, request) == "executed"
        done = await session.call("system_sdwan_get_approval_request", approval=request["id"])
        assert done["approval"]["status"] == "executed"
        assert (await session.call("system_sdwan_get_federation_peer", peer=OTHER))["shape"]["status"] == "proposed"
        happened = await session.call("recent_events", kind="system.approval.requested", since="1h")
        assert [(one["actor"], one["origin"]) for one in happened["events"]] == [("ada", "mcp")]

    talk(node, propose)


def test_nothing_decides_or_claims(world: World) -> None:
    """No tool approves, rejects, claims or changes who may; one's own approved request is left to a person."""
    node, peer_id = world.node, new_peer(world.node, OTHER)
    world.act("system.policy_set", {"policy_action": "system.federation_peer_token", "policy": "require_approval"})

    async def cancel(session: Session) -> None:
        names = [tool.name for tool in (await session.client.list_tools()).tools]
        assert not [name for name in names if DECIDING & set(name.split("_"))]
        for name in ("system_sdwan_approve_approval_request", "approve", "system_sdwan_create_federation_peer_token"):
            assert (await session.refused(name))["code"] == "tool_unknown"
        asked = await session.call("system_sdwan_cancel_federation_peer_token", peer=peer_id)
        request = asked["approval"]
        node.approve(BEN, request["id"], request["digest"], reason="test")
        again = await session.call("system_sdwan_cancel_federation_peer_token", peer=peer_id)
        assert (again["pending"], again["approval"]["id"]) == (True, request["id"])
        assert (again["approval"]["status"], "command line" in again["then"]) == ("approved", True)
        assert isinstance(node.request(ADA, "system.federation_peer_token", {"peer": peer_id, "cancel": True}), Done)
        done = await session.call("system_sdwan_get_approval_request", approval=request["id"])
        assert done["approval"]["status"] == "executed"

    talk(node, cancel)


def test_wrong_input_is_a_problem_with_its_fix(node: Node) -> None:
    """What is missing, mistyped, unknown or too much is named, and the session goes on."""
    table: list[tuple[str, dict[str, Any], str, str]] = [
        ("get_federation_peer", {}, "wrong_usage", "peer"),
        ("get_federation_peer", {"peer": 7}, "wrong_usage", "peer"),
        ("get_federation_peer", {"peer": "nobody"}, "peer_not_found", "nobody"),
        ("get_federation_peer", {"peer": "a", "pear": "b"}, "wrong_usage", "pear"),
        ("get_federation_peer", {"peer": "x" * 5000}, "wrong_usage", "peer"),
        ("list_federation_peers", {"limit": 100_000}, "wrong_usage", "limit"),
        ("list_federation_peers", {"limit": "many"}, "wrong_usage", "limit"),
        ("propose_federation_peer", {"remote_instance_url": "ftp://x"}, "url_invalid", "ftp"),
        ("propose_federation_peer", {"remote_instance_url": URL, "spawn_role": "boss"}, "role_invalid", ""),
        ("accept_federation_peer", {"remote_instance_url": URL}, "token_empty", "token"),
        ("revoke_federation_peer", {"peer": URL}, "wrong_usage", "reason"),
        ("explain_federation_grant", {}, "wrong_usage", "decision"),
        ("federation_doctor", {"symptom": "gremlins"}, "wrong_usage", "symptom"),
        ("recognise_text", {"text": "lorem ipsum"}, "text_not_recognised", "playbook"),
        ("get_federation_grant", {"grant": "\x00'; --"}, "grant_not_found", ""),
        ("issue_federation_grant", {"peer": [], "permission_scopes": "read"}, "wrong_usage", "permission_scopes"),
    ]

    async def err(session: Session) -> None:
        for name, arguments, code, says in table:
            problem = await session.refused(f"system_sdwan_{name}", **arguments)
            assert problem["code"] == code, problem
            assert says in f"{problem['problem']} {problem['cause']}"
        assert "since" in (await session.refused("recent_events", since="lately"))["problem"]
        assert (await session.call("system_sdwan_list_federation_peers"))["total"] == 0

    talk(node, err)


def test_every_tool_works_and_none_tells_a_secret(world: World) -> None:
    """Each row of the table once, against records that have secrets; none is in an answer or in the log."""
    node, grant = world.node, world.grant(cidrs=["10.0.0.0/8"])
    kept, proposed = world.kept(world.asked(grant, source_ip="192.0.2.1")), new_peer(node, OTHER)
    made = node.request(ADA, "system.federation_peer_token", {"peer": proposed})
    assert isinstance(made, Done)
    secrets = [str(made.result[key]) for key in ("acceptance_token", "invite")]
    secrets.append("a-token-of-another-system")

    async def look(session: Session) -> None:
        async def call(name: str, **arguments: Any) -> Any:
            return await session.call(f"system_sdwan_{name}", **arguments)

        assert (await call("list_federation_peers", containing="b.example"))["total"] == 1
        record = await call("get_federation_peer", peer=OTHER)
        assert (record["shape"]["status"], record["token_state"]) == ("proposed", "issued")
        assert [one["id"] for one in (await call("list_federation_grants", peer=URL))["grants"]] == [grant]
        found = await call("get_federation_grant", grant=f"fg-{grant}")
        assert (found["grant"]["status"], found["decisions"][0]["id"]) == ("active", kept)
        for asked in ({"decision": kept}, {"bearer": f"fg-{grant}", "source_ip": "192.0.2.1"}):
            explained = await call("explain_federation_grant", **asked)
            assert (explained["allowed"], explained["code"]) == (False, "source_ip_not_allowed")
        refused = await call("list_federation_decisions", refused_only=True, peer=URL)
        assert [one["id"] for one in refused["decisions"]] == [kept]
        certificates = await call("list_federation_certificates")
        assert certificates["total"] == len(certificates["certificates"]) >= 2
        assert (await call("get_federation_certificate", serial=world.serial))["shape"]["serial"] == world.serial
        assert (await call("manager_status"))["status"] == "active"
        assert {"ok", "findings", "checked_at"} <= set(await call("federation_doctor", peer=URL))
        for asked in ({"decision": kept}, {"grant": grant}):
            named = (await call("federation_doctor", **asked))["findings"]
            assert "source_ip_not_allowed" in {one["cause"] for one in named}
        known = await call("recognise_text", text="acceptance_token does not match stored digest")
        assert known["doctor"]["symptom"] == "token_mismatch"
        assert (await session.call("recent_events", source="operator"))["events"]

    async def act(session: Session) -> None:
        async def call(name: str, **arguments: Any) -> Any:
            return await session.call(f"system_sdwan_{name}", **arguments)

        third = await call("propose_federation_peer", remote_instance_url="https://d.example")
        accept = await call(
            "accept_federation_peer",
            remote_instance_url="https://e.example",
            acceptance_token=secrets[-1],
            ca_fingerprint=f"sha256:{'ab' * 32}",
        )
        cert = await call("revoke_federation_certificate", serial=world.serial, reason="lost")
        gone = await call("revoke_federation_grant", grant=grant, reason="over")
        peer = await call("revoke_federation_peer", peer=URL, reason="over")
        waiting = [one["approval"]["id"] for one in (third, accept, cert, gone, peer)]
        listed = await call("list_approval_requests", containing="")
        assert {one["id"] for one in listed["approvals"]} == set(waiting)
        assert (await call("get_approval_request", approval=peer["approval"]["id"]))["approval"]["reason"] == "over"
        issued = await call(
            "issue_federation_grant",
            peer=URL,
            remote_subject="s@b",
            resource_kind=KIND,
            permission_scopes=["read"],
            source_cidrs=["10.0.0.0/8"],
            ttl="30d",
        )
        edited = await call("edit_federation_grant", grant=issued["id"], add_cidr=["192.0.2.0/24"])
        assert edited["source_cidrs"] == ["10.0.0.0/8", "192.0.2.0/24"]
        assert (await call("renew_federation_grant", grant=issued["id"], ttl="60d"))["renewed_at"]
        assert (await call("edit_federation_peer", peer=URL, maintenance="2h"))["maintenance"] == "2h"
        assert (await call("cancel_federation_peer_token", peer=OTHER))["cancelled"] is True
        for name in ("send_federation_heartbeat", "rotate_federation_certificate"):
            # There is no platform at that address: what the call says of it is the point.
            assert (await session.refused(f"system_sdwan_{name}", peer=URL))["fix"]
        assert (await call("scan_governance"))["open"]
        [finding, *_] = (await call("list_governance_findings", peer=URL))["findings"]
        known = await call("acknowledge_governance_finding", finding=finding["id"], reason="known", span="7d")
        assert (known["state"], known["acknowledged_by"]) == ("acknowledged", "ada")
        report = await call("governance_report", limit=1)
        assert [one["id"] for one in report["acknowledged"]] == [finding["id"]]
        assert (await call("suspend_federation_peer", peer=URL, reason="noise"))["status"] == "suspended"
        assert (await call("resume_federation_peer", peer=URL))["status"] == "accepted"
        assert (await call("open_change_request", title="t", body="b"))["status"] == "open"

    async def both(session: Session) -> None:
        await look(session)
        await act(session)
        assert session.called == {tool.name for tool in (*reading.TOOLS, *acting.TOOLS)}
        everything = "\n".join(session.told) + log_of(node).read_text()
        for secret in (*secrets, "PRIVATE KEY"):
            assert secret not in everything
        assert "Traceback" not in everything

    talk(node, both)


def test_read_only_leaves_the_acts_out(world: World) -> None:
    """With --read-only there is no acting tool, and one called all the same says why."""

    async def look(session: Session) -> None:
        names = {tool.name for tool in (await session.client.list_tools()).tools}
        assert names == {tool.name for tool in server.TOOLS if not tool.acts}
        problem = await session.refused("system_sdwan_suspend_federation_peer", peer=URL, reason="x")
        assert problem["code"] == "read_only"
        assert (await session.call("system_sdwan_list_federation_peers"))["total"] == 1

    talk(world.node, look, "--read-only")


def test_the_gate_knows_the_operator(world: World) -> None:
    """An operator without the permission is refused the act, and one removed meanwhile sees nothing more."""
    node = world.node
    world.act("system.operator_add", {"name": "eve", "permissions": ["system.federation_peers.view"]})

    async def look(session: Session) -> None:
        assert (await session.call("system_sdwan_list_federation_peers"))["total"] == 1
        problem = await session.refused("system_sdwan_suspend_federation_peer", peer=URL, reason="x")
        assert "system.federation_peers.manage" in f"{problem['problem']} {problem['cause']}"
        world.act("system.operator_remove", {"name": "eve"})
        problem = await session.refused("system_sdwan_list_federation_peers")
        assert "eve" in problem["problem"]

    talk(node, look, operator="eve")


@pytest.mark.parametrize(("operator", "set_up", "code"), [("zoe", True, 2), ("ada", False, 3)])
def test_it_does_not_start_for_nobody_or_nowhere(
    node: Node, tmp_path: Path, operator: str, set_up: bool, code: int
) -> None:
    """One who is no operator, and a home without a node, are told so on standard error; nothing is served."""
    home = str(node.settings.home) if set_up else str(tmp_path / "empty")
    done = subprocess.run(
        [sys.executable, "-m", "fedtui", "mcp"],
        env={**environment(node, operator), "FEDTUI_HOME": home},
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert ("fedtui init" if not set_up else "zoe") in done.stderr


def test_its_output_is_the_protocol_alone(node: Node) -> None:
    """Each line on standard output is one JSON-RPC message, also with the loudest log; the end of input ends it."""
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "system_sdwan_list_federation_peers", "arguments": {}},
    }
    lines = [INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call]
    server = subprocess.Popen(
        [sys.executable, "-m", "fedtui", "mcp"],
        env={**environment(node, "ada"), "FEDTUI_LOG_LEVEL": "debug"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        assert server.wait(PATIENCE_SECONDS) == 0
        assert server.stdout.read() == ""
    finally:
        server.kill()
        server.stdout.close()
    assert [one["id"] for one in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"] == {"peers": [], "total": 0}


def test_nobody_else_changed_anything_by_mcp(world: World) -> None:
    """Everything asked for by MCP stands on record with the operator and that origin, and correlates."""
    node = world.node

    async def act(session: Session) -> None:
        await session.call("system_sdwan_suspend_federation_peer", peer=URL, reason="noise")
        events = (await session.call("recent_events", peer=URL, since="1h"))["events"]
        mine = [one for one in events if one["origin"] == "mcp"]
        assert {one["kind"] for one in mine} == {"federation.peer.suspended", "system.act"}
        assert {one["actor"] for one in mine} == {"ada"}
        [correlation_id] = {one["correlation_id"] for one in mine}
        again = await session.call("recent_events", correlation_id=correlation_id, severity="low", until="0s")
        assert {one["id"] for one in again["events"]} == {one["id"] for one in mine}

    talk(node, act)
    with node.read() as session:
        assert approvals.listing(session, status="pending", limit=10) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(node: Node, number: signal.Signals) -> None:
    """It does not go on waiting for input that does not come."""
    server = subprocess.Popen(
        [sys.executable, "-m", "fedtui", "mcp"],
        env=environment(node, "ada"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(json.dumps(INITIALIZE) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(number)
        assert server.wait(PATIENCE_SECONDS / 5) == -number
    finally:
        server.kill()
        server.stdin.close()
        server.stdout.close()
