"""Seals over events: whatever is done to the record afterwards is found, and where it began."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from fedtui.core.audit import seals
from fedtui.core.audit.events import emit
from fedtui.core.audit.verify import Verdict
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.runtime import job_runs as runs
from fedtui.core.runtime import lease
from fedtui.core.runtime.actor import Actor
from tests.conftest import ManualClock

ADA = Actor("operator", "ada")


def happened(node: Node, count: int = 1, **options: Any) -> None:
    """So many events, in one unit."""
    with node.unit(ADA) as unit:
        for number in range(count):
            emit(unit, "system.act", source="test", number=number, **options)


def sealed(node: Node) -> int:
    return int(job_tasks.sealing(node)["sealed"])


def tamper(node: Node, statement: str, **values: Any) -> None:
    """What somebody with the database, and without this program, does."""
    with node.database.writing() as session:
        assert session.execute(text(statement), values).rowcount >= 1, "nothing was tampered with"  # type: ignore[attr-defined]


def ids(node: Node, seal: int) -> list[str]:
    with node.read() as session:
        return list(session.scalars(text("SELECT id FROM events WHERE seal = :seal ORDER BY id"), {"seal": seal}))


@pytest.fixture
def three(node: Node, clock: ManualClock) -> Node:
    """A node whose record is sealed in three batches, the second of five events."""
    happened(node)
    sealed(node)
    for count in (5, 3):
        clock.advance(minutes=1)
        happened(node, count)
        assert sealed(node) == count
    assert node.verify_events().ok
    return node


def test_everything_committed_is_sealed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealing takes up all that was committed, in batches, and again what came since; the verdict counts it."""
    monkeypatch.setattr(seals, "BATCH", 4)
    before = node.verify_events()
    assert (before.ok, before.sealed, before.sealed_through) == (True, 0, 0)
    happened(node, 10)
    there = before.unsealed + 10
    assert sealed(node) == there
    assert sealed(node) == 0
    happened(node, 2)
    verdict = node.verify_events()
    assert (verdict.ok, verdict.sealed, verdict.unsealed) == (True, there, 2)
    assert verdict.sealed_through == -(-there // 4)


def test_events_that_commit_late_are_sealed_too(node: Node) -> None:
    """An event whose id was made before others were sealed, and committed after, is covered by the next seal."""
    happened(node, 3)
    late = "01000000-0000-7000-8000-000000000001"
    sealed(node)
    tamper(
        node,
        "INSERT INTO events SELECT :late, kind, severity, source, peer_id, actor, uid, origin, correlation_id,"
        " payload, emitted_at, NULL FROM events WHERE seal = 1 LIMIT 1",
        late=late,
    )
    assert node.verify_events().ok
    assert sealed(node) == 1
    assert ids(node, 2) == [late]
    assert node.verify_events().ok


COLUMNS = {
    "kind": "'federation.peer.revoked'",
    "severity": "'high'",
    "source": "'cli'",
    "peer_id": "'p'",
    "actor": "'eve'",
    "uid": "7",
    "origin": "'elsewhere'",
    "correlation_id": "'c'",
    "payload": "'{\"number\": 9}'",
    "emitted_at": "'2026-01-01 00:00:00.000000'",
}


def only_there(what: Any) -> Any:
    """A thing that only SQLite lets be done: PostgreSQL's columns hold what they are for, and nothing else."""
    return pytest.param(what, marks=pytest.mark.sqlite)


@pytest.mark.parametrize("column", [*COLUMNS, only_there("garbage"), only_there("a blob")])
def test_a_changed_event_is_named(three: Node, column: str) -> None:
    """Changing any column of a sealed event, even to what cannot be read, is found, with the event's id."""
    victim = ids(three, 2)[3]
    values = {"garbage": "emitted_at = 'yesterday', payload = '{', uid = 'x'", "a blob": "kind = X'00ff'"}
    tamper(three, f"UPDATE events SET {values.get(column, f'{column} = {COLUMNS.get(column)}')} WHERE id = '{victim}'")
    bad = three.verify_events().first_bad
    assert bad is not None
    assert (bad.what, bad.seal, bad.event_id) == ("changed", 2, victim)


def removed(node: Node) -> tuple[str, int, str | None]:
    victim = ids(node, 2)[1]
    tamper(node, f"DELETE FROM events WHERE id = '{victim}'")
    return "removed", 2, victim


def removed_last(node: Node) -> tuple[str, int, str | None]:
    victim = ids(node, 3)[-1]
    tamper(node, f"DELETE FROM events WHERE id = '{victim}'")
    return "removed", 3, victim


def all_removed(node: Node) -> tuple[str, int, str | None]:
    victim = ids(node, 2)[0]
    tamper(node, "DELETE FROM events WHERE seal = 2")
    return "removed", 2, victim


def unsealed_again(node: Node) -> tuple[str, int, str | None]:
    victim = ids(node, 2)[2]
    tamper(node, f"UPDATE events SET seal = NULL, kind = 'system.act' WHERE id = '{victim}'")
    job_tasks.sealing(node)
    return "removed", 2, victim


def added(node: Node) -> tuple[str, int, str | None]:
    new = ids(node, 2)[2].replace("-7", "-8")
    tamper(
        node,
        f"INSERT INTO events SELECT '{new}', kind, severity, source, peer_id, actor, uid, origin,"
        " correlation_id, payload, emitted_at, seal FROM events WHERE seal = 2 LIMIT 1",
    )
    return "added", 2, new


def exchanged(node: Node) -> tuple[str, int, str | None]:
    first, second = ids(node, 2)[1:3]
    for old, new in ((first, "spare"), (second, first), ("spare", second)):
        tamper(node, f"UPDATE events SET id = '{new}' WHERE id = '{old}'")
    return "changed", 2, first


def moved_to_another_batch(node: Node) -> tuple[str, int, str | None]:
    victim = ids(node, 2)[4]
    tamper(node, f"UPDATE events SET seal = 3 WHERE id = '{victim}'")
    return "removed", 2, victim


def of_no_seal(node: Node) -> tuple[str, int | None, str | None]:
    victim = ids(node, 3)[0]
    tamper(node, f"UPDATE events SET seal = 0 WHERE id = '{victim}'")
    return "added", None, victim


def of_a_seal_to_come(node: Node) -> tuple[str, int | None, str | None]:
    happened(node)
    tamper(node, "UPDATE events SET seal = 9 WHERE seal IS NULL")
    return "added", None, ids(node, 9)[0]


def of_a_seal_that_is_no_number(node: Node) -> tuple[str, int | None, str | None]:
    happened(node)
    tamper(node, "UPDATE events SET seal = 'x' WHERE seal IS NULL")
    with node.read() as session:
        return "added", None, session.scalars(text("SELECT id FROM events WHERE seal = 'x'")).one()


def seal_taken_out(node: Node) -> tuple[str, int, str | None]:
    tamper(node, "DELETE FROM events WHERE seal = 2")
    tamper(node, "DELETE FROM event_seals WHERE seq = 2")
    return "seal_missing", 2, None


def closed_up(node: Node) -> tuple[str, int, str | None]:
    seal_taken_out(node)
    tamper(node, "UPDATE event_seals SET seq = 2 WHERE seq = 3")
    tamper(node, "UPDATE events SET seal = 2 WHERE seal = 3")
    return "seal_changed", 2, None


def seals_exchanged(node: Node) -> tuple[str, int, str | None]:
    for table, column in (("event_seals", "seq"), ("events", "seal")):
        for old, new in ((2, 99), (3, 2), (99, 3)):
            tamper(node, f"UPDATE {table} SET {column} = {new} WHERE {column} = {old}")
    return "seal_changed", 2, None


def said_critical(node: Node) -> tuple[str, int, str | None]:
    tamper(node, "UPDATE event_seals SET has_critical = 1 WHERE seq = 2")
    return "seal_changed", 2, None


def entries_spoilt(node: Node) -> tuple[str, int, str | None]:
    tamper(node, "UPDATE event_seals SET entries = X'00' WHERE seq = 2")
    return "seal_changed", 2, None


def unreadable(node: Node) -> tuple[str, int | None, str | None]:
    tamper(node, "UPDATE event_seals SET last_at = 'soon' WHERE seq = 2")
    return "seal_changed", None, None


def removed_as_if_old(node: Node) -> tuple[str, int, str | None]:
    tamper(node, "DELETE FROM events WHERE seal = 2")
    tamper(node, "UPDATE event_seals SET entries = NULL, removed_at = sealed_at WHERE seq = 2")
    return "removed_early", 2, None


def removed_as_if_later(node: Node) -> tuple[str, int, str | None]:
    tamper(node, "DELETE FROM events WHERE seal = 2")
    tamper(node, "UPDATE event_seals SET entries = NULL, removed_at = '2099-01-01 00:00:00.000000' WHERE seq = 2")
    return "removed_early", 2, None


@pytest.mark.parametrize(
    "attack",
    [
        removed,
        removed_last,
        all_removed,
        unsealed_again,
        added,
        exchanged,
        moved_to_another_batch,
        of_no_seal,
        of_a_seal_to_come,
        only_there(of_a_seal_that_is_no_number),
        seal_taken_out,
        closed_up,
        seals_exchanged,
        only_there(said_critical),
        only_there(entries_spoilt),
        only_there(unreadable),
        removed_as_if_old,
        removed_as_if_later,
    ],
)
def test_tampering_is_found_where_it_began(
    three: Node, attack: Callable[[Node], tuple[str, int | None, str | None]]
) -> None:
    """Each thing that can be done to rows and seals is found, with what it was, the seal, and the event."""
    expected = attack(three)
    verdict = three.verify_events()
    assert verdict.first_bad is not None
    assert (verdict.first_bad.what, verdict.first_bad.seal, verdict.first_bad.event_id) == expected
    assert not verdict.ok


def test_the_first_of_several_is_named(three: Node) -> None:
    """Where two batches were tampered with, the earlier is named, and what held before it counted."""
    first, second = ids(three, 2)[0], ids(three, 3)[0]
    tamper(three, f"UPDATE events SET actor = 'eve' WHERE id IN ('{first}', '{second}')")
    verdict = three.verify_events()
    assert verdict.first_bad is not None
    assert verdict.first_bad.event_id == first
    assert verdict.sealed_through == 1


def test_a_chain_made_with_another_key_is_refused(three: Node, make_node: Any) -> None:
    """Whoever has the database and not the vault's key cannot seal what they changed."""
    other = make_node("other")
    tamper(three, "UPDATE events SET actor = 'eve' WHERE seal = 3")
    with three.database.writing() as session:
        session.execute(text("DELETE FROM event_seals WHERE seq = 3"))
        session.execute(text("UPDATE events SET seal = NULL WHERE seal = 3"))
    with three.unit(ADA) as unit:
        assert seals.seal_next(unit, job_tasks.sealing_key(other)) == 3
    bad = three.verify_events().first_bad
    assert bad is not None
    assert (bad.what, bad.seal) == ("seal_changed", 3)


def cut_off(node: Node) -> Verdict:
    """The newest seal and its events are gone as if they had never been; the head before that."""
    noted = node.verify_events()
    tamper(node, "DELETE FROM events WHERE seal = 3")
    tamper(node, "DELETE FROM event_seals WHERE seq = 3")
    return noted


def test_a_tail_cut_off_is_told_by_a_head_noted_before(three: Node) -> None:
    """Without its tail the chain still holds; against a head noted elsewhere it does not."""
    noted = three.verify_events()
    happened(three, 2)
    sealed(three)
    assert three.verify_events(head=noted.head).ok, "an older head is still in the chain"
    assert three.verify_events(head=noted.head[:12]).ok
    tamper(three, "DELETE FROM events WHERE seal = 4")
    tamper(three, "DELETE FROM event_seals WHERE seq = 4")
    cut = cut_off(three)
    assert three.verify_events().ok
    verdict = three.verify_events(head=cut.head)
    assert verdict.first_bad is not None
    assert verdict.first_bad.what == "head_missing"


# --- retention ---------------------------------------------------------------------------


def test_old_batches_go_whole_and_the_chain_holds(three: Node, clock: ManualClock) -> None:
    """After 90 days a batch goes, after 365 one with a critical event; seals stay, and the record still verifies."""
    happened(three, 2)
    happened(three, severity="critical")
    sealed(three)
    clock.advance(days=89)
    assert job_tasks.maintenance(three)["events_retired"] == 0
    clock.advance(days=2)
    before = three.verify_events()
    assert job_tasks.maintenance(three)["events_retired"] == before.sealed - 3
    after = three.verify_events()
    assert (after.ok, after.sealed, after.removed) == (True, 3, before.sealed - 3)
    assert after.head == before.head
    sealed(three)
    clock.advance(days=366)
    job_tasks.maintenance(three)
    after = three.verify_events()
    assert (after.ok, after.sealed) == (True, 0)


def test_a_batch_that_is_not_sealed_stays(node: Node, clock: ManualClock) -> None:
    """What no daemon has sealed is not removed, however old."""
    happened(node, 4)
    clock.advance(days=400)
    assert job_tasks.maintenance(node)["events_retired"] == 0


def test_an_event_in_a_removed_batch_is_an_addition(three: Node, clock: ManualClock) -> None:
    """A row that turns up in a batch that was removed in time is found."""
    clock.advance(days=91)
    job_tasks.maintenance(three)
    tamper(three, "UPDATE events SET seal = 2 WHERE seal IS NULL")
    bad = three.verify_events().first_bad
    assert bad is not None
    assert (bad.what, bad.seal) == ("added", 2)


# --- one sealer --------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_sealer_that_lost_the_lease_seals_nothing(node: Node, clock: ManualClock) -> None:
    """A daemon that was stopped and wakes up is fenced: the other's chain is the only one."""
    with node.unit(ADA) as unit:
        held = lease.take(unit.session, "one", now=unit.now, ttl=timedelta(seconds=10))
    assert held is not None
    clock.advance(seconds=60)
    with node.unit(ADA) as unit:
        assert lease.take(unit.session, "two", now=unit.now, ttl=timedelta(seconds=10)) is not None
    happened(node)
    with pytest.raises(lease.LeaseLost):
        job_tasks.sealing(node, held)
    assert node.verify_events().sealed == 0


def test_runs_that_went_well_are_kept_for_a_day(node: Node, clock: ManualClock) -> None:
    """Sealing runs every few seconds: after a day its good runs go, but never the newest; failed ones stay a week."""
    held = lease.Held("one", 1)
    with node.unit(ADA) as unit:
        for outcome in ("ok", "failed", "ok"):
            run = runs.started(unit.session, "sealing", held, unit.now)
            runs.finished(unit.session, run, outcome, {}, unit.now)
    clock.advance(days=2)
    with node.unit(ADA) as unit:
        runs.prune(unit.session, unit.now)
    with node.read() as session:
        kept = session.scalars(text("SELECT outcome FROM job_runs ORDER BY id")).all()
    assert kept == ["failed", "ok"]
