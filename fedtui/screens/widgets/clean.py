"""Making foreign text safe to draw, and fitting it into cells.

Everything that is drawn passes through `clean`: a remote platform chooses its own URL,
reasons and error texts, and a terminal obeys the control characters in them. Widths here
are terminal cells, not characters: a CJK character takes two.
"""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len, set_cell_size

MAX_LENGTH = 500
"""Characters of a foreign string that are kept, if the caller names no other limit."""

# Code points that draw nothing although Unicode calls them letters or marks (of the property
# Default_Ignorable_Code_Point, those that str.isprintable lets pass).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_ASCII_FOR = str.maketrans(
    {
        "●": "*",
        "▲": "!",
        "○": ".",
        "◔": "o",
        "◑": "O",
        "■": "=",
        "×": "x",
        "…": "~",
        "·": "-",
        "›": ">",
        "│": "|",
        "—": "-",
        "└": "`",
        "─": "-",
        "├": "|",
        "✓": "+",
        "✗": "X",
        "↻": "@",
        "→": ">",
        "←": "<",
        "█": "#",
        "░": ".",
        "▁": "_",
        "▂": ".",
        "▃": ":",
        "▄": "-",
        "▅": "=",
        "▆": "+",
        "▇": "*",
    }
)


def clean(text: str, *, limit: int = MAX_LENGTH) -> str:
    """`text` with everything a terminal could obey or hide spelled out.

    Control characters, bidirectional controls, zero-width and unassigned characters and
    lone surrogates become escapes (`\\x1b`, `\\u202e`); every kind of space becomes a
    plain one. At most `limit` characters of the input are kept, an ellipsis tells of the rest.
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    if unicodedata.category(char) == "Zs":
        return " "
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def harmless(text: str) -> str:
    """`text` for an input: every kind of space as a plain one, and nothing that draws nothing."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    return _INVISIBLE.sub("", spaced if spaced.isprintable() else "".join(filter(str.isprintable, spaced)))


def to_ascii(text: str) -> str:
    """Cleaned `text` for a terminal without UTF-8: our glyphs by likeness, the rest as escapes."""
    if text.isascii():
        return text
    return text.translate(_ASCII_FOR).encode("ascii", "backslashreplace").decode("ascii")


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Cleaned `text` in exactly `width` cells: padded, or cut with an ellipsis."""
    spare = width - cell_len(text)
    if spare < 0:
        return set_cell_size(text, max(width - 1, 0)) + "…" if width > 0 else ""
    return " " * spare + text if right else text + " " * spare


def wrap(text: str, width: int) -> list[str]:
    """Cleaned `text` in lines of at most `width` cells, broken at spaces where possible."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        while cell_len(word) > width:
            room = width - (cell_len(line) + 1 if line else 0)
            head = _prefix(word, room if room >= width // 2 else width)
            if line and cell_len(line) + 1 + cell_len(head) > width:
                lines.append(line)
                line = ""
            lines.append(f"{line} {head}" if line else head)
            line, word = "", word[len(head) :]
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = word
        elif word:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line or not lines else lines


MARKS = ("› ", "> ")
"""What stands before the line that is marked; the second on terminals without UTF-8."""


def wrap_indented(text: str, width: int) -> list[str]:
    """As `wrap`, with the spaces that `text` begins with before every line: what stands in a tree stays in it. A mark
    stands before the first line alone, as if the others were marked by a space."""
    marked = text.startswith(MARKS)
    plain = f" {text[1:]}" if marked else text
    lead = " " * min(len(plain) - len(plain.lstrip(" ")), width // 4)
    lines = [lead + line for line in wrap(plain, width - len(lead))]
    return [text[0] + lines[0][1:], *lines[1:]] if marked and lead else lines


def _prefix(word: str, width: int) -> str:
    """The longest beginning of `word` that fits `width` cells, at least one character."""
    size = 0
    for end, char in enumerate(word):
        size += cell_len(char)
        if size > width:
            return word[: max(end, 1)]
    return word
