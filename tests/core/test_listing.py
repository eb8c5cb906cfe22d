"""Peers as lines: keyset pages that visit each row once, and agree with a plain sort."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, select

from fedtui.core.bootstrap import init_node
from fedtui.core.node import Node
from fedtui.core.peers import listing as peer_listing
from fedtui.core.peers.listing import EPOCH, SORTS, PeerLine, urgency
from fedtui.core.peers.peers import MODES, ROLES, STATUSES, Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.settings import load
from fedtui.core.runtime.types import new_id
from tests.conftest import START

ADA = Actor("operator", "ada")
PEERS = 300


def peer_row(number: int, dice: random.Random) -> dict[str, Any]:
    """A peer in any state, with equal values often, so that the order of ties is put to the test."""
    status = dice.choice(STATUSES)
    heard = status == "active" or dice.random() < 0.5
    kind = dice.choice(("platform", "platform", "sdwan_only"))
    host = dice.choice(("a", "B", "é", "z_", "p%")) + str(dice.randrange(3))
    return {
        "id": new_id(),
        "remote_instance_url": f"https://{host}.example/{number}",
        "node_instance_id": new_id(),
        "peer_kind": kind,
        "spawn_role": dice.choice(ROLES) if kind == "platform" else None,
        "spawn_mode": dice.choice(MODES) if kind == "platform" else None,
        "status": status,
        "endpoints": [],
        "confirmed_endpoints": [],
        "public_ca": False,
        "capabilities": {},
        "extension_slugs": [],
        "sync_cursor": {},
        "drill_mode": False,
        "enroll_owed": False,
        "last_heartbeat_at": START - timedelta(seconds=dice.randrange(5)) if heard else None,
        "metadata_": {},
        "created_at": START - timedelta(microseconds=dice.randrange(4)),
        "updated_at": START,
    }


def certificate_row(peer_id: str, dice: random.Random) -> dict[str, Any]:
    """A certificate of either direction, seldom revoked, expiring any time in ten days."""
    return {
        "id": new_id(),
        "serial": new_id(),
        "subject": "CN=fed",
        "subject_kind": "federation_peer",
        "direction": dice.choice(("inbound", "outbound", "own")),
        "peer_id": peer_id,
        "fingerprint": new_id(),
        "issuer_fingerprint": "sha256:",
        "cert_pem": "",
        "chain_pem": "",
        "not_before": START,
        "not_after": START + timedelta(hours=dice.randrange(240)),
        "revoked_at": START if dice.random() < 0.3 else None,
        "created_at": START,
    }


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with 300 peers in all states, half of them never heard of, with none to four certificates each."""
    home = tmp_path_factory.mktemp("crowd") / "alpha"
    node = init_node(load({"FEDTUI_HOME": str(home)}), name="alpha", url="https://alpha.example")
    dice = random.Random(20260301)  # noqa: S311 - the same crowd each time
    rows = [peer_row(number, dice) for number in range(PEERS)]
    with node.unit(ADA) as unit:
        unit.session.execute(insert(Peer), rows)
        held = [certificate_row(row["id"], dice) for row in rows for _ in range(dice.randrange(5))]
        unit.session.execute(insert(Certificate), held)
    yield node
    node.close()


def plain(lines: Sequence[PeerLine], sort: str) -> list[str]:
    """The ids in the order that Python gives the documented sort."""
    orders: dict[str, Callable[[PeerLine], Any]] = {
        "urgency": lambda one: (urgency(one), one.remote_instance_url.encode(), one.id),
        "url": lambda one: (one.remote_instance_url.encode(), one.id),
        "status": lambda one: (one.status, one.remote_instance_url.encode(), one.id),
        "heartbeat": lambda one: (one.last_heartbeat_at or EPOCH, one.id),
        "created": lambda one: (one.created_at, one.id),
    }
    return [one.id for one in sorted(lines, key=orders[sort])]


def everything(node: Node) -> list[PeerLine]:
    with node.read() as session:
        return peer_listing.page(session, sort="url", limit=10_000)


def matches(line: PeerLine, wanted: str) -> bool:
    shown = (line.remote_instance_url, line.status, line.id, line.spawn_role or "", line.spawn_mode or "")
    return any(wanted.lower() in one.lower() for one in shown)


def walk(node: Node, size: int, *, forwards: bool, **query: Any) -> list[PeerLine]:
    """All pages from one end to the other."""
    found: list[PeerLine] = []
    with node.read() as session:
        while True:
            if forwards:
                edge = {"after": peer_listing.key(found[-1], query["sort"])} if found else {}
                new = peer_listing.page(session, limit=size, **edge, **query)
                found += new
            else:
                edge = {"before": peer_listing.key(found[0], query["sort"]) if found else _beyond(query["sort"])}
                new = peer_listing.page(session, limit=size, **edge, **query)
                found[:0] = new
            assert len(new) <= size
            if len(new) < size:
                return found


def _beyond(sort: str) -> tuple[Any, ...]:
    """A key after every row."""
    last: datetime = START + timedelta(days=1)
    high = "\U0010ffff"
    return {
        "urgency": (9, high, high),
        "url": (high, high),
        "status": (high, high, high),
        "heartbeat": (last, high),
        "created": (last, high),
    }[sort]


