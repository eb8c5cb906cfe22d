"""A node with a peer that may call, a kind that is served, and a grant: what tests of access start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from fedtui.core.grants import chain, decisions, grants, inventory, usage
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, AccessRequest, AuthorizationResult
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.operations import gate
from fedtui.core.operations.gate import Done, Pending
from fedtui.core.peers import peers
from fedtui.core.pki import signing
from fedtui.core.runtime.actor import Actor
from tests.core.test_peers import new_peer, put_in

ADA, BEN = Actor("operator", "ada", origin="test"), Actor("operator", "ben", origin="test")
KIND = "doc"
ELSEWHERE = "0195d3a2-7c1e-7000-8000-00000000000e"
NETWORK = "0195d3a2-7c1e-7000-8000-0000000000aa"


@dataclass
class World:
    """`call` is a GET of doc/one by the peer, with its certificate, from 10.1.2.3."""

    node: Node
    peer_id: str
    instance_id: str
    fingerprint: str
    serial: str

    def grant(self, **terms: Any) -> str:
        """A new grant's id; read on all docs, from anywhere, unless told otherwise."""
        given = {"peer": self.peer_id, "subject": "backup@b", "kind": KIND, "scopes": ["read"], **terms}
        return str(self.act("system.federation_grant_issue", given)["id"])

    def act(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an act came to; one that has to be approved is, by ben, and carried out."""
        outcome = self.node.request(ADA, action, params, reason="test")
        if isinstance(outcome, Done):
            return outcome.result
        approval = outcome.approval
        self.node.approve(BEN, approval.id, approval.digest, reason="test")
        assert gate.execute(self.node, self.node.acts, approval.id) == "executed"
        return {"approval_id": approval.id}

    def asked(self, grant_id: str | None, **other: Any) -> AccessRequest:
        """The call; `other` are fields of the call or of the caller."""
        caller = {name: other.pop(name) for name in list(other) if name in Caller.__dataclass_fields__}
        bearer = grants.bearer(grant_id) if grant_id else None
        base = AccessRequest(RESOURCES, Caller(self.fingerprint, "10.1.2.3"), "GET", KIND, "one", bearer)
        return replace(base, caller=replace(base.caller, **caller), **other)

    def judge(self, asked: AccessRequest) -> AuthorizationResult:
        """Put a call through the chain, now."""
        with self.node.read() as session:
            return chain.judge(session, asked, now=self.node.clock.now())

    def code(self, grant_id: str | None, **other: Any) -> str | None:
        """The code by which a call is refused, or None."""
        return self.judge(self.asked(grant_id, **other)).code

    def kept(self, asked: AccessRequest) -> str:
        """Judge a call and keep the decision; its id."""
        judgement = self.judge(asked)
        with self.node.unit(ADA) as unit:
            return decisions.store(unit, judgement)

    def use(self, asked: AccessRequest, times: int = 1, instance: str | None = None) -> None:
        """Count an allowed call so many times."""
        counts = usage.Counts()
        judgement = self.judge(asked)
        assert judgement.allowed, judgement.refusal
        for _ in range(times):
            counts.used(judgement, instance or self.instance_id)
        with self.node.unit(ADA) as unit:
            usage.write(unit, counts.take())

    def row(self, grant_id: str) -> Grant:
        """The grant as it is on record."""
        with self.node.read() as session:
            return session.get_one(Grant, grant_id)


def make_world(node: Node, url: str = "https://b.example") -> World:
    """An active peer with a certificate on a node that serves docs; ben can approve."""
    with node.read() as session:
        known = inventory.serves(session, KIND)
    if not known:
        node.request(ADA, "system.operator_add", {"name": "ben"})
        node.request(ADA, "system.inventory_change", {"kind": KIND, "served": True})
    peer_id = new_peer(node, url)
    put_in(node, peer_id, "active")
    with node.unit(ADA) as unit:
        authority = signing.open_authority(unit.session, node.vault)
        peer = peers.get(unit.session, peer_id)
        row = signing.issue_for_peer(
            unit,
            authority,
            peer_id=peer_id,
            instance_id=peer.node_instance_id,
            key=signing.new_key().public_key(),
            lifetime=timedelta(days=800),
        )
        return World(node, peer_id, peer.node_instance_id, row.fingerprint, row.serial)


def pending(outcome: Done | Pending) -> Any:
    """The request that an act became."""
    assert isinstance(outcome, Pending)
    return outcome.approval
