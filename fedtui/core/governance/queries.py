"""What the rules of governance ask the record (domain, section 8): one query a kind, each set-based and read-only.

Each yields `subject` (what tells findings of a kind apart), `peer_id`, perhaps `severity`, and facts by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    and_,
    case,
    cast,
    extract,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from fedtui.core.administration import node_settings, operators
from fedtui.core.administration.node_settings import NodeSetting
from fedtui.core.administration.operators import Operator
from fedtui.core.grants import quota
from fedtui.core.grants.grants import Grant
from fedtui.core.grants.quota import Quotas
from fedtui.core.grants.resources import Resource, Stored
from fedtui.core.operations import policies
from fedtui.core.operations.policies import Policy, PolicyOverride
from fedtui.core.peers import peers
from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer
from fedtui.core.pki.certificates import JITTER, ROTATE_AT, Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.protocol import heartbeats
from fedtui.core.runtime import daemons, prefixes
from fedtui.core.runtime.types import UtcTime

PEER_CERTIFICATE, SERVER_CERTIFICATE, OWN_CA = timedelta(days=30), timedelta(days=14), timedelta(days=365)
"""How long before its end a certificate is a finding."""
TERM_END, TERM_END_SOON = timedelta(days=30), timedelta(days=7)
GRANT_END, GRANT_REVIEW = timedelta(days=7), timedelta(days=90)
RENEWAL_LATE = timedelta(hours=2)
"""What renews itself is a finding only when its renewal is so late."""
LATEST_RENEWAL = ROTATE_AT + JITTER + 0.02
"""Fraction of its lifetime at which a peer's certificate should have been renewed, some failures allowed for."""
HEARTBEAT_GRACE = 3
"""Stale windows that a peer must be heard of again before it no longer counts as stale."""
IN_SERVICE = ("active", "degraded")
"""A peer that is active but for its heartbeats has declared no more and no less for that."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at the node: its session, moment and settings."""

    session: Session
    now: datetime
    site: NodeContext


# --- peers -------------------------------------------------------------------------------


def _peers(*facts: Any) -> Any:
    return select(Peer.id.label("subject"), Peer.id.label("peer_id"), Peer.remote_instance_url.label("url"), *facts)


def _blank(column: Any) -> ColumnElement[bool]:
    return func.coalesce(column, "") == ""


def overlapping(scan: Scan) -> Any:
    """Of peers in one /48, each but the one that was there first; and each in our own."""
    advertises = and_(Peer.status != "revoked", Peer.remote_prefix_advertisement.is_not(None))
    network = func.substr(Peer.remote_prefix_advertisement, 1, prefixes.SITE_CHARACTERS)
    shared = (
        select(network.label("network"), func.min(Peer.id).label("first"))
        .where(advertises)
        .group_by(network)
        .having(func.count() > 1)
        .subquery()
    )
    first = aliased(Peer)
    ours = node_settings.value(scan.session, "own_prefix")

    def overlap(subject: Any, other: Any, theirs: Any, severity: str) -> Any:
        return select(
            subject.label("subject"),
            Peer.id.label("peer_id"),
            literal(severity).label("severity"),
            Peer.remote_instance_url.label("url"),
            Peer.remote_prefix_advertisement.label("prefix"),
            other.label("other"),
            theirs.label("other_prefix"),
        ).where(advertises)

    two_peers = (
        overlap(Peer.id + "/" + first.id, first.remote_instance_url, first.remote_prefix_advertisement, "high")
        .join(shared, network == shared.c.network)
        .join(first, first.id == shared.c.first)
        .where(Peer.id != first.id)
    )
    with_us = overlap(Peer.id + "/own", literal("this node"), literal(ours), "critical").where(
        network == prefixes.site(ours) if ours else false()
    )
    return union_all(two_peers, with_us)


def no_handshake(_scan: Scan) -> Any:
    """Accepted, and nothing was ever signed for it."""
    return _peers().where(Peer.status == "accepted", Peer.signed_at.is_(None))


