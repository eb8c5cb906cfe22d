"""Settings that weaken a node, or that its findings rest on: kept in its database, changed only through the gate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import WrongUsage
from fedtui.core.runtime import prefixes
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

SWITCH = ("on", "off")
PROXIES = "trusted_proxies"
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


def _fingerprints(text: str) -> str | None:
    """SHA-256 fingerprints, separated by commas, each once; None if that is not what it is."""
    found = {one.strip().lower().replace(" ", "") for one in text.split(",") if one.strip()}
    return ",".join(sorted(found)) if all(_FINGERPRINT.fullmatch(one) for one in found) else None


def _prefix(text: str) -> str | None:
    """A prefix in its one spelling, or nothing; None if that is not what it is."""
    try:
        return prefixes.normalize(text) if text.strip() else ""
    except WrongUsage:
        return None


@dataclass(frozen=True, slots=True)
class Setting:
    """A row: what it is until set, what it does, and what it may be: one of `allowed`, or what `read` takes."""

    default: str
    help: str
    allowed: tuple[str, ...] = ()
    read: Callable[[str], str | None] = str
    takes: str = ""


TABLE: Mapping[str, Setting] = {
    "single_operator": Setting("off", "operators may decide their own requests", SWITCH),
    "drill_mode": Setting("off", "peers proposed here without a token accept any caller; never in production", SWITCH),
    "partial_mtls": Setting(
        "refuse", "calling a peer with half a key pair: not at all, or anonymously", ("refuse", "fallback")
    ),
    PROXIES: Setting(
        "",
        "proxies whose forwarded certificates, instances, networks and addresses are believed",
        read=_fingerprints,
        takes="fingerprints (sha256:...) of proxies' certificates, separated by commas; empty for none",
    ),
    "own_prefix": Setting(
        "",
        "this platform's own prefix, which no peer may overlap",
        read=_prefix,
        takes="a unique local /48, /56 or /64, like fd12:3456:789a::/48; empty for none",
    ),
}
"""Each setting that is changed through the gate."""


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
    return row.value if row is not None else TABLE[key].default


def is_on(session: Session, key: str) -> bool:
    """Whether a switch is on."""
    return value(session, key) == "on"


def fingerprints_in(text: str) -> frozenset[str]:
    """What a setting that holds several holds."""
    return frozenset(one for one in text.split(",") if one)


def put(unit: Unit, key: str, given: str) -> None:
    """Set one. Raises `WrongUsage` for an unknown key or value."""
    new = check(key, given)
    before = value(unit.session, key)
    unit.session.merge(NodeSetting(key=key, value=new, set_at=unit.now, set_by=str(unit.actor)))
    unit.session.flush()
    emit(unit, "system.settings.changed", source="control", key=key, before=before, after=new)


def check(key: str, new: str) -> str:
    """The value in its one spelling. Raises `WrongUsage` unless `key` exists and may be `new`."""
    if key not in TABLE:
        raise WrongUsage(
            f"There is no node setting {key[:80]!r}.",
            cause=f"The node settings are: {', '.join(TABLE)}.",
            fix="See them with: fedtui settings list   (other settings: fedtui config)",
            code="setting_unknown",
        )
    row = TABLE[key]
    read = row.read(new)
    if read is None or (row.allowed and new not in row.allowed):
        raise WrongUsage(
            f"{key} cannot be {new[:80]!r}.",
            cause=f"It is {row.takes or ' or '.join(row.allowed)}.",
            fix=f"Run: fedtui settings set {key} {row.allowed[0] if row.allowed else 'VALUE'}",
            code="setting_invalid",
        )
    return read


def rows(session: Session) -> list[dict[str, Any]]:
    """Every setting with its value, default and meaning."""
    stored = {row.key: row for row in session.scalars(select(NodeSetting))}
    return [
        {
            "key": key,
            "value": stored[key].value if key in stored else row.default,
            "default": row.default,
            "allowed": list(row.allowed),
            "help": row.help,
            "set_at": stored[key].set_at if key in stored else None,
            "set_by": stored[key].set_by if key in stored else None,
        }
        for key, row in TABLE.items()
    ]
