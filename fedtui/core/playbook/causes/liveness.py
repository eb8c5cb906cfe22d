"""Peers that do not become, or do not stay, active: the network, and the other side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from fedtui.core.peering.peers import ENDED_THERE, TERM_ENDED
from fedtui.core.playbook.causes import access
from fedtui.core.playbook.checks.limits import SKEW_LIMIT
from fedtui.core.playbook.commands import HOW, anew
from fedtui.core.playbook.model import Case, Cause, Fix, Sense, in_words, sentence, without_code
from fedtui.core.trust.x509_reading import fingerprint, is_ca

STUCK, DEGRADED = "stuck_accepted", "degraded"
UNREACHABLE = ("remote_dns", "remote_refused", "remote_timeout", "remote_disconnected")
NETWORK_FAULTS = ("dns", "refused", "timeout", "silent", "unreachable", "disconnected")
TLS_FAULTS = ("not_tls", "protocol_mismatch", "expired", "not_yet_valid", "name_mismatch", "wrong_purpose",
              "unknown_ca", "self_signed", "revoked", "no_certificate", "unreadable", "handshake_failed")  # fmt: skip
NOT_ITS_CA = {"unknown_ca", "self_signed"}
CLOCK_FAULTS = {"expired", "not_yet_valid"}
TURNED_AWAY = tuple(one.code for one in access.CAUSES if one.code.startswith(("cert_", "trust_", "peer_")))
"""Why this node turns a peer's heartbeats away; that one is the root then, and no partition."""
NOT_OUR_API = ("sweep_endpoint_failing", "sweep_endpoint_missing")
"""What answers at this node's URL is not this node's API, or fails: so it does to the peer."""
EXPLAINED_HERE = {
    "remote_rejecting_auth": TURNED_AWAY,
    "remote_disconnected": TURNED_AWAY,
    "remote_tls_failed": TURNED_AWAY,
    "remote_failing": NOT_OUR_API,
    "remote_rejecting": NOT_OUR_API,
}
"""Causes that explain how a peer's calls to this node fail."""
A_DAY = timedelta(days=1)
SKEW = timedelta(seconds=SKEW_LIMIT)
WAITS = ("accepted", "enrolled")


def failing(case: Case) -> str:
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
    if recorded == "remote_failing" or case.fact("view_code") == "remote_failing":
        return "failing"
    return "rejected" if case.fact("view_code") == "remote_rejecting_auth" else ""


def _words(case: Case) -> str:
    outcome = case.outcomes.get("probe")
    view = case.outcomes.get("their_view")
    if outcome is not None and outcome.state == "bad":
        return outcome.said
    return view.said if view is not None and view.state == "bad" else without_code(str(case.fact("error") or ""))


def waits(case: Case) -> bool:
    return case.fact("status") in WAITS and case.fact("peer").peer_kind == "platform"


def _troubled(case: Case) -> bool:
    """Whether the peer is degraded, or active while calls to it fail; not in planned maintenance."""
    fails = case.fact("status") == "active" and (bool(case.fact("error")) or bool(failing(case)))
    return (case.fact("status") == "degraded" or fails) and not case.fact("in_maintenance")


