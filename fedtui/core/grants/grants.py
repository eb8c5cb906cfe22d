"""Grants: what a subject at one peer may use, for how long, and from where (domain, section 6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.audit.events import emit
from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.grants import allowlists, inventory, resources
from fedtui.core.peers.peers import Peer
from fedtui.core.runtime import durations
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.lookup import by_beginning
from fedtui.core.runtime.types import Id, JsonList, Text_, Time, new_id
from fedtui.core.runtime.unit import Unit

OPERATOR_KIND = "managed_child_operator"
SCOPES = ("read", "write", "admin", "migrate")
DEFAULT_TTL, SHORTEST_TTL, LONGEST_TTL = timedelta(days=30), timedelta(days=7), timedelta(days=365)
SHORTEST_ANYHOW = timedelta(minutes=1)
"""With the override for short ones."""
SHORTEST_RENEWING = timedelta(days=1)
"""What renews itself lives at least so long: the job that renews looks once an hour."""
RENEW_AT = 0.75
"""Fraction of its time after which a grant that says so is renewed."""
KEPT = timedelta(days=90)
"""How long a revoked grant stays in sight before it is archived."""
BEARER = "fg-"
SOURCE = "operator"
MAINTENANCE = "maintenance"
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
ENDED_SQL = "(CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END)"
"""Those in force before those that were revoked. Text without parameters, so that an index can serve the order."""


class Grant(Base):
    """One grant. The bearer `fg-<id>` names it and is no secret: the certificate proves the caller.

    An empty allowlist (`node_instance_ids`, `sdwan_network_ids`, `source_cidrs`) does not
    restrict. `renew_at` is set where the grant renews itself.
    """

    __tablename__ = "grants"
    __table_args__ = (
        Index("ix_grants_peer_id_id", "peer_id", "id"),
        Index("ix_grants_urgency", text(ENDED_SQL), "expires_at", "id"),
        Index("ix_grants_subject", "remote_subject", "id"),
        Index("ix_grants_kind", "resource_kind", "id"),
        # What the maintenance job looks for: nearly no row is in either.
        Index(
            "ix_grants_renew_at",
            "renew_at",
            sqlite_where=text("renew_at IS NOT NULL"),
            postgresql_where=text("renew_at IS NOT NULL"),
        ),
        Index(
            "ix_grants_revoked_at",
            "revoked_at",
            sqlite_where=text("revoked_at IS NOT NULL AND archived_at IS NULL"),
            postgresql_where=text("revoked_at IS NOT NULL AND archived_at IS NULL"),
        ),
        # Issued once per peer, also when two accepts race.
        Index(
            "uq_grants_operator",
            "peer_id",
            unique=True,
            sqlite_where=text(f"resource_kind = '{OPERATOR_KIND}' AND revoked_at IS NULL"),
            postgresql_where=text(f"resource_kind = '{OPERATOR_KIND}' AND revoked_at IS NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(Text_)
    remote_subject: Mapped[str] = mapped_column(Text_)
    resource_kind: Mapped[str] = mapped_column(Text_)
    resource_id: Mapped[str | None]
    permission_scopes: Mapped[JsonList]
    node_instance_ids: Mapped[JsonList]
    sdwan_network_ids: Mapped[JsonList]
    source_cidrs: Mapped[JsonList]
    issued_at: Mapped[Time]
    issued_by: Mapped[str | None]
    ttl_seconds: Mapped[int]
    expires_at: Mapped[Time]
    renew_at: Mapped[Time | None]
    renewed_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]
    revocation_reason: Mapped[str | None]
    archived_at: Mapped[Time | None]


TERMS = (
    "remote_subject",
    "resource_kind",
    "resource_id",
    "permission_scopes",
    "node_instance_ids",
    "sdwan_network_ids",
    "source_cidrs",
)
"""The columns that say what a grant is for; the rest is its life."""


@dataclass(frozen=True, slots=True)
class GrantSpec:
    """A grant as asked for, every field checked."""

    remote_subject: str
    resource_kind: str
    resource_id: str | None
    permission_scopes: Sequence[str]
    node_instance_ids: Sequence[str]
    sdwan_network_ids: Sequence[str]
    source_cidrs: Sequence[str]
    ttl: timedelta = DEFAULT_TTL
    auto_renew: bool = False


def bearer(grant_id: str) -> str:
    """What the caller presents as `Authorization: Bearer`."""
    return f"{BEARER}{grant_id}"


def state(grant: Grant, now: datetime) -> str:
    """`active`, `expired`, `revoked` or `archived`."""
    if grant.archived_at is not None:
        return "archived"
    if grant.revoked_at is not None:
        return "revoked"
    return "active" if now < grant.expires_at else "expired"


def check_subject(wanted: str) -> str:
    """Who the grant is for, in the peer's own words. Raises `WrongUsage`."""
    if not _SUBJECT.fullmatch(wanted):
        raise _invalid("subject", wanted, "letters, digits and . _ : / @ + - (200 at most), like backup@platform-b")
    return wanted


