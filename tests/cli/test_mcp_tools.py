"""What an AI client can do beside peers and grants: bridges, documents, certificates, incidents, the manager."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fedtui.core.peers import peers
from fedtui.core.pki import anchors
from fedtui.core.pki.certificates import own_ca
from fedtui.core.pki.x509 import read_certificates, read_csr
from fedtui.mcp import access, certificates, incidents, running
from tests.cli.mcp_client import Session, decide, log_of, talk
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer
from tests.core.test_playbook import refused_accept
from tests.core.world import ADA, BEN, KIND, NETWORK, World, make_world

URL = "https://b.example"
INVITE = "fi1" + "a" * 60
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"


@pytest.fixture
def clock() -> ManualClock:
    """The server is another process, which goes by the machine's clock."""
    return ManualClock(at=datetime.now(UTC))


@pytest.fixture
def world(make_node: MakeNode) -> World:
    """Ada's node with an active peer; ben can approve."""
    return make_world(make_node(outbound_timeout="2s"))


class Tools:
    """A session's tools under their short names."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def __call__(self, name: str, **arguments: Any) -> Any:
        return await self.session.call(f"system_sdwan_{name}", **arguments)

    async def refused(self, name: str, **arguments: Any) -> str:
        return (await self.session.refused(f"system_sdwan_{name}", **arguments))["code"]

    def complete(self, tools: tuple[Any, ...]) -> None:
        """Each of these was called."""
        assert self.session.called >= {tool.name for tool in tools}


def test_a_peers_prefix_and_term(world: World) -> None:
    """What the shell and the console change of a peer, a client can change, too."""

    async def edit(session: Session) -> None:
        changed = await Tools(session)("edit_federation_peer", peer=URL, prefix="fd12:3456:789a::/48", expires="365d")
        assert (changed["prefix"], changed["expires"]) == ("fd12:3456:789a::/48", "365d")

    talk(world.node, edit)
    with world.node.read() as session:
        peer = peers.get(session, world.peer_id)
        assert peer.remote_prefix_advertisement == "fd12:3456:789a::/48"
        assert peer.expires_at is not None


def test_bridges_inventory_and_documents(world: World) -> None:
    """A bridge goes through its states, a kind comes and goes, a document is written, read, listed and removed."""

    async def act(session: Session) -> None:
        call = Tools(session)
        made = await call("propose_federation_bridge", peer=URL, network=NETWORK, reason="pilot")
        bridge = made["id"]
        for verb, status in (("activate", "active"), ("suspend", "suspended"), ("revoke", "revoked")):
            assert (await call(f"{verb}_federation_bridge", bridge=bridge))["status"] == status
        assert await call.refused("activate_federation_bridge", bridge=bridge) == "bridge_transition"
        listed = await call("list_federation_bridges", peer=URL)
        assert [(one["id"], one["status"]) for one in listed["bridges"]] == [(bridge, "revoked")]

        await call("add_inventory_kind", resource_kind="dns.zone")
        kinds = await call("list_inventory_kinds")
        assert [one["kind"] for one in kinds["kinds"]] == ["dns.zone", KIND]
        await call("remove_inventory_kind", resource_kind="dns.zone")
        assert await call.refused("remove_inventory_kind", resource_kind="dns.zone") == "kind_not_served"

        one = {"resource_kind": KIND, "resource_id": "one"}
        assert (await call("put_federation_resource", **one, document={"n": [1, None]}))["version"] == 1
        found = await call("get_federation_resource", **one)
        assert (found["document"], found["version"], found["complete"]) == ({"n": [1, None]}, 1, True)
        assert [row["id"] for row in (await call("list_federation_resources", resource_kind=KIND))["documents"]] == [
            "one"
        ]
        for empty in ("", [], {}, 0, False):
            await call("put_federation_resource", **one, document=empty)
            assert (await call("get_federation_resource", **one))["document"] == empty, "empty is no null"
        assert await call.refused("put_federation_resource", **one, document=None) == "document_invalid"
        assert (await call("delete_federation_resource", **one))["deleted"] is True
        assert await call.refused("get_federation_resource", **one) == "resource_not_found"
        written = (await session.call("recent_events", kind="federation.resource.written"))["events"]
        assert {(row["actor"], row["origin"]) for row in written} == {("ada", "mcp")}

    async def both(session: Session) -> None:
        await act(session)
        world_grant = world.grant()
        await Tools(session)("preview_federation_grant_edit", grant=world_grant)
        Tools(session).complete(access.TOOLS)

    talk(world.node, both)


@pytest.mark.parametrize("content", [{"a": INVITE}, {"a": {"password": "x"}}, {"a": "x" * 9000}, list(range(600))])
def test_a_document_that_is_not_shown_whole_says_so(world: World, content: Any) -> None:
    """What is hidden or cut short of a document makes it incomplete, so that nobody writes it back like that."""
    world.act("system.federation_resource_put", {"kind": KIND, "id": "one", "document": content})

    async def look(session: Session) -> None:
        found = await Tools(session)("get_federation_resource", resource_kind=KIND, resource_id="one")
        assert found["complete"] is False
        assert INVITE not in "".join(session.told)

    talk(world.node, look, "--read-only")


def test_what_an_edit_cuts_off_is_told_beforehand(world: World) -> None:
    """By an edit and by a revocation; nothing is changed, and a widening cuts off nothing."""
    grant = world.grant(cidrs=["10.0.0.0/8"])
    world.use(world.asked(grant), times=3)

    async def look(session: Session) -> None:
        preview = Tools(session)
        narrower = {"add_cidr": ["192.0.2.0/24"], "remove_cidr": ["10.0.0.0/8"]}
        told = await preview("preview_federation_grant_edit", grant=grant, **narrower)
        assert (told["cuts_off"], told["changes"]) == (3, {"source_cidrs": ["192.0.2.0/24"]})
        assert [one["source_ip"] for one in told["used_in_30_days_and_cut_off"]] == ["10.1.2.3"]
        assert (await preview("preview_federation_grant_edit", grant=grant, any_cidr=True))["cuts_off"] == 0
        assert (await preview("preview_federation_grant_edit", grant=grant, revoke=True))["cuts_off"] == 3
        missing = await preview.refused("preview_federation_grant_edit", grant=grant, remove_cidr=["192.0.2.0/24"])
        assert missing == "cidr_not_listed"

    talk(world.node, look, "--read-only")
    assert world.row(grant).source_cidrs == ["10.0.0.0/8"]


def test_certificates_are_minted_stored_and_probed(world: World) -> None:
    """Our request is handed out and its certificate stored, a peer's is signed after approval; no key is told."""
    node = world.node
    with node.unit(ADA) as unit:  # the peer's CA is ours: so that one node plays both sides
        [own] = read_certificates(own_ca(unit.session).cert_pem, field="ca")
        anchors.add(unit, world.peer_id, own, source="operator")

    async def act(session: Session) -> None:
        call = Tools(session)
        ours = await call("get_federation_certificate_request", peer=URL)
        assert read_csr(ours["csr_pem"]).is_signature_valid
        asked = (await call("mint_federation_certificate", peer=URL, csr_pem=ours["csr_pem"], reason="by hand"))[
            "approval"
        ]
        assert decide(node, asked) == "executed"
        done = (await call("get_approval_request", approval=asked["id"]))["approval"]["result"]
        assert done["cert_pem"].startswith("-----BEGIN CERTIFICATE")
        stored = await call(
            "store_federation_certificate", peer=URL, cert_pem=done["cert_pem"], chain_pem=done["chain_pem"]
        )
        assert stored["serial"] == done["serial"]
        assert await call.refused("store_federation_certificate", peer=URL, cert_pem="x", key_pem=KEY) == "wrong_usage"
        trust = await call("trust_federation_ca", peer=URL, ca_fingerprint=f"sha256:{'ab' * 32}", reason="moved")
        assert trust["approval"]["action"] == "system.federation_certificate_anchor"
        assert (await call("probe_federation_peer", peer=URL))["ok"] is False
        assert await call.refused("probe_federation_peer", peer="https://127.0.0.1:1") == "peer_not_found"
        authority = await call("get_federation_ca")
        assert authority["fingerprint"].startswith("sha256:")
        call.complete(certificates.TOOLS)
        assert "PRIVATE KEY" not in "".join(session.told) + log_of(node).read_text()

    talk(node, act)