def _unreachable_fix(case: Case) -> tuple[Fix, ...]:
    faults = case.fact("faults") or ()
    if "dns" in faults:
        return _moved(case)
    if "silent" in faults:
        return (Fix("Have its operator end the process that holds its port and does not answer, then start its daemon",
                    "fedtui doctor", where="there"),)  # fmt: skip
    if "refused" in faults and _heard_meanwhile(case):
        return (Fix("Its daemon runs, as its heartbeats arrive. Ask its operators where it listens, and mend its URL, "
                    "its firewall or its port forwarding", "fedtui config", where="there"),)  # fmt: skip
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
    if NOT_ITS_CA.intersection(faults) and shown is not None and is_ca(shown):
        pin = fingerprint(shown)
        said = "its own heartbeats name that CA; " if pin == case.fact("declared_ca") else ""
        trust = Fix(
            f"Compare the CA's fingerprint with its operators over another channel ({said}if it is {pin}, trust it)",
            f"fedtui certs trust {peer.id} --ca-fingerprint {pin}",
            "system.federation_certificate_anchor",
            {"peer": peer.id, "ca_fingerprint": pin},
        )
        if said or _heard_lately(case):
            return (trust,)
        # A platform that was set up anew knows nothing of this peering, whatever CA it is known by.
        again = anew(peer.id, peer.remote_instance_url, case.site.url, "it was set up anew")
        return (trust, *(replace(one, title=f"Where it was set up anew. {one.title}") for one in again))
    probe = case.fact("probe")
    words = probe.faults[0].fix if probe is not None and probe.faults else "Compare certificates on both sides."
    return (Fix(words.rstrip("."), f"fedtui certs probe {peer.remote_instance_url}", where="there"),)


def _rejected_fix(case: Case) -> tuple[Fix, ...]:
    peer = case.fact("peer")
    if "state" in _words(case):
        return (Fix("Have its operator resume this node there", f"fedtui peers resume {case.site.url}",
                    "system.federation_peer_resume", {"peer": case.site.url}, "there"),)  # fmt: skip
    return (
        Fix("1 of 2: make a new request, which it is offered in answer to its heartbeats",
            f"fedtui certs csr {peer.id}"),
        Fix("2 of 2: have its operator sign that, and it is delivered by itself",
            f"fedtui certs issue {case.site.url}", "system.federation_certificate_mint",
            {"peer": case.site.url}, "there"),
        *anew(peer.id, peer.remote_instance_url, case.site.url, "it turns this node away"),
    )  # fmt: skip


def _kind(
    kind: str, fixes: Callable[[Case], tuple[Fix, ...]], when: Callable[[Case], bool]
) -> Callable[[Case], Sense | None]:
    def holds(case: Case) -> Sense | None:
        if not when(case) or failing(case) != kind:
            return None
        ended = case.fact("own_certificate_ended")
        own = f"The certificate that this node presents to it ran out at {in_words(ended)}. " if ended else ""
        return Sense(f"{own if kind in ('rejected', 'unreachable') else ''}{_words(case)}", fixes=fixes(case))

    return holds


def _handshake(case: Case) -> Sense | None:
    if not waits(case) or failing(case):
        return None
    peer = case.fact("peer")
    if peer.enroll_owed and case.fact("delivery_paused"):
        resume = Fix(
            "Resume the SDWAN Manager, which delivers it", "fedtui manager resume", "system.manager_resume", {}
        )
        return Sense("What this node signed is not delivered to it: the SDWAN Manager is paused.", fixes=(resume,))
    if peer.enroll_owed and case.fact("delivery_error"):
        return _undelivered(case, str(case.fact("delivery_error")))
    if peer.enroll_owed:
        tick = Fix("Let the SDWAN Manager finish it now", "fedtui manager tick")
        return Sense("What this node signed has not been delivered to it.", fixes=(tick,))
    if case.fact("pair_state") == "none":
        fixes = anew(peer.id, peer.remote_instance_url, case.site.url, "no certificates were exchanged")
        return Sense("Certificates were never exchanged: accept came without a request, or without a CA.", fixes=fixes,
                     together=True)  # fmt: skip
    return None


