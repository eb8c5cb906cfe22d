"""What does this mean? An error text, log line or HTTP answer, recognised, with what it is about.

The strings are those of the runbook, of this node and of the original system; ids in the text are
looked up, so that the wizard begins with the peer, grant, call or request it is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from fedtui.core.diagnosis import causes
from fedtui.core.diagnosis.model import ESCALATION
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import WrongUsage
from fedtui.core.governance import rules
from fedtui.core.grants.decisions import Decision
from fedtui.core.grants.grants import Grant
from fedtui.core.operations.approvals import Approval
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import Peer

LONGEST = 20_000
MOST_IDS = 20
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>,;)\]}]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """A row: what stands in a text, which symptom that is, and what it means."""

    pattern: re.Pattern[str]
    symptom: str
    means: str


def _phrase(pattern: str, symptom: str, means: str) -> ErrorPattern:
    return ErrorPattern(re.compile(pattern, re.IGNORECASE), symptom, means)


PHRASES: tuple[ErrorPattern, ...] = (
    # --- tokens ---
    _phrase(
        r"acceptance_token does not match stored digest|didn.t hash to",
        "token_mismatch",
        "The token that was sent is not the one this peer's record waits for.",
    ),
    _phrase(r"acceptance_token has expired", "token_mismatch", "The token's time was over when it was sent."),
    _phrase(
        r"acceptance_token not recognized or expired",
        "token_mismatch",
        "There is no such peer, or no such token, where it was sent.",
    ),
    _phrase(
        r"acceptance_token required|didn.t include the acceptance_token",
        "token_missing",
        "The accept call came without a token.",
    ),
    _phrase(r"drill.mode|accepts? any caller", "token_missing", "It is about a peer that takes any caller."),
    _phrase(
        r"Unsupported contract_version",
        "escalation",
        "The two platforms speak different versions of the federation contract.",
    ),
    # --- the pair ---
    _phrase(r"partial mTLS config", "partial_mtls", "What a node presents is half there: a certificate or a key."),
    _phrase(
        r"cert_pem=(true|false),\s*key_pem=(true|false)",
        "partial_mtls",
        "One half of the pair is there and the other is not.",
    ),
    _phrase(
        r"has only half of what it needs|What this node holds for the peer cannot be used for TLS",
        "partial_mtls",
        "What this node presents is not whole.",
    ),
    # --- calls that were refused ---
    _phrase(r"peering_ended", "degraded", "The operators of the node that was called have ended the peering."),
    _phrase(r"term_ended", "degraded", "The agreed term of the peering is over."),
    _phrase(
        r"grant scope mismatch",
        "grant_scope_mismatch",
        "Certificate and grant are in order; the grant does not allow this call.",
    ),
    _phrase(
        r"applies_to(_instance|_network|_source_ip)?\?",
        "grant_scope_mismatch",
        "The grant's allowlists do not fit the call.",
    ),
    _phrase(r"scope mismatch", "grant_scope_mismatch", "The grant does not allow this call."),
    _phrase(
        r"resource kind is not served",
        "grant_scope_mismatch",
        "The grant allows it, and the inventory of the node that was called does not have that kind.",
    ),
    _phrase(
        r"client certificate (required|not recognized|revoked|expired)",
        "unauthorized_with_grant",
        "The call was turned away for its client certificate.",
    ),
    _phrase(
        r"grant not recognized|bearer token of the form fg-",
        "unauthorized_with_grant",
        "The call was turned away for its bearer.",
    ),
    _phrase(
        r"peer is not in a state that may make this call",
        "unauthorized_with_grant",
        "The peer is suspended, revoked, or not enrolled yet where it called.",
    ),
    _phrase(r"authenticate_federation_peer", "unauthorized_with_grant", "A call was turned away for who made it."),
    _phrase(
        r"TLS handshake with \S+ failed",
        "unauthorized_with_grant",
        "TLS turned a caller of this node away; what it presented, and why that was refused, is on record here.",
    ),
    # --- the jobs and the sweep ---
    _phrase(
        r"worker token required|heartbeat_sweep\b.{0,30}\b40[13]\b",
        "stuck_accepted",
        "The sweep's endpoint does not take the worker's token.",
    ),
    _phrase(
        r"heartbeat_sweep\b.{0,30}\b404\b",
        "stuck_accepted",
        "What answers there has no sweep endpoint: it is not the node's API, or a proxy cuts it off.",
    ),
    _phrase(r"heartbeat_sweep\b.{0,30}\b50\d\b", "stuck_accepted", "The sweep's endpoint answers with an error."),
    _phrase(
        r"uninitialized constant FederationHeartbeatJob|federation_heartbeat_job\.rb",
        "stuck_accepted",
        "The heartbeat job is not there, so no peer becomes active.",
    ),
    _phrase(
        r"\[FederationHeartbeatJob\]",
        "stuck_accepted",
        "The heartbeat job speaks: it runs. If peers stay accepted, see their calls.",
    ),
    _phrase(
        r"powernode-worker|\binactive \(dead\)|Failed with result",
        "stuck_accepted",
        "A service that is not active sends no heartbeats.",
    ),
    _phrase(
        r"stale_accepted_without_handshake|the handshake with \S+ is still unfinished|\[Handshake\]"
        r"|record_heartbeat",
        "stuck_accepted",
        "A peer was accepted and has not proved itself.",
    ),
    # --- requests ---
    _phrase(
        r"auto.?rejected|approval_(expired|timed_out)|rejected by the clock",
        "approval_blocked",
        "Nobody decided a request within its four hours.",
    ),
    _phrase(
        r"needs approval|require_approval|\"pending\"\s*:\s*true|cannot decide|own request",
        "approval_blocked",
        "An act waits for somebody to approve it.",
    ),
    _phrase(r"ApprovalRequest|autonomy/approvals|infra_tasks\.control", "approval_blocked", "A request for approval."),
    _phrase(
        r"status\W{1,5}paused|manager is paused|\[SDWAN Manager\] executing",
        "approval_blocked",
        "The SDWAN Manager does not carry out what was approved.",
    ),
    _phrase(
        r"depends on has changed|approval_stale|gone stale|\"?status\"?\W{1,5}(stale|failed|expired)\b",
        "approval_blocked",
        "A request did not do what was asked for: it failed, became stale or timed out.",
    ),
    # --- the way to the other side ---
    _phrase(
        r"answers no peer at present|node_quarantined",
        "degraded",
        "The node that was called is in quarantine: its records were restored, and it answers no peer for now.",
    ),
    _phrase(r"CRL (is not yet valid|has expired)", "degraded", "TLS fails over the revocation list of the peer's CA."),
    _phrase(
        r"address already in use|another program listens there",
        "stuck_accepted",
        "Another process holds the port of this node's daemon.",
    ),
    _phrase(
        r"heartbeat.?stale|HEARTBEAT_STALE_AFTER|degraded_reason|federation_heartbeat_sweep|HeartbeatSweepService"
        r"|federation health",
        "degraded",
        "No heartbeat came from a peer for too long.",
    ),
    _phrase(r"remote platform offline|peer\.suspend!", "degraded", "A peer's platform has been gone for long."),
    _phrase(
        r"remote_body_refused|body is larger than|\b413\b|too_large|Request Entity Too Large",
        "degraded",
        "A call's body is larger than the other side takes.",
    ),
    _phrase(
        r"too many requests|\b429\b|Retry-After|remote_rate_limited",
        "degraded",
        "The other side takes fewer calls than it got.",
    ),
    _phrase(
        r"alert (unknown ca|bad certificate|certificate (required|revoked|expired|unknown))",
        "degraded",
        "TLS at the other end turned away the certificate that was presented to it.",
    ),
    _phrase(
        r"certificate (has expired|is not yet valid|verify failed|is valid for|is not valid for)"
        r"|self.signed certificate|unable to (get local issuer|verify the first)|hostname mismatch|unknown ca"
        r"|bad certificate|wrong version number|handshake failure|SSL_connect|verify error:|remote_tls_failed"
        r"|TLS with it fails",
        "degraded",
        "TLS with the other side fails.",
    ),
    _phrase(
        r"remote_(dns|refused|timeout|unreachable|disconnected)|connection (refused|reset)|ECONN|EHOSTUNREACH"
        r"|Connection(Error|Failed)|name or service not known|name resolution|ENOTFOUND|no route to host"
        r"|network is unreachable|timed out|execution expired|(Read|Open)Timeout|did not answer in time"
        r"|connection to the peer broke|server disconnected",
        "degraded",
        "The other side cannot be reached.",
    ),
    _phrase(r"status\W{1,5}degraded", "degraded", "A peer is degraded."),
    _phrase(
        r"status\W{1,5}(accepted|enrolled)|never advances to",
        "stuck_accepted",
        "A peer is on the way, and not active yet.",
    ),
    _phrase(r"\b401\b|unauthorized", "unauthorized_with_grant", "A call was not let in."),
    _phrase(r"\b403\b", "grant_scope_mismatch", "A call was let in and not allowed."),
    _phrase(r"\b50[0234]\b|internal error|temporarily unavailable", "degraded", "What was called failed."),
)
"""From the particular to the general: the first that is found counts."""

TOPICS: tuple[ErrorPattern, ...] = (
    _phrase(
        r"acceptance_token|accept_controller|accept_federation_peer",
        "token_mismatch",
        "It is about an acceptance token.",
    ),
    _phrase(
        r"node_certificate\.credentials|store_in_vault|InternalCaService|certificate for \S+ was not renewed",
        "partial_mtls",
        "It is about the certificate and key that a node presents.",
    ),
    _phrase(r"heartbeat_sweep|degraded_ids", "stuck_accepted", "It is about the sweep, and whether it runs."),
    _phrase(
        r"FederationHeartbeatJob|federation_heartbeat\b",
        "stuck_accepted",
        "It is about the heartbeat job, and whether it runs.",
    ),
    _phrase(r"PeerClient", "degraded", "A call to a peer did not go as it should."),
    _phrase(
        r"grant\.active|permission_scopes|node_instance_ids|sdwan_network_ids|source_cidrs",
        "grant_scope_mismatch",
        "It is about what a grant allows.",
    ),
    _phrase(
        r"find_by_bearer_token|\bfg-[0-9a-f<]|s_client",
        "unauthorized_with_grant",
        "It is about what a caller presents: its certificate, or the bearer of a grant.",
    ),
    _phrase(
        r"\bsystem\.[a-z_]+|SDWAN.?Manager",
        "approval_blocked",
        "It is about an act, and whether it was approved and carried out.",
    ),
    _phrase(r"FleetEvent|recent_events|Governance", "escalation", "It is about events, or findings of governance."),
)
"""Words that say what a text is about, and no more. What it names on this node's record says that better."""


