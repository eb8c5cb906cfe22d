"""What an operator prefers to see: saved views of tables, a theme.

A table and not a file: it belongs to the operator, not to the OS account that all operators of a
shared host come in by, nor to one of several machines. Nothing here changes what anybody may do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import Refused, WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Json, Text_, Time
from fedtui.core.runtime.unit import Unit

MOST = 100
"""Preferences of one operator."""
LONGEST = 2000
"""Characters of one value, as JSON."""
_KEY = re.compile(r"[a-z]+(/[a-z]+(/[A-Za-z0-9][A-Za-z0-9._-]{0,31})?)?")


class Preference(Base):
    """One of them: `theme`, `remember`, `last/PLACE`, `view/PLACE/NAME`."""

    __tablename__ = "preferences"

    operator: Mapped[str] = mapped_column(Text_, primary_key=True)
    key: Mapped[str] = mapped_column(Text_, primary_key=True)
    value: Mapped[Any] = mapped_column(Json, nullable=False)
    changed_at: Mapped[Time]


def of(session: Session, operator: str) -> dict[str, Any]:
    """All preferences of an operator, by key."""
    return {row.key: row.value for row in session.scalars(select(Preference).where(Preference.operator == operator))}


def put(unit: Unit, operator: str, given: Mapping[str, Any]) -> None:
    """Keep these; None forgets one. Raises `WrongUsage` for a key or value that cannot be, `Refused` for too many."""
    for key, value in given.items():
        if not _KEY.fullmatch(key):
            raise WrongUsage(
                f"{key.rpartition('/')[2][:80]!r} cannot be a name.",
                cause="A name is letters, digits and . _ -, at most 32 of them, and begins with a letter or digit.",
                fix="Choose one like night-shift.",
                code="preference_name_invalid",
            )
        if len(str(value)) > LONGEST:
            raise WrongUsage(
                "That is too long to be kept.",
                cause=f"A preference has at most {LONGEST} characters.",
                fix="Keep a shorter filter.",
                code="preference_too_long",
            )
        if value is None:
            unit.session.execute(delete(Preference).where(Preference.operator == operator, Preference.key == key))
        else:
            unit.session.merge(Preference(operator=operator, key=key, value=value, changed_at=unit.now))
    unit.session.flush()
    count = unit.session.scalar(select(func.count()).where(Preference.operator == operator)) or 0
    if count > MOST:
        raise Refused(
            "That is one view too many.",
            cause=f"At most {MOST} preferences are kept for an operator.",
            fix="Forget one first: :forget NAME",
            code="preferences_full",
        )


def forget(unit: Unit, operator: str) -> None:
    """Keep nothing of an operator any more."""
    unit.session.execute(delete(Preference).where(Preference.operator == operator))
