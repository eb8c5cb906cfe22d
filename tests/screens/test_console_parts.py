"""The parts beneath the screens: cleaning, fitting, columns, reading around the cursor, the side thread."""

from __future__ import annotations

import asyncio
import threading
import time
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from fake_node import NOW, FakeNode, FakeSource, in_loop, peer
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from fedtui.screens.peers.columns import ago
from fedtui.screens.shell.background_worker import BackgroundWorker
from fedtui.screens.shell.data_freshness import STALE_AFTER, DataFreshness
from fedtui.screens.shell.terminal import ascii_only, over_ssh
from fedtui.screens.widgets.clean import clean, fit, to_ascii, wrap, wrap_indented
from fedtui.screens.widgets.columns import Cell, Column, place
from fedtui.screens.widgets.paint import Line, Part, row
from fedtui.screens.widgets.reading import Query, Want, look

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn"]),
        st.sampled_from("\x1b\x07\x7f\x9b\u200b\u200d\u202e\u2066\u2069\ufeff\u115f\u3164\ufe0f\U000e0041漢字é"),
    ),
    max_size=60,
)
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(HOSTILE)
@settings(max_examples=600)
def test_nothing_a_terminal_obeys_or_hides_survives_cleaning(text: str) -> None:
    """Whatever goes in, no control, format, bidirectional, surrogate or zero-width space comes out."""
    for char in clean(text):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in BIDI
        assert char == " " or not char.isspace()
        assert char not in "\u034f\u115f\u1160\u3164\uffa0\ufe0f"
    assert clean(clean(text)) == clean(text)
    clean(text).encode()


@given(HOSTILE, st.integers(0, 30), st.booleans())
def test_fitted_text_is_exactly_as_wide_as_asked(text: str, width: int, right: bool) -> None:
    """Padding and cutting count cells: wide characters take two, and none is cut in half."""
    assert cell_len(fit(clean(text), width, right=right)) == width


