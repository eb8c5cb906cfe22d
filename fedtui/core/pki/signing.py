"""Signing: the node's own CA, and the certificates and CRL it signs.

X.509 profile of RFC 5280: random serials of 159 bits, SKI and AKI, critical key usage and
basic constraints. The CA signs leaves only (path length 0). No CRL distribution point is
written into leaves: the CRL is served over HTTPS under this very CA, and RFC 5280 section
8 advises against that; peers know the node's URL.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import emit
from fedtui.core.errors import Unusable
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.vault import Owner, Vault, VaultUnreadable
from fedtui.core.pki.x509 import INSTANCE_URI, read_certificates, to_pem
from fedtui.core.runtime.unit import Unit

CA_LIFETIME = timedelta(days=3652)
BACKDATE = timedelta(minutes=5)
"""Certificates are valid from a little before now: the other side's clock may be slow."""
CRL_LIFETIME = timedelta(hours=24)
PRIVATE_KEY = "private_key"
COMMON_NAME_BYTES = 64
"""The longest common name (RFC 5280 appendix A.1, ub-common-name), counted in UTF-8."""
_CA_SUFFIX = " federation CA"


@dataclass(frozen=True, slots=True)
class Authority:
    """The node's own CA, opened: certificate and private key. Never logged, never stored."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    fingerprint: str

    def __repr__(self) -> str:
        return f"Authority({self.fingerprint})"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS#8 PEM, for the vault and for OpenSSL's memory only."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def create_authority(unit: Unit, vault: Vault, node_name: str) -> Authority:
    """Make the node's CA: self-signed, ten years, its key sealed to its row."""
    key = new_key()
    name = _named(_cut(node_name, COMMON_NAME_BYTES - len(_CA_SUFFIX)) + _CA_SUFFIX)
    start = _whole_seconds(unit.now - BACKDATE)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    row = certificates.store(unit, certificate, subject_kind="ca", direction="own", issuer=certificate, chain_pem="")
    vault.seal(unit.session, Owner("certificate", row.id), PRIVATE_KEY, key_pem(key), unit.now)
    return Authority(certificate, key, row.fingerprint)


def open_authority(session: Session, vault: Vault) -> Authority:
    """The node's CA with its key. Raises `VaultUnreadable` if the key does not open."""
    row = certificates.own_ca(session)
    [certificate] = read_certificates(row.cert_pem, field="ca")
    return Authority(certificate, _open_key(session, vault, row), row.fingerprint)


def issue_for_peer(
    unit: Unit,
    authority: Authority,
    *,
    peer_id: str,
    instance_id: str,
    key: CertificatePublicKeyTypes,
    lifetime: timedelta,
) -> Certificate:
    """Sign what a peer will present to us: CN `fed:<peer id>`, URI SAN as assigned by us.

    Nothing of the peer's CSR but its public key goes in.
    """
    name = x509.UniformResourceIdentifier(INSTANCE_URI + instance_id)
    return _client_certificate(
        unit, authority, f"fed:{peer_id}", name, key, lifetime, subject_kind="federation_peer", peer_id=peer_id
    )


def issue_for_proxy(
    unit: Unit, authority: Authority, *, name: str, key: CertificatePublicKeyTypes, lifetime: timedelta
) -> Certificate:
    """Sign what a reverse proxy in front of this node presents to it; it stands for no peer."""
    dns = x509.DNSName(name)
    return _client_certificate(unit, authority, f"proxy:{name}", dns, key, lifetime, subject_kind="instance")


