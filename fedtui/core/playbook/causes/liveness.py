"""Peers that do not become, or do not stay, active: the network, and the other side."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fedtui.core.playbook.causes import access
from fedtui.core.playbook.checks.limits import SKEW_LIMIT
from fedtui.core.playbook.model import Case, Cause, Fix, Sense
from fedtui.core.trust.x509_reading import fingerprint, is_ca

STUCK, DEGRADED = "stuck_accepted", "degraded"
UNREACHABLE = ("remote_dns", "remote_refused", "remote_timeout", "remote_disconnected")
NETWORK_FAULTS = ("dns", "refused", "timeout", "unreachable", "disconnected")
TLS_FAULTS = ("not_tls", "protocol_mismatch", "expired", "not_yet_valid", "name_mismatch", "wrong_purpose",
              "unknown_ca", "self_signed", "revoked", "no_certificate", "unreadable")  # fmt: skip
CLOCK_FAULTS = {"expired", "not_yet_valid"}
TURNED_AWAY = tuple(one.code for one in access.CAUSES if one.code.startswith(("cert_", "trust_", "peer_")))
"""Why this node turns a peer's heartbeats away; that one is the root then, and no partition."""
NOT_OUR_API = ("sweep_endpoint_failing", "sweep_endpoint_missing")
"""What answers at this node's URL is not this node's API, or fails: so it does to the peer."""
EXPLAINED_HERE = {
    "remote_rejecting_auth": TURNED_AWAY,
    "remote_failing": NOT_OUR_API,
    "remote_rejecting": NOT_OUR_API,
    "remote_body_refused": ("body_refused",),
}
"""Causes that explain how a peer's calls to this node fail."""
A_DAY = timedelta(days=1)
WAITS = ("accepted", "enrolled")


def _failing(case: Case) -> str:
    """What kind of failure stands between this node and the peer: by looking now, else by what is on record."""
    faults = case.fact("faults")
    if faults:
        if "own_certificate_rejected" in faults:
            return "rejected"
        if any(one in TLS_FAULTS for one in faults):
            return "tls"
        return "unreachable" if any(one in NETWORK_FAULTS for one in faults) else ""
    recorded = case.fact("error_code", "")
    if recorded == "remote_rate_limited":
        return "rate"
    if recorded == "remote_body_refused":
        return "size"
    if recorded == "remote_failing" or case.fact("view_code") == "remote_failing":
        return "failing"
    return "rejected" if case.fact("view_code") == "remote_rejecting_auth" else ""


def _words(case: Case) -> str:
    outcome = case.outcomes.get("probe")
    view = case.outcomes.get("their_view")
    if outcome is not None and outcome.state == "bad":
        return outcome.said
    return view.said if view is not None and view.state == "bad" else str(case.fact("error") or "")


def _waits(case: Case) -> bool:
    return case.fact("status") in WAITS and case.fact("peer").peer_kind == "platform"


def _troubled(case: Case) -> bool:
    """Whether the peer is degraded, or active while calls to it fail; not in planned maintenance."""
    failing = case.fact("status") == "active" and (bool(case.fact("error")) or bool(_failing(case)))
    return (case.fact("status") == "degraded" or failing) and not case.fact("in_maintenance")


def _unreachable_fix(case: Case) -> tuple[Fix, ...]:
    faults = case.fact("faults") or ()
    if "dns" in faults:
        return _moved(case)
    if "refused" in faults:
        return (Fix("Have its operator start its daemon; its next heartbeat does the rest", "fedtui serve",
                    where="there"),)  # fmt: skip
    return (Fix("Mend the way to it with its operators: a firewall or a route, here, there or between, or a machine "
                "that is down", where="there"),)  # fmt: skip


def _moved(case: Case) -> tuple[Fix, ...]:
    """Its name is gone. Where it is now it may have said itself; that it is so, its operators are to say."""
    peer, edit = case.fact("peer"), f"fedtui peers edit {case.subject.id} --url"
    by_hand = Fix("Mend its name, or move the peer to the URL it has now", f"{edit} https://HOST:PORT")
    said = (one.get("url") for one in peer.endpoints or ())
    urls = (url.rstrip("/") for url in said if isinstance(url, str))
    declared = next((url for url in urls if url != peer.remote_instance_url), None)
    if declared is None:
        return (by_hand,)
    move = Fix(f"Ask its operators whether it has moved to {declared}, which it declares itself; then move it there",
               f"{edit} {declared}", "system.federation_peer_edit", {"peer": peer.id, "url": declared})  # fmt: skip
    return move, by_hand


