"""What the README and the manual promise a newcomer."""

from __future__ import annotations

import re
from pathlib import Path

from fedtui import manual
from fedtui.core.governance import metrics as governance
from fedtui.core.views.metrics import QUESTIONS
from fedtui.screens.shell.commands import COMMANDS, DIALOGS, key_names
from tests.test_manual import commands, refusal

ROOT = Path(__file__).parent.parent
TEST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/python -m pip install --quiet -e '.[test]' && .venv/bin/python -m pytest"
)
DEMO_COMMAND = "python3 -m venv .venv && .venv/bin/python -m pip install --quiet . && .venv/bin/fedtui demo"


def test_ci_runs_the_readmes_test_command() -> None:
    """The command a newcomer is given to pass the tests is the one that CI runs."""
    assert TEST_COMMAND in (ROOT / "README.md").read_text()
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text()


def test_the_readme_opens_with_the_demo_and_a_picture_that_exists() -> None:
    """Purpose, picture and demo command come first, and the picture is in the repository."""
    opening = (ROOT / "README.md").read_text()[:3000]
    assert DEMO_COMMAND in opening
    picture = opening.partition("](snapshots/")[2].partition(")")[0]
    assert (ROOT / "snapshots" / picture).is_file()


def test_the_readme_is_short_and_leads_on() -> None:
    """The README stays near 6 KB, and links to the pages of the manual."""
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) < 7000
    assert [topic for topic in manual.FIRST if f"](fedtui/docs/{topic}.md)" not in text] == []
    assert all((ROOT / picture).is_file() for picture in re.findall(r"!\[.*?\]\((.+?)\)", text))


def test_the_readmes_commands_parse() -> None:
    """Every `fedtui` command in a fenced block of the README names a command and options that exist."""
    lines = commands((ROOT / "README.md").read_text())
    assert lines
    assert [why for line in lines if (why := refusal(line))] == []


def test_the_manual_names_every_metric() -> None:
    """Each metric of a node stands in the manual's table of metrics."""
    told = manual.page("operating").text
    names = {question.name for question in (*QUESTIONS, *governance.QUESTIONS)}
    assert {name for name in names if f"`{name}" not in told} == set()


def test_the_manuals_keys_are_the_consoles() -> None:
    """Every key of every screen stands in the table, and none that does nothing; so do commands without a key."""
    text = manual.page("operating").text
    rows = re.findall(r"^\| (`.*?) \|", text.partition("| key | what it does |")[2].partition("\n\n")[0], re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(.+?)`", row)}
    ours = [command for command in COMMANDS if not set(command.where) & DIALOGS]
    keys = {key for command in ours for key in key_names(command)} - {"Up", "Down"}  # told as arrows
    assert told == keys
    assert [one.name for one in ours if not one.keys and f"`:{one.name}" not in text] == []
