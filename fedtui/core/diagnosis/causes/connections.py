"""What helps where one side does not reach the other: the fixes that several causes offer."""

from __future__ import annotations

from dataclasses import replace

from fedtui.core.diagnosis.causes.observations import NOT_ITS_CA, heard_lately, heard_meanwhile, words
from fedtui.core.diagnosis.checks.limits import URL_INSECURE
from fedtui.core.diagnosis.commands import anew
from fedtui.core.diagnosis.model import CaseContext, Fix
from fedtui.core.pki.x509 import fingerprint, is_ca

UNREACHABLE = (
    "remote_unreachable",
    "remote_address_forbidden",
    "remote_dns",
    "remote_refused",
    "remote_timeout",
    "remote_disconnected",
)


def unreachable(case: CaseContext) -> tuple[Fix, ...]:
    faults = case.fact("faults") or ()
    if "dns" in faults:
        return moved(case)
    if "silent" in faults:
        return (
            Fix(
                "Have its operator end the process that holds its port and does not answer, then start its daemon",
                "fedtui doctor",
                where="there",
            ),
        )
    if "refused" in faults and heard_meanwhile(case):
        return (
            Fix(
                "Its daemon runs, as its heartbeats arrive. Ask its operators where it listens, and mend its URL, "
                "its firewall or its port forwarding",
                "fedtui config",
                where="there",
            ),
        )
    if "refused" in faults:
        return (
            Fix("Have its operator start its daemon; its next heartbeat does the rest", "fedtui serve", where="there"),
        )
    return (
        Fix(
            "Mend the way to it with its operators: a firewall or a route, here, there or between, or a machine "
            "that is down",
            where="there",
        ),
    )


def moved(case: CaseContext) -> tuple[Fix, ...]:
    """Its name is gone. Where it is now it may have said itself; that it is so, its operators are to say."""
    peer, edit = case.fact("peer"), f"fedtui peers edit {case.subject.id} --url"
    by_hand = Fix("Mend its name, or move the peer to the URL it has now", f"{edit} https://HOST:PORT")
    said = (one.get("url") for one in peer.endpoints or ())
    urls = (url.rstrip("/") for url in said if isinstance(url, str))
    declared = next((url for url in urls if url != peer.remote_instance_url), None)
    if declared is None:
        return (by_hand,)
    move = Fix(
        f"Ask its operators whether it has moved to {declared}, which it declares itself; then move it there",
        f"{edit} {declared}",
        "system.federation_peer_edit",
        {"peer": peer.id, "url": declared},
    )
    return move, by_hand


def tls(case: CaseContext) -> tuple[Fix, ...]:
    faults, peer = case.fact("faults") or (), case.fact("peer")
    if URL_INSECURE in faults:
        return (
            Fix(
                "Move the peer to the URL at which it answers over https",
                f"fedtui peers edit {peer.id} --url https://HOST:PORT",
            ),
        )
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
        if said or heard_lately(case):
            return (trust,)
        # A platform that was set up anew knows nothing of this peering, whatever CA it is known by.
        again = anew(peer.id, peer.remote_instance_url, case.site.url, "it was set up anew")
        return (trust, *(replace(one, title=f"Where it was set up anew. {one.title}") for one in again))
    probe = case.fact("probe")
    advice = probe.faults[0].fix if probe is not None and probe.faults else "Compare certificates on both sides."
    return (Fix(advice.rstrip("."), f"fedtui certs probe {peer.remote_instance_url}", where="there"),)


def rejected(case: CaseContext) -> tuple[Fix, ...]:
    peer = case.fact("peer")
    if "state" in words(case):
        return (
            Fix(
                "Have its operator resume this node there",
                f"fedtui peers resume {case.site.url}",
                "system.federation_peer_resume",
                {"peer": case.site.url},
                "there",
            ),
        )
    return (
        Fix(
            "1 of 2: make a new request, which it is offered in answer to its heartbeats", f"fedtui certs csr {peer.id}"
        ),
        Fix(
            "2 of 2: have its operator sign that, and it is delivered by itself",
            f"fedtui certs issue {case.site.url}",
            "system.federation_certificate_mint",
            {"peer": case.site.url},
            "there",
        ),
        *anew(peer.id, peer.remote_instance_url, case.site.url, "it turns this node away"),
    )


def their_calls(case: CaseContext, code: str) -> tuple[Fix, ...]:
    """What helps where the peer's calls to this node fail, by how they fail."""
    url = case.site.url
    # A peer tells one code for all calls that did not get through; that it knows another CA says which it is.
    if code == "remote_tls_failed" or (code == "remote_unreachable" and "own_ca" in case.fact("disagreements", {})):
        pin = case.fact("own_ca", "")
        trust = f"fedtui certs trust {url} --ca-fingerprint {pin}"
        return (
            Fix(
                "Have its operator compare this node's CA fingerprint with yours, and trust it",
                trust,
                "system.federation_certificate_anchor",
                {"peer": url, "ca_fingerprint": pin},
                "there",
            ),
        )
    if code in UNREACHABLE:
        return (
            Fix(
                "Have its operators see why they do not reach this node's URL",
                f"fedtui certs probe {url}",
                where="there",
            ),
        )
    if code == "remote_rate_limited":
        rate, file = case.site.settings.heartbeats_per_minute, case.site.settings.config_file
        return (
            Fix(f"Raise heartbeats_per_minute in {file}, which is {rate}, then start the daemon again", "fedtui serve"),
            Fix("Or have its operator send less often (heartbeat_interval), with one daemon alone", where="there"),
        )
    if code in ("remote_failing", "remote_rejecting"):
        return (
            Fix(
                "See what answers at this node's URL: its daemon, or a proxy before it, and the log of either",
                f"fedtui certs probe {url}",
            ),
        )
    return (
        Fix(
            "See why its calls are turned away here", f"fedtui doctor unauthorized_with_grant --peer {case.subject.id}"
        ),
    )


def ask_them(case: CaseContext) -> tuple[Fix, ...]:
    """What only the peer's own operators can see."""
    return (Fix("Have its operators run the playbook there", f"fedtui doctor --peer {case.site.url}", where="there"),)


def slower(case: CaseContext) -> tuple[Fix, ...]:
    limit = "Have them raise their limit (heartbeats_per_minute in their config.toml)"
    less = f"Send less often: heartbeat_interval in {case.site.settings.config_file}, then start the daemon again"
    return Fix(limit, where="there"), Fix(less, "fedtui serve")


def smaller(case: CaseContext) -> tuple[Fix, ...]:
    """What helps where the peer finds what this node declares too large."""
    less = f"Declare less: extension_slugs in {case.site.settings.config_file}, then start the daemon again"
    more = "Have its operators raise message_body_bytes in their config.toml"
    return Fix(less, "fedtui serve"), Fix(more, where="there")
