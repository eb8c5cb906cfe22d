"""The audit excerpt for one peer: what this node holds of its dealings with it, fit to be handed over.

The social contract between peers has each give the other such an excerpt within 72 hours of being
asked. It holds no secrets, and nothing of third parties: what a record mentions of another peer is
blotted out, and of our own operators it tells names, not where they sat.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import Event
from fedtui.core.audit.redaction import redact
from fedtui.core.grants.bridges import Bridge
from fedtui.core.grants.decisions import Decision
from fedtui.core.grants.grants import Grant
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import peers
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.pki import certificates
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext

BLOTTED = "(another party)"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_URL = re.compile(r"https?://[^\s\"'<>,;)]+")
_TELLTALE = ("cause",)
"""Of a refused accept: its cause may tell of another peer's token, and the remote was told none."""
_AS_TOLD = {"grant_of_other_peer": "grant_token_unknown"}
"""What the remote may not tell apart (`grants/chain.py`), it may not tell apart here."""
_ONE_BY_ONE = 500
Rows = Sequence[Mapping[str, Any]]


def excerpt(site: NodeContext, peer_id: str, since: datetime, until: datetime, *, verdict: Mapping[str, Any]) -> Any:
    """Everything about a peer between two moments, as JSON. `verdict` is what verifying the record came to."""
    with site.read() as session:
        peer = peers.get(session, peer_id)
        # One platform may have several rows: revoked, and proposed anew.
        same = list(session.scalars(select(Peer.id).where(Peer.remote_instance_url == peer.remote_instance_url)))
        sections: dict[str, Rows] = {
            "events": _events(session, same, since, until),
            "approvals": _approvals(session, same, since, until),
            "decisions": _decisions(session, same, since, until),
            "certificates": _certificates(session, same, since, until),
            "grants": _grants(session, same, since, until),
            "bridges": _bridges(session, same, since, until),
            "tokens": _tokens(session, same, since, until),
        }
        told: dict[str, Any] = {
            "node": {"name": site.name, "url": site.url, "ca_fingerprint": certificates.own_ca(session).fingerprint},
            "peer": _columns(
                peer,
                "id",
                "remote_instance_url",
                "peer_kind",
                "spawn_role",
                "spawn_mode",
                "status",
                "signed_at",
                "last_handshake_at",
                "last_heartbeat_at",
                "last_outbound_at",
                "created_at",
            ),
            "since": since.isoformat(),
            "until": until.isoformat(),
            "made_at": site.clock.now().isoformat(),
            "record": {key: verdict[key] for key in ("ok", "head", "sealed_through", "unsealed")},
            **sections,
        }
        return _blotted(session, peer.remote_instance_url, redact(told))