NAMES: tuple[ErrorPattern, ...] = (
    *(_phrase(rf"\b{one.code}\b", one.symptom, one.means) for one in causes.CAUSES),
    *(_phrase(rf"\b{one.name}\b", one.name, one.seen) for one in causes.SYMPTOMS),
    *(_phrase(rf"\b{one.kind}\b", ESCALATION, "Governance has found it, and says what helps.") for one in rules.RULES),
)
"""What this program calls things itself: as a colleague writes it down, and as the other side's doctor says it."""


@dataclass(frozen=True, slots=True)
class KnownError:
    """What a text means: in words, and what to look at. `said` is the part that was recognised."""

    means: str
    said: str
    wanted: DiagnosisTarget
    about: tuple[str, ...] = ()


def look_up(session: Session, text: str) -> KnownError | None:
    """What a text means, or None. The text is not kept."""
    given = text[:LONGEST]
    token = _token(given)
    if token is not None:
        return KnownError(
            "This is an acceptance token or an invite.", "a token", DiagnosisTarget("token_mismatch", token=token)
        )
    about = _about(session, given)
    rows = (*PHRASES, *NAMES, *(TOPICS if about is None else ()))
    found = next(((row, match) for row in rows if (match := row.pattern.search(given))), None)
    if found is None:
        return _only_about(about)
    row, match = found
    wanted = replace(about.wanted, symptom=row.symptom) if about is not None else DiagnosisTarget(row.symptom)
    return KnownError(row.means, match.group(0), wanted, about.about if about is not None else ())


