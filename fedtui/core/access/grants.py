"""Grants: what a subject at one peer may use. So far the one issued with a managed child."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.record.events import emit
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, JsonList, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

OPERATOR_KIND = "managed_child_operator"
OPERATOR_TTL = timedelta(days=365)


class Grant(Base):
    """One grant. The bearer `fg-<id>` names it and is no secret: the certificate proves the caller.

    An empty allowlist (`node_instance_ids`, `sdwan_network_ids`, `source_cidrs`) does not restrict.
    """

    __tablename__ = "grants"
    __table_args__ = (
        Index("ix_grants_peer_id_id", "peer_id", "id"),
        Index("ix_grants_expires_at", "expires_at", "id"),
        # Issued once per peer, also when two accepts race.
        Index("uq_grants_operator", "peer_id", unique=True,
              sqlite_where=text(f"resource_kind = '{OPERATOR_KIND}' AND revoked_at IS NULL"),
              postgresql_where=text(f"resource_kind = '{OPERATOR_KIND}' AND revoked_at IS NULL")),
    )  # fmt: skip

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    remote_subject: Mapped[str]
    resource_kind: Mapped[str] = mapped_column(Text_)
    resource_id: Mapped[str | None]
    permission_scopes: Mapped[JsonList]
    node_instance_ids: Mapped[JsonList]
    sdwan_network_ids: Mapped[JsonList]
    source_cidrs: Mapped[JsonList]
    issued_at: Mapped[Time]
    expires_at: Mapped[Time]
    revoked_at: Mapped[Time | None]


def bearer(grant: Grant) -> str:
    """What the caller presents as `Authorization: Bearer`."""
    return f"fg-{grant.id}"


def issue_operator_grant(unit: Unit, peer_id: str) -> Grant:
    """The grant by which a parent platform operates its managed child; issued once per peer."""
    query = select(Grant).where(
        Grant.peer_id == peer_id, Grant.resource_kind == OPERATOR_KIND, Grant.revoked_at.is_(None)
    )
    existing = unit.session.scalars(query).one_or_none()
    if existing is not None:
        return existing
    grant = Grant(
        id=new_id(),
        peer_id=peer_id,
        remote_subject=f"parent-operator@{peer_id}",
        resource_kind=OPERATOR_KIND,
        resource_id=None,
        permission_scopes=["read", "write", "admin"],
        node_instance_ids=[],
        sdwan_network_ids=[],
        source_cidrs=[],
        issued_at=unit.now,
        expires_at=unit.now + OPERATOR_TTL,
        revoked_at=None,
    )
    unit.session.add(grant)
    unit.session.flush()
    emit(unit, "federation.grant.issued", source="accept_controller", peer_id=peer_id, grant_id=grant.id)
    return grant


def listing(session: Session, *, peer_id: str | None = None, limit: int = 100) -> list[Grant]:
    """Grants, newest first; one peer's where given."""
    query = select(Grant).order_by(Grant.id.desc()).limit(limit)
    return list(session.scalars(query if peer_id is None else query.where(Grant.peer_id == peer_id)))