def expired_trust(scan: Scan) -> Any:
    """Past the end of its term, and not revoked."""
    end = peers.term_end_sql()
    return _peers(end.label("until")).where(Peer.status != "revoked", end <= scan.now)


def term_ends(within: timedelta, *, not_within: timedelta = timedelta(0)) -> Callable[[Scan], Any]:
    """Peers whose term ends within a time from now, and not within a shorter one."""

    def query(scan: Scan) -> Any:
        end = peers.term_end_sql()
        near = and_(end > scan.now + not_within, end <= scan.now + within)
        return _peers(Peer.expires_at.label("until"), end.label("end")).where(Peer.status != "revoked", near)

    return query


def stale(scan: Scan) -> Any:
    """Not heard of within the stale window, and not in planned maintenance."""
    heard = func.coalesce(Peer.last_heartbeat_at, Peer.last_handshake_at, Peer.updated_at, type_=UtcTime)
    return _peers(heard.label("heard")).where(
        Peer.peer_kind == "platform",
        # A stale peer is degraded by the next sweep, and is no less stale for it.
        Peer.status.in_(("enrolled", *IN_SERVICE)),
        heard < scan.now - scan.site.settings.stale_after,
        or_(Peer.maintenance_until.is_(None), Peer.maintenance_until <= scan.now),
    )


def heard_of(scan: Scan) -> bool:
    """Whether heartbeats could have arrived: after our own downtime every peer looks stale."""
    settings = scan.site.settings
    since = daemons.listening_since(scan.session, now=scan.now, ttl=3 * settings.lease_ttl)
    return since is not None and scan.now - since >= settings.stale_after


def heartbeat_grace(scan: Scan) -> timedelta:
    """How long a peer must be heard of again before it no longer counts as stale: it may hover about the limit."""
    return HEARTBEAT_GRACE * scan.site.settings.stale_after


def capability_drift(_scan: Scan) -> Any:
    """Extensions declared, no capabilities."""
    extensions = cast(Peer.extension_slugs, String)
    declared = and_(extensions != "[]", cast(Peer.capabilities, String) == "{}")
    return _peers(extensions.label("extensions")).where(Peer.status.in_(MAY_HEARTBEAT), declared)


def schema_drift(scan: Scan) -> Any:
    """The versions are few, so they are compared here, and the peers found by them."""
    ours = scan.site.settings.platform_version
    known = scan.session.scalars(select(Peer.platform_version).distinct())
    apart = [one for one in known if one and heartbeats.schema_compatibility(ours, one) == "drift"]
    facts = (Peer.platform_version.label("theirs"), literal(ours).label("ours"))
    return _peers(*facts).where(Peer.status.in_(MAY_HEARTBEAT), Peer.platform_version.in_(apart))


def not_declared(column: Any) -> Callable[[Scan], Any]:
    """In service, and silent about this."""
    return lambda _scan: _peers().where(Peer.status.in_(IN_SERVICE), _blank(column))


def drill(scan: Scan) -> Any:
    """Accepting any caller, on a node in drill mode."""
    open_to_all = Peer.drill_mode if node_settings.is_on(scan.session, "drill_mode") else false()
    return _peers().where(Peer.status == "proposed", open_to_all)


# --- certificates ------------------------------------------------------------------------


def peer_certificates(when: Callable[[Scan], Any]) -> Callable[[Scan], Any]:
    """Of each live peer and direction the certificate in service, where `when` holds."""

    def query(scan: Scan) -> Any:
        newest = (
            select(func.max(Certificate.id))
            .where(Certificate.revoked_at.is_(None), Certificate.superseded_at.is_(None))
            .where(Certificate.peer_id.is_not(None), Certificate.direction.in_(("inbound", "outbound")))
            .group_by(Certificate.peer_id, Certificate.direction)
        )
        ours = Certificate.direction == "outbound"
        return (
            select(
                (Certificate.peer_id + "/" + Certificate.direction).label("subject"),
                Certificate.peer_id,
                Certificate.id.label("certificate_id"),
                Certificate.not_after,
                Peer.remote_instance_url.label("url"),
                case((ours, "this node presents to"), else_="is presented to this node by").label("which"),
                case((ours, "rotate"), else_="issue").label("renewal"),
            )
            .join(Peer, Peer.id == Certificate.peer_id)
            .where(Certificate.id.in_(newest), Peer.status != "revoked", when(scan))
        )

    return query


