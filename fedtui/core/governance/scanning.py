"""The scan: each rule's query against what is on record, and what changed between the two.

Set-based: only what appeared, came back, reads differently or went is read into memory, so that a scan
in which nothing happened writes a row a kind, however many findings stand. It lets go of the database
between rules once it has held it for a moment, so that heartbeats wait for one rule at most.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedtui.core.administration import operators
from fedtui.core.audit.events import emit
from fedtui.core.governance import findings
from fedtui.core.governance.findings import KEPT, SOURCE, Finding, KindScan, rank_of
from fedtui.core.governance.queries import Scan
from fedtui.core.governance.rules import BY_KIND, RULES, Rule
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.runtime import lease
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit

JOB_ACTOR = Actor("job", "governance", origin="job maintenance")
AT_ONCE = 0.1
"""Seconds after which a transaction takes up no further rule."""
BATCH = 5000
"""Changes of a rule that one transaction takes up: more of them are written in several."""
TOLD_ONE_BY_ONE = 20
"""Findings of a kind that a scan tells in events of their own; more than that share one."""
APPEARED, WENT, LAPSED = "governance.finding.appeared", "governance.finding.gone", "governance.finding.lapsed"
_KEPT_APART = ("subject", "peer_id", "severity")


@dataclass
class Pass:
    """How far a scan has come with a rule: when its kind was told before, whether all that went was taken up, and
    how many changes of a sort were."""

    rule: Rule
    before: datetime | None = None
    held_back: bool = False
    all_gone: bool = False
    changed: Counter[str] = field(default_factory=Counter)


def scan(site: NodeContext, actor: Actor = JOB_ACTOR, held: Held | None = None) -> dict[str, Any]:
    """Look for every kind of finding, and record what changed.

    Returns scanned_at, duration_ms, appeared, gone, open (by severity), held_back (kinds that cannot be told
    now). Safe beside another scan. Raises `NotFound` for who is no operator, `LeaseLost` for a stopped holder.
    """
    if actor.kind == "operator":
        with site.read() as session:
            operators.require(session, actor.name)
    began, correlation = time.monotonic(), new_id()
    passes = [Pass(rule) for rule in RULES]
    waiting = deque(passes)
    while waiting:
        with site.unit(actor, correlation_id=correlation) as unit:
            _fence(site, unit, held)
            until = time.monotonic() + AT_ONCE
            while waiting and time.monotonic() < until:
                if _apply(unit, site, waiting[0]):
                    waiting.popleft()
    with site.unit(actor, correlation_id=correlation) as unit:
        _fence(site, unit, held)
        _put_away(unit)
        opened = findings.counts(unit.session, unit.now)
        return {
            "scanned_at": unit.now,
            "duration_ms": round((time.monotonic() - began) * 1000),
            "appeared": sum(one.changed[APPEARED] for one in passes),
            "gone": sum(one.changed[WENT] for one in passes),
            "open": opened,
            "held_back": [one.rule.kind for one in passes if one.held_back],
        }


def _fence(site: NodeContext, unit: Unit, held: Held | None) -> None:
    if held is not None:
        lease.fence(unit.session, held, now=unit.now, ttl=site.settings.lease_ttl)


def _apply(unit: Unit, site: NodeContext, one: Pass) -> bool:
    """Compare a rule with the record; whether that was all of it."""
    rule, look = one.rule, Scan(unit.session, unit.now, site)
    one.held_back = not rule.can_tell(look)
    told = _begin(unit, rule.kind, can_tell=not one.held_back)
    one.before = one.before or told
    _lapse(unit, one)
    if one.held_back:
        return True
    seen, grace = rule.query(look).subquery("seen"), rule.grace(look)
    # Both are read before either is written: the one must not hide from the other.
    differing = _differing(unit.session, rule, seen)
    missing = [] if one.all_gone else _missing(unit.session, rule, seen, unit.now - grace)
    one.all_gone = len(missing) < BATCH
    _appear(unit, one, differing)
    _go(unit, one, missing, grace)
    return max(len(differing), len(missing)) < BATCH


def _begin(unit: Unit, kind: str, can_tell: bool) -> datetime:
    """Write down that the kind is looked for now; when it was last told. A second scan waits here for the first."""
    session = unit.session
    query = select(KindScan).where(KindScan.kind == kind).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None:
        # Where another process is first, its row serves as well.
        with suppress(IntegrityError), session.begin_nested():
            session.add(KindScan(kind=kind, scanned_at=unit.now, told_at=None))
        row = session.scalars(query).one()
    before = row.told_at or unit.now
    row.scanned_at = unit.now
    row.told_at = unit.now if can_tell else row.told_at
    session.flush()
    return before


# --- comparing ---------------------------------------------------------------------------


def _mark(seen: Any) -> ColumnElement[str]:
    """The facts as one text: if it differs, the finding reads differently."""
    parts: list[ColumnElement[str]] = [
        func.coalesce(cast(column, String), "") for column in seen.c if column.name not in _KEPT_APART
    ]
    mark: ColumnElement[str] = literal("")
    for part in parts:
        mark = mark + part + literal("|")
    return mark


def _differing(session: Session, rule: Rule, seen: Any) -> Sequence[Any]:
    """What is seen and not on record like that: new, gone, absent, or resting on other facts."""
    mark = _mark(seen)
    on_record = and_(Finding.kind == rule.kind, Finding.subject == seen.c.subject)
    changed = or_(
        Finding.id.is_(None),
        Finding.gone_at.is_not(None),
        Finding.absent_since.is_not(None),
        Finding.mark != mark,
    )
    known = (
        Finding.id.label("known_id"),
        Finding.gone_at.label("known_gone_at"),
        Finding.acknowledged_until.label("known_acknowledged_until"),
    )
    query = select(seen, mark.label("seen_mark"), *known).outerjoin(Finding, on_record).where(changed).limit(BATCH)
    return session.execute(query).mappings().all()


def _missing(session: Session, rule: Rule, seen: Any, over: datetime) -> Sequence[Any]:
    """What is on record and no longer seen: for the first time, or since `over`."""
    columns = (Finding.id, Finding.peer_id, Finding.subject, Finding.said, Finding.absent_since)
    standing = and_(Finding.kind == rule.kind, Finding.gone_at.is_(None))
    due = or_(Finding.absent_since.is_(None), Finding.absent_since <= over)
    query = select(*columns).where(standing, due, Finding.subject.not_in(select(seen.c.subject)))
    return session.execute(query.limit(BATCH)).all()


# --- writing -----------------------------------------------------------------------------


def _appear(unit: Unit, one: Pass, rows: Sequence[Any]) -> None:
    """Record what is new or back, and say the rest anew."""
    rule = one.rule
    new, again, appeared = [], [], []
    for row in rows:
        values = _values(rule, row)
        back = row["known_id"] is not None and row["known_gone_at"] is not None
        if row["known_id"] is None:
            values["id"] = new_id()
            new.append({**values, "first_seen": unit.now, "last_seen": unit.now, "reopened": 0})
        else:
            again.append({**values, "b_id": row["known_id"], "b_reopened": int(back)})
            values["id"] = row["known_id"]
        if row["known_id"] is None or back:
            hidden = row["known_acknowledged_until"] is not None
            appeared.append({**values, "quiet": hidden or rule.told_already})
    if new:
        unit.session.execute(insert(Finding), new)
    _update_again(unit, again)
    _tell(unit, APPEARED, one, appeared)


def _values(rule: Rule, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a finding that follow from what was seen."""
    facts = {name: value for name, value in row.items() if not name.startswith(("known_", "seen_"))}
    severity = facts.get("severity") or rule.severity
    return {
        "kind": rule.kind,
        "subject": row["subject"],
        "severity": severity,
        "rank": rank_of(severity),
        "peer_id": row["peer_id"],
        "said": rule.said.format(**facts),
        "detail": {name: _plain(value) for name, value in facts.items()},
        "mark": row["seen_mark"],
    }


