"""What this node presents to a peer: a certificate and its key, always as a pair.

A credential begins as a sealed key with a signing request (`pending`) and becomes
`current` when the peer's certificate for it arrives. One half without the other is the
"partial mTLS config" of the runbook, and is found here, not when a call fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Index, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import Refused
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import anchors, certificates
from fedtui.core.trust import vault as vaults
from fedtui.core.trust.certificates import Certificate
from fedtui.core.trust.signing import PRIVATE_KEY, key_pem, new_key, signing_request
from fedtui.core.trust.vault import Owner, Vault
from fedtui.core.trust.x509_reading import chains_to, key_fingerprint, presentable, read_certificates, read_csr, to_pem


class Credential(Base):
    """One key and, once signed, its certificate. `state`: `pending`, `current`, `retired`."""

    __tablename__ = "credentials"
    __table_args__ = (Index("ix_credentials_peer_id_state", "peer_id", "state"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    state: Mapped[str]
    csr_pem: Mapped[str]
    key_fingerprint: Mapped[str]
    certificate_id: Mapped[str | None]
    created_at: Mapped[Time]


@dataclass(frozen=True, slots=True)
class Pair:
    """The outbound pair as found. `state`: `complete`, `key_missing`, `cert_missing`, `mismatch`, `none`."""

    state: str
    certificate: Certificate | None = None
    private_key_pem: bytes | None = None

    def __repr__(self) -> str:
        return f"Pair({self.state})"


def prepare(unit: Unit, vault: Vault, peer_id: str, *, common_name: str) -> Credential:
    """The peer's pending credential, made if there is none: key sealed before anything is sent."""
    pending = _newest(unit.session, peer_id, "pending")
    if pending is not None and PRIVATE_KEY in vaults.names(unit.session, Owner("credential", pending.id)):
        return pending
    key = new_key()
    row = Credential(
        id=new_id(),
        peer_id=peer_id,
        state="pending",
        csr_pem=signing_request(key, common_name),
        key_fingerprint=key_fingerprint(key.public_key()),
        certificate_id=None,
        created_at=unit.now,
    )
    unit.session.add(row)
    unit.session.flush()
    vault.seal(unit.session, Owner("credential", row.id), PRIVATE_KEY, key_pem(key), unit.now)
    return row


def complete(unit: Unit, peer_id: str, cert_pem: str, chain_pem: str) -> Certificate:
    """Store the certificate that the peer signed for our pending request; the pair becomes current.

    Raises `Refused` when it is for another key, or does not chain to the peer's CA. Storing
    the same certificate twice is no error.
    """
    leaf, *rest = read_certificates(cert_pem, field="certificate")
    between = rest + (read_certificates(chain_pem, field="ca_chain_pem") if chain_pem.strip() else [])
    anchor = chains_to(leaf, between, anchors.certificates_of(unit.session, peer_id))
    if not presentable(leaf, unit.now):
        raise _refused("is no client certificate that is valid now", "cert_wrong_kind")
    if anchor is None:
        raise _refused("does not chain to the CA this node knows the peer by", "trust_chain_mismatch")
    credential = _with_key(unit.session, peer_id, key_fingerprint(leaf.public_key()))
    if credential is None:
        raise _refused("is not for the key of this node's signing request", "key_cert_mismatch")
    # Written out again from what was read: nothing else of the remote's text may reach OpenSSL.
    chain = "".join(to_pem(one) for one in between if one != leaf)
    row = certificates.store_outbound(unit, leaf, peer_id=peer_id, issuer=anchor, chain_pem=chain)
    unit.session.execute(
        update(Credential)
        .where(Credential.peer_id == peer_id, Credential.state == "current", Credential.id != credential.id)
        .values(state="retired")
    )
    unit.session.execute(
        update(Credential).where(Credential.id == credential.id).values(state="current", certificate_id=row.id)
    )
    return row


def pair_state(session: Session, peer_id: str) -> str:
    """Which halves are there and belong together, without opening the vault."""
    credential = _usable(session, peer_id)
    if credential is None:
        return "none"
    has_key = PRIVATE_KEY in vaults.names(session, Owner("credential", credential.id))
    certificate = _certificate_of(session, credential)
    if certificate is None:
        return "cert_missing" if has_key else "none"
    if not has_key:
        return "key_missing"
    return "complete" if _certified_key(certificate) == credential.key_fingerprint else "mismatch"


def pair(session: Session, vault: Vault, peer_id: str) -> Pair:
    """The pair to present to a peer. Raises `VaultUnreadable` if its key does not open."""
    credential = _usable(session, peer_id)
    if credential is None:
        return Pair("none")
    key = vault.open(session, Owner("credential", credential.id), PRIVATE_KEY)
    certificate = _certificate_of(session, credential)
    if key is None or certificate is None:
        missing = "none" if key is None and certificate is None else "key_missing" if key is None else "cert_missing"
        return Pair(missing, certificate, key)
    loaded = serialization.load_pem_private_key(key, password=None)
    same = key_fingerprint(loaded.public_key()) == _certified_key(certificate)  # type: ignore[arg-type]
    return Pair("complete" if same else "mismatch", certificate, key)


def request_key_fingerprint(csr_pem: str) -> tuple[x509.CertificateSigningRequest, str]:
    """A parsed signing request and its key's fingerprint. Raises `WrongUsage`."""
    csr = read_csr(csr_pem)
    return csr, key_fingerprint(csr.public_key())


def _usable(session: Session, peer_id: str) -> Credential | None:
    return _newest(session, peer_id, "current") or _newest(session, peer_id, "pending")


def _certificate_of(session: Session, credential: Credential) -> Certificate | None:
    return session.get(Certificate, credential.certificate_id) if credential.certificate_id else None


def _certified_key(certificate: Certificate) -> str:
    leaf = read_certificates(certificate.cert_pem, field="certificate")[0]
    return key_fingerprint(leaf.public_key())


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


def _refused(why: str, code: str) -> Refused:
    return Refused(
        f"The certificate {why}.",
        cause="Storing it would leave a pair that no call could use.",
        fix="Have the peer sign this node's request again; the runbook's way is to revoke and propose anew.",
        code=code,
    )
