"""Following the record: every event once, however and in whatever order events are committed and sealed."""

from __future__ import annotations

from sqlalchemy import text

from fedtui.core.audit.events import EventFilter, emit
from fedtui.core.audit.tail import EventTail, pages
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.runtime.actor import Actor

ADA = Actor("operator", "ada")


def happened(node: Node, *numbers: int, kind: str = "system.act") -> None:
    with node.unit(ADA) as unit:
        for number in numbers:
            emit(unit, kind, source="test", number=number)


def numbers(found: object) -> list[int]:
    return [event.payload["number"] for event in found]  # type: ignore[attr-defined]


def test_each_event_once_before_and_after_its_seal(node: Node) -> None:
    """Events are given when they are committed, and not again when they get their seal, nor after retention."""
    happened(node, 1, 2, 3)
    follower = EventTail(node.database, EventFilter(source="test"))
    assert numbers(follower.begin(2)) == [2, 3]
    happened(node, 4)
    job_tasks.sealing(node)
    happened(node, 5)
    assert numbers(follower.more()) == [4, 5]
    assert follower.more() == []
    job_tasks.sealing(node)
    assert follower.more() == []
    happened(node, 6)
    job_tasks.sealing(node)
    job_tasks.sealing(node)
    assert numbers(follower.more()) == [6], "committed and sealed between two looks"


def test_what_commits_late_with_an_older_id_is_given(node: Node) -> None:
    """An event whose id sorts before all that were shown is given once it is committed."""
    happened(node, 1)
    follower = EventTail(node.database, EventFilter(source="test"))
    follower.begin(10)
    happened(node, 2)
    assert numbers(follower.more()) == [2]
    job_tasks.sealing(node)
    with node.database.writing() as session:
        session.execute(
            text(
                "INSERT INTO events SELECT '01000000-0000-7000-8000-000000000001', kind, severity, source, peer_id,"
                " actor, uid, origin, correlation_id, '{\"number\": 0}', emitted_at, NULL FROM events"
                " WHERE source = 'test' LIMIT 1"
            )
        )
    assert numbers(follower.more()) == [0]
    job_tasks.sealing(node)
    assert follower.more() == []


def test_only_what_is_wanted(node: Node) -> None:
    """The filter holds for what comes, too; what it leaves out does not come back."""
    follower = EventTail(node.database, EventFilter(kind="system.act"))
    follower.begin(0)
    happened(node, 1, kind="system.notice.failed")
    happened(node, 2)
    assert numbers(follower.more()) == [2]
    job_tasks.sealing(node)
    assert follower.more() == []
    assert numbers(one for page in pages(node.database, EventFilter(source="test")) for one in page) == [1, 2]