def check_scopes(wanted: Iterable[str]) -> list[str]:
    """Scopes, each once, in the order of `SCOPES`. Raises `WrongUsage` for none or an unknown one."""
    given = list(wanted)
    unknown = [one for one in given if one not in SCOPES]
    if unknown or not given:
        raise _invalid("scope", unknown[0] if unknown else "", f"at least one of {', '.join(SCOPES)}")
    return [one for one in SCOPES if one in given]


def check_ttl(ttl: timedelta, *, short: bool = False) -> timedelta:
    """How long a grant lives. Raises `WrongUsage` outside 7 to 365 days; `short` permits less than 7."""
    if ttl > LONGEST_TTL:
        raise _invalid("ttl", durations.show(ttl), "365d at the longest")
    if ttl < SHORTEST_ANYHOW or (ttl < SHORTEST_TTL and not short):
        raise WrongUsage(
            f"ttl: a grant of {durations.show(ttl)} is too short.",
            cause="Below 7d a grant tends to run out over a weekend; that takes an explicit word.",
            fix="Give at least 7d, or say that it is meant: --short-ttl.",
            code="ttl_invalid",
        )
    return ttl


def check_renewing(ttl: timedelta) -> None:
    """Whether a grant of this lifetime can renew itself. Raises `WrongUsage` where it would end unseen."""
    if ttl < SHORTEST_RENEWING:
        raise WrongUsage(
            f"auto_renew: a grant of {durations.show(ttl)} cannot renew itself.",
            cause="What is due is looked for now and then; one that lives less than 1d could run out in between.",
            fix="Give it at least 1d, or renew it by hand: fedtui grants renew GRANT",
            code="auto_renew_invalid",
        )


def check_new(
    *,
    subject: str,
    kind: str,
    resource_id: str | None,
    scopes: Iterable[str],
    instances: Iterable[str] = (),
    networks: Iterable[str] = (),
    cidrs: Iterable[str] = (),
    ttl: timedelta = DEFAULT_TTL,
    short_ttl: bool = False,
    auto_renew: bool = False,
) -> GrantSpec:
    """A grant as asked for, in one spelling. Raises `WrongUsage` naming the field that is malformed."""
    wanted = GrantSpec(
        check_subject(subject),
        inventory.check_kind(kind),
        resources.check_id(resource_id) if resource_id is not None else None,
        check_scopes(scopes),
        allowlists.read("node_instance_ids", instances),
        allowlists.read("sdwan_network_ids", networks),
        allowlists.read("source_cidrs", cidrs),
        check_ttl(ttl, short=short_ttl),
        auto_renew,
    )
    if auto_renew:
        check_renewing(ttl)
    return wanted