def own_certificates(when: Callable[[Scan], Any]) -> Callable[[Scan], Any]:
    """Our newest server certificate and CA, where `when` holds."""

    def query(scan: Scan) -> Any:
        newest = (
            select(func.max(Certificate.id))
            .where(Certificate.direction == "own", Certificate.subject_kind.in_(("ca", "server")))
            .where(Certificate.revoked_at.is_(None), Certificate.superseded_at.is_(None))
            .group_by(Certificate.subject_kind)
        )
        is_ca = Certificate.subject_kind == "ca"
        return select(
            Certificate.subject_kind.label("subject"),
            null().label("peer_id"),
            Certificate.id.label("certificate_id"),
            Certificate.not_after,
            case((is_ca, "CA"), else_="server").label("which"),
            case((is_ca, "ca show"), else_="manager status").label("look"),
        ).where(Certificate.id.in_(newest), when(scan))

    return query


def expired(scan: Scan) -> Any:
    """Past its end."""
    return Certificate.not_after <= scan.now


def peer_certificate_ends(scan: Scan) -> Any:
    """Within 30 days, unless it renews itself and is not late: one that does is near its end in every cycle.

    Ours says when it is due. A peer's is held to what this node does with its own; whether it is renewed by
    itself at all, nobody but the peer knows, so that it counts once it should have been.
    """
    soon = and_(Certificate.not_after > scan.now, Certificate.not_after <= scan.now + PEER_CERTIFICATE)
    begins, ends = extract("epoch", Certificate.not_before), extract("epoch", Certificate.not_after)
    theirs_late = scan.now.timestamp() > begins + (ends - begins) * LATEST_RENEWAL
    ours_late = or_(Certificate.renew_at.is_(None), Certificate.renew_at < scan.now - RENEWAL_LATE)
    late = case((Certificate.direction == "outbound", ours_late), else_=theirs_late)
    return and_(soon, or_(Peer.status.not_in(("enrolled", *IN_SERVICE)), late))


def own_certificate_ends(scan: Scan) -> Any:
    """A server certificate within 14 days, a CA within a year."""
    ca = and_(Certificate.subject_kind == "ca", Certificate.not_after <= scan.now + OWN_CA)
    server = and_(Certificate.subject_kind == "server", Certificate.not_after <= scan.now + SERVER_CERTIFICATE)
    return and_(Certificate.not_after > scan.now, or_(ca, server))


# --- grants and policies -----------------------------------------------------------------


def _grants(scan: Scan, *facts: Any) -> Any:
    """Grants in force of peers that are not revoked."""
    return (
        select(
            Grant.id.label("subject"),
            Grant.peer_id,
            Peer.remote_instance_url.label("url"),
            Grant.remote_subject.label("holder"),
            Grant.resource_kind.label("resource"),
            *facts,
        )
        .join(Peer, Peer.id == Grant.peer_id)
        .where(Grant.revoked_at.is_(None), Grant.archived_at.is_(None), Grant.expires_at > scan.now)
        .where(Peer.status != "revoked")
    )


def unrestricted(scan: Scan) -> Any:
    """Admin or migrate, with three empty allowlists."""
    scopes = cast(Grant.permission_scopes, String)
    lists = (Grant.node_instance_ids, Grant.sdwan_network_ids, Grant.source_cidrs)
    return _grants(scan, scopes.label("scopes")).where(
        or_(scopes.contains('"admin"'), scopes.contains('"migrate"')),
        *(cast(one, String) == "[]" for one in lists),
    )


