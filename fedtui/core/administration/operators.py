"""Operators: who may act on this node, and what each may do."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.administration import preferences
from fedtui.core.audit.events import emit
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import JsonList, Text_, Time
from fedtui.core.runtime.unit import Unit

VIEW = "system.federation_peers.view"
MANAGE_PEERS = "system.federation_peers.manage"
MANAGE_GRANTS = "system.federation_grants.manage"
CONTROL = "system.infra_tasks.control"
MANAGE_OPERATORS = "system.operators.manage"
PERMISSIONS = (VIEW, MANAGE_PEERS, MANAGE_GRANTS, CONTROL, MANAGE_OPERATORS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class Operator(Base):
    """A person who acts on this node. A removed one stays on record: history names them."""

    __tablename__ = "operators"

    name: Mapped[str] = mapped_column(Text_, primary_key=True)
    permissions: Mapped[JsonList]
    added_at: Mapped[Time]
    removed_at: Mapped[Time | None]


def add(unit: Unit, name: str, permissions: Sequence[str]) -> Operator:
    """Add an operator, or bring back a removed one. Raises `WrongUsage` or `Refused`."""
    check(name, permissions)
    require_free(unit.session, name)
    existing = unit.session.get(Operator, name)
    operator = existing or Operator(name=name)
    operator.permissions = sorted(set(permissions))
    unit.session.add(operator)
    restore(unit, operator)
    return operator


def require_free(session: Session, name: str) -> None:
    """Raise `Refused` where an operator has that name, or another that counts as the same. One who was removed can be
    brought back under the very name."""
    alike = [row for row in _alike(session, name) if row.removed_at is None or row.name != name]
    if not alike:
        return
    row = alike[0]
    there = row.removed_at is None
    raise Refused(
        f"There is already an operator {row.name}." if there else f"There was an operator {row.name}.",
        cause=f"Added at {row.added_at.isoformat()}. Upper and lower case make no difference.",
        fix="See them with: fedtui operators list" if there else f"Bring them back: fedtui operators add {row.name}",
        code="operator_exists",
    )


def restore(unit: Unit, operator: Operator) -> None:
    """Put an operator in office, with the permissions that its row has."""
    operator.added_at, operator.removed_at = unit.now, None
    unit.session.flush()
    emit(unit, "system.operator.added", source="control", operator=operator.name, permissions=operator.permissions)


def check(name: str, permissions: Sequence[str]) -> None:
    """Raise `WrongUsage` unless this can be an operator's name, with these permissions."""
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{name[:80]!r} cannot be an operator's name.",
            cause="A name is ASCII letters, digits and . _ @ -, at most 64 of them.",
            fix="Choose a name like alice or alice@example.com (fedtui init --operator NAME).",
            code="operator_name_invalid",
        )
    unknown = [one for one in permissions if one not in PERMISSIONS]
    if unknown or not permissions:
        raise WrongUsage(
            f"There is no permission {unknown[0]!r}." if unknown else "An operator needs at least one permission.",
            cause=f"The permissions are: {', '.join(PERMISSIONS)}.",
            fix="Give --permission once for each.",
            code="permission_unknown",
        )


def remove(unit: Unit, name: str) -> Operator:
    """Remove an operator. Raises `Refused` for the last one who can approve."""
    operator = require(unit.session, name)
    name = operator.name
    # Held until the end of the unit: two removals at once must not each count on the other's operator.
    unit.session.execute(select(Operator.name).with_for_update())
    if approvers(unit.session) == [name]:
        raise Refused(
            f"{name} is the last operator who can approve.",
            cause="Nobody could decide a request, or bring an operator back.",
            fix=f"First add another with: fedtui operators add NAME --permission {CONTROL}",
            code="last_approver",
        )
    operator.removed_at = unit.now
    preferences.forget(unit, name)
    unit.session.flush()
    emit(unit, "system.operator.removed", source="control", operator=name)
    return operator


def bring_back(unit: Unit, name: str) -> Operator:
    """Make `name` an operator with every permission, whoever it was: the break-glass."""
    alike = [unit.session.get(Operator, name), *_alike(unit.session, name)]
    operator = next((row for row in alike if row is not None), None) or Operator(name=name)
    operator.permissions, operator.added_at, operator.removed_at = sorted(PERMISSIONS), unit.now, None
    unit.session.add(operator)
    unit.session.flush()
    return operator


def folded(name: str) -> str:
    """Return the form in which names are compared: without case, and with look-alike forms of a letter made one."""
    return unicodedata.normalize("NFKC", name).casefold()


def same(name: str, other: str) -> bool:
    """Return whether two names count as one person's."""
    return folded(name) == folded(other)


def spellings(session: Session, name: str) -> list[str]:
    """Return every name on record that counts as the same person's, `name` itself among them."""
    return sorted({name, *(row.name for row in _alike(session, name))})


def canonical(session: Session, name: str) -> str:
    """Return the name as it is on record, in whatever case it was given; `name` itself where none or several fit."""
    operator = _on_record(session, name)
    return operator.name if operator is not None else name


def ambiguous(session: Session) -> list[str]:
    """Return the operators whose names are not ASCII, or that differ from another's by case or look alone.

    An earlier version took such names; they stay, and a finding names them.
    """
    names = [row.name for row in listing(session)]
    times = Counter(map(folded, names))
    return [name for name in names if not _NAME.fullmatch(name) or times[folded(name)] > 1]


def _alike(session: Session, name: str) -> list[Operator]:
    """Operators, removed ones too, whose names count as the same."""
    return [row for row in session.scalars(select(Operator).order_by(Operator.name)) if same(row.name, name)]


def _on_record(session: Session, name: str) -> Operator | None:
    """The operator called exactly so, else the only one whose name counts as the same; none who was removed."""
    exact = session.get(Operator, name)
    rows = [exact] if exact is not None else _alike(session, name)
    present = [row for row in rows if row.removed_at is None]
    return present[0] if len(present) == 1 else None


def require(session: Session, name: str, permission: str | None = None) -> Operator:
    """The operator called `name`. Raises `NotFound`, or `Refused` without `permission`."""
    operator = _on_record(session, name)
    if operator is None:
        raise NotFound(
            f"{name} is not an operator of this node.",
            cause="Only operators on record can act.",
            fix="Have one of them add you: fedtui operators add NAME   (who they are: fedtui operators list)",
            code="operator_unknown",
        )
    if permission is not None and permission not in operator.permissions:
        raise Refused(
            f"{name} may not do this.",
            cause=f"It takes the permission {permission}.",
            fix="Ask an operator who has it (fedtui operators list), or have it given to you.",
            code="permission_missing",
        )
    return operator


def listing(session: Session) -> list[Operator]:
    """Operators on record and not removed, by name."""
    return list(session.scalars(select(Operator).where(Operator.removed_at.is_(None)).order_by(Operator.name)))


def approvers(session: Session) -> list[str]:
    """Names of those who can decide requests."""
    return [operator.name for operator in listing(session) if CONTROL in operator.permissions]
