"""Trust anchors: the CAs that a peer is known by, each by its fingerprint.

Mostly one CA stands behind both sides of a peer: its server, and what it signs for this node to
present. Behind a proxy that terminates TLS they are two: the peer's own CA is then an `ISSUER` only.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.pki.x509 import fingerprint, read_certificates, to_pem
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

ISSUER = "issuer"
"""The source of a CA that signs what this node presents to the peer, and that no server is taken by."""

SOURCE = "trust"


class TrustAnchor(Base):
    """A CA certificate trusted for one peer. `source` says how it came: `invite`, `accept`, `operator`, `ISSUER`."""

    __tablename__ = "trust_anchors"

    peer_id: Mapped[str] = mapped_column(Text_, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    pem: Mapped[str]
    source: Mapped[str]
    not_after: Mapped[Time]
    added_at: Mapped[Time]


def add(unit: Unit, peer_id: str, certificate: x509.Certificate, *, source: str) -> None:
    """Trust `certificate` for the peer. Adding it again changes nothing, unless it was an issuer only."""
    value = fingerprint(certificate)
    known = unit.session.get(TrustAnchor, (peer_id, value), populate_existing=True)
    if known is None:
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
    elif known.source == ISSUER != source:
        known.source = source
    else:
        return
    unit.session.flush()
    emit(unit, "federation.peer.anchor_added", source=SOURCE, peer_id=peer_id, fingerprint=value, by=source)


def forget(unit: Unit, peer_id: str) -> None:
    """Trust none of the peer's anchors any longer."""
    gone = unit.session.scalars(
        delete(TrustAnchor).where(TrustAnchor.peer_id == peer_id).returning(TrustAnchor.fingerprint)
    ).all()
    _tell_removed(unit, peer_id, gone)


def demote_to_issuer(unit: Unit, peer_id: str) -> None:
    """Take no server by the peer's anchors any longer. What they signed for this node to present stays good."""
    gone = unit.session.scalars(
        update(TrustAnchor)
        .where(TrustAnchor.peer_id == peer_id, TrustAnchor.source != ISSUER)
        .values(source=ISSUER)
        .returning(TrustAnchor.fingerprint)
    ).all()
    _tell_removed(unit, peer_id, gone)


def _tell_removed(unit: Unit, peer_id: str, gone: Sequence[str]) -> None:
    if gone:
        emit(unit, "federation.peer.anchors_removed", source=SOURCE, peer_id=peer_id, fingerprints=sorted(gone))


def of_peer(session: Session, peer_id: str) -> list[TrustAnchor]:
    """The anchors that the peer's server is taken by, oldest first."""
    query = select(TrustAnchor).where(TrustAnchor.peer_id == peer_id, TrustAnchor.source != ISSUER)
    return list(session.scalars(query.order_by(TrustAnchor.added_at)))


_PEMS = (
    select(TrustAnchor.pem)
    .where(TrustAnchor.peer_id == bindparam("peer_id"), TrustAnchor.source != ISSUER)
    .order_by(TrustAnchor.added_at)
)


def pems_of(session: Session, peer_id: str) -> tuple[str, ...]:
    """The same, as PEM: asked for with every call."""
    return tuple(session.scalars(_PEMS, {"peer_id": peer_id}))


def certificates_of(session: Session, peer_id: str) -> list[x509.Certificate]:
    """The same, as parsed certificates."""
    return _parsed(of_peer(session, peer_id))


def all_of(session: Session, peer_id: str) -> list[TrustAnchor]:
    """Every CA that the peer is known by, issuers too."""
    query = select(TrustAnchor).where(TrustAnchor.peer_id == peer_id)
    return list(session.scalars(query.order_by(TrustAnchor.added_at)))


def issuers_of(session: Session, peer_id: str) -> list[x509.Certificate]:
    """The same, as parsed certificates: who may have signed what we present to it, and its CRL."""
    return _parsed(all_of(session, peer_id))


def _parsed(rows: list[TrustAnchor]) -> list[x509.Certificate]:
    return [one for anchor in rows for one in read_certificates(anchor.pem, field="anchor")]
