"""The CRLs of peers' CAs: fetched now and then, kept, and honoured where they speak for what a peer presents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.pki import anchors
from fedtui.core.pki.x509 import UNREADABLE, fingerprint, issued_by
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

SOURCE = "trust"
FETCH_EVERY = timedelta(hours=1)
LARGEST = 1024 * 1024


class PeerCrl(Base):
    """The newest CRL of one peer. `covers`: it was signed by the CA that directly issued the peer's
    server certificate, so that TLS can check by it. `error` is why the last fetch failed."""

    __tablename__ = "peer_crls"

    peer_id: Mapped[str] = mapped_column(Text_, primary_key=True)
    issuer_fingerprint: Mapped[str | None]
    der: Mapped[bytes | None]
    this_update: Mapped[Time | None]
    next_update: Mapped[Time | None]
    revoked: Mapped[int]
    covers: Mapped[bool]
    fetched_at: Mapped[Time | None]
    tried_at: Mapped[Time]
    error: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A CRL as it came: the answer's bytes, and the server certificate it came under."""

    content: bytes
    server: x509.Certificate | None


def due(session: Session, peer_id: str, now: datetime) -> bool:
    """Whether it is time to ask a peer for its CRL."""
    row = session.get(PeerCrl, peer_id)
    return row is None or now - row.tried_at >= FETCH_EVERY


def keep(unit: Unit, peer_id: str, fetched: Fetched | None, *, error: str | None = None) -> str | None:
    """Store a fetched CRL, or why there is none; the reason it was not taken, or None.

    It must be signed by one of the peer's anchors, and not be older than the one that is there.
    What was kept before stays when a newer one cannot be had.
    """
    row = unit.session.get(PeerCrl, peer_id)
    if row is None:
        row = PeerCrl(peer_id=peer_id, revoked=0, covers=False, tried_at=unit.now)
        unit.session.add(row)
    before, named, failed = row.revoked, _named(row), row.error is not None
    row.tried_at = unit.now
    row.error = error if fetched is None else _take(unit, row, fetched)
    unit.session.flush()
    if row.error is not None and not failed:
        emit(unit, "federation.peer.crl_failed", source=SOURCE, peer_id=peer_id, error=row.error)
    elif row.error is None and (failed or _named(row) != named):
        emit(unit, "federation.peer.crl_changed", source=SOURCE, peer_id=peer_id, before=before, revoked=row.revoked)
    return row.error


def _named(row: PeerCrl) -> frozenset[int]:
    """The serials that it names: one may have come as another went."""
    return frozenset(one.serial_number for one in x509.load_der_x509_crl(row.der)) if row.der else frozenset()


def _take(unit: Unit, row: PeerCrl, fetched: Fetched) -> str | None:
    try:
        crl = x509.load_der_x509_crl(fetched.content)
        issuer = next((one for one in anchors.issuers_of(unit.session, row.peer_id) if _signed(crl, one)), None)
        this_update, next_update, revoked = crl.last_update_utc, crl.next_update_utc, len(crl)
    except UNREADABLE as error:
        return f"it cannot be read: {error}"
    if issuer is None:
        return "it is not signed by a CA that this node knows the peer by"
    if row.this_update is not None and this_update < row.this_update:
        return f"it is older than the one of {row.this_update:%F %H:%M} UTC"
    row.issuer_fingerprint = fingerprint(issuer)
    row.der, row.this_update, row.next_update, row.revoked = fetched.content, this_update, next_update, revoked
    row.covers = fetched.server is not None and issued_by(fetched.server, issuer)
    row.fetched_at = unit.now
    return None


def of_peer(session: Session, peer_id: str) -> PeerCrl | None:
    """What is kept of a peer's CRL."""
    return session.get(PeerCrl, peer_id)


def to_check_by(session: Session, peer_id: str, now: datetime) -> str | None:
    """The CRL as PEM where TLS can check by it: it covers the server, and is not past its next update.

    An overdue one is not held against the peer: who cannot reach `/crl` for a day would be
    cut off by it. Its age is shown instead.
    """
    row = session.get(PeerCrl, peer_id)
    if row is None or row.der is None or not row.covers or row.next_update is None or row.next_update <= now:
        return None
    return x509.load_der_x509_crl(row.der).public_bytes(serialization.Encoding.PEM).decode()


def revoked_in(row: PeerCrl | None, certificate: x509.Certificate) -> bool:
    """Whether a kept CRL names this certificate, which must be of the CRL's issuer."""
    if row is None or row.der is None:
        return False
    crl = x509.load_der_x509_crl(row.der)
    if crl.issuer != certificate.issuer:
        return False
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    return crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
