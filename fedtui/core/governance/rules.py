"""What governance looks for (domain, section 8), as one table of rules. Adding a finding is adding a row.

The words of a rule are templates over what its query yields. A fact that changes while a finding stands
has it said anew, and is no new finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fedtui.core.administration.operators import CONTROL, MANAGE_GRANTS, MANAGE_OPERATORS, MANAGE_PEERS
from fedtui.core.governance import queries
from fedtui.core.governance.queries import Scan
from fedtui.core.grants.resources import Resource
from fedtui.core.peers.peers import Peer

_OWN = "The server certificate is renewed by the maintenance job: see that it runs. The CA is not: plan a new one."


def _always(_scan: Scan) -> bool:
    return True


def _at_once(_scan: Scan) -> timedelta:
    return timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A row of the table.

    `said`, `leads_to` (a place of the console) and `fix` (a command) are templates over the query's columns;
    `advice` says what to do. `permission` is what acknowledging takes. `can_tell` is false while the node
    cannot know; then what stands is left as it is. `grace` is how long a finding must be absent before it
    is gone. `told_already`: an event of its own has told people, so that this one is not pressed on them again.
    """

    kind: str
    severity: str
    query: Callable[[Scan], Any]
    said: str
    advice: str
    leads_to: str
    fix: str
    permission: str = MANAGE_PEERS
    can_tell: Callable[[Scan], bool] = _always
    grace: Callable[[Scan], timedelta] = _at_once
    told_already: bool = False


