"""Resources over the federation API: who gets in, by every kind of caller, and what is kept of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedtui.core.grants import decisions, usage
from fedtui.core.grants.decisions import Decision
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.operations.gate import Done
from fedtui.core.peers import peers
from fedtui.core.pki import signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.x509 import fingerprint
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import database, document_text
from fedtui.core.runtime.actor import Actor
from tests.api.conftest import Serve, Served, joined
from tests.conftest import ManualClock

ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
ELSEWHERE = "0195d3a2-7c1e-7000-8000-00000000000e"
DOCUMENT = {"zone": "b.example", "records": [1, 2]}
PATH = f"{PREFIX}/resources/doc/one"
Pair = tuple[str, bytes]


def act(node: Node, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an act came to, approved by ben where that is needed."""
    outcome = node.request(ADA, action, params, reason="test")
    if isinstance(outcome, Done):
        return outcome.result
    node.approve(BEN, outcome.approval.id, outcome.approval.digest, reason="test")
    assert gate.execute(node, node.acts, outcome.approval.id) == "executed"
    with node.read() as session:
        return dict(session.merge(outcome.approval, load=True).result or {})


@dataclass
class Place:
    """A served node that serves docs, with a peer that may call."""

    served: Served
    peer_id: str
    pair: Pair

    @property
    def node(self) -> Node:
        return self.served.node

    def grant(self, peer_id: str = "", **terms: Any) -> str:
        given = {"subject": "s@b", "kind": "doc", "scopes": ["read", "write", "admin"], **terms}
        return str(act(self.node, "system.federation_grant_issue", {"peer": peer_id or self.peer_id, **given})["id"])

    def call(
        self, method: str, grant_id: str | None, *, pair: Pair | str | None = "own", path: str = PATH, **options: Any
    ) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if grant_id is not None:
            headers.setdefault("Authorization", f"Bearer fg-{grant_id}")
        presented = self.pair if pair == "own" else pair
        with self.served.client(presented) as client:  # type: ignore[arg-type]
            return client.request(method, path, headers=headers, **options)

    def decision(self, answer: httpx.Response) -> Decision:
        """What was recorded of a refusal."""
        with self.node.read() as session:
            return decisions.find(session, answer.json()["decision_id"])

    def set_status(self, status: str) -> None:
        with self.node.unit(ADA) as unit:
            peer = peers.get(unit.session, self.peer_id)
            peer.status, peer.last_heartbeat_at = status, unit.now


def opened(served: Served) -> Place:
    node = served.node
    act(node, "system.operator_add", {"name": "ben"})
    act(node, "system.inventory_change", {"kind": "doc", "served": True})
    act(node, "system.federation_resource_put", {"kind": "doc", "id": "one", "document": DOCUMENT})
    peer_id, pair = joined(served)
    place = Place(served, peer_id, pair)
    place.set_status("active")
    return place


@pytest.fixture
def place(served: Served) -> Place:
    return opened(served)


def test_a_grant_reads_writes_and_deletes(place: Place) -> None:
    """GET, PUT and DELETE answer in the contract's shape, the document as it is, its version as entity tag."""
    grant_id = place.grant()
    got = place.call("GET", grant_id)
    assert got.status_code == 200
    data = got.json()["data"]
    assert (data["kind"], data["id"], data["exists"], data["grant_id"]) == ("doc", "one", True, grant_id)
    assert data["document"] == DOCUMENT
    put = place.call("PUT", grant_id, json={"new": True}, headers={"If-Match": got.headers["ETag"]})
    assert put.status_code == 200
    assert place.call("GET", grant_id).json()["data"]["document"] == {"new": True}
    late = place.call("PUT", grant_id, json={"late": True}, headers={"If-Match": got.headers["ETag"]})
    assert (late.status_code, late.json()["code"]) == (412, "version_mismatch")
    assert put.headers["ETag"] in late.json()["error"]
    assert place.call("DELETE", grant_id, headers={"If-Match": got.headers["ETag"]}).status_code == 412
    assert place.call("DELETE", grant_id).json()["data"]["exists"] is False
    assert place.call("GET", grant_id).json()["data"] | {"fetched_at": ""} == {
        "kind": "doc",
        "id": "one",
        "exists": False,
        "grant_id": grant_id,
        "fetched_at": "",
        "document": None,
    }
    assert place.call("PUT", grant_id, json={"x": 1}, headers={"If-Match": "*"}).status_code == 412


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[1e999]", b'"\\u0000"', b"[" * 5000 + b"]" * 5000, b"\xff", b"9" * 6000]
)
def test_what_no_database_keeps_is_refused(place: Place, body: bytes) -> None:
    """A body that is no document gets 422 in the contract's shape, whatever is wrong with it."""
    answer = place.call("PUT", place.grant(), content=body)
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "body"


