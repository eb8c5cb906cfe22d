"""Certificates: the table of all this node knows, and the ones its own CA signs.

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
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Index, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import NotFound, Refused, Unusable
from fedtui.core.record.events import emit
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust.vault import Owner, Vault, VaultUnreadable
from fedtui.core.trust.x509_reading import fingerprint, read_certificates, serial_text, to_pem

CA_LIFETIME = timedelta(days=3652)
BACKDATE = timedelta(minutes=5)
"""Certificates are valid from a little before now: the other side's clock may be slow."""
ROTATE_AT = 0.75
"""Fraction of its lifetime after which a certificate is due for rotation."""
CRL_LIFETIME = timedelta(hours=24)
PRIVATE_KEY = "private_key"
COMMON_NAME_BYTES = 64
"""The longest common name (RFC 5280 appendix A.1, ub-common-name), counted in UTF-8."""
_CA_SUFFIX = " federation CA"


class Certificate(Base):
    """One certificate, ours or theirs.

    `direction`: `inbound` (we signed it; the peer presents it to us), `outbound` (the peer
    signed it; we present it), `own` (our CA and server certificates). `subject_kind`:
    `ca`, `server`, `federation_peer`, `instance`.
    """

    __tablename__ = "certificates"
    __table_args__ = (
        Index("ix_certificates_peer_id_direction", "peer_id", "direction", "not_after"),
        Index("ix_certificates_subject_kind_not_after", "subject_kind", "not_after"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    serial: Mapped[str] = mapped_column(Text_, index=True)
    subject: Mapped[str]
    subject_kind: Mapped[str]
    direction: Mapped[str]
    peer_id: Mapped[str | None] = mapped_column(Text_)
    fingerprint: Mapped[str] = mapped_column(Text_, unique=True)
    issuer_fingerprint: Mapped[str]
    cert_pem: Mapped[str]
    chain_pem: Mapped[str]
    not_before: Mapped[Time]
    not_after: Mapped[Time]
    revoked_at: Mapped[Time | None]
    revocation_reason: Mapped[str | None]
    created_at: Mapped[Time]


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
    row = _store(unit, certificate, subject_kind="ca", direction="own", issuer=certificate, chain_pem="")
    vault.seal(unit.session, Owner("certificate", row.id), PRIVATE_KEY, key_pem(key), unit.now)
    return Authority(certificate, key, row.fingerprint)


def own_ca(session: Session) -> Certificate:
    """The row of this node's CA."""
    query = select(Certificate).where(Certificate.subject_kind == "ca", Certificate.direction == "own")
    row = session.scalars(query.order_by(Certificate.id.desc()).limit(1)).first()
    if row is None:
        raise Unusable("This node has no CA.", cause="Its database is damaged.", fix="Restore a backup.")
    return row


def open_authority(session: Session, vault: Vault) -> Authority:
    """The node's CA with its key. Raises `VaultUnreadable` if the key does not open."""
    row = own_ca(session)
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
    builder = _leaf(unit, authority, common_name=f"fed:{peer_id}", key=key, lifetime=lifetime)
    certificate = (
        builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"powernode://instance/{instance_id}")]),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    row = _store(
        unit,
        certificate,
        subject_kind="federation_peer",
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
    row = _store(
        unit,
        certificate,
        subject_kind="server",
        direction="own",
        issuer=authority.certificate,
        chain_pem=to_pem(authority.certificate),
    )
    vault.seal(unit.session, Owner("certificate", row.id), PRIVATE_KEY, key_pem(key), unit.now)
    return row


def current_server(session: Session) -> Certificate | None:
    """The newest server certificate, or None before the first."""
    query = select(Certificate).where(Certificate.subject_kind == "server", Certificate.revoked_at.is_(None))
    return session.scalars(query.order_by(Certificate.id.desc()).limit(1)).first()


def private_key_pem(session: Session, vault: Vault, row: Certificate) -> bytes:
    """The sealed key that belongs to one of our own certificates."""
    return key_pem(_open_key(session, vault, row))


def renew_server_if_due(unit: Unit, vault: Vault, *, hosts: list[str], lifetime: timedelta) -> bool:
    """Sign a new server certificate at 75 % of the lifetime, or when it lacks one of the hosts."""
    row = current_server(unit.session)
    if row is not None and not due(row, unit.now):
        known, wanted = hosts_of(row), {str(name.value) for name in _general_names(hosts)}
        if wanted <= known:
            return False
        # Another daemon of this node may be reached by the names of the present one.
        hosts = [*hosts, *sorted(known - wanted)]
    fresh = issue_for_server(unit, vault, hosts=hosts, lifetime=lifetime)
    emit(unit, "federation.server_certificate.renewed", source="maintenance", serial=fresh.serial, hosts=hosts)
    return True


def due(row: Certificate, now: datetime) -> bool:
    """Whether 75 % of the certificate's lifetime has passed."""
    return now >= row.not_before + (row.not_after - row.not_before) * ROTATE_AT


def hosts_of(row: Certificate) -> set[str]:
    """The names and addresses a server certificate stands for."""
    [certificate] = read_certificates(row.cert_pem, field="server certificate")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def store_outbound(
    unit: Unit, certificate: x509.Certificate, *, peer_id: str, issuer: x509.Certificate, chain_pem: str
) -> Certificate:
    """Keep a certificate that a peer signed for us. Storing the same one again is no error."""
    known = by_fingerprint(unit.session, fingerprint(certificate))
    if known is not None:
        if known.peer_id != peer_id:
            raise Refused(
                "That certificate is already on record for another peer.",
                cause=f"It belongs to peer {known.peer_id}.",
                fix="Ask the peer to sign this node's current request again.",
                code="certificate_of_other_peer",
            )
        return known
    return _store(
        unit,
        certificate,
        subject_kind="federation_peer",
        direction="outbound",
        issuer=issuer,
        chain_pem=chain_pem,
        peer_id=peer_id,
    )


def by_fingerprint(session: Session, value: str) -> Certificate | None:
    """The certificate with this `sha256:...` fingerprint."""
    return session.scalars(select(Certificate).where(Certificate.fingerprint == value)).one_or_none()


def listing(session: Session, *, limit: int = 100) -> list[Certificate]:
    """Every certificate, what will hurt first on top: not revoked, then by expiry."""
    query = select(Certificate).order_by(Certificate.revoked_at.is_not(None), Certificate.not_after, Certificate.id)
    return list(session.scalars(query.limit(limit)))


def find(session: Session, prefix: str) -> Certificate:
    """By serial or id, or a unique beginning of one. Raises `NotFound`."""
    query = select(Certificate).where(
        Certificate.serial.startswith(prefix.lower(), autoescape=True)
        | Certificate.id.startswith(prefix.lower(), autoescape=True)
    )
    found = list(session.scalars(query.limit(2)))
    if len(found) != 1:
        raise NotFound(
            f"{'More than one' if found else 'No'} certificate has a serial beginning {prefix[:40]!r}.",
            cause="A serial, an id, or a unique beginning of one is needed.",
            fix="See them with: fedtui certs list",
        )
    return found[0]


def revoke_for_peer(unit: Unit, peer_id: str, reason: str) -> int:
    """Revoke every certificate we signed for a peer; how many. Effective on the next request."""
    rows = unit.session.execute(
        update(Certificate)
        .where(
            Certificate.peer_id == peer_id,
            Certificate.direction == "inbound",
            Certificate.revoked_at.is_(None),
        )
        .values(revoked_at=unit.now, revocation_reason=reason)
        .returning(Certificate.serial)
    ).all()
    for row in rows:
        emit(
            unit,
            "federation.certificate.revoked",
            source="certificates",
            peer_id=peer_id,
            serial=row.serial,
            reason=reason,
        )
    return len(rows)


def revocation_list(session: Session, vault: Vault, now: datetime) -> bytes:
    """Our CA's CRL (RFC 5280 section 5) in DER, good for a day.

    A revoked certificate is left out a day after its expiry: section 3.3 wants it on one
    list issued beyond that. The number grows with time, so that no counter has to be kept.
    """
    authority = open_authority(session, vault)
    issued_here = Certificate.issuer_fingerprint == authority.fingerprint
    listed = Certificate.not_after > now - CRL_LIFETIME
    query = select(Certificate).where(issued_here, listed, Certificate.revoked_at.is_not(None))
    start = _whole_seconds(now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(start)
        .next_update(start + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(int(start.timestamp())), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for row in session.scalars(query.order_by(Certificate.revoked_at)):
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(int(row.serial, 16))
            .revocation_date(_whole_seconds(row.revoked_at or now))
            .build()
        )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def revocations(session: Session) -> int:
    """How many certificates are revoked: changes whenever the CRL does."""
    return session.scalar(select(func.count()).select_from(Certificate).where(Certificate.revoked_at.is_not(None))) or 0


def signing_request(key: ec.EllipticCurvePrivateKey, common_name: str) -> str:
    """A PEM CSR for `key`. The signer decides names and usages; the name only helps people."""
    csr = x509.CertificateSigningRequestBuilder().subject_name(_named(common_name)).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def _leaf(
    unit: Unit, authority: Authority, *, common_name: str, key: CertificatePublicKeyTypes, lifetime: timedelta
) -> x509.CertificateBuilder:
    start = _whole_seconds(max(unit.now - BACKDATE, authority.certificate.not_valid_before_utc))
    end = min(_whole_seconds(unit.now) + lifetime, authority.certificate.not_valid_after_utc)
    if end <= unit.now:
        raise Unusable(
            "This node's CA has expired.",
            cause=f"It was valid until {authority.certificate.not_valid_after_utc.isoformat()}.",
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


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _cut(common_name, COMMON_NAME_BYTES))])


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


def _general_names(hosts: list[str]) -> list[x509.GeneralName]:
    return list(dict.fromkeys(_general_name(host) for host in hosts))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))  # a zone is this machine's own matter
    except ValueError:
        return x509.DNSName(host.lower() if host.isascii() else host.encode("idna").decode())


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _store(
    unit: Unit,
    certificate: x509.Certificate,
    *,
    subject_kind: str,
    direction: str,
    issuer: x509.Certificate,
    chain_pem: str,
    peer_id: str | None = None,
) -> Certificate:
    row = Certificate(
        id=new_id(),
        serial=serial_text(certificate),
        subject=certificate.subject.rfc4514_string(),
        subject_kind=subject_kind,
        direction=direction,
        peer_id=peer_id,
        fingerprint=fingerprint(certificate),
        issuer_fingerprint=fingerprint(issuer),
        cert_pem=to_pem(certificate),
        chain_pem=chain_pem,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        revoked_at=None,
        revocation_reason=None,
        created_at=unit.now,
    )
    unit.session.add(row)
    unit.session.flush()
    return row


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
