"""A hard deadline on network work, whatever the other side does.

Time limits per read do not bound a call: a peer that sends one byte now and then is never
late. Here the whole of the work is one coroutine on a loop of its own, cancelled when its
time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from fedtui.core.runtime.dns import ResolverLoop

Result = TypeVar("Result")
CLOSING_TURNS = 10


def within(limit: timedelta, work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end in this thread. Raises `TimeoutError` once `limit` has passed.

    Not `asyncio.run`, and not its loop: both would wait for a name look-up that hangs (`resolving.py`).
    """
    loop = ResolverLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, max(limit.total_seconds(), 0.0)))
    finally:
        loop.run_until_complete(_settle(loop))
        loop.close()


async def _settle(loop: asyncio.AbstractEventLoop) -> None:
    """Let generators end, and close what cancelled work has left open.

    A TLS handshake that is cancelled half-way leaves its transport behind, and nothing but
    the loop's own (private) list still knows it; without that list it would be closed when
    it is garbage collected.
    """
    await loop.shutdown_asyncgens()
    for transport in list(getattr(loop, "_transports", {}).values()):
        transport.abort()
    for _ in range(CLOSING_TURNS):
        await asyncio.sleep(0)
