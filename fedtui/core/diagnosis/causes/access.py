"""Calls that are turned away: for the certificate, or for what the grant allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedtui.core.administration.node_settings import PROXIES
from fedtui.core.diagnosis.checks.resolved import Decided
from fedtui.core.diagnosis.commands import anew
from fedtui.core.diagnosis.model import CaseContext, Cause, Fix, Match, sentence
from fedtui.core.grants.callers import FORWARDED, PROXY_KIND
from fedtui.core.grants.explain import Change

SCOPE, IDENTITY = "grant_scope_mismatch", "unauthorized_with_grant"
ASKED_FOR = ("cert_unknown", "peer_missing")
"""The certificate is lost to this node's record, where the peer that it names is not: it asks for another."""
ANOTHER_HELPS = ("cert_expired", "cert_revoked", *ASKED_FOR)
LOST = ("cert_not_presented", "cert_chain_invalid", "trust_chain_mismatch")
"""Whoever called presented nothing that this node signed: it did not take it, or has it no more."""
ALIKE = {"cert_not_yet_valid": "cert_chain_invalid"}
"""Codes of the record that the catalogue has under another name."""


def _fixes(case: CaseContext) -> tuple[Fix, ...]:
    """For a certificate that is of no use any more, another; else what explain would change, smallest first."""
    peer, code = case.fact("decision_peer"), case.fact("code")
    given: Sequence[Change] = case.fact("changes", ())
    changes = [Fix(one.title, one.command, one.action, one.params, one.where, one.then) for one in given]
    if code in ANOTHER_HELPS and peer is not None:
        mint = Fix(
            "Sign it another certificate, and deliver it",
            f"fedtui certs issue {peer.id}",
            "system.federation_certificate_mint",
            {"peer": peer.id},
        )
        ask = Fix(
            "Have its operator ask for a new certificate, which makes the request",
            f"fedtui certs rotate {case.site.url}",
            where="there",
        )
        # A key that was revoked on purpose is not certified again: the peer makes another.
        return (ask, mint) if code in ASKED_FOR or case.fact("decided") is not None else (mint, *changes)
    elsewhere = Fix(
        "Have the caller present the certificate that this node signed for it",
        f"fedtui certs probe {case.site.url}",
        where="there",
    )
    if case.fact("forged"):
        return (
            Fix(
                "See who calls from that address; the certificate was not signed here. Its peer's own is not touched",
                f"fedtui decisions show {case.subject.id}",
            ),
        )
    if code in LOST and peer is None:
        return (elsewhere,)
    if code in LOST:
        mint = Fix(
            "Where it has lost that one, run the minting again: sign its request, and it stores what comes back",
            f"fedtui certs issue {peer.id} --csr a.csr",
        )
        return elsewhere, mint, *anew(peer.id, peer.remote_instance_url, case.site.url, "it has lost its certificate")
    proxy = _proxy(case) if code == "cert_wrong_kind" else ()
    return (*(changes or (elsewhere,)), *proxy)


def _proxy(case: CaseContext) -> tuple[Fix, ...]:
    """Where the certificate is one that this node signed for a proxy: that proxy is not trusted to speak for others."""
    presented = case.fact("presented")
    if presented is None or presented.subject_kind != PROXY_KIND:
        return ()
    trusted = ",".join(sorted({presented.fingerprint, *filter(None, case.fact("trusted_proxies", "").split(","))}))
    return (
        Fix(
            "If it is your own proxy's, trust it to forward what callers present",
            f"fedtui settings set {PROXIES} {trusted}",
            "system.settings_change",
            {"key": PROXIES, "value": trusted},
        ),
    )


def _proxy_lacks(case: CaseContext) -> Match | None:
    """What is missing in the configuration of a proxy for which the call was refused; None where none is to blame."""
    code, caller = case.fact("code"), case.fact("caller", {})
    proxy, ignored = caller.get("proxy"), [one for one in caller.get("ignored") or () if one in FORWARDED]
    if code not in BY_PROXY or case.fact("proxy_works") or not (proxy or (ignored and not caller.get("fingerprint"))):
        return None
    unreadable = str(caller.get("unreadable") or "")
    if not proxy:
        at = caller.get("source_ip") or "an unknown address"
        said = f"What calls from {at} sends {', '.join(ignored)}, and does not prove to be a trusted proxy: it presents"
        return _lacking(f"{said} no certificate to this node.", OWN_PAIR)
    if code in MISSING_HEADER:
        header, line = MISSING_HEADER[code]
        if caller.get(header):
            return None
        return _lacking(f"The proxy {proxy} does not forward what this check needs.", line)
    if unreadable and not unreadable.endswith("is empty"):
        return _lacking(f"The proxy {proxy} forwards a certificate that cannot be read: {unreadable}.", ESCAPED)
    said = f"The proxy {proxy} forwards no client certificate: it asks for none, or does not forward it."
    return _lacking(said, f"{VERIFY} {ESCAPED}", ("cert_not_presented",))


def _lacking(said: str, line: str, undecided: tuple[str, ...] = ()) -> Match:
    fix = Fix(f"Have the proxy's configuration say (in nginx's words; see examples/nginx.conf): {line}")
    return Match(said, fixes=(fix,), undecided=undecided)


