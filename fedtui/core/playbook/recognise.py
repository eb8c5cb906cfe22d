"""What does this mean? An error text, log line or HTTP answer, recognised, with what it is about.

The strings are those of the runbook, of this node and of the original system; ids in the text are
looked up, so that the wizard begins with the peer, grant, call or request it is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from fedtui.core.access.decisions import Decision
from fedtui.core.access.grants import Grant
from fedtui.core.control.approvals import Approval
from fedtui.core.errors import WrongUsage
from fedtui.core.peering import peers, tokens
from fedtui.core.peering.peers import Peer
from fedtui.core.playbook.survey import Wanted

LONGEST = 20_000
MOST_IDS = 20
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>,;)\]}]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A row: what stands in a text, which symptom that is, and what it means."""

    pattern: re.Pattern[str]
    symptom: str
    means: str


def _phrase(pattern: str, symptom: str, means: str) -> Phrase:
    return Phrase(re.compile(pattern, re.IGNORECASE), symptom, means)


PHRASES: tuple[Phrase, ...] = (
    _phrase(r"acceptance_token does not match stored digest", "token_mismatch",
            "The token that was sent is not the one this peer's record waits for."),
    _phrase(r"acceptance_token has expired", "token_mismatch", "The token's time was over when it was sent."),
    _phrase(r"acceptance_token not recognized or expired", "token_mismatch",
            "There is no such peer, or no such token, where it was sent."),
    _phrase(r"acceptance_token required", "token_missing", "The accept call came without a token."),
    _phrase(r"acceptance_token_(digest|expires_at)", "token_mismatch", "It is about an acceptance token."),
    _phrase(r"Unsupported contract_version", "escalation",
            "The two platforms speak different versions of the federation contract."),
    _phrase(r"partial mTLS config", "partial_mtls", "What a node presents is half there: a certificate or a key."),
    _phrase(r"cert_pem=(true|false),\s*key_pem=(true|false)", "partial_mtls",
            "One half of the pair is there and the other is not."),
    _phrase(r"grant scope mismatch", "grant_scope_mismatch",
            "Certificate and grant are in order; the grant does not allow this call."),
    _phrase(r"applies_to(_instance|_network|_source_ip)?\?", "grant_scope_mismatch",
            "The grant's allowlists do not fit the call."),
    _phrase(r"scope mismatch", "grant_scope_mismatch", "The grant does not allow this call."),
    _phrase(r"client certificate (required|not recognized|revoked|expired)", "unauthorized_with_grant",
            "The call was turned away for its client certificate."),
    _phrase(r"grant not recognized|bearer token of the form fg-", "unauthorized_with_grant",
            "The call was turned away for its bearer."),
    _phrase(r"peer is not in a state that may make this call", "unauthorized_with_grant",
            "The peer is suspended, revoked, or not enrolled yet where it called."),
    _phrase(r"worker token required", "stuck_accepted", "The sweep's endpoint does not take the worker's token."),
    _phrase(r"uninitialized constant FederationHeartbeatJob", "stuck_accepted",
            "The heartbeat job is not there, so no peer becomes active."),
    _phrase(r"\[FederationHeartbeatJob\]", "stuck_accepted",
            "The heartbeat job speaks: it runs. If peers stay accepted, see their calls."),
    _phrase(r"stale_accepted_without_handshake", "stuck_accepted", "A peer was accepted and never shook hands."),
    _phrase(r"peer_capability_drift|overlapping_prefix_advertisement|FederationGovernance", "escalation",
            "Governance has found something that the runbook hands up."),
    _phrase(r"authenticate_federation_peer", "unauthorized_with_grant", "A call was turned away for who made it."),
    _phrase(r"ApprovalRequest", "approval_blocked", "A request for approval."),
    _phrase(r"heartbeat.stale|degraded_reason", "degraded", "No heartbeat came from a peer for too long."),
    _phrase(r"too many requests|\b429\b|remote_rate_limited", "degraded",
            "The other side takes fewer calls than it got."),
    _phrase(r"certificate has expired|certificate is not yet valid|self-signed certificate|unable to get local issuer"
            r"|certificate verify failed|unknown ca|bad certificate|remote_tls_failed", "degraded",
            "TLS with the other side fails for a certificate."),
    _phrase(r"remote_(dns|refused|timeout|unreachable|disconnected)|connection refused|ConnectionError"
            r"|name or service not known|timed out", "degraded", "The other side cannot be reached."),
    _phrase(r"status\W{1,5}degraded", "degraded", "A peer is degraded."),
    _phrase(r"status\W{1,5}(accepted|enrolled)", "stuck_accepted", "A peer is on the way, and not active yet."),
    _phrase(r"auto.?rejected|approval_(expired|timed_out)|rejected by the clock", "approval_blocked",
            "Nobody decided a request within its four hours."),
    _phrase(r"needs approval|require_approval|\"pending\"\s*:\s*true|cannot decide|own request", "approval_blocked",
            "An act waits for somebody to approve it."),
    _phrase(r"heartbeat_sweep|degraded_ids", "stuck_accepted", "It is about the sweep, and whether it runs."),
    _phrase(r"\[PeerClient\]", "degraded", "A call to a peer did not go as it should."),
    _phrase(r"\b401\b|unauthorized", "unauthorized_with_grant", "A call was not let in."),
    _phrase(r"\b403\b", "grant_scope_mismatch", "A call was let in and not allowed."),
)  # fmt: skip
"""From the particular to the general: the first that is found counts."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a text means: in words, and what to look at. `said` is the part that was recognised."""

    means: str
    said: str
    wanted: Wanted
    about: tuple[str, ...] = ()


def recognise(session: Session, text: str) -> Recognised | None:
    """What a text means, or None. The text is not kept."""
    given = text[:LONGEST]
    token = _token(given)
    if token is not None:
        return Recognised("This is an acceptance token or an invite.", "a token", Wanted("token_mismatch", token=token))
    found = next(((row, match) for row in PHRASES if (match := row.pattern.search(given))), None)
    about = _about(session, given)
    if found is None:
        return _only_about(about)
    row, match = found
    wanted = replace(about.wanted, symptom=row.symptom) if about is not None else Wanted(row.symptom)
    return Recognised(row.means, match.group(0), wanted, about.about if about is not None else ())


def _token(text: str) -> str | None:
    bare = text.strip()
    try:
        if bare.lower().startswith("fi1"):
            return tokens.read_invite(bare).token
        return tokens.clean_token(bare) if bare.lower().startswith("ft1") else None
    except WrongUsage:
        return bare if re.fullmatch(r"f[ti]1[\s\w]+", bare, re.IGNORECASE) else None


def _only_about(about: Recognised | None) -> Recognised | None:
    return replace(about, means="It names what stands on this node's record.") if about is not None else None


def _about(session: Session, text: str) -> Recognised | None:
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
    wanted = Wanted(None, named.get("peer"), named.get("decision"), named.get("approval"), grant=named.get("grant"))
    return Recognised("", "an id", wanted, tuple(f"{kind} {id}" for kind, id in named.items()))


def _base(url: str) -> str:
    """A URL without its path: what a peer is known by."""
    from fedtui.core.runtime import urls

    scheme, _, rest = url.partition("://")
    return urls.normalize(f"{scheme}://{rest.split('/')[0]}")
