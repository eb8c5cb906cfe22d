"""Certificates: the table of all that this node knows, its own and its peers'."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import ColumnElement, Index, and_, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import NotFound, Refused, Unusable
from fedtui.core.pki.x509 import fingerprint, key_fingerprint, read_certificates, serial_text, to_pem
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

ROTATE_AT = 0.75
"""Fraction of its lifetime after which a certificate is due for rotation."""
JITTER = 0.05
"""Further fraction over which renewals are spread, so that what was issued together is not renewed together."""
SUPERSEDED = "superseded"
HURT_SQL = (
    "(CASE WHEN revoked_at IS NOT NULL OR superseded_at IS NOT NULL THEN 2 WHEN problem IS NOT NULL THEN 0 ELSE 1 END)"
)
"""What will hurt first: pairs that do not work, what is in service by its end, then what is over.
Text without parameters, so that both databases can serve the order from an index."""


_RENEWABLE = "renew_at IS NOT NULL AND superseded_at IS NULL"


class Certificate(Base):
    """One certificate, ours or theirs.

    `direction`: `inbound` (we signed it; the peer presents it to us), `outbound` (the peer
    signed it; we present it), `own` (our CA and server certificates). `subject_kind`:
    `ca`, `server`, `federation_peer`, `instance`. Old and new of one peer are both good until
    the new one is used (`first_used_at`); then the old one is `superseded_at`. `renew_at` is when
    an outbound one is due, `problem` what is wrong with its pair (a state of `credentials.Pair`).
    """

    __tablename__ = "certificates"
    __table_args__ = (
        Index("ix_certificates_peer_id_direction", "peer_id", "direction", "not_after"),
        Index("ix_certificates_subject_kind_not_after", "subject_kind", "not_after"),
        Index("ix_certificates_hurt", text(HURT_SQL), "not_after", "id"),
        Index("ix_certificates_renew_at", "renew_at", sqlite_where=text(_RENEWABLE), postgresql_where=text(_RENEWABLE)),
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
    first_used_at: Mapped[Time | None]
    superseded_at: Mapped[Time | None]
    renew_at: Mapped[Time | None]
    problem: Mapped[str | None]
    created_at: Mapped[Time]

    @property
    def over(self) -> bool:
        """Whether it was revoked, or another has taken its place."""
        return self.revoked_at is not None or self.superseded_at is not None


def own_ca(session: Session) -> Certificate:
    """The row of this node's CA."""
    query = select(Certificate).where(Certificate.subject_kind == "ca", Certificate.direction == "own")
    row = session.scalars(query.order_by(Certificate.id.desc()).limit(1)).first()
    if row is None:
        raise Unusable("This node has no CA.", cause="Its database is damaged.", fix="Restore a backup.")
    return row


_OWN_CA_PEM = (
    select(Certificate.cert_pem)
    .where(Certificate.subject_kind == "ca", Certificate.direction == "own")
    .order_by(Certificate.id.desc())
    .limit(1)
)


def own_ca_pem(session: Session) -> str:
    """This node's CA: what it says of itself in every heartbeat."""
    return session.scalar(_OWN_CA_PEM) or own_ca(session).cert_pem


def current_server(session: Session) -> Certificate | None:
    """The newest server certificate, or None before the first."""
    query = select(Certificate).where(Certificate.subject_kind == "server", Certificate.revoked_at.is_(None))
    return session.scalars(query.order_by(Certificate.id.desc()).limit(1)).first()


def current_inbound(session: Session, peer_id: str) -> Certificate | None:
    """The newest certificate that we signed for a peer: one in force, else the newest of all."""
    query = select(Certificate).where(Certificate.peer_id == peer_id, Certificate.direction == "inbound")
    newest = query.order_by(Certificate.revoked_at.is_not(None), Certificate.id.desc()).limit(1)
    return session.scalars(newest).first()


def due(row: Certificate, now: datetime) -> bool:
    """Whether 75 % of the certificate's lifetime has passed."""
    return now >= row.not_before + (row.not_after - row.not_before) * ROTATE_AT


def key_of(row: Certificate) -> str:
    """The fingerprint of the key that it certifies."""
    [certificate, *_] = read_certificates(row.cert_pem, field="certificate")
    return key_fingerprint(certificate.public_key())