def grant_ends(scan: Scan) -> Any:
    """Within 7 days, unless it renews itself in time."""
    by_hand = or_(Grant.renew_at.is_(None), Grant.renew_at < scan.now - RENEWAL_LATE)
    soon = Grant.expires_at <= scan.now + GRANT_END
    return _grants(scan, Grant.expires_at.label("until")).where(soon, by_hand)


def unreviewed(scan: Scan) -> Any:
    """Issued over 90 days ago."""
    return _grants(scan, Grant.issued_at.label("issued")).where(Grant.issued_at < scan.now - GRANT_REVIEW)


def insecure_urls(_scan: Scan) -> Any:
    """Peers from before http URLs were refused, which have one still."""
    return _peers().where(Peer.remote_instance_url.startswith("http://"), Peer.status != "revoked")


def unconfirmed(scan: Scan) -> Any:
    """Lowerings that have ended, under which something was done, and which nobody else has confirmed."""
    ended = PolicyOverride.restored_at.is_not(None) & (PolicyOverride.acts > 0)
    return select(
        PolicyOverride.id.label("subject"),
        null().label("peer_id"),
        PolicyOverride.action,
        PolicyOverride.acts,
        PolicyOverride.lowered_by.label("by"),
        PolicyOverride.lowered_at,
    ).where(ended, PolicyOverride.confirmed_at.is_(None))


def single_among_several(scan: Scan) -> Any:
    """The setting that lets operators decide their own requests, while another could decide them."""
    several = len(operators.approvers(scan.session)) > 1
    return select(NodeSetting.key.label("subject"), null().label("peer_id"), NodeSetting.set_by.label("by")).where(
        NodeSetting.key == "single_operator", NodeSetting.value == "on", literal(several)
    )


def weak_guards(scan: Scan) -> Any:
    """Guards of policies, settings and operators that let one person act alone, where another could decide."""
    several = len(operators.approvers(scan.session)) > 1
    one_is_enough = Policy.policy.in_((policies.AUTO, policies.NOTIFY))
    return select(
        Policy.action.label("subject"), null().label("peer_id"), Policy.policy, Policy.set_by.label("by")
    ).where(Policy.action.in_(policies.GUARDS), one_is_enough, literal(several))


def ambiguous_names(scan: Scan) -> Any:
    """Operators whose names can be taken for another's."""
    return select(Operator.name.label("subject"), null().label("peer_id")).where(
        Operator.name.in_(operators.ambiguous(scan.session))
    )


def quota_near(owner: Any, most: Callable[[Quotas], Stored]) -> Callable[[Scan], Any]:
    """Peers, or grants, that have used most of a quota; past it, writes are refused."""

    def query(scan: Scan) -> Any:
        limit = most(quota.of(scan.site.settings))
        documents, size = func.count(), cast(func.sum(Resource.size), BigInteger)
        used = (
            select(
                owner.label("owner"),
                func.min(Resource.peer_id).label("peer"),
                documents.label("documents"),
                size.label("size"),
            )
            .where(owner.is_not(None))
            .group_by(owner)
            .having(or_(documents >= quota.NEAR * limit.documents, size >= quota.NEAR * limit.size))
            .subquery()
        )
        return (
            select(
                used.c.owner.label("subject"),
                Peer.id.label("peer_id"),
                Peer.remote_instance_url.label("url"),
                used.c.documents,
                used.c.size,
                literal(limit.documents).label("documents_limit"),
                literal(limit.size).label("size_limit"),
            )
            .join(Peer, Peer.id == used.c.peer)
            .where(Peer.status != "revoked")
        )

    return query


def lowered(scan: Scan) -> Any:
    """In force, or past its deadline and not ended."""
    over = case((PolicyOverride.until <= scan.now, " and has outlived it: nothing has ended it yet"), else_="")
    return select(
        PolicyOverride.action.label("subject"),
        null().label("peer_id"),
        PolicyOverride.policy,
        PolicyOverride.until,
        PolicyOverride.lowered_by.label("by"),
        over.label("over"),
    ).where(PolicyOverride.restored_at.is_(None))
