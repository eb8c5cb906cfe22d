"""What an operator can do in the console once an act has become a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedtui.screens.shell.commands import key_of


def waits_for_approval(approvals: Sequence[Any]) -> str:
    """Until when requests wait, and the keys that lead to them."""
    first = approvals[0]
    more = f" (and {len(approvals) - 1} more)" if len(approvals) > 1 else ""
    until = f"{first.expires_at:%H:%M} UTC{more}"
    return (
        f"Waits for approval until {until}. {key_of('approvals')} opens the queue, :approvals {first.id} the request."
    )
