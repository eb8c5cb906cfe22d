"""Where this node connects to: names do not lead it into itself, and a peer does not choose the place."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import RemoteFailed, WrongUsage
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.protocol import client, diagnosis_report, heartbeat_sender, probe
from fedtui.core.protocol.client import Connection
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.runtime import dns, urls
from fedtui.core.runtime.dial import DialRule
from tests.core.test_heartbeats import beat
from tests.core.test_peers import new_peer, put_in

LIMIT = timedelta(seconds=5)
LEADS = "leads.example"
FORBIDDEN = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "169.254.169.254",
    "fe80::1",
    "0.0.0.0",  # noqa: S104
    "::",
    "224.0.0.1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "::ffff:169.254.1.1",
]
PERMITTED = ["203.0.113.5", "2001:db8::5", "10.0.0.5", "192.168.1.2", "fd12:3456:789a::1", "100.64.0.1"]
Leading = Callable[..., list[str]]


@pytest.fixture
def leading(monkeypatch: pytest.MonkeyPatch) -> Leading:
    """Has the DNS answer for `leads.example`: `leading("127.0.0.1", "10.0.0.1")` is one answer after the other, the
    last one for good. Returns the list of what was asked for."""
    system = socket.getaddrinfo

    def install(*answers: str) -> list[str]:
        left, asked = list(answers), []

        def look_up(host: Any, port: Any, *rest: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if name != LEADS:
                return system(host, port, *rest)
            asked.append(name)
            address = left.pop(0) if len(left) > 1 else left[0]
            return system(address, port, 0, socket.SOCK_STREAM)

        monkeypatch.setattr(dns.socket, "getaddrinfo", look_up)
        return asked

    return install


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_name_never_leads_to_this_machine_or_its_link(address: str) -> None:
    """Loopback, link-local, unspecified and multicast addresses, also as IPv4 within IPv6; typed, they are dialled."""
    rule = DialRule()
    assert rule.forbids(LEADS, 8443, address)
    assert not rule.forbids(address, 8443, address)


@pytest.mark.parametrize("address", PERMITTED)
def test_a_name_leads_to_public_and_private_addresses(address: str) -> None:
    """Platforms federate across the internet and within a company's network."""
    assert not DialRule(frozenset({9})).forbids(LEADS, 8443, address)


@pytest.mark.parametrize("name", ["localhost", "a.localhost"])
def test_localhost_is_what_it_says(name: str) -> None:
    """Who types localhost means this machine."""
    assert not DialRule().forbids(name, 8443, "127.0.0.1")


