"""Events as lines, and the filters that every way of asking for them shares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert

from fedtui.core.audit import events
from fedtui.core.audit import listing as event_listing
from fedtui.core.audit.events import KINDS, SEVERITIES, Event
from fedtui.core.audit.listing import EventLine
from fedtui.core.bootstrap import init_node
from fedtui.core.node import Node
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.settings import load
from fedtui.core.runtime.types import new_id
from tests.conftest import START
from tests.core.world import new_peer

ADA = Actor("operator", "ada")
MANY = 400
SOURCES = ("sdwan_manager", "accept_controller", "cli")


def event_row(number: int, dice: random.Random, peer_ids: list[str]) -> dict[str, Any]:
    """An event of any kind about any peer or none, one a minute."""
    kind = dice.choice(sorted(KINDS))
    return {
        "id": new_id(),
        "kind": kind,
        "severity": dice.choice(SEVERITIES),
        "source": dice.choice(SOURCES),
        "peer_id": dice.choice([*peer_ids, None]),
        "actor": "ada",
        "uid": 0,
        "origin": "test",
        "correlation_id": f"act-{number // 5}",
        "payload": {"number": number},
        "emitted_at": START + timedelta(minutes=number),
    }


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with two peers and 400 events of all kinds."""
    home = tmp_path_factory.mktemp("crowd") / "alpha"
    node = init_node(
        load({"FEDTUI_HOME": str(home), "FEDTUI_OPERATOR": "ada"}),
        name="alpha",
        url="https://alpha.example",
        single_operator=True,
    )
    peer_ids = [new_peer(node, url) for url in ("https://b.example", "https://c.example")]
    dice = random.Random(20260301)  # noqa: S311 - the same crowd each time
    with node.unit(ADA) as unit:
        unit.session.execute(delete(Event))
        unit.session.execute(insert(Event), [event_row(number, dice, peer_ids) for number in range(MANY)])
    yield node
    node.close()


def everything(node: Node) -> list[EventLine]:
    with node.read() as session:
        return event_listing.page(session, sort="oldest", limit=10_000)


# --- lines -------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", event_listing.SORTS)
def test_pages_visit_every_event_once(crowd: Node, sort: str) -> None:
    """Walking page by page, from either end, meets each event once and in the order that was asked for."""
    wanted = [line.id for line in everything(crowd)]
    if sort == "newest":
        wanted.reverse()
    with crowd.read() as session:
        found, page = [], event_listing.page(session, sort=sort, limit=7)
        while page:
            found += page
            page = event_listing.page(session, sort=sort, limit=7, after=event_listing.key(page[-1], sort))
        assert [line.id for line in found] == wanted
        back = event_listing.page(session, sort=sort, limit=7, before=event_listing.key(found[-1], sort))
        assert [line.id for line in back] == wanted[-8:-1]
        assert event_listing.rank(session, event_listing.key(found[31], sort), sort=sort) == 31
        assert event_listing.count(session) == MANY


@pytest.mark.parametrize("text", ["Revoked", "high", "SDWAN_man", "b.example", "act-17", "%", "nothing like it"])
def test_the_filter_by_text_and_its_inverse_share_the_events(crowd: Node, text: str) -> None:
    """Text is looked for in kind, severity, source, peer's URL, correlation and id; `!` gives exactly the others."""

    def matches(line: EventLine) -> bool:
        shown = (line.kind, line.severity, line.source, line.peer_url or "", line.correlation_id, line.id)
        return any(text.lower() in one.lower() for one in shown)

    lines = everything(crowd)
    with crowd.read() as session:
        for invert in (False, True):
            wanted = [line.id for line in lines if matches(line) is not invert]
            found = event_listing.page(session, sort="oldest", text=text, invert=invert, limit=10_000)
            assert [line.id for line in found] == wanted
            assert event_listing.count(session, text=text, invert=invert) == len(wanted)
            for line in lines[:20]:
                there = event_listing.one(session, line.id, text=text, invert=invert)
                assert (there is not None) is (line.id in wanted)


def test_the_filter_by_text_stays_with_the_newest(crowd: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter by text looks at the newest so many events and no further, so that it stays quick."""
    monkeypatch.setattr(event_listing, "SEARCHED", 50)
    with crowd.read() as session:
        assert event_listing.count(session, text="act-") == 50
        assert event_listing.count(session, text="act-", invert=True) == 0
        assert event_listing.count(session) == MANY


def test_an_event_is_found_by_the_beginning_of_its_id(crowd: Node) -> None:
    """An id, or its beginning, finds the event; two tell that the beginning is not enough."""
    line = everything(crowd)[5]
    with crowd.read() as session:
        assert event_listing.starting_with(session, line.id.upper()) == [line]
        assert len(event_listing.starting_with(session, line.id[:2])) == 2


# --- filters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"source": "cli"}, lambda one: one.source == "cli"),
        ({"kind": "system.act"}, lambda one: one.kind == "system.act"),
        ({"severity": "low"}, lambda one: True),
        ({"severity": "medium"}, lambda one: one.severity != "low"),
        ({"severity": "high"}, lambda one: one.severity in ("high", "critical")),
        ({"severity": "critical"}, lambda one: one.severity == "critical"),
        ({"correlation_id": "act-3"}, lambda one: one.correlation_id == "act-3"),
        ({"since": START + timedelta(minutes=380)}, lambda one: one.payload["number"] >= 380),
        ({"until": START + timedelta(minutes=9)}, lambda one: one.payload["number"] < 9),
        (
            {"severity": "high", "source": "cli", "since": START + timedelta(minutes=100)},
            lambda one: one.severity in ("high", "critical") and one.source == "cli" and one.payload["number"] >= 100,
        ),
    ],
)
def test_each_filter_narrows_to_what_it_says(crowd: Node, wanted: dict[str, Any], matches: Any) -> None:
    """Source, kind, severity (that or graver), correlation and time narrow, alone and together, newest first."""
    expected = [line.id for line in reversed(everything(crowd)) if matches(line)]
    assert expected, "a filter that nothing matches proves nothing"
    with crowd.read() as session:
        assert [row.id for row in events.recent(session, limit=10_000, **wanted)] == expected
        assert [row.id for row in events.recent(session, limit=3, **wanted)] == expected[:3]


def test_the_filter_by_peer(crowd: Node) -> None:
    """A peer's events are those about it, and no others."""
    line = next(line for line in everything(crowd) if line.peer_id)
    with crowd.read() as session:
        found = events.recent(session, peer_id=line.peer_id, limit=10_000)
        assert {row.peer_id for row in found} == {line.peer_id}
        assert len(found) == sum(one.peer_id == line.peer_id for one in everything(crowd))
