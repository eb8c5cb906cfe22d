"""Peers that do not become, or do not stay, active: the network, and the other side."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fedtui.core.diagnosis.causes import access, connections
from fedtui.core.diagnosis.causes.observations import (
    DEGRADED,
    STUCK,
    clock_difference,
    failing,
    heard_meanwhile,
    how,
    just_back,
    silent_lately,
    troubled,
    waits,
    words,
)
from fedtui.core.diagnosis.checks.limits import SKEW_LIMIT
from fedtui.core.diagnosis.commands import anew
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match, in_words, sentence, without_code

TURNED_AWAY = tuple(one.code for one in access.CAUSES if one.code.startswith(("cert_", "trust_", "peer_")))
"""Why this node turns a peer's heartbeats away; that one is the root then, and no partition."""
NOT_OUR_API = ("sweep_endpoint_failing", "sweep_endpoint_missing")
"""What answers at this node's URL is not this node's API, or fails: so it does to the peer."""
EXPLAINED_HERE = {
    "remote_rejecting_auth": TURNED_AWAY,
    "remote_disconnected": TURNED_AWAY,
    "remote_unreachable": TURNED_AWAY,
    "remote_tls_failed": TURNED_AWAY,
    "remote_failing": NOT_OUR_API,
    "remote_rejecting": NOT_OUR_API,
    "remote_body_refused": ("body_refused",),
}
"""Causes that explain how a peer's calls to this node fail."""
A_DAY = timedelta(days=1)


def _kind(
    kind: str, fixes: Callable[[CaseContext], tuple[Fix, ...]], when: Callable[[CaseContext], bool]
) -> Callable[[CaseContext], Match | None]:
    def holds(case: CaseContext) -> Match | None:
        if not when(case) or failing(case) != kind:
            return None
        ended = case.fact("own_certificate_ended")
        own = f"The certificate that this node presents to it ran out at {in_words(ended)}. " if ended else ""
        return Match(f"{own if kind in ('rejected', 'unreachable') else ''}{words(case)}", fixes=fixes(case))

    return holds


def _handshake(case: CaseContext) -> Match | None:
    if not waits(case) or failing(case):
        return None
    peer = case.fact("peer")
    if peer.enroll_owed and case.fact("delivery_paused"):
        resume = Fix(
            "Resume the SDWAN Manager, which delivers it", "fedtui manager resume", "system.manager_resume", {}
        )
        return Match("What this node signed is not delivered to it: the SDWAN Manager is paused.", fixes=(resume,))
    if peer.enroll_owed and case.fact("delivery_error"):
        return _undelivered(case, str(case.fact("delivery_error")))
    if peer.enroll_owed:
        tick = Fix("Let the SDWAN Manager finish it now", "fedtui manager tick")
        return Match("What this node signed has not been delivered to it.", fixes=(tick,))
    if case.fact("pair_state") == "none":
        fixes = anew(peer.id, peer.remote_instance_url, case.site.url, "no certificates were exchanged")
        return Match(
            "Certificates were never exchanged: accept came without a request, or without a CA.",
            fixes=fixes,
            together=True,
        )
    return None


def _undelivered(case: CaseContext, error: str) -> Match:
    """What this node signed was sent to the peer, and not taken."""
    peer, code = case.fact("peer"), error.partition(":")[0]
    said = f"What this node signed for it was sent, and not taken. {sentence(without_code(error))}"
    if code == "remote_rejecting":
        sign = Fix(
            "Sign the key that it has now, as it says, and deliver that",
            f"fedtui certs issue {peer.id}",
            "system.federation_certificate_mint",
            {"peer": peer.id},
        )
        return Match(f"{said} It has another key by now.", fixes=(sign,))
    if code == "remote_rejecting_auth":
        proxy = Fix(
            "Have its operators look at a proxy in front of their node, which may refuse the call before the "
            "node sees it; the node's own refusals stand in its record",
            "fedtui decisions list",
            where="there",
        )
        return Match(said, fixes=(proxy,))
    return Match(said, fixes=(Fix("Let the SDWAN Manager deliver it now", "fedtui manager tick"),))


