"""The checks: everything that a diagnosis looks at, as a table. None of them changes anything."""

from __future__ import annotations

from fedtui.core.diagnosis.checks import node, peer, peer_comparison, targets
from fedtui.core.diagnosis.model import Check

CHECKS: tuple[Check, ...] = (*node.CHECKS, *peer.CHECKS, *peer_comparison.CHECKS, *targets.CHECKS)
"""In the order in which they are shown; each begins as soon as what it needs is known."""