def test_incidents_and_change_requests(world: World) -> None:
    """One is opened with its checks, listed, shown, noted, exported, checked again and closed; what was handed up is
    found and settled."""

    async def act(session: Session) -> None:
        call = Tools(session)
        opened = await call("open_federation_incident", symptom="degraded", peer=URL)
        incident = opened["incident_id"]
        assert opened["doctor"]["findings"], "nobody has listened here, and the peer is not there"
        assert [one["id"] for one in (await call("list_federation_incidents", open_only=True))["incidents"]] == [
            incident
        ]
        assert (await call("note_federation_incident", incident=incident, text=f"sent {INVITE}"))["noted"] is True
        shape = await call("get_federation_incident", incident=incident)
        noted = [one for one in shape["transcript"] if one["kind"] == "note"]
        assert [(one["actor"], one["origin"]) for one in noted] == [("ada", "mcp")]
        exported = await call("export_federation_incident", incident=incident)
        assert any("sent" in line for line in exported["markdown_lines"])
        assert (await call("check_federation_incident", incident=incident))["state"] == "open"
        kinds = {one["kind"] for one in (await call("get_federation_incident", incident=incident))["transcript"]}
        assert {"opened", "check", "finding", "looked", "note", "verified"} <= kinds
        assert await call.refused("mend_federation_incident", incident=incident, cause="headache") == "fix_not_offered"
        found = opened["doctor"]["findings"][0]
        by_hand = await call("mend_federation_incident", incident=incident, cause=found["cause"])
        assert (by_hand["outcome"], by_hand["title"]) == ("by_hand", found["fix"]["title"])
        ended = await call("close_federation_incident", incident=incident, outcome="explained", reason="planned")
        assert (ended["state"], ended["outcome"]) == ("closed", "explained")
        assert await call.refused("note_federation_incident", incident=incident, text="late") == "incident_closed"
        filed = (await call("open_change_request", title="Renewal", body="Missing."))["id"]
        assert [one["id"] for one in (await call("list_change_requests"))["change_requests"]] == [filed]
        assert (await call("get_change_request", change_request=filed))["body"] == "Missing."
        settled = await call("settle_change_request", change_request=filed, status="declined", reason="not now")
        assert settled["status"] == "declined"
        call.complete(incidents.TOOLS)
        assert INVITE not in "".join(session.told)

    talk(world.node, act)


