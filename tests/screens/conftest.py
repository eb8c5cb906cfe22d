"""Fixtures of the console's tests: a terminal that is always the same, and SVG snapshots.

pytest-textual-snapshot imports Textual before any conftest runs, so what Textual reads from
the environment at import is set on its modules, and the rest in the environment.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_textual_snapshot
from syrupy.location import PyTestLocation

SNAPSHOTS = Path(__file__).parents[2] / "snapshots"
TERMINAL_VARIABLES = re.compile(r"NO_COLOR|FORCE_COLOR|COLUMNS|LINES|COLORTERM|TEXTUAL.*|SSH_.*|LC_.*|LANG.*|TERM.*")


WEB_FONTS = re.compile(r"\s*@font-face \{.*?\}(?=\s)", re.DOTALL)
FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"


class TopLevelSvg(pytest_textual_snapshot.SVGImageExtension):
    """SVG snapshots in the top-level directory, named after the test and its parameters.

    They are pictures for the README, too, so they fetch no fonts from the network.
    """

    def serialize(self, *args: Any, **options: Any) -> Any:
        svg = WEB_FONTS.sub("", super().serialize(*args, **options))
        return svg.replace("font-family: Fira Code, monospace", f"font-family: {FONTS}")

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        return str(SNAPSHOTS)

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: Any = 0) -> str:
        words = re.findall(r"[A-Za-z0-9]+", re.sub("^test_(looks)?", "", test_location.snapshot_name))
        return "-".join([*words, *([str(index)] if index else [])])


def _without_environment(**fields: Any) -> Any:
    """A difference for the failure report, without the environment of whoever ran the tests."""
    return _SvgSnapshotDiff(**{**fields, "environment": {}})


_SvgSnapshotDiff = pytest_textual_snapshot.SvgSnapshotDiff
pytest_textual_snapshot.SVGImageExtension = TopLevelSvg
pytest_textual_snapshot.SvgSnapshotDiff = _without_environment


def pytest_configure(config: pytest.Config) -> None:
    """Our snapshots' names and place are our own; syrupy need not remark on it when it writes them."""
    config.addinivalue_line("filterwarnings", r"ignore:\s*Can not relate snapshot:UserWarning")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """The same terminal on every machine; call the fixture's value to set variables for one test."""
    for name in list(os.environ):
        if TERMINAL_VARIABLES.fullmatch(name) and name != "TEXTUAL_SNAPSHOT_TEMPDIR":
            monkeypatch.delenv(name)
    for name, value in {"LANG": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("textual.constants.FILTERS", "")
    monkeypatch.setattr("fedtui.app.Console.DEFAULT_MODE", "peers")  # most of these tests begin in a table
    time.tzset()

    def setting(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    yield setting
    monkeypatch.undo()
    time.tzset()
