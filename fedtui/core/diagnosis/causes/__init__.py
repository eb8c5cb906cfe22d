"""The catalogue of causes: each file holds those of one part of the runbook; here they are joined."""

from __future__ import annotations

from collections.abc import Mapping

from fedtui.core.diagnosis.causes import access, approvals, key_pairs, liveness, node, peer_comparison, remote, tokens
from fedtui.core.diagnosis.model import ESCALATION, Cause, Symptom

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        "token_mismatch",
        "accept says: acceptance_token does not match stored digest",
        "Another platform cannot accept: its token is refused.",
        "token-mismatch",
    ),
    Symptom(
        "token_missing",
        "accept says: acceptance_token required",
        "Another platform's accept came without a token.",
        "token-required",
    ),
    Symptom(
        "stuck_accepted",
        "Both sides show accepted, and nothing moves",
        "A peer stays accepted or enrolled and never becomes active.",
        "stuck-at-accepted",
        also=("partial_mtls",),
    ),
    Symptom(
        "degraded",
        "A peer was active and is degraded",
        "No heartbeat has come from a peer for five minutes, or calls to it fail.",
        "degraded",
        also=("partial_mtls",),
    ),
    Symptom(
        "partial_mtls",
        "The log says: partial mTLS config",
        "What this node presents to a peer is half there.",
        "mtls-issues",
    ),
    Symptom(
        "grant_scope_mismatch",
        "A call gets 403: grant scope mismatch",
        "A peer's call with a grant is refused for where it comes from or what it wants.",
        "scope-mismatch",
    ),
    Symptom(
        "unauthorized_with_grant",
        "A call gets 401 although it has a grant",
        "A peer presents certificate and grant, and is turned away all the same.",
        "unauthorized",
    ),
    Symptom(
        "approval_blocked",
        "An act waits for approval, or was rejected by the clock",
        "A request is stuck, or its four hours are over.",
        "approval-timeout",
    ),
    Symptom(
        ESCALATION,
        "Nothing of this helps: hand it up",
        "All of the checks once more; then a change request with events, findings and transcript.",
        "escalation",
    ),
)
"""What people see (domain, section 9). With the last all causes are looked for, and what is left is escalated."""

CAUSES: tuple[Cause, ...] = (
    *node.CAUSES,
    *remote.CAUSES,
    *liveness.CAUSES,
    *key_pairs.CAUSES,
    *peer_comparison.CAUSES,
    *tokens.CAUSES,
    *access.CAUSES,
    *approvals.CAUSES,
)
BY_SYMPTOM: Mapping[str, Symptom] = {one.name: one for one in SYMPTOMS}
BY_CODE: Mapping[str, Cause] = {one.code: one for one in CAUSES}


def of(symptom: str | None) -> tuple[Cause, ...]:
    """The causes to look for: of one symptom and those that go with it, or all."""
    if symptom in (None, ESCALATION):
        return CAUSES
    wanted = (symptom, *BY_SYMPTOM[str(symptom)].also)
    return tuple(one for one in CAUSES if one.symptom in wanted or symptom in one.also)