def test_a_fix_is_carried_out_inside_an_incident_and_some_are_for_people(world: World) -> None:
    """The paused manager is resumed by the fix that the checks offer, and stands in the transcript; a new token, which
    is shown once, and a policy are left to people."""
    world.node.request(ADA, "system.manager_pause", {"reason": "test"})
    world.node.request(
        ADA,
        "system.policy_lower",
        {
            "policy_action": "system.federation_peer_propose",
            "policy": "notify_and_proceed",
            "span": "1h",
            "reason": "x",
        },
    )
    newcomer = new_peer(world.node, "https://c.example")
    refused_accept(world.node, newcomer)

    async def act(session: Session) -> None:
        call = Tools(session)
        opened = await call("open_federation_incident", symptom="approval_blocked")
        incident, causes = opened["incident_id"], {one["cause"] for one in opened["doctor"]["findings"]}
        assert causes >= {"manager_paused", "policy_lowered"}
        done = await call("mend_federation_incident", incident=incident, cause="manager_paused")
        assert (done["outcome"], done["action"]) == ("done", "system.manager_resume")
        [tried] = (await call("check_federation_incident", incident=incident))["tried"]
        assert ": Carried out at " in tried
        mend = {"incident": incident, "cause": "policy_lowered"}
        assert await call.refused("mend_federation_incident", **mend) == "for_a_person"
        other = (await call("open_federation_incident", symptom="token_mismatch"))["incident_id"]
        mend = {"incident": other, "cause": "token_mistyped"}
        assert await call.refused("mend_federation_incident", **mend) == "for_a_person"
        acts = [
            one["content"]["outcome"]
            for one in (await call("get_federation_incident", incident=incident))["transcript"]
            if one["kind"] == "act"
        ]
        assert acts == ["done"]

    talk(world.node, act)


def test_the_manager_is_paused_and_what_people_decide_is_only_shown(world: World) -> None:
    """Pausing and resuming are told; policies, settings and operators are listed; one's own request is taken back."""

    async def act(session: Session) -> None:
        call = Tools(session)
        assert (await call("pause_manager", reason="it makes things worse"))["status"] == "paused"
        assert (await call("manager_status"))["status"] == "paused"
        assert (await call("resume_manager"))["status"] == "active"
        told = (await session.call("recent_events", severity="high", since="1h"))["events"]
        assert {one["origin"] for one in told if one["kind"] == "system.act"} == {"mcp"}
        rules = {one["action"]: one["policy"] for one in (await call("list_policies"))["policies"]}
        assert rules["system.federation_peer_revoke"] == "require_approval"
        assert (await call("list_lowered_policies"))["lowered"] == []
        known = {one["key"]: one["value"] for one in (await call("list_node_settings"))["settings"]}
        assert known["drill_mode"] == "off"
        assert [one["name"] for one in (await call("list_operators"))["operators"]] == ["ada", "ben"]
        asked = (await call("revoke_federation_peer", peer=URL, reason="over"))["approval"]["id"]
        assert (await call("withdraw_approval_request", approval=asked))["status"] == "withdrawn"
        theirs = world.node.request(BEN, "system.federation_peer_revoke", {"peer": URL, "reason": "r"}, reason="r")
        assert await call.refused("withdraw_approval_request", approval=theirs.approval.id)
        call.complete(running.TOOLS)

    talk(world.node, act)
