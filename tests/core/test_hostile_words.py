"""Whatever a remote may say, in calls to us or in answers to ours: taken, or refused by name; never failed on."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select

from fedtui.api import bodies
from fedtui.core.errors import Problem, RemoteFailed, WrongUsage
from fedtui.core.grants import callers, chain
from fedtui.core.grants.callers import CLIENT_CERT, ESCAPED_CERT, FORWARDED, Caller
from fedtui.core.node import Node
from fedtui.core.operations.operation import Call
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import anchors, certificates, crl, key_pairs, signing
from fedtui.core.pki.crl import Fetched
from fedtui.core.protocol import accept_client, client, heartbeat_sender, heartbeats, renewal
from fedtui.core.protocol.client import Connection, HttpResponse
from fedtui.core.runtime import document_text, urls
from fedtui.core.runtime.document_text import LEVELS
from fedtui.core.runtime.unit import Unit
from fedtui.core.runtime.untrusted import is_storable
from tests.conftest import MakeNode
from tests.core.test_peers import new_peer, put_in
from tests.core.test_x509_reading import SIGNED

ANY_TEXT = st.text() | st.sampled_from(["\x00", "\ud800", "1.²", "9" * 5000, "\x1b[2J", "a" * 3000])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=12
)
DER = SIGNED.public_bytes(serialization.Encoding.DER)


def damaged(der: bytes) -> st.SearchStrategy[bytes]:
    """A document with some bytes changed, left out or put in, or cut off."""
    place = st.integers(0, len(der) - 1)
    changed = st.builds(lambda at, by: der[:at] + bytes([der[at] ^ by]) + der[at + 1 :], place, st.integers(1, 255))
    lost = st.builds(lambda at, many: der[:at] + der[at + many :], place, st.integers(1, 8))
    added = st.builds(lambda at, more: der[:at] + more + der[at:], place, st.binary(min_size=1, max_size=8))
    return changed | lost | added | place.map(lambda at: der[:at])


# --- calls to us -------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(FORWARDED), st.lists(ANY_TEXT, min_size=1, max_size=3)), st.booleans())
def test_forwarded_headers_are_believed_or_not(headers: dict[str, list[str]], proxied: bool) -> None:
    """Any headers give a caller: an address that is one, a certificate that can be read, or none."""
    found = callers.resolve_forwarded_caller(Caller(source_ip="192.0.2.1"), headers, proxied=proxied)
    assert found.fingerprint is None
    assert found.source_ip is None or ipaddress.ip_address(found.source_ip)
    assert proxied or (found.source_ip == "192.0.2.1" and set(found.ignored) == set(headers))


@given(damaged(DER))
def test_a_damaged_certificate_is_somebody_else_or_nobody(der: bytes) -> None:
    """In both forms in which a proxy forwards it: another fingerprint than the true one's, or nobody."""
    forms = {
        CLIENT_CERT: f":{base64.b64encode(der).decode()}:",
        ESCAPED_CERT: quote(ssl_pem(der)),
    }
    for name, text in forms.items():
        found = callers.resolve_forwarded_caller(Caller(), {name: [text]}, proxied=True)
        assert (found.fingerprint is None) == bool(found.unreadable)
        assert found.fingerprint != callers.described(SIGNED).fingerprint


def ssl_pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


BODIES = (bodies.AcceptBody, bodies.HeartbeatBody, bodies.EnrollBody, bodies.RenewBody)
FIELDS = sorted({name for body in BODIES for name in body.model_fields})


@given(
    st.binary()
    | ANY_JSON.map(json.dumps).map(str.encode)
    | st.dictionaries(st.sampled_from(FIELDS), ANY_JSON).map(json.dumps).map(str.encode)
)
def test_any_body_is_read_or_refused_by_field(content: bytes) -> None:
    """What is read can be stored; what is not is said by field, without a value (it may be a token)."""
    for body in BODIES:
        try:
            is_storable(json.loads(bodies.parse(body, content).model_dump_json()))
        except bodies.InvalidBody as refused:
            assert all(one["field"] and one["message"] for one in refused.fields)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS + 1, 100_000])
