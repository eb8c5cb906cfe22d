"""Findings as lines of a table: keyset pages in every order the console offers; what is gone stands last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, false, func, literal, not_, or_, select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import SEVERITIES
from fedtui.core.errors import WrongUsage
from fedtui.core.governance import findings
from fedtui.core.governance.findings import ACKNOWLEDGED, GONE, OPEN, STATES, Finding, KindScan
from fedtui.core.governance.rules import BY_KIND
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import keyset
from fedtui.core.runtime.keyset import Key


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One finding as a list shows it; times are aware UTC.

    `state`: `open`, `acknowledged`, `gone`. `leads_to` is a place of the console, `fix` a command, `advice`
    what to do in words. `last_seen` of what still holds is the time of the last scan.
    """

    id: str
    kind: str
    severity: str
    state: str
    said: str
    advice: str
    leads_to: str
    fix: str
    permission: str
    peer_id: str | None
    peer_url: str | None
    subject: str
    detail: Mapping[str, Any]
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None
    reopened: int
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledged_until: datetime | None
    acknowledgement: str | None

    @property
    def rank(self) -> int:
        """0 for what is gravest."""
        return findings.rank_of(self.severity)

    @property
    def place(self) -> int:
        """The place of its state in the order: open, acknowledged, gone."""
        return STATES.index(self.state)


SORTS = ("urgency", "kind", "peer", "newest")
_URL = func.coalesce(Peer.remote_instance_url, "")


_IN_STATE: Mapping[str, Callable[[datetime], ColumnElement[bool]]] = {
    "": lambda _now: literal(True),
    OPEN: findings.is_open,
    ACKNOWLEDGED: lambda now: findings.state_at(now) == ACKNOWLEDGED,
    GONE: lambda _now: Finding.gone_at.is_not(None),
}


_WITHIN: Mapping[str, Sequence[Any]] = {
    "urgency": (Finding.rank, Finding.kind, Finding.id),
    "kind": (Finding.kind, Finding.id),
    "peer": (_URL, Finding.rank, Finding.id),
}
"""The orders of findings in one state: of the gravest first, an index serves what stands."""


def _order(sort: str, now: datetime, state: str = "") -> Sequence[Any]:
    """An order; where all are in one `state`, the state is no part of it: no index could serve it with that."""
    if sort == "newest":
        return (Finding.id,)
    place = case(*((findings.state_at(now) == one, place) for place, one in enumerate(STATES)))
    return _WITHIN[sort] if state else (place, *_WITHIN[sort])


def _within(key: Key | None, sort: str, state: str) -> Key | None:
    """A line's key in that order."""
    return key[1:] if key is not None and state and sort != "newest" else key


def key(line: FindingLine, sort: str) -> Key:
    """Where a line stands in an order: what `page` and `rank` take."""
    return {
        "urgency": (line.place, line.rank, line.kind, line.id),
        "kind": (line.place, line.kind, line.id),
        "peer": (line.place, line.peer_url or "", line.rank, line.id),
        "newest": (line.id,),
    }[sort]


