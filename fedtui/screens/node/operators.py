"""The operators of a node in the console: who they are, adding and removing one, and how their keys are let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.node.action import WHY, NodeAct

if TYPE_CHECKING:
    from fedtui.screens.shell.console_context import ConsoleContext

PERMISSIONS = {
    "view": "system.federation_peers.view",
    "peers": "system.federation_peers.manage",
    "grants": "system.federation_grants.manage",
    "approve": "system.infra_tasks.control",
    "operators": "system.operators.manage",
}
"""Short names for what an operator may do."""
EVERYTHING = " ".join(PERMISSIONS)
AUTHORIZE = "fedtui operators authorize {name} --key {name}.pub"
"""Run by the service account in a shell: it writes the account's authorized_keys."""


def listing(rows: Sequence[Mapping[str, Any]]) -> str:
    """The operators with their permissions, and what adds, removes and lets one in."""
    short = {permission: name for name, permission in PERMISSIONS.items()}
    width = max((len(str(row["name"])) for row in rows), default=0)
    lines = [
        f"{row['name']!s:<{width}}  {' '.join(short.get(one, one) for one in row['permissions']) or 'no permissions'}"
        for row in rows
    ]
    return "\n".join(
        [
            *lines,
            "",
            ":add-operator adds an operator, :remove-operator removes one.",
            "To let an operator's SSH key in, run this as the account of the node:",
            AUTHORIZE.format(name="NAME"),
        ]
    )


def _add(_shared: ConsoleContext) -> Question:
    return Question(
        "Add an operator",
        (
            "The operator acts under this name, with these permissions. Once another operator can approve, this waits "
            f"for approval. Then run, as the account of the node: {AUTHORIZE.format(name='NAME')}",
        ),
        "Add",
        fields=(
            Field("name", "Name", hint="carol", check=required, limit=64),
            Field("permissions", f"Permissions, of: {EVERYTHING}", "view", check=_permissions_wrong),
            WHY,
        ),
    )


def _remove(shared: ConsoleContext) -> Question:
    names = [str(row["name"]) for row in shared.opened_node().operators()]
    if len(names) < 2:
        return Question("", ("There is no other operator to remove.",), "")
    told = "The operator's sessions end, and requests of theirs can no longer run. Keys stay in authorized_keys until:"
    return Question(
        "Remove an operator",
        (told, "fedtui operators authorize NAME --remove"),
        "Remove",
        dangerous=True,
        fields=(Field("name", "Operator (Left, Right)", names[0], choices=names), WHY),
    )


def _permissions_wrong(text: str) -> str:
    given = text.replace(",", " ").split()
    unknown = [one for one in given if one not in PERMISSIONS]
    if unknown:
        return f"There is no permission {unknown[0][:30]}."
    return "" if given else "Required."


def _add_params(_shared: ConsoleContext, answers: Answers) -> Mapping[str, Any]:
    given = answers["permissions"].replace(",", " ").split()
    return {"name": answers["name"].strip(), "permissions": [PERMISSIONS[one] for one in given]}


OPERATOR_ACTS: Mapping[str, NodeAct] = {
    "add-operator": NodeAct(
        _add, "system.operator_add", "Added. :operators shows how to let an SSH key in.", _add_params
    ),
    "remove-operator": NodeAct(
        _remove, "system.operator_remove", "Removed.", lambda _shared, answers: {"name": answers["name"]}
    ),
}
