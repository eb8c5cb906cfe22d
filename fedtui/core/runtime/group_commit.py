"""Group commit: many small writes, one transaction, no timed window.

The writer takes whatever has queued since its last commit. Alone, a write goes out at
once; under load, hundreds share one trip to the disk (measured 11,000 to 15,000 a second
against 650 with a commit each).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from fedtui.core.runtime import bounded_log, correlation
from fedtui.core.runtime.database import explained_for
from fedtui.core.runtime.unit import Unit

Result = TypeVar("Result")
Work = Callable[[Unit], Result]
Item = tuple[Work[Result], Future[Result], str | None]
"""What to do, who waits for it, and the act that it is part of."""
log = bounded_log.logger(__name__)

MOST = 512
"""Writes in one transaction at most, so that the first of them need not wait for long."""


class GroupCommit(Generic[Result]):
    """Runs submitted functions on one thread, each in a savepoint of a shared transaction.

    Each gets a unit of its own, part of the act in which it was submitted. A function that raises
    undoes its own savepoint only; its caller gets the exception. One that was cancelled before its
    turn is not run.
    """

    def __init__(
        self, open_unit: Callable[[], AbstractContextManager[Unit]], *, pause: Callable[[], object] = lambda: None
    ) -> None:
        """`pause` is called before each transaction: it may wait for more to come, where nobody is in a hurry."""
        self._open_unit = open_unit
        self._pause = pause
        self._queue: queue.SimpleQueue[Item[Result] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """Queue `work`; the future resolves once its transaction is on disk.

        Raises `RuntimeError` after `close`.
        """
        future: Future[Result] = Future()
        with self._closing:
            if self._closed:
                raise RuntimeError("the writer is closed")
            self._queue.put((work, future, correlation.current()))
        return future

    def close(self) -> None:
        """Write what is queued, then end the thread."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            self._pause()
            batch, ended = [first], False
            while len(batch) < MOST and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    ended = True
                    break
                batch.append(item)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[Item[Result]]) -> None:
        wanted = [item for item in batch if item[1].set_running_or_notify_cancel()]
        done: list[tuple[Future[Result], Result]] = []
        failed: list[tuple[Future[Result], Exception]] = []
        try:
            with self._open_unit() as shared:
                # Now, not with the first's first statement: a database that is locked is waited for once, not by
                # each in turn.
                shared.session.connection()
                for work, future, act in wanted:
                    try:
                        with correlation.correlated(act) as known:
                            unit = Unit(shared.session, shared.now, shared.actor, known)
                            with explained_for(unit.session), unit.session.begin_nested():
                                result = work(unit)
                    except Exception as error:
                        # The caller gets it; the others of the batch are not to suffer.
                        failed.append((future, error))
                    else:
                        done.append((future, result))
                        shared.after_commit(unit.committed)
        except Exception as error:
            log.warning("[GroupCommit] a batch of %d was not written: %s", len(wanted), error)
            done, failed = [], [(future, error) for _, future, _ in wanted]
        for future, result in done:
            future.set_result(result)
        for future, reason in failed:
            future.set_exception(reason)
