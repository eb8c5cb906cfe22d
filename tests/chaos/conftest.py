"""Real processes on real homes, as the command line's tests have them."""

from __future__ import annotations

from tests.cli.conftest import make_home

__all__ = ["make_home"]
