"""The authorization chain: one table of checks, in the order of the domain's section 6.

Every call is judged by it: the API answers by the first check that fails, the record and
`explain` show all of them. A check looks at what was seen and says why it refuses, or what
it found in order. Calls that need no grant are judged by the first three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session
from sqlalchemy.util import memoized_property

from fedtui.core.grants import allowlists, bridges, grants, inventory
from fedtui.core.grants.callers import Caller
from fedtui.core.grants.grants import BEARER, Grant
from fedtui.core.peers.peers import ENDED_THERE, MAY_HEARTBEAT, TERM_ENDED, Peer, term_end
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.x509 import instance_of

RESOURCES = "resources"
MAY_CALL: Mapping[str, tuple[str, ...]] = {
    "enroll": MAY_HEARTBEAT,
    "heartbeat": MAY_HEARTBEAT,
    "diagnosis": MAY_HEARTBEAT,
    "renew": ("enrolled", "active", "degraded"),
    RESOURCES: ("enrolled", "active", "degraded"),
}
"""The statuses in which a peer may make each call (domain, section 1)."""
ENDED_BY_TERM = ("heartbeat", "renew", RESOURCES)
"""The calls that are refused once the agreed term of the peering is over (domain, section 10)."""
SCOPE_FOR: Mapping[str, str] = {"GET": "read", "PUT": "write", "DELETE": "admin"}
MISMATCH = "grant scope mismatch: "
"""What every 403 over a grant begins with: operators search for it."""
UNKNOWN_GRANT = "grant not recognized"
TOLD_AS: Mapping[str, str] = {"grant_of_other_peer": "grant_token_unknown"}
"""Codes that the caller may not tell apart, also where it may know more than the public one."""
NOT_CHECKED = "not checked: there is nothing to look at"
NO_RESTRICTION = "not restricted"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A call: which one, by whom, and for what. `bearer` is the token as presented, None without one."""

    call: str
    caller: Caller
    method: str = ""
    kind: str = ""
    resource_id: str = ""
    bearer: str | None = None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is taken as given instead of what is on record, to ask what would be."""

    grant: Mapping[str, Any] = field(default_factory=dict)
    bridge_active: bool = False
    kind_served: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a check refuses: `code` and `detail` for our operator, `status` and `public` for the remote."""

    code: str
    detail: str
    status: int
    public: str
    public_code: str = ""
    """What the remote is told as the code, where it may know more than that it is not authorized."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check came to. `passed` is None where there was nothing left to look at."""

    check: str
    passed: bool | None
    detail: str
    refusal: Refusal | None = None


class Presented(NamedTuple):
    """What is on record of the client certificate."""

    id: str
    serial: str
    subject_kind: str
    direction: str
    peer_id: str | None
    cert_pem: str
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    first_used_at: datetime | None


class CallerPeer(NamedTuple):
    """What of the peer that calls the checks look at."""

    id: str
    remote_instance_url: str
    status: str
    expires_at: datetime | None
    term_grace_until: datetime | None


_CERTIFICATES, _PEERS = Certificate.__table__, Peer.__table__
_PEER = tuple(_PEERS.c[name] for name in CallerPeer._fields)
_PEER_BY_ID = select(*_PEER).where(_PEERS.c.id == bindparam("peer_id"))
# One query without row objects: nearly every call is judged by these two, and most by nothing else.
_BY_FINGERPRINT = (
    select(*(_CERTIFICATES.c[name] for name in Presented._fields), *_PEER)
    .select_from(_CERTIFICATES.outerjoin(_PEERS, _PEERS.c.id == _CERTIFICATES.c.peer_id))
    .where(_CERTIFICATES.c.fingerprint == bindparam("fingerprint"))
)


