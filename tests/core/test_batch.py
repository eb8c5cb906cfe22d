"""Group commit: many writes on one trip to the disk, each with its own fate."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import select

from fedtui.core.audit.events import Event, emit
from fedtui.core.errors import Refused
from fedtui.core.node import Node
from fedtui.core.runtime import database as databases
from fedtui.core.runtime import group_commit
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.group_commit import GroupCommit, Work
from fedtui.core.runtime.unit import Unit

WRITER = Actor("job", "writer")


class Gate:
    """A writer whose first write waits until the gate opens, so that what follows queues behind it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.transactions = 0
        self._entered, self._open = threading.Event(), threading.Event()
        self.writer: GroupCommit[object] = GroupCommit(self._unit)
        self.first = self.writer.submit(self._hold)
        assert self._entered.wait(10)

    @contextmanager
    def _unit(self) -> Iterator[Unit]:
        self.transactions += 1
        with self._node.unit(WRITER) as unit:
            yield unit

    def _hold(self, _unit: Unit) -> object:
        self._entered.set()
        assert self._open.wait(10)
        return "held"

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(node: Node) -> Iterator[Gate]:
    gate = Gate(node)
    yield gate
    gate.open()
    gate.writer.close()


def writes(name: str, result: object = None, error: Exception | None = None) -> Work[object]:
    """A write that leaves an event with source `name`, then returns or raises."""

    def work(unit: Unit) -> object:
        emit(unit, "system.act", source=name)
        if error is not None:
            raise error
        return result

    return work


def sources(node: Node) -> list[str]:
    with node.read() as session:
        query = select(Event.source).where(Event.kind == "system.act").order_by(Event.id)
        return list(session.scalars(query))


def test_results_come_back_each_to_its_caller(node: Node, gate: Gate) -> None:
    """What queued behind one write goes out in one transaction, in order, and each caller gets its own result."""
    futures = [gate.writer.submit(writes(f"w{number}", number)) for number in range(100)]
    gate.open()
    assert [future.result(10) for future in futures] == list(range(100))
    assert gate.first.result(10) == "held"
    assert sources(node) == [f"w{number}" for number in range(100)]
    assert gate.transactions == 2


def test_a_write_alone_goes_out_at_once(node: Node) -> None:
    """Without company a write waits for nobody: its result is there without any other being submitted."""
    writer: GroupCommit[object] = GroupCommit(lambda: node.unit(WRITER))
    for number in range(3):
        assert writer.submit(writes("alone", number)).result(10) == number
    writer.close()


def test_a_failing_write_hurts_no_other(node: Node, gate: Gate) -> None:
    """A write that raises gives its caller the very exception, undoes what it wrote, and leaves the rest whole."""
    refused = Refused("no")
    before = gate.writer.submit(writes("before", 1))
    failing = [
        gate.writer.submit(writes("failing", error=refused)),
        gate.writer.submit(lambda unit: unit.session.execute(select(Event).where("nonsense"))),  # type: ignore[arg-type]
        gate.writer.submit(lambda unit: unit.session.add(Event(id="incomplete"))),
    ]
    after = gate.writer.submit(writes("after", 2))
    gate.open()
    assert (before.result(10), after.result(10)) == (1, 2)
    assert failing[0].exception(10) is refused
    assert all(isinstance(future.exception(10), Exception) for future in failing)
    assert sources(node) == ["before", "after"]


def test_a_future_resolves_after_its_commit(node: Node, gate: Gate) -> None:
    """Whoever sees a result can read what was written, from another connection, and so can the next caller's."""
    seen: dict[str, list[str]] = {}

    def look(future: Future[object]) -> None:
        seen[str(future.result())] = sources(node)

    futures = [gate.writer.submit(writes(name, name)) for name in ("one", "two")]
    for future in futures:
        future.add_done_callback(look)
    gate.open()
    wait(futures, 10)
    gate.writer.close()
    assert seen == {"one": ["one", "two"], "two": ["one", "two"]}


