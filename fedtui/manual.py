"""The manual: the Markdown pages under `fedtui/docs`, by topic.

Every `.md` file there is a page: its topic is the file's name without the ending, its title the first heading, and
its section the folder. A new file is a new topic. Nothing here knows a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fedtui.core.errors import WrongUsage

RUNBOOK = "runbook"
"""The section with a page for each symptom and each cause of the playbook."""
FIRST = ("operating", "responding", "approving", "installing", "several-machines", "security")
"""The topics that are listed first, in this order; the others follow by name."""
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:[^)\s]*/)?([A-Za-z0-9_-]+)\.md(?:#[^)\s]*)?\)")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its topic, its title, the section it stands in (empty for the manual itself), and its Markdown."""

    topic: str
    title: str
    section: str
    text: str


def topics() -> tuple[Page, ...]:
    """Return every page: the manual's own first, then each section by name."""
    return tuple(_pages().values())


def page(topic: str) -> Page:
    """Return the page of a topic, in any case and with `-` or `_`. Raises `WrongUsage` for an unknown topic."""
    pages = _pages()
    names = {_folded(name): name for name in pages}
    name = names.get(_folded(topic))
    if name is None:
        raise _unknown(topic, names)
    return pages[name]


def known(topic: str) -> bool:
    """Return whether there is a page with exactly this topic."""
    return topic in _pages()


def linked(text: str, form: Callable[[str], str]) -> str:
    """Return Markdown in which each link to a page is replaced by its words and `form(topic)`."""

    def replaced(link: re.Match[str]) -> str:
        words, topic = link[1], link[2]
        if topic not in _pages():
            return link[0]
        return form(topic) if _folded(words.strip("`")) == _folded(topic) else f"{words} ({form(topic)})"

    return _LINK.sub(replaced, text)


def _folded(topic: str) -> str:
    return topic.strip().lower().replace("-", "_").removesuffix(".md")


@cache
def _pages() -> Mapping[str, Page]:
    """Return the pages by topic, in the order in which they are listed."""
    found = _read(resources.files("fedtui") / "docs", "")
    place = {topic: number for number, topic in enumerate(FIRST)}
    found.sort(key=lambda item: (item.section, place.get(item.topic, len(FIRST)), item.topic))
    return {item.topic: item for item in found}


def _read(folder: Traversable, section: str) -> list[Page]:
    found: list[Page] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{section}/{entry.name}".lstrip("/"))
        elif entry.name.endswith(".md"):
            text = entry.read_text(encoding="utf-8")
            topic = entry.name.removesuffix(".md")
            found.append(Page(topic, _title(text) or topic, section, text))
    return found


def _title(text: str) -> str:
    first = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return first.removeprefix("# ").strip()


def _unknown(topic: str, names: Mapping[str, str]) -> WrongUsage:
    import difflib  # here, since it is needed for a mistyped topic alone

    near = difflib.get_close_matches(_folded(topic), names, n=1)
    fix = f"Did you mean {names[near[0]]}?" if near else "List the topics: fedtui help"
    return WrongUsage(
        f"The manual has no topic {topic[:60]!r}.",
        cause="A topic is the name of a page, of a symptom or of a cause.",
        fix=fix,
        code="topic_unknown",
    )
