"""Credentials and anchors: outbound pairs that belong together, and CAs known by fingerprint."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import delete, update

from fedtui.core.errors import Refused
from fedtui.core.node import Node
from fedtui.core.pki import anchors, certificates, key_pairs, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.signing import new_key, signing_request
from fedtui.core.pki.vault import SealedValue
from fedtui.core.pki.x509 import read_csr
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode
from tests.core.test_certificates import parsed

ADA = Actor("operator", "ada")
B = "0198b3c0-0000-7000-8000-0000000000bb"
"""The peer's id at alpha."""


@pytest.fixture
def beta(make_node: MakeNode) -> Node:
    """The other platform, whose CA signs for alpha."""
    return make_node("beta")


def authority_of(node: Node) -> x509.Certificate:
    with node.read() as session:
        return parsed(certificates.own_ca(session))


def sign(signer: Node, csr_pem: str) -> Certificate:
    """`signer`'s CA certifies the key of a request."""
    with signer.unit(ADA) as unit:
        return signing.issue_for_peer(
            unit,
            signing.open_authority(unit.session, signer.vault),
            peer_id="0198b3c0-0000-7000-8000-0000000000aa",
            instance_id="0198b3c0-0000-7000-8000-0000000000ab",
            key=read_csr(csr_pem).public_key(),
            lifetime=timedelta(days=90),
        )


def prepared(node: Node, peer_id: str = B) -> Credential:
    with node.unit(ADA) as unit:
        return key_pairs.prepare(unit, node.vault, peer_id, common_name=node.name)


def trust(node: Node, ca: x509.Certificate, peer_id: str = B) -> None:
    with node.unit(ADA) as unit:
        anchors.add(unit, peer_id, ca, source="invite")


def complete(node: Node, row: Certificate, peer_id: str = B) -> Certificate:
    with node.unit(ADA) as unit:
        return key_pairs.complete(unit, peer_id, row.cert_pem, row.chain_pem)


def state(node: Node, peer_id: str = B) -> str:
    """The pair's state: the same with the vault open as without."""
    with node.read() as session:
        found, outside = key_pairs.pair(session, node.vault, peer_id), key_pairs.pair_state(session, peer_id)
    assert found.state == outside
    return found.state


@pytest.fixture
def paired(node: Node, beta: Node) -> Node:
    """alpha with a complete pair for B, certified by beta."""
    trust(node, authority_of(beta))
    complete(node, sign(beta, prepared(node).csr_pem))
    return node


def test_a_pair_grows_from_key_to_complete(node: Node, beta: Node) -> None:
    """No pair, then a key waiting for its certificate, then both; asking to prepare again changes nothing."""
    assert state(node) == "none"
    first = prepared(node)
    assert state(node) == "cert_missing"
    assert prepared(node).id == first.id
    trust(node, authority_of(beta))
    signed = sign(beta, first.csr_pem)
    row = complete(node, signed)
    assert complete(node, signed).id == row.id, "storing the same certificate twice is no error"
    assert state(node) == "complete"
    with node.read() as session:
        pair = key_pairs.pair(session, node.vault, B)
    assert pair.private_key_pem is not None
    key = serialization.load_pem_private_key(pair.private_key_pem, password=None)
    assert key.public_key() == parsed(row).public_key()
    assert (row.direction, row.peer_id) == ("outbound", B)


def test_the_pair_in_use_survives_a_new_request(paired: Node, beta: Node) -> None:
    """While a new key waits for its certificate the old pair stays in use; then the new one takes its place."""
    with paired.read() as session:
        before = key_pairs.pair(session, paired.vault, B)
    fresh = prepared(paired)
    assert state(paired) == "complete"
    complete(paired, sign(beta, fresh.csr_pem))
    with paired.read() as session:
        after = key_pairs.pair(session, paired.vault, B)
    assert after.state == "complete"
    assert after.private_key_pem != before.private_key_pem
    assert after.certificate != before.certificate


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (delete(SealedValue).where(SealedValue.owner_kind == "credential"), "key_missing"),
        (update(Credential).values(certificate_id=None), "cert_missing"),
        (delete(Credential), "none"),
    ],
    ids=["key", "certificate", "both"],
)
def test_a_lost_half_is_named(paired: Node, damage: object, found: str) -> None:
    """A pair that lost its key, its certificate or both is found as such, with and without opening the vault."""
    with paired.unit(ADA) as unit:
        unit.session.execute(damage)  # type: ignore[call-overload]
    assert state(paired) == found