def test_the_crowd_is_what_the_tests_need(crowd: Node) -> None:
    """All states are there, ties are frequent, and many peers never sent a heartbeat."""
    lines = everything(crowd)
    assert {one.status for one in lines} == set(STATUSES)
    assert sum(one.last_heartbeat_at is None for one in lines) > 60
    assert len({one.created_at for one in lines}) == 4


@pytest.mark.parametrize("forwards", [True, False], ids=["down", "up"])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_visit_each_row_once(crowd: Node, sort: str, forwards: bool) -> None:
    """In every order, pages of any size from either end hold every row once, in the documented order."""
    expected = plain(everything(crowd), sort)
    assert len(expected) == PEERS
    for size in (1, 7, 100, PEERS, PEERS + 1):
        assert [one.id for one in walk(crowd, size, forwards=forwards, sort=sort)] == expected


FILTERS = ("active", "SYMMETRIC", "b1.example", "é", "%", "_", "p%0", "'", "\\", "no such", "/1", "managed")


@pytest.mark.parametrize("invert", [False, True], ids=["matching", "others"])
@pytest.mark.parametrize("wanted", FILTERS)
def test_filters_agree_with_python(crowd: Node, wanted: str, invert: bool) -> None:
    """A filter finds what contains the text anywhere shown (no wildcards), and inverted exactly the rest:
    in pages, count and rank alike."""
    lines = everything(crowd)
    kept = [one for one in lines if matches(one, wanted) is not invert]
    query: dict[str, Any] = {"text": wanted, "invert": invert}
    for sort in SORTS:
        expected = plain(kept, sort)
        assert [one.id for one in walk(crowd, 23, forwards=True, sort=sort, **query)] == expected
        assert [one.id for one in walk(crowd, 23, forwards=False, sort=sort, **query)] == expected
    with crowd.read() as session:
        assert peer_listing.count(session, **query) == len(kept)


@settings(max_examples=60)
@given(data=st.data(), sort=st.sampled_from(SORTS), wanted=st.sampled_from(["", *FILTERS]), invert=st.booleans())
def test_rank_and_page_agree(crowd: Node, data: st.DataObject, sort: str, wanted: str, invert: bool) -> None:
    """From any row, matching or not: its rank counts the matching rows before it, and the pages beside it are
    the neighbours in the sorted list."""
    lines = everything(crowd)
    order = plain(lines, sort)
    line = data.draw(st.sampled_from(lines))
    kept = {one.id for one in lines if not wanted or matches(one, wanted) is not invert}
    place = order.index(line.id)
    above = [one for one in order[:place] if one in kept]
    below = [one for one in order[place + 1 :] if one in kept]
    key, query = peer_listing.key(line, sort), {"sort": sort, "text": wanted, "invert": invert}
    size = data.draw(st.integers(1, 20))
    with crowd.read() as session:
        assert peer_listing.rank(session, key, **query) == len(above)
        before = peer_listing.page(session, before=key, limit=size, **query)
        after = peer_listing.page(session, after=key, limit=size, **query)
    assert [one.id for one in before] == above[-size:]
    assert [one.id for one in after] == below[:size]


@pytest.mark.parametrize("sort", SORTS)
def test_pages_use_an_index(crowd: Node, sort: str) -> None:
    """A page is read from an index in each order: its cost does not grow with the table."""
    lines = everything(crowd)
    with crowd.read() as session:
        connection = session.connection()
        seen: list[str] = []

        def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
            plan = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            seen.extend(row[3] for row in plan)

        event.listen(connection, "before_cursor_execute", note)
        peer_listing.page(session, sort=sort, after=peer_listing.key(lines[150], sort))
    assert any("SCAN peers USING INDEX" in step or "SEARCH peers USING INDEX" in step for step in seen), seen
    assert not any("TEMP B-TREE" in step for step in seen)


def test_certificate_expiry_is_the_earlier_of_the_newest(crowd: Node) -> None:
    """A line shows the earlier expiry of the two directions' newest certificates, revoked ones not counted;
    one direction alone counts alone, and without any there is none."""
    with crowd.read() as session:
        held = session.scalars(select(Certificate).where(Certificate.revoked_at.is_(None))).all()
    newest: dict[str, dict[str, datetime]] = {}
    for row in held:
        if row.peer_id and row.direction in ("inbound", "outbound"):
            known = newest.setdefault(row.peer_id, {})
            known[row.direction] = max(row.not_after, known.get(row.direction, row.not_after))
    assert {len(known) for known in newest.values()} == {1, 2}
    assert len(newest) < PEERS
    lines = everything(crowd)
    for line in lines:
        assert line.certificate_expires_at == min(newest.get(line.id, {}).values(), default=None)
    with crowd.read() as session:
        for line in lines[:20]:
            assert peer_listing.one(session, line.id) == line
            assert peer_listing.certificate_expiry(session, line.id) == line.certificate_expires_at
        assert peer_listing.one(session, "nobody") is None