def issue(unit: Unit, peer: Peer, wanted: GrantSpec, *, source: str = SOURCE) -> Grant:
    """A new grant for a peer. Raises `Refused` for a peer that has ended."""
    if peer.status == "revoked":
        raise Refused(
            f"{peer.remote_instance_url} is revoked and takes no grants.",
            cause="A grant works only together with the peer's certificate, and those have ended.",
            fix="Peer anew: fedtui peers propose URL",
            code="peer_not_reachable",
        )
    expires_at = unit.now + wanted.ttl
    grant = Grant(
        id=new_id(),
        peer_id=peer.id,
        **{column: getattr(wanted, column) for column in TERMS},
        issued_at=unit.now,
        issued_by=str(unit.actor),
        ttl_seconds=round(wanted.ttl.total_seconds()),
        expires_at=expires_at,
        renew_at=_renew_at(unit.now, expires_at) if wanted.auto_renew else None,
    )
    unit.session.add(grant)
    unit.session.flush()
    _emit(
        unit,
        "issued",
        grant,
        source=source,
        **{key: getattr(grant, key) for key in TERMS},
        expires_at=expires_at.isoformat(),
    )
    return grant


def issue_operator_grant(unit: Unit, peer: Peer) -> Grant:
    """The grant by which a parent platform operates its managed child; issued once per peer."""
    query = select(Grant).where(
        Grant.peer_id == peer.id, Grant.resource_kind == OPERATOR_KIND, Grant.revoked_at.is_(None)
    )
    existing = unit.session.scalars(query).one_or_none()
    if existing is not None:
        return existing
    subject, scopes = f"parent-operator@{peer.id}", ["read", "write", "admin"]
    wanted = GrantSpec(subject, OPERATOR_KIND, None, scopes, [], [], [], LONGEST_TTL)
    return issue(unit, peer, wanted, source="accept_controller")


def edit(unit: Unit, grant_id: str, changes: Mapping[str, Any]) -> Grant:
    """Replace allowlists, or switch `auto_renew`. Raises `Refused` for a grant that has been revoked.

    Scopes and what the grant is for stay as issued: for those there is a new grant.
    """
    grant = _open(unit, grant_id)
    for field in allowlists.READERS:
        if field in changes:
            setattr(grant, field, allowlists.read(field, changes[field]))
    if "auto_renew" in changes:
        if changes["auto_renew"]:
            check_renewing(timedelta(seconds=grant.ttl_seconds))
        begun = grant.renewed_at or grant.issued_at
        grant.renew_at = _renew_at(begun, grant.expires_at) if changes["auto_renew"] else None
    unit.session.flush()
    _emit(unit, "edited", grant, **dict(changes))
    return grant


def renew(unit: Unit, grant_id: str, ttl: timedelta | None = None, *, short: bool = False) -> Grant:
    """Let a grant run anew from now, for `ttl` or as long as before; also one that has expired."""
    grant = _open(unit, grant_id)
    if ttl is not None:
        if grant.renew_at is not None:
            check_renewing(ttl)
        grant.ttl_seconds = round(check_ttl(ttl, short=short).total_seconds())
    _run_on(unit, grant, unit.now + timedelta(seconds=grant.ttl_seconds))
    return grant


def renew_due(unit: Unit) -> list[str]:
    """Renew the grants that say so and are due; the ids.

    Never past 365 days from issue (which is announced when it is reached), never for a peer
    that is suspended or revoked, and never one that has expired: that is for a person to decide.
    """
    due = (
        select(Grant)
        .join(Peer, Peer.id == Grant.peer_id)
        .where(
            Grant.renew_at <= unit.now,
            Grant.expires_at > unit.now,
            Grant.revoked_at.is_(None),
            Peer.status.not_in(("suspended", "revoked")),
        )
        .order_by(Grant.id)
        .with_for_update(of=Grant)
    )
    renewed = []
    for grant in unit.session.scalars(due):
        until = min(unit.now + timedelta(seconds=grant.ttl_seconds), grant.issued_at + LONGEST_TTL)
        if until > grant.expires_at:
            _run_on(unit, grant, until, source=MAINTENANCE)
            renewed.append(grant.id)
        else:
            grant.renew_at = None
            _emit(unit, "renewal_ended", grant, source=MAINTENANCE, expires_at=grant.expires_at.isoformat())
    unit.session.flush()
    return renewed