def _update_again(unit: Unit, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("severity", "rank", "peer_id", "said", "detail", "mark")
    for row in rows:
        unit.session.execute(
            update(Finding)
            .where(Finding.id == row["b_id"])
            .values(
                **{name: row[name] for name in columns},
                gone_at=None,
                absent_since=None,
                reopened=Finding.reopened + row["b_reopened"],
                last_seen=unit.now,
            )
            .execution_options(synchronize_session=False)
        )


def _go(unit: Unit, one: Pass, rows: Sequence[Any], grace: timedelta) -> None:
    """Let go what is no longer seen, after the grace of its kind."""
    first_missed = [row.id for row in rows if row.absent_since is None]
    _set(unit, first_missed, last_seen=one.before, absent_since=unit.now)
    gone = [row for row in rows if unit.now - (row.absent_since or unit.now) >= grace]
    _set(unit, [row.id for row in gone], gone_at=unit.now, absent_since=None)
    _tell(unit, WENT, one, [{**_told(row), "severity": "low", "quiet": True} for row in gone])


def _told(row: Any) -> dict[str, Any]:
    return {"id": row.id, "peer_id": row.peer_id, "subject": row.subject, "said": row.said}


def _set(unit: Unit, ids: Sequence[str], **values: Any) -> None:
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        unit.session.execute(
            update(Finding).where(Finding.id.in_(some)).values(**values).execution_options(synchronize_session=False)
        )


def _lapse(unit: Unit, one: Pass) -> None:
    """What was acknowledged until now is open again, and that is said once; the events keep who it was."""
    ended = and_(Finding.kind == one.rule.kind, Finding.acknowledged_until <= unit.now)
    rows = unit.session.execute(
        update(Finding)
        .where(ended)
        .values(acknowledged_by=None, acknowledged_at=None, acknowledged_until=None, acknowledgement=None)
        .execution_options(synchronize_session=False)
        .returning(Finding.id, Finding.peer_id, Finding.subject, Finding.said, Finding.severity, Finding.gone_at)
    ).all()
    standing = [row for row in rows if row.gone_at is None]
    _tell(unit, LAPSED, one, [{**_told(row), "severity": row.severity, "quiet": False} for row in standing])


def _put_away(unit: Unit) -> None:
    """Let go what no rule looks for any more, and forget what went long ago."""
    retired = and_(Finding.kind.not_in(BY_KIND), Finding.gone_at.is_(None))
    unit.session.execute(update(Finding).where(retired).values(gone_at=unit.now, absent_since=None))
    unit.session.execute(delete(KindScan).where(KindScan.kind.not_in(BY_KIND)))
    unit.session.execute(delete(Finding).where(Finding.gone_at < unit.now - KEPT))


def _tell(unit: Unit, kind: str, one: Pass, changed: Sequence[Mapping[str, Any]]) -> None:
    """An event for each change; where a scan brings too many, one for the rest."""
    room = max(0, TOLD_ONE_BY_ONE - one.changed[kind])
    one.changed[kind] += len(changed)
    for each in changed[:room]:
        emit(
            unit,
            kind,
            source=SOURCE,
            peer_id=each["peer_id"],
            severity="low" if each["quiet"] else each["severity"],
            finding_id=each["id"],
            finding=one.rule.kind,
            subject=each["subject"],
            said=each["said"],
        )
    rest = changed[room:]
    if rest:
        loud = [each["severity"] for each in rest if not each["quiet"]]
        emit(
            unit,
            kind,
            source=SOURCE,
            severity=min(loud, key=rank_of, default="low"),
            finding=one.rule.kind,
            more=len(rest),
        )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