@dataclass
class AuthorizationContext:
    """What the checks look at, each read when first needed.

    Not by `functools.cached_property`: before Python 3.12 it holds one lock for all instances while it reads.
    """

    session: Session
    asked: AccessRequest
    now: datetime
    supposed: WhatIf = field(default_factory=WhatIf)

    @memoized_property
    def _presented(self) -> tuple[Presented | None, CallerPeer | None]:
        fingerprint = self.asked.caller.fingerprint
        row = self.session.execute(_BY_FINGERPRINT, {"fingerprint": fingerprint}).one_or_none() if fingerprint else None
        if row is None:
            return None, None
        own = len(Presented._fields)
        return Presented(*row[:own]), CallerPeer(*row[own:]) if row[own] is not None else None

    @property
    def certificate(self) -> Presented | None:
        """The client certificate, as we have it on record."""
        return self._presented[0]

    @memoized_property
    def peer(self) -> CallerPeer | None:
        """The peer that the certificate stands for."""
        named = self.asked.caller.peer_id
        if self.certificate is not None or named is None:
            return self._presented[1]
        row = self.session.execute(_PEER_BY_ID, {"peer_id": named}).one_or_none()
        return CallerPeer(*row) if row is not None else None

    @memoized_property
    def named_grant(self) -> Grant | None:
        """The grant that the bearer names, whoever's it is."""
        wanted = grant_id(self.asked.bearer)
        return self.session.get(Grant, wanted) if wanted else None

    @memoized_property
    def grant(self) -> Grant | None:
        """The grant, if it is this caller's. The later checks see no other, so that one of
        another peer costs and tells no more than one that does not exist."""
        named = self.named_grant
        if named is None or self.peer is None or named.peer_id != self.peer.id:
            return None
        return grants.as_if(named, self.supposed.grant) if self.supposed.grant else named

    @memoized_property
    def instance(self) -> str | None:
        """The calling instance: as a trusted proxy says, else as the certificate does."""
        said = self.asked.caller.instance_id
        return said or (instance_of(self.certificate.cert_pem) if self.certificate else None)


def grant_id(presented: str | None) -> str | None:
    """The id in a bearer `fg-<id>`, or None where it is malformed."""
    if presented is None or not presented.startswith(BEARER):
        return None
    try:
        return str(UUID(presented.removeprefix(BEARER)))
    except ValueError:
        return None


Look = Callable[[AuthorizationContext], Refusal | str | None]
"""A check: a refusal, what is in order, or None where there is nothing to look at."""


def _presented(seen: AuthorizationContext) -> Refusal | str | None:
    caller = seen.asked.caller
    if caller.fingerprint is None and caller.described and not caller.unreadable:
        return None
    if caller.fingerprint is None:
        why = caller.unreadable or "the caller presented no client certificate"
        return Refusal("cert_not_presented", why, 401, "client certificate required")
    return f"{caller.fingerprint}, forwarded by a trusted proxy" if caller.proxy else caller.fingerprint


def _known(seen: AuthorizationContext) -> Refusal | str | None:
    if seen.asked.caller.fingerprint is None:
        return None
    row, unrecognized = seen.certificate, "client certificate not recognized"
    if row is None:
        return Refusal("cert_unknown", "no certificate with this fingerprint is on record", 401, unrecognized)
    if (row.subject_kind, row.direction) != ("federation_peer", "inbound"):
        detail = f"it is a certificate of kind {row.subject_kind}, and a peer's is needed"
        return Refusal("cert_wrong_kind", detail, 401, unrecognized)
    if row.revoked_at is not None:
        detail = f"serial {row.serial} was revoked on {row.revoked_at:%F %H:%M} UTC: {row.revocation_reason}"
        # Whoever holds a certificate that was signed here for a peer may know that the peering is over.
        ended = ENDED_THERE if seen.peer is not None and seen.peer.status == "revoked" else ""
        return Refusal("cert_revoked", detail, 401, "client certificate revoked", ended)
    if seen.now >= row.not_after:
        detail = f"serial {row.serial} ran out on {row.not_after:%F %H:%M} UTC"
        return Refusal("cert_expired", detail, 401, "client certificate expired")
    return f"serial {row.serial}, good until {row.not_after:%F %H:%M} UTC"


