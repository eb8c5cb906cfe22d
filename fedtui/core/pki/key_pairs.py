"""What this node presents to a peer: a certificate and its key, always as a pair.

A credential begins as a sealed key with a signing request (`pending`) and becomes
`current` when the peer's certificate for it arrives. One half without the other is the
"partial mTLS config" of the runbook, and is found here, not when a call fails.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from sqlalchemy import ColumnElement, Index, Row, ScalarSelect, Select, and_, bindparam, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.pki import anchors, certificates
from fedtui.core.pki import vault as vaults
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.signing import PRIVATE_KEY, key_pem, new_key, signing_request
from fedtui.core.pki.vault import Owner, SealedValue, Vault, VaultUnreadable
from fedtui.core.pki.x509 import chains_to, key_fingerprint, presentable, read_certificates, read_csr, to_pem
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lru_cache import LruCache
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
SOURCE = "certificates"
PARTIAL = "[PeerClient] partial mTLS config — cert_pem=%s, key_pem=%s; %s"
"""The line that operators search for (domain, section 4)."""
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Credential(Base):
    """One key and, once signed, its certificate. `state`: `pending`, `current`, `retired`.

    While a renewal does not come about, its pending credential counts the attempts, and says when
    the next is due, why the last one failed, and how loudly (a severity) that was told.
    """

    __tablename__ = "credentials"
    __table_args__ = (
        Index("ix_credentials_peer_id_state", "peer_id", "state"),
        Index(
            "ix_credentials_unsigned",
            "created_at",
            "id",
            sqlite_where=text("certificate_id IS NULL"),
            postgresql_where=text("certificate_id IS NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    state: Mapped[str]
    csr_pem: Mapped[str]
    key_fingerprint: Mapped[str]
    certificate_id: Mapped[str | None]
    attempts: Mapped[int]
    next_attempt_at: Mapped[Time | None]
    last_error: Mapped[str | None]
    alarm: Mapped[str | None]
    created_at: Mapped[Time]


@dataclass(frozen=True, slots=True)
class ClientKeyPair:
    """The outbound pair as found. `state`: `complete`, `key_missing`, `cert_missing`, `mismatch`, `none`."""

    state: str
    certificate: Certificate | None = None
    private_key_pem: bytes | None = None

    def __repr__(self) -> str:
        return f"Pair({self.state})"


def prepare(unit: Unit, vault: Vault, peer_id: str, *, common_name: str) -> Credential:
    """The peer's pending credential, made if there is none: key sealed before anything is sent.

    One whose key is gone or does not open is of no use and is replaced.
    """
    waiting = pending(unit.session, peer_id)
    if waiting is not None:
        if _opens(unit.session, vault, waiting):
            return waiting
        waiting.state = "retired"
    key = new_key()
    row = _add(unit, vault, peer_id, signing_request(key, common_name), key.public_key(), key_pem(key))
    emit(unit, "federation.certificate.requested", source=SOURCE, peer_id=peer_id, key=row.key_fingerprint)
    return row


def pending(session: Session, peer_id: str) -> Credential | None:
    """The credential that waits for the peer to sign its request."""
    return _newest(session, peer_id, "pending")


def waiting_for(peer_id: ColumnElement[str]) -> ScalarSelect[str]:
    """The request of `pending`, as part of a query for the peer."""
    query = select(Credential.csr_pem).where(Credential.peer_id == peer_id, Credential.state == "pending")
    return query.order_by(Credential.id.desc()).limit(1).scalar_subquery()


def current(session: Session, peer_id: str) -> Credential | None:
    """The credential in use."""
    return _newest(session, peer_id, "current")


def complete(unit: Unit, peer_id: str, cert_pem: str, chain_pem: str) -> Certificate:
    """Store the certificate that the peer signed for a request of ours; the pair becomes current.

    Raises `Refused` when it is for another key, when that key is gone, or when it does not chain
    to the peer's CA. Storing the same certificate twice is no error.
    """
    leaf, between, anchor = _usable_certificate(unit, peer_id, cert_pem, chain_pem)
    credential = _with_key(unit.session, peer_id, key_fingerprint(leaf.public_key()))
    if credential is None:
        raise _refused("is not for the key of this node's signing request", "key_cert_mismatch")
    if PRIVATE_KEY not in vaults.names(unit.session, Owner("credential", credential.id)):
        log.warning(PARTIAL, "true", "false", "refusing to store half a pair")
        raise _refused("is for a key that is no longer in this node's vault", "key_missing")
    return _make_current(unit, credential, leaf, between, anchor)


def supply(unit: Unit, vault: Vault, peer_id: str, cert_pem: str, chain_pem: str, private_pem: bytes) -> Certificate:
    """Store a certificate and its key that were made elsewhere. Raises as `complete`, and for another's key."""
    leaf, between, anchor = _usable_certificate(unit, peer_id, cert_pem, chain_pem)
    key = read_private_key(private_pem)
    if key_fingerprint(key.public_key()) != key_fingerprint(leaf.public_key()):
        raise _refused("and the key do not belong together", "key_cert_mismatch")
    known = _with_key(unit.session, peer_id, key_fingerprint(key.public_key()))
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if known is not None:
        vault.seal(unit.session, Owner("credential", known.id), PRIVATE_KEY, plain, unit.now)
        return _make_current(unit, known, leaf, between, anchor)
    request = signing_request(key, leaf.subject.rfc4514_string())
    credential = _add(unit, vault, peer_id, request, key.public_key(), plain)
    return _make_current(unit, credential, leaf, between, anchor)