def test_each_write_has_a_unit_of_its_own(node: Node, gate: Gate) -> None:
    """Correlation ids differ between writes, an actor set by one does not leak into the next, and a hook runs
    after the commit for those that succeeded only."""
    hooks: list[str] = []

    def work(name: str, fail: bool = False) -> Work[object]:
        def run(unit: Unit) -> object:
            found = str(unit.actor)
            unit.actor = Actor("peer", name)
            unit.after_commit(lambda: hooks.append(f"{name} after {len(sources(node))}"))
            emit(unit, "system.act", source=name)
            if fail:
                raise Refused("no")
            return unit.correlation_id, found

        return run

    first, failed, second = (gate.writer.submit(work(name, name == "b")) for name in "abc")
    gate.open()
    (one, found_first), (two, found_second) = first.result(10), second.result(10)  # type: ignore[misc]
    assert isinstance(failed.exception(10), Refused)
    assert one != two
    assert found_first == found_second == "job:writer"
    assert hooks == ["a after 2", "c after 2"]


def test_a_cancelled_write_is_not_run(node: Node, gate: Gate) -> None:
    """A caller that gave up before its turn leaves nothing behind, and the writer goes on for the others."""
    gone, stays = gate.writer.submit(writes("gone")), gate.writer.submit(writes("stays", "done"))
    assert gone.cancel() is True
    gate.open()
    assert stays.result(10) == "done"
    with pytest.raises(CancelledError):
        gone.result(10)
    assert gate.writer.submit(writes("later", 3)).result(10) == 3
    assert sources(node) == ["stays", "later"]


def test_a_transaction_that_fails_is_told_to_all_of_it(node: Node) -> None:
    """When the transaction itself cannot be had, every caller of that batch learns it, and the next batch is
    tried anew."""
    trouble = [OSError("the disk is gone")]

    def open_unit() -> AbstractContextManager[Unit]:
        if trouble:
            raise trouble[0]
        return node.unit(WRITER)

    writer: GroupCommit[object] = GroupCommit(open_unit)
    assert writer.submit(writes("lost")).exception(10) is trouble[0]
    trouble.clear()
    assert writer.submit(writes("kept", 1)).result(10) == 1
    writer.close()
    assert sources(node) == ["kept"]


def test_a_database_that_is_held_is_waited_for_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another holds the database, all that has queued is told so after one wait, not each after its own turn
    at it, and by what is wrong; afterwards writes go through."""
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_MS", 500)
    node.database.close()  # what is open already has the patience there was
    writer: GroupCommit[object] = GroupCommit(lambda: node.unit(WRITER))
    with node.database.writing() as holding:
        holding.connection()
        began = time.monotonic()
        futures = [writer.submit(writes("held", number)) for number in range(20)]
        told = [future.exception(30) for future in futures]
        assert time.monotonic() - began < 20 * 0.5 / 2
    assert {getattr(one, "code", one) for one in told} == {"database_unavailable"}
    assert writer.submit(writes("kept", 1)).result(10) == 1
    writer.close()
    assert sources(node) == ["kept"]


def test_close_writes_what_is_queued_and_takes_no_more(node: Node, gate: Gate) -> None:
    """Closing drains the queue first; afterwards a write is refused instead of waiting for ever; twice is no harm."""
    futures = [gate.writer.submit(writes(f"w{number}", number)) for number in range(20)]
    closer = threading.Thread(target=gate.writer.close)
    closer.start()
    gate.open()
    closer.join(10)
    assert [future.result(0) for future in futures] == list(range(20))
    assert len(sources(node)) == 20
    with pytest.raises(RuntimeError, match="closed"):
        gate.writer.submit(writes("late"))
    gate.writer.close()


def test_a_batch_has_a_bound(node: Node, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has queued, no transaction takes more than its share, so that the first need not wait for all."""
    monkeypatch.setattr(group_commit, "MOST", 10)
    futures = [gate.writer.submit(writes("w", number)) for number in range(25)]
    gate.open()
    assert [future.result(10) for future in futures] == list(range(25))
    assert gate.transactions == 1 + 3
