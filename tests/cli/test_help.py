"""`fedtui help`: the topics, one page, and a mistyped topic."""

from __future__ import annotations

import pytest

from fedtui import manual
from tests.homes import Home, MakeHome


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    """A node, though help needs none."""
    return make_home("alpha", "--single-operator")


def test_help_lists_and_prints(home: Home) -> None:
    """`fedtui help` lists the topics; with one it prints its Markdown, and with --json topic, title and text."""
    listing = home.run("help")
    assert (listing.code, "operating" in listing.out, "key_missing" in listing.out) == (0, True, True)
    page = manual.page("key_missing")
    assert home.run("help", "key_missing").out.rstrip() == page.text.rstrip()
    assert home.ok("help", "key_missing") == {"topic": "key_missing", "title": page.title, "text": page.text}
    assert home.ok("help", "key_mising", code=2)["error"]["fix"] == "Did you mean key_missing?"