RULES: tuple[Rule, ...] = (
    Rule(
        kind="overlapping_prefix_advertisement",
        severity="high",
        query=queries.overlapping,
        said="{url} advertises {prefix}, in the same /48 as {other_prefix} of {other}.",
        advice="Agree with its operators on who renumbers, then record the new prefix.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers edit {peer_id} --prefix PREFIX",
    ),
    Rule(
        kind="stale_accepted_without_handshake",
        severity="medium",
        query=queries.no_handshake,
        said="{url} was accepted, and nothing was ever signed for it.",
        advice="Find out where the handshake stopped.",
        leads_to="playbook/stuck_accepted",
        fix="fedtui doctor stuck_accepted --peer {peer_id}",
    ),
    Rule(
        kind="expired_trust",
        severity="high",
        query=queries.expired_trust,
        said="The term of the peering with {url} ended on {until:%F %H:%M} UTC: its heartbeats, renewals and resource "
        "calls are refused.",
        advice="Agree on a new term and record it on both sides, or revoke the peer.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers edit {peer_id} --expires 365d",
    ),
    Rule(
        kind="term_ending",
        severity="medium",
        query=queries.term_ends(queries.TERM_END, not_within=queries.TERM_END_SOON),
        said="The peering with {url} is agreed until {until:%F}. From {end:%F %H:%M} UTC on its calls are refused.",
        advice="Agree on a new term and record it on both sides.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers edit {peer_id} --expires 365d",
    ),
    Rule(
        kind="term_ending_soon",
        severity="high",
        query=queries.term_ends(queries.TERM_END_SOON),
        said="The peering with {url} is agreed until {until:%F}. From {end:%F %H:%M} UTC on its calls are refused.",
        advice="Agree on a new term today and record it on both sides.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers edit {peer_id} --expires 365d",
    ),
    Rule(
        kind="peer_heartbeat_stale",
        severity="medium",
        query=queries.stale,
        said="{url} has not been heard of since {heard:%F %H:%M} UTC.",
        advice="Find out whether it is down, unreachable, or turned away.",
        leads_to="playbook/degraded",
        fix="fedtui doctor degraded --peer {peer_id}",
        can_tell=queries.heard_of,
        grace=queries.heartbeat_grace,
    ),
    Rule(
        kind="peer_capability_drift",
        severity="medium",
        query=queries.capability_drift,
        said="{url} declares extensions {extensions} and no capabilities, so what they can do is not known here.",
        advice="Ask its operators to declare the capabilities; its next heartbeat brings them.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers show {peer_id}",
    ),
    Rule(
        kind="peer_cert_expiring",
        severity="medium",
        query=queries.peer_certificates(queries.peer_certificate_ends),
        said="The certificate that {which} {url} ends on {not_after:%F %H:%M} UTC.",
        advice="Its renewal is late, or it is not renewed by itself: renew it by hand.",
        leads_to="certs/{certificate_id}",
        fix="fedtui certs {renewal} {peer_id}",
    ),
    Rule(
        kind="peer_cert_expired",
        severity="high",
        query=queries.peer_certificates(queries.expired),
        said="The certificate that {which} {url} ended on {not_after:%F %H:%M} UTC; calls with it are refused.",
        advice="Renew it by hand.",
        leads_to="certs/{certificate_id}",
        fix="fedtui certs {renewal} {peer_id}",
    ),
    Rule(
        kind="own_cert_expiring",
        severity="high",
        query=queries.own_certificates(queries.own_certificate_ends),
        said="This node's {which} certificate ends on {not_after:%F %H:%M} UTC.",
        advice=_OWN,
        leads_to="certs/{certificate_id}",
        fix="fedtui {look}",
    ),
    Rule(
        kind="own_cert_expired",
        severity="critical",
        query=queries.own_certificates(queries.expired),
        said="This node's {which} certificate ended on {not_after:%F %H:%M} UTC; no peer can trust its calls.",
        advice=_OWN,
        leads_to="certs/{certificate_id}",
        fix="fedtui {look}",
    ),
    Rule(
        kind="peer_schema_version_drift",
        severity="medium",
        query=queries.schema_drift,
        said="{url} runs {theirs}, this platform {ours}: further apart than one minor version.",
        advice="Upgrade the older of the two.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers show {peer_id}",
    ),
    Rule(
        kind="peer_schema_version_missing",
        severity="low",
        query=queries.not_declared(Peer.platform_version),
        said="{url} does not say which version it runs.",
        advice="Ask its operators to declare it; its next heartbeat brings it.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers show {peer_id}",
    ),
    Rule(
        kind="peer_residency_missing",
        severity="low",
        query=queries.not_declared(Peer.data_residency),
        said="{url} does not say where its data lives.",
        advice="Ask its operators to declare it; its next heartbeat brings it.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers show {peer_id}",
    ),
    Rule(
        kind="peer_contact_missing",
        severity="low",
        query=queries.not_declared(Peer.operator_contact),
        said="{url} does not say whom to reach.",
        advice="Ask its operators to declare a contact; its next heartbeat brings it.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers show {peer_id}",
    ),
    Rule(
        kind="grant_unrestricted_scope",
        severity="medium",
        query=queries.unrestricted,
        said="The grant of {resource} to {holder} at {url} holds {scopes} from anywhere, on any network, for any "
        "instance.",
        advice="Restrict it to where it is used from.",
        leads_to="grants/{subject}",
        fix="fedtui grants edit {subject} --add-cidr CIDR",
        permission=MANAGE_GRANTS,
    ),
    Rule(
        kind="grant_expiring",
        severity="medium",
        query=queries.grant_ends,
        said="The grant of {resource} to {holder} at {url} ends on {until:%F %H:%M} UTC.",
        advice="Renew it if it is still needed, or let it end.",
        leads_to="grants/{subject}",
        fix="fedtui grants renew {subject}",
        permission=MANAGE_GRANTS,
    ),
    Rule(
        kind="grant_review_overdue",
        severity="low",
        query=queries.unreviewed,
        said="The grant of {resource} to {holder} at {url} was issued on {issued:%F} and stands since.",
        advice="See whether and how it is used; acknowledge with the reason to keep it, or revoke it.",
        leads_to="grants/{subject}",
        fix="fedtui grants show {subject}",
        permission=MANAGE_GRANTS,
    ),
    Rule(
        kind="peer_quota_near",
        severity="medium",
        query=queries.quota_near(Resource.peer_id, lambda quotas: quotas.peer),
        said="{url} has stored {documents:,} of {documents_limit:,} documents, {size:,} of {size_limit:,} bytes.",
        advice="Ask its operators to delete what is not needed, or raise resource_documents_per_peer or "
        "resource_bytes_per_peer.",
        leads_to="peers/{peer_id}",
        fix="fedtui resources list",
        permission=MANAGE_GRANTS,
    ),
    Rule(
        kind="grant_quota_near",
        severity="medium",
        query=queries.quota_near(Resource.grant_id, lambda quotas: quotas.grant),
        said="With a grant, {url} has stored {documents:,} of {documents_limit:,} documents, {size:,} of "
        "{size_limit:,} bytes.",
        advice="Ask its operators to delete what is not needed, or raise resource_documents_per_grant or "
        "resource_bytes_per_grant.",
        leads_to="grants/{subject}",
        fix="fedtui grants show {subject}",
        permission=MANAGE_GRANTS,
    ),
    Rule(
        kind="policy_lowered",
        severity="high",
        query=queries.lowered,
        said="{by} lowered {subject} to {policy} until {until:%F %H:%M} UTC{over}.",
        advice="Restore it when the emergency is over.",
        leads_to="playbook/approval_blocked",
        fix="fedtui policies restore {subject}",
        permission=CONTROL,
        told_already=True,
    ),
    Rule(
        kind="peer_url_insecure",
        severity="high",
        query=queries.insecure_urls,
        said="{url} is an http URL: nothing is sent there, since nobody would prove who they are.",
        advice="Move the peer to the URL at which it answers over https.",
        leads_to="peers/{peer_id}",
        fix="fedtui peers edit {peer_id} --url https://HOST",
    ),
    Rule(
        kind="emergency_unconfirmed",
        severity="high",
        query=queries.unconfirmed,
        said="Acts that ran without approval while {action} was lowered by {by} on {lowered_at:%F %H:%M} UTC: "
        "{acts}. No other operator has confirmed them.",
        advice="Have another operator check what was done (fedtui policies lowered), and confirm it.",
        leads_to="playbook/approval_blocked",
        fix="fedtui policies confirm {subject}",
        permission=CONTROL,
    ),
    Rule(
        kind="single_operator_among_several",
        severity="high",
        query=queries.single_among_several,
        said="Operators may approve their own requests, although several could approve each other's; {by} set it.",
        advice="Switch it off: every request is then decided by a second person.",
        leads_to="playbook/approval_blocked",
        fix="fedtui settings set {subject} off",
        permission=MANAGE_OPERATORS,
    ),
    Rule(
        kind="guard_policy_weak",
        severity="high",
        query=queries.weak_guards,
        said="{subject} is {policy}, set by {by}: one operator can change policies, settings or operators alone.",
        advice="Set it to require_approval, so that a second person decides.",
        leads_to="playbook/approval_blocked",
        fix="fedtui policies set {subject} require_approval",
        permission=MANAGE_OPERATORS,
    ),
    Rule(
        kind="operator_name_ambiguous",
        severity="medium",
        query=queries.ambiguous_names,
        said="The operator name {subject} is not plain ASCII, or differs from another's by upper and lower case alone.",
        advice="Add the operator under a plain name, then remove this one.",
        leads_to="playbook/approval_blocked",
        fix="fedtui operators remove {subject}",
        permission=MANAGE_OPERATORS,
    ),
    Rule(
        kind="drill_mode_peer",
        severity="high",
        query=queries.drill,
        said="{url} was proposed in drill mode: whoever calls in its name is accepted.",
        advice="Make a token for it, which ends that, or revoke it.",
        leads_to="playbook/token_missing",
        fix="fedtui peers token {peer_id}",
    ),
)
"""Every finding there is."""

BY_KIND: Mapping[str, Rule] = {rule.kind: rule for rule in RULES}
