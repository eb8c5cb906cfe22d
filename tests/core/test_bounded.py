"""Views of what remotes declare stay readable, however much they declare."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.runtime.truncated_json import LONGEST_KEY, bounded
from fedtui.core.views import serializers
from fedtui.mcp import answers
from fedtui.screens.peers.view import describe_record
from tests.core.test_peers import new_peer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=200,
)
MEGABYTE = {f"key-{number}": "x" * 100 for number in range(10_000)}
DEEP: dict[str, object] = {}
for _ in range(400):
    DEEP = {"a": DEEP}


@given(JSON, st.integers(min_value=10, max_value=500))
def test_what_fits_is_whole_and_what_does_not_is_cut(value: object, most: int) -> None:
    """A value within the bound is itself; a larger one comes close to the bound, of the same type, and says so."""
    shown, was_cut = bounded(value, most)
    assert was_cut == (len(json.dumps(value)) > most)
    assert was_cut or shown == value
    assert type(shown) is type(value)
    assert len(json.dumps(shown)) <= 12 * most + LONGEST_KEY + 400  # escapes take up to twelve bytes a character


def test_deep_and_wide_values_are_cut() -> None:
    """A megabyte of entries, or four hundred levels, is a few thousand bytes, with what was left out counted."""
    shown, was_cut = bounded(MEGABYTE, 2000)
    assert was_cut
    assert "more entries" in shown["..."]
    assert len(json.dumps(shown)) < 4000
    assert len(json.dumps(bounded(DEEP, 200)[0])) < 600
    assert bounded(["x" * 5000], 100)[0] == ["x" * 100 + "... (4900 more characters)"]


def test_what_stands_behind_a_long_name_is_cut_too() -> None:
    """A name that takes more room than is left leaves none for its value; two names that begin alike stay two."""
    shown, was_cut = bounded({"k" * 100: "x" * 100_000, "more": 1}, 50)
    assert was_cut
    assert len(json.dumps(shown)) < 300
    alike, _ = bounded({"k" * 300 + "1": 1, "k" * 300 + "2": 2}, 500)
    assert list(alike.values()) == [1, 2]


def test_every_view_of_a_peer_that_declares_a_megabyte_is_small(node: Node) -> None:
    """Shell, console and MCP show such a peer, name what they shortened, and only --full gives all of it."""
    peer = new_peer(node, "https://b.example")
    with node.unit(node.actor("test")) as unit:
        row = peers.get(unit.session, peer)
        row.capabilities, row.extension_slugs = MEGABYTE, [str(number) for number in range(100_000)]
        row.endpoints = [{"url": "https://b.example", "scope": "wan", "note": "y" * 100_000}]
    with node.read() as session:
        row = peers.get(session, peer)
        shape, whole = serializers.peer(session, row), serializers.peer(session, row, full=True)
    assert shape["shortened"] == ["capabilities", "endpoints", "extension_slugs"]
    assert len(json.dumps(shape, default=str)) < 20_000
    assert (whole["capabilities"], whole["shortened"]) == (MEGABYTE, [])
    assert answers.plain(shape)["shortened"] == shape["shortened"]
    record = node.peer_record(peer)
    assert sum(len(str(line)) for line in describe_record(record, node.clock.now())) < 30_000
