"""Why a request is where it is, and what happens next: the same words for the console, the command line and others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

LATE = timedelta(minutes=2)
"""The manager is said not to tick when its next tick is overdue by so much."""
ENDED_BY_CLOCK = ("pending", "approved")
"""What the clock ends at `expires_at`, whether a process has noticed it yet or not."""
ALSO_PAUSED = ("system.manager_resume", "system.policy_set", "system.quarantine_end")
"""What the manager carries out though it is paused: else nothing that needs approval could ever bring it back."""
ENDED = {
    "failed": "it was tried and failed: an operator can have it tried again (retry)",
    "stale": "what it depends on has changed: it has to be asked for again, and looked at again (again)",
    "expired": "its time ran out: it has to be asked for again (again)",
}


def effective_status(status: str, expires_at: datetime, now: datetime | None) -> str:
    """The status as of the clock: an overdue request is `expired`, noticed or not."""
    return "expired" if now is not None and status in ENDED_BY_CLOCK and expires_at <= now else status


def differences(before: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """What an act depends on and has changed, in words; nothing if nothing has."""
    if now is None:
        return "it is gone"
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key.replace('_', ' ')} was {before.get(key)} and is {now.get(key)}" for key in sorted(changed))


def then(shape: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """What happens to a request next, and how grave that is: `warn` where it waits for somebody to step in, else "".

    `shape` is the contract's object with its `waiting`.
    """
    status, waiting = shape["status"], shape["waiting"]
    if status == "executing":
        return _executing(waiting, now)
    if status not in ENDED_BY_CLOCK:
        return ENDED.get(status, ""), ""
    if waiting.get("claimed_by"):
        when = "once approved, " if status == "pending" else ""
        return f"{when}{waiting['claimed_by']} makes it, once, by asking for exactly the same again", ""
    return _ticking(shape["action"], waiting, now)


def _executing(waiting: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    since = waiting.get("executing_since")
    if since is not None and now - since > LATE:
        return f"whoever began it at {since:%H:%M:%S} UTC has died or hangs: the manager takes it up anew", "warn"
    return "it is being carried out", ""


def _ticking(action: str, waiting: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    if waiting["manager_status"] == "paused" and action not in ALSO_PAUSED:
        return "the manager is PAUSED: what is approved waits until it is resumed (manager resume)", "warn"
    tick = waiting["next_tick_at"]
    if tick is None:
        return "the manager does not tick: no daemon has run yet, or it has only begun", "warn"
    if now - tick > LATE:
        minutes = int((now - tick).total_seconds()) // 60
        return f"the manager has not ticked for {minutes} min: see that a daemon runs (manager status)", "warn"
    return f"the manager carries it out at its next tick ({tick:%H:%M:%S} UTC)", ""
