"""Tools on how the node is run: the manager, and, to look at only, policies, settings and operators.

Who may do what, and what weakens the node, is changed by people: there is no tool for it.
"""

from __future__ import annotations

from fedtui.core.administration import node_settings, operators
from fedtui.core.node import Node
from fedtui.core.operations import overrides, policies
from fedtui.core.views import serializers
from fedtui.mcp.acting import ORIGIN, act
from fedtui.mcp.parameters import LIMIT, OPTIONAL_REASON, REASON, text
from fedtui.mcp.table import Answer, Given, Tool


def _policies(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        return {"policies": policies.listing(session, node.clock.now())}


def _lowered(node: Node, given: Given) -> Answer:
    with node.read() as session:
        return {"lowered": [overrides.shape(session, row) for row in overrides.history(session, limit=given["limit"])]}


def _settings(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        return {"settings": node_settings.rows(session)}


def _operators(node: Node, _given: Given) -> Answer:
    with node.read() as session:
        return {"operators": [serializers.operator(row) for row in operators.listing(session)]}


def _withdraw(node: Node, given: Given) -> Answer:
    return serializers.approval(node.decide(node.actor(ORIGIN), "withdraw", given["approval"]))


TOOLS: tuple[Tool, ...] = (
    act(
        "system_sdwan_pause_manager",
        "Stop the SDWAN Manager: approved requests wait, nothing is reconciled. Every console shows it.",
        {"reason": REASON},
        "system.manager_pause",
        destroys=True,
    ),
    act(
        "system_sdwan_resume_manager",
        "Let the SDWAN Manager go on.",
        {"reason": OPTIONAL_REASON},
        "system.manager_resume",
    ),
    Tool(
        name="system_sdwan_withdraw_approval_request",
        words="Take back a request of the operator who started this server, while it is pending.",
        takes={"approval": text("A request's id, or a unique beginning of it.")},
        run=_withdraw,
        acts=True,
        destroys=True,
    ),
    Tool(
        name="system_sdwan_list_policies",
        words="Every action with the policy in force, and the permission to ask for it. People change them.",
        takes={},
        run=_policies,
    ),
    Tool(
        name="system_sdwan_list_lowered_policies",
        words="Every emergency lowering of a policy, newest first, with what went through meanwhile.",
        takes={"limit": LIMIT},
        run=_lowered,
    ),
    Tool(
        name="system_sdwan_list_node_settings",
        words="The settings that weaken the node, or that its findings rest on. People change them.",
        takes={},
        run=_settings,
    ),
    Tool(
        name="system_sdwan_list_operators",
        words="Who may do what here. People change it.",
        takes={},
        run=_operators,
    ),
)
