"""What to look at closely: the few peers, calls and requests that are not as they should be, found by the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import Event
from fedtui.core.diagnosis.checks.limits import LATELY, REFUSALS_SINCE, SKEW_LIMIT
from fedtui.core.diagnosis.checks.resolved import ENDED
from fedtui.core.diagnosis.checks.targets import about_the_caller
from fedtui.core.diagnosis.model import ESCALATION, Subject
from fedtui.core.grants import decisions, grants
from fedtui.core.grants.decisions import Decision, id_at
from fedtui.core.grants.grants import Grant
from fedtui.core.operations import approvals
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import peers
from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer, term_end_sql
from fedtui.core.pki import key_pairs
from fedtui.core.pki.node_context import NodeContext

MOST_PEERS, MOST_DECISIONS, MOST_REQUESTS = 40, 20, 20
MOST_PAIRS = 2000
"""Pairs that are opened one by one; of more, only those that are known to be broken are looked at."""
NODE = Subject("node", label="this node")
OF_PEERS = ("stuck_accepted", "degraded", "partial_mtls", "token_mismatch", "token_missing")
OF_CALLS = ("grant_scope_mismatch", "unauthorized_with_grant")
OF_REQUESTS = ("approval_blocked",)
OF_NODE = ("stuck_accepted", "degraded", "approval_blocked")


@dataclass(frozen=True, slots=True)
class DiagnosisTarget:
    """What a person points at: a symptom, and any of the things it may be about. All empty: everything."""

    symptom: str | None = None
    peer: str | None = None
    decision: str | None = None
    approval: str | None = None
    token: str | None = field(default=None, repr=False)
    grant: str | None = None

    @property
    def pointed(self) -> bool:
        """Whether one thing was pointed at."""
        return any((self.peer, self.decision, self.approval, self.token, self.grant))

    def is_about(self, subject: Subject) -> bool:
        """Whether a subject that was surveyed for this is what was pointed at, and not what belongs to that."""
        given = {
            "peer": self.peer,
            "decision": self.decision,
            "approval": self.approval,
            "grant": self.grant,
            "token": self.token,
        }.get(subject.scope)
        if given is None:
            return False
        # Of peers and tokens only the one that is pointed at is surveyed; the others are named by an id's beginning.
        return subject.scope in ("peer", "token") or subject.id.startswith(given.strip().lower())


@dataclass(frozen=True, slots=True)
class Survey:
    """The subjects to examine; `left_out` counts those beyond what is looked at at once."""

    subjects: tuple[Subject, ...]
    left_out: int = 0


def survey(session: Session, site: NodeContext, now: datetime, wanted: DiagnosisTarget) -> Survey:
    """Whom and what to look at. Raises `NotFound` for a thing that is pointed at and not there."""
    about = wanted.symptom if wanted.symptom != ESCALATION else None
    if wanted.token is not None:
        return Survey((Subject("token", label="the token you hold", secret=wanted.token),))
    if wanted.pointed:
        return Survey((NODE, *_pointed_at(session, now, wanted)))
    found, more = [], 0
    if about is None or about in OF_PEERS:
        suspects, count = _suspects(session, site, now, everybody=about is not None)
        found += suspects
        more += count - len(suspects)
    if about is None or about in OF_CALLS:
        found += _turned_away(session, now, strangers=about is not None)
    if about is None or about in OF_REQUESTS:
        found += _requests(session, now)
    if about is None or about == "token_mismatch":
        found += _refused_accepts(session, now)
    with_node = about is None or about in OF_NODE
    return Survey((*((NODE,) if with_node else ()), *dict.fromkeys(found)), more)


def _pointed_at(session: Session, now: datetime, wanted: DiagnosisTarget) -> list[Subject]:
    """The things that a person points at, each with what belongs to it: of a peer its refused calls and its
    requests, of a grant its refused calls."""
    found: list[Subject] = []
    if wanted.decision is not None:
        found.append(_of_decision(session, decisions.find(session, wanted.decision)))
    if wanted.approval is not None:
        found.append(_of_approval(approvals.find(session, wanted.approval)))
    if wanted.grant is not None:
        grant = grants.find(session, wanted.grant)
        found += [_of_grant(grant), *_refused_with(session, grant.id)]
    if wanted.peer is not None:
        peer = peers.find(session, wanted.peer)
        calls = [one for one in _turned_away(session, now, strangers=False) if one.peer_id == peer.id]
        asked = [one for one in _requests(session, now) if one.peer_id == peer.id]
        found += [_of_peer(peer), *calls, *asked]
    return list(dict.fromkeys(found))


def _refused_with(session: Session, grant_id: str) -> list[Subject]:
    """The newest call of each sort that was refused with a grant, however long ago."""
    rows = decisions.listing(session, grant_id=grant_id, refused_only=True, limit=MOST_DECISIONS)
    newest = {row.code: row for row in reversed(rows)}
    return [_of_decision(session, row) for row in newest.values()]


LEAKED, CLOCK, REFUSED, WAITING = "leaked", "clock", "refused", "waiting"
"""Sorts of suspects: somebody else presented a peer's token; a peer's clock differs; a proposed peer's accept was
refused; a peer sends no heartbeat yet."""


def by_record(now: datetime, grace: timedelta) -> dict[str, ColumnElement[bool]]:
    """Return what makes a peer a suspect though its status does not say so, by sort. `grace`: how long a first
    heartbeat may take."""
    refused = select(Event.peer_id).where(
        Event.kind == "federation.peer.accept_refused", Event.emitted_at >= now - REFUSALS_SINCE
    )
    return {
        LEAKED: Peer.id.in_(leaked(now)),
        # A proposed peer, too: an accept of its invite has failed over the clocks.
        CLOCK: Peer.status.in_(("proposed", *MAY_HEARTBEAT))
        & or_(Peer.clock_skew_seconds > SKEW_LIMIT, Peer.clock_skew_seconds < -SKEW_LIMIT),
        REFUSED: (Peer.status == "proposed") & Peer.id.in_(refused) & Peer.id.not_in(leaked(now)),
        WAITING: Peer.status.in_(("accepted", "enrolled"))
        & (func.coalesce(Peer.signed_at, Peer.updated_at) <= now - grace),
    }


def _suspects(session: Session, site: NodeContext, now: datetime, *, everybody: bool) -> tuple[list[Subject], int]:
    """Peers that are not as they should be, the most urgent first; and how many there are."""
    grace = timedelta(0) if everybody else 2 * site.settings.heartbeat_interval
    wrong = or_(
        Peer.status == "degraded",
        *by_record(now, grace).values(),
        and_(Peer.status.in_(MAY_HEARTBEAT), Peer.last_outbound_error.is_not(None)),
        and_(Peer.status.in_(MAY_HEARTBEAT), Peer.offered_csr_pem.is_not(None)),
        and_(Peer.status.in_(MAY_HEARTBEAT), term_end_sql() <= now),
        and_(Peer.status == "proposed", Peer.drill_mode),
        Peer.id.in_(_broken_pairs(session, site)),
    )
    query = select(Peer).where(Peer.peer_kind == "platform", wrong)
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = session.scalars(query.order_by(Peer.status != "degraded", Peer.updated_at, Peer.id).limit(MOST_PEERS))
    return [_of_peer(row) for row in rows], count


def leaked(now: datetime) -> Select[str | None]:
    """Return the query for the ids of peers whose token somebody else presented within the last hour."""
    return select(Event.peer_id).where(
        Event.kind == "federation.peer.accept_refused", Event.severity == "high", Event.emitted_at >= now - LATELY
    )


def _broken_pairs(session: Session, site: NodeContext) -> Sequence[str]:
    """Peers to whom this node presents what is not whole, by opening the pairs where they are not too many."""
    in_service = select(Peer.id).where(Peer.status.in_(MAY_HEARTBEAT))
    return key_pairs.broken_among(session, site.vault, in_service, limit=MOST_PAIRS)


def _turned_away(session: Session, now: datetime, *, strangers: bool, decided: bool = True) -> list[Subject]:
    """Calls refused within the last hour, the newest of each sort; of strangers only where asked for, and of peers
    that an operator suspended or revoked unless `decided` is false.

    What a peer was refused before its last heartbeat has been answered by that, where it was about
    who it is and not about a grant.
    """
    query = select(Decision, Peer).outerjoin(Peer, Peer.id == Decision.peer_id)
    query = query.where(Decision.allowed.is_(False), Decision.id >= id_at(now - LATELY)).order_by(Decision.id.desc())
    found: dict[tuple[str | None, ...], Subject] = {}
    pairs: list[tuple[Decision, Peer | None]] = [(one[0], one[1]) for one in session.execute(query.limit(500))]
    for row, peer in pairs:
        heard = peer.last_heartbeat_at if peer is not None else None
        over = heard is not None and heard >= row.last_at and about_the_caller(row)
        unknown = not strangers and row.peer_id is None and row.grant_id is None
        claimed = decisions.peer_claimed(session, row) if unknown and row.call == decisions.HANDSHAKE else None
        ended = not decided and peer is not None and peer.status in ENDED
        if over or ended or (unknown and claimed is None):
            continue
        key = (row.code, row.peer_id, row.grant_id, claimed.id if claimed is not None else None)
        found.setdefault(key, _of_decision(session, row))
    return list(found.values())[:MOST_DECISIONS]


def _requests(session: Session, now: datetime) -> list[Subject]:
    """Requests that wait for a decision, and those that lately timed out, failed or became stale."""
    query = select(Approval).where(or_(Approval.status == "pending", _not_done_lately(now)))
    rows = session.scalars(query.order_by(Approval.expires_at).limit(MOST_REQUESTS))
    return [_of_approval(row) for row in rows]


def _not_done_lately(now: datetime) -> ColumnElement[bool]:
    since = now - REFUSALS_SINCE
    return or_(
        and_(Approval.status == "expired", Approval.expires_at > since),
        and_(Approval.status == "approved", Approval.expires_at.between(since, now)),
        and_(Approval.status.in_(("failed", "stale")), Approval.finished_at > since),
    )


def not_done(session: Session, now: datetime) -> int:
    """Return how many requests timed out, failed or became stale within the last day."""
    return session.scalar(select(func.count()).select_from(Approval).where(_not_done_lately(now))) or 0


def _refused_accepts(session: Session, now: datetime) -> list[Subject]:
    """Accepts of ours that the other side refused lately."""
    query = select(Approval).where(
        Approval.action == "system.federation_peer_accept",
        Approval.status == "failed",
        Approval.requested_at >= now - REFUSALS_SINCE,
    )
    return [_of_approval(row) for row in session.scalars(query.order_by(Approval.id.desc()).limit(MOST_REQUESTS))]


def _of_peer(row: Peer) -> Subject:
    return Subject("peer", row.id, row.remote_instance_url, row.id)


def _of_decision(session: Session, row: Decision) -> Subject:
    peer = session.get(Peer, row.peer_id) if row.peer_id else None
    who = peer.remote_instance_url if peer is not None else decisions.address_of(row) or "somebody"
    if row.call == decisions.HANDSHAKE and peer is None and (claimed := decisions.peer_claimed(session, row)):
        who += f", who claims to be {claimed.remote_instance_url}"
    return Subject("decision", row.id, f"{decisions.call_of(row)} from {who} (decision {row.id[:13]})", row.peer_id)


def _of_grant(row: Grant) -> Subject:
    return Subject(
        "grant", row.id, f"grant to {row.remote_subject} on {row.resource_kind} ({row.id[:13]})", row.peer_id
    )


def _of_approval(row: Approval) -> Subject:
    what = row.summary.partition(". ")[0].rstrip(".")
    return Subject("approval", row.id, f"{what} (request {row.id[:13]})", row.peer_id)


def denied_calls(session: Session, now: datetime) -> list[Subject]:
    """The newest call of each sort that a peer, or a bearer of a grant, was denied within the last hour; without
    those of peers that an operator suspended or revoked."""
    return _turned_away(session, now, strangers=False, decided=False)


def failed_accepts(session: Session, now: datetime) -> list[Subject]:
    """Accepts of this node that the other platform refused within the last day."""
    return _refused_accepts(session, now)
