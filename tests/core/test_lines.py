"""Lines of the log that strangers can cause: so many of a kind a minute, the others counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fedtui.core.runtime.bounded_log import IN_FULL, MOST_KINDS, WITHIN, Bounded

NAME = "fedtui.tests.bounded"


class Clock:
    """A monotonic time that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bounded(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[Bounded]:
    caplog.set_level(logging.INFO, NAME)
    made = Bounded(clock=clock)
    logging.getLogger(NAME).addFilter(made)
    yield made
    logging.getLogger(NAME).removeFilter(made)


@pytest.mark.usefixtures("bounded")
def test_the_surplus_is_one_line_and_the_next_minute_is_new(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The first of a kind in full, then a count at their highest level, with the last of them as an example."""
    log = logging.getLogger(NAME)
    for number in range(1000):
        log.log(logging.WARNING if number == 500 else logging.INFO, "refused %d", number)
    log.info("of another kind")
    assert [record.getMessage() for record in caplog.records] == [
        *(f"refused {number}" for number in range(IN_FULL)),
        "of another kind",
    ]
    caplog.clear()
    clock.now = WITHIN
    log.info("refused %d", 1000)
    summary, line = caplog.records
    assert summary.getMessage() == f"{1000 - IN_FULL} more lines in 60 seconds like: refused 999"
    assert summary.levelno == logging.WARNING
    assert line.getMessage() == "refused 1000"


def test_kinds_are_bounded_in_memory(bounded: Bounded, caplog: pytest.LogCaptureFixture) -> None:
    """Templates that are never the same are counted together, past some hundreds."""
    for number in range(5 * MOST_KINDS):
        logging.getLogger(NAME).info(f"unlike any other: {number}")
    assert len(caplog.records) == MOST_KINDS + IN_FULL
    assert len(bounded._counts) == MOST_KINDS + 1