def test_names_that_cannot_be(place: Place) -> None:
    """An id that no resource can have, and a kind that is none, are refused as such on every database, and recorded.
    What is no UTF-8 in a path is taken as it is spelled there."""
    grant_id = place.grant()
    for method in ("GET", "PUT", "DELETE"):
        for name in ("%00", "a%00b", "%2F", "a%20b", "%0A", "x" * 4000, "%FF", "%ED%A0%80"):
            as_id = place.call(method, grant_id, path=f"{PREFIX}/resources/doc/{name}", content=b"{}")
            as_kind = place.call(method, grant_id, path=f"{PREFIX}/resources/{name}/one", content=b"{}")
            if name in ("%FF", "%ED%A0%80"):
                assert as_id.json()["data"]["id"] == name
            else:
                assert (as_id.status_code, as_id.json()["code"]) == (422, "resource_id_invalid"), (method, name)
            assert (as_kind.status_code, as_kind.json()["code"]) == (403, "kind_mismatch"), (method, name)
            assert place.decision(as_kind).code == "kind_mismatch"


def test_who_may_not_write_is_not_told_about_the_body(place: Place) -> None:
    """A refusal comes before anything is said of the document."""
    answer = place.call("PUT", place.grant(scopes=["read"]), content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_insufficient")


# --- the matrix --------------------------------------------------------------------------


def revoked(place: Place) -> str:
    grant_id = place.grant()
    act(place.node, "system.federation_grant_revoke", {"grant": grant_id, "reason": "test"})
    return grant_id


def with_grant(place: Place, **columns: Any) -> str:
    grant_id = place.grant()
    with place.node.unit(ADA) as unit:
        grant = unit.session.get_one(Grant, grant_id)
        for name, value in columns.items():
            setattr(grant, name, value)
    return grant_id


def with_certificate(place: Place, **columns: Any) -> str:
    with place.node.unit(ADA) as unit:
        row = unit.session.query(Certificate).filter_by(peer_id=place.peer_id, direction="inbound").one()
        for name, value in columns.items():
            setattr(row, name, value)
    return place.grant()


def with_status(place: Place, status: str) -> str:
    grant_id = place.grant()
    place.set_status(status)
    return grant_id


def foreign(place: Place) -> str:
    other, _ = joined(place.served, "https://c.example")
    return place.grant(other)


def proxy_pair(place: Place) -> tuple[Pair, str]:
    """A proxy's certificate with its key, and its fingerprint."""
    key = signing.new_key()
    made = act(
        place.node,
        "system.federation_certificate_mint",
        {"proxy": "edge", "csr_pem": signing.signing_request(key, "edge")},
    )
    return (str(made["cert_pem"]), signing.key_pem(key)), str(made["fingerprint"])


def strange_pair(place: Place) -> Pair:
    """A certificate that our CA has signed, and that is on no record."""
    key = signing.new_key()
    with place.node.unit(ADA) as unit:
        authority = signing.open_authority(unit.session, place.node.vault)
        row = signing.issue_for_peer(
            unit,
            authority,
            peer_id=place.peer_id,
            instance_id=ELSEWHERE,
            key=key.public_key(),
            lifetime=timedelta(days=1),
        )
        pem = row.cert_pem
        unit.session.delete(row)
    return pem, signing.key_pem(key)


NETWORKS = {"networks": [ELSEWHERE]}
Make = Callable[[Place], Any]
MATRIX: list[tuple[str, int, str, Make]] = [
    # what, status, internal code, how: the grant's id, or a mapping of the call's options
    ("no certificate", 401, "cert_not_presented", lambda p: {"grant_id": p.grant(), "pair": None}),
    ("a certificate on no record", 401, "cert_unknown", lambda p: {"grant_id": p.grant(), "pair": strange_pair(p)}),
    ("a proxy's certificate", 401, "cert_wrong_kind", lambda p: {"grant_id": p.grant(), "pair": proxy_pair(p)[0]}),
    ("a revoked certificate", 401, "cert_revoked", lambda p: with_certificate(p, revoked_at=p.node.clock.now())),
    ("one expired by our clock", 401, "cert_expired", lambda p: with_certificate(p, not_after=p.node.clock.now())),
    ("a suspended peer", 401, "peer_not_reachable", lambda p: with_status(p, "suspended")),
    ("a revoked peer", 401, "peer_not_reachable", lambda p: with_status(p, "revoked")),
    ("a peer only accepted", 401, "peer_not_reachable", lambda p: with_status(p, "accepted")),
    ("no bearer", 401, "grant_token_malformed", lambda p: {"grant_id": None}),
    (
        "a bearer without fg-",
        401,
        "grant_token_malformed",
        lambda p: {"grant_id": None, "headers": {"Authorization": f"Bearer {p.grant()}"}},
    ),
    (
        "another scheme",
        401,
        "grant_token_malformed",
        lambda p: {"grant_id": None, "headers": {"Authorization": f"Basic fg-{p.grant()}"}},
    ),
    (
        "two bearers",
        401,
        "grant_token_malformed",
        lambda p: {"grant_id": None, "headers": [("Authorization", f"Bearer fg-{p.grant()}")] * 2},
    ),
    ("an unknown grant", 401, "grant_token_unknown", lambda p: ELSEWHERE),
    ("another peer's grant", 401, "grant_of_other_peer", foreign),
    ("an expired grant", 403, "grant_expired", lambda p: with_grant(p, expires_at=p.node.clock.now())),
    ("a revoked grant", 403, "grant_revoked", revoked),
    ("an archived grant", 403, "grant_revoked", lambda p: with_grant(p, archived_at=p.node.clock.now())),
    ("another kind", 403, "kind_mismatch", lambda p: p.grant(kind="zone")),
    ("another resource", 403, "resource_mismatch", lambda p: p.grant(id="two")),
    ("another scope", 403, "scope_insufficient", lambda p: p.grant(scopes=["migrate"])),
    ("another instance", 403, "instance_not_allowed", lambda p: p.grant(instances=[ELSEWHERE])),
    (
        "another instance, claimed",
        403,
        "instance_not_allowed",
        lambda p: {"grant_id": p.grant(instances=[ELSEWHERE]), "headers": {"X-Calling-Instance": ELSEWHERE}},
    ),
    ("another network", 403, "network_not_allowed", lambda p: p.grant(**NETWORKS)),
    (
        "another network, claimed",
        403,
        "network_not_allowed",
        lambda p: {"grant_id": p.grant(**NETWORKS), "headers": {"X-Sdwan-Network": ELSEWHERE}},
    ),
    ("another address", 403, "source_ip_not_allowed", lambda p: p.grant(cidrs=["192.0.2.0/24"])),
    (
        "another address, claimed",
        403,
        "source_ip_not_allowed",
        lambda p: {"grant_id": p.grant(cidrs=["192.0.2.0/24"]), "headers": {"X-Forwarded-For": "192.0.2.7"}},
    ),
]


@pytest.mark.parametrize(("what", "status", "code", "make"), MATRIX, ids=[row[0] for row in MATRIX])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_every_kind_of_caller(place: Place, what: str, status: int, code: str, make: Make, method: str) -> None:
    """Each is turned away with its status, told no more than it may know, and recorded with the real reason."""
    made = make(place)
    options = made if isinstance(made, dict) else {"grant_id": made}
    headers = options.pop("headers", {})
    grant_id = options.pop("grant_id")
    if isinstance(headers, list):
        with place.served.client(place.pair) as client:
            answer = client.request(method, PATH, headers=headers, content=b"{}")
    else:
        answer = place.call(method, grant_id, headers=headers, content=b"{}", **options)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == ("unauthorized" if status == 401 else code)
    assert answer.json()["error"].startswith("grant scope mismatch: ") == (status == 403)
    recorded = place.decision(answer)
    assert (recorded.code, recorded.status, recorded.allowed) == (code, status, False)
    assert recorded.answered == answer.json()["error"]
    assert recorded.context["method"] == method


def test_unknown_and_foreign_grants_answer_alike(place: Place) -> None:
    """Everything but the decision's id and the date is the same, byte by byte."""
    first, second = place.call("GET", ELSEWHERE), place.call("GET", foreign(place))
    assert first.status_code == second.status_code
    assert first.json() | {"decision_id": ""} == second.json() | {"decision_id": ""}
    assert {**first.headers, "date": ""} == {**second.headers, "date": ""}
    with place.served.client(place.pair) as client:
        told = client.get(f"{PREFIX}/diagnosis").json()["data"]["refused"]
    assert [one["code"] for one in told] == ["grant_token_unknown"] * 2, "nor does a diagnosis tell them apart"


def strange_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> str:
    """A certificate that no CA of ours has signed."""
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "fed:stranger")])
    stranger = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return stranger.public_bytes(serialization.Encoding.PEM).decode()