def test_depth_is_bounded(levels: int) -> None:
    """A document that nests without end is refused before anything recurses into it."""
    content = b"[" * levels + b"]" * levels
    if levels > LEVELS:
        with pytest.raises(ValueError, match="levels"):
            document_text.normalize(content)
    else:
        assert document_text.normalize(content).text


@given(ANY_TEXT | st.text("0123456789abcdef-{}").map("fg-{}".format))
def test_any_bearer_names_a_grant_or_none(presented: str) -> None:
    """What is no UUID after `fg-` names none."""
    found = chain.grant_id(presented)
    assert found is None or len(found) == 36


@given(ANY_TEXT, ANY_TEXT)
@example("1.2", "1.²")
@example("1.2", "١.٢")
def test_any_version_is_compared(ours: str, theirs: str) -> None:
    """Two versions are compatible, drift apart, or nobody knows."""
    assert heartbeats.schema_compatibility(ours, theirs) in ("compatible", "drift", "unknown")


HOSTS = st.sampled_from(["b.example", "[::1]", "127.0.0.1", "xn--", "ä.example", "[v1.x]", "[::1", "a..b"])
URLS = ANY_TEXT | st.builds(
    lambda scheme, host, port, rest: f"{scheme}://{host}{port}{rest}",
    st.sampled_from(["https", "http", "HTTPS", "file", ""]),
    HOSTS | ANY_TEXT,
    st.sampled_from(["", ":", ":443", ":99999", ":-1", ":²"]),
    ANY_TEXT,
)


@given(URLS)
def test_any_url_is_normal_or_refused(url: str) -> None:
    """What is taken is taken again as it stands, and can be dialled."""
    try:
        found = urls.normalize(url)
    except WrongUsage:
        return
    assert urls.normalize(found) == found
    assert urls.host_port(found)[0]


@given(st.lists(st.fixed_dictionaries({}, optional={"url": URLS | ANY_JSON, "priority": ANY_JSON}) | st.just({})))
def test_declared_endpoints_lead_nowhere_else(endpoints: list[dict[str, Any]]) -> None:
    """Whatever a peer declares, only its own host is dialled, over https."""
    peer = Peer(remote_instance_url="https://b.example", endpoints=endpoints, confirmed_endpoints=[])
    for url in client.endpoint_urls(peer):
        assert (urlsplit(url).scheme, urlsplit(url).hostname) == ("https", "b.example")


# --- answers to ours ---------------------------------------------------------------------


ANSWERS = st.binary() | ANY_JSON.map(lambda data: json.dumps({"data": data}).encode())


@given(
    st.integers(100, 599),
    ANSWERS | ANY_JSON.map(lambda said: json.dumps({"error": said}).encode()),
    st.none() | ANY_TEXT,
)
@example(200, b'{"data": {"x": NaN}}', None)
@example(200, b'{"data": {"x": "\\u0000"}}', None)
@example(200, b'{"data": ' + b"[" * 5000, None)
@example(503, b'{"error": "\\ud800\\u001b[2J"}', "\x1b")
def test_any_answer_is_storable_or_a_problem(status: int, content: bytes, retry_after: str | None) -> None:
    """What is used can be stored, and what is told of a refusal can be printed and is short."""
    try:
        is_storable(client._answer(HttpResponse(status, content, retry_after, None)))
    except RemoteFailed as failed:
        for text in (failed.problem, failed.cause, failed.fix):
            assert text.isprintable()
            assert len(text) < 1000


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, str]:
    """A node, and a peer whose signed certificate it holds."""
    node, other = make_node(), make_node("beta")
    peer_id = new_peer(node)
    put_in(node, peer_id, "active")
    with node.unit(node.actor("test")) as unit, other.unit(other.actor("test")) as theirs:
        csr = key_pairs.prepare(unit, node.vault, peer_id, common_name="alpha").csr_pem
        row = signing.issue_for_peer(
            theirs,
            signing.open_authority(theirs.session, other.vault),
            peer_id=new_peer_in(theirs),
            instance_id="0195d3a2-7c1e-7000-8000-00000000000e",
            key=x509.load_pem_x509_csr(csr.encode()).public_key(),
            lifetime=timedelta(days=90),
        )
        anchors.add(unit, peer_id, ca_of(theirs), source="invite")
        key_pairs.complete(unit, peer_id, row.cert_pem, row.chain_pem)
    return node, peer_id


