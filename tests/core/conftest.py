"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a busy machine is no finding. What is too slow, pytest-timeout ends.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