def test_what_tls_refuses_is_recorded(place: Place) -> None:
    """A certificate of a foreign CA sees a disconnect; our record has the reason, once for the same again."""
    key = signing.new_key()
    pem = strange_certificate(key, place.node.clock.now())
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            place.call("GET", place.grant(), pair=(pem, signing.key_pem(key)))
    with place.node.read() as session:
        [kept] = [row for row in decisions.listing(session) if row.call == decisions.HANDSHAKE]
    assert kept.code in ("trust_chain_mismatch", "cert_chain_invalid")
    assert kept.context["caller"]["source_ip"] == "127.0.0.1"


def test_uses_are_counted_and_repetitions_folded(serve: Serve) -> None:
    """What was allowed is counted by way of use, the same refusal is one decision with a count; both survive a stop."""
    place = opened(serve())
    grant_id, other = place.grant(), place.grant(scopes=["migrate"])
    for _ in range(3):
        assert place.call("GET", grant_id).status_code == 200
    ids = {place.call("GET", other).json()["decision_id"] for _ in range(3)}
    assert len(ids) == 1
    place.served.stop()
    with place.node.read() as session:
        [way] = usage.ways(session, grant_id, place.node.clock.now())
        assert (way.method, way.source_ip, way.times) == ("GET", "127.0.0.1", 3)
        assert decisions.find(session, ids.pop()).times == 3
        assert sum(row.allowed for row in decisions.listing(session, grant_id=grant_id)) == 1


