"""Saved views: filter, order, part and columns of a table under a name, and the theme; kept per operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedtui.screens.widgets.reading import Query

THEME, REMEMBER = "theme", "remember"


@dataclass(frozen=True, slots=True)
class View:
    """How a table is looked at. Without `columns`, those that fit."""

    query: Query
    columns: tuple[str, ...] = ()

    def kept(self) -> dict[str, Any]:
        """As it is kept. Where a tail was paused is of no use another day."""
        asked = self.query
        shown = {"sort": asked.sort, "text": asked.text, "invert": asked.invert, "part": asked.view}
        return shown | {"columns": list(self.columns)}

    def told(self) -> str:
        """In a few words, for the list of views."""
        asked = self.query
        filtered = f"/{'!' if asked.invert else ''}{asked.text}" if asked.text else ""
        shown = f"columns {' '.join(self.columns)}" if self.columns else ""
        return "  ".join(filter(None, (asked.view, filtered, f"by {asked.sort}", shown)))


def read(kept: Any, first: View, *, sorts: Sequence[str], parts: Sequence[str], columns: Sequence[str]) -> View:
    """A view as it was kept, as far as it fits the table of today; the rest is as in `first`."""
    said: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    text = said.get("text")
    text = text if isinstance(text, str) else ""
    given = said.get("columns")
    chosen = tuple(one for one in given if one in columns) if isinstance(given, list) else ()
    query = replace(
        first.query,
        sort=said["sort"] if said.get("sort") in sorts else first.query.sort,
        view=said["part"] if said.get("part") in parts else first.query.view,
        text=text,
        invert=said.get("invert") is True and bool(text),
    )
    return View(query, chosen)