def _tls_fix(case: Case) -> tuple[Fix, ...]:
    faults, peer = case.fact("faults") or (), case.fact("peer")
    shown = case.fact("shown_ca")
    if any(one in faults for one in ("unknown_ca", "self_signed")) and shown is not None and is_ca(shown):
        pin = fingerprint(shown)
        return (
            Fix(
                f"Compare the CA's fingerprint with its operators over another channel; if it is {pin}, trust it",
                f"fedtui certs trust {peer.id} --ca-fingerprint {pin}",
                "system.federation_certificate_anchor",
                {"peer": peer.id, "ca_fingerprint": pin},
            ),
        )
    probe = case.fact("probe")
    words = probe.faults[0].fix if probe is not None and probe.faults else "Compare certificates on both sides."
    return (Fix(words, f"fedtui certs probe {peer.id}", where="there"),)


def _rejected_fix(case: Case) -> tuple[Fix, ...]:
    peer = case.fact("peer")
    if "state" in _words(case):
        return (Fix("Have its operator resume this node there", f"fedtui peers resume {case.site.url}",
                    "system.federation_peer_resume", {"peer": case.site.url}, "there"),)  # fmt: skip
    return (
        Fix("Have its operator sign this node another certificate, which is delivered by itself",
            f"fedtui certs issue {case.site.url}", "system.federation_certificate_mint",
            {"peer": case.site.url}, "there"),
        Fix("Peer from scratch: revoke it, and propose it anew",
            f"fedtui peers revoke {peer.id} --reason 'it turns this node away; peering anew'"),
    )  # fmt: skip


def _kind(
    kind: str, fixes: Callable[[Case], tuple[Fix, ...]], when: Callable[[Case], bool]
) -> Callable[[Case], Sense | None]:
    def holds(case: Case) -> Sense | None:
        return Sense(_words(case), fixes=fixes(case)) if when(case) and _failing(case) == kind else None

    return holds


def _handshake(case: Case) -> Sense | None:
    if not _waits(case) or _failing(case):
        return None
    peer = case.fact("peer")
    if peer.enroll_owed and case.fact("delivery_paused"):
        resume = Fix(
            "Resume the SDWAN Manager, which delivers it", "fedtui manager resume", "system.manager_resume", {}
        )
        return Sense("What this node signed is not delivered to it: the SDWAN Manager is paused.", fixes=(resume,))
    if peer.enroll_owed:
        tick = Fix("Let the SDWAN Manager finish it now", "fedtui manager tick")
        return Sense("What this node signed has not been delivered to it.", fixes=(tick,))
    if case.fact("pair_state") == "none":
        fix = Fix("Revoke it and propose it anew", f"fedtui peers revoke {peer.id} --reason 'peering anew'")
        return Sense("Certificates were never exchanged: accept came without a request, or without a CA.", fixes=(fix,))
    return None


def _skewed(case: Case) -> Sense | None:
    now, recorded = case.fact("skew_now"), case.fact("skew")
    skew = now if now is not None else recorded
    if skew is None or abs(skew) <= SKEW_LIMIT:
        return None
    ahead = "ahead of" if skew > 0 else "behind"
    fix = Fix("See with its operators which of the clocks is wrong, and set that right (NTP); it needs no more",
              "timedatectl status", where="there")  # fmt: skip
    evidence = (case.seen("its clock less ours, in seconds", round(skew, 1), "heartbeat and diagnosis"),)
    return Sense(f"Its clock is {abs(skew):.0f} s {ahead} this node's.", evidence, (fix,))


def _still_heard(case: Case) -> bool:
    """Whether an active peer's own heartbeats go on coming."""
    age = case.fact("heartbeat_age")
    recent = age is None or age <= 2 * case.site.settings.heartbeat_interval
    return case.fact("status") == "active" and recent


def _one_way(case: Case) -> Sense | None:
    code = (case.fact("view") or {}).get("last_outbound_code")
    if code and silent_lately(case):
        said = f"This node reaches it; its own calls to this node fail: {code}."
        return Sense(said, fixes=their_calls(case, str(code)), after=EXPLAINED_HERE.get(str(code), ()))
    if not _troubled(case):
        return None
    if _still_heard(case) and _failing(case) == "unreachable":
        return Sense(
            f"It reaches this node, and this node does not reach it. {_words(case)}", fixes=_unreachable_fix(case)
        )
    return None