def test_the_same_refusal_at_the_same_time_is_one(place: Place) -> None:
    """Calls that come together and are refused alike carry one decision's id, and stand in one row."""
    other = place.grant(scopes=["migrate"])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: place.call("GET", other), range(16)))
    assert {one.status_code for one in answers} == {403}
    assert len({one.json()["decision_id"] for one in answers}) == 1
    with place.node.read() as session:
        assert len(decisions.listing(session, grant_id=other)) == 1


# --- proxies -----------------------------------------------------------------------------


def client_cert(pem: str) -> str:
    """RFC 9440: the DER as a byte sequence of structured fields."""
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    return f":{base64.b64encode(der).decode()}:"


FORMS: Mapping[str, Callable[[str], str]] = {"Client-Cert": client_cert, "X-SSL-Client-Cert": lambda pem: quote(pem)}


@pytest.mark.parametrize("header", FORMS)
def test_a_trusted_proxy_speaks_for_the_caller(place: Place, header: str) -> None:
    """Certificate, instance, network and address that it forwards count as the caller's own."""
    pair, trusted = proxy_pair(place)
    act(place.node, "system.settings_change", {"key": "trusted_proxies", "value": trusted})
    bridge = act(place.node, "system.federation_bridge_propose", {"peer": place.peer_id, "network": ELSEWHERE})
    act(place.node, "system.federation_bridge_activate", {"bridge": bridge["id"]})
    grant_id = place.grant(cidrs=["192.0.2.0/24"], instances=[ELSEWHERE], networks=[ELSEWHERE])
    forwarded = {
        header: FORMS[header](place.pair[0]),
        "X-Forwarded-For": "203.0.113.9, 192.0.2.7",
        "X-Calling-Instance": ELSEWHERE,
        "X-Sdwan-Network": ELSEWHERE,
    }
    assert place.call("GET", grant_id, pair=pair, headers=forwarded).status_code == 200
    heartbeat = place.served.post("heartbeat", {}, pair=pair, headers=forwarded)
    assert heartbeat.status_code == 200
    with place.served.client(pair) as client:
        presented = client.get(f"{PREFIX}/diagnosis", headers=forwarded).json()["data"]["presented"]
    assert presented == fingerprint(x509.load_pem_x509_certificate(place.pair[0].encode())), (
        "the peer's own, not the proxy's"
    )
    spoofed = place.call("GET", grant_id, pair=pair, headers={**forwarded, "X-Forwarded-For": "192.0.2.7, 203.0.113.9"})
    assert place.decision(spoofed).code == "source_ip_not_allowed", "only the last hop is the proxy's own word"