def page(
    session: Session,
    *,
    now: datetime,
    sort: str = "urgency",
    text: str = "",
    invert: bool = False,
    state: str = "",
    after: Key | None = None,
    before: Key | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[FindingLine]:
    """Up to `limit` lines in display order: from the top, after a key, or just before one (`keyset.page`)."""
    query = _lines(now).where(_matches(text, invert, now, state))
    found = keyset.page(
        session,
        query,
        _order(sort, now, state),
        after=_within(after, sort, state),
        before=_within(before, sort, state),
        limit=limit,
        offset=offset,
        descending=sort == "newest",
    )
    return [_line(*row) for row in found]


def rank(
    session: Session, key: Key, *, now: datetime, sort: str, text: str = "", invert: bool = False, state: str = ""
) -> int:
    """How many lines stand before `key`."""
    counting, descending = _counting(text, invert, now, state), sort == "newest"
    within = _within(key, sort, state) or key
    return keyset.rank(session, counting, _order(sort, now, state), within, descending=descending)


def count(session: Session, *, now: datetime, text: str = "", invert: bool = False, state: str = "") -> int:
    """How many lines there are."""
    return session.scalar(_counting(text, invert, now, state)) or 0


def one(
    session: Session, finding_id: str, *, now: datetime, text: str = "", invert: bool = False, state: str = ""
) -> FindingLine | None:
    """The line of one finding, if the filter leaves it in."""
    query = _lines(now).where(Finding.id == finding_id, _matches(text, invert, now, state))
    return next((_line(*row) for row in session.execute(query)), None)


def starting_with(session: Session, beginning: str, *, now: datetime, limit: int = 2) -> list[FindingLine]:
    """The lines of findings whose id begins so, gone ones too; two tell already that it is not the one."""
    query = _lines(now).where(Finding.id.startswith(beginning.lower(), autoescape=True))
    return [_line(*row) for row in session.execute(query.order_by(Finding.id).limit(limit))]


def rows(
    session: Session,
    *,
    now: datetime,
    states: Sequence[str] = (OPEN,),
    peer_id: str | None = None,
    kind: str | None = None,
    severity: str | None = None,
    limit: int | None = 100,
) -> list[FindingLine]:
    """Findings in these states, the gravest first; of one peer or kind, of `severity` or graver where given.

    Raises `WrongUsage` for a kind or severity that there is not.
    """
    only = states[0] if len(states) == 1 else ""
    query = _lines(now).order_by(*_order("urgency", now, only)).limit(limit)
    if GONE not in states:
        query = query.where(findings.stands())
    query = query.where(_IN_STATE[only](now) if only else findings.state_at(now).in_(states))
    if peer_id is not None:
        query = query.where(findings.about(peer_id))
    if kind is not None:
        query = query.where(Finding.kind == _known(kind, "kind", tuple(BY_KIND)))
    if severity is not None:
        query = query.where(Finding.rank <= findings.rank_of(_known(severity, "severity", SEVERITIES)))
    return [_line(*row) for row in session.execute(query)]


def gravest(session: Session, *, now: datetime, limit: int) -> list[FindingLine]:
    """The first of what is open, in an order that an index serves."""
    query = _lines(now).where(findings.is_open(now)).order_by(*_WITHIN["urgency"]).limit(limit)
    return [_line(*row) for row in session.execute(query)]


def _known(given: str, what: str, allowed: Sequence[str]) -> str:
    if given not in allowed:
        raise WrongUsage(
            f"There is no {what} {given[:60]!r}.",
            cause=f"It is one of: {', '.join(allowed)}.",
            fix="Leave it out, and everything is shown.",
            code=f"{what}_unknown",
        )
    return given


def _lines(now: datetime) -> Any:
    return (
        select(Finding, findings.state_at(now), findings.last_seen(), Peer.remote_instance_url)
        .outerjoin(KindScan, KindScan.kind == Finding.kind)
        .outerjoin(Peer, Peer.id == Finding.peer_id)
    )


def _counting(text: str, invert: bool, now: datetime, state: str) -> Any:
    counting = select(func.count()).select_from(Finding).outerjoin(Peer, Peer.id == Finding.peer_id)
    return counting.where(_matches(text, invert, now, state))


def _matches(text: str, invert: bool, now: datetime, state: str) -> ColumnElement[bool]:
    within = _IN_STATE[state](now)
    if not text:
        return within
    columns = (
        Finding.kind,
        Finding.severity,
        Finding.said,
        Finding.id,
        Peer.remote_instance_url,
        findings.state_at(now),
    )
    found = func.coalesce(or_(*(column.icontains(text, autoescape=True) for column in columns)), false())
    return within & (not_(found) if invert else found == literal(True))


def _line(row: Finding, state: str, last_seen: datetime, peer_url: str | None) -> FindingLine:
    rule, facts = BY_KIND.get(row.kind), {**row.detail, "subject": row.subject, "peer_id": row.peer_id}
    return FindingLine(
        id=row.id,
        kind=row.kind,
        severity=row.severity,
        state=state,
        said=row.said,
        advice=rule.advice if rule else "",
        leads_to=rule.leads_to.format(**facts) if rule else "",
        fix=rule.fix.format(**facts) if rule else "",
        permission=rule.permission if rule else "",
        peer_id=row.peer_id,
        peer_url=peer_url,
        subject=row.subject,
        detail=row.detail,
        first_seen=row.first_seen,
        last_seen=last_seen,
        gone_at=row.gone_at,
        reopened=row.reopened,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        acknowledged_until=row.acknowledged_until,
        acknowledgement=row.acknowledgement,
    )
