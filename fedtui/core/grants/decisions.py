"""Decisions: what the chain came to, kept for whoever has to explain it later.

Every refusal is kept, successes as a sample. Bounded: the same refusal within a minute counts
as one with `times`; one caller leaves at most so many a minute; old ones are pruned.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import Index, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import NotFound
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, AccessRequest, AuthorizationResult
from fedtui.core.peers.peers import Peer
from fedtui.core.pki import certificates
from fedtui.core.pki.x509 import described
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.rate_limit import TokenBuckets, address_key, block_key
from fedtui.core.runtime.types import Id, Json, JsonObject, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit
from fedtui.core.runtime.untrusted import sanitize_text

KEPT_REFUSED, KEPT_ALLOWED = timedelta(days=90), timedelta(days=7)
MOST_KEPT, MOST_OF_STRANGERS, MOST_OF_PEER = 100_000, 20_000, 10_000
"""Decisions in all; of these at most without a peer, and of one peer where there are too many: no caller pushes out
what is on record about another."""
SAME_WITHIN = 60.0
"""Seconds in which the same outcome for the same call is counted, not kept again."""
PER_CALLER, PER_BLOCK, OF_STRANGERS, PER_NODE = 60, 30, 120, 600
"""New decisions a minute: of one caller; without a peer of one block of addresses, and of all; of all peers."""
MOST_REMEMBERED = 10_000
LONGEST_TEXT, LONGEST_CALL = 200, 80
PIECE_DIGITS, PIECE_SECONDS = 8, 65.536
"""The first digits of a UUIDv7, and how long they stay the same: what refusals are gathered by."""
OF_PEER = "CN=fed:"
"""What the subject of a certificate begins with that our CA made for a peer; the peer's id follows."""
HANDSHAKE = "tls"
"""The call of a decision that was made in the TLS handshake, before there was a request."""