def renewal_time(certificate: x509.Certificate) -> datetime:
    """When it is due: at 75 to 80 % of its lifetime, where in between told by its fingerprint."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    spread = int(certificate.fingerprint(hashes.SHA256())[:4].hex(), 16) / 0xFFFFFFFF
    return start + (end - start) * (ROTATE_AT + JITTER * spread)


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
    return store(
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
    """Every certificate, what will hurt first on top."""
    query = select(Certificate).order_by(text(HURT_SQL), Certificate.not_after, Certificate.id)
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
    """Revoke every certificate we signed for a peer; how many. Effective on the next request.

    Those that it signed for us are over, too.
    """
    unit.session.execute(
        update(Certificate)
        .where(Certificate.peer_id == peer_id, Certificate.direction == "outbound", Certificate.superseded_at.is_(None))
        .values(superseded_at=unit.now, problem=None)
    )
    return len(_revoked(unit, _inbound_of(peer_id), reason, "federation.certificate.revoked"))


def revoke(unit: Unit, row: Certificate, reason: str) -> bool:
    """Revoke one that we signed; False if it was revoked before. Effective on the next request."""
    return bool(_revoked(unit, Certificate.id == row.id, reason, "federation.certificate.revoked"))


def first_use(unit: Unit, certificate_id: str) -> None:
    """A peer has presented this certificate: those we signed for it before are over."""
    row = unit.session.get(Certificate, certificate_id, populate_existing=True)
    if row is None or row.first_used_at is not None:
        return
    row.first_used_at = unit.now
    unit.session.flush()
    emit(unit, "federation.certificate.first_used", source="certificates", peer_id=row.peer_id, serial=row.serial)
    if row.peer_id is not None:
        supersede(unit, _inbound_of(row.peer_id) & (Certificate.id < row.id))


def supersede_unused(unit: Unit, peer_id: str, *, but: str) -> None:
    """A peer has asked for another certificate than one it was given and never used."""
    supersede(unit, _inbound_of(peer_id) & Certificate.first_used_at.is_(None) & (Certificate.id != but))


def supersede(unit: Unit, which: ColumnElement[bool]) -> None:
    """Revoke certificates that others have taken the place of."""
    ended = _revoked(unit, which, SUPERSEDED, "federation.certificate.superseded")
    unit.session.execute(update(Certificate).where(Certificate.id.in_(ended)).values(superseded_at=unit.now))


def retire(unit: Unit, which: ColumnElement[bool]) -> None:
    """Others have taken the place of these; they need not be revoked."""
    unit.session.execute(
        update(Certificate)
        .where(which, Certificate.superseded_at.is_(None))
        .values(superseded_at=unit.now, problem=None)
    )


def awaiting_use(session: Session, peer_id: str, now: datetime) -> list[Certificate]:
    """What we signed for a peer that it has not presented yet, newest first."""
    query = select(Certificate).where(_inbound_of(peer_id), Certificate.first_used_at.is_(None))
    in_force = query.where(Certificate.revoked_at.is_(None), Certificate.not_after > now)
    return list(session.scalars(in_force.order_by(Certificate.id.desc())))


def _inbound_of(peer_id: str) -> ColumnElement[bool]:
    return and_(Certificate.peer_id == peer_id, Certificate.direction == "inbound")


def _revoked(unit: Unit, which: ColumnElement[bool], reason: str, kind: str) -> list[str]:
    """Revoke those of these that are not; their ids."""
    rows = unit.session.execute(
        update(Certificate)
        .where(which, Certificate.revoked_at.is_(None))
        .values(revoked_at=unit.now, revocation_reason=reason)
        .returning(Certificate.id, Certificate.serial, Certificate.peer_id)
    ).all()
    for row in rows:
        emit(unit, kind, source="certificates", peer_id=row.peer_id, serial=row.serial, reason=reason)
    return [row.id for row in rows]


def revocations(session: Session) -> int:
    """How many certificates are revoked: changes whenever the CRL does."""
    return session.scalar(select(func.count()).select_from(Certificate).where(Certificate.revoked_at.is_not(None))) or 0


def store(
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
        first_used_at=None,
        superseded_at=None,
        renew_at=renewal_time(certificate) if direction == "outbound" else None,
        problem=None,
        created_at=unit.now,
    )
    unit.session.add(row)
    unit.session.flush()
    return row