@pytest.mark.parametrize("header", FORMS)
def test_nobody_else_is_believed(place: Place, header: str) -> None:
    """The same headers from a proxy that is not configured, from a peer, or from nobody count for nothing."""
    pair, _ = proxy_pair(place)
    headers = {header: FORMS[header](place.pair[0])}
    grant_id = place.grant()
    unconfigured = place.call("GET", grant_id, pair=pair, headers=headers)
    assert place.decision(unconfigured).code == "cert_wrong_kind"
    nobody = place.call("GET", grant_id, pair=None, headers=headers)
    assert place.decision(nobody).code == "cert_not_presented"
    assert place.decision(nobody).context["caller"]["ignored"] == [header.lower()]
    assert place.call("GET", grant_id, headers={header: "rubbish"}).status_code == 200, "its own certificate counts"


def of_version_8() -> str:
    """A certificate in order, but of an X.509 version that there is not."""
    pem = strange_certificate(signing.new_key(), datetime.now(UTC))
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    version_3 = bytes.fromhex("a003020102")
    return f":{base64.b64encode(der.replace(version_3, version_3[:-1] + bytes([7]), 1)).decode()}:"


OF_VERSION_8 = of_version_8()


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "presented no client certificate"),
        ({"Client-Cert": ":AAAA:"}, "no certificate"),
        ({"Client-Cert": "AAAA"}, "no certificate"),
        ({"X-SSL-Client-Cert": "%2D"}, "no certificate"),
        ({"Client-Cert": OF_VERSION_8}, "no certificate"),
        ({"Client-Cert": ":AAAA:", "X-SSL-Client-Cert": "x"}, "more than one"),
    ],
)
def test_a_proxy_that_forwards_rubbish_forwards_nobody(place: Place, headers: dict[str, str], why: str) -> None:
    """Behind a trusted proxy a caller is who was forwarded, readably, and once; else nobody."""
    pair, trusted = proxy_pair(place)
    act(place.node, "system.settings_change", {"key": "trusted_proxies", "value": trusted})
    recorded = place.decision(place.call("GET", place.grant(), pair=pair, headers=headers))
    assert recorded.code == "cert_not_presented"
    assert why in recorded.checks[0]["detail"]


