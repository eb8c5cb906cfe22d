"""A peer whose TLS ends at an edge with a CA of its own: its server is known by one CA, its signatures by another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import update

from fedtui.core.diagnosis import engine
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.node import Node
from fedtui.core.operations.gate import Done
from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, crl, key_pairs, signing, tls
from fedtui.core.pki.crl import PeerCrl
from fedtui.core.pki.x509 import fingerprint, read_certificates, to_pem
from fedtui.core.protocol import heartbeat_sender, renewal
from tests.api.conftest import ADA, Federated, Serve, Served, act

NOW = datetime.now(UTC)


@dataclass
class Signer:
    """A CA of the edge."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def signed(name: str, by: Signer | None = None, *, ca: bool = True) -> Signer:
    """A certificate for 127.0.0.1 or, with `ca`, of a CA; by itself, unless told by whom."""
    key = signing.new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by.certificate.subject if by else subject
    start = NOW - timedelta(days=1)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=30)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if not ca:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return Signer(builder.sign(by.key if by else key, hashes.SHA256()), key)


def put_edge_before(served: Served, signer: Signer, *shown: x509.Certificate) -> None:
    """From now on `served` presents a certificate of the edge's CA, with `shown` above it."""
    leaf = signed("edge", signer, ca=False)
    chain = "".join(map(to_pem, (leaf.certificate, *shown)))
    served.listener.context = tls.server_context(chain, signing.key_pem(leaf.key), served.ca_pem)


def ca_of(served: Served) -> x509.Certificate:
    [ca] = read_certificates(served.ca_pem, field="ca")
    return ca


@pytest.mark.parametrize("namesake", [False, True], ids=["another name", "the name of the peer's CA"])
def test_trusting_the_edge_leaves_the_pair_and_its_renewal_whole(federated: Federated, namesake: bool) -> None:
    """One act by fingerprint, and calls, the probe and renewal work: the peer's CRL says nothing about the edge, and
    what is presented goes on being signed by the peer's own CA."""
    a, b = federated.a, federated.b
    edge = signed(ca_of(a).subject.rfc4514_string().removeprefix("CN=") if namesake else "edge CA")
    with b.node.read() as session:
        assert crl.to_check_by(session, federated.at_b, b.node.clock.now()) is not None, "there is a CRL to mislead"
    put_edge_before(a, edge, edge.certificate)
    assert (heartbeat_sender.send(b.node, federated.at_b) or "").startswith("remote_tls_failed")
    pin = fingerprint(edge.certificate)
    done = act(b.node, "federation_certificate_anchor", {"peer": federated.at_b, "ca_fingerprint": pin})
    assert done["unfinished"] is None
    found = b.node.probe(federated.at_b, lambda _step: None)
    assert (found.faults, found.anchor, found.accepts_ours) == ((), pin, True)
    renewed = renewal.renew(b.node, federated.at_b, ADA)
    with b.node.read() as session:
        assert [one.fingerprint for one in anchors.of_peer(session, federated.at_b)] == [pin]
        assert key_pairs.pair_state(session, federated.at_b) == "complete"
        row = certificates.by_fingerprint(session, str(renewed["fingerprint"]))
        assert row is not None
        assert row.issuer_fingerprint == fingerprint(ca_of(a))


def test_a_trusted_edge_is_no_disagreement_about_cas(federated: Federated) -> None:
    """Each side puts both views beside each other, and neither finds that the CAs differ."""
    a, b, edge = federated.a, federated.b, signed("edge CA")
    put_edge_before(a, edge, edge.certificate)
    act(
        b.node,
        "federation_certificate_anchor",
        {"peer": federated.at_b, "ca_fingerprint": fingerprint(edge.certificate)},
    )
    assert heartbeat_sender.send(b.node, federated.at_b) is None
    assert_cas_agree(a.node, federated.at_a)
    assert_cas_agree(b.node, federated.at_b)


def assert_cas_agree(node: Node, peer_id: str) -> None:
    """The peer is asked for its view, which is put beside this node's, and the CAs are no matter."""
    found = engine.diagnose(node, node.acts, DiagnosisTarget(peer=peer_id))
    [compared] = [seen.outcome for seen in found.seen if seen.check.name == "their_view"]
    assert compared.facts["view"]["status"] == "active"
    assert not {"own_ca", "its_ca"} & set(compared.facts["disagreements"]), compared.said
    assert "ca_disagrees" not in [one.cause.code for one in found.findings]


def test_the_crl_of_the_peers_ca_is_taken_also_behind_an_edge(federated: Federated) -> None:
    """It is kept and shown, and said not to cover the server."""
    b, edge = federated.b.node, signed("edge CA")
    put_edge_before(federated.a, edge, edge.certificate)
    asked = {"peer": federated.at_b, "ca_fingerprint": fingerprint(edge.certificate)}
    act(b, "federation_certificate_anchor", asked)
    with b.unit(ADA) as unit:
        unit.session.execute(update(PeerCrl).values(tried_at=b.clock.now() - timedelta(hours=2)))
    assert heartbeat_sender.send(b, federated.at_b) is None
    with b.read() as session:
        kept = crl.of_peer(session, federated.at_b)
        assert kept is not None
        assert (kept.covers, kept.error) == (False, None)


def test_the_peers_own_ca_no_longer_vouches_for_its_server(federated: Federated) -> None:
    """Known by the edge's CA and by no other: back under its own, it is refused until that is trusted again."""
    b, edge, before = federated.b.node, signed("edge CA"), federated.a.listener.context
    put_edge_before(federated.a, edge, edge.certificate)
    act(b, "federation_certificate_anchor", {"peer": federated.at_b, "ca_fingerprint": fingerprint(edge.certificate)})
    federated.a.listener.context = before
    assert (heartbeat_sender.send(b, federated.at_b) or "").startswith("remote_tls_failed")
    asked = {"peer": federated.at_b, "ca_fingerprint": fingerprint(ca_of(federated.a))}
    assert act(b, "federation_certificate_anchor", asked)["unfinished"] is None


@pytest.mark.parametrize("root_shown", [True, False])
def test_accepting_an_invitation_through_an_edge(serve: Serve, root_shown: bool) -> None:
    """With the fingerprint of the edge's CA, an intermediate one without its root too, the whole handshake goes
    through, and both sides are active."""
    a, b = serve("alpha"), serve("beta")
    root = signed("edge root")
    pinned = root if root_shown else signed("edge intermediate", root)
    put_edge_before(a, pinned, pinned.certificate)
    for one in (a, b):
        one.node.request(ADA, "system.operator_add", {"name": "ben"})
    at_a = str(act(a.node, "federation_peer_propose", {"url": b.node.url})["peer_id"])
    made = a.node.request(ADA, "system.federation_peer_token", {"peer": at_a})
    assert isinstance(made, Done)
    asked = {
        "url": a.node.url,
        "token": made.result["acceptance_token"],
        "ca_fingerprint": fingerprint(pinned.certificate),
    }
    at_b = str(act(b.node, "federation_peer_accept", asked)["peer_id"])
    assert heartbeat_sender.send(a.node, at_a) is None
    assert heartbeat_sender.send(b.node, at_b) is None
    for node, peer_id in ((a.node, at_a), (b.node, at_b)):
        with node.read() as session:
            assert peers.get(session, peer_id).status == "active"
            assert key_pairs.pair_state(session, peer_id) == "complete"
        assert_cas_agree(node, peer_id)
