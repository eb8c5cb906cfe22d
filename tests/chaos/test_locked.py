"""Some seconds of another program's lock; `python -m tests.chaos.locked` for thirty, with the patience there is."""

from __future__ import annotations

import pytest

from tests.chaos import locked, stand
from tests.homes import MakeHome

SECONDS, BUSY_MS = 4, 1000


@pytest.mark.sqlite  # one file, which one program at a time writes
@pytest.mark.timeout(300)
def test_a_database_held_for_longer_than_anybody_waits(make_home: MakeHome) -> None:
    """Command, console, log and peer are told by whom and what to do; nobody dies. Released, all go on by
    themselves: the jobs run, both sides hear each other, who still waits gets through, and every act is there once."""
    a, b = stand.federated(make_home, busy_ms=BUSY_MS)
    locked.play(a, b, SECONDS)
