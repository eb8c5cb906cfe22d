"""Work beside the event loop, in one daemon thread.

One thread, because a change watch belongs to the thread that opened it, and so that reads
queue instead of piling up on a slow database. A daemon thread, because a database that
hangs must not keep the console from leaving: the pools of asyncio are waited for at exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundWorker:
    """Runs functions one after the other in a thread of its own."""

    def __init__(self, name: str = "fedtui-read") -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` in the thread and return what it returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            result: T | None = None
            error: Exception | None = None
            try:
                result = function()
            except Exception as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result, error)

        if not self._thread.is_alive():
            self._thread.start()
        self._jobs.put(job)
        return await future

    def close(self, last: Callable[[], None], *, patience: float = 0.5) -> None:
        """Run `last` after what is queued, and wait for it at most `patience` seconds."""
        if self._thread.is_alive():
            self._jobs.put(last)
            self._jobs.put(None)
            self._thread.join(patience)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with contextlib.suppress(Exception):
                job()


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
