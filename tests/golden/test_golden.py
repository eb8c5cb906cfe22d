"""The contracts as they stand, compared with what is pinned in the files beside this one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from fedtui.api import openapi
from fedtui.cli.program import app
from fedtui.core.operations import approvals, policies, quarantine
from fedtui.core.operations.gate import Done
from fedtui.core.operations.operation import Operation
from fedtui.core.operations.policies import RULES
from fedtui.core.pki import certificates, signing
from fedtui.mcp import parameters
from fedtui.mcp.server import TOOLS
from tests.conftest import MakeNode
from tests.core.test_peers import new_peer, put_in
from tests.core.world import ADA, ELSEWHERE, KIND, NETWORK, World, make_world

FOLDER = Path(__file__).parent
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----[^-]+-----END [A-Z ]+-----\n?")
VARYING = re.compile(
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?P<fingerprint>(?:sha256:)?[0-9a-f]{64})"
    r"|(?P<serial>\b[0-9a-f]{38,40}\b)|(?P<beginning>(?:sha256:)?[0-9a-f]{8,63})(?=…)"
)
"""What is another at each run: it is replaced by its kind and a number, in order of appearance."""


@pytest.fixture
def pinned(request: pytest.FixtureRequest) -> Callable[[str, Any], Any]:
    """What a file holds; written anew first with --write-golden."""

    def read(name: str, now: Any) -> Any:
        file = FOLDER / f"{name}.json"
        if request.config.getoption("--write-golden"):
            file.write_text(json.dumps(now, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return json.loads(file.read_text())

    return read


class Names:
    """Gives what varies a name that does not."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def plain(self, value: Any) -> Any:
        """A JSON value without anything that varies."""
        text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
        text = PEM.sub(r"<\1>", text.replace("\\n", "\n")).replace("\n", "\\n")
        return json.loads(VARYING.sub(self._name, text))

    def _name(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        number = sum(name.startswith(f"<{kind}") for name in self._given.values()) + 1
        return self._given.setdefault(found[0], f"<{kind} {number}>")


def accept(_world: World) -> Mapping[str, Any]:
    return {"url": "https://c.example", "token": "t" * 43, "ca_fingerprint": "sha256:" + "a" * 64, "role": "child"}


def peer(world: World, **more: Any) -> Mapping[str, Any]:
    return {"peer": world.peer_id, **more}


def proposed(world: World) -> Mapping[str, Any]:
    return {"peer": new_peer(world.node, "https://proposed.example"), "ttl": "1h"}


def suspended(world: World) -> Mapping[str, Any]:
    put_in(world.node, world.peer_id, "suspended")
    return {"peer": world.peer_id}


def edit(world: World) -> Mapping[str, Any]:
    return peer(world, url="https://moved.example", maintenance="2h", prefix="fd12:3456:789a::/48", expires="365d")


def grant(world: World, **terms: Any) -> Mapping[str, Any]:
    return {"grant": world.grant(), **terms}


def bridge(world: World) -> Mapping[str, Any]:
    done = world.node.request(ADA, "system.federation_bridge_propose", peer(world, network=NETWORK))
    assert isinstance(done, Done)
    return {"bridge": done.result["id"]}


def active_bridge(world: World) -> Mapping[str, Any]:
    given = bridge(world)
    world.node.request(ADA, "system.federation_bridge_activate", given)
    return given


def document(_world: World) -> Mapping[str, Any]:
    return {"kind": KIND, "id": "one", "document": {"zone": "b.example"}}


def stored(world: World) -> Mapping[str, Any]:
    world.node.request(ADA, "system.federation_resource_put", document(world))
    return {"kind": KIND, "id": "one"}


def mint(_world: World) -> Mapping[str, Any]:
    return {"proxy": "edge-1", "csr_pem": signing.signing_request(signing.new_key(), "edge")}


def store(world: World) -> Mapping[str, Any]:
    with world.node.read() as session:
        return peer(world, cert_pem=certificates.own_ca(session).cert_pem)


def quarantined(world: World) -> Mapping[str, Any]:
    with world.node.unit(ADA) as unit:
        quarantine.begin(unit, "restored", known_until=unit.now)
    return {}


def lowered(world: World) -> Mapping[str, Any]:
    given = {"policy_action": "system.inventory_change", "policy": "auto_approve", "span": "30m", "reason": "fire"}
    done = world.node.request(ADA, "system.policy_lower", given, reason="fire")
    assert isinstance(done, Done)
    return {"lowering": done.result["id"]}


REASON = {"reason": "contract ended"}
EXAMPLES: Mapping[str, Callable[[World], Mapping[str, Any]]] = {
    "system.federation_peer_propose": lambda _: {"url": "HTTPS://C.example:443/", "role": "parent"},
    "system.federation_peer_accept": accept,
    "system.federation_peer_revoke": lambda world: peer(world, **REASON),
    "system.federation_peer_suspend": lambda world: peer(world, **REASON),
    "system.federation_peer_resume": suspended,
    "system.federation_peer_token": proposed,
    "system.federation_peer_edit": edit,
    "system.federation_grant_issue": lambda world: peer(
        world,
        subject="backup@b",
        kind=KIND,
        scopes=["write", "read"],
        instances=[ELSEWHERE],
        networks=[NETWORK],
        cidrs=["192.0.2.0/24"],
        ttl="30d",
        auto_renew=True,
    ),
    "system.federation_grant_edit": lambda world: grant(world, add_cidr=["192.0.2.0/24"]),
    "system.federation_grant_renew": grant,
    "system.federation_grant_revoke": lambda world: grant(world, **REASON),
    "system.federation_bridge_propose": lambda world: peer(world, network=NETWORK),
    "system.federation_bridge_activate": bridge,
    "system.federation_bridge_suspend": active_bridge,
    "system.federation_bridge_revoke": active_bridge,
    "system.federation_resource_put": document,
    "system.federation_resource_delete": stored,
    "system.inventory_change": lambda _: {"kind": "zone", "served": True},
    "system.federation_certificate_rotate": peer,
    "system.federation_certificate_store": store,
    "system.federation_certificate_mint": mint,
    "system.federation_certificate_revoke": lambda world: {"serial": world.serial, **REASON},
    "system.federation_certificate_anchor": lambda world: peer(world, ca_fingerprint="sha256:" + "a" * 64),
    "system.operator_add": lambda _: {"name": "carol", "permissions": ["system.federation_peers.view"]},
    "system.operator_remove": lambda _: {"name": "ben"},
    "system.settings_change": lambda _: {"key": "partial_mtls", "value": "fallback"},
    "system.quarantine_end": quarantined,
    "system.policy_set": lambda _: {"policy_action": "system.inventory_change", "policy": "require_approval"},
    "system.policy_lower": lambda _: {
        "policy_action": "system.federation_peer_revoke",
        "policy": "notify_and_proceed",
        "span": "30m",
        "reason": "fire",
    },
    "system.policy_restore": lambda _: {"policy_action": "system.inventory_change"},
    "system.policy_confirm": lowered,
    "system.manager_pause": lambda _: {},
    "system.manager_resume": lambda _: {},
}
"""For each action, what it is asked for with, on a world of its own."""


def of_action(act: Operation, world: World, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a request for an act would keep and show, without anything that varies; its digest is of just that."""
    with world.node.unit(ADA) as unit:
        wanted = act.read(unit, world.node, raw)
        target = act.target(unit.session, wanted.params) or {}
        summary, changes = act.summary(wanted.params, target), act.changes(wanted.params, target)
        recorded = act.recorded(wanted.params)
        unit.session.rollback()
    names = Names()
    params, plain_target = names.plain(wanted.params), names.plain(target)
    return {
        "params": params,
        "target": plain_target,
        "digest": approvals.digest_of(act.action, params, plain_target),
        "secrets": sorted(wanted.secrets),
        "summary": names.plain(summary),
        "changes": names.plain([[change.what, change.before, change.after] for change in changes]),
        "recorded": names.plain(recorded),
    }


def test_requests_keep_their_parameters_and_digests(make_node: MakeNode, pinned: Callable[[str, Any], Any]) -> None:
    """For every action, what a stored request holds, what an approver is shown and the digest of it are as pinned:
    a request that was filed by an earlier version can still be approved."""
    assert set(EXAMPLES) == set(RULES)
    made = {}
    for action, example in EXAMPLES.items():
        world = make_world(make_node(action.rpartition(".")[2].replace("_", "-")[:30]))
        made[action] = of_action(world.node.acts[action], world, example(world))
    assert made == pinned("requests", made)


def test_policies_start_as_they_do(pinned: Callable[[str, Any], Any]) -> None:
    """Each action's policy, permission, floors and severity."""
    now = {action: {name: getattr(rule, name) for name in policies.Rule.__slots__} for action, rule in RULES.items()}
    assert now == pinned("policies", now)


def commands() -> Mapping[str, Any]:
    """Every command of the shell with its arguments and options; not their prose."""
    found: dict[str, Any] = {}

    def walk(command: Any, path: str) -> None:
        for name, child in sorted(getattr(command, "commands", {}).items()):
            walk(child, f"{path} {name}")
        if not hasattr(command, "commands"):
            found[path] = [
                [
                    word.param_type_name,
                    *(sorted([*word.opts, *word.secondary_opts])),
                    bool(word.required),
                    bool(word.multiple) if word.param_type_name == "option" else word.nargs != 1,
                ]
                for word in command.params
            ]

    walk(typer.main.get_command(app), "fedtui")
    return found


def test_commands_keep_their_words(pinned: Callable[[str, Any], Any]) -> None:
    """Commands, arguments and options of the shell: names, whether they are required, and whether they repeat."""
    now = json.loads(json.dumps(commands()))
    assert now == pinned("commands", now)


def bare(schema: Any) -> Any:
    """A JSON schema without its prose."""
    if isinstance(schema, dict):
        return {
            name: bare(inner)
            for name, inner in schema.items()
            if name not in ("description", "summary", "title") or not isinstance(inner, str)
        }
    return [bare(one) for one in schema] if isinstance(schema, list) else schema


def test_tools_keep_their_names_and_arguments(pinned: Callable[[str, Any], Any]) -> None:
    """The tools of MCP: names, schemas of their arguments, and whether they act, take away or call out."""
    now = {
        tool.name: {
            "takes": bare(parameters.schema(parameters.model(tool.name, tool.takes))),
            "acts": tool.acts,
            "destroys": tool.destroys,
            "calls_out": tool.calls_out,
        }
        for tool in TOOLS
    }
    assert now == pinned("tools", now)


def test_the_api_keeps_its_calls_and_fields(pinned: Callable[[str, Any], Any]) -> None:
    """The federation API as its published description has it, without prose and version."""
    now = json.loads(json.dumps(bare(openapi.document())))
    now["info"].pop("version")
    assert now == pinned("api", now)