def _usable_certificate(
    unit: Unit, peer_id: str, cert_pem: str, chain_pem: str
) -> tuple[x509.Certificate, list[x509.Certificate], x509.Certificate]:
    """Leaf, what stands between, and the anchor; `Refused` where no call could use it."""
    leaf, *rest = read_certificates(cert_pem, field="certificate")
    between = rest + (read_certificates(chain_pem, field="ca_chain_pem") if chain_pem.strip() else [])
    anchor = chains_to(leaf, between, anchors.issuers_of(unit.session, peer_id))
    if unit.now < leaf.not_valid_before_utc:
        raise _not_yet_valid(leaf, unit.now)
    if unit.now >= leaf.not_valid_after_utc:
        raise _refused(f"ran out on {leaf.not_valid_after_utc:%F %H:%M} UTC", "cert_expired")
    if not presentable(leaf, unit.now):
        raise _refused("is no client certificate", "cert_wrong_kind")
    if anchor is None:
        raise _refused("does not chain to the CA this node knows the peer by", "trust_chain_mismatch")
    return leaf, between, anchor


def _make_current(
    unit: Unit,
    credential: Credential,
    leaf: x509.Certificate,
    between: list[x509.Certificate],
    anchor: x509.Certificate,
) -> Certificate:
    peer_id = credential.peer_id
    # Written out again from what was read: nothing else of the remote's text may reach OpenSSL.
    chain = "".join(to_pem(one) for one in between if one != leaf)
    row = certificates.store_outbound(unit, leaf, peer_id=peer_id, issuer=anchor, chain_pem=chain)
    unit.session.execute(
        update(Credential)
        .where(Credential.peer_id == peer_id, Credential.state == "current", Credential.id != credential.id)
        .values(state="retired")
    )
    unit.session.execute(
        update(Credential)
        .where(Credential.id == credential.id)
        .values(state="current", certificate_id=row.id, attempts=0, next_attempt_at=None, last_error=None, alarm=None)
    )
    ours = and_(Certificate.peer_id == peer_id, Certificate.direction == "outbound")
    certificates.retire(unit, ours & (Certificate.id != row.id))
    row.superseded_at, row.problem = None, None
    unit.session.flush()
    return row


def pair_state(session: Session, peer_id: str) -> str:
    """Which halves are there and belong together, without opening the vault."""
    found = _usable_halves(session, peer_id)
    if found is None:
        return "none"
    credential, certificate, sealed = found
    has_key = sealed is not None
    if certificate is None:
        return "cert_missing" if has_key else "none"
    if not has_key:
        return "key_missing"
    return "complete" if certificates.key_of(certificate) == credential.key_fingerprint else "mismatch"


def pair(session: Session, vault: Vault, peer_id: str) -> ClientKeyPair:
    """The pair to present to a peer. Raises `VaultUnreadable` if its key does not open."""
    found = _usable_halves(session, peer_id)
    return ClientKeyPair("none") if found is None else _pair_of(vault, found)


_Halves = Row[Credential, Certificate | None, SealedValue | None]
"""A credential with what its pair is made of."""
_WITH_HALVES = cast(
    "Select[Credential, Certificate | None, SealedValue | None]",
    select(Credential, Certificate, SealedValue)
    .outerjoin(Certificate, Certificate.id == Credential.certificate_id)
    .outerjoin(
        SealedValue,
        and_(
            SealedValue.owner_kind == "credential",
            SealedValue.owner_id == Credential.id,
            SealedValue.name == PRIVATE_KEY,
        ),
    ),
)
_USABLE = (
    _WITH_HALVES.where(Credential.peer_id == bindparam("peer_id"), Credential.state.in_(("current", "pending")))
    .order_by(Credential.state, Credential.id.desc())  # what is in use before what waits
    .limit(1)
)


def _usable_halves(session: Session, peer_id: str) -> _Halves | None:
    return session.execute(_USABLE, {"peer_id": peer_id}).first()


_same_key: LruCache[bool] = LruCache(4096)
"""Whether certificate and key belong together, by the digest of both: asked with every call."""


def _pair_of(vault: Vault, found: _Halves) -> ClientKeyPair:
    _, certificate, sealed = found
    key = vault.unseal(sealed) if sealed is not None else None
    if key is None or certificate is None:
        missing = "none" if key is None and certificate is None else "key_missing" if key is None else "cert_missing"
        return ClientKeyPair(missing, certificate, key)
    digest = hashlib.sha256(certificate.cert_pem.encode() + b"\0" + key).digest()
    same = _same_key.get(digest, lambda: _belong_together(certificate, key))
    return ClientKeyPair("complete" if same else "mismatch", certificate, key)


