"""Inventory: the resource kinds that this node serves. A grant may name others; using it is refused."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class ServedKind(Base):
    """A kind that this node serves."""

    __tablename__ = "inventory"

    kind: Mapped[str] = mapped_column(Text_, primary_key=True)
    added_at: Mapped[Time]
    added_by: Mapped[str]


def check_kind(text: str) -> str:
    """A resource kind. Raises `WrongUsage` for what cannot be one."""
    if not _KIND.fullmatch(text):
        raise WrongUsage(
            f"kind: {text[:80]!r} cannot be a resource kind.",
            cause="A kind begins with a small letter and goes on with small letters, digits, and _ . - (64 at most).",
            fix="Write it like inventory_item or dns.zone.",
            code="kind_invalid",
        )
    return text


def serves(session: Session, kind: str) -> bool:
    """Whether a kind is in the inventory; what cannot be one is not."""
    return _KIND.fullmatch(kind) is not None and session.get(ServedKind, kind) is not None


def add(unit: Unit, kind: str) -> None:
    """Begin to serve a kind. Raises `Refused` if it is served already."""
    if serves(unit.session, check_kind(kind)):
        raise Refused(
            f"This node serves {kind} already.",
            cause="It stands in the inventory.",
            fix="See it with: fedtui inventory list",
            code="kind_served",
        )
    unit.session.add(ServedKind(kind=kind, added_at=unit.now, added_by=str(unit.actor)))
    unit.session.flush()
    emit(unit, "federation.inventory.added", source="operator", resource_kind=kind)


def remove(unit: Unit, kind: str) -> None:
    """Serve a kind no longer; its documents stay. Raises `NotFound` if it is not served."""
    require(unit.session, kind)
    unit.session.delete(unit.session.get_one(ServedKind, kind))
    unit.session.flush()
    emit(unit, "federation.inventory.removed", source="operator", resource_kind=kind)


def require(session: Session, kind: str) -> None:
    """Raise `NotFound` for a kind that is not served."""
    if not serves(session, kind):
        raise NotFound(
            f"This node does not serve {kind[:80]!r}.",
            cause="It is not in the inventory.",
            fix="See what is: fedtui inventory list",
            code="kind_not_served",
        )


def listing(session: Session) -> list[ServedKind]:
    """What this node serves, by name."""
    return list(session.scalars(select(ServedKind).order_by(ServedKind.kind)))