def revoke(unit: Unit, grant_id: str, reason: str) -> Grant:
    """End a grant for good. Raises `Refused` if it has ended already."""
    grant = _open(unit, grant_id)
    grant.revoked_at, grant.revocation_reason, grant.renew_at = unit.now, reason, None
    unit.session.flush()
    _emit(unit, "revoked", grant, reason=reason)
    return grant


def archive(unit: Unit) -> int:
    """Put out of sight what was revoked 90 days ago; how many."""
    rows = unit.session.execute(
        update(Grant)
        .where(Grant.revoked_at.is_not(None), Grant.archived_at.is_(None), Grant.revoked_at <= unit.now - KEPT)
        .values(archived_at=unit.now)
        .execution_options(synchronize_session=False)
        .returning(Grant.id, Grant.peer_id)
    ).all()
    for row in rows:
        emit(unit, "federation.grant.archived", source=MAINTENANCE, peer_id=row.peer_id, grant_id=row.id)
    return len(rows)


def as_if(grant: Grant, changes: Mapping[str, Any]) -> Grant:
    """A copy with other terms, on no record: for asking what would be."""
    columns = {column.key: getattr(grant, column.key) for column in Grant.__mapper__.column_attrs}
    return Grant(**{**columns, **changes})


def find(session: Session, wanted: str) -> Grant:
    """By id, a unique beginning of one, or the bearer `fg-<id>`. Raises `NotFound`."""
    beginning = wanted.strip().lower().removeprefix(BEARER)
    return by_beginning(
        session,
        Grant,
        beginning,
        noun="grant",
        see="fedtui grants list",
        code="grant_not_found",
        cause="An id, a unique beginning of one, or the bearer is needed.",
    )


def require_open(grant: Grant) -> None:
    """Raise `Refused` for a grant that was revoked."""
    if grant.revoked_at is not None:
        raise Refused(
            "That grant is revoked.",
            cause=f"It ended on {grant.revoked_at:%F %H:%M} UTC: {grant.revocation_reason or 'no reason given'}.",
            fix=f"Issue a new one: fedtui grants issue {grant.peer_id} ...",
            code="grant_revoked",
        )


def _open(unit: Unit, grant_id: str) -> Grant:
    """The grant, locked until the unit ends. Raises `Refused` if it was revoked."""
    grant = unit.session.get(Grant, grant_id, with_for_update=True, populate_existing=True)
    if grant is None:
        raise NotFound("That grant is gone.", fix="See them with: fedtui grants list", code="grant_not_found")
    require_open(grant)
    return grant


def _renew_at(begun: datetime, expires_at: datetime) -> datetime:
    return begun + (expires_at - begun) * RENEW_AT


def _run_on(unit: Unit, grant: Grant, until: datetime, *, source: str = SOURCE) -> None:
    before = grant.expires_at
    grant.renewed_at, grant.expires_at = unit.now, until
    if grant.renew_at is not None:
        grant.renew_at = _renew_at(unit.now, until)
    unit.session.flush()
    _emit(unit, "renewed", grant, source=source, before=before.isoformat(), expires_at=until.isoformat())


def _emit(unit: Unit, what: str, grant: Grant, *, source: str = SOURCE, **payload: Any) -> None:
    emit(unit, f"federation.grant.{what}", source=source, peer_id=grant.peer_id, grant_id=grant.id, **payload)


def _invalid(field: str, given: str, wanted: str) -> WrongUsage:
    return WrongUsage(
        f"{field}: {given[:80]!r} will not do.",
        cause=f"It is {wanted}.",
        fix=f"Correct the {field}, and ask again.",
        code=f"{field}_invalid",
    )
