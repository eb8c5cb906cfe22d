"""Resources: documents that grants give access to, behind a provider.

A provider says where documents live. The embedded one keeps them in the node's database;
another may front what the platform already has, and is bound by the same five rules: it is
called inside the unit in which the call was authorised, finds by kind and id, versions what
it holds, honours the expected version, and never calls out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast

from sqlalchemy import BigInteger, ColumnElement, Index, Table, Text, delete, func, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.document_text import Normalized
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

LONGEST_ID = 200


class Resource(Base):
    """One document of the embedded store. `version` counts from 1 with every write.

    `document` is JSON as it was sent: a column of JSON would have PostgreSQL write its numbers and members anew, and
    SQLite a number that stands alone. `digest` and `size` (bytes of its text) are of the document; `peer_id` and
    `grant_id` say by whose call it was last written, None by an operator's: on their account it goes.
    """

    __tablename__ = "resources"
    __table_args__ = (
        # They answer what is counted before each write, without a look at the documents.
        Index("ix_resources_peer_id_size", "peer_id", "size"),
        Index("ix_resources_grant_id_size", "grant_id", "size"),
    )

    kind: Mapped[str] = mapped_column(Text_, primary_key=True)
    id: Mapped[str] = mapped_column(Text_, primary_key=True)
    document: Mapped[str] = mapped_column(Text, deferred=True)
    version: Mapped[int]
    updated_at: Mapped[Time]
    updated_by: Mapped[str]
    digest: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    peer_id: Mapped[str | None] = mapped_column(Text_)
    grant_id: Mapped[str | None] = mapped_column(Text_)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a provider holds it: its JSON as text, which a call that passes it on need not parse."""

    text: str
    version: int
    updated_at: datetime
    digest: str

    @property
    def content(self) -> Any:
        """The document as a value."""
        return json.loads(self.text)

    @property
    def etag(self) -> str:
        """The entity tag (RFC 9110): version and content, so that a deleted one made anew is another."""
        return f'"{self.version}-{self.digest}"'


class Owner(NamedTuple):
    """On whose account a document goes."""

    peer_id: str
    grant_id: str


class Stored(NamedTuple):
    """What a peer or a grant has stored."""

    documents: int
    size: int


class VersionMismatch(Exception):
    """The document is not the one that was expected. `found` is its tag, None where there is none."""

    def __init__(self, found: str | None) -> None:
        super().__init__(found)
        self.found = found


Expected = Sequence[str] | None
"""Tags of which the document must have one (`*`: any), or None: whatever is there."""


class Provider(Protocol):
    """Where documents live."""

    def get(self, session: Session, kind: str, id: str) -> Document | None:
        """The document, or None."""

    def put(
        self,
        unit: Unit,
        kind: str,
        id: str,
        document: Normalized,
        *,
        expected: Expected = None,
        owner: Owner | None = None,
    ) -> Document:
        """Write it. Raises `VersionMismatch`."""

    def delete(self, unit: Unit, kind: str, id: str, *, expected: Expected = None) -> bool:
        """Remove it; whether there was one. Raises `VersionMismatch`."""


class EmbeddedStore:
    """Documents in the node's own database, passed on as text: nothing is parsed while a lock is held."""

    def get(self, session: Session, kind: str, id: str) -> Document | None:
        """The document, or None."""
        row = session.execute(_of(kind, id, Resource.document, *_FACTS)).one_or_none()
        return None if row is None else Document(*row)

    def put(
        self,
        unit: Unit,
        kind: str,
        id: str,
        document: Normalized,
        *,
        expected: Expected = None,
        owner: Owner | None = None,
    ) -> Document:
        """Write it, as the next version. Raises `VersionMismatch`."""
        before = _checked(unit, kind, id, expected)
        peer_id, grant_id = owner if owner is not None else (None, None)
        version = 1 if before is None else before + 1
        values = {
            "document": document.text,
            "version": version,
            "updated_at": unit.now,
            "updated_by": str(unit.actor),
            "digest": document.digest,
            "size": len(document.text.encode()),
            "peer_id": peer_id,
            "grant_id": grant_id,
        }
        if before is None:
            unit.session.execute(insert(_TABLE).values(kind=kind, id=id, **values))
        else:
            unit.session.execute(update(_TABLE).where(*_named(kind, id)).values(**values))
        return Document(document.text, version, unit.now, document.digest)

    def delete(self, unit: Unit, kind: str, id: str, *, expected: Expected = None) -> bool:
        """Remove it; whether there was one. Raises `VersionMismatch`."""
        before = _checked(unit, kind, id, expected)
        if before is not None:
            unit.session.execute(delete(_TABLE).where(*_named(kind, id)))
        return before is not None


_TABLE = cast(Table, Resource.__table__)
_FACTS = (Resource.version, Resource.updated_at, Resource.digest)


def _named(kind: str, id: str) -> tuple[ColumnElement[bool], ...]:
    return (_TABLE.c.kind == kind, _TABLE.c.id == id)


def _of(kind: str, id: str, *columns: Any) -> Any:
    return select(*columns).where(Resource.kind == kind, Resource.id == id)


def _checked(unit: Unit, kind: str, id: str, expected: Expected) -> int | None:
    """The version that is there, locked; None where there is none. Raises `VersionMismatch`."""
    row = unit.session.execute(_of(kind, id, *_FACTS).with_for_update()).one_or_none()
    tag = None if row is None else Document("", *row).etag
    if expected is not None and (tag is None or ("*" not in expected and tag not in expected)):
        raise VersionMismatch(tag)
    return None if row is None else int(row.version)


def stored(session: Session, *, peer_id: str | None = None, grant_id: str | None = None) -> Stored:
    """How many documents a peer or a grant has, and of how many bytes together."""
    owner = Resource.peer_id == peer_id if grant_id is None else Resource.grant_id == grant_id
    count, size = session.execute(select(func.count(), func.coalesce(func.sum(Resource.size), 0)).where(owner)).one()
    return Stored(int(count), int(size))


def held_by(session: Session, kind: str, id: str) -> tuple[Owner | None, int]:
    """On whose account a document goes, and its size; (None, 0) where there is none."""
    row = session.execute(_of(kind, id, Resource.peer_id, Resource.grant_id, Resource.size)).one_or_none()
    if row is None or row.peer_id is None:
        return None, 0
    return Owner(row.peer_id, row.grant_id), int(row.size)


def check_id(text: str) -> str:
    """A resource id. Raises `WrongUsage` for what cannot be one."""
    if not 1 <= len(text) <= LONGEST_ID or not text.isprintable() or " " in text or "/" in text:
        raise WrongUsage(
            f"id: {text[:80]!r} cannot be a resource id.",
            cause=f"An id is 1 to {LONGEST_ID} printable characters without blanks and slashes.",
            fix="Write it as it stands in the path of the call.",
            code="resource_id_invalid",
        )
    return text


def listing(session: Session, *, kind: str | None = None, limit: int = 100) -> list[Resource]:
    """The embedded store's documents, by kind and id; one kind's where given."""
    query = select(Resource).order_by(Resource.kind, Resource.id).limit(limit)
    return list(session.scalars(query if kind is None else query.where(Resource.kind == kind)))