def test_a_name_never_leads_to_where_this_node_listens() -> None:
    """An address of this machine is dialled, but for the ports of the node's own listeners."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("203.0.113.5", 9))  # sends nothing
        own = outward.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no other address than loopback")
    rule = DialRule(frozenset({8443}))
    assert "itself listens" in rule.forbids(LEADS, 8443, own)
    assert not rule.forbids(LEADS, 9443, own)


@pytest.mark.parametrize("check", ["call", "verdict", "probe"])
def test_nothing_is_connected_to_where_a_name_must_not_lead(leading: Leading, node: Node, check: str) -> None:
    """A listener on loopback, to which a peer's name leads, is not even connected to; our operator is told."""
    leading("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        connection = Connection((f"https://{LEADS}:{listener.getsockname()[1]}",), (), None, forbids=DialRule().forbids)
        if check == "probe":
            with node.read() as session:
                target = probe.target(session, node, connection.urls[0])
            report = probe.run(target, node.clock.now(), LIMIT, lambda _step: None)
            assert [fault.code for fault in report.faults] == ["forbidden"]
        else:
            with pytest.raises(RemoteFailed) as refused:
                if check == "call":
                    client.call(connection, "/x", None, timeout=LIMIT)
                else:
                    client.refusal_of_server(connection, timeout=LIMIT)
            assert refused.value.code == "remote_address_forbidden"
            assert "loopback" in refused.value.cause
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_address_that_was_judged_is_the_one_that_is_dialled(leading: Leading) -> None:
    """A name that answers a public address first and loopback then gets one look-up a connection."""
    asked = leading("203.0.113.5", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        connection = Connection((f"https://{LEADS}:{port}",), (), None, forbids=DialRule().forbids)
        with pytest.raises(RemoteFailed):
            client.call(connection, "/x", None, timeout=timedelta(seconds=0.5))
        assert asked == [LEADS]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_what_existing_peers_use_stays(leading: Leading, node: Node) -> None:
    """A row from before there was a rule is dialled where it was, until an operator moves it."""
    leading("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://{LEADS}:{listener.getsockname()[1]}"
        peer_id = new_peer(node, url=url)
        put_in(node, peer_id, "active")
        assert str(heartbeat_sender.send(node, peer_id)).startswith("remote_address_forbidden")
        with node.unit(node.actor("test")) as unit:
            peers.lock(unit, peer_id).resolves_anywhere = True
        beat(node, peer_id, Declared(endpoints=[{"url": f"https://{LEADS}:1", "priority": 1}]))
        with node.read() as session:
            row = peers.get(session, peer_id)
            assert client.endpoint_urls(row) == (f"https://{LEADS}:1", url)
            assert client.rule_for(node, row) is None
    node.request(node.actor("test"), "system.federation_peer_edit", {"peer": peer_id, "url": f"{url}/moved"})
    with node.read() as session:
        row = peers.get(session, peer_id)
        assert client.rule_for(node, row) is not None
        assert client.endpoint_urls(row) == (f"{url}/moved",)


@pytest.mark.parametrize(
    ("own", "declared", "dialled"),
    [
        ("https://b.example:8443", "https://b.example:8443/federation", True),
        ("https://b.example", "https://b.example:443/f", False),  # not the one spelling
        ("https://b.example:8443", "https://b.example:9443", False),
        ("https://b.example:8443", "https://c.example:8443", False),
        ("https://b.example:8443", "http://b.example:8443/f", False),
        ("https://10.0.0.5:8443", "https://10.0.0.5:8443/f", True),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443/f", False),
        ("https://localhost:8443", "https://localhost:8443/f", False),
        ("https://b.example:8443", "https://b.example:8443/f?x=1", False),
    ],
)
def test_what_a_peer_declares_is_dialled_at_its_own_place_alone(
    node: Node, own: str, declared: str, dialled: bool
) -> None:
    """Host and port must be those it was proposed with, over https; this machine is never for a peer to name."""
    peer_id = new_peer(node, url=own)
    put_in(node, peer_id, "active")
    beat(node, peer_id, Declared(endpoints=[{"url": declared, "priority": 1}]))
    with node.read() as session:
        assert client.endpoint_urls(peers.get(session, peer_id)) == ((declared, own) if dialled else (own,))


@pytest.mark.parametrize("code", diagnosis_report.UNREACHED)
def test_a_peer_is_told_one_code_for_all_that_did_not_get_through(node: Node, code: str) -> None:
    """Dns, refused, timeout and TLS are for our operator: told apart, they would say which ports are open here."""
    peer_id = new_peer(node, url="https://b.example")
    put_in(node, peer_id, "active")
    with node.unit(node.actor("test")) as unit:
        peers.lock(unit, peer_id).last_outbound_error = f"{code}: whatever"
    assert diagnosis_report.view_of(node, peer_id, None)["last_outbound_code"] == "remote_unreachable"


def test_every_code_of_the_transport_is_among_those() -> None:
    """What the client raises for a call that got no answer is never told to the peer as it is."""
    told = {code for _, code, _ in client._CAUSES} | {*client.NEXT_URL, "remote_disconnected"}
    assert told <= {*diagnosis_report.UNREACHED}


@pytest.mark.parametrize(
    "url",
    [
        "https://0x7f.1",
        "https://127.1",
        "https://2130706433",
        "https://0177.0.0.1",
        "https://b.example.0x10",
        "https://b.example:0",
        "https://1.2.3.4.5",
    ],
)
def test_an_address_in_disguise_is_no_host(url: str) -> None:
    """What looks like a name and is an IPv4 address to whoever dials it is refused, and so is port 0."""
    with pytest.raises(WrongUsage):
        urls.normalize(url)


HTTP = "http://b.example:8080"
WRITTEN: dict[str, Callable[[Node], object]] = {
    "propose": lambda node: node.request(node.actor("t"), "system.federation_peer_propose", {"url": HTTP}),
    "accept": lambda node: node.request(
        node.actor("t"), "system.federation_peer_accept", {"url": HTTP, "token": "t" * 43, "public_ca": True}
    ),
    "move": lambda node: node.request(
        node.actor("t"), "system.federation_peer_edit", {"peer": new_peer(node, "https://b.example"), "url": HTTP}
    ),
    "add": lambda node: new_peer(node, HTTP),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_http_carries_no_trust(node: Node, way: str) -> None:
    """By whatever way a peer's URL comes in, an http one is refused with the reason."""
    with pytest.raises(WrongUsage) as refused:
        WRITTEN[way](node)
    assert refused.value.code == "url_not_https"
    assert "https only" in refused.value.cause


def test_a_peer_with_an_http_url_is_kept_flagged_and_not_called(node: Node) -> None:
    """A row from before: found by its URL, a high finding, sent nothing and believed nothing, until it is moved."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        peer_id = new_peer(node, "https://b.example")
        put_in(node, peer_id, "active")
        with node.unit(node.actor("test")) as unit:
            peers.lock(unit, peer_id).remote_instance_url = url
        error = str(heartbeat_sender.send(node, peer_id))
        assert error.startswith("remote_tls_failed: The peer's URL is http://")
        with pytest.raises(BlockingIOError):
            listener.accept()
    with node.read() as session:
        assert peers.find(session, url).id == peer_id
    node.scan_governance(node.actor("test"))
    findings = {finding["kind"]: finding for finding in node.governance_report()["findings"]}
    assert findings["peer_url_insecure"]["severity"] == "high"
    [probed] = [
        seen.outcome for seen in node.diagnose(DiagnosisTarget(peer=peer_id)).seen if seen.check.name == "probe"
    ]
    assert (probed.state, probed.facts["faults"]) == ("bad", ["url_insecure"])
    with node.read() as session, pytest.raises(RemoteFailed) as refused:
        probe.target(session, node, peer_id)
    assert refused.value.code == "remote_tls_failed"
    node.request(node.actor("test"), "system.federation_peer_edit", {"peer": peer_id, "url": "https://127.0.0.1:1"})
    assert str(heartbeat_sender.send(node, peer_id)).startswith("remote_refused")
    node.scan_governance(node.actor("test"))
    assert "peer_url_insecure" not in {finding["kind"] for finding in node.governance_report()["findings"]}


def test_this_nodes_own_url_is_https(make_node: Callable[..., Node]) -> None:
    """A node cannot be set up under an http URL: no peer would take it."""
    with pytest.raises(WrongUsage) as refused:
        make_node("plain", url="http://a.example")
    assert refused.value.code == "url_not_https"


def test_a_nodes_rule_knows_where_it_listens(node: Node) -> None:
    """The ports of both listeners are the rule's; one that is picked at the start is on loopback anyway."""
    settings = replace(node.settings, listen="0.0.0.0:9443", operations_listen="127.0.0.1:9470")
    node.settings = settings
    peer_id = new_peer(node, "https://b.example")
    with node.read() as session:
        forbids = client.rule_for(node, peers.get(session, peer_id))
    assert forbids is not None
    assert forbids.__self__ == DialRule(frozenset({9443, 9470}))  # type: ignore[attr-defined]
