"""Recurring jobs: what they are, and the row that each run leaves.

A run that is dated after `now` ran under a clock that was set back since: to look at it as the newest would hide, until
that time comes, that a job has stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lease import Held
from fedtui.core.runtime.types import Id, JsonObject, Time, new_id

KEPT, KEPT_WELL = timedelta(days=7), timedelta(days=1)
"""How long runs are kept; those that went well, which are many, for less."""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the schedule. `run` gets the lease it runs under and returns what it did."""

    name: str
    every: timedelta
    run: Callable[[Held], Mapping[str, Any]]


class JobRun(Base):
    """One run: `outcome` is `running`, `ok`, `failed` or `lease_lost`; `detail` what it did or why not."""

    __tablename__ = "job_runs"
    __table_args__ = (Index("ix_job_runs_job_started_at", "job", "started_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    job: Mapped[str]
    holder: Mapped[str]
    epoch: Mapped[int]
    started_at: Mapped[Time]
    finished_at: Mapped[Time | None]
    outcome: Mapped[str]
    detail: Mapped[JsonObject]


def started(session: Session, job: str, held: Held, now: datetime) -> str:
    """Record that a run began; its id."""
    run_id = new_id()
    session.add(
        JobRun(
            id=run_id,
            job=job,
            holder=held.holder,
            epoch=held.epoch,
            started_at=now,
            finished_at=None,
            outcome="running",
            detail={},
        )
    )
    return run_id


def finished(session: Session, run_id: str, outcome: str, detail: Mapping[str, Any], now: datetime) -> None:
    """Record how a run ended."""
    session.execute(
        update(JobRun).where(JobRun.id == run_id).values(outcome=outcome, detail=dict(detail), finished_at=now)
    )


def latest(session: Session, *, now: datetime) -> dict[str, JobRun]:
    """The newest run of each job, by job name."""
    newest = select(func.max(JobRun.id)).where(JobRun.started_at <= now).group_by(JobRun.job)
    return {run.job: run for run in session.scalars(select(JobRun).where(JobRun.id.in_(newest)))}


def newest(session: Session, job: str, *, now: datetime) -> JobRun | None:
    """The newest run of `job`, ended or not."""
    return session.scalars(_newest_first(job, now)).first()


def runs(session: Session, job: str, *, since: datetime, limit: int) -> list[JobRun]:
    """The runs of `job` that began since then, oldest first; of too many, the newest."""
    query = select(JobRun).where(JobRun.job == job, JobRun.started_at >= since)
    return list(session.scalars(query.order_by(JobRun.started_at.desc()).limit(limit)))[::-1]


def last_finished(session: Session, job: str, *, now: datetime) -> JobRun | None:
    """The newest run of `job` that has ended."""
    return session.scalars(_newest_first(job, now).where(JobRun.finished_at.is_not(None))).first()


def _newest_first(job: str, now: datetime) -> Select[JobRun]:
    began = JobRun.started_at
    return select(JobRun).where(JobRun.job == job, began <= now).order_by(began.desc()).limit(1)


def prune(session: Session, now: datetime) -> None:
    """Forget runs older than a week, and after a day those that went well; the newest of each job stays."""
    newest = select(func.max(JobRun.id)).group_by(JobRun.job)
    over = or_(JobRun.started_at < now - KEPT, and_(JobRun.outcome == "ok", JobRun.started_at < now - KEPT_WELL))
    session.execute(delete(JobRun).where(over, JobRun.id.not_in(newest)).execution_options(synchronize_session=False))
