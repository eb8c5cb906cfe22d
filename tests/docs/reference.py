"""The reference of commands, keys, settings and policies, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import typer

from fedtui.cli.program import app
from fedtui.core.administration.node_settings import TABLE
from fedtui.core.operations.policies import RULES
from fedtui.core.runtime import durations
from fedtui.core.runtime.settings import Settings
from fedtui.screens.shell.commands import COMMANDS, DIALOGS, at, key_names
from tests.docs.markdown import cell, code, table

COMMON = ("--json", "--operator", "--help", "--install-completion", "--show-completion")
PLACES = {
    "always": "Everywhere, also in dialogs", "everywhere": "Every screen", "table": "Every table",
    "detail": "Every detail", "pick": "Lists to pick from", "peers": "Peers", "peer": "A peer", "grants": "Grants",
    "grant": "A grant", "approvals": "Approvals", "approval": "A request", "certs": "mTLS", "cert": "A certificate",
    "playbook": "Playbook", "wizard": "Wizard", "home": "Home", "events": "Events", "event": "An event",
    "findings": "Governance", "finding": "A finding",
}  # fmt: skip
"""The headings of the console's places. A place that is not here has its own name."""


def generate() -> str:
    """Return the page."""
    lines = [
        "# Reference",
        "",
        "Generated from the program's declarations. Do not edit: run `python -m tests.docs reference --write`.",
        "",
        "Contents: [commands](#commands), [console](#console), [settings](#settings), "
        "[node settings](#node-settings), [policies](#policies).",
        "",
        *_commands(),
        *_console(),
        *_settings(),
        *_node_settings(),
        *_policies(),
    ]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    yield from ("## Commands", "")
    yield "Every command also takes `--json`, `--operator NAME` and `--help`."
    yield "Exit codes: 0 done; 1 a check found a problem; 2 wrong usage; 3 refused; 4 pending approval; "
    yield from ("5 remote or network failure; 70 a bug in fedtui.", "")
    yield from _command(root, "fedtui")


def _command(command: Any, path: str) -> Iterator[str]:
    children: dict[str, Any] = getattr(command, "commands", {})
    yield from (f"### `{_usage(command, path)}`", "", _prose(command.help or ""), "")
    options = [one for one in command.params if one.opts[0].startswith("-") and one.opts[0] not in COMMON]
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    rows = [(code(_word(one)), "yes" if one.required else "", _default(one), cell(_help(one))) for one in arguments]
    rows += [(_option(one), "yes" if one.required else "", _default(one), cell(_help(one))) for one in options]
    if rows:
        yield from table(("argument or option", "required", "default", "meaning"), rows)
    for name, child in children.items():
        if not child.hidden:
            yield from _command(child, f"{path} {name}")


def _prose(text: str) -> str:
    return " ".join(text.replace("\f", " ").split()).replace("<", "&lt;")


def _usage(command: Any, path: str) -> str:
    words = [_word(one) for one in command.params if not one.opts[0].startswith("-")]
    return " ".join([path, *words])


def _word(argument: Any) -> str:
    name = (getattr(argument, "metavar", None) or argument.name).upper()
    name = f"{name}..." if argument.nargs != 1 else name
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    words = " / ".join((*option.opts, *option.secondary_opts))
    return code(words) + (", repeatable" if option.multiple else "")


def _default(parameter: Any) -> str:
    value = parameter.default
    return code(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _help(parameter: Any) -> str:
    return getattr(parameter, "help", None) or ""


def _console() -> Iterator[str]:
    yield from ("## Console", "")
    yield "Type a command after `:`. A command without a key is reachable by its name alone. "
    yield from ("`console.toml` changes keys by these names, except in dialogs.", "")
    places = list(dict.fromkeys(place for command in COMMANDS for place in command.where))
    for place in [*(one for one in places if one not in DIALOGS), *(one for one in places if one in DIALOGS)]:
        yield from (f"### {PLACES.get(place) or 'Dialog: ' + place}", "")
        yield from table(
            ("command", "keys", "meaning", "permission"),
            (
                (
                    code(f"{command.name} {command.takes}".strip()),
                    " ".join(code(key) for key in key_names(command)),
                    cell(command.help),
                    code(command.permission),
                )
                for command in at(place)
            ),
        )


def _settings() -> Iterator[str]:
    yield from ("## Settings", "")
    yield "A process reads them when it starts. An option overrides the environment, which overrides `config.toml`, "
    yield "which overrides the default. `fedtui config` shows each value and its source. `FEDTUI_HOME` names the home."
    yield ""
    yield from table(
        ("setting", "environment", "default", "meaning"),
        (
            (
                code(row.name),
                code(f"FEDTUI_{row.name.upper()}"),
                code(durations.show(row.default) if isinstance(row.default, timedelta) else row.default),
                cell(row.metadata["help"]),
            )
            for row in fields(Settings)
            if "help" in row.metadata
        ),
    )


def _node_settings() -> Iterator[str]:
    yield from ("## Node settings", "")
    yield "The node's database holds them. Change one with `fedtui settings set KEY VALUE`, "
    yield "which goes through the gate."
    yield ""
    yield from table(
        ("setting", "default", "values", "meaning"),
        (
            (code(key), code(row.default), " ".join(map(code, row.allowed)) or cell(row.takes), cell(row.help))
            for key, row in TABLE.items()
        ),
    )


def _policies() -> Iterator[str]:
    yield from ("## Policies", "")
    yield "From the most permissive to the strictest: `auto_approve`, `notify_and_proceed`, "
    yield "`require_approval`, `blocked`."
    yield from ("Set one with `fedtui policies set ACTION POLICY`.", "")
    yield from table(
        ("action", "default", "floor", "permission"),
        (
            (code(action), code(rule.policy) + _once(rule), _floor(rule), code(rule.permission))
            for action, rule in RULES.items()
        ),
    )


def _once(rule: Any) -> str:
    alone = "; `notify_and_proceed` while fewer than two operators can approve"
    return alone if rule.asks_once_two_can_approve else ""


def _floor(rule: Any) -> str:
    words = (
        (rule.never_auto, "never `auto_approve`"),
        (rule.never_blocked, "never `blocked`"),
        (rule.never_lowered, "never lowered for an emergency"),
    )
    return "; ".join(text for holds, text in words if holds)
