"""The page of the database schema, from SQLAlchemy's metadata."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

import fedtui.core
from fedtui.core.runtime.database import Base
from tests.docs.markdown import cell, code, table

DIALECT = postgresql.dialect()


def generate() -> str:
    """Return the page."""
    for module in pkgutil.walk_packages(fedtui.core.__path__, "fedtui.core."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    mappers = list(Base.registry.mappers)
    purposes = {mapper.local_table.name: _purpose(mapper.class_) for mapper in mappers}  # type: ignore[attr-defined]
    tables = sorted(Base.metadata.tables.values(), key=lambda one: one.name)
    lines = [
        "# Database schema",
        "",
        "Generated from the models. Do not edit: run `python -m tests.docs schema --write`.",
        "",
        "Types are PostgreSQL's; SQLite stores the same columns. The picture shows keys only.",
        "",
        "```mermaid",
        "erDiagram",
        *_picture(tables),
        "```",
        "",
    ]
    for row in tables:
        lines += [f"## {row.name}", "", purposes.get(row.name, ""), "", *_columns(row)]
    return "\n".join(lines).rstrip() + "\n"


def _purpose(model: type) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def _picture(tables: list[Table]) -> Iterator[str]:
    for row in tables:
        yield f"    {row.name} {{"
        for column in row.columns:
            if column.primary_key or column.foreign_keys:
                yield f"        {re.sub(r'[^A-Za-z0-9]', '_', _type(column))} {column.name} {_mark(column)}"
        yield "    }"
    for row in tables:
        for key in sorted(row.foreign_key_constraints, key=lambda one: one.column_keys):
            columns = [row.columns[name] for name in key.column_keys]
            parent = "|o" if any(column.nullable for column in columns) else "||"
            yield f'    {key.referred_table.name} {parent}--o{{ {row.name} : "{", ".join(key.column_keys)}"'


def _mark(column: Column[Any]) -> str:
    marks = (("PK", column.primary_key), ("FK", bool(column.foreign_keys)))
    return ", ".join(mark for mark, holds in marks if holds)


def _type(column: Column[Any]) -> str:
    return column.type.compile(dialect=DIALECT)


def _columns(row: Table) -> list[str]:
    lines = table(
        ("column", "type", "null", "key"),
        ((code(c.name), code(_type(c)), _null(c), cell(_key(c))) for c in row.columns),
    )
    indexes = sorted(row.indexes, key=lambda one: str(one.name))
    if indexes:
        lines += [f"Indexes: {', '.join(code(one.name) + (' (unique)' if one.unique else '') for one in indexes)}.", ""]
    return lines


def _null(column: Column[Any]) -> str:
    return "yes" if column.nullable else ""


def _key(column: Column[Any]) -> str:
    targets = sorted(key.target_fullname for key in column.foreign_keys)
    return ", ".join([*(["primary"] if column.primary_key else []), *(f"references {one}" for one in targets)])
