"""Tokens that are refused, or were not sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match, sentence

MISMATCH, MISSING = "token_mismatch", "token_missing"
ACCEPT = "system.federation_peer_accept"
HELD = {
    "mangled": "token_mistyped",
    "unknown": "token_mistyped",
    "used": "token_already_used",
    "expired": "token_expired",
    "superseded": "token_superseded",
    "cancelled": "token_superseded",
}
"""The cause, by what a token that somebody holds turns out to be."""
REFUSED = {
    "token_cancelled": "token_superseded",
    "token_of_other_peer": "token_mistyped",
    "token_unknown": "token_mistyped",
}
"""The cause, by why accept was refused, where the two differ."""
MORE = {
    "token_cancelled": "That token was cancelled here.",
    "token_of_other_peer": "It is a token of this node, made for another peer.",
}
"""What this node's record knows besides, and did not answer."""


AT_ONCE = "1h"
"""How long a new token is good for: it is handed over at once, not queued (runbook, token mismatch)."""


def _token_there(case: CaseContext) -> str:
    """The other platform's command for another token, for this node, which it knows by its URL."""
    return f"fedtui peers token {case.site.url} --ttl {AT_ONCE}"


def _again(case: CaseContext) -> tuple[Fix, ...]:
    peer = case.fact("peer") or case.fact("token_peer")
    if peer is None:
        return (
            Fix(
                "Have the operator who made it make another, and hand over the whole invite",
                _token_there(case),
                where="there",
            ),
        )
    if peer.status != "proposed":
        nothing = f"Nothing: {peer.remote_instance_url} is {peer.status}, and needs no token"
        return (Fix(nothing, f"fedtui peers show {peer.id}"),)
    return (
        Fix(
            "Make a new token, which ends the one before, and hand the invite over at once",
            f"fedtui peers token {peer.id} --ttl {AT_ONCE}",
            "system.federation_peer_token",
            {"peer": peer.id, "ttl": AT_ONCE},
        ),
    )


def _refused_there(case: CaseContext, code: str) -> Match | None:
    """An accept of ours that the other side refused: only its own record tells which of the reasons it was."""
    row = case.fact("approval")
    said = str((row.error or {}).get("problem", "")) if row is not None and row.action == ACCEPT else ""
    if row is None or row.status != "failed" or case.fact("asked_again"):
        return None
    ask = Fix(
        "Have its operator make a new token, hand over the whole invite, and accept again",
        _token_there(case),
        where="there",
    )
    look = Fix(
        "Have its operator say what became of it, which needs no token",
        f"fedtui doctor token_mismatch --peer {case.site.url}",
        where="there",
    )
    if "does not match" not in said and "not recognized" not in said:
        return None
    first, *others = _candidates(case, row.params)
    if first != code:
        return None
    whole = "Its checksum held, so that it was not mistyped. " if code != "token_mistyped" else ""
    missing = "Which of them it was stands only on the other side's record; its operator can tell."
    return Match(
        f"The other side refused the token: {sentence(said)} {whole}{missing}",
        fixes=(ask, look),
        undecided=tuple(others),
    )


def _candidates(case: CaseContext, params: Mapping[str, Any]) -> tuple[str, ...]:
    """What a token that was refused may be, the likeliest first: one whose checksum held was not mistyped."""
    until = params.get("token_expires_at")
    over = until is not None and datetime.fromisoformat(until) <= case.now
    if over:
        return ("token_expired", "token_already_used", "token_superseded")
    if until is not None:  # an invite says how long its token is good
        return ("token_already_used", "token_superseded")
    checked = params.get("token_checked")
    return (*(() if checked else ("token_mistyped",)), "token_already_used", "token_expired", "token_superseded")


def _expired_there(case: CaseContext) -> Match | None:
    row = case.fact("approval")
    said = str((row.error or {}).get("problem", "")) if row is not None and row.action == ACCEPT else ""
    if "has expired" not in said or case.fact("asked_again"):
        return None
    fix = Fix("Have its operator make a new token, and accept again at once", _token_there(case), where="there")
    return Match(f"The other side says so: {said}", fixes=(fix,))


def _mismatch(code: str) -> Callable[[CaseContext], Match | None]:
    def holds(case: CaseContext) -> Match | None:
        if case.subject.scope == "approval":
            return (_expired_there(case) if code == "token_expired" else None) or _refused_there(case, code)
        held = case.fact("held_token")
        if held is not None:
            return Match(case.outcomes["token"].said, fixes=_again(case)) if HELD.get(held) == code else None
        refused = case.fact("token_refusal")
        found = REFUSED.get(refused, refused)
        if found != code:
            return None
        because = f"{case.outcomes['refusals'].said} {MORE.get(refused, '')}".strip()
        if case.fact("token_stranger"):
            return _leaked(case)
        return Match(because, fixes=_again(case))

    return holds


def _leaked(case: CaseContext) -> Match:
    """A token of this peer's was presented by somebody else: the invite is in other hands."""
    peer = case.fact("peer")
    fixes = (
        Fix(
            "Ask whoever handed the invite over who else has it. Nobody was let in with it",
            f"fedtui peers show {peer.id}",
        ),
    )
    return Match(case.outcomes["refusals"].said, fixes=fixes, severity="high")


def _not_sent(case: CaseContext) -> Match | None:
    if case.fact("token_refusal") != "token_not_sent":
        return None
    fix = Fix("Have its operator accept with the whole invite", "fedtui peers accept --invite -", where="there")
    return Match("Its accept came without a token, and this peer needs one.", fixes=(fix, *_again(case)))


def _drill(case: CaseContext) -> Match | None:
    if not case.fact("drill"):
        return None
    token = replace(_again(case)[0], title="Make a token for it: from then on only who has that is taken in")
    over = Fix(
        "Where no drill is on, end drill mode for the whole node",
        "fedtui settings set drill_mode off",
        "system.settings_change",
        {"key": "drill_mode", "value": "off"},
    )
    return Match(
        "It was proposed in drill mode and never given a token: whoever calls first becomes this peer.",
        fixes=(token, over),
    )


def _cause(code: str, means: str, could_be: str) -> Cause:
    return Cause(code, MISMATCH, "peer", "medium", 3, means, could_be, "token-mismatch", _mismatch(code))


CAUSES: tuple[Cause, ...] = (
    _cause(
        "token_mistyped",
        "What was sent is not the token that this peer waits for: mostly it was mangled.",
        "An invite of another node, or of another peer.",
    ),
    _cause(
        "token_already_used",
        "The token has let its one caller in; it admits nobody else.",
        "The same platform trying again with a new key.",
    ),
    _cause("token_expired", "The token's time was over when it was sent.", "A clock that is wrong."),
    _cause(
        "token_superseded",
        "A newer token was made, or this one was cancelled; only the newest is good.",
        "Two operators who each made one.",
    ),
    Cause(
        "token_not_sent",
        MISSING,
        "peer",
        "medium",
        3,
        "The accept call carried no token, and this peer's record requires one.",
        "A form in which the token's field was left empty.",
        "token-required",
        _not_sent,
    ),
    Cause(
        "drill_mode_peer",
        MISSING,
        "peer",
        "high",
        1,
        "This peer accepts ANY caller: it is in drill mode. Outside a drill that is an open door.",
        "Nothing else: it is meant for drills only.",
        "token-required",
        _drill,
    ),
)
