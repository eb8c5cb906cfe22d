"""Half a pair: a key without its certificate, or the other way round; here, or at the other end."""

from __future__ import annotations

from collections.abc import Callable

from fedtui.core.diagnosis.causes import observations
from fedtui.core.diagnosis.commands import anew
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match
from fedtui.core.pki import signing

SYMPTOM = "partial_mtls"
BACKDATED = signing.BACKDATE.total_seconds()
"""Seconds by which a peer's clock may be behind: what is signed for it is dated back by so much."""


def _here(case: CaseContext) -> Match:
    """The manager makes the new request by itself, and cannot have it signed: that would take the pair that is not
    whole. So nothing is to be asked for from here."""
    peer = case.fact("peer")
    waits = bool(case.fact("request_waits"))
    its = "Its" if waits else "Once the SDWAN Manager has made it, at its next tick: its"
    sign = Fix(
        f"{its} operator signs this node's new request, which it is offered with every heartbeat, and it is delivered",
        f"fedtui certs issue {case.site.url}",
        "system.federation_certificate_mint",
        {"peer": case.site.url},
        "there",
    )
    no_way = "Where no heartbeat gets through"
    by_file = (
        Fix(f"{no_way}, 1 of 3: write the request to a file", f"fedtui certs csr {peer.id} > a.csr"),
        Fix(
            f"{no_way}, 2 of 3: its operator signs that file, and hands back a.pem",
            f"fedtui certs issue {case.site.url} --csr a.csr",
            where="there",
        ),
        Fix(f"{no_way}, 3 of 3: store what comes back", f"fedtui certs store {peer.id} --cert a.pem"),
    )
    afresh = anew(peer.id, peer.remote_instance_url, case.site.url, "half a key pair")
    said = "its new request waits to be signed there" if waits else "a new request is about to be made"
    return Match(f"The pair in this node's vault is not whole; {said}.", fixes=(sign, *by_file, *afresh))


def _there(case: CaseContext) -> Match:
    peer = case.fact("peer")
    fix = Fix(
        "Sign its request, which it offers, and deliver it",
        f"fedtui certs issue {peer.id}",
        "system.federation_certificate_mint",
        {"peer": peer.id},
    )
    return Match("It says itself that what it presents to this node is not whole.", fixes=(fix,))


def _broken(state: str) -> Callable[[CaseContext], Match | None]:
    def holds(case: CaseContext) -> Match | None:
        if state == "cert_missing" and observations.waits(case) and observations.clock_difference(case) < -BACKDATED:
            return None  # its accept stopped at a certificate that is not valid yet by its clock: it signed none
        if case.fact("broken") == state and case.fact("status") not in (None, "proposed", "revoked", "suspended"):
            return _here(case)
        view = case.fact("view") or {}
        return _there(case) if view.get("pair") == state else None

    return holds


_OWN = ("worker_not_running", "daemon_not_responding", "port_taken")
CAUSES: tuple[Cause, ...] = (
    Cause(
        "key_missing",
        SYMPTOM,
        "peer",
        "high",
        2,
        "The certificate is there and its private key is not: no call can be made with it.",
        "A vault restored from another time than the database.",
        "mtls-issues",
        _broken("key_missing"),
        _OWN,
    ),
    Cause(
        "cert_missing",
        SYMPTOM,
        "peer",
        "high",
        2,
        "The private key is there and no certificate for it: the last step of the handshake was lost.",
        "A handshake that is under way this very minute.",
        "mtls-issues",
        _broken("cert_missing"),
        _OWN,
    ),
    Cause(
        "key_cert_mismatch",
        SYMPTOM,
        "peer",
        "high",
        2,
        "Certificate and private key do not belong together.",
        "A certificate stored by hand for another key.",
        "mtls-issues",
        _broken("mismatch"),
        _OWN,
    ),
    Cause(
        "vault_unreadable",
        SYMPTOM,
        "peer",
        "high",
        2,
        "The vault does not open the private key: it was changed, or moved from another record.",
        "Another vault.key than the one it was sealed with.",
        "mtls-issues",
        _broken("vault_unreadable"),
        _OWN,
    ),
)
