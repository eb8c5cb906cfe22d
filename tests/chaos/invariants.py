"""What must hold of a node's records whatever was killed, told in sentences when it does not."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import Event
from fedtui.core.grants.grants import Grant
from fedtui.core.node import Node
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.vault import SealedValue
from fedtui.core.runtime import backup as upkeep

PROPOSE = "system.federation_peer_propose"
DECIDED = ("executed", "failed", "stale", "rejected", "expired", "withdrawn")


def broken(node: Node) -> list[str]:
    """Every sentence that is not true of this node's records as it should be; empty when all is well."""
    with node.read() as session:
        found = [*_once(session), *_sealed(session)]
    verdict = node.verify_events()
    if not verdict.ok:
        found.append(f"the seals do not fit: {verdict}")
    return found + upkeep.check(node.database)


def _once(session: Session) -> Iterator[str]:
    """Nothing happened twice."""
    twice = {
        "certificates with one serial": (Certificate.issuer_fingerprint, Certificate.serial),
        "grants for one request": (Grant.peer_id, Grant.remote_subject),
    }
    for what, columns in twice.items():
        for row in session.execute(select(*columns, func.count()).group_by(*columns).having(func.count() > 1)):
            yield f"{row[-1]} {what}: {row[:-1]}"
    for state in ("issued", "used"):
        tokens = select(AcceptanceToken.peer_id, func.count()).where(AcceptanceToken.state == state)
        for peer_id, count in session.execute(tokens.group_by(AcceptanceToken.peer_id).having(func.count() > 1)):
            yield f"{count} tokens of peer {peer_id} are {state}"
    told: Counter[tuple[str, str]] = Counter()
    for event in session.scalars(select(Event).where(Event.kind.like("system.approval.%"))):
        told[event.kind.rpartition(".")[2], str(event.payload.get("approval_id"))] += 1
    yield from _acts(session, told)
    accepted = Counter(session.scalars(select(Event.peer_id).where(Event.kind == "federation.peer.accepted")))
    for peer in session.scalars(select(Peer).where(Peer.remote_instance_url.like("https://127.0.0.1%"))):
        if peer.signed_at is not None and accepted[peer.id] != 1:
            yield f"peer {peer.id} was accepted {accepted[peer.id]} times"


def _acts(session: Session, told: Counter[tuple[str, str]]) -> Iterator[str]:
    """Each approved request is carried out once, and says so once."""
    for approval in session.scalars(select(Approval)):
        if approval.decided_at is not None and approval.status not in DECIDED:
            yield f"request {approval.id} ({approval.action}) is still {approval.status}"
        for kind in ("approved", "executed"):
            wanted = int(approval.decided_at is not None and (kind == "approved" or approval.status == "executed"))
            if told[kind, approval.id] != wanted:
                yield f"request {approval.id} ({approval.status}) says {told[kind, approval.id]} times: {kind}"
        if approval.action == PROPOSE and approval.status == "executed":
            url = approval.params["url"]
            emitted = [
                e
                for e in session.scalars(select(Event).where(Event.kind == "federation.peer.proposed"))
                if e.payload.get("url") == url and e.correlation_id == approval.correlation_id
            ]
            if len(emitted) != 1:
                yield f"{url} was proposed {len(emitted)} times by one request"


def _sealed(session: Session) -> Iterator[str]:
    """No secret outlives what it was for."""
    known: dict[str, set[str]] = {
        "credential": set(session.scalars(select(Credential.id))),
        "certificate": set(session.scalars(select(Certificate.id))),
        "approval": set(
            session.scalars(select(Approval.id).where(Approval.status.in_(("pending", "approved", "failed"))))
        ),
    }
    for kind, owner in session.execute(select(SealedValue.owner_kind, SealedValue.owner_id)):
        if kind in known and owner not in known[kind]:
            yield f"a secret of {kind} {owner} is left behind"


def whole(backup: str) -> list[str]:
    """What is wrong with a backup's file, by SQLite's own word."""
    with closing(sqlite3.connect(f"file:{backup}?immutable=1", uri=True)) as connection:
        found: list[Any] = connection.execute("PRAGMA integrity_check").fetchall()
        found += connection.execute("PRAGMA foreign_key_check").fetchall()
        if not connection.execute("SELECT count(*) FROM node_identity").fetchone()[0]:
            found.append(("no node in it",))
    return [json.dumps(row) for row in found if row != ("ok",)]