def _peer_may_call(seen: AuthorizationContext) -> Refusal | str | None:
    if seen.peer is None and (seen.certificate is None or seen.certificate.subject_kind != "federation_peer"):
        return None
    if seen.peer is None:
        return Refusal("peer_missing", "the certificate is bound to no peer", 401, "client certificate not recognized")
    peer, allowed = seen.peer, MAY_CALL[seen.asked.call]
    if peer.status not in allowed:
        detail = f"{peer.remote_instance_url} is {peer.status}; this call needs {', '.join(allowed)}"
        return Refusal("peer_not_reachable", detail, 401, "peer is not in a state that may make this call")
    ended = term_end(peer.expires_at, peer.term_grace_until)
    if ended is not None and seen.now >= ended and seen.asked.call in ENDED_BY_TERM:
        told = f"the agreed term of this peering ended on {ended:%F %H:%M} UTC"
        return Refusal(TERM_ENDED, told, 403, told)
    return f"{peer.remote_instance_url} is {peer.status}"


def _granted(seen: AuthorizationContext) -> Refusal | str | None:
    presented = seen.asked.bearer
    if grant_id(presented) is None:
        detail = "no bearer token was presented" if presented is None else f"{presented[:60]!r} is not fg-<id>"
        return Refusal("grant_token_malformed", detail, 401, "bearer token of the form fg-<id> required")
    named = seen.named_grant
    if named is None:
        return Refusal("grant_token_unknown", "there is no such grant", 401, UNKNOWN_GRANT)
    if seen.peer is None:
        return None
    if seen.grant is None:
        return Refusal("grant_of_other_peer", f"it belongs to peer {named.peer_id}", 401, UNKNOWN_GRANT)
    return f"{named.remote_subject} of this peer"


