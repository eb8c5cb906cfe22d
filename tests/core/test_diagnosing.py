"""What this node tells a peer of how it sees that peer: all that helps it, and nothing about anybody else."""

from __future__ import annotations

import json

from fedtui.core.node import Node
from fedtui.core.protocol.diagnosis_report import view_of
from tests.core.world import ELSEWHERE, make_world


def test_a_peer_is_told_about_itself_alone(node: Node) -> None:
    """With another peer, its grants and its refusals on record, none of it is in what the first is told."""
    world, other = make_world(node), make_world(node, "https://c.example")
    theirs = other.grant()
    other.kept(other.asked(other.grant(cidrs=["192.0.2.0/24"])))
    world.kept(world.asked(theirs))
    view = view_of(node, world.peer_id, world.fingerprint)
    told = json.dumps(view, default=str)
    assert (view["status"], view["pair"], view["presented"]) == ("active", "none", world.fingerprint)
    assert [one["status"] for one in view["refused"]] == [401]
    for secret in (other.peer_id, other.fingerprint, other.serial, "c.example", theirs):
        assert secret not in told


def test_another_peers_grant_is_told_like_one_that_is_not(node: Node) -> None:
    """Whether a grant exists that is not its own, a caller does not learn from its diagnosis either."""
    world, other = make_world(node), make_world(node, "https://c.example")
    world.kept(world.asked(other.grant()))
    world.kept(world.asked(ELSEWHERE))
    refused = view_of(node, world.peer_id, world.fingerprint)["refused"]
    assert [one["code"] for one in refused] == ["grant_token_unknown", "grant_token_unknown"]
    assert len({one["answered"] for one in refused}) == 1