def _token(text: str) -> str | None:
    bare = text.strip()
    try:
        if bare.lower().startswith("fi1"):
            return tokens.read_invite(bare).token
        return tokens.clean_token(bare) if bare.lower().startswith("ft1") else None
    except WrongUsage:
        return bare if re.fullmatch(r"f[ti]1[\s\w]+", bare, re.IGNORECASE) else None


def _only_about(about: KnownError | None) -> KnownError | None:
    return replace(about, means="It names what stands on this node's record.") if about is not None else None


def _about(session: Session, text: str) -> KnownError | None:
    """The things that a text names by id or URL: the most particular of them, to begin with."""
    named: dict[str, str] = {}
    for id in dict.fromkeys(one.lower() for one in _ID.findall(text)[:MOST_IDS]):
        for kind, model in (("decision", Decision), ("approval", Approval), ("grant", Grant), ("peer", Peer)):
            if session.get(model, id) is not None:
                named.setdefault(kind, id)
    for url in _URL.findall(text)[:MOST_IDS]:
        try:
            known = peers.by_url(session, _base(url))
        except WrongUsage:
            continue
        if known is not None:
            named.setdefault("peer", known.id)
    if not named:
        return None
    wanted = DiagnosisTarget(
        None, named.get("peer"), named.get("decision"), named.get("approval"), grant=named.get("grant")
    )
    return KnownError("", "an id", wanted, tuple(f"{kind} {id}" for kind, id in named.items()))


def _base(url: str) -> str:
    """A URL without its path: what a peer is known by."""
    from fedtui.core.runtime import urls

    scheme, _, rest = url.partition("://")
    return urls.normalize(f"{scheme}://{rest.split('/')[0]}")