MISCONFIGURED = "proxy_misconfigured"
OWN_PAIR = "proxy_ssl_certificate FILE; proxy_ssl_certificate_key FILE;"
VERIFY = "ssl_client_certificate CA; ssl_verify_client optional_no_ca;"
ESCAPED = "proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;"
MISSING_HEADER = {
    "source_ip_not_allowed": ("source_ip", "proxy_set_header X-Forwarded-For $remote_addr;"),
    "instance_not_allowed": ("instance_id", "proxy_set_header X-Calling-Instance ID;"),
    "network_not_allowed": ("network_id", "proxy_set_header X-Sdwan-Network ID;"),
}
"""What a check needs of a call through a proxy, and the line by which the proxy tells it."""
BY_PROXY = ("cert_not_presented", *MISSING_HEADER)
"""Refusals that a proxy may be to blame for."""


def _turned_away(code: str) -> Callable[[CaseContext], Match | None]:
    def holds(case: CaseContext) -> Match | None:
        found = case.fact("code")
        if code not in (ALIKE.get(found, found), MISCONFIGURED):
            return None
        missing = _proxy_lacks(case)
        if code == MISCONFIGURED or missing is not None:
            return missing if code == MISCONFIGURED else None
        decision: Decided | None = case.fact("decided")
        if decision is not None and (case.fact("expected") or code != "cert_revoked"):
            asked = case.asked or case.symptom is not None
            return Match(
                f"Refused, as decided. {sentence(case.fact('detail') or '')}",
                fixes=(_as_decided(decision),),
                expected=not asked,
            )
        alone = (*ANOTHER_HELPS, *LOST, "cert_wrong_kind")
        together = code in ASKED_FOR or case.fact("decided") is not None or code not in alone
        severity = "high" if case.fact("forged") else ""
        return Match(sentence(case.fact("detail") or ""), fixes=_fixes(case), together=together, severity=severity)

    return holds


def _as_decided(decision: Decided) -> Fix:
    """What there is to do about a decision: nothing, unless whoever made it no longer means it."""
    return Fix(f"Nothing, while the decision stands. Ask {decision.who} before anybody changes it", decision.see)


def _scope(code: str, means: str, could_be: str) -> Cause:
    return Cause(code, SCOPE, "decision", "medium", 5, means, could_be, "scope-mismatch", _turned_away(code))


def _identity(code: str, means: str, could_be: str, rank: int = 4) -> Cause:
    return Cause(code, IDENTITY, "decision", "medium", rank, means, could_be, "unauthorized", _turned_away(code))


CAUSES: tuple[Cause, ...] = (
    _scope(
        "instance_not_allowed",
        "The calling instance is not in the grant's list of instances.",
        "A trusted proxy that names another instance; or a caller that is refused rightly, and is to be told.",
    ),
    _scope(
        "network_not_allowed",
        "The network the call came over is not in the grant's list of networks.",
        "A listener that is not told its network (sdwan_network); or a caller that is refused rightly.",
    ),
    _scope(
        "network_bridge_inactive",
        "The network is allowed, and its bridge to the peer is not active.",
        "A bridge that was suspended on purpose.",
    ),
    _scope(
        "source_ip_not_allowed",
        "The address the call came from is in none of the grant's ranges.",
        "A NAT or proxy in between, whose address it is; or a caller that is refused rightly.",
    ),
    _scope(
        "scope_insufficient",
        "The grant does not hold the scope that this call needs.",
        "A client that writes where it means to read.",
    ),
    _scope("kind_mismatch", "The grant is for another kind of resource.", "The grant of another use."),
    _scope("resource_mismatch", "The grant is for another resource of that kind.", "The grant of another use."),
    _scope("grant_expired", "The grant's time is over.", "A clock that is wrong."),
    _scope("grant_revoked", "The grant was revoked.", "A client that was not told of its successor."),
    _scope(
        "kind_not_served",
        "The grant allows it, and this node's inventory does not have that kind.",
        "A kind that was taken out of the inventory.",
    ),
    _identity(
        "cert_not_presented",
        "The call carried no client certificate.",
        "A proxy in front that ends TLS and is not trusted to forward it.",
    ),
    _identity(
        MISCONFIGURED,
        "A proxy in front of this node is set up so that calls through it cannot be allowed.",
        "A caller that presents no certificate to the proxy.",
    ),
    _identity(
        "cert_chain_invalid",
        "TLS refused the client's certificate: its chain or its dates do not hold.",
        "A clock that is wrong, here or there; where the signature does not hold, a forgery.",
    ),
    _identity(
        "trust_chain_mismatch",
        "The client's certificate is of another CA than this node's.",
        "A platform that presents what its own CA signed, or is self-signed.",
    ),
    _identity("cert_expired", "The client's certificate has run out.", "A clock that is wrong."),
    _identity(
        "cert_revoked",
        "The client's certificate is revoked, or a newer one has taken its place.",
        "A client that did not take up its renewal; or a certificate that was revoked on purpose.",
    ),
    _identity(
        "cert_unknown",
        "The certificate is of this node's CA and not on its record.",
        "A database restored from before it was signed.",
    ),
    _identity(
        "cert_wrong_kind",
        "The certificate was not made for a peer.",
        "A proxy of this node's that is not trusted to forward what callers present.",
    ),
    _identity(
        "peer_missing",
        "The certificate stands for no peer that is on record.",
        "A database restored from before the peering.",
    ),
    _identity(
        "peer_not_reachable",
        "The peer may not make this call in the state it is in.",
        "A suspension that is still meant; or a peer that was resumed and has not sent a heartbeat yet.",
    ),
    _identity(
        "grant_token_malformed", "There is no bearer token of the form fg-<id>.", "A token in another header.", 5
    ),
    _identity("grant_token_unknown", "There is no grant with this id.", "A grant that was archived long ago.", 5),
    _identity(
        "grant_of_other_peer",
        "The grant belongs to another peer: it is good only with that peer's certificate.",
        "A client configured with another platform's grant.",
        5,
    ),
)
