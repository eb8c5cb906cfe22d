"""The agreed term of a peering: it ends what it was agreed for, is warned of, and can be extended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fedtui.core.errors import RemoteFailed
from fedtui.core.node import Node
from fedtui.core.peers import peers
from fedtui.core.protocol import heartbeat_sender, renewal
from tests.api.conftest import ADA, Federated, Served, causes
from tests.api.test_resources import Place, opened

CALLS = ("heartbeat", "renew", "resources")


@pytest.fixture
def place(served: Served) -> Place:
    return opened(served)


def agree(place: Place, expires_at: datetime | None, grace_until: datetime | None = None) -> None:
    with place.node.unit(ADA) as unit:
        peer = peers.lock(unit, place.peer_id)
        peer.expires_at, peer.term_grace_until = expires_at, grace_until


def answered(place: Place, call: str) -> tuple[int, str | None]:
    """Status and code of a call by the peer."""
    if call == "resources":
        answer = place.call("GET", place.grant())
    elif call == "diagnosis":
        with place.served.client(place.pair) as client:
            answer = client.get("/api/v1/system/federation_api/diagnosis")
    else:
        body = {"csr_pem": "not one"} if call == "renew" else {}
        answer = place.served.post(call, body, pair=place.pair)
    return answer.status_code, answer.json().get("code")


def grant_time(node: Node, peer_id: str) -> None:
    """Let a term that is over end the peering later, as one that was agreed before terms ended anything."""
    with node.unit(ADA) as unit:
        peer = peers.lock(unit, peer_id)
        peer.status, peer.term_grace_until = "degraded", unit.now + timedelta(days=1)


@pytest.mark.parametrize("call", CALLS)
def test_past_its_term_a_peer_is_refused(place: Place, call: str) -> None:
    """Heartbeats, renewals and resources are 403 `term_ended` from the end on, in the contract's shape; a moment
    before they are not, and what tells the peer why goes on."""
    now = place.node.clock.now()
    agree(place, now + timedelta(seconds=60))
    assert answered(place, call)[1] != "term_ended"
    agree(place, now)
    assert answered(place, call) == (403, "term_ended")
    assert answered(place, "diagnosis")[0] == 200
    agree(place, now - timedelta(days=90), grace_until=now + timedelta(days=1))
    assert answered(place, call)[1] != "term_ended"


def test_a_peer_whose_term_ended_is_told_so_and_comes_back_with_a_new_one(federated: Federated) -> None:
    """Its heartbeats are refused with the reason, its renewal too; extended by an act, the next heartbeat is taken."""
    a, b = federated.a.node, federated.b.node
    with a.unit(ADA) as unit:
        peers.lock(unit, federated.at_a).expires_at = unit.now
    error = str(heartbeat_sender.send(b, federated.at_b))
    assert "the agreed term of this peering ended on" in error
    with pytest.raises(RemoteFailed) as refused:
        renewal.renew(b, federated.at_b, ADA)
    assert "term" in refused.value.problem
    for node in (a, b):
        assert "term_ended" in causes(node)
    grant_time(a, federated.at_a)
    assert "term_ended" not in causes(a)
    a.request(ADA, "system.federation_peer_edit", {"peer": federated.at_a, "expires": "30d"})
    assert heartbeat_sender.send(b, federated.at_b) is None


def test_extending_clears_what_an_upgrade_gave(place: Place) -> None:
    """A term that is agreed anew counts as agreed, also within the time that an older one was given."""
    now = place.node.clock.now()
    agree(place, now - timedelta(days=1), grace_until=now + timedelta(days=20))
    place.node.request(ADA, "system.federation_peer_edit", {"peer": place.peer_id, "expires": "1d"})
    with place.node.read() as session:
        peer = peers.get(session, place.peer_id)
        assert peers.term_end(peer.expires_at, peer.term_grace_until) == now + timedelta(days=1)
