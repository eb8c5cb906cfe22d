"""Settings that weaken a node: kept in its database, changed only through the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import WrongUsage
from fedtui.core.record.events import emit
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

SWITCH = ("on", "off")
TABLE: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "single_operator": (SWITCH, "off", "operators may decide their own requests"),
    "drill_mode": (
        SWITCH,
        "off",
        "peers proposed here without a token accept any caller; never in production",
    ),
    "partial_mtls": (
        ("refuse", "fallback"),
        "refuse",
        "calling a peer with half a key pair: not at all, or anonymously",
    ),
}
"""Each setting: what it may be, what it is until set, what it does."""


class NodeSetting(Base):
    """One setting that was changed from its default."""

    __tablename__ = "node_settings"

    key: Mapped[str] = mapped_column(Text_, primary_key=True)
    value: Mapped[str]
    set_at: Mapped[Time]
    set_by: Mapped[str]


def value(session: Session, key: str) -> str:
    """The value in force. Raises `KeyError` for a setting that is not in `TABLE`."""
    row = session.get(NodeSetting, key)
    return row.value if row is not None else TABLE[key][1]


def is_on(session: Session, key: str) -> bool:
    """Whether a switch is on."""
    return value(session, key) == "on"


def put(unit: Unit, key: str, new: str) -> None:
    """Set one. Raises `WrongUsage` for an unknown key or value."""
    check(key, new)
    before = value(unit.session, key)
    unit.session.merge(NodeSetting(key=key, value=new, set_at=unit.now, set_by=str(unit.actor)))
    unit.session.flush()
    emit(unit, "system.settings.changed", source="control", key=key, before=before, after=new)


def check(key: str, new: str) -> None:
    """Raise `WrongUsage` unless `key` exists and may be `new`."""
    if key not in TABLE:
        raise WrongUsage(
            f"There is no node setting {key[:80]!r}.",
            cause=f"The node settings are: {', '.join(TABLE)}.",
            fix="See them with: fedtui settings list   (other settings: fedtui config)",
            code="setting_unknown",
        )
    allowed = TABLE[key][0]
    if new not in allowed:
        raise WrongUsage(
            f"{key} cannot be {new[:80]!r}.",
            cause=f"It is {' or '.join(allowed)}.",
            fix=f"Run: fedtui settings set {key} {allowed[0]}",
            code="setting_invalid",
        )


def rows(session: Session) -> list[dict[str, Any]]:
    """Every setting with its value, default and meaning."""
    stored = {row.key: row for row in session.scalars(select(NodeSetting))}
    return [
        {
            "key": key,
            "value": stored[key].value if key in stored else default,
            "default": default,
            "allowed": list(allowed),
            "help": meaning,
            "set_at": stored[key].set_at if key in stored else None,
            "set_by": stored[key].set_by if key in stored else None,
        }
        for key, (allowed, default, meaning) in TABLE.items()
    ]