def ca_of(unit: Unit) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificates.own_ca(unit.session).cert_pem.encode())


def new_peer_in(unit: Unit) -> str:
    return peers.add(unit, url="https://alpha.example").id


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HttpResponse]]:
    """What the remote answers to each of our calls in turn, the last one again and again."""
    given_: list[HttpResponse] = []

    def fetch(_connection: Connection, *_: Any) -> HttpResponse:
        return given_.pop(0) if len(given_) > 1 else given_[0]

    monkeypatch.setattr(client, "_fetch", fetch)
    yield given_


KEYS = st.sampled_from(
    [
        "status",
        "csr_pem",
        "certificate",
        "cert_pem",
        "ca_chain_pem",
        "ca_bundle_pem",
        "peer_id",
        "contract_version_agreed",
        "last_heartbeat_at",
        "our_endpoints",
        "warnings",
    ]
)
PEMS = st.sampled_from([ssl_pem(DER), signing.signing_request(signing.new_key(), "x")])
NEAR = st.dictionaries(KEYS, ANY_JSON | PEMS | st.dictionaries(KEYS, ANY_JSON | PEMS) | st.sampled_from([1, True, 1.0]))
NEAR_ANSWERS = NEAR.map(lambda data: HttpResponse(200, json.dumps({"data": data}).encode(), None, None))
FAR_ANSWERS = st.builds(HttpResponse, st.integers(100, 599), ANSWERS, st.none() | ANY_TEXT, st.none())


def test_any_answer_to_our_calls_leaves_the_node_whole(pair: tuple[Node, str], answers: list[HttpResponse]) -> None:
    """Heartbeat with its CRL, renewal, and accept: they succeed or fail by a named problem, and the record can be
    read afterwards."""
    node, peer_id = pair
    call = Call(node.actor("test"), {"token_digest": "d", "url": "https://b.example"}, {}, "c")

    @given(NEAR_ANSWERS | FAR_ANSWERS)
    def answered(answer: HttpResponse) -> None:
        answers[:] = [answer]
        node.clock.advance(hours=2)  # type: ignore[attr-defined] # a CRL is due again
        heartbeat_sender.send(node, peer_id)
        with pytest.raises(Problem):
            renewal.renew(node, peer_id, node.actor("test"))
        with suppress(Problem):
            said = client.call(Connection((), (), None), "/x", {}, timeout=timedelta(seconds=1))
            accept_client._keep_answer(node, call, peer_id, said)
        with node.read() as session:
            assert session.scalars(select(Peer)).all()

    answered()


def test_a_damaged_crl_revokes_nothing(pair: tuple[Node, str]) -> None:
    """A CRL of the peer's own CA with any byte changed is not taken, says why, and leaves the one that was there."""
    node, peer_id = pair
    with node.unit(node.actor("test")) as unit:
        anchors.add(unit, peer_id, ca_of(unit), source="invite")
        good = signing.revocation_list(unit.session, node.vault, unit.now)
        assert crl.keep(unit, peer_id, Fetched(good, None)) is None

    @given(damaged(good))
    def refused(der: bytes) -> None:
        with node.unit(node.actor("test")) as unit:
            assert crl.keep(unit, peer_id, Fetched(der, None))
            kept = crl.of_peer(unit.session, peer_id)
            assert kept is not None
            assert kept.der == good

    refused()