def silent_lately(case: Case) -> bool:
    """Whether a peer is degraded, or active and about to be: it should have been heard of."""
    about_to_be = case.fact("status") == "active" and not _still_heard(case)
    return (case.fact("status") == "degraded" or about_to_be) and not case.fact("in_maintenance")


def their_calls(case: Case, code: str) -> tuple[Fix, ...]:
    """What helps where the peer's calls to this node fail, by how they fail."""
    url = case.site.url
    if code == "remote_tls_failed":
        pin = case.fact("own_ca", "")
        trust = f"fedtui certs trust {url} --ca-fingerprint {pin}"
        return (
            Fix("Have its operator compare this node's CA fingerprint with yours, and trust it", trust,
                "system.federation_certificate_anchor", {"peer": url, "ca_fingerprint": pin}, "there"),
        )  # fmt: skip
    if code in UNREACHABLE:
        return (Fix("Have its operators see why they do not reach this node's URL", f"fedtui certs probe {url}",
                    where="there"),)  # fmt: skip
    if code in ("remote_failing", "remote_rejecting"):
        return (Fix("See what answers at this node's URL: its daemon, or a proxy before it, and the log of either",
                    f"fedtui certs probe {url}"),)  # fmt: skip
    return (Fix("See why its calls are turned away here",
                f"fedtui doctor unauthorized_with_grant --peer {case.subject.id}"),)  # fmt: skip


def _silent(case: Case) -> Sense | None:
    """It answers, says that nothing is wrong with its calls, and makes none."""
    view = case.fact("view")
    stale = case.site.settings.stale_after
    if _kind("failing", ask_them, _troubled)(case) is not None:
        return Sense(_words(case), fixes=ask_them(case))
    if not _troubled(case) or case.fact("status") != "degraded" or view is None or view.get("last_outbound_code"):
        return None
    age = case.fact("heartbeat_age")
    if age is not None and age > 2 * stale:
        return Sense("It answers, and sends no heartbeats.", fixes=ask_them(case))
    return None


def ask_them(case: Case) -> tuple[Fix, ...]:
    """What only the peer's own operators can see."""
    return (Fix("Have its operators run the playbook there", f"fedtui doctor --peer {case.site.url}", where="there"),)


def _slower(case: Case) -> tuple[Fix, ...]:
    limit = "Have them raise their limit (heartbeats_per_minute in their config.toml)"
    less = f"Send less often: heartbeat_interval in {case.site.settings.config_file}, then start the daemon again"
    return Fix(limit, where="there"), Fix(less, "fedtui serve")


def _smaller(case: Case) -> tuple[Fix, ...]:
    less = f"Declare less: extension_slugs in {case.site.settings.config_file}, then start the daemon again"
    more = "Have its operators raise message_body_bytes in their config.toml"
    return Fix(less, "fedtui serve"), Fix(more, where="there")


def _body_refused(case: Case) -> Sense | None:
    """Its last heartbeats were refused here for their size or depth, and none was taken since."""
    refused = case.fact("body_refused")
    if not refused or not _troubled(case):
        return None
    less = "Have its operators declare less (capabilities, extension_slugs)"
    more = f"Or take more: message_body_bytes in {case.site.settings.config_file}, then start the daemon again"
    fixes = (Fix(less, where="there"), Fix(more, "fedtui serve"))
    return Sense(f"This node refuses its calls: {refused}.", fixes=fixes)


def _recovering(case: Case) -> Sense | None:
    if case.fact("status") != "degraded" or not _troubled(case) or _failing(case) or case.fact("faults") is None:
        return None
    if (case.fact("view") or {}).get("last_outbound_code"):
        return None
    peer = case.fact("peer")
    fix = Fix(
        "Nothing: its next heartbeat makes it active. To see at once, send it one", f"fedtui peers heartbeat {peer.id}"
    )
    return Sense("It can be reached again, and takes this node's certificate.", fixes=(fix,))


def _gone(case: Case) -> Sense | None:
    span = case.fact("degraded_for")
    if not _troubled(case) or span is None or span < A_DAY:
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
    return Sense(f"It has been degraded for {span.days} d {span.seconds // 3600} h.", fixes=(fix, planned))


