"""Homes for a test, in its own folder, on the database of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Databases
from tests.homes import QUICK, H, Home, MakeHome, federate, set_up


@pytest.fixture
def make_home(tmp_path: Path, databases: Databases) -> Iterator[MakeHome]:
    """Sets up homes (`tests/homes.py`), and ends their daemons."""
    made: list[Home] = []

    def make(name: str = "a", *options: str, kind: type[H] = Home, **config: Any) -> H:  # type: ignore[assignment]
        path = tmp_path / name
        home = set_up(path, *options, kind=kind, **{**databases.place(path), **config})
        made.append(home)
        return home

    yield make
    for home in made:
        home.end()


@pytest.fixture
def two(make_home: MakeHome) -> tuple[Home, Home]:
    """Two nodes of one operator each, their daemons running, active with each other."""
    a, b = (make_home(name, "--single-operator", **QUICK) for name in ("alpha", "beta"))
    a.serve()
    b.serve()
    federate(a, b)
    return a, b