def _undelivered(case: Case, error: str) -> Sense:
    """What this node signed was sent to the peer, and not taken."""
    peer, code = case.fact("peer"), error.partition(":")[0]
    said = f"What this node signed for it was sent, and not taken. {sentence(without_code(error))}"
    if code == "remote_rejecting":
        sign = Fix("Sign the key that it has now, as it says, and deliver that", f"fedtui certs issue {peer.id}",
                   "system.federation_certificate_mint", {"peer": peer.id})  # fmt: skip
        return Sense(f"{said} It has another key by now.", fixes=(sign,))
    if code == "remote_rejecting_auth":
        proxy = Fix("Have its operators look at a proxy in front of their node, which may refuse the call before the "
                    "node sees it; the node's own refusals stand in its record", "fedtui decisions list",
                    where="there")  # fmt: skip
        return Sense(said, fixes=(proxy,))
    return Sense(said, fixes=(Fix("Let the SDWAN Manager deliver it now", "fedtui manager tick"),))


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


def still_heard(case: Case) -> bool:
    """Whether an active peer's own heartbeats go on coming."""
    age = case.fact("heartbeat_age")
    # A heartbeat that is dated in the future came before the clock was set back: its age is not known.
    recent = age is None or -SKEW <= age <= 2 * case.site.settings.heartbeat_interval
    return case.fact("status") == "active" and recent


def _heard_meanwhile(case: Case) -> bool:
    """Whether the peer's heartbeats go on arriving although calls to it fail: since they fail, not from before."""
    since = case.fact("heard_since_failing")
    return still_heard(case) and since is not False


def _heard_lately(case: Case) -> bool:
    age = case.fact("heartbeat_age")
    return age is not None and age <= 2 * case.site.settings.heartbeat_interval


def how(code: str) -> str:
    """How the peer's calls to this node fail, in words."""
    return HOW.get(code, "it does not say how")


def _one_way(case: Case) -> Sense | None:
    code = (case.fact("view") or {}).get("last_outbound_code")
    if code and silent_lately(case):
        said = f"This node reaches it; its own calls to this node fail: {how(str(code))}."
        return Sense(said, fixes=their_calls(case, str(code)), after=EXPLAINED_HERE.get(str(code), ()))
    if not _troubled(case):
        return None
    if _heard_meanwhile(case) and failing(case) == "unreachable":
        return Sense(
            f"It reaches this node, and this node does not reach it. {_words(case)}", fixes=_unreachable_fix(case)
        )
    return None


def silent_lately(case: Case) -> bool:
    """Whether a peer is degraded, or active and about to be: it should have been heard of."""
    about_to_be = case.fact("status") == "active" and not still_heard(case)
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
    if code == "remote_rate_limited":
        rate, file = case.site.settings.heartbeats_per_minute, case.site.settings.config_file
        return (
            Fix(f"Raise heartbeats_per_minute in {file}, which is {rate}, then start the daemon again", "fedtui serve"),
            Fix("Or have its operator send less often (heartbeat_interval), with one daemon alone", where="there"),
        )
    if code in ("remote_failing", "remote_rejecting"):
        return (Fix("See what answers at this node's URL: its daemon, or a proxy before it, and the log of either",
                    f"fedtui certs probe {url}"),)  # fmt: skip
    return (Fix("See why its calls are turned away here",
                f"fedtui doctor unauthorized_with_grant --peer {case.subject.id}"),)  # fmt: skip


def _errors(case: Case) -> Sense | None:
    """It answers with errors."""
    return _kind("failing", ask_them, _troubled)(case)


def ask_them(case: Case) -> tuple[Fix, ...]:
    """What only the peer's own operators can see."""
    return (Fix("Have its operators run the playbook there", f"fedtui doctor --peer {case.site.url}", where="there"),)


def _slower(case: Case) -> tuple[Fix, ...]:
    limit = "Have them raise their limit (heartbeats_per_minute in their config.toml)"
    less = f"Send less often: heartbeat_interval in {case.site.settings.config_file}, then start the daemon again"
    return Fix(limit, where="there"), Fix(less, "fedtui serve")


