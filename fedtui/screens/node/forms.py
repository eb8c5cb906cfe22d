"""Commands of the console whose form an operation declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from fedtui.screens.dialogs.ask import Answers, Question
from fedtui.screens.dialogs.field import Field, required
from fedtui.screens.node.action import WHY, NodeAct

if TYPE_CHECKING:
    from fedtui.core.operations.form import Parameter
    from fedtui.screens.shell.console_context import ConsoleContext

FORMS: Mapping[str, str] = {
    "propose-bridge": "system.federation_bridge_propose",
    "activate-bridge": "system.federation_bridge_activate",
    "suspend-bridge": "system.federation_bridge_suspend",
    "revoke-bridge": "system.federation_bridge_revoke",
    "serve-kind": "system.inventory_change",
    "stop-kind": "system.inventory_change",
    "put-resource": "system.federation_resource_put",
    "delete-resource": "system.federation_resource_delete",
    "store-cert": "system.federation_certificate_store",
    "trust-ca": "system.federation_certificate_anchor",
    "edit-peer": "system.federation_peer_edit",
    "set": "system.settings_change",
    "set-policy": "system.policy_set",
    "end-quarantine": "system.quarantine_end",
}
"""Each command, and its operation. The declarations themselves come with the node, after the first paint."""


def _question(name: str, shared: ConsoleContext) -> Question:
    form = shared.opened_node().form(FORMS[name], name)
    fields = (*map(_field, form.parameters), WHY)
    return Question(form.title, (form.consequence,), form.confirm, fields=fields, dangerous=form.dangerous)


def _field(parameter: Parameter) -> Field:
    default = parameter.default or (parameter.choices[0] if parameter.choices else "")
    return Field(
        parameter.name,
        parameter.label,
        default,
        hint=parameter.hint,
        check=partial(_wrong, parameter),
        choices=parameter.choices,
        limit=parameter.limit,
    )


def _wrong(parameter: Parameter, text: str) -> str:
    """What is wrong with an answer, or nothing."""
    from fedtui.core.errors import WrongUsage

    if not text.strip():
        return required(text) if parameter.required else ""
    try:
        parameter.read(text)
    except WrongUsage as wrong:
        return wrong.problem
    return ""


def _params(name: str, shared: ConsoleContext, answers: Answers) -> Mapping[str, object]:
    from fedtui.core.operations import form

    return form.read(shared.opened_node().form(FORMS[name], name), answers)


FORM_ACTS: Mapping[str, NodeAct] = {
    name: NodeAct(partial(_question, name), action, None, partial(_params, name)) for name, action in FORMS.items()
}
