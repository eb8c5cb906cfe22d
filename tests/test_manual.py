"""The manual: its pages, its commands, and that the package carries it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from fedtui import manual
from fedtui.cli.program import app
from fedtui.core.diagnosis import causes
from fedtui.core.errors import WrongUsage
from fedtui.screens.shell.manual import listed, styled

DOCS = Path(manual.__file__).parent / "docs"
CODES = {*causes.BY_CODE, *causes.BY_SYMPTOM}
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return every `fedtui ...` command of the fenced blocks of a page, without comments and redirections."""
    lines = [line.strip() for block in FENCE.findall(text) for line in block.splitlines()]
    return [re.split(r" #| [<>|] | <| >", line)[0] for line in lines if line.startswith("fedtui ")]


def refusal(command: str) -> str:
    """Return why a command line does not parse as far as its words and option names go; empty where it does."""
    words = shlex.split(command)[1:]
    found: Any = typer.main.get_command(app)
    while words and getattr(found, "commands", None) and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in found.commands:
            return f"{command}: there is no {name}"
        found = found.commands[name]
    options = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return f"{command}: unknown {unknown}" if unknown else ""


def test_each_symptom_and_cause_has_exactly_one_page() -> None:
    """The runbook has one page for each symptom and each cause of the catalogue, and no page is left over."""
    pages = [page.topic for page in manual.topics() if page.section == manual.RUNBOOK]
    assert sorted(pages) == sorted(CODES)


def test_topics_are_unique_and_titled() -> None:
    """Each file is a topic of its own, with a heading; links lead to files that exist."""
    files = list(DOCS.rglob("*.md"))
    assert len(manual.topics()) == len(files)
    assert [page.topic for page in manual.topics() if page.title == page.topic] == []
    broken = [
        f"{file.name}: {target}"
        for file in files
        for target in re.findall(r"\]\(([^)#\s]+\.md)", file.read_text())
        if not (file.parent / target).is_file()
    ]
    assert broken == []


def test_runbook_pages_have_the_steps_of_a_diagnosis() -> None:
    """A page of the runbook says how to recognise it, what fixes it and how to verify that, with commands."""
    for page in manual.topics():
        if page.section == manual.RUNBOOK:
            missing = [part for part in ("## How to recognise it", "## Fix", "## Verify") if part not in page.text]
            assert missing == [], page.topic
            assert commands(page.text), page.topic


@pytest.mark.parametrize("topic", [page.topic for page in manual.topics()])
def test_commands_parse(topic: str) -> None:
    """Every `fedtui` command in a fenced block of a page names a command and options that exist."""
    assert [why for line in commands(manual.page(topic).text) if (why := refusal(line))] == []


def test_an_unknown_topic_suggests_the_nearest() -> None:
    """A mistyped topic is wrong usage, and names the nearest."""
    with pytest.raises(WrongUsage) as caught:
        manual.page("key-mising")
    assert caught.value.fix == "Did you mean key_missing?"
    assert manual.page("Key-Missing").topic == "key_missing"


def test_links_are_shown_as_commands() -> None:
    """A link to a page becomes its topic in the form of the surface; other links stay."""
    text = "See [key_missing](runbook/key_missing.md), [the key](key_missing.md) and [x](x.toml)."
    shown = manual.linked(text, lambda topic: f":manual {topic}")
    assert shown == "See :manual key_missing, the key (:manual key_missing) and [x](x.toml)."


def test_the_console_wraps_text_and_keeps_commands() -> None:
    """The reader joins the lines of a paragraph, and leaves each command on its own line."""
    found = styled("# Title\n\none\ntwo\n\n```sh\nfedtui doctor\nfedtui sweep\n```\n")
    assert found == [
        ("Title", "strong"), ("", ""), ("one two", ""), ("", ""), ("  fedtui doctor", "strong"),
        ("  fedtui sweep", "strong"),
    ]  # fmt: skip
    assert any("key_missing" in text for text, _ in listed())
