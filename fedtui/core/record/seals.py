"""Seals: committed events, in batches, in a chain of keyed hashes."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Time


class Seal(Base):
    """One sealed batch. `entries` is each event's id and hash in order of id, kept while the events are;
    `root` is their hash, `digest` that of the seal, with the one before; both stay for good."""

    __tablename__ = "event_seals"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    previous: Mapped[str]
    root: Mapped[str]
    digest: Mapped[str]
    entries: Mapped[bytes | None]
    count: Mapped[int]
    first_at: Mapped[Time]
    last_at: Mapped[Time]
    sealed_at: Mapped[Time]
    has_critical: Mapped[bool]
    removed_at: Mapped[Time | None]
