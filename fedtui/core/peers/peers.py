"""The peer: this node's record of a remote platform, and the states it moves through.

The table of transitions is System::FederationPeer::TRANSITIONS of the original system
(domain, section 1). Every change of state is a conditional update, so that a race is
decided by the database and whoever loses is told what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, Index, case, func, literal, literal_column, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from fedtui.core.errors import NotFound, Refused, WrongUsage
from fedtui.core.runtime import urls
from fedtui.core.runtime.database import Base
from fedtui.core.runtime.types import Id, JsonList, JsonObject, Text_, Time, UtcTime, new_id
from fedtui.core.runtime.unit import Unit

TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    "proposed": ("accepted", "revoked"),
    "accepted": ("enrolled", "suspended", "revoked"),
    "enrolled": ("active", "suspended", "revoked"),
    "active": ("degraded", "suspended", "revoked"),
    "degraded": ("active", "suspended", "revoked"),
    "suspended": ("accepted", "revoked"),
    "revoked": (),
}
STATUSES = tuple(TRANSITIONS)
KINDS = ("platform", "sdwan_only")
ROLES = ("parent", "child", "symmetric")
MODES = ("managed_child", "autonomous_peer", "cluster_member", "out_of_band")
MAY_HEARTBEAT = ("accepted", "enrolled", "active", "degraded")
"""Statuses in which a peer may call enroll, heartbeat and diagnosis."""
SUPPORTED_CONTRACTS = (1,)
ENDED_THERE = "peering_ended"
"""What a platform answers whose operators have ended the peering, and the code of the call that failed for it."""
DELIVERY_ERROR = "delivery_error"
"""The key of a peer's metadata under which stands why what was signed for it could not be delivered."""


URGENCY_SQL = (
    "(CASE WHEN status = 'degraded' THEN 0 "
    "WHEN drill_mode AND status = 'proposed' THEN 1 "
    "WHEN status IN ('active', 'enrolled') AND last_outbound_error IS NOT NULL THEN 2 "
    "WHEN status = 'accepted' AND peer_kind = 'platform' THEN 3 "
    "WHEN status = 'enrolled' THEN 4 "
    "WHEN status = 'proposed' THEN 5 "
    "WHEN status = 'suspended' THEN 6 "
    "WHEN status = 'revoked' THEN 8 "
    "ELSE 7 END)"
)
"""What will hurt first: broken, open to anyone, one-way, unfinished, at rest, gone. Text without
parameters, so that both databases can serve the order from an index; `listing.urgency` is its twin."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = literal(EPOCH, UtcTime, literal_execute=True)
"""The last heartbeat of a peer that never sent one, in the order of heartbeats. It stands in the statement itself:
a parameter could not be served from the index."""


class Peer(Base):
    """One remote platform. `last_heartbeat_at` is inbound; the `last_outbound_*` columns are
    kept apart from it, so that a partition in one direction shows."""

    __tablename__ = "peers"
    __table_args__ = (
        Index(
            "uq_peers_live_url",
            "remote_instance_url",
            unique=True,
            sqlite_where=text("status != 'revoked'"),
            postgresql_where=text("status != 'revoked'"),
        ),
        # A peer becomes active by a heartbeat and nothing else, so the sweep need not look for nulls.
        CheckConstraint("status != 'active' OR last_heartbeat_at IS NOT NULL", name="active_has_heartbeat"),
        # Serves the idle sweep: nearly no row is both active and old, whatever the number of peers. The state leads,
        # though it is one and the same: without statistics SQLite would prefer the next index but one.
        Index(
            "ix_peers_active_heartbeat",
            "status",
            "last_heartbeat_at",
            sqlite_where=text("peer_kind = 'platform' AND status = 'active'"),
            postgresql_where=text("peer_kind = 'platform' AND status = 'active'"),
        ),
        Index("ix_peers_urgency", text(URGENCY_SQL), "remote_instance_url", "id"),
        Index("ix_peers_status_url", "status", "remote_instance_url", "id"),
        Index("ix_peers_created_at", "created_at", "id"),
        Index("ix_peers_heartbeat", func.coalesce(literal_column("last_heartbeat_at"), NEVER), "id"),
        Index("ix_peers_url_id", "remote_instance_url", "id"),
        Index("ix_peers_clock_skew", "clock_skew_seconds"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    remote_instance_url: Mapped[str] = mapped_column(Text_)
    node_instance_id: Mapped[str] = mapped_column(Text_)
    peer_kind: Mapped[str]
    spawn_role: Mapped[str | None]
    spawn_mode: Mapped[str | None]
    status: Mapped[str] = mapped_column(Text_)
    remote_prefix_advertisement: Mapped[str | None]
    endpoints: Mapped[JsonList]
    confirmed_endpoints: Mapped[JsonList]
    public_ca: Mapped[bool]
    resolves_anywhere: Mapped[bool]
    """Its names are dialled wherever they lead: a row from before there was a rule (`runtime/dial.py`)."""
    capabilities: Mapped[JsonObject]
    extension_slugs: Mapped[JsonList]
    sync_cursor: Mapped[JsonObject]
    contract_version_agreed: Mapped[int | None]
    platform_version: Mapped[str | None]
    data_residency: Mapped[str | None]
    operator_contact: Mapped[str | None]
    drill_mode: Mapped[bool]
    clock_skew_seconds: Mapped[float | None]
    declared_ca: Mapped[str | None]
    """The fingerprint of the CA that its own heartbeats name, by which its server is to be known."""
    enroll_owed: Mapped[bool]
    """We have signed the remote's request and not yet delivered the certificate (handshake, step 4)."""
    offered_csr_pem: Mapped[str | None]
    """What the remote asks to have signed, as it said in answer to our last heartbeat."""
    signed_at: Mapped[Time | None]
    last_handshake_at: Mapped[Time | None]
    last_heartbeat_at: Mapped[Time | None]
    last_outbound_at: Mapped[Time | None]
    last_outbound_attempt_at: Mapped[Time | None]
    last_outbound_error: Mapped[str | None]
    expires_at: Mapped[Time | None]
    term_grace_until: Mapped[Time | None]
    """A term that was agreed before terms ended anything ends the peering then at the earliest."""
    maintenance_until: Mapped[Time | None]
    metadata_: Mapped[JsonObject] = mapped_column("metadata")
    created_at: Mapped[Time]
    updated_at: Mapped[Time]


