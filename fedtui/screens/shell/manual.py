"""The reader of the manual: the list of topics, or one page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget

from fedtui import manual
from fedtui.screens.shell.commands import DETAIL, EVERYWHERE
from fedtui.screens.shell.console_context import ConsoleContext
from fedtui.screens.shell.frame import Frame
from fedtui.screens.widgets.paint import BLANK, Line, Lines, paragraphs

Styled = tuple[str, str]
"""A paragraph and its style; without text, a blank line."""


def styled(markdown: str) -> list[Styled]:
    """Return the paragraphs of a page: headings strong, commands and tables line by line, other text to be wrapped."""
    found: list[Styled] = []
    text: list[str] = []
    fenced = False

    def end() -> None:
        if text:
            found.append((" ".join(text).replace("**", ""), ""))
            text.clear()

    for line in manual.linked(markdown, lambda topic: f":manual {topic}").splitlines():
        bare = line.strip()
        if bare.startswith("```"):
            end()
            fenced = not fenced
        elif fenced:
            found.append((f"  {line}", "strong"))
        elif not bare:
            end()
            found.append(("", ""))
        elif bare.startswith("#"):
            end()
            found.append((bare.lstrip("# "), "strong"))
        elif bare.startswith("|"):
            end()
            found.append((bare, ""))
        else:
            if bare.startswith(("* ", "- ")) or bare[:3] in ("1. ", "2. ", "3. ", "4. ", "5. "):
                end()
            text.append(bare)
    end()
    return found


def listed() -> list[Styled]:
    """Return the topics, each with its title, by section."""
    found: list[Styled] = [("The manual. Read a page: :manual TOPIC", "strong")]
    section = None
    for page in manual.topics():
        if page.section != section:
            found += [("", ""), (page.section.capitalize() or "Pages", "strong")]
            section = page.section
        found.append((f"{page.topic:<28} {page.title}", ""))
    return found


class ManualScreen(Frame):
    """One page of the manual, or the topics where none is named."""

    places: ClassVar[tuple[str, ...]] = (EVERYWHERE, DETAIL)
    DEFAULT_CSS = """
    ManualScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    ManualScreen #page { height: auto; }
    """

    def __init__(self, shared: ConsoleContext, topic: str = "") -> None:
        super().__init__(shared)
        self._topic = topic

    def trail(self) -> str:
        """The manual and the topic."""
        return f"Manual › {self._topic}" if self._topic else "Manual"

    def body(self) -> Iterator[Widget]:
        """The page."""
        with VerticalScroll(can_focus=False):
            yield Lines(id="page")

    def tick(self) -> None:
        """Fit the page to the width."""
        block = self.query_one("#page", Lines)
        width = max(block.size.width, 20)
        content = styled(manual.page(self._topic).text) if self._topic else listed()
        lines: list[Line] = []
        for text, style in content:
            lines += paragraphs([(text, style)], width, margin=0) if text else [BLANK]
        block.present(lines)
