"""Short lists of the node, each as rows of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings
from fedtui.core.grants import bridges, inventory, resource_operations, resources
from fedtui.core.operations import policies

Rows = Sequence[Mapping[str, Any]]


def _bridges(session: Session, _now: datetime) -> Rows:
    return [resource_operations.bridge_shape(row) for row in bridges.listing(session)]


def _inventory(session: Session, _now: datetime) -> Rows:
    return [{"kind": row.kind, "added_by": row.added_by} for row in inventory.listing(session)]


def _resources(session: Session, _now: datetime) -> Rows:
    return [
        {"kind": row.kind, "id": row.id, "version": row.version, "updated_by": row.updated_by}
        for row in resources.listing(session)
    ]


def _settings(session: Session, _now: datetime) -> Rows:
    return node_settings.rows(session)


ROWS: Mapping[str, Callable[[Session, datetime], Rows]] = {
    "bridges": _bridges,
    "inventory": _inventory,
    "resources": _resources,
    "settings": _settings,
    "policies": policies.listing,
}
"""Each list by its name: at most 100 rows of what can grow."""