def _belong_together(certificate: Certificate, key: bytes) -> bool:
    loaded = serialization.load_pem_private_key(key, password=None)
    return key_fingerprint(loaded.public_key()) == certificates.key_of(certificate)  # type: ignore[arg-type]


def request_key_fingerprint(csr_pem: str) -> tuple[x509.CertificateSigningRequest, str]:
    """A parsed signing request and its key's fingerprint. Raises `WrongUsage`."""
    csr = read_csr(csr_pem)
    return csr, key_fingerprint(csr.public_key())


def broken(session: Session, vault: Vault, peer_id: str) -> str | None:
    """What is wrong with the pair (`key_missing`, `cert_missing`, `mismatch`, `vault_unreadable`), or None."""
    found = _usable_halves(session, peer_id)
    return None if found is None else _wrong_with(vault, found)


def broken_among(session: Session, vault: Vault, peers: Select[Any], *, limit: int) -> list[str]:
    """Those of these peers to whom this node presents what is not whole; at most `limit` pairs are opened."""
    query = _WITH_HALVES.where(Credential.state == "current", Credential.peer_id.in_(peers)).limit(limit)
    return [row[0].peer_id for row in session.execute(query).all() if _wrong_with(vault, row) is not None]


def _wrong_with(vault: Vault, found: _Halves) -> str | None:
    try:
        return wrong_with(_pair_of(vault, found))
    except VaultUnreadable:
        return "vault_unreadable"


def wrong_with(pair: ClientKeyPair) -> str | None:
    """What is wrong with a pair whose key opened, or None."""
    return None if pair.state in ("complete", "none") else pair.state


def mark(unit: Unit, peer_id: str, problem: str | None) -> bool:
    """Remember beside the certificate what is wrong with its pair; whether that is news."""
    credential = current(unit.session, peer_id)
    row = _certificate_of(unit.session, credential) if credential is not None else None
    if row is None or row.problem == problem:
        return False
    row.problem = problem
    unit.session.flush()
    return True


def read_private_key(pem: bytes) -> PrivateKey:
    """An unencrypted private key of a kind that is taken. Raises `WrongUsage`, never with the key in it."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("It is encrypted." if isinstance(error, TypeError) else "It is no PEM private key.") from None
    if not isinstance(key, PrivateKey):
        raise _no_key("Its kind is not taken.")
    return key


def _no_key(why: str) -> WrongUsage:
    return WrongUsage(
        "The private key cannot be used.",
        cause=why,
        fix="Give an unencrypted PEM key: P-256/384/521, Ed25519 or RSA.",
        code="key_invalid",
    )


def _add(
    unit: Unit, vault: Vault, peer_id: str, csr_pem: str, public: CertificatePublicKeyTypes, private_pem: bytes
) -> Credential:
    row = Credential(
        id=new_id(),
        peer_id=peer_id,
        state="pending",
        csr_pem=csr_pem,
        key_fingerprint=key_fingerprint(public),
        certificate_id=None,
        attempts=0,
        next_attempt_at=None,
        last_error=None,
        alarm=None,
        created_at=unit.now,
    )
    unit.session.add(row)
    unit.session.flush()
    vault.seal(unit.session, Owner("credential", row.id), PRIVATE_KEY, private_pem, unit.now)
    return row


def _opens(session: Session, vault: Vault, credential: Credential) -> bool:
    try:
        return vault.open(session, Owner("credential", credential.id), PRIVATE_KEY) is not None
    except VaultUnreadable:
        return False


def _certificate_of(session: Session, credential: Credential) -> Certificate | None:
    return session.get(Certificate, credential.certificate_id) if credential.certificate_id else None


def _newest(session: Session, peer_id: str, state: str) -> Credential | None:
    query = select(Credential).where(Credential.peer_id == peer_id, Credential.state == state)
    return session.scalars(query.order_by(Credential.id.desc()).limit(1)).first()


def _with_key(session: Session, peer_id: str, fingerprint: str) -> Credential | None:
    query = select(Credential).where(
        Credential.peer_id == peer_id,
        Credential.key_fingerprint == fingerprint,
        Credential.state.in_(("pending", "current")),
    )
    return session.scalars(query.limit(1)).first()


def _not_yet_valid(leaf: x509.Certificate, now: datetime) -> Refused:
    """A certificate that was signed a moment ago is not valid yet: the two clocks differ by more than signers allow
    for."""
    return Refused(
        "This machine's clock is behind the peer's: the certificate is not valid yet.",
        cause=f"This machine says {now:%F %T} UTC; the certificate is good from {leaf.not_valid_before_utc:%F %T} UTC.",
        fix="Set this machine's clock (timedatectl), or have the peer's operator set theirs; then try again.",
        code="cert_not_yet_valid",
    )


def _refused(why: str, code: str) -> Refused:
    return Refused(
        f"The certificate {why}.",
        cause="Storing it would leave a pair that no call could use.",
        fix="Have the peer sign this node's present request: fedtui certs csr PEER here, fedtui certs issue there.",
        code=code,
    )
