"""The table of generated pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.docs import reference, schema

DOCS = Path(__file__).parents[2] / "fedtui" / "docs"


@dataclass(frozen=True)
class Page:
    """One page: its file, and the function that returns its text."""

    path: Path
    generate: Callable[[], str]


PAGES = {
    "reference": Page(DOCS / "reference.md", reference.generate),
    "schema": Page(DOCS / "schema.md", schema.generate),
}
