"""Certificates as lines: every page agrees with a plain sort, whatever is there, requests without one on top."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import insert

from fedtui.core.certificates import listing
from fedtui.core.certificates.listing import SORTS, CertificateLine
from fedtui.core.node import Node
from fedtui.core.peers.peers import Peer
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.runtime.types import new_id
from fedtui.core.views import serializers
from tests.conftest import START
from tests.core.test_listing import ADA, peer_row


@pytest.fixture
def crowd(node: Node) -> Node:
    """Forty peers, sixty certificates in every state, ten requests of which some wait."""
    dice = random.Random(7)  # noqa: S311
    peers = [{**peer_row(number, dice), "status": dice.choice(("accepted", "degraded"))} for number in range(40)]
    certificates, credentials = [], []
    for number in range(60):
        direction = dice.choice(("inbound", "outbound"))
        certificates.append(
            {
                "id": new_id(),
                "serial": f"{number:04x}",
                "subject": f"CN=fed:{number}",
                "subject_kind": "federation_peer",
                "direction": direction,
                "peer_id": dice.choice(peers)["id"],
                "fingerprint": f"sha256:{number}",
                "issuer_fingerprint": "x",
                "cert_pem": "",
                "chain_pem": "",
                "not_before": START,
                "not_after": START + timedelta(days=dice.randrange(4)),
                "created_at": START,
                "revoked_at": START if dice.random() < 0.2 else None,
                "superseded_at": START if dice.random() < 0.2 else None,
                "problem": "key_missing" if direction == "outbound" and dice.random() < 0.3 else None,
            }
        )
    for number, peer in enumerate(peers[:10]):
        credentials.append(
            {
                "id": new_id(),
                "peer_id": peer["id"],
                "state": ("pending", "current", "retired", "pending", "pending")[number % 5],
                "csr_pem": "",
                "key_fingerprint": "",
                "certificate_id": None,
                "attempts": 0,
                "created_at": START + timedelta(seconds=number % 3),
            }
        )
    signed = certificates[0]["id"]
    credentials.append({**credentials[0], "id": new_id(), "state": "current", "certificate_id": signed})
    with node.unit(ADA) as unit:
        unit.session.execute(insert(Peer), peers)
        unit.session.execute(insert(Certificate), certificates)
        unit.session.execute(insert(Credential), credentials)
    return node


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("text", ["", "fed:1", "example/3"])
def test_pages_agree_with_one_long_read(crowd: Node, sort: str, text: str) -> None:
    """Forwards, backwards and by offset, in pages of every size, each line is met once and in its place."""
    with crowd.read() as session:
        whole = listing.page(session, sort=sort, text=text, limit=1000)
        assert listing.count(session, text=text) == len(whole)
        assert whole == sorted(whole, key=lambda line: listing.key(line, sort))
        for size in (1, 3, 7, 64):
            forwards: list[CertificateLine] = []
            while batch := listing.page(
                session, sort=sort, text=text, limit=size, after=listing.key(forwards[-1], sort) if forwards else None
            ):
                forwards += batch
            assert forwards == whole
            for at in range(0, len(whole), size):
                assert listing.page(session, sort=sort, text=text, limit=size, offset=at) == whole[at : at + size]
        for place, line in enumerate(whole):
            key = listing.key(line, sort)
            assert listing.rank(session, key, sort=sort, text=text) == place
            for size in (1, 5):
                expected = whole[max(place - size, 0) : place]
                assert listing.page(session, sort=sort, text=text, limit=size, before=key) == expected
            assert listing.one(session, line.id, text=text) == line


def test_requests_stand_on_top_where_nothing_else_is_in_use(crowd: Node) -> None:
    """Pending or current without a certificate; not retired ones, nor of a peer with another pair in use."""
    with crowd.read() as session:
        whole = listing.page(session, limit=1000)
        waiting = [line for line in whole if line.not_after is None]
        assert whole[: len(waiting)] == waiting
        assert len(waiting) == 7
        assert {line.problem for line in waiting} == {"cert_missing"}
        [found] = listing.starting_with(session, waiting[0].id)
        assert found == waiting[0]


def test_what_hurts_stands_above_what_is_over(crowd: Node) -> None:
    """Broken pairs, then by expiry, then what was replaced or revoked."""
    with crowd.read() as session:
        signed = [line for line in listing.page(session, limit=1000) if line.not_after is not None]
    ranks = [2 if line.over else 0 if line.problem else 1 for line in signed]
    assert ranks == sorted(ranks)
    assert [line.rank for line in signed] == ranks


def test_the_command_line_lists_half_a_pair_too(crowd: Node) -> None:
    """`certs list`: requests that wait for a certificate on top, with the contract's keys; no more than asked for."""
    with crowd.read() as session:
        waiting = [line.id for line in listing.unsigned(session)]
        listed = serializers.certificates(session, limit=9)
        assert len(serializers.certificates(session, limit=3)) == 3
    assert [one["id"] for one in listed[:7]] == waiting
    assert {one["problem"] for one in listed[:7]} == {"cert_missing"}
    assert len(listed) == 9
    assert len({frozenset(one) for one in listed}) == 1, "every line has the same keys"