def _skewed(case: CaseContext) -> Match | None:
    skew = clock_difference(case)
    if abs(skew) <= SKEW_LIMIT:
        return None
    ahead = "ahead of" if skew > 0 else "behind"
    fix = Fix(
        "See with its operators which of the clocks is wrong, and set that right (NTP); it needs no more",
        "timedatectl status",
        where="there",
    )
    evidence = (case.seen("its clock less ours, in seconds", round(skew, 1), "heartbeat and diagnosis"),)
    return Match(f"Its clock is {abs(skew):.0f} s {ahead} this node's.", evidence, (fix,))


def _one_way(case: CaseContext) -> Match | None:
    code = (case.fact("view") or {}).get("last_outbound_code")
    if code and silent_lately(case):
        said = f"This node reaches it; its own calls to this node fail: {how(str(code))}."
        return Match(said, fixes=connections.their_calls(case, str(code)), after=EXPLAINED_HERE.get(str(code), ()))
    if not troubled(case):
        return None
    if heard_meanwhile(case) and failing(case) == "unreachable":
        return Match(
            f"It reaches this node, and this node does not reach it. {words(case)}", fixes=connections.unreachable(case)
        )
    return None


def _errors(case: CaseContext) -> Match | None:
    """It answers with errors."""
    return _kind("failing", connections.ask_them, troubled)(case)


def _body_refused(case: CaseContext) -> Match | None:
    """Its last heartbeats were refused here for their size or depth, and none was taken since."""
    refused = case.fact("body_refused")
    if not refused or not troubled(case):
        return None
    less = "Have its operators declare less (capabilities, extension_slugs)"
    more = f"Or take more: message_body_bytes in {case.site.settings.config_file}, then start the daemon again"
    fixes = (Fix(less, where="there"), Fix(more, "fedtui serve"))
    return Match(f"This node refuses its calls: {refused}.", fixes=fixes)


def _recovering(case: CaseContext) -> Match | None:
    if case.fact("status") != "degraded" or not troubled(case) or failing(case) or case.fact("faults") is None:
        return None
    if (case.fact("view") or {}).get("last_outbound_code") or not just_back(case):
        return None
    peer = case.fact("peer")
    fix = Fix(
        "Nothing: its next heartbeat makes it active. To see at once, send it one", f"fedtui peers heartbeat {peer.id}"
    )
    return Match("It can be reached again, and takes this node's certificate.", fixes=(fix,))


def _gone(case: CaseContext) -> Match | None:
    span = case.fact("degraded_for")
    if not troubled(case) or span is None or span < A_DAY:
        return None
    peer = case.fact("peer")
    reason = "remote platform offline; investigation in progress"
    fix = Fix(
        "Suspend it, to stop the noise; resuming is one act",
        f"fedtui peers suspend {peer.id} --reason '{reason}'",
        "system.federation_peer_suspend",
        {"peer": peer.id, "reason": reason},
    )
    planned = Fix(
        "Where it is planned, say for how long: nothing is raised meanwhile",
        f"fedtui peers edit {peer.id} --maintenance 8h",
    )
    return Match(f"It has been degraded for {span.days} d {span.seconds // 3600} h.", fixes=(fix, planned))


