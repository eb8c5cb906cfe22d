"""`fedtui help`: the pages of the manual and of the runbook."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from fedtui.cli.output import MODE, put, show

WIDEST = 120
"""Columns of a page on a wide terminal: longer lines are hard to read."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("help")(help_)


def help_(
    topic: Annotated[
        str | None, typer.Argument(help="A topic, a symptom or a cause, like key_missing; without: the topics.")
    ] = None,
) -> None:
    """Read the manual: list the topics, or print the page of one."""
    from fedtui import manual

    if topic is None:
        rows = [{"topic": item.topic, "title": item.title, "section": item.section} for item in manual.topics()]
        show({"topics": rows}, _listed)
        return
    found = manual.page(topic)
    if MODE.json or not sys.stdout.isatty():
        show({"topic": found.topic, "title": found.title, "text": found.text}, found.text.rstrip("\n"))
        return
    _render(manual.linked(found.text, lambda name: f"`fedtui help {name}`"))


def _listed() -> str:
    """Return the topics by section, each with its title."""
    from fedtui import manual

    lines: list[str] = []
    section = None
    for item in manual.topics():
        if item.section != section:
            lines += ["", f"{item.section.capitalize()}:"] if item.section else []
            section = item.section
        lines.append(f"  {item.topic:<28} {item.title}")
    return "\n".join([*lines, "", "Read one: fedtui help TOPIC"])


def _render(text: str) -> None:
    """Print Markdown, wrapped to the terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=min(shutil.get_terminal_size().columns, WIDEST), highlight=False)
    with console.capture() as captured:
        console.print(Markdown(text, hyperlinks=False, code_theme="ansi_dark"))
    put(captured.get().rstrip("\n"))
