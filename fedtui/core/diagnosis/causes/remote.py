"""What the other side did, or is: it sends nothing, it has ended the peering, or it is another node than the peer."""

from __future__ import annotations

from fedtui.core.diagnosis.causes import connections, observations
from fedtui.core.diagnosis.causes.observations import DEGRADED, STUCK
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match, in_words
from fedtui.core.peers.peers import ENDED_THERE, MAY_HEARTBEAT, TERM_ENDED, term_end
from fedtui.core.pki.x509 import fingerprint
from fedtui.core.runtime.durations import show

INTERVALS = 2
"""So many intervals of heartbeats may pass before a peer that sends none is told of."""


def _reached(case: CaseContext) -> bool:
    """Whether this node's calls to the peer work, and nothing that it says explains why it sends none."""
    peer, view = case.fact("peer"), case.fact("view") or {}
    works = not case.fact("error") and not case.fact("broken") and not observations.failing(case)
    return bool(works and peer.last_outbound_at is not None and not view.get("last_outbound_code"))


def _never_heard(case: CaseContext) -> Match | None:
    waits = case.fact("waiting_for")
    if not observations.waits(case) or waits is None or not _reached(case):
        return None
    peer = case.fact("peer")
    handshake = peer.enroll_owed or case.fact("pair_state") == "none" or case.fact("request_waits")
    if handshake or waits <= INTERVALS * case.site.settings.heartbeat_interval:
        return None
    before = f" Its last one came at {in_words(peer.last_heartbeat_at)}, before that." if peer.last_heartbeat_at else ""
    said = f"It takes this node's heartbeats, and has sent none of its own for {show(waits)}.{before}"
    return Match(said, fixes=_send(case))


def _silent(case: CaseContext) -> Match | None:
    if case.fact("status") != "degraded" or case.fact("in_maintenance") or not _reached(case):
        return None
    if case.fact("faults") is None or case.fact("view") is None or observations.just_back(case):
        return None
    age = case.fact("heartbeat_age")
    last = f"its last one came {show(age)} ago" if age is not None else "none ever came"
    return Match(f"It answers this node's calls, and sends no heartbeats of its own: {last}.", fixes=_send(case))


def _send(case: CaseContext) -> tuple[Fix, ...]:
    url = case.site.url
    return (
        Fix(
            "Have its operators send this node a heartbeat, which says what holds it back",
            f"fedtui peers heartbeat {url}",
            where="there",
        ),
        *connections.ask_them(case),
    )


def _ended(case: CaseContext) -> Match | None:
    if observations.failing(case) != ENDED_THERE or case.fact("status") not in MAY_HEARTBEAT:
        return None
    peer = case.fact("peer")
    reason = "ended there"
    fixes = (
        Fix(
            "Ask its operators whether that was meant. If it was, end the peering here too",
            f"fedtui peers revoke {peer.id} --reason '{reason}'",
            "system.federation_peer_revoke",
            {"peer": peer.id, "reason": reason},
        ),
        Fix(
            "Where it is to go on: once it is revoked here, accept a new invite of theirs",
            "fedtui peers accept --invite -",
        ),
    )
    said = f"{peer.remote_instance_url} answers that its operators have ended the peering with this node."
    return Match(said, fixes=fixes)


def _term(case: CaseContext) -> Match | None:
    peer, status = case.fact("peer"), case.fact("status")
    if status not in MAY_HEARTBEAT:
        return None
    end = term_end(peer.expires_at, peer.term_grace_until)
    over = end is not None and end <= case.now
    if not over and observations.failing(case) != TERM_ENDED:
        return None
    when = f"The agreed term ended at {in_words(end)} here." if over else "It answers that the term is over."
    fixes = (
        Fix(
            "Agree on another term with its operators, then extend it here",
            f"fedtui peers edit {peer.id} --expires 365d",
            "system.federation_peer_edit",
            {"peer": peer.id, "expires": "365d"},
        ),
        Fix(
            "Have its operators extend it there, too",
            f"fedtui peers edit {case.site.url} --expires 365d",
            where="there",
        ),
    )
    return Match(when, fixes=fixes, together=True)


def _wrong_node(case: CaseContext) -> Match | None:
    """Another CA answers than the one that the peer's own heartbeats, which go on arriving, say it is known by."""
    shown, declared = case.fact("shown_ca"), case.fact("declared_ca")
    if observations.failing(case) != "tls" or not observations.NOT_ITS_CA.intersection(case.fact("faults") or ()):
        return None
    since = case.fact("heard_since_failing")
    heard = since or (since is None and observations.still_heard(case))
    pin = fingerprint(shown) if shown is not None else "none"
    if not heard or declared is None or declared == pin or declared not in case.fact("known_cas", ()):
        return None
    peer = case.fact("peer")
    said = (
        f"What answers at {peer.remote_instance_url} shows the CA {pin}. The peer itself, whose heartbeats go on "
        f"arriving, says that it has the CA {declared}, by which it is known here."
    )
    fixes = (
        Fix(
            "Do not trust the CA that is shown. See where the peer's name leads from this machine: its addresses, a "
            "port forwarding, or a copy of another node",
            f"fedtui certs probe {peer.remote_instance_url}",
        ),
        Fix(
            "Ask its operators at which address and port their node listens, and mend the name or the forwarding",
            "fedtui config",
            where="there",
        ),
    )
    return Match(said, fixes=fixes, together=True)


_OWN = ("worker_not_running", "daemon_not_responding", "port_taken", "node_quarantined")
_PAIRS = ("key_missing", "cert_missing", "key_cert_mismatch", "vault_unreadable")
CAUSES: tuple[Cause, ...] = (
    Cause(
        "ended_there",
        DEGRADED,
        "peer",
        "high",
        3,
        "The other side has ended the peering: by a decision of its operators, it takes no call of this node.",
        "A record restored there from after the peering.",
        "degraded",
        _ended,
        also=(STUCK,),
    ),
    Cause(
        "term_ended",
        DEGRADED,
        "peer",
        "high",
        3,
        "The agreed term of the peering is over, so that heartbeats, renewals and resources are refused.",
        "A clock that is wrong.",
        "degraded",
        _term,
        also=(STUCK,),
    ),
    Cause(
        "wrong_node",
        DEGRADED,
        "peer",
        "critical",
        3,
        "Something else answers in the peer's place.",
        "A proxy in front of the peer that ends TLS with a certificate of its own.",
        "mtls-issues",
        _wrong_node,
        _OWN,
        also=(STUCK,),
    ),
    Cause(
        "never_heard",
        STUCK,
        "peer",
        "high",
        5,
        "The peer takes this node's heartbeats and sends none, so that it does not become active.",
        "A URL of this node that the peer cannot reach: its operators see that.",
        "stuck-at-accepted",
        _never_heard,
        (*_OWN, *_PAIRS, "clock_skew", "one_way_partition", "handshake_incomplete", "term_ended"),
    ),
    Cause(
        "silent_peer",
        DEGRADED,
        "peer",
        "high",
        5,
        "The peer answers and sends no heartbeats: its heartbeat job does not run, or does not send to this node.",
        "A restart that takes long.",
        "degraded",
        _silent,
        (
            *_OWN,
            *_PAIRS,
            "one_way_partition",
            "body_refused",
            "clock_skew",
            "remote_rejecting_auth",
            "term_ended",
            "ended_there",
        ),
    ),
)
