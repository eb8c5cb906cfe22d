"""The checks: everything that a diagnosis looks at, as a table. None of them changes anything."""

from __future__ import annotations

from fedtui.core.playbook.checks import both_sides, of_peers, of_things, own
from fedtui.core.playbook.model import Check

CHECKS: tuple[Check, ...] = (*own.CHECKS, *of_peers.CHECKS, *both_sides.CHECKS, *of_things.CHECKS)
"""In the order in which they are shown; each begins as soon as what it needs is known."""
