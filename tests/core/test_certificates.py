"""Certificates and CRLs of this node's own CA: profile, names, renewal, revocation."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedtui.core.audit.events import recent
from fedtui.core.errors import NotFound, Unusable
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.pki import certificates, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.signing import BACKDATE, CA_LIFETIME
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode, ManualClock

ADA = Actor("operator", "ada")
PEER = "0198b3c0-0000-7000-8000-00000000000a"
INSTANCE = "0198b3c0-0000-7000-8000-00000000000b"
DAYS_90 = timedelta(days=90)


def parsed(row: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(row.cert_pem.encode())


def ca(node: Node) -> Certificate:
    with node.read() as session:
        return certificates.own_ca(session)


def server(node: Node) -> Certificate:
    with node.read() as session:
        found = certificates.current_server(session)
    assert found is not None
    return found


def for_peer(node: Node, key: object = None, *, peer_id: str = PEER, lifetime: timedelta = DAYS_90) -> Certificate:
    with node.unit(ADA) as unit:
        return signing.issue_for_peer(
            unit,
            signing.open_authority(unit.session, node.vault),
            peer_id=peer_id,
            instance_id=INSTANCE,
            key=key or signing.new_key().public_key(),  # type: ignore[arg-type]
            lifetime=lifetime,
        )


def for_server(node: Node, hosts: list[str]) -> Certificate:
    with node.unit(ADA) as unit:
        return signing.issue_for_server(unit, node.vault, hosts=hosts, lifetime=DAYS_90)


def crl_of(node: Node) -> bytes:
    with node.read() as session:
        return signing.revocation_list(session, node.vault, node.clock.now())


def listed(node: Node) -> set[int]:
    return {one.serial_number for one in x509.load_der_x509_crl(crl_of(node))}


def revoke(node: Node, peer_id: str = PEER) -> int:
    with node.unit(ADA) as unit:
        return certificates.revoke_for_peer(unit, peer_id, "no longer trusted")


MAKERS: dict[str, Callable[[Node], Certificate]] = {"ca": ca, "server": server, "peer": for_peer}


@pytest.mark.parametrize("kind", MAKERS)
def test_profile(node: Node, clock: ManualClock, kind: str) -> None:
    """Each kind of certificate has exactly the extensions, criticality, names and dates that it is to have."""
    authority, row = parsed(ca(node)), MAKERS[kind](node)
    certificate = parsed(row)
    present = {(type(one.value), one.critical): one.value for one in certificate.extensions}
    is_ca = kind == "ca"
    assert present.pop((x509.BasicConstraints, True)) == x509.BasicConstraints(is_ca, 0 if is_ca else None)
    usage = present.pop((x509.KeyUsage, True))
    allowed = {
        name
        for name in (
            "digital_signature",
            "key_cert_sign",
            "crl_sign",
            "key_agreement",
            "key_encipherment",
            "data_encipherment",
            "content_commitment",
        )
        if getattr(usage, name)
    }
    assert allowed == ({"key_cert_sign", "crl_sign"} if is_ca else {"digital_signature"})
    own_id = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert present.pop((x509.SubjectKeyIdentifier, False)) == own_id
    issuer_id = present.pop((x509.AuthorityKeyIdentifier, False)).key_identifier
    assert issuer_id == authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    if not is_ca:
        purpose = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "peer": ExtendedKeyUsageOID.CLIENT_AUTH}[kind]
        assert present.pop((x509.ExtendedKeyUsage, False)) == x509.ExtendedKeyUsage([purpose])
        name: x509.GeneralName = x509.DNSName("alpha.example")
        if kind == "peer":
            name = x509.UniformResourceIdentifier(f"powernode://instance/{INSTANCE}")
        assert next(iter(present.pop((x509.SubjectAlternativeName, False)))) == name
    assert present == {}
    [common] = certificate.subject
    expected = {"ca": "alpha federation CA", "server": "alpha.example", "peer": f"fed:{PEER}"}[kind]
    assert (common.oid, common.value) == (NameOID.COMMON_NAME, expected)
    assert certificate.issuer == authority.subject
    assert certificate.not_valid_before_utc == clock.now() - BACKDATE
    assert certificate.not_valid_after_utc == (clock.now() - BACKDATE + CA_LIFETIME if is_ca else clock.now() + DAYS_90)
    assert (row.not_before, row.not_after) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert row.serial == f"{certificate.serial_number:x}"
    certificate.verify_directly_issued_by(authority)


def test_serials_are_long_random_and_unique(node: Node) -> None:
    """Serials carry at least 64 random bits: all differ, all positive, within 20 octets, no bit is constant."""
    serials = [parsed(for_server(node, ["alpha.example"])).serial_number for _ in range(40)]
    assert len(set(serials)) == 40
    assert all(2**64 < serial < 2**159 for serial in serials)
    steady = [bit for bit in range(150) if len({serial >> bit & 1 for serial in serials}) == 1]
    assert steady == []


def test_leaves_never_outlive_the_ca(node: Node, clock: ManualClock) -> None:
    """A leaf asked for beyond the CA's end ends with it; after that end nothing is signed, and it says why."""
    end = ca(node).not_after
    clock.at = end - timedelta(days=10)
    assert for_peer(node).not_after == end
    assert for_peer(node, lifetime=timedelta(days=36_525)).not_after == end
    assert for_peer(node, lifetime=timedelta(days=1)).not_after == end - timedelta(days=9)
    clock.at = end
    with pytest.raises(Unusable) as raised:
        for_peer(node)
    assert raised.value.code == "own_ca_expired"


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (["127.0.0.1", "::1"], {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}),
        (["0:0:0:0:0:0:0:1", "::1", "fe80::1%eth0"], {ipaddress.ip_address("::1"), ipaddress.ip_address("fe80::1")}),
        (["bücher.example", "Alpha.Example"], {"xn--bcher-kva.example", "alpha.example"}),
        (["a" * 60 + ".example.com"], {"a" * 60 + ".example.com"}),
    ],
    ids=["addresses", "spellings", "idn", "long"],
)
def test_names_and_addresses(node: Node, hosts: list[str], names: set[object]) -> None:
    """Addresses become IP names, hosts DNS names in their ASCII form, each once; and asking again renews nothing."""
    row = for_server(node, hosts)
    found = parsed(row).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {one.value for one in found} == names
    assert len(list(found)) == len(names)
    with node.unit(ADA) as unit:
        assert signing.renew_server_if_due(unit, node.vault, hosts=hosts, lifetime=DAYS_90) is False


