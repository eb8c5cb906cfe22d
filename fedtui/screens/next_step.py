"""What an operator can do in the console once an act has become a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedtui.screens.commands import key_of


def waits_for_approval(approvals: Sequence[Any]) -> str:
    """Until when requests wait, and the keys that lead to them."""
    first, count = approvals[0], len(approvals)
    which = "The request waits" if count == 1 else f"{count} requests wait"
    until = f"{first.expires_at:%H:%M} UTC"
    return f"{which} for approval until {until}. {key_of('approvals')} opens the queue, :approvals {first.id} this one."
