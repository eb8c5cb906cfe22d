"""What the benchmarks print, kept in one file: `results.md` beside this one, a dated section for each benchmark.

A section is replaced when its benchmark runs again, the others stay; so each says when and on what it was measured.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import ssl
import sys
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("results.md")
HEADING = (
    "# What fedtui costs\n\n"
    "`python -m tests.benchmarks` measures all of it anew, `python -m tests.benchmarks NAME...` some of it. Machines "
    "differ, so the columns of ratios (`x`) are what to read: each is to the figure that its table names.\n"
)
_lines: list[str] = []


def say(line: str) -> None:
    """A line of a table, at once, and for the file."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    _lines.append(line)


def begin(title: str, name: str) -> None:
    """Begin the section of a benchmark: when, on what, and how busy that was just before."""
    _lines.clear()
    say(f"## {title}\n")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    say(
        f"`{name}`, {time.strftime('%Y-%m-%d', time.gmtime())}: {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()} {platform.machine()}, load before it {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}, SQLite {sqlite3.sqlite_version}, "
        f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])}, Textual {version('textual')}.\n"
    )


def keep(order: list[str]) -> None:
    """Put the section just measured into the file, in the place that `order`, all titles, gives it."""
    kept = RESULTS.read_text() if RESULTS.exists() else ""
    sections = {part.partition("\n")[0]: part.rstrip() for part in re.split(r"^## ", kept, flags=re.MULTILINE)[1:]}
    text = "\n".join(_lines).removeprefix("## ").rstrip()
    sections[text.partition("\n")[0]] = text
    body = "\n\n".join(f"## {sections[title]}" for title in order if title in sections)
    RESULTS.write_text(f"{HEADING}\n{body}\n")
