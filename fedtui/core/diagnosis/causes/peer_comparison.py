"""Where the two sides disagree and no failing call says so: the states they have for each other, and their CAs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fedtui.core.diagnosis.causes.connections import ask_them, their_calls
from fedtui.core.diagnosis.causes.observations import how, silent_lately
from fedtui.core.diagnosis.commands import anew
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match
from fedtui.core.peers.peers import MAY_HEARTBEAT
from fedtui.core.pki.x509 import fingerprint

ORDER = ("accepted", "enrolled", "degraded", "active")
"""From not proven to proven: who has the other at an earlier of these waits for its heartbeat."""


def _status(case: CaseContext) -> Match | None:
    said = _disagreements(case).get("status")
    here, view = case.fact("status"), case.fact("view") or {}
    if said is None or here == "degraded":  # why it is degraded has causes of its own
        return None
    there, url = view.get("status"), case.site.url
    if there not in MAY_HEARTBEAT:
        resume = Fix(
            "Have its operator take this node in again there",
            f"fedtui peers resume {url}",
            "system.federation_peer_resume",
            {"peer": url},
            "there",
        )
        return Match(said, fixes=(resume,))
    if ORDER.index(here) < ORDER.index(there):
        return _not_heard_here(case, said, view.get("last_outbound_code"))
    return _not_heard_there(case, said)


def _not_heard_here(case: CaseContext, said: str, code: str | None) -> Match:
    """The peer counts this node's heartbeats, and its own do not arrive here."""
    if code:
        return Match(f"{said} Its calls to this node fail: {how(str(code))}.", fixes=their_calls(case, str(code)))
    send = Fix(
        "Have its operator send this node a heartbeat, which says what holds it back",
        f"fedtui peers heartbeat {case.site.url}",
        where="there",
    )
    return Match(f"{said} None of its heartbeats arrives here.", fixes=(send, *ask_them(case)))


def _not_heard_there(case: CaseContext, said: str) -> Match:
    """This node counts the peer's heartbeats, and its own do not count there."""
    if case.fact("sends_nothing"):
        send = Fix("Send it a heartbeat, which says what holds it back", f"fedtui peers heartbeat {case.subject.id}")
        return Match(f"{said} This node's heartbeats do not go out to it.", fixes=(send,))
    return Match(f"{said} It answers this node's heartbeats, and does not count them.", fixes=ask_them(case))


def _ca(case: CaseContext) -> Match | None:
    found, view = _disagreements(case), case.fact("view") or {}
    named = view.get("last_outbound_code") in ("remote_tls_failed", "remote_unreachable") and silent_lately(case)
    there = "" if named else found.get("own_ca", "")
    here = found.get("its_ca", "")
    if not (there or here):
        return None
    fixes = (*(_trust_there(case) if there else ()), *(_trust_here(case) if here else ()))
    return Match(f"{there} {here}".strip(), fixes=fixes, together=bool(there and here))


def _trust_there(case: CaseContext) -> tuple[Fix, ...]:
    return their_calls(case, "remote_tls_failed")


def _trust_here(case: CaseContext) -> tuple[Fix, ...]:
    """Trust the CA that it has, where it shows it; what it does not show cannot be compared with what it says."""
    pin, probe, peer = str((case.fact("view") or {}).get("ca_fingerprint")), case.fact("probe"), case.fact("peer")
    if probe is not None and any(fingerprint(one) == pin for one in probe.sight.chain):
        return (
            Fix(
                f"Compare the CA's fingerprint with its operators over another channel; if it is {pin}, trust it",
                f"fedtui certs trust {peer.id} --ca-fingerprint {pin}",
                "system.federation_certificate_anchor",
                {"peer": peer.id, "ca_fingerprint": pin},
            ),
        )
    return (
        Fix("Have its operators say which CA is theirs", "fedtui ca show", where="there"),
        *(
            replace(one, title=f"If it is another now. {one.title}")
            for one in anew(peer.id, peer.remote_instance_url, case.site.url, "it has another CA")
        ),
    )


def _disagreements(case: CaseContext) -> Mapping[str, str]:
    found: Mapping[str, str] = case.fact("disagreements", {})
    return found


_OF_NODE = ("worker_not_running", "daemon_not_responding", "port_taken", "job_not_registered", "sweep_overdue")
_OF_PAIRS = ("key_missing", "cert_missing", "key_cert_mismatch", "vault_unreadable")
_OF_CALLS = (
    "clock_skew",
    "handshake_incomplete",
    "outbound_unreachable",
    "outbound_tls_failed",
    "outbound_rejected",
    "remote_unreachable",
    "remote_tls_failed",
    "remote_rejecting_auth",
    "remote_rate_limited",
    "remote_failing",
    "one_way_partition",
    "recovering",
    "silent_peer",
    "ended_there",
    "term_ended",
    "wrong_node",
)
CAUSES: tuple[Cause, ...] = (
    Cause(
        "ca_disagrees",
        "degraded",
        "peer",
        "high",
        5,
        "One side knows the other by another CA than it has. Calls work until the next certificate, then no more.",
        "A CA that was renewed, or a platform set up anew behind the same URL.",
        "mtls-issues",
        _ca,
        also=("stuck_accepted", "partial_mtls"),
    ),
    Cause(
        "status_disagrees",
        "stuck_accepted",
        "peer",
        "medium",
        6,
        "The two sides have different states for each other, and no heartbeat brings them together.",
        "A database restored, here or there, from before.",
        "stuck-at-accepted",
        _status,
        (*_OF_NODE, *_OF_PAIRS, *_OF_CALLS, "ca_disagrees"),
        also=("degraded",),
    ),
)
