"""Network bridges: which SDWAN network a peer may come in by (domain, section 6)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Index, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import Refused
from fedtui.core.grants import allowlists
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    "proposed": ("active", "revoked"),
    "active": ("suspended", "revoked"),
    "suspended": ("active", "revoked"),
    "revoked": (),
}


class Bridge(Base):
    """One peer on one network. `status`: proposed, active, suspended, revoked."""

    __tablename__ = "network_bridges"
    __table_args__ = (
        Index(
            "uq_network_bridges_live",
            "peer_id",
            "network_id",
            unique=True,
            sqlite_where=text("status != 'revoked'"),
            postgresql_where=text("status != 'revoked'"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    network_id: Mapped[str] = mapped_column(Text_)
    status: Mapped[str]
    created_at: Mapped[Time]
    updated_at: Mapped[Time]


def propose(unit: Unit, peer_id: str, network: str) -> Bridge:
    """A new bridge, not yet active. Raises `Refused` where the peer has one on that network."""
    bridge = Bridge(
        id=new_id(),
        peer_id=peer_id,
        network_id=allowlists.network_id(network),
        status="proposed",
        created_at=unit.now,
        updated_at=unit.now,
    )
    try:
        with unit.session.begin_nested():
            unit.session.add(bridge)
    except IntegrityError as error:
        raise already_there(live(unit.session, peer_id, bridge.network_id)) from error
    _emit(unit, bridge)
    return bridge


def already_there(bridge: Bridge | None) -> Refused:
    """The refusal of a second bridge for the same peer and network."""
    return Refused(
        "That peer has a bridge on that network already.",
        cause=f"It is {bridge.status}." if bridge else "Another operator was quicker.",
        fix=f"Use it: fedtui bridges activate {bridge.id}"
        if bridge and "active" in TRANSITIONS[bridge.status]
        else "See it with: fedtui bridges list",
        code="bridge_exists",
    )


def move(unit: Unit, bridge_id: str, to: str) -> Bridge:
    """Move a bridge on. Raises `Refused` with what is allowed from here."""
    sources = [before for before, after in TRANSITIONS.items() if to in after]
    moved = unit.session.execute(
        update(Bridge)
        .where(Bridge.id == bridge_id, Bridge.status.in_(sources))
        .values(status=to, updated_at=unit.now)
        .execution_options(synchronize_session=False)
        .returning(Bridge.id)
    ).one_or_none()
    bridge = find(unit.session, bridge_id)
    unit.session.refresh(bridge)
    if moved is None:
        raise refused(bridge, to)
    _emit(unit, bridge)
    return bridge


def refused(bridge: Bridge, to: str) -> Refused:
    """The refusal of a transition that is not in the table."""
    allowed = TRANSITIONS[bridge.status]
    return Refused(
        f"A bridge that is {bridge.status} cannot become {to}.",
        cause=f"From {bridge.status} it can become: {', '.join(allowed) or 'nothing; it has ended'}.",
        fix="Propose a new one: fedtui bridges propose PEER NETWORK" if not allowed else "Choose one of those.",
        code="bridge_transition",
    )


def find(session: Session, wanted: str) -> Bridge:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(session, Bridge, wanted, noun="bridge", see="fedtui bridges list", code="bridge_not_found")


def live(session: Session, peer_id: str, network: str) -> Bridge | None:
    """The bridge of this peer on this network that has not ended."""
    query = select(Bridge).where(Bridge.peer_id == peer_id, Bridge.network_id == network, Bridge.status != "revoked")
    return session.scalars(query).one_or_none()


def listing(session: Session, *, peer_id: str | None = None, limit: int = 100) -> list[Bridge]:
    """Bridges, newest first, those that have ended last; one peer's where given."""
    query = select(Bridge).order_by(Bridge.status == "revoked", Bridge.id.desc()).limit(limit)
    return list(session.scalars(query if peer_id is None else query.where(Bridge.peer_id == peer_id)))


def _emit(unit: Unit, bridge: Bridge) -> None:
    emit(
        unit,
        f"federation.bridge.{bridge.status}",
        source="operator",
        peer_id=bridge.peer_id,
        bridge_id=bridge.id,
        network_id=bridge.network_id,
    )