TERM_ENDED = "term_ended"
"""Our code, and the remote's, for a call that is refused because the agreed term is over."""


def term_end(expires_at: datetime | None, grace_until: datetime | None) -> datetime | None:
    """Return from when on the agreed term ends the peering (domain, section 10); None where no term is agreed."""
    return expires_at if expires_at is None or grace_until is None else max(expires_at, grace_until)


def term_end_sql() -> ColumnElement[datetime]:
    """The same as an expression; NULL where no term is agreed."""
    return case((Peer.term_grace_until > Peer.expires_at, Peer.term_grace_until), else_=Peer.expires_at)


def sources_of(status: str) -> tuple[str, ...]:
    """The statuses from which `status` may be entered."""
    return tuple(before for before, after in TRANSITIONS.items() if status in after)


def add(
    unit: Unit,
    *,
    url: str,
    kind: str = "platform",
    role: str | None = "symmetric",
    mode: str | None = "autonomous_peer",
    drill_mode: bool = False,
    public_ca: bool = False,
) -> Peer:
    """A new `proposed` peer. Raises `WrongUsage` for a bad value, `Refused` for a URL in use."""
    remote = urls.secure(url)
    check_new(unit.session, url=remote, kind=kind, role=role, mode=mode)
    peer = Peer(
        id=new_id(),
        remote_instance_url=remote,
        node_instance_id=new_id(),
        peer_kind=kind,
        spawn_role=role if kind == "platform" else None,
        spawn_mode=mode if kind == "platform" else None,
        status="proposed",
        endpoints=[],
        confirmed_endpoints=[],
        public_ca=public_ca,
        resolves_anywhere=False,
        capabilities={},
        extension_slugs=[],
        sync_cursor={},
        drill_mode=drill_mode,
        enroll_owed=False,
        metadata_={},
        created_at=unit.now,
        updated_at=unit.now,
    )
    try:
        with unit.session.begin_nested():
            unit.session.add(peer)
    except IntegrityError:
        # Another process was first at this very moment.
        check_new(unit.session, url=remote, kind=kind, role=role, mode=mode)
        raise
    return peer


def check_new(session: Session, *, url: str, kind: str, role: str | None, mode: str | None) -> None:
    """Raise `WrongUsage` for a value outside its list, `Refused` if a peer stands at `url`."""
    check_values(kind=kind, role=role, mode=mode)
    existing = by_url(session, url)
    if existing is not None:
        raise already_there(existing)


def check_values(*, kind: str, role: str | None, mode: str | None) -> None:
    """Raise `WrongUsage` naming a value outside its list."""
    _require_one_of("kind", kind, KINDS)
    if kind == "platform":
        _require_one_of("role", role, ROLES)
        _require_one_of("mode", mode, MODES)


def already_there(peer: Peer) -> Refused:
    """What is said when a URL is taken by a peer that is not revoked."""
    return Refused(
        f"There is already a peer for {peer.remote_instance_url}.",
        cause=f"Peer {peer.id} is {peer.status}.",
        fix=_out_of_the_way(peer),
        code="peer_exists",
    )


def ended_there(peer: Peer) -> bool:
    """Whether the other side has ended the peering, by its answer to the last call."""
    return (peer.last_outbound_error or "").partition(":")[0] == ENDED_THERE


