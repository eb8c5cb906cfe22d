"""Resources: documents that grants give access to, behind a provider.

A provider says where documents live. The embedded one keeps them in the node's database;
another may front what the platform already has, and is bound by the same five rules: it is
called inside the unit in which the call was authorised, finds by kind and id, versions what
it holds, honours the expected version, and never calls out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Json, Text_, Time
from fedtui.core.runtime.unit import Unit

LONGEST_ID = 200


class Resource(Base):
    """One document of the embedded store. `version` counts from 1 with every write."""

    __tablename__ = "resources"

    kind: Mapped[str] = mapped_column(Text_, primary_key=True)
    id: Mapped[str] = mapped_column(Text_, primary_key=True)
    document: Mapped[Any] = mapped_column(Json)
    version: Mapped[int]
    updated_at: Mapped[Time]
    updated_by: Mapped[str]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a provider holds it."""

    content: Any
    version: int
    updated_at: datetime

    @property
    def etag(self) -> str:
        """The entity tag (RFC 9110): version and content, so that a deleted one made anew is another."""
        digest = hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()
        return f'"{self.version}-{digest[:16]}"'


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

    def put(self, unit: Unit, kind: str, id: str, content: Any, *, expected: Expected = None) -> Document:
        """Write it. Raises `VersionMismatch`."""

    def delete(self, unit: Unit, kind: str, id: str, *, expected: Expected = None) -> bool:
        """Remove it; whether there was one. Raises `VersionMismatch`."""


class EmbeddedStore:
    """Documents in the node's own database."""

    def get(self, session: Session, kind: str, id: str) -> Document | None:
        """The document, or None."""
        row = session.get(Resource, (kind, id))
        return None if row is None else Document(row.document, row.version, row.updated_at)

    def put(self, unit: Unit, kind: str, id: str, content: Any, *, expected: Expected = None) -> Document:
        """Write it, as the next version. Raises `VersionMismatch`."""
        row = self._checked(unit, kind, id, expected)
        if row is None:
            row = Resource(kind=kind, id=id, version=0)
            unit.session.add(row)
        row.document, row.version = content, row.version + 1
        row.updated_at, row.updated_by = unit.now, str(unit.actor)
        unit.session.flush()
        return Document(row.document, row.version, row.updated_at)

    def delete(self, unit: Unit, kind: str, id: str, *, expected: Expected = None) -> bool:
        """Remove it; whether there was one. Raises `VersionMismatch`."""
        row = self._checked(unit, kind, id, expected)
        if row is not None:
            unit.session.delete(row)
            unit.session.flush()
        return row is not None

    def _checked(self, unit: Unit, kind: str, id: str, expected: Expected) -> Resource | None:
        row = unit.session.get(Resource, (kind, id), with_for_update=True, populate_existing=True)
        found = None if row is None else Document(row.document, row.version, row.updated_at).etag
        if expected is not None and (found is None or ("*" not in expected and found not in expected)):
            raise VersionMismatch(found)
        return row


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
