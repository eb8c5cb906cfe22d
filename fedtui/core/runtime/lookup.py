"""Finding a record by its id, or by a unique beginning of it, as people type it."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.errors import NotFound

Row = TypeVar("Row")


def by_beginning(
    session: Session, model: type[Row], wanted: str, *, noun: str, see: str, code: str, cause: str = ""
) -> Row:
    """The one row of `model` whose id begins with `wanted`. Raises `NotFound` for none or several.

    `see` is the command that lists them.
    """
    key: Any = model.id  # type: ignore[attr-defined]
    beginning = wanted.strip().lower()
    query = select(model).where(key.startswith(beginning, autoescape=True)).limit(2)
    found = list(session.scalars(query)) if beginning and beginning.isprintable() else []  # PostgreSQL takes no NUL
    if len(found) != 1:
        raise NotFound(
            f"{'More than one' if found else 'No'} {noun} has an id beginning {wanted[:60]!r}.",
            cause=cause or "An id, or a unique beginning of one, is needed.",
            fix=f"See them with: {see}",
            code=code,
        )
    return found[0]
