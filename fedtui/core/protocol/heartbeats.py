"""Heartbeats: the ones that arrive, and the sweep over those that do not (`sending.py`: the ones sent out).

`accepted -> enrolled -> active` happens here and nowhere else: a heartbeat proves that the
certificates work (runbook, "both sides show accepted indefinitely").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, func, insert, literal, select, text, update
from sqlalchemy.orm import Session

from fedtui.core.audit.events import KINDS, Event, context, emit
from fedtui.core.errors import Refused
from fedtui.core.peers import peers
from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer
from fedtui.core.pki import key_pairs
from fedtui.core.runtime import daemons
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.durations import show
from fedtui.core.runtime.types import new_id
from fedtui.core.runtime.unit import Unit

JOB = "federation_heartbeat"
SWEEP_SOURCE = "federation_heartbeat_sweep"
FUTURE = timedelta(minutes=1)
"""A heartbeat that is dated further ahead came before the clock was set back."""
PATIENCE = 1.5
"""Intervals within which a peer that sends every interval is heard from, late ones too."""
DECLARED = ("endpoints", "capabilities", "extension_slugs", "platform_version", "data_residency", "operator_contact")
"""What a change of is told; a cursor moves all the time."""
_NUMBER = re.compile("[0-9]{1,9}")
"""In a version. Other digits there are, and numbers without end, are not for `int`."""
JOB_ACTOR = Actor("job", JOB, origin=f"job {JOB}")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a remote says of itself in accept and heartbeat; None where it said nothing."""

    endpoints: list[dict[str, Any]] | None = None
    capabilities: dict[str, Any] | None = None
    extension_slugs: list[str] | None = None
    sync_cursor: dict[str, Any] | None = None
    platform_version: str | None = None
    data_residency: str | None = None
    operator_contact: str | None = None
    sent_at: datetime | None = None
    declared_ca: str | None = None

    def columns(self, now: datetime) -> dict[str, Any]:
        """The peer's columns to set: only what was said."""
        said = {
            name: getattr(self, name)
            for name in self.__slots__
            if name != "sent_at" and getattr(self, name) is not None
        }
        if self.sent_at is not None:
            said["clock_skew_seconds"] = round((self.sent_at - now).total_seconds(), 3)
        return said


# --- inbound -----------------------------------------------------------------------------


class Heard(NamedTuple):
    """A peer after its heartbeat. `csr_pem` is a request of ours that waits to be signed by it."""

    status: str
    last_heartbeat_at: datetime
    platform_version: str | None
    csr_pem: str | None


_PEERS = cast(Table, Peer.__table__)
_SAYABLE = (*DECLARED, "sync_cursor", "declared_ca")
# Row objects would cost as much as all the rest of a heartbeat, and there may be thousands a second.
_BEFORE = (
    select(
        _PEERS.c.status,
        _PEERS.c.peer_kind,
        _PEERS.c.remote_instance_url,
        *(_PEERS.c[name] for name in _SAYABLE),
        key_pairs.waiting_for(_PEERS.c.id).label("csr_pem"),
    )
    .where(_PEERS.c.id == bindparam("wanted"))
    .with_for_update(of=_PEERS)
)
_UPDATE = update(_PEERS).where(_PEERS.c.id == bindparam("wanted"))


def record(unit: Unit, peer_id: str, declared: Declared) -> Heard:
    """An authenticated heartbeat has arrived: the peer becomes (or stays) active.

    Raises `Refused` when its status does not allow it to call.
    """
    found = unit.session.execute(_BEFORE, {"wanted": peer_id}).one_or_none()
    if found is None:
        raise peers.not_found(peer_id)
    before = found.status
    if before not in MAY_HEARTBEAT:
        raise Refused(
            f"The peer {found.remote_instance_url} is {before} and may not send heartbeats.",
            cause=f"Heartbeats are taken from: {', '.join(MAY_HEARTBEAT)}.",
            code="peer_not_reachable",
        )
    said = declared.columns(unit.now)
    _tell_declared(unit, peer_id, found, declared)
    version = found.platform_version if declared.platform_version is None else declared.platform_version
    if found.peer_kind == "sdwan_only" or before == "active":
        # The row is held: only what differs is written.
        changed = {name: value for name, value in said.items() if getattr(found, name, None) != value}
        unit.session.execute(_UPDATE, {"wanted": peer_id, "last_heartbeat_at": unit.now, **changed})
        return Heard(before, unit.now, version, found.csr_pem)
    if before == "accepted":
        peers.move(unit, peer_id, "enrolled", last_handshake_at=unit.now)
        emit(unit, "federation.peer.enrolled", source="accept_controller", peer_id=peer_id)
    peer = peers.move(unit, peer_id, "active", last_heartbeat_at=unit.now, **said)
    if before == "degraded":
        peers.note(unit, peer, degraded_reason=None, degraded_at=None)
        emit(unit, "federation.peer.recovered", source="accept_controller", peer_id=peer_id)
    else:
        emit(unit, "federation.peer.active", source="accept_controller", peer_id=peer_id)
    return Heard(peer.status, unit.now, version, found.csr_pem)