def _recovering(case: Case) -> Sense | None:
    if case.fact("status") != "degraded" or not _troubled(case) or failing(case) or case.fact("faults") is None:
        return None
    if (case.fact("view") or {}).get("last_outbound_code") or not just_back(case):
        return None
    peer = case.fact("peer")
    fix = Fix(
        "Nothing: its next heartbeat makes it active. To see at once, send it one", f"fedtui peers heartbeat {peer.id}"
    )
    return Sense("It can be reached again, and takes this node's certificate.", fixes=(fix,))


def just_back(case: Case) -> bool:
    """Whether calls to the peer worked again only lately, so that its next heartbeat may not have been due yet."""
    if case.fact("error"):
        return True  # by the last call on record it still fails: that it can be reached was seen just now
    since = case.fact("reached_since")
    return since is not None and case.now - since <= 2 * case.site.settings.heartbeat_interval


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


_OWN = ("worker_not_running", "daemon_not_responding", "port_taken", "node_quarantined")
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
          _kind("unreachable", _unreachable_fix, waits), _OWN),
    Cause("outbound_tls_failed", STUCK, "peer", "high", 4,
          "The peer answers, and TLS with it fails: what it presents is not what this node trusts.",
          "A platform that was set up anew behind the same URL.", "mtls-issues", _kind("tls", _tls_fix, waits),
          (*_OWN, "clock_skew", "wrong_node")),
    Cause("outbound_rejected", STUCK, "peer", "high", 4,
          "The peer rejects this node's certificate, or its record of this node does not allow calls.",
          "A peer that has suspended or revoked this node.", "unauthorized", _kind("rejected", _rejected_fix, waits),
          (*_OWN, "key_missing", "key_cert_mismatch")),
    Cause("remote_unreachable", DEGRADED, "peer", "high", 4,
          "The peer cannot be reached.",
          "A partition in one direction only: then it still hears this node.", "degraded",
          _kind("unreachable", _unreachable_fix, lambda case: _troubled(case) and not _heard_meanwhile(case)),
          _OWN),
    Cause("remote_tls_failed", DEGRADED, "peer", "high", 4,
          "The peer answers, and TLS with it fails: its certificate, or the CA it is known by.",
          "A platform that was set up anew behind the same URL.", "mtls-issues", _kind("tls", _tls_fix, _troubled),
          (*_OWN, "clock_skew", "wrong_node")),
    Cause("remote_rejecting_auth", DEGRADED, "peer", "high", 4,
          "The peer denies this node's calls: for the certificate, or for the state it has this node in.",
          "A proxy in front of it that drops the certificate.", "unauthorized",
          _kind("rejected", _rejected_fix, _troubled), (*_OWN, "key_missing", "key_cert_mismatch")),
    Cause("remote_rate_limited", DEGRADED, "peer", "medium", 4,
          "The peer answers 429: this node's heartbeats come faster than it allows.",
          "Several daemons that send at once.", "degraded",
          _kind("rate", _slower, _troubled), _OWN),
    Cause("remote_failing", DEGRADED, "peer", "high", 4,
          "The peer's machine answers, and with errors.",
          "A restart that takes long.", "degraded", _errors, (*_OWN, "one_way_partition", "clock_skew")),
    Cause("one_way_partition", DEGRADED, "peer", "high", 4,
          "One direction works and the other does not: a firewall, a route, or a URL that only one side can use.",
          "A proxy that lets only one of them through.", "degraded", _one_way, _OWN),
    Cause("recovering", DEGRADED, "peer", "low", 8,
          "What was wrong is over: the peer can be reached, and its next heartbeat makes it active.",
          "If it stays so for more than two intervals, its heartbeat job does not run.", "degraded", _recovering,
          (*_OWN, "remote_failing", "silent_peer", "clock_skew", "key_missing", "cert_missing", "key_cert_mismatch",
           "vault_unreadable")),
    Cause("gone_over_24h", DEGRADED, "peer", "medium", 7,
          "The peer has been degraded for more than a day.",
          "An outage that is planned.", "degraded", _gone, ("recovering",)),
)  # fmt: skip
