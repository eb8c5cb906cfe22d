"""What comes from the terminal, before Textual reads it."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from fedtui.screens.shell.input_filter import Reading


def read(*pieces: bytes) -> list[str]:
    """What Textual makes of it: keys by their names, pastes by their texts in quotes."""
    reading, parser = Reading(), XTermParser()
    texts = [reading.decode(piece) for piece in pieces]
    found = [event for text in texts if text for event in parser.feed(text)]  # as Textual's driver feeds it
    return [
        event.key if isinstance(event, events.Key) else repr(event.text)
        for event in found
        if isinstance(event, events.Key | events.Paste)
    ]


def test_an_escape_in_a_paste_makes_no_keys_of_the_rest() -> None:
    """All of a paste is one, whatever is in it, and keys after it are keys again."""
    assert read(b"a\x1b[200~b\x1bq\x1b[20X\x1b[201~c") == ["a", repr("b\ufffdq\ufffd[20X"), "c"]


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_a_paste_may_come_in_pieces(size: int) -> None:
    """Wherever what was read last ended: within its beginning, its end, or a character."""
    whole = "a\x1b[200~bé\x1bq\x1b[201~\x1b[200~\x1b[20\x1b[201~c".encode()
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert read(*pieces) == ["a", repr("bé\ufffdq"), repr("\ufffd[20"), "c"]


def test_bytes_that_are_no_text_are_blots() -> None:
    """A key of a terminal in another encoding is one, and hides none after it."""
    assert read(b"\xe9", b"x") == ["replacement_character", "x"]
