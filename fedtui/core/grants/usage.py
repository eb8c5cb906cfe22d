"""Usage: how often each grant was used, a count per grant, day and way of use.

A way of use is the method and what the allowlists look at. Not a row per request: a grant
keeps at most `MOST_WAYS` rows a day, and what goes beyond is counted together.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Index, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.grants.callers import Caller
from fedtui.core.grants.chain import RESOURCES, USE, AccessRequest, AuthorizationResult, WhatIf, judge
from fedtui.core.grants.grants import Grant, bearer
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Text_, Time
from fedtui.core.runtime.unit import Unit

WINDOW = timedelta(days=30)
"""How far back one looks before a revocation or a narrowing."""
KEPT = timedelta(days=90)
MOST_WAYS = 50
OTHERS = "*"
"""The way that stands for all beyond `MOST_WAYS`."""
MOST_BUFFERED = 100_000


class GrantUsage(Base):
    """How often a grant was used on a day (UTC) in one way; `way` is the key of the four columns after it."""

    __tablename__ = "grant_usage"
    __table_args__ = (Index("ix_grant_usage_day", "day"),)

    grant_id: Mapped[str] = mapped_column(Text_, primary_key=True)
    day: Mapped[str] = mapped_column(Text_, primary_key=True)
    way: Mapped[str] = mapped_column(Text_, primary_key=True)
    method: Mapped[str | None]
    instance_id: Mapped[str | None]
    network_id: Mapped[str | None]
    source_ip: Mapped[str | None]
    times: Mapped[int]
    last_at: Mapped[Time]


Way = tuple[str, str | None, str | None, str | None]
"""Method, instance, network, address."""
Key = tuple[str, str, Way]
"""Grant, day, way."""


@dataclass(frozen=True, slots=True)
class Used:
    """One way a grant was used within the window. `method` is None for those counted together."""

    method: str | None
    instance_id: str | None
    network_id: str | None
    source_ip: str | None
    times: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Total:
    """All the use of a grant within the window."""

    times: int = 0
    last_at: datetime | None = None


class Counts:
    """Uses counted in memory until they are written: one per process, thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self._lock = threading.Lock()

    def used(self, judgement: AuthorizationResult, instance: str | None) -> None:
        """Count an allowed call."""
        asked = judgement.asked
        way = (asked.method, instance, asked.caller.network_id, asked.caller.source_ip)
        if judgement.grant_id is None:
            return
        with self._lock:
            if len(self._counts) < MOST_BUFFERED:
                self._counts[(judgement.grant_id, _day(judgement.at), way)] += 1

    def take(self) -> Mapping[Key, int]:
        """What was counted since the last call, for `write`."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            return counts


def write(unit: Unit, counts: Mapping[Key, int]) -> None:
    """Add counts to what is on record."""
    for (grant_id, day, way), times in counts.items():
        if _add(unit, grant_id, day, json.dumps(way), times):
            continue
        ways = select(func.count()).select_from(GrantUsage)
        here = unit.session.scalar(ways.where(GrantUsage.grant_id == grant_id, GrantUsage.day == day)) or 0
        if here < MOST_WAYS:
            _begin(unit, grant_id, day, json.dumps(way), way, times)
        elif not _add(unit, grant_id, day, OTHERS, times):
            _begin(unit, grant_id, day, OTHERS, (None, None, None, None), times)


def _add(unit: Unit, grant_id: str, day: str, way: str, times: int) -> bool:
    """Add to a row, if there is one."""
    return (
        unit.session.execute(
            update(GrantUsage)
            .where(GrantUsage.grant_id == grant_id, GrantUsage.day == day, GrantUsage.way == way)
            .values(times=GrantUsage.times + times, last_at=unit.now)
            .execution_options(synchronize_session=False)
            .returning(GrantUsage.grant_id)
        ).one_or_none()
        is not None
    )


def _begin(unit: Unit, grant_id: str, day: str, key: str, way: tuple[str | None, ...], times: int) -> None:
    method, instance, network, address = way
    unit.session.add(
        GrantUsage(
            grant_id=grant_id,
            day=day,
            way=key,
            method=method,
            instance_id=instance,
            network_id=network,
            source_ip=address,
            times=times,
            last_at=unit.now,
        )
    )
    unit.session.flush()


def totals(session: Session, grant_ids: Sequence[str], now: datetime) -> dict[str, Total]:
    """The use of each grant within the window; those unused are left out."""
    query = (
        select(GrantUsage.grant_id, func.sum(GrantUsage.times), func.max(GrantUsage.last_at))
        .where(GrantUsage.grant_id.in_(grant_ids), GrantUsage.day >= _day(now - WINDOW))
        .group_by(GrantUsage.grant_id)
    )
    return {grant_id: Total(int(times), last_at) for grant_id, times, last_at in session.execute(query)}


def ways(session: Session, grant_id: str, now: datetime) -> list[Used]:
    """How a grant was used within the window, most used first."""
    columns = (GrantUsage.method, GrantUsage.instance_id, GrantUsage.network_id, GrantUsage.source_ip)
    times = func.sum(GrantUsage.times)
    query = (
        select(*columns, times, func.max(GrantUsage.last_at))
        .where(GrantUsage.grant_id == grant_id, GrantUsage.day >= _day(now - WINDOW))
        .group_by(*columns)
        .order_by(times.desc(), *columns)
    )
    return [Used(*row) for row in session.execute(query)]


def cut_off(session: Session, grant: Grant, supposed: WhatIf | None, now: datetime) -> list[Used]:
    """What was used within the window and would be refused after an edit; None: after a revocation.

    Judged by the chain's own checks. What was counted together cannot be told apart, and is
    named where any list is populated.
    """
    used = ways(session, grant.id, now)
    if supposed is None:
        return used
    return [one for one in used if not _still_allowed(session, grant, one, supposed, now)]


def _still_allowed(session: Session, grant: Grant, used: Used, supposed: WhatIf, now: datetime) -> bool:
    caller = Caller(
        described=True,
        peer_id=grant.peer_id,
        source_ip=used.source_ip,
        instance_id=used.instance_id,
        network_id=used.network_id,
    )
    asked = AccessRequest(RESOURCES, caller, method=used.method or "", bearer=bearer(grant.id))
    judged = judge(session, asked, now=now, supposed=replace(supposed, bridge_active=True))
    return all(one.passed for one in judged.results if one.check in USE and (used.method or one.check != "scope"))


def prune(session: Session, now: datetime) -> None:
    """Forget what is older than 90 days."""
    session.execute(delete(GrantUsage).where(GrantUsage.day < _day(now - KEPT)))


def _day(moment: datetime | date) -> str:
    return moment.strftime("%Y-%m-%d")