def _out_of_the_way(peer: Peer) -> str:
    """How a peer that stands in the way of a new peering is ended here, where its other side has ended it."""
    revoke = f"fedtui peers revoke {peer.id} --reason 'ended there; peering anew'"
    if ended_there(peer):
        return f"Its operators have ended the old peering. End it here too, then accept again: {revoke}"
    return (
        f"See it: fedtui peers show {peer.id}   Where its operators have ended the old peering, end it here too, "
        f"then accept again: {revoke}"
    )


def get(session: Session, peer_id: str) -> Peer:
    """The peer with this id. Raises `NotFound`."""
    peer = session.get(Peer, peer_id)
    if peer is None:
        raise not_found(peer_id)
    return peer


def lock(unit: Unit, peer_id: str) -> Peer:
    """The peer, read afresh and held by this transaction until it ends."""
    query = select(Peer).where(Peer.id == peer_id).with_for_update().execution_options(populate_existing=True)
    peer = unit.session.scalars(query).one_or_none()
    if peer is None:
        raise not_found(peer_id)
    return peer


def by_url(session: Session, url: str) -> Peer | None:
    """The peer at a normalized URL that is not revoked."""
    query = select(Peer).where(Peer.remote_instance_url == url, Peer.status != "revoked")
    return session.scalars(query).one_or_none()


def find(session: Session, wanted: str) -> Peer:
    """By id, unique beginning of an id, or URL. Raises `NotFound`, naming the candidates."""
    text_ = wanted.strip()
    if "://" in text_:
        peer = by_url(session, urls.normalize(text_, field="peer"))
        if peer is None:
            raise not_found(text_)
        return peer
    if not text_:
        raise not_found(wanted)
    query = select(Peer).where(Peer.id.startswith(text_.lower(), autoescape=True)).order_by(Peer.id).limit(3)
    found = list(session.scalars(query))
    if len(found) > 1:
        raise WrongUsage(
            f"More than one peer has an id beginning with {text_!r}.",
            cause="For example " + " and ".join(peer.id for peer in found[:2]) + ".",
            fix="Give more of the id, or the peer's URL.",
            code="peer_ambiguous",
        )
    if not found:
        raise not_found(text_)
    return found[0]


def find_any(session: Session, wanted: str) -> Peer:
    """As `find`; a URL also finds the peer that was last revoked there, if none is left."""
    try:
        return find(session, wanted)
    except NotFound:
        if "://" not in wanted:
            raise
        url = urls.normalize(wanted.strip(), field="peer")
        query = select(Peer).where(Peer.remote_instance_url == url).order_by(Peer.id.desc()).limit(1)
        peer = session.scalars(query).one_or_none()
        if peer is None:
            raise
        return peer


def move(unit: Unit, peer_id: str, to: str, *, only_from: tuple[str, ...] | None = None, **values: Any) -> Peer:
    """Change the peer's status by one conditional update, setting `values` with it.

    Raises `Refused` (code `transition_refused`) with what is allowed from where it is.
    """
    allowed = tuple(one for one in sources_of(to) if only_from is None or one in only_from)
    moved = unit.session.execute(
        update(Peer)
        .where(Peer.id == peer_id, Peer.status.in_(allowed))
        .values(status=to, updated_at=unit.now, **values)
        .execution_options(synchronize_session=False)
        .returning(Peer.id)
    ).one_or_none()
    peer = lock(unit, peer_id)
    if moved is None:
        raise transition_refused(peer, to)
    return peer


def note(unit: Unit, peer: Peer, **facts: Any) -> None:
    """Set keys of the peer's metadata; None removes one. The peer must be locked."""
    merged = {**peer.metadata_, **facts}
    peer.metadata_ = {key: value for key, value in merged.items() if value is not None}
    peer.updated_at = unit.now
    unit.session.flush()


def transition_refused(peer: Peer, to: str) -> Refused:
    """What is said when the table has no way from here to there."""
    allowed = TRANSITIONS[peer.status]
    return Refused(
        f"The peer {peer.remote_instance_url} is {peer.status} and cannot become {to}.",
        cause=f"From {peer.status} it can become: {', '.join(allowed)}." if allowed else "Revoked is final.",
        fix="Propose the platform anew." if not allowed else f"See where it stands: fedtui peers show {peer.id}",
        code="transition_refused",
    )


def _require_one_of(field: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise WrongUsage(
            f"{field}: {value!r} is not one of {', '.join(allowed)}.",
            cause="That is the whole list.",
            fix=f"Give --{field} {'|'.join(allowed)}.",
            code=f"{field}_invalid",
        )


def not_found(wanted: str) -> NotFound:
    """What is said of a peer that is not there."""
    return NotFound(
        f"There is no peer {wanted[:100]!r}.",
        cause="A PEER is an id, a unique beginning of one, or the URL of a peer that is not revoked.",
        fix="See them with: fedtui peers list",
        code="peer_not_found",
    )
