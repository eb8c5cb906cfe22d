"""What the README promises a newcomer."""

from __future__ import annotations

import re
from pathlib import Path

from fedtui.core.governance import metrics as governance
from fedtui.core.views.metrics import QUESTIONS
from fedtui.screens.shell.commands import COMMANDS, DIALOGS, key_names

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


def test_the_readme_names_every_metric() -> None:
    """What can be asked of a node stands in the table of metrics."""
    told = (ROOT / "README.md").read_text()
    names = {question.name for question in (*QUESTIONS, *governance.QUESTIONS)}
    assert {name for name in names if f"`{name}" not in told} == set()


def test_the_readmes_keys_are_the_consoles() -> None:
    """Every key of every screen stands in the table, and none that does nothing; so do commands without a key."""
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", text.partition("| key | what it does |")[2].partition("\n\n")[0], re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(.+?)`", row)}
    ours = [command for command in COMMANDS if not set(command.where) & DIALOGS]
    keys = {key for command in ours for key in key_names(command)} - {"Up", "Down"}  # told as arrows
    assert told == keys
    assert [one.name for one in ours if not one.keys and f"`:{one.name}" not in text] == []
