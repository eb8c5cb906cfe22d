"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """Return a text as one table cell: on one line, its bars escaped, its angle brackets shown as they are."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: object) -> str:
    """Return a text as code in a table cell, or nothing for an empty one."""
    words = " ".join(str(text).split()).replace("|", "\\|")
    return f"`{words}`" if words else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with an empty line after it. The cells are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return [*lines, ""]
