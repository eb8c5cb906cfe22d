"""What the facts of a peer say, as several causes ask it: how calls fail, whether it is heard, since when."""

from __future__ import annotations

from datetime import timedelta

from fedtui.core.diagnosis.checks.limits import SKEW_LIMIT, URL_INSECURE
from fedtui.core.diagnosis.commands import HOW
from fedtui.core.diagnosis.model import CaseContext, without_code
from fedtui.core.peers.peers import ENDED_THERE, TERM_ENDED
from fedtui.core.pki import tls_inspect

STUCK, DEGRADED = "stuck_accepted", "degraded"
NETWORK_FAULTS = ("dns", "refused", "timeout", "silent", "unreachable", "disconnected", "forbidden")
TLS_FAULTS = frozenset((*tls_inspect.FIXES, URL_INSECURE, "unreadable", "handshake_failed")) - {"disconnected"}
"""Every fault of a certificate or a handshake that a probe names."""
NOT_ITS_CA = {"unknown_ca", "self_signed"}
SKEW = timedelta(seconds=SKEW_LIMIT)
WAITS = ("accepted", "enrolled")


def failing(case: CaseContext) -> str:
    """What kind of failure stands between this node and the peer: by looking now, else by what is on record."""
    faults = case.fact("faults")
    recorded = case.fact("error_code", "")
    for decided in (ENDED_THERE, TERM_ENDED):
        if decided in (recorded, case.fact("view_code")) or decided in (faults or ()):
            return decided
    if faults:
        if set(faults) == {"disconnected"} and recorded == "remote_tls_failed":
            return "tls"
        if "own_certificate_rejected" in faults:
            return "rejected"
        if any(one in TLS_FAULTS for one in faults):
            return "tls"
        return "unreachable" if any(one in NETWORK_FAULTS for one in faults) else ""
    if recorded == "remote_rate_limited":
        return "rate"
    if recorded == "remote_body_refused":
        return "size"
    if recorded == "remote_failing" or case.fact("view_code") == "remote_failing":
        return "failing"
    return "rejected" if case.fact("view_code") == "remote_rejecting_auth" else ""


def words(case: CaseContext) -> str:
    outcome = case.outcomes.get("probe")
    view = case.outcomes.get("their_view")
    if outcome is not None and outcome.state == "bad":
        return outcome.said
    return view.said if view is not None and view.state == "bad" else without_code(str(case.fact("error") or ""))


def waits(case: CaseContext) -> bool:
    return case.fact("status") in WAITS and case.fact("peer").peer_kind == "platform"


def troubled(case: CaseContext) -> bool:
    """Whether the peer is degraded, or active while calls to it fail; not in planned maintenance."""
    fails = case.fact("status") == "active" and (bool(case.fact("error")) or bool(failing(case)))
    return (case.fact("status") == "degraded" or fails) and not case.fact("in_maintenance")


def clock_difference(case: CaseContext) -> float:
    """Return by how many seconds the peer's clock is ahead of this node's: as it says now, else as it is on record."""
    now = case.fact("skew_now")
    return float((now if now is not None else case.fact("skew")) or 0.0)


def still_heard(case: CaseContext) -> bool:
    """Whether an active peer's own heartbeats go on coming."""
    age = case.fact("heartbeat_age")
    # A heartbeat that is dated in the future came before the clock was set back: its age is not known.
    recent = age is None or -SKEW <= age <= 2 * case.site.settings.heartbeat_interval
    return case.fact("status") == "active" and recent


def heard_meanwhile(case: CaseContext) -> bool:
    """Whether the peer's heartbeats go on arriving although calls to it fail: since they fail, not from before."""
    since = case.fact("heard_since_failing")
    return still_heard(case) and since is not False


def heard_lately(case: CaseContext) -> bool:
    age = case.fact("heartbeat_age")
    return age is not None and age <= 2 * case.site.settings.heartbeat_interval


def how(code: str) -> str:
    """How the peer's calls to this node fail, in words."""
    return HOW.get(code, "it does not say how")


def silent_lately(case: CaseContext) -> bool:
    """Whether a peer is degraded, or active and about to be: it should have been heard of."""
    about_to_be = case.fact("status") == "active" and not still_heard(case)
    return (case.fact("status") == "degraded" or about_to_be) and not case.fact("in_maintenance")


def just_back(case: CaseContext) -> bool:
    """Whether calls to the peer worked again only lately, so that its next heartbeat may not have been due yet."""
    if case.fact("error"):
        return True  # by the last call on record it still fails: that it can be reached was seen just now
    since = case.fact("reached_since")
    return since is not None and case.now - since <= 2 * case.site.settings.heartbeat_interval
