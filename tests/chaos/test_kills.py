"""Twenty kills; `python -m tests.chaos.kills --kills 200` for more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos import kills


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_by_kills(tmp_path: Path) -> None:
    """Daemons, commands and consoles killed at random moments of accept, enroll, approve, execute, renew, sweep and
    backup: after each, started again, every act ends once, the seals and the database are whole, and the doctor
    finds nothing left to do."""
    seed = random.randrange(1_000_000)  # noqa: S311 - a failure names it
    told: list[str] = []
    assert kills.run(tmp_path, 20, seed, told.append).total() >= 20, told
