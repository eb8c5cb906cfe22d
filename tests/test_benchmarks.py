"""How the benchmarks are called, without running any."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks import reporting


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        (["inbound", "--help"], 0, "usage: python -m tests.benchmarks"),
        (["-h"], 0, "--print"),
        (["inbound", "--nope"], 1, "There is no option '--nope'."),
        (["nope"], 1, "There is no benchmark 'nope'."),
    ],
)
def test_what_is_asked_or_misspelt_runs_nothing(words: list[str], code: int, answer: str) -> None:
    """Usage, or what is wrong; the kept results stay as they are."""
    before = reporting.RESULTS.read_bytes()
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *words], capture_output=True, text=True, check=False
    )
    assert run.returncode == code
    assert answer in run.stdout + run.stderr
    assert reporting.RESULTS.read_bytes() == before
