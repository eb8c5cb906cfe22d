"""Column types shared by every table, and the ids rows are known by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import JSON, DateTime, Dialect, String, TypeDecorator
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine
from uuid_utils import compat


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out, whatever the database keeps.

    SQLite has no zone: it gets UTC without one, as text that sorts by time. A naive
    datetime is a bug and is refused where it is bound.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value.isoformat()}")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def new_id() -> str:
    """A UUIDv7 as text: sorts by creation time, and is what people see, type and search for."""
    return str(compat.uuid7())


class Json(TypeDecorator[Any]):
    """JSON: JSONB on PostgreSQL (whose dialect is imported only there), text on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import JSONB

            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))


Text_ = String().with_variant(String(collation="C"), "postgresql")
"""Text that is sorted or searched: byte order on both databases, so that keyset pages agree."""

Id = Annotated[str, mapped_column(String(36).with_variant(String(36, collation="C"), "postgresql"))]
"""Ids are kept as text, not as the database's UUID type: unique prefixes can be looked up,
and the row reads the same in a database shell as on the screen."""
JsonObject = Annotated[dict[str, Any], mapped_column(Json)]
JsonList = Annotated[list[Any], mapped_column(Json)]
Time = Annotated[datetime, mapped_column(UtcTime)]
