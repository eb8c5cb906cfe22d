"""Clocks that differ: named as such on both sides, from what certificates and answers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedtui.core.errors import Refused
from fedtui.core.node import Node
from fedtui.core.operations import approvals, gate
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers
from fedtui.core.pki import key_pairs
from fedtui.core.protocol import client, heartbeat_sender
from tests.api.conftest import ADA, BEN, Federated, Serve, Served, act, causes
from tests.conftest import ManualClock

BEHIND = timedelta(seconds=400)
"""More than a signer allows for by dating a certificate back."""


def skew(node: Node, peer_id: str) -> float:
    with node.read() as session:
        return peers.get(session, peer_id).clock_skew_seconds or 0.0


def accept_with_slow_clock(a: Served, b: Served) -> tuple[str, str, Any]:
    """Have b, whose clock is behind, accept a's invite: b's id at a, the request's id at b, and its error."""
    for one in (a, b):
        one.node.request(ADA, "system.operator_add", {"name": "ben"})
    at_a = str(act(a.node, "federation_peer_propose", {"url": b.node.url})["peer_id"])
    made = a.node.request(ADA, "system.federation_peer_token", {"peer": at_a})
    assert isinstance(made, Done)
    b.node.clock = ManualClock(at=datetime.now(UTC) - BEHIND)
    asked = b.node.request(ADA, "system.federation_peer_accept", {"invite": made.result["invite"]}, reason="test")
    assert isinstance(asked, Pending)
    b.node.approve(BEN, asked.approval.id, asked.approval.digest, reason="test")
    assert gate.execute(b.node, b.node.acts, asked.approval.id) == "failed"
    with b.node.read() as session:
        return at_a, asked.approval.id, approvals.find(session, asked.approval.id).error


def test_an_accept_with_a_slow_clock_says_so_on_both_sides(serve: Serve) -> None:
    """The certificate is not valid yet by the slow clock: told with both times, never as the wrong kind; each side
    knows how far the other's clock is off; and once it is set, the same accept goes through."""
    a, b = serve("alpha"), serve("beta")
    at_a, approval_id, error = accept_with_slow_clock(a, b)
    assert error["code"] == "cert_not_yet_valid"
    assert "clock is behind" in error["problem"]
    assert f"{b.node.clock.now():%F %H:}" in error["cause"]
    with b.node.read() as session:
        at_b = peers.by_url(session, a.node.url)
        assert at_b is not None
    assert skew(b.node, at_b.id) == pytest.approx(BEHIND.total_seconds(), abs=30)
    assert skew(a.node, at_a) == pytest.approx(-BEHIND.total_seconds(), abs=30)
    for node in (a.node, b.node):
        assert causes(node) == {"clock_skew"}
        assert "clock" in {alert.sort for alert in node.home().alerts}
    b.node.clock = a.node.clock
    b.node.decide(BEN, "retry", approval_id)
    assert gate.execute(b.node, b.node.acts, approval_id) == "executed"
    assert heartbeat_sender.send(a.node, at_a) is None
    assert skew(a.node, at_a) == pytest.approx(0, abs=30)


def test_a_certificate_that_ran_out_is_told_as_such(federated: Federated) -> None:
    """Stored too late, a certificate is named expired with its date."""
    a = federated.a.node
    with a.read() as session:
        pair = key_pairs.pair(session, a.vault, federated.at_a)
    assert pair.certificate is not None
    a.clock = ManualClock(at=pair.certificate.not_after + timedelta(days=1))
    with pytest.raises(Refused) as refused, a.unit(ADA) as unit:
        key_pairs.complete(unit, federated.at_a, pair.certificate.cert_pem, pair.certificate.chain_pem)
    assert refused.value.code == "cert_expired"
    assert f"{pair.certificate.not_after:%F}" in refused.value.problem


def test_the_clock_of_a_peer_that_sends_nothing_is_known_by_its_answers(federated: Federated) -> None:
    """Its answers bear a date: a peer without heartbeats of its own is found to be off all the same, and back."""
    a, at_a = federated.a.node, federated.at_a
    with a.unit(ADA) as unit:
        peers.lock(unit, at_a).last_heartbeat_at = unit.now - timedelta(hours=1)
    a.clock = ManualClock(at=datetime.now(UTC) - timedelta(seconds=120))
    assert heartbeat_sender.send(a, at_a) is None
    assert skew(a, at_a) == pytest.approx(120, abs=20)
    with a.unit(ADA) as unit:
        assert heartbeat_sender._as_before(
            unit, at_a, heartbeat_sender._Attempt(skew=skew(a, at_a) + 1, pair_news=False)
        ), "it is known"
        assert not heartbeat_sender._as_before(unit, at_a, heartbeat_sender._Attempt(skew=0.0, pair_news=False)), (
            "it has changed"
        )
    a.clock = ManualClock(at=datetime.now(UTC))
    assert heartbeat_sender.send(a, at_a) is None
    assert skew(a, at_a) == pytest.approx(0, abs=20)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "yesterday",
        "Mon, 30 Nov 2026 01:02:03",
        "Mon, 99 Nov 2026 01:02:03 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Mon, 30 Nov 2026 01:02:03 +9999999999999999",
        "Mon, 30 Nov 99999999999999999999 01:02:03 GMT",
    ],
)
def test_a_date_that_is_none_says_nothing(header: str) -> None:
    """Whatever a peer puts into `Date`, it is a time with its zone or nothing."""
    assert client._date(header) is None