class Decision(Base):
    """One decision. `context` is the call as judged, `checks` what each check came to
    (`check`, `passed`, `detail`), `times` how often the same came to the same."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index("ix_decisions_peer_id_id", "peer_id", "id"),
        Index("ix_decisions_grant_id_id", "grant_id", "id"),
        Index("ix_decisions_allowed_id", "allowed", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    at: Mapped[Time]
    call: Mapped[str]
    allowed: Mapped[bool]
    code: Mapped[str | None] = mapped_column(Text_)
    status: Mapped[int]
    answered: Mapped[str | None]
    peer_id: Mapped[str | None] = mapped_column(Text_)
    grant_id: Mapped[str | None] = mapped_column(Text_)
    context: Mapped[JsonObject]
    checks: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    times: Mapped[int]
    last_at: Mapped[Time]


def store(unit: Unit, judgement: AuthorizationResult) -> str:
    """Keep a judgement; its id."""
    refusal = judgement.refusal
    decision = Decision(
        id=new_id(),
        at=judgement.at,
        call=judgement.asked.call,
        allowed=judgement.allowed,
        code=judgement.code,
        status=refusal.status if refusal else 200,
        answered=_plain(refusal.public) if refusal else None,
        peer_id=judgement.peer_id or _named_peer(unit.session, judgement.asked.caller.subject),
        grant_id=judgement.grant_id,
        context=_context(judgement.asked),
        checks=checks(judgement),
        times=1,
        last_at=judgement.at,
    )
    unit.session.add(decision)
    unit.session.flush()
    return decision.id


def store_handshake(
    unit: Unit,
    *,
    code: str,
    detail: str,
    source_ip: str,
    presented: x509.Certificate | None = None,
    check: str = "client_certificate",
) -> str:
    """Keep what TLS refused: the remote saw a disconnect, and this is the only place where the reason stands.

    `presented` is the client's certificate, where TLS gave it; one that is on record names its peer.
    """
    shown = described(presented)._asdict() if presented is not None else {}
    known = certificates.by_fingerprint(unit.session, shown["fingerprint"]) if shown else None
    decision = Decision(
        id=new_id(),
        at=unit.now,
        call=HANDSHAKE,
        allowed=False,
        code=code,
        status=0,
        answered=None,
        peer_id=known.peer_id if known is not None else None,
        context={"caller": _plain({**shown, "source_ip": source_ip})},
        checks=[{"check": check, "passed": False, "detail": _plain(detail)}],
        times=1,
        last_at=unit.now,
    )
    unit.session.add(decision)
    unit.session.flush()
    return decision.id


def store_let_in(unit: Unit, asked: AccessRequest, peer_id: str) -> None:
    """Keep that a caller was let in from an address at which TLS had refused one before."""
    unit.session.add(
        Decision(
            id=new_id(),
            at=unit.now,
            call=asked.call,
            allowed=True,
            code=None,
            status=200,
            answered=None,
            peer_id=peer_id,
            grant_id=None,
            context=_context(asked),
            checks=[],
            times=1,
            last_at=unit.now,
        )
    )
    unit.session.flush()


def peer_claimed(session: Session, row: Decision) -> Peer | None:
    """The peer whose certificate a refused client claimed to have, by its subject; it proves nothing."""
    named = _named_peer(session, str(row.context.get("caller", {}).get("subject") or ""))
    return session.get(Peer, named) if named is not None else None


def checks(judgement: AuthorizationResult) -> list[dict[str, Any]]:
    """What each check came to, as it is stored and shown."""
    return [{"check": one.check, "passed": one.passed, "detail": _plain(one.detail)} for one in judgement.results]


def replay(decision: Decision) -> AccessRequest:
    """The call of a decision, to be judged again. Raises `NotFound` where there was none."""
    if decision.call == HANDSHAKE:
        [found] = decision.checks
        raise NotFound(
            "That decision was made in the TLS handshake; there is no call to replay.",
            cause=str(found["detail"]),
            fix=f"See it as it was kept: fedtui decisions show {decision.id}",
            code="nothing_to_replay",
        )
    context = dict(decision.context)
    caller = Caller(**{**context.pop("caller"), "ignored": ()})
    return AccessRequest(call=decision.call, caller=caller, **context)


def call_of(row: Decision) -> str:
    """What was called, in words: of resources, which and how."""
    if row.call == HANDSHAKE:
        return "TLS handshake"
    if row.call == RESOURCES:
        asked = [str(row.context.get(name, "")) for name in ("method", "kind", "resource_id")]
        return sanitize_text(f"{asked[0]} {asked[1]}/{asked[2]}", LONGEST_CALL)
    return row.call


def address_of(row: Decision) -> str:
    """The address that a call came from; empty where that was not seen."""
    return str(row.context.get("caller", {}).get("source_ip") or "")


def find(session: Session, wanted: str) -> Decision:
    """By id or a unique beginning of one. Raises `NotFound`."""
    return by_beginning(
        session,
        Decision,
        wanted,
        noun="decision",
        see="fedtui decisions list",
        code="decision_not_found",
        cause="Refusals are kept 90 days, a sample of what was allowed 7 days.",
    )


def listing(
    session: Session,
    *,
    peer_id: str | None = None,
    grant_id: str | None = None,
    refused_only: bool = False,
    call: str | None = None,
    limit: int = 100,
) -> list[Decision]:
    """Decisions, newest first."""
    query = select(Decision).order_by(Decision.id.desc()).limit(limit)
    for column, value in ((Decision.peer_id, peer_id), (Decision.grant_id, grant_id), (Decision.call, call)):
        if value is not None:
            query = query.where(column == value)
    return list(session.scalars(query.where(Decision.allowed.is_(False)) if refused_only else query))


def refused(session: Session, *, since: datetime) -> list[tuple[datetime, int]]:
    """How many refusals are kept since then, by minute (or so): when about, and how many; without empty ones.

    The first eight digits of a UUIDv7 count pieces of 65.5 seconds, so that an index of ids alone
    answers, whatever the refusals hold. The same within a minute is one, however often (`times`).
    """
    piece = func.substr(Decision.id, 1, PIECE_DIGITS)
    query = select(piece, func.count()).where(Decision.allowed.is_(False), Decision.id >= id_at(since))
    half = PIECE_SECONDS / 2
    return [
        (datetime.fromtimestamp(int(begin, 16) * PIECE_SECONDS + half, UTC), count)
        for begin, count in session.execute(query.group_by(piece))
    ]


def prune(session: Session, now: datetime) -> None:
    """Forget what is old, and the oldest of too many."""
    for allowed, kept in ((False, KEPT_REFUSED), (True, KEPT_ALLOWED)):
        session.execute(delete(Decision).where(Decision.allowed.is_(allowed), Decision.id < id_at(now - kept)))
    _keep_newest(session, MOST_OF_STRANGERS, Decision.peer_id.is_(None))
    if _oldest_beyond(session, MOST_KEPT) is None:
        return
    counted = select(Decision.peer_id).where(Decision.peer_id.is_not(None)).group_by(Decision.peer_id)
    for peer_id in list(session.scalars(counted.having(func.count() > MOST_OF_PEER))):
        _keep_newest(session, MOST_OF_PEER, Decision.peer_id == peer_id)
    _keep_newest(session, MOST_KEPT)


def _keep_newest(session: Session, most: int, *those: Any) -> None:
    oldest = _oldest_beyond(session, most, *those)
    if oldest is not None:
        session.execute(delete(Decision).where(Decision.id <= oldest, *those))


def _oldest_beyond(session: Session, most: int, *those: Any) -> str | None:
    """The newest of those beyond the number; None where there are no more than that."""
    return session.scalar(select(Decision.id).where(*those).order_by(Decision.id.desc()).offset(most).limit(1))


def id_at(moment: datetime) -> str:
    """The smallest UUIDv7 of a moment (RFC 9562: 48 bits of milliseconds first)."""
    millis = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{millis[:8]}-{millis[8:]}-7000-8000-000000000000"


class Recorder:
    """What of all that was decided is kept: one per process, thread-safe, bounded in memory."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: OrderedDict[object, tuple[str, float]] = OrderedDict()
        self._again: Counter[str] = Counter()
        self._callers = TokenBuckets(PER_CALLER, PER_CALLER, clock=clock)
        self._blocks = TokenBuckets(PER_BLOCK, PER_BLOCK, clock=clock)
        self._strangers = TokenBuckets(OF_STRANGERS, OF_STRANGERS, clock=clock)
        self._node = TokenBuckets(PER_NODE, PER_NODE, clock=clock)
        self._lock = threading.Lock()
        self._dropped = 0

    def repeated(self, what: object) -> str | None:
        """The id under which the same was kept within the last minute; it is counted there."""
        with self._lock:
            id, at = self._recent.get(what, ("", 0.0))
            if not id or self._clock() - at > SAME_WITHIN:
                return None
            self._again[id] += 1
            return id

    def admits(self, caller: str, *, address: str | None = None) -> bool:
        """Whether one more of this caller may be kept. `address`: it is no peer, and calls from there."""
        if self._callers.wait_for(caller) or not self._has_room(address):
            with self._lock:
                self._dropped += 1
            return False
        return True

    def _has_room(self, address: str | None) -> bool:
        if address is None:
            return not self._node.wait_for("")
        return not self._blocks.wait_for(block_key(address)) and not self._strangers.wait_for("")

    def kept(self, what: object, id: str) -> None:
        """`what` was kept as `id`."""
        with self._lock:
            self._recent[what] = (id, self._clock())
            self._recent.move_to_end(what)
            if len(self._recent) > MOST_REMEMBERED:
                self._recent.popitem(last=False)

    def take_dropped(self) -> int:
        """How many came faster than they are kept since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def take(self) -> Mapping[str, int]:
        """How often each was repeated since the last call, for `count`."""
        with self._lock:
            again, self._again = self._again, Counter()
            return again


def count(unit: Unit, again: Mapping[str, int]) -> None:
    """Add repetitions to the decisions they repeat."""
    for id, times in again.items():
        unit.session.execute(
            update(Decision)
            .where(Decision.id == id)
            .values(times=Decision.times + times, last_at=unit.now)
            .execution_options(synchronize_session=False)
        )


def same(judgement: AuthorizationResult) -> object:
    """What makes two judgements the same for the record."""
    asked = judgement.asked
    if judgement.allowed:
        return ("allowed", judgement.grant_id, asked.call, asked.method)
    return (judgement.code, asked)


def caller_key(judgement: AuthorizationResult) -> str:
    """On whose account a decision goes: the peer's, else the address's."""
    return judgement.peer_id or address_key(judgement.asked.caller.source_ip or "")


def _named_peer(session: Session, subject: str) -> str | None:
    """The peer that a certificate of our CA names, where the certificate itself is not on record any more."""
    if not subject.startswith(OF_PEER):
        return None
    peer = session.get(Peer, subject.removeprefix(OF_PEER))
    return peer.id if peer is not None else None


def _context(asked: AccessRequest) -> dict[str, Any]:
    """A call as JSON; texts as a remote sent them, but for their length and what cannot be stored."""
    caller = replace(asked.caller, ignored=tuple(asked.caller.ignored))
    context = {key: value for key, value in asdict(replace(asked, caller=caller)).items() if key != "call"}
    return {key: _plain(value) for key, value in context.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize_text(value, LONGEST_TEXT)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value