def test_a_proxy_whose_certificate_ended_is_believed_no_more(place: Place, clock: ManualClock) -> None:
    """Trust in a proxy ends with its certificate, on connections already open, too."""
    pair, trusted = proxy_pair(place)
    act(place.node, "system.settings_change", {"key": "trusted_proxies", "value": trusted})
    grant_id, headers = place.grant(), {"Client-Cert": client_cert(place.pair[0])}
    with place.served.client(pair) as client:
        headers |= {"Authorization": f"Bearer fg-{grant_id}"}
        assert client.get(PATH, headers=headers).status_code == 200
        with place.node.unit(ADA) as unit:
            unit.session.query(Certificate).filter_by(fingerprint=trusted).one().revoked_at = unit.now
        assert client.get(PATH, headers=headers).status_code == 401


def test_a_listener_can_stand_in_a_network(serve: Serve) -> None:
    """Where the listener is configured with a network, whoever reaches it comes in by that one."""
    place = opened(serve(sdwan_network=ELSEWHERE))
    bridge = act(place.node, "system.federation_bridge_propose", {"peer": place.peer_id, "network": ELSEWHERE})
    grant_id = place.grant(networks=[ELSEWHERE])
    assert place.decision(place.call("GET", grant_id)).code == "network_bridge_inactive"
    act(place.node, "system.federation_bridge_activate", {"bridge": bridge["id"]})
    assert place.call("GET", grant_id).status_code == 200


# --- limits ------------------------------------------------------------------------------


def limited(serve: Serve, **limits: int) -> Place:
    return opened(serve("alpha", accepts_burst=1000, **limits))


def at(place: Place, name: str) -> dict[str, Any]:
    return {"path": f"{PREFIX}/resources/doc/{name}"}