def _client_certificate(
    unit: Unit,
    authority: Authority,
    common_name: str,
    name: x509.GeneralName,
    key: CertificatePublicKeyTypes,
    lifetime: timedelta,
    *,
    subject_kind: str,
    peer_id: str | None = None,
) -> Certificate:
    certificate = (
        _leaf(unit, authority, common_name=common_name, key=key, lifetime=lifetime)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    row = certificates.store(
        unit,
        certificate,
        subject_kind=subject_kind,
        direction="inbound",
        issuer=authority.certificate,
        chain_pem=to_pem(authority.certificate),
        peer_id=peer_id,
    )
    emit(unit, "federation.certificate.issued", source="certificates", peer_id=peer_id, serial=row.serial)
    return row


def issue_for_server(unit: Unit, vault: Vault, *, hosts: list[str], lifetime: timedelta) -> Certificate:
    """Sign this node's own server certificate for `hosts` (names and addresses)."""
    authority = open_authority(unit.session, vault)
    key = new_key()
    names = _general_names(hosts)
    builder = _leaf(unit, authority, common_name=str(names[0].value), key=key.public_key(), lifetime=lifetime)
    certificate = (
        builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    row = certificates.store(
        unit,
        certificate,
        subject_kind="server",
        direction="own",
        issuer=authority.certificate,
        chain_pem=to_pem(authority.certificate),
    )
    vault.seal(unit.session, Owner("certificate", row.id), PRIVATE_KEY, key_pem(key), unit.now)
    return row


def private_key_pem(session: Session, vault: Vault, row: Certificate) -> bytes:
    """The sealed key that belongs to one of our own certificates."""
    return key_pem(_open_key(session, vault, row))


def renew_server_if_due(unit: Unit, vault: Vault, *, hosts: list[str], lifetime: timedelta) -> bool:
    """Sign a new server certificate at 75 % of the lifetime, or when it lacks one of the hosts."""
    row = certificates.current_server(unit.session)
    if row is not None and not certificates.due(row, unit.now):
        known, wanted = certificates.hosts_of(row), {str(name.value) for name in _general_names(hosts)}
        if wanted <= known:
            return False
        # Another daemon of this node may be reached by the names of the present one.
        hosts = [*hosts, *sorted(known - wanted)]
    fresh = issue_for_server(unit, vault, hosts=hosts, lifetime=lifetime)
    if row is not None:
        certificates.retire(unit, (Certificate.subject_kind == "server") & (Certificate.id < fresh.id))
    emit(unit, "federation.server_certificate.renewed", source="maintenance", serial=fresh.serial, hosts=hosts)
    return True


def revocation_list(session: Session, vault: Vault, now: datetime) -> bytes:
    """Our CA's CRL (RFC 5280 section 5) in DER, good for a day.

    A revoked certificate is left out a day after its expiry: section 3.3 wants it on one
    list issued beyond that. The number grows with time, so that no counter has to be kept.
    """
    authority = open_authority(session, vault)
    start = _whole_seconds(now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(start)
        .next_update(start + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(int(start.timestamp())), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    query = select(Certificate).where(_listed(authority.fingerprint, now)).order_by(Certificate.revoked_at)
    for row in session.scalars(query):
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(int(row.serial, 16))
            .revocation_date(_whole_seconds(row.revoked_at or now))
        )
        if row.superseded_at is not None:
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.superseded), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def listed_as_revoked(session: Session, now: datetime) -> int:
    """How many certificates our CA's CRL names."""
    listed = _listed(certificates.own_ca(session).fingerprint, now)
    return session.scalar(select(func.count()).select_from(Certificate).where(listed)) or 0


def _listed(issuer: str, now: datetime) -> ColumnElement[bool]:
    in_time = Certificate.not_after > now - CRL_LIFETIME
    return and_(Certificate.issuer_fingerprint == issuer, in_time, Certificate.revoked_at.is_not(None))


def signing_request(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, common_name: str
) -> str:
    """A PEM CSR for `key`. The signer decides names and usages; the name only helps people."""
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = x509.CertificateSigningRequestBuilder().subject_name(_named(common_name)).sign(key, digest)
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def _leaf(
    unit: Unit, authority: Authority, *, common_name: str, key: CertificatePublicKeyTypes, lifetime: timedelta
) -> x509.CertificateBuilder:
    start = _whole_seconds(max(unit.now - BACKDATE, authority.certificate.not_valid_before_utc))
    end = min(_whole_seconds(unit.now) + lifetime, authority.certificate.not_valid_after_utc)
    if end <= unit.now:
        raise Unusable(
            "This node's CA has expired.",
            cause=f"It was valid until {authority.certificate.not_valid_after_utc:%F %H:%M} UTC.",
            fix="Set up a new node and peer again.",
            code="own_ca_expired",
        )
    return (
        x509.CertificateBuilder()
        .subject_name(_named(common_name))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(hosts: list[str]) -> list[x509.GeneralName]:
    return list(dict.fromkeys(_general_name(host) for host in hosts))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))  # a zone is this machine's own matter
    except ValueError:
        return x509.DNSName(host.lower() if host.isascii() else host.encode("idna").decode())


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _open_key(session: Session, vault: Vault, row: Certificate) -> ec.EllipticCurvePrivateKey:
    sealed = vault.open(session, Owner("certificate", row.id), PRIVATE_KEY)
    key = serialization.load_pem_private_key(sealed, password=None) if sealed else None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise VaultUnreadable(
            f"The private key of {row.subject} is missing from the vault.",
            cause=f"Its certificate (serial {row.serial}) is on record without its key.",
            fix="Restore a backup of the database.",
        )
    return key


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _cut(common_name, COMMON_NAME_BYTES))])


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
