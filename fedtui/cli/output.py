"""What a command prints: data on standard output, narration on standard error.

With `--json` data is one JSON document, and an error is one too.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fedtui.cli.streams import let_go
from fedtui.core.errors import Problem, WrongUsage


@dataclass
class Mode:
    """What the common options said: machine-readable or not, and who is acting."""

    json: bool = False
    operator: str | None = None


MODE = Mode()
FORMATS = ("md", "json")
"""Of documents."""
LONGEST_CELL = 2200
"""Characters of JSON on one line."""
LABEL_WIDTH = 16
"""Of the labels beside several lines: as wide as a request's longest."""


def show(data: Any, human: str | Callable[[], str] = "") -> None:
    """Print the result: `data` as JSON, or `human` as text. At once, also into a pipe: `serve` goes on after it."""
    if MODE.json:
        put(to_json(data))
        return
    text = human() if callable(human) else human
    if text:
        put(text)


def put(*lines: str) -> bool:
    """Print on standard output, at once; False where whoever read it has left, which is theirs to do: what was begun
    goes on, and the exit code tells how it ended. Raises `OSError` where printing fails otherwise."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:
        let_go(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise
        return False
    return True


def narrate(text: str) -> None:
    """Say something to the person watching; never part of the data."""
    print(visible(text), file=sys.stderr, flush=True)


def show_problem(problem: Problem) -> None:
    """An error: what is wrong, why, what to do next. Where one of the streams fails, the other still tells."""
    if MODE.json:
        with contextlib.suppress(OSError):  # perhaps that is the problem
            put(to_json({"error": dict(problem.as_dict())}))
    narrate(f"fedtui: {problem.problem}")
    if problem.cause:
        narrate(f"  why: {problem.cause}")
    if problem.fix:
        narrate(f"  fix: {problem.fix}")


def to_json(data: Any) -> str:
    """JSON with ISO 8601 UTC times, indented for a person at a terminal; in ASCII, which no terminal obeys."""
    return json.dumps(data, default=_plain, indent=2 if sys.stdout.isatty() else None)


def to_json_line(data: Any) -> str:
    """JSON on one line, wherever it goes."""
    return json.dumps(data, default=_plain)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]], *, empty: str) -> str:
    """Aligned columns of (key, title); `empty` where there are no rows."""
    if not rows:
        return empty
    cells = [[title for _, title in columns]] + [[text(row.get(key)) for key, _ in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def fields(record: Mapping[str, Any], keys: Iterable[str] | None = None) -> str:
    """One record, a line a field; what is empty is left out."""
    wanted = [key for key in (keys or record) if record.get(key) not in (None, "", [], {})]
    width = max((len(key) for key in wanted), default=0)
    return "\n".join(f"{key.replace('_', ' '):<{width}}  {text(record[key])}" for key in wanted)


def block(label: str, lines: Sequence[str]) -> str:
    """Several lines under one label, aligned with those of `fields`."""
    width = max(len(label), LABEL_WIDTH)
    return "\n".join(f"{'' if number else label:<{width}}  {visible(line)}" for number, line in enumerate(lines))


def text(value: Any) -> str:
    """A value as a person reads it on one line, with control characters made visible."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple):
        return ", ".join(text(one) for one in value) or "-"
    if isinstance(value, Mapping):
        return shortened(json.dumps(value, default=_plain))
    return visible(str(value))


def shortened(text: str) -> str:
    """A text in at most `LONGEST_CELL` characters: a person reads no more of it on a line."""
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}... (all of it: --json)"


def visible(text: str) -> str:
    """`text` with control, invisible and direction-changing characters spelled out: remotes choose words, too."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def one_of(option: str, given: str, allowed: Sequence[str]) -> None:
    """Raise `WrongUsage` unless an option has one of its words."""
    if given not in allowed:
        raise WrongUsage(
            f"{option} cannot be {given[:40]!r}.",
            cause=f"It is one of: {', '.join(allowed)}.",
            fix=f"Write {option} {allowed[0]}.",
        )


def give(text: str, to: Path | None) -> None:
    """Print a document, or write it to a file, and with --json say which. Raises `WrongUsage` where it cannot be."""
    if to is None:
        put(text)
        return
    try:
        to.write_text(text + "\n")
    except OSError as error:
        raise WrongUsage(f"{to} cannot be written.", cause=str(error), fix="Name another file with --to.") from error
    show({"file": str(to)})
    narrate(f"Written to {to}.")