def test_server_renewal(make_node: MakeNode, clock: ManualClock) -> None:
    """The server certificate is renewed at 75 % of its lifetime, not before, and at once for a name it lacks."""
    node = make_node()
    first = server(node)
    clock.at = first.not_before + (first.not_after - first.not_before) * 0.75 - timedelta(seconds=1)
    assert job_tasks.maintenance(node)["server_certificate_renewed"] is False
    clock.advance(seconds=1)
    assert job_tasks.maintenance(node)["server_certificate_renewed"] is True
    second = server(node)
    assert second.not_after == clock.now() + DAYS_90
    assert parsed(second).public_key() != parsed(first).public_key()
    assert job_tasks.maintenance(node)["server_certificate_renewed"] is False
    with node.unit(ADA) as unit:
        for renewed in (True, False):
            asked = signing.renew_server_if_due(unit, node.vault, hosts=["moved.example"], lifetime=DAYS_90)
            assert asked is renewed
    # The name before is kept: another daemon of this node may be reached by it.
    assert certificates.hosts_of(server(node)) > {"moved.example"}
    assert job_tasks.maintenance(node)["server_certificate_renewed"] is False
    with node.read() as session:
        assert len(recent(session, kind="federation.server_certificate.renewed")) == 3  # the first at init


def test_revocation_shows_in_the_crl(node: Node, clock: ManualClock) -> None:
    """The CRL lists exactly what was revoked for that peer, once, until a day after its expiry."""
    kept, gone = for_peer(node, peer_id="someone-else"), for_peer(node)
    assert listed(node) == set()
    clock.advance(hours=1)
    assert revoke(node) == 1
    assert revoke(node) == 0
    assert listed(node) == {parsed(gone).serial_number}
    revocations = x509.load_der_x509_crl(crl_of(node))
    assert revocations.next_update_utc == clock.now() + timedelta(days=1)
    assert next(iter(revocations)).revocation_date_utc == clock.now()
    number = revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    clock.at = gone.not_after + timedelta(hours=1)
    assert listed(node) == {parsed(gone).serial_number}
    later = x509.load_der_x509_crl(crl_of(node)).extensions.get_extension_for_class(x509.CRLNumber).value
    assert later.crl_number > number
    clock.advance(days=1)
    assert listed(node) == set()
    with node.read() as session:
        assert certificates.find(session, kept.serial[:12]).revoked_at is None
        assert [event.payload["serial"] for event in recent(session, kind="federation.certificate.revoked")] == [
            gone.serial
        ]


def test_find_by_serial_or_id(node: Node) -> None:
    """A certificate is found by a unique beginning of serial or id; none and several are told apart."""
    row = for_peer(node)
    with node.read() as session:
        assert certificates.find(session, row.serial[:10].upper()).id == row.id
        assert certificates.find(session, row.id).id == row.id
        for prefix, said in (("", "More than one"), ("zz", "No certificate"), ("%", "No certificate")):
            with pytest.raises(NotFound, match=said):
                certificates.find(session, prefix)
