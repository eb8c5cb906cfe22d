"""Grants: what peers may use, what runs out first on top; and why a call is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fedtui.screens.grants.actions import GRANT_ACTS
from fedtui.screens.grants.view import columns, describe, describe_record, grant_label, grant_name
from fedtui.screens.grants.why import ask_why
from fedtui.screens.records.list_screen import ListScreen
from fedtui.screens.records.model import Kind
from fedtui.screens.records.record_screen import RecordScreen
from fedtui.screens.shell.commands import BY_NAME, DETAIL, EVERYWHERE, GRANT, GRANTS, TABLE
from fedtui.screens.widgets.window import Empty

if TYPE_CHECKING:
    from fedtui.core.grants.listing import GrantLine

GRANTS_KIND: Kind[GrantLine] = Kind(
    place="grants",
    title="Grants",
    noun="grant",
    acts=GRANT_ACTS,
    first_sort="expiry",
    empty=Empty("No grants yet.", (f"{{issue}}   {BY_NAME['issue'].help}",)),
    columns=columns,
    name=grant_name,
    label=grant_label,
    describe=describe,
    describe_record=describe_record,
    record=lambda node, id: node.grant_record(id),
)


class GrantsScreen(ListScreen["GrantLine"]):
    """The live table of grants."""

    kind = GRANTS_KIND
    places: ClassVar[tuple[str, ...]] = (GRANTS, TABLE, EVERYWHERE)

    def do_why(self) -> None:
        """Why a call is refused."""
        ask_why(self)


class GrantScreen(RecordScreen["GrantLine"]):
    """One grant in full."""

    kind = GRANTS_KIND
    places: ClassVar[tuple[str, ...]] = (GRANT, DETAIL, EVERYWHERE)

    def do_why(self) -> None:
        """Why a call is refused."""
        ask_why(self)