@given(HOSTILE, st.integers(4, 30))
def test_wrapping_loses_nothing_and_stays_within_the_width(text: str, width: int) -> None:
    """Every line fits, and the lines together hold every word."""
    lines = wrap(clean(text), width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(clean(text).split())


@given(HOSTILE)
def test_ascii_is_ascii(text: str) -> None:
    """For a terminal without UTF-8, everything is spelled in ASCII."""
    assert to_ascii(clean(text)).isascii()


def test_hostile_text_is_shown_not_hidden() -> None:
    """Escapes and overrides stay visible, so that an operator sees that somebody tried."""
    assert clean("a\x1b[31mb\u202ec\u200bd\ue000\ud800") == "a\\x1b[31mb\\u202ec\\u200bd\\ue000\\ud800"
    assert clean("no\u00a0break") == "no break"
    assert clean("Zoë 漢字") == "Zoë 漢字"
    assert clean("x" * 2_000_000) == "x" * 500 + "…"
    assert clean("abcdef", limit=3) == "abc…"


COLUMNS: list[Column[str]] = [
    Column("a", "A", 10, lambda row, now: Cell(row)),
    Column("b", "B", 10, lambda row, now: Cell(row), share=1, priority=0),
    Column("c", "C", 5, lambda row, now: Cell(row), priority=2),
    Column("d", "D", 5, lambda row, now: Cell(row), priority=1),
]


@pytest.mark.parametrize(
    ("width", "keys"), [(38, "abcd"), (37, "abd"), (31, "abd"), (30, "ab"), (24, "ab"), (10, "ab"), (1, "ab")]
)
def test_the_least_important_columns_give_way(width: int, keys: str) -> None:
    """On a narrow terminal the columns with the highest priority number go first; those with 0 stay."""
    assert "".join(placed.column.key for placed in place(COLUMNS, width)) == keys


@given(st.integers(24, 400))
def test_columns_fill_the_width_and_do_not_overlap(width: int) -> None:
    """Flexible columns take what is left over, to the last cell but the margin."""
    placed = place(COLUMNS, width)
    for one, following in pairwise(placed):
        assert following.x == one.x + one.width + 2
    assert placed[-1].x + placed[-1].width == width - 1


def test_items_in_a_row_are_cut_at_the_edge() -> None:
    """A row of items never runs over its width."""
    line = row([("abc", ""), ("defgh", "bad"), ("never", "")], width=10)
    assert line == Line((Part(1, 3, "abc"), Part(6, 4, "defgh", "bad")))


# Reading around the cursor

NUMBERS = st.lists(st.integers(0, 300), unique=True, max_size=120)


@given(NUMBERS, NUMBERS, st.integers(0, 130), st.integers(0, 15), st.integers(1, 15), st.data())
@settings(max_examples=300, deadline=None)
def test_a_slice_is_what_a_full_sort_would_show(
    before: list[int], after: list[int], index: int, line: int, height: int, data: st.DataObject
) -> None:
    """Whatever was committed meanwhile, the rows read are the true ones around the cursor's record."""
    node = FakeNode([peer(number) for number in before])
    source = FakeSource(node)
    query = Query("url")
    anchor = peer(data.draw(st.sampled_from(before))) if before and data.draw(st.booleans()) else None
    node.drop(*node.peers)
    node.put(*(peer(number) for number in after))
    want = Want(query, anchor, index, min(line, height - 1), height, None, needed=True)
    found = look(source, want)
    assert found is not None
    _, truth = node.order.of(query)
    assert found.count == len(truth)
    assert list(found.rows) == truth[found.start : found.start + len(found.rows)]
    ids = [one.id for one in truth]
    if anchor is not None and anchor.id in ids:
        assert ids[found.index] == anchor.id
    first = max(found.index - want.line, 0)
    assert found.start <= first
    assert found.start + len(found.rows) >= min(first + height, len(truth))


def test_nothing_is_read_when_nothing_changed() -> None:
    """A look without a change and without a need opens no transaction."""
    node = FakeNode([peer(1)])
    source = FakeSource(node)
    assert look(source, Want(Query("url"), None, 0, 0, 10, None, needed=True)) is not None
    reads = node.reads
    assert look(source, Want(Query("url"), None, 0, 0, 10, 1, needed=False)) is None
    assert node.reads == reads


# The side thread


@pytest.fixture
def aside() -> Iterator[BackgroundWorker]:
    """A side thread, ended after the test."""
    one = BackgroundWorker()
    yield one
    one.close(lambda: None)


@in_loop
async def test_work_aside_runs_in_one_thread_in_order(aside: BackgroundWorker) -> None:
    """Functions run one after the other in a daemon thread that is not the caller's."""
    seen: list[int] = []
    threads = await asyncio.gather(
        *(aside.run(lambda n=n: (seen.append(n), threading.current_thread())[1]) for n in range(20))
    )
    assert seen == list(range(20))
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert threads[0] is not threading.current_thread()


@in_loop
async def test_an_error_aside_is_raised_to_who_asked(aside: BackgroundWorker) -> None:
    """What a function raises is raised where it is awaited, and the thread goes on."""
    with pytest.raises(ZeroDivisionError):
        await aside.run(lambda: 1 // 0)
    assert await aside.run(lambda: 5) == 5


def test_closing_does_not_wait_for_what_hangs() -> None:
    """A function that hangs holds the closing up for the patience given, not longer."""
    aside = BackgroundWorker()
    release = threading.Event()

    async def hang() -> None:
        await asyncio.wait_for(aside.run(release.wait), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(hang())
    began = time.monotonic()
    aside.close(lambda: None, patience=0.1)
    assert time.monotonic() - began < 10  # it hangs until it is released
    release.set()


def test_the_pulse_is_stale_when_reads_fail_or_hang() -> None:
    """Fresh after a success; stale at once after a failure, and after a while of silence."""
    moment = [100.0]
    pulse = DataFreshness(clock=lambda: moment[0])
    assert not pulse.stale
    pulse.beat()
    assert not pulse.stale
    moment[0] += STALE_AFTER + 0.1
    assert pulse.stale
    pulse.beat()
    assert not pulse.stale
    pulse.miss(OSError("gone\nsecond line"))
    assert pulse.stale
    assert pulse.trouble is not None
    assert pulse.trouble.cause == "OSError: gone"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "en_US.utf8"}, False),
        ({"LANG": "C"}, True),
        ({}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # Python's own doing (PEP 538)
        ({"LANG": "en_US.UTF-8", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_CTYPE": "UTF-8"}, False),  # macOS
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "C.UTF-8", "TERM": "vt100"}, True),
        ({"LANG": "C.UTF-8", "TERM": "vt220-w"}, True),
        ({"LANG": "C.UTF-8", "TERM": "screen.linux"}, False),
        ({"LANG": "C.UTF-8", "TERM": "tmux-256color"}, False),
    ],
)
def test_the_locale_decides_over_glyphs(environ: dict[str, str], expected: bool) -> None:
    """Glyphs are drawn only where the user's own locale says UTF-8, and the terminal has a font for them."""
    assert ascii_only(environ) is expected


def test_ssh_is_told_by_its_variables() -> None:
    """A session is over SSH if sshd says so."""
    assert over_ssh({"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"})
    assert over_ssh({"SSH_TTY": "/dev/pts/1"})
    assert not over_ssh({"SSH_AUTH_SOCK": "agent"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (7, "7 s"),
        (14, "10 s"),
        (59, "55 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_ages_in_the_largest_unit_that_fits(seconds: int, text: str) -> None:
    """An age is a number and a unit; a clock that went back shows no negative age."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("   └─ a b", 40, ["   └─ a b"]),
        ("  one two three", 9, ["  one two", "  three"]),
        ("", 9, [""]),
        (" " * 40 + "deep", 8, ["  deep"]),
        ("› one two three", 9, ["› one two", "  three"]),
        ("> one two three", 9, ["> one two", "  three"]),
        ("› one", 3, ["one"]),
    ],
)
def test_what_stands_in_a_tree_stays_in_it(text: str, width: int, lines: list[str]) -> None:
    """The spaces that a text begins with stand before every line of it, and never take more than a quarter; a mark
    stands before the first, and takes the room of a space."""
    assert wrap_indented(text, width) == lines