def _tell_declared(unit: Unit, peer_id: str, before: Any, declared: Declared) -> None:
    """What a peer says of itself has changed: text before and after, of the rest only what it is."""
    said = {name: getattr(declared, name) for name in DECLARED if getattr(declared, name) is not None}
    changed = {name: (getattr(before, name), value) for name, value in said.items() if getattr(before, name) != value}
    if changed:
        shown: dict[str, Any] = {name: list(pair) for name, pair in changed.items() if isinstance(pair[1], str)}
        emit(
            unit,
            "federation.peer.declared",
            source="accept_controller",
            peer_id=peer_id,
            changed=sorted(changed),
            **shown,
        )


# --- the sweep ---------------------------------------------------------------------------


def sweep(unit: Unit, settings: Any) -> dict[str, Any]:
    """Degrade active platform peers not heard of within the stale window; nothing else.

    Set-based: events and states in three statements, whatever the number of peers. Holds
    back until the node's own API has been listening for one stale window, since after our
    own downtime every peer looks stale. Returns swept, degraded_ids, ran_at, held_back.
    """
    result: dict[str, Any] = {
        "swept": 0,
        "degraded_ids": [],
        "ran_at": unit.now.isoformat(),
        "held_back": False,
    }
    since = daemons.listening_since(unit.session, now=unit.now, ttl=3 * settings.lease_ttl)
    if since is None or unit.now - since < settings.stale_after:
        return {**result, "held_back": True}
    reason = f"heartbeat stale (>{_window(settings.stale_after)})"
    # What came before the clock was set back is dated in the future: it came now at the latest, and ages from here.
    unit.session.execute(
        update(Peer)
        .where(text(_ACTIVE) & (Peer.last_heartbeat_at > unit.now + FUTURE))
        .values(last_heartbeat_at=unit.now)
        .execution_options(synchronize_session=False)
    )
    # Locked, so that a heartbeat that arrives meanwhile cannot come between the statements.
    ids = list(unit.session.scalars(_stale_ids(unit.now - settings.stale_after).with_for_update()))
    if not ids:
        return result
    _emit_stale(unit, unit.now - settings.stale_after, reason)
    set_reason = _metadata_with(unit.session, {"degraded_reason": reason, "degraded_at": unit.now.isoformat()})
    unit.session.execute(
        update(Peer)
        .where(_stale(unit.now - settings.stale_after))
        .values(status="degraded", updated_at=unit.now, metadata_=set_reason)
        .execution_options(synchronize_session=False)
    )
    return {**result, "swept": len(ids), "degraded_ids": ids}


# The condition stands as literal text because the planner must see the constants to use
# the partial index. An active peer always has a heartbeat: a constraint of the table.
_ACTIVE = "peers.peer_kind = 'platform' AND peers.status = 'active'"


def _stale(limit: datetime) -> Any:
    return text(_ACTIVE) & (Peer.last_heartbeat_at < limit)


def _stale_ids(limit: datetime) -> Any:
    return select(Peer.id).where(_stale(limit)).order_by(Peer.id)


def _emit_stale(unit: Unit, limit: datetime, reason: str) -> None:
    """One event per peer about to be degraded, inserted by the database.

    Ids must be UUIDv7, which the databases cannot make: the batch shares one id's time
    and takes its random half from the peer's own id, unique within the batch.
    """
    kind = "federation.peer.heartbeat_stale"
    head = new_id()[:19]
    columns = {
        "kind": kind,
        "severity": KINDS[kind],
        "source": SWEEP_SOURCE,
        "payload": {"reason": reason},
        **context(unit),
    }
    values = [literal(value, Event.__table__.c[name].type) for name, value in columns.items()]
    rows = select(literal(head).concat(func.substr(Peer.id, 20)), Peer.id, *values).where(_stale(limit))
    unit.session.execute(insert(Event).from_select(["id", "peer_id", *columns], rows))


def _metadata_with(session: Session, facts: Mapping[str, str]) -> Any:
    """An expression that sets keys of the metadata column, in the database."""
    if session.get_bind().dialect.name == "sqlite":
        pairs = [part for key, value in facts.items() for part in (f"$.{key}", value)]
        return func.json_set(Peer.metadata_, *pairs)
    built = func.jsonb_build_object(*[part for pair in facts.items() for part in pair])
    return Peer.metadata_.op("||")(built)


def heard(session: Session, settings: Any, now: datetime) -> int:
    """From how many active platforms a heartbeat came in within the last interval, with some patience.

    Each run of the job keeps it: a count a minute, where a tally of every heartbeat would
    be another write with each of them.
    """
    since = now - settings.heartbeat_interval * PATIENCE
    counting = select(func.count()).select_from(Peer).where(text(_ACTIVE) & (Peer.last_heartbeat_at >= since))
    return session.scalar(counting) or 0


def _window(stale_after: timedelta) -> str:
    seconds = int(stale_after.total_seconds())
    return f"{seconds // 60} minutes" if seconds % 60 == 0 else show(stale_after)


def schema_compatibility(ours: str, theirs: str | None) -> str:
    """`compatible`, `drift` or `unknown`: same major version and minor at most one apart."""
    if not ours or not theirs:
        return "unknown"
    mine, other = _major_minor(ours), _major_minor(theirs)
    if mine is None or other is None:
        return "unknown"
    return "compatible" if mine[0] == other[0] and abs(mine[1] - other[1]) <= 1 else "drift"


def _major_minor(version: str) -> Sequence[int] | None:
    parts = version.lstrip("vV").split(".")[:2]
    return [int(part) for part in parts] if len(parts) == 2 and all(map(_NUMBER.fullmatch, parts)) else None