@pytest.mark.parametrize("whose", ["peer", "grant"])
def test_calls_have_a_rate(serve: Serve, whose: str) -> None:
    """A peer, and a grant, that call too often get 429 with `Retry-After`; another peer or grant does not."""
    place = limited(serve, **{f"resource_requests_per_{whose}": 3})
    grant, other = place.grant(), place.grant()
    answers = [place.call("GET", grant) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (answers[-1].json()["code"], int(answers[-1].headers["Retry-After"]) > 0) == ("rate_limited", True)
    for method in ("PUT", "DELETE"):
        assert place.call(method, grant, json=1).status_code == 429
    assert place.call("GET", other).status_code == (429 if whose == "peer" else 200)


def test_bytes_in_and_out_have_a_budget(serve: Serve) -> None:
    """What a peer writes and reads is counted together, and beyond it is 429."""
    place = limited(serve, bytes_per_minute=200_000)
    grant = place.grant()
    assert place.call("PUT", grant, json="x" * 90_000).status_code == 200
    assert [place.call("GET", grant).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("whose", ["peer", "grant"])
def test_documents_have_a_quota(serve: Serve, whose: str) -> None:
    """Beyond the number of documents a new one is 507 `quota_exceeded`; one that is there can be replaced, and after a
    deletion there is room again."""
    place = limited(serve, **{f"resource_documents_per_{whose}": 2})
    grant = place.grant()
    codes = [place.call("PUT", grant, json=1, **at(place, f"d{number}")).status_code for number in range(3)]
    assert codes == [200, 200, 507]
    refused = place.call("PUT", grant, json=1, **at(place, "d3"))
    assert (refused.json()["code"], refused.json()["success"]) == ("quota_exceeded", False)
    assert place.call("PUT", grant, json=2, **at(place, "d0")).status_code == 200
    assert place.call("DELETE", grant, **at(place, "d0")).status_code == 200
    assert place.call("PUT", grant, json=1, **at(place, "d3")).status_code == 200
    again = place.grant()
    assert place.call("PUT", again, json=1, **at(place, "d4")).status_code == (507 if whose == "peer" else 200)


@pytest.mark.parametrize("whose", ["peer", "grant"])
def test_bytes_have_a_quota(serve: Serve, whose: str) -> None:
    """Beyond the bytes in all a document is 507; one that gets smaller is taken always."""
    place = limited(serve, **{f"resource_bytes_per_{whose}": 10_000})
    grant = place.grant()
    assert place.call("PUT", grant, json="x" * 6_000, **at(place, "a")).status_code == 200
    assert place.call("PUT", grant, json="x" * 6_000, **at(place, "b")).json()["code"] == "quota_exceeded"
    assert place.call("PUT", grant, json="x" * 9_000, **at(place, "a")).status_code == 200
    assert place.call("PUT", grant, json="x" * 10_001, **at(place, "a")).status_code == 507
    object.__setattr__(place.node.settings, f"resource_bytes_per_{whose}", 1024)
    assert place.call("PUT", grant, json="x" * 8_000, **at(place, "a")).status_code == 200


def test_a_document_goes_on_the_account_of_its_last_writer(serve: Serve) -> None:
    """An operator's writing frees a peer's quota, and a peer that overwrites an operator's document pays for it."""
    place = limited(serve, resource_documents_per_grant=1)
    grant = place.grant()
    assert place.call("PUT", grant, json=1).status_code == 200  # doc/one was an operator's
    assert place.call("PUT", grant, json=1, **at(place, "two")).status_code == 507
    act(place.node, "system.federation_resource_put", {"kind": "doc", "id": "one", "document": DOCUMENT})
    assert place.call("PUT", grant, json=1, **at(place, "two")).status_code == 200
    record = place.node.grant_record(grant)
    assert record is not None
    assert record.shape["stored"] == {
        "documents": 1,
        "documents_limit": 1,
        "bytes": 1,
        "bytes_limit": 500_000_000,
        "near": True,
    }


def test_no_document_is_parsed_under_the_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PUT, a GET and a DELETE of a document that is there neither read nor write JSON while a transaction is open."""
    grant, open_then = place.grant(), []
    for name in ("loads", "dumps"):
        original = getattr(document_text.json, name)

        def noted(*arguments: Any, original: Any = original, **options: Any) -> Any:
            if database._open.count and "records" in str(arguments[0]):
                open_then.append(arguments)
            return original(*arguments, **options)

        monkeypatch.setattr(document_text.json, name, noted)
    for method in ("PUT", "GET", "PUT", "DELETE"):
        assert place.call(method, grant, json=DOCUMENT).status_code == 200
    assert open_then == []


AS_SENT = [
    '{"b":[1e15,1E+2,-0.0],"a":1.10,"c":"\\u00e9/\\/"}',
    "1.10",
    "[" + ",".join(["1e15"] * 200_000) + "]",
    "0.1000000000000000055511151231257827021181583404541015625",
    '"é"',
]


@pytest.mark.parametrize("sent", AS_SENT, ids=["members", "bare", "large", "digits", "text"])
def test_a_document_is_answered_as_it_was_sent(place: Place, sent: str) -> None:
    """Numbers, escapes and the order of members are kept; blanks between them go; what is counted is that text."""
    grant = place.grant()
    spaced = sent.replace(",", " ,\n") if len(sent) < 1000 else sent
    assert place.call("PUT", grant, content=spaced.encode()).status_code == 200
    answer = place.call("GET", grant)
    assert answer.text.endswith(f', "document": {sent}}}}}')
    record = place.node.grant_record(grant)
    assert record is not None
    assert record.shape["stored"]["bytes"] == len(sent.encode())


@pytest.mark.parametrize(
    "sent", ['{"a": ' + "1" * 400 + ".0}", "1" * 400, "[1e400]", "Infinity", '{"a": NaN}', '{"a": 1, "a": 2}']
)
def test_what_readers_do_not_agree_on_is_refused(place: Place, sent: str) -> None:
    """A number that is none as a double, and two members of one name: 422, and the document stays as it was."""
    grant = place.grant()
    answer = place.call("PUT", grant, content=sent.encode())
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    got = place.call("GET", grant)
    assert json.loads(got.text, parse_constant=pytest.fail)["data"]["document"] == DOCUMENT