def _in_force(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    if grant.revoked_at is not None or grant.archived_at is not None:
        when = f"{grant.revoked_at:%F %H:%M} UTC" if grant.revoked_at else "an unknown date"
        why = f": {grant.revocation_reason}" if grant.revocation_reason else ""
        return _mismatch("grant_revoked", "the grant is revoked", f"it was revoked on {when}{why}")
    if seen.now >= grant.expires_at:
        ended = f"{grant.expires_at:%F %H:%M:%S} UTC"
        return _mismatch("grant_expired", f"the grant has expired (expires_at {ended})", f"it expired on {ended}")
    return f"until {grant.expires_at:%F %H:%M} UTC"


def _covers(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    asked = seen.asked
    if asked.kind != grant.resource_kind:
        return _denied("kind_mismatch", "resource kind", grant.resource_kind, asked.kind)
    if grant.resource_id is not None and asked.resource_id != grant.resource_id:
        return _denied("resource_mismatch", "resource id", grant.resource_id, asked.resource_id)
    return f"{grant.resource_kind}/{grant.resource_id or '*'}"


def _holds_scope(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    needed, held = SCOPE_FOR.get(seen.asked.method, "admin"), ", ".join(grant.permission_scopes)
    if needed not in grant.permission_scopes:
        return _denied("scope_insufficient", "scope", held, f"{seen.asked.method}, which needs {needed}")
    return f"{seen.asked.method} needs {needed}; held: {held}"


def _from_instance(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    allowed, supplied = grant.node_instance_ids, seen.instance
    if not allowed:
        return NO_RESTRICTION
    if not allowlists.allows_id(allowed, supplied):
        return _denied("instance_not_allowed", "calling instance", allowlists.shown(allowed), supplied)
    return f"instance {supplied}"


def _over_network(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    allowed, supplied = grant.sdwan_network_ids, seen.asked.caller.network_id
    if not allowed:
        return NO_RESTRICTION
    if not allowlists.allows_id(allowed, supplied) or supplied is None:
        return _denied("network_not_allowed", "network", allowlists.shown(allowed), supplied)
    bridge = bridges.live(seen.session, grant.peer_id, supplied.strip().lower())
    status = bridge.status if bridge else "missing"
    if status != "active" and not seen.supposed.bridge_active:
        return _denied("network_bridge_inactive", "network bridge", "an active one", f"one that is {status}")
    return f"network {supplied}, its bridge is active"


def _from_address(grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    allowed, supplied = grant.source_cidrs, seen.asked.caller.source_ip
    if not allowed:
        return NO_RESTRICTION
    if not allowlists.allows_address(allowed, supplied):
        return _denied("source_ip_not_allowed", "source address", allowlists.shown(allowed), supplied)
    return f"from {supplied}"


def _served(_grant: Grant, seen: AuthorizationContext) -> Refusal | str:
    kind = seen.asked.kind
    if not seen.supposed.kind_served and not inventory.serves(seen.session, kind):
        return Refusal(
            "kind_not_served", f"{kind[:80]!r} is not in the inventory", 422, "resource kind is not served by this node"
        )
    return f"{kind} is in the inventory"


def _denied(code: str, what: str, allowed: str, supplied: str | None) -> Refusal:
    told = f"{what} not allowed (allowed: {allowed or 'none'}; supplied: {(supplied or 'none')[:200]})"
    return _mismatch(code, told, told)


def _mismatch(code: str, told: str, detail: str) -> Refusal:
    return Refusal(code, detail, 403, f"{MISMATCH}{told}")


def _of_grant(look: Callable[[Grant, AuthorizationContext], Refusal | str]) -> Look:
    return lambda seen: look(seen.grant, seen) if seen.grant is not None else None


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the chain."""

    name: str
    look: Look


CHAIN: tuple[Check, ...] = (
    Check("client_certificate", _presented),
    Check("certificate_known", _known),
    Check("peer", _peer_may_call),
    Check("grant", _granted),
    Check("grant_in_force", _of_grant(_in_force)),
    Check("resource", _of_grant(_covers)),
    Check("scope", _of_grant(_holds_scope)),
    Check("instance", _of_grant(_from_instance)),
    Check("network", _of_grant(_over_network)),
    Check("source_address", _of_grant(_from_address)),
    Check("inventory", _of_grant(_served)),
)
"""In the order in which a refusal is chosen."""
WITHOUT_GRANT = 3
"""So many checks apply to every call; the others to resources."""
USE = ("scope", "instance", "network", "source_address")
"""The checks that depend on how a grant is used, and from where."""


@dataclass(frozen=True, slots=True)
class AuthorizationResult:
    """A call, judged: what each check came to, and whom and what it was about."""

    asked: AccessRequest
    results: tuple[Result, ...]
    peer_id: str | None
    grant_id: str | None
    at: datetime
    first_used: str | None = None
    """The id of the certificate presented, where it had not been used before."""

    @property
    def refusal(self) -> Refusal | None:
        """The first refusal, by which the call is answered; None where it is allowed."""
        return next((one.refusal for one in self.results if one.refusal), None)

    @property
    def allowed(self) -> bool:
        """Whether every check passed."""
        return all(one.passed for one in self.results)

    @property
    def code(self) -> str | None:
        """The first refusal's internal code; `not_checked` where none refused and not all could be checked."""
        if self.refusal is not None:
            return self.refusal.code
        return None if self.allowed else "not_checked"


def judge(
    session: Session, asked: AccessRequest, *, now: datetime, supposed: WhatIf | None = None
) -> AuthorizationResult:
    """Put a call through the chain: all of its checks, whichever fails first."""
    seen = AuthorizationContext(session, asked, now, supposed or WhatIf())
    checks = CHAIN if asked.call == RESOURCES else CHAIN[:WITHOUT_GRANT]
    results = tuple(_result(check, seen) for check in checks)
    # For our own record the grant that was named, also where it is another peer's.
    named = seen.named_grant.id if asked.call == RESOURCES and seen.named_grant else None
    row = seen.certificate
    new = row.id if row is not None and row.first_used_at is None and all(one.passed for one in results[:2]) else None
    return AuthorizationResult(asked, results, seen.peer.id if seen.peer else None, named, now, new)


def _result(check: Check, seen: AuthorizationContext) -> Result:
    found = check.look(seen)
    if isinstance(found, Refusal):
        return Result(check.name, False, found.detail, found)
    return Result(check.name, None if found is None else True, NOT_CHECKED if found is None else found)
