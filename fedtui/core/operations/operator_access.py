"""Who gets in: key lines for operators, and the break-glass. Done by the service account, recorded like acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtui.core.administration import authorized_keys, operators
from fedtui.core.administration.operators import MANAGE_OPERATORS
from fedtui.core.audit.events import emit
from fedtui.core.operations import break_glass
from fedtui.core.operations.reasons import reason_of
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime.actor import Actor


def authorize(
    site: NodeContext, actor: Actor, name: str, key_text: str, file: Path, command_for: Callable[[str], Sequence[str]]
) -> Mapping[str, Any]:
    """Bind an SSH key to an operator, by the name on record; `command_for` returns what a login of theirs runs.

    Raises `WrongUsage` for a bad key, `Refused` for one that is taken."""
    key = authorized_keys.key_of(key_text)
    with site.unit(actor) as unit:
        operators.require(unit.session, actor.name, MANAGE_OPERATORS)
        name = operators.require(unit.session, name).name
        command = command_for(name)
        new = authorized_keys.add(file, key, name, command)
        emit(unit, "system.operator.authorized", source="control", operator=name, key=key, new=new)
    return {
        "operator": name,
        "key": key,
        "file": str(file),
        "new": new,
        "line": authorized_keys.line(key, name, command),
    }


def deauthorize(site: NodeContext, actor: Actor, name: str, file: Path) -> Mapping[str, Any]:
    """Take an operator's SSH keys away, also of one who was removed."""
    with site.unit(actor) as unit:
        operators.require(unit.session, actor.name, MANAGE_OPERATORS)
        gone = authorized_keys.remove(file, name)
        emit(unit, "system.operator.deauthorized", source="control", operator=name, keys=gone)
    return {"operator": name, "file": str(file), "removed": gone}


def recover(site: NodeContext, actor: Actor, name: str, reason: str) -> Mapping[str, Any]:
    """The break-glass. Raises `Refused` while any operator could let anybody in."""
    why = reason_of({"reason": reason})
    with site.unit(actor) as unit:
        operator = break_glass.recover(unit, name, why)
        return {"operator": operator.name, "permissions": operator.permissions, "reason": why}


def acknowledge(site: NodeContext, actor: Actor) -> list[str]:
    """Say that the recoveries were seen; whose they were."""
    with site.unit(actor) as unit:
        return break_glass.acknowledge(unit)
