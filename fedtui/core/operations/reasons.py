"""The reason that an operation takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedtui.core.errors import WrongUsage

REASON_LIMIT = 500


def reason_of(raw: Mapping[str, Any]) -> str:
    """The reason given. Raises `WrongUsage` without one."""
    reason = str(raw.get("reason") or "").strip()
    if not reason or len(reason) > REASON_LIMIT:
        raise WrongUsage(
            "This takes a reason." if not reason else "The reason is too long.",
            cause="It goes into the record, for whoever looks later.",
            fix=f"Give --reason TEXT, at most {REASON_LIMIT} characters.",
            code="reason_missing",
        )
    return reason