_OWN = ("worker_not_running", "node_quarantined")
CAUSES: tuple[Cause, ...] = (
    Cause("clock_skew", DEGRADED, "peer", "medium", 3,
          "The two machines' clocks differ: certificates seem expired or not yet valid, and ages are wrong.",
          "A very slow network makes a heartbeat look old; looking now tells.", "degraded", _skewed),
    Cause("handshake_incomplete", STUCK, "peer", "medium", 5,
          "The exchange of certificates was not finished, so no heartbeat can prove the peer.",
          "A peer of an older system that sends no request.", "stuck-at-accepted", _handshake),
    Cause("outbound_unreachable", STUCK, "peer", "high", 4,
          "This node cannot reach the peer, so its heartbeats do not arrive there.",
          "A peer that has moved: see its URL.", "stuck-at-accepted",
          _kind("unreachable", _unreachable_fix, _waits), _OWN),
    Cause("outbound_tls_failed", STUCK, "peer", "high", 4,
          "The peer answers, and TLS with it fails: what it presents is not what this node trusts.",
          "Something else that answers at its address.", "mtls-issues", _kind("tls", _tls_fix, _waits),
          (*_OWN, "clock_skew")),
    Cause("outbound_rejected", STUCK, "peer", "high", 4,
          "The peer turns this node's certificate away.",
          "A peer that has suspended or revoked this node.", "unauthorized", _kind("rejected", _rejected_fix, _waits),
          (*_OWN, "key_missing", "key_cert_mismatch")),
    Cause("remote_unreachable", DEGRADED, "peer", "high", 4,
          "The peer cannot be reached: its name does not resolve, nothing listens, or nothing comes back.",
          "A partition in one direction only: then it still hears this node.", "degraded",
          _kind("unreachable", _unreachable_fix, lambda case: _troubled(case) and not _still_heard(case)),
          _OWN),
    Cause("remote_tls_failed", DEGRADED, "peer", "high", 4,
          "The peer answers, and TLS with it fails: its certificate, or the CA it is known by.",
          "Something else that answers at its address.", "mtls-issues", _kind("tls", _tls_fix, _troubled),
          (*_OWN, "clock_skew")),
    Cause("remote_rejecting_auth", DEGRADED, "peer", "high", 4,
          "The peer turns this node's certificate away, or its state does not allow calls.",
          "A proxy in front of it that drops the certificate.", "unauthorized",
          _kind("rejected", _rejected_fix, _troubled), (*_OWN, "key_missing", "key_cert_mismatch")),
    Cause("remote_rate_limited", DEGRADED, "peer", "medium", 4,
          "The peer answers 429: this node's heartbeats come faster than it allows.",
          "Several daemons that send at once.", "degraded",
          _kind("rate", _slower, _troubled), _OWN),
    Cause("remote_body_refused", DEGRADED, "peer", "high", 4,
          "The peer answers 413: what this node declares is larger than the peer takes.",
          "A proxy in front of it with a smaller limit.", "degraded",
          _kind("size", _smaller, _troubled), _OWN),
    Cause("body_refused", DEGRADED, "peer", "high", 4,
          "This node refuses the peer's calls: their bodies are larger or deeper than it takes.",
          "Somebody who uses the peer's certificate to keep this node busy.", "degraded", _body_refused, _OWN),
    Cause("remote_failing", DEGRADED, "peer", "high", 4,
          "The peer's machine answers and its federation does not do its part: errors, or no heartbeats of its own.",
          "A restart that takes long.", "degraded", _silent,
          (*_OWN, "one_way_partition", "clock_skew", "body_refused")),
    Cause("one_way_partition", DEGRADED, "peer", "high", 4,
          "One direction works and the other does not: a firewall, a route, or a URL that only one side can use.",
          "A proxy that lets only one of them through.", "degraded", _one_way, (*_OWN, "body_refused")),
    Cause("recovering", DEGRADED, "peer", "low", 8,
          "What was wrong is over: the peer can be reached, and its next heartbeat makes it active.",
          "If it stays so for more than two intervals, its heartbeat job does not run.", "degraded", _recovering,
          (*_OWN, "remote_failing", "clock_skew", "key_missing", "cert_missing", "key_cert_mismatch",
           "vault_unreadable")),
    Cause("gone_over_24h", DEGRADED, "peer", "medium", 7,
          "The peer has been degraded for more than a day.",
          "An outage that is planned.", "degraded", _gone, ("recovering",)),
)  # fmt: skip
