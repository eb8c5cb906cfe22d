"""Which node this is: one row, written once by `init`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import Unusable
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, Time


class NodeIdentity(Base):
    """The node's own id, its name for people and its URL for other platforms."""

    __tablename__ = "node_identity"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    url: Mapped[str]
    created_at: Mapped[Time]


def load(session: Session) -> NodeIdentity:
    """The node's identity. Raises `Unusable` on a database that no `init` has filled."""
    identity = session.scalars(select(NodeIdentity)).one_or_none()
    if identity is None:
        raise not_set_up()
    return identity


def not_set_up() -> Unusable:
    """The one answer to "there is no node here"."""
    return Unusable(
        "There is no node here yet.",
        cause="This home has not been set up.",
        fix="Run: fedtui init --name NAME --url https://HOST[:PORT]   (or look around first with: fedtui demo)",
        code="not_set_up",
    )
