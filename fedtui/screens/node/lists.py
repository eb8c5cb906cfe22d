"""Short lists of the node that are shown as text: bridges, inventory, documents, settings, policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EMPTY = "None."


@dataclass(frozen=True, slots=True)
class TextList:
    """A list: its title, the columns with their heads, the command of the shell that prints it, and what changes it."""

    title: str
    columns: Mapping[str, str]
    instead: str
    next_step: str


LISTS: Mapping[str, TextList] = {
    "bridges": TextList(
        "Network bridges",
        {"id": "ID", "status": "Status", "network_id": "Network", "peer_id": "Peer"},
        "fedtui bridges list",
        ":propose-bridge, :activate-bridge, :suspend-bridge and :revoke-bridge change them.",
    ),
    "inventory": TextList(
        "Resource kinds served",
        {"kind": "Kind", "added_by": "Added by"},
        "fedtui inventory list",
        ":serve-kind adds one, :stop-kind removes one.",
    ),
    "resources": TextList(
        "Documents",
        {"kind": "Kind", "id": "ID", "version": "Version", "updated_by": "Written by"},
        "fedtui resources list",
        ":put-resource writes one, :delete-resource deletes one.",
    ),
    "settings": TextList(
        "Settings",
        {"key": "Setting", "value": "Value", "help": "Meaning"},
        "fedtui settings list",
        ":set changes one.",
    ),
    "policies": TextList(
        "Policies",
        {"action": "Operation", "policy": "Policy", "default": "Default"},
        "fedtui policies list",
        ":set-policy sets one; :lower-policy overrides one for a while.",
    ),
}


def text(shown: TextList, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a list as lines of text, its columns aligned, and what changes it."""
    cells = [[*shown.columns.values()], *([str(row.get(name) or "") for name in shown.columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(shown.columns))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([*(lines if rows else [EMPTY]), "", shown.next_step])
