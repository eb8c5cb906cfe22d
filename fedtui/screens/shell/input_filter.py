"""What comes from the terminal, before Textual reads it: bytes that are no text, and pastes that would act as keys."""

from __future__ import annotations

import codecs

from textual.drivers import linux_driver

BEGIN, END = "\x1b[200~", "\x1b[201~"
"""Between them stands what is pasted."""
ESCAPE = "\x1b"
BLOT = "\N{REPLACEMENT CHARACTER}"


class Reading(codecs.IncrementalDecoder):
    """UTF-8 into text, with a blot for what is none, and for each Escape in a paste.

    Textual ends at the first byte that is no UTF-8, and leaves the rest to the shell; after an Escape in a paste
    it takes the rest of the paste for keys.
    """

    def __init__(self) -> None:
        super().__init__("replace")
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._pasting = False
        self._seen = ""
        self._held = ""

    def decode(self, input: bytes, final: bool = False) -> str:  # type: ignore[override]
        """The text so far; what may yet become the end of a paste is kept for the next call."""
        text, self._held = self._held + self._text.decode(input, final), ""
        read = ""
        while text:
            taken, text = self._pasted(text) if self._pasting else self._typed(text)
            read += taken
        return read

    def _typed(self, text: str) -> tuple[str, str]:
        before = len(self._seen)  # of what may be the beginning of BEGIN, and was handed on
        seen = self._seen + text
        at = seen.find(BEGIN)
        self._pasting = at >= 0
        self._seen = "" if self._pasting else seen[1 - len(BEGIN) :]
        until = at + len(BEGIN) - before if self._pasting else len(text)
        return text[:until], text[until:]

    def _pasted(self, text: str) -> tuple[str, str]:
        inside, end, after = text.partition(END)
        self._pasting = not end
        if self._pasting:
            most = next((size for size in range(len(END) - 1, 0, -1) if inside.endswith(END[:size])), 0)
            inside, self._held = inside[: len(inside) - most], inside[len(inside) - most :]
        return inside.replace(ESCAPE, BLOT) + end, after


def take_whatever_comes() -> None:
    """Have Textual read the terminal so."""
    linux_driver.getincrementaldecoder = lambda _encoding: Reading  # type: ignore[assignment, attr-defined]
