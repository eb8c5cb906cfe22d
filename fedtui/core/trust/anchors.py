"""Trust anchors: which CAs a peer's server may be certified by, each known by its fingerprint."""

from __future__ import annotations

from cryptography import x509
from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust.x509_reading import fingerprint, read_certificates, to_pem


class TrustAnchor(Base):
    """A CA certificate trusted for one peer. `source` says how it came: `invite`, `accept`."""

    __tablename__ = "trust_anchors"

    peer_id: Mapped[str] = mapped_column(Text_, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    pem: Mapped[str]
    source: Mapped[str]
    not_after: Mapped[Time]
    added_at: Mapped[Time]


def add(unit: Unit, peer_id: str, certificate: x509.Certificate, *, source: str) -> None:
    """Trust `certificate` for the peer. Adding it again changes nothing."""
    value = fingerprint(certificate)
    if unit.session.get(TrustAnchor, (peer_id, value)) is None:
        unit.session.add(
            TrustAnchor(
                peer_id=peer_id,
                fingerprint=value,
                subject=certificate.subject.rfc4514_string(),
                pem=to_pem(certificate),
                source=source,
                not_after=certificate.not_valid_after_utc,
                added_at=unit.now,
            )
        )
        unit.session.flush()


def forget(unit: Unit, peer_id: str) -> None:
    """Trust none of the peer's anchors any longer."""
    unit.session.execute(delete(TrustAnchor).where(TrustAnchor.peer_id == peer_id))


def of_peer(session: Session, peer_id: str) -> list[TrustAnchor]:
    """The peer's anchors, oldest first."""
    query = select(TrustAnchor).where(TrustAnchor.peer_id == peer_id).order_by(TrustAnchor.added_at)
    return list(session.scalars(query))


def certificates_of(session: Session, peer_id: str) -> list[x509.Certificate]:
    """The peer's anchors as parsed certificates."""
    return [one for anchor in of_peer(session, peer_id) for one in read_certificates(anchor.pem, field="anchor")]
