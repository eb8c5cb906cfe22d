"""Group read: many small reads, one transaction, no timed window.

The reader takes whatever has queued since its last transaction, and only then opens the next one: each read sees
everything that was committed before it was submitted. Nothing is kept from one transaction to the next.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from fedtui.core.errors import Unusable

Opened = TypeVar("Opened")
Result = TypeVar("Result")
Item = tuple[Callable[[Opened], Any], Future[Any]]
"""What to read, and who waits for it."""

MOST = 64
"""Reads in one transaction at most, so that the first of them need not wait for long."""


class GroupRead(Generic[Opened]):
    """Runs submitted functions on one thread, in turn, each with what `open_read` yields.

    A function that raises fails alone. Where the database does not answer, all of its transaction fail with it.
    Functions must read and compute only: all others wait for them.
    """

    def __init__(self, open_read: Callable[[], AbstractContextManager[Opened]]) -> None:
        self._open_read = open_read
        self._queue: queue.SimpleQueue[Item[Opened] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-read", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Opened], Result]) -> Future[Result]:
        """Queue `work`; the future resolves once its transaction is over.

        Raises `RuntimeError` after `close`.
        """
        future: Future[Result] = Future()
        with self._closing:
            if self._closed:
                raise RuntimeError("the reader is closed")
            self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Read what is queued, then end the thread."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ended = [first], False
            while len(batch) < MOST and not self._queue.empty() and not ended:
                item = self._queue.get()
                if item is None:
                    ended = True
                else:
                    batch.append(item)
            self._read([item for item in batch if item[1].set_running_or_notify_cancel()])
            if ended:
                return

    def _read(self, batch: Sequence[Item[Opened]]) -> None:
        done: list[Callable[[], None]] = []
        try:
            with self._open_read() as opened:
                for work, future in batch:
                    done.append(_outcome(work, future, opened))
        except Exception as error:
            for _, future in batch[len(done) :]:
                future.set_exception(error)
        for resolve in done:
            resolve()


def _outcome(work: Callable[[Opened], Any], future: Future[Any], opened: Opened) -> Callable[[], None]:
    """Run `work`; return what resolves its future. Raises `Unusable`."""
    try:
        result = work(opened)
    except Unusable:
        raise
    except Exception as error:
        reason = error  # `error` is unbound once this clause ends
        return lambda: future.set_exception(reason)
    return lambda: future.set_result(result)