def _events(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    query = select(Event).where(Event.peer_id.in_(same), Event.emitted_at >= since, Event.emitted_at <= until)
    return [
        {
            **_columns(row, "id", "emitted_at", "kind", "severity", "source", "actor", "correlation_id", "seal"),
            "origin": row.origin.split(" ")[0],
            "payload": _payload(row),
        }
        for row in session.scalars(query.order_by(Event.id))
    ]


def _payload(row: Event) -> dict[str, Any]:
    dropped = _TELLTALE if row.kind == "federation.peer.accept_refused" else ()
    return {key: value for key, value in row.payload.items() if key not in dropped}


def _approvals(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    open_then = or_(Approval.decided_at.is_(None), Approval.decided_at >= since)
    # A proposal was asked for before there was a peer: it is known by what it caused.
    caused = select(Event.correlation_id).where(Event.peer_id.in_(same), Event.kind == "federation.peer.proposed")
    about = or_(Approval.peer_id.in_(same), Approval.correlation_id.in_(caused))
    query = select(Approval).where(about, Approval.requested_at <= until, open_then)
    names = (
        "id",
        "action",
        "summary",
        "status",
        "reason",
        "requested_by",
        "requested_at",
        "decided_by",
        "decided_at",
        "decision_reason",
        "finished_at",
        "correlation_id",
    )
    return [_columns(row, *names) for row in session.scalars(query.order_by(Approval.id))]


def _decisions(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    query = select(Decision).where(Decision.peer_id.in_(same), Decision.at <= until, Decision.last_at >= since)
    names = ("id", "at", "last_at", "times", "call", "allowed", "status", "answered")
    return [
        {
            **_columns(row, *names),
            "code": _AS_TOLD.get(row.code or "", row.code),
            "asked": {key: row.context.get(key) for key in ("method", "kind", "id") if row.context.get(key)},
        }
        for row in session.scalars(query.order_by(Decision.id))
    ]


def _certificates(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    query = select(Certificate).where(
        Certificate.peer_id.in_(same),
        Certificate.created_at <= until,
        _then(since, Certificate.revoked_at, Certificate.superseded_at, ends=Certificate.not_after),
    )
    names = (
        "serial",
        "direction",
        "subject",
        "fingerprint",
        "issuer_fingerprint",
        "not_before",
        "not_after",
        "first_used_at",
        "superseded_at",
        "revoked_at",
        "revocation_reason",
    )
    return [_columns(row, *names) for row in session.scalars(query.order_by(Certificate.id))]


def _grants(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    query = select(Grant).where(
        Grant.peer_id.in_(same), Grant.issued_at <= until, _then(since, Grant.revoked_at, ends=Grant.expires_at)
    )
    names = (
        "id",
        "remote_subject",
        "resource_kind",
        "resource_id",
        "permission_scopes",
        "node_instance_ids",
        "sdwan_network_ids",
        "source_cidrs",
        "issued_at",
        "expires_at",
        "renewed_at",
        "revoked_at",
        "revocation_reason",
    )
    return [_columns(row, *names) for row in session.scalars(query.order_by(Grant.id))]


def _bridges(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    lived = or_(Bridge.status != "revoked", Bridge.updated_at >= since)
    query = select(Bridge).where(Bridge.peer_id.in_(same), Bridge.created_at <= until, lived)
    names = ("id", "network_id", "status", "created_at", "updated_at")
    return [_columns(row, *names) for row in session.scalars(query.order_by(Bridge.id))]


def _tokens(session: Session, same: Sequence[str], since: datetime, until: datetime) -> Rows:
    lived = or_(AcceptanceToken.ended_at.is_(None), AcceptanceToken.ended_at >= since)
    query = select(AcceptanceToken).where(AcceptanceToken.peer_id.in_(same), AcceptanceToken.issued_at <= until, lived)
    names = ("id", "state", "issued_at", "expires_at", "ended_at")
    return [_columns(row, *names) for row in session.scalars(query.order_by(AcceptanceToken.id))]


def _then(since: datetime, *ended: Any, ends: Any) -> ColumnElement[bool]:
    """In force at that moment or later: neither ended nor run out before."""
    condition: ColumnElement[bool] = ends >= since
    for column in ended:
        condition &= or_(column.is_(None), column >= since)
    return condition


def _columns(row: Any, *names: str) -> dict[str, Any]:
    return {name: _plain(getattr(row, name)) for name in names}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


# --- third parties -----------------------------------------------------------------------


def _blotted(session: Session, url: str, told: Any) -> Any:
    """The same without ids and URLs that belong to other peers, or to what they were granted."""
    text = json.dumps(told)
    others = _ids_of_others(session, url, set(_ID.findall(text))) | _urls_of_others(session, url, text)
    for one in sorted(others, key=len, reverse=True):
        text = text.replace(one, BLOTTED)
    return json.loads(text)


def _ids_of_others(session: Session, url: str, ids: Iterable[str]) -> set[str]:
    found, wanted = set(), sorted(ids)
    for at in range(0, len(wanted), _ONE_BY_ONE):
        some = wanted[at : at + _ONE_BY_ONE]
        other = Peer.remote_instance_url != url
        for column in (Peer.id, Peer.node_instance_id):
            found |= set(session.scalars(select(column).where(column.in_(some), other)))
        granted = select(Grant.id).join(Peer, Peer.id == Grant.peer_id).where(Grant.id.in_(some), other)
        found |= set(session.scalars(granted))
    return found


def _urls_of_others(session: Session, url: str, text: str) -> set[str]:
    named = {one.rstrip("/.\\") for one in _URL.findall(text)} - {url}
    return {one for one in named if not one.startswith(url + "/") and _is_of_another(session, one)}


def _is_of_another(session: Session, url: str) -> bool:
    origin = "/".join(url.split("/")[:3])
    query = select(Peer.id).where(Peer.remote_instance_url.in_([url, origin])).limit(1)
    return session.scalars(query).first() is not None


# --- for people --------------------------------------------------------------------------


def markdown(told: Mapping[str, Any]) -> str:
    """The excerpt as Markdown."""
    peer, node, record = told["peer"], told["node"], told["record"]
    lines = [
        f"# Audit excerpt: {peer['remote_instance_url']}",
        "",
        f"* From {node['name']} ({node['url']}), CA {node['ca_fingerprint']}",
        f"* Made {told['made_at']}, for {told['since']} to {told['until']}",
        f"* The peer is {peer['status']}; last heard of {peer['last_heartbeat_at'] or 'never'}",
        f"* The record {'verifies' if record['ok'] else 'DOES NOT VERIFY'}; "
        f"sealed through {record['sealed_through']}, head `{record['head']}`",
        "",
    ]
    for title in ("events", "approvals", "decisions", "certificates", "grants", "bridges", "tokens"):
        rows = told[title]
        lines += [f"## {title.capitalize()} ({len(rows)})", ""]
        lines += [_item(row) for row in rows] or ["None."]
        lines.append("")
    return "\n".join(lines).rstrip()


def _item(row: Mapping[str, Any]) -> str:
    shown = (
        f"{key.replace('_', ' ')}: {_inline(value)}" for key, value in row.items() if value not in (None, "", [], {})
    )
    return "* " + "; ".join(shown)


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else f"`{json.dumps(value)}`"