_OWN = ("worker_not_running", "daemon_not_responding", "port_taken", "node_quarantined")
CAUSES: tuple[Cause, ...] = (
    Cause(
        "clock_skew",
        DEGRADED,
        "peer",
        "medium",
        3,
        "The two machines' clocks differ: certificates seem expired or not yet valid, and ages are wrong.",
        "A very slow network makes a heartbeat look old; looking now tells.",
        "degraded",
        _skewed,
    ),
    Cause(
        "handshake_incomplete",
        STUCK,
        "peer",
        "medium",
        5,
        "The exchange of certificates was not finished, so no heartbeat can prove the peer.",
        "A peer of an older system that sends no request.",
        "stuck-at-accepted",
        _handshake,
    ),
    Cause(
        "outbound_unreachable",
        STUCK,
        "peer",
        "high",
        4,
        "This node cannot reach the peer, so its heartbeats do not arrive there.",
        "A peer that has moved: see its URL.",
        "stuck-at-accepted",
        _kind("unreachable", connections.unreachable, waits),
        _OWN,
    ),
    Cause(
        "outbound_tls_failed",
        STUCK,
        "peer",
        "high",
        4,
        "The peer answers, and TLS with it fails: what it presents is not what this node trusts.",
        "A platform that was set up anew behind the same URL.",
        "mtls-issues",
        _kind("tls", connections.tls, waits),
        (*_OWN, "clock_skew", "wrong_node"),
    ),
    Cause(
        "outbound_rejected",
        STUCK,
        "peer",
        "high",
        4,
        "The peer rejects this node's certificate, or its record of this node does not allow calls.",
        "A peer that has suspended or revoked this node.",
        "unauthorized",
        _kind("rejected", connections.rejected, waits),
        (*_OWN, "key_missing", "key_cert_mismatch"),
    ),
    Cause(
        "remote_unreachable",
        DEGRADED,
        "peer",
        "high",
        4,
        "The peer cannot be reached.",
        "A partition in one direction only: then it still hears this node.",
        "degraded",
        _kind("unreachable", connections.unreachable, lambda case: troubled(case) and not heard_meanwhile(case)),
        _OWN,
    ),
    Cause(
        "remote_tls_failed",
        DEGRADED,
        "peer",
        "high",
        4,
        "The peer answers, and TLS with it fails: its certificate, or the CA it is known by.",
        "A platform that was set up anew behind the same URL.",
        "mtls-issues",
        _kind("tls", connections.tls, troubled),
        (*_OWN, "clock_skew", "wrong_node"),
    ),
    Cause(
        "remote_rejecting_auth",
        DEGRADED,
        "peer",
        "high",
        4,
        "The peer denies this node's calls: for the certificate, or for the state it has this node in.",
        "A proxy in front of it that drops the certificate.",
        "unauthorized",
        _kind("rejected", connections.rejected, troubled),
        (*_OWN, "key_missing", "key_cert_mismatch"),
    ),
    Cause(
        "remote_rate_limited",
        DEGRADED,
        "peer",
        "medium",
        4,
        "The peer answers 429: this node's heartbeats come faster than it allows.",
        "Several daemons that send at once.",
        "degraded",
        _kind("rate", connections.slower, troubled),
        _OWN,
    ),
    Cause(
        "remote_body_refused",
        DEGRADED,
        "peer",
        "high",
        4,
        "The peer answers 413: what this node declares is larger than the peer takes.",
        "A proxy in front of it with a smaller limit.",
        "degraded",
        _kind("size", connections.smaller, troubled),
        _OWN,
    ),
    Cause(
        "body_refused",
        DEGRADED,
        "peer",
        "high",
        4,
        "This node refuses the peer's calls: their bodies are larger or deeper than it takes.",
        "Somebody who uses the peer's certificate to keep this node busy.",
        "degraded",
        _body_refused,
        _OWN,
    ),
    Cause(
        "remote_failing",
        DEGRADED,
        "peer",
        "high",
        4,
        "The peer's machine answers, and with errors.",
        "A restart that takes long.",
        "degraded",
        _errors,
        (*_OWN, "one_way_partition", "clock_skew", "body_refused"),
    ),
    Cause(
        "one_way_partition",
        DEGRADED,
        "peer",
        "high",
        4,
        "One direction works and the other does not: a firewall, a route, or a URL that only one side can use.",
        "A proxy that lets only one of them through.",
        "degraded",
        _one_way,
        (*_OWN, "body_refused"),
    ),
    Cause(
        "recovering",
        DEGRADED,
        "peer",
        "low",
        8,
        "What was wrong is over: the peer can be reached, and its next heartbeat makes it active.",
        "If it stays so for more than two intervals, its heartbeat job does not run.",
        "degraded",
        _recovering,
        (
            *_OWN,
            "remote_failing",
            "silent_peer",
            "clock_skew",
            "key_missing",
            "cert_missing",
            "key_cert_mismatch",
            "vault_unreadable",
        ),
    ),
    Cause(
        "gone_over_24h",
        DEGRADED,
        "peer",
        "medium",
        7,
        "The peer has been degraded for more than a day.",
        "An outage that is planned.",
        "degraded",
        _gone,
        ("recovering",),
    ),
)