def test_a_lost_certificate_row_is_named(paired: Node) -> None:
    """A credential whose certificate row is gone lacks its certificate; the view without the vault says so too."""
    with paired.unit(ADA) as unit:
        unit.session.execute(delete(Certificate).where(Certificate.direction == "outbound"))
    assert state(paired) == "cert_missing"


def test_a_swapped_certificate_is_a_mismatch(paired: Node, beta: Node) -> None:
    """A certificate that is not for the stored key makes the pair a mismatch, not a failing call."""
    other = sign(beta, signing_request(new_key(), "other"))
    with paired.unit(ADA) as unit:
        wrong = certificates.store_outbound(
            unit, parsed(other), peer_id=B, issuer=authority_of(beta), chain_pem=other.chain_pem
        )
        unit.session.execute(update(Credential).values(certificate_id=wrong.id))
    assert state(paired) == "mismatch"


def test_a_pending_key_that_was_lost_is_made_anew(node: Node) -> None:
    """If the waiting key vanished from the vault, preparing makes another instead of asking with a dead one."""
    first = prepared(node)
    with node.unit(ADA) as unit:
        unit.session.execute(delete(SealedValue).where(SealedValue.owner_id == first.id))
    second = prepared(node)
    assert second.key_fingerprint != first.key_fingerprint
    assert state(node) == "cert_missing"


def test_a_certificate_for_another_key_is_refused(node: Node, beta: Node) -> None:
    """A certificate from the right CA but for another key is refused, and the pair stays as it was."""
    prepared(node)
    trust(node, authority_of(beta))
    with pytest.raises(Refused) as raised:
        complete(node, sign(beta, signing_request(new_key(), "alpha")))
    assert raised.value.code == "key_cert_mismatch"
    assert state(node) == "cert_missing"


def test_another_peers_key_is_refused(node: Node, beta: Node) -> None:
    """A certificate for the key prepared for one peer is not taken for another, though the CA is trusted for both."""
    other = "0198b3c0-0000-7000-8000-0000000000cc"
    mine, _ = prepared(node), prepared(node, other)
    for peer_id in (B, other):
        trust(node, authority_of(beta), peer_id)
    signed = sign(beta, mine.csr_pem)
    with pytest.raises(Refused) as raised:
        complete(node, signed, other)
    assert raised.value.code == "key_cert_mismatch"
    complete(node, signed)
    assert (state(node), state(node, other)) == ("complete", "cert_missing")


def test_cas_of_the_same_name_are_told_apart(node: Node, make_node: MakeNode) -> None:
    """A CA that bears the trusted CA's name is not the trusted CA: its certificates are refused."""
    trusted, impostor = make_node("beta"), make_node("impostor")
    with impostor.unit(ADA) as unit:
        rogue = signing.create_authority(unit, impostor.vault, "beta")
    assert rogue.certificate.subject == authority_of(trusted).subject
    trust(node, authority_of(trusted))
    request = prepared(node).csr_pem
    with pytest.raises(Refused) as raised:
        complete(node, sign(impostor, request))
    assert raised.value.code == "trust_chain_mismatch"
    trust(node, rogue.certificate)
    trust(node, rogue.certificate)
    with node.read() as session:
        known = anchors.of_peer(session, B)
    assert len({anchor.fingerprint for anchor in known}) == len(known) == 2
    assert complete(node, sign(impostor, request)).issuer_fingerprint == rogue.fingerprint
