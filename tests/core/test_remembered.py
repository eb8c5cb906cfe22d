"""What is remembered, and what of it is forgotten."""

from __future__ import annotations

import pytest

from fedtui.core.runtime.lru_cache import LruCache


def test_a_value_is_made_once_for_a_key() -> None:
    """The same key gives the same value, another key another one."""
    made: list[str] = []
    known: LruCache[list[str]] = LruCache(2)

    def make() -> list[str]:
        made.append("one")
        return [f"value {len(made)}"]

    assert known.get("a", make) is known.get("a", make)
    assert known.get("b", make) != known.get("a", make)
    assert len(made) == 2


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    """There are never more than so many, and a value that is asked for stays."""
    known: LruCache[str] = LruCache(2)
    for key in ("a", "b", "a", "c"):
        known.get(key, lambda key=key: f"first {key}")  # type: ignore[misc]
    assert len(known) == 2
    assert known.get("a", lambda: "again") == "first a"
    assert known.get("b", lambda: "again") == "again"


def test_what_could_not_be_made_is_not_kept() -> None:
    """A failure goes on to whoever asked, and the next one tries anew."""
    known: LruCache[str] = LruCache(2)
    with pytest.raises(ZeroDivisionError):
        known.get("a", lambda: str(1 / 0))
    assert known.get("a", lambda: "well") == "well"
