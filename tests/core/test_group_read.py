"""Group read: many reads in one transaction, each as fresh as one of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager

import pytest

from fedtui.core.errors import Refused, Unusable
from fedtui.core.runtime import group_read
from fedtui.core.runtime.group_read import GroupRead


class Source:
    """A value that transactions read as it is when they begin; the first one is held until `release`."""

    def __init__(self) -> None:
        self.value, self.transactions = 0, 0
        self.failing: Exception | None = None
        self._entered, self._go_on = threading.Event(), threading.Event()
        self.reader: GroupRead[int] = GroupRead(self._open)
        self.first = self.reader.submit(self._hold)
        assert self._entered.wait(10)

    @contextmanager
    def _open(self) -> Iterator[int]:
        self.transactions += 1
        if self.failing is not None:
            raise self.failing
        yield self.value

    def _hold(self, value: int) -> int:
        self._entered.set()
        assert self._go_on.wait(10)
        return value

    def release(self) -> None:
        self._go_on.set()


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.release()
    made.reader.close()


def test_what_queues_shares_a_transaction_opened_later(source: Source) -> None:
    """Reads that queue behind a transaction share the next one, which sees what was committed before they came."""
    source.value = 1
    queued = [source.reader.submit(lambda value, own=own: (own, value)) for own in range(5)]
    source.release()
    assert [future.result(10) for future in queued] == [(own, 1) for own in range(5)]
    assert (source.first.result(10), source.transactions) == (0, 2)


def test_a_failing_read_hurts_no_other(source: Source) -> None:
    """A read that raises gets its own error; the others of its transaction get their results."""

    def refuse(_value: int) -> int:
        raise Refused("no", code="x")

    before, refused, after = (source.reader.submit(work) for work in (lambda v: v, refuse, lambda v: v))
    source.release()
    assert (before.result(10), after.result(10)) == (0, 0)
    assert isinstance(refused.exception(10), Refused)


@pytest.mark.parametrize("opening", [True, False])
def test_a_database_that_does_not_answer_is_met_once(source: Source, opening: bool) -> None:
    """Where the database does not answer, all of a transaction fail with it at once, and the next begins anew."""
    gone = Unusable("The node's database did not answer.", code="database_unavailable")

    def ask(_value: int) -> int:
        raise gone

    if opening:
        source.failing = gone
    queued = [source.reader.submit(ask) for _ in range(5)]
    source.release()
    assert [future.exception(10) for future in queued] == [gone] * 5
    assert source.transactions == 2
    source.failing = None
    assert source.reader.submit(lambda value: value).result(10) == 0


def test_a_cancelled_read_is_not_run(source: Source) -> None:
    """A read that was cancelled before its turn is left out."""
    ran: list[int] = []
    future = source.reader.submit(ran.append)
    assert future.cancel()
    source.release()
    assert source.reader.submit(lambda value: value).result(10) == 0
    assert ran == []


def test_a_transaction_has_a_bound(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many reads share a transaction: the rest get the next one."""
    monkeypatch.setattr(group_read, "MOST", 2)
    queued = [source.reader.submit(lambda value: value) for _ in range(4)]
    source.release()
    wait(queued, timeout=10)
    assert source.transactions == 3


def test_close_reads_what_is_queued_and_takes_no_more(source: Source) -> None:
    """What was submitted before `close` is answered; what comes after is refused."""
    queued = source.reader.submit(lambda value: value)
    source.release()
    source.reader.close()
    assert queued.result(0) == 0
    with pytest.raises(RuntimeError):
        source.reader.submit(lambda value: value)
