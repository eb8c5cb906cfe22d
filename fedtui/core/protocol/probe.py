"""The probe: from the name to the answer of a federation API, step by step, and every reason why not.

Tells apart what a failed call lumps together: dns, refused, timeout, not TLS, the many faults of
a certificate, and whether the other side takes ours.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy.orm import Session

from fedtui.core.errors import NotFound, RemoteFailed
from fedtui.core.peers import peers
from fedtui.core.peers.peers import ENDED_THERE, TERM_ENDED
from fedtui.core.pki import anchors, certificates, crl, key_pairs, tls_inspect
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.tls import ServerRefused
from fedtui.core.pki.tls_inspect import Fault, TlsInspection, Trusted
from fedtui.core.pki.x509 import chains_to, fingerprint, is_ca, read_certificates, serial_text
from fedtui.core.protocol import client
from fedtui.core.protocol.client import Connection
from fedtui.core.runtime import dial, dns, urls
from fedtui.core.runtime.deadline import within
from fedtui.core.runtime.dns import AddressForbidden

DIAGNOSIS = f"{client.PREFIX}/diagnosis"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `ok` is None where it was not taken."""

    name: str
    ok: bool | None
    said: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe came to. `chain` is what the server presented, leaf first."""

    url: str
    peer_id: str | None
    steps: tuple[Step, ...] = ()
    sight: TlsInspection = field(default_factory=TlsInspection)
    anchor: str | None = None
    accepts_ours: bool | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look, and by what to judge it.

    `connection` is how this node would call it; `also_by` another set of anchors that a server which is no peer's may
    be judged by.
    """

    url: str
    peer_id: str | None
    trusted: Trusted
    connection: Connection
    no_pair: str
    also_by: tuple[str, ...] = ()


Tell = Callable[[Step], object]


def target(session: Session, site: NodeContext, wanted: str) -> Target:
    """What to probe: a peer (id, beginning of one, URL), or a URL of no peer, judged by every CA known here.

    Raises `NotFound`, `WrongUsage`, and `RemoteFailed` for a peer that has an http URL.
    """
    now = site.clock.now()
    try:
        peer = peers.find(session, wanted)
    except NotFound:
        if "://" not in wanted:
            raise
        url = urls.normalize(wanted)
        own, forbids = certificates.own_ca(session).cert_pem, dial.rule(site.settings).forbids
        known = [*tls_inspect.public_anchors(), *_read(own)]
        return Target(
            url,
            None,
            Trusted(known),
            Connection((url,), None, None, forbids=forbids),
            "it is no peer of this node",
            (own,),
        )
    connection, no_pair = _connection(session, site, peer, now)
    if not connection.urls:
        raise client.insecure()
    known = tls_inspect.public_anchors() if peer.public_ca else anchors.certificates_of(session, peer.id)
    return Target(connection.urls[0], peer.id, Trusted(known, crl.of_peer(session, peer.id)), connection, no_pair)


def _connection(session: Session, site: NodeContext, peer: peers.Peer, now: datetime) -> tuple[Connection, str]:
    """How the peer is called; without our pair, and why, where that is not whole."""
    broken = key_pairs.broken(session, site.vault, peer.id)
    anonymous = client.connection_to(session, site, peer, now=now, partial_mtls="refuse", anonymous=True)
    if broken is not None:
        return anonymous, f"this node's pair is not whole: {broken.replace('_', ' ')}"
    found = client.connection_to(session, site, peer, now=now, partial_mtls="refuse")
    return found, "" if found.pair else "this node has no certificate for it yet"


def probe(site: NodeContext, wanted: str, tell: Tell = lambda _step: None) -> Report:
    """Look at a peer or URL; `tell` is called with each step as it ends. Changes nothing."""
    with site.read() as session:
        found = target(session, site, wanted)
    return run(found, site.clock.now(), site.settings.outbound_timeout, tell)


def run(wanted: Target, now: datetime, timeout: timedelta, tell: Tell) -> Report:
    """Take the steps, each bounded by `timeout`, until one leaves nothing to look at."""
    report = Report(wanted.url, wanted.peer_id)
    for take in (_dns, _tcp_and_tls, _certificate, _client_certificate):
        report, over = take(wanted, report, now, timeout)
        tell(report.steps[-1])
        if over:
            break
    return report


def _dns(wanted: Target, report: Report, _now: datetime, timeout: timedelta) -> tuple[Report, bool]:
    host, port = urls.host_port(wanted.url)

    async def resolve() -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(one[4][0]) for one in found))

    addresses, seconds, error = _timed(timeout, resolve())
    if addresses is None:
        words = f"{host} has no address: {error or 'the name servers did not answer in time'}."
        said = Fault("dns", words, "See the URL for a mistyped name, and the name server of this machine.")
        return _failed(report, "dns", said, seconds), True
    return _passed(report, "dns", f"{host} is {', '.join(addresses[:4])}", seconds), False


def _tcp_and_tls(wanted: Target, report: Report, _now: datetime, timeout: timedelta) -> tuple[Report, bool]:
    host, port = urls.host_port(wanted.url)
    if not wanted.url.startswith("https://"):
        words = "The URL says http: nothing there is encrypted, and no one proves who they are."
        return _failed(report, "tls", Fault("not_tls", words, tls_inspect.FIXES["not_tls"]), 0.0), True

    connected = False

    async def connect() -> TlsInspection:
        nonlocal connected
        with dns.ruled_by(wanted.connection.forbids):
            reader, writer = await asyncio.open_connection(host, port)
        connected = True
        try:
            return await tls_inspect.look(reader, writer, host)
        finally:
            writer.transport.abort()

    sight, seconds, error = _timed(timeout, connect())
    if sight is None and connected and (error is None or isinstance(error, TimeoutError)):
        return _failed(report, "tls", _silent_fault(host, port, timeout), seconds), True
    if sight is None:
        return _failed(report, "connect", _connect_fault(error, host, port, timeout), seconds), True
    report = replace(report, sight=sight)
    if sight.fault is not None:
        return _failed(report, "tls", sight.fault, seconds), not sight.chain
    asks = "asks for a client certificate" if sight.asks else "asks for no client certificate"
    named = f" of {', '.join(sight.names)}" if sight.names else ", naming no CA" if sight.asks else ""
    return _passed(report, "tls", f"{sight.protocol}, {sight.cipher}; it {asks}{named}", seconds), False


def _silent_fault(host: str, port: int, timeout: timedelta) -> Fault:
    """TCP connects, so that no firewall and no route is to blame."""
    words = f"{host}:{port} accepts the connection and sends nothing within {timeout.total_seconds():g} s."
    return Fault("silent", words, "See which process holds that port there: it hangs, is stopped, or speaks no TLS.")


def _connect_fault(error: OSError | None, host: str, port: int, timeout: timedelta) -> Fault:
    at = f"{host}:{port}"
    if isinstance(error, AddressForbidden):
        fix = "Have the name lead to the platform's own address, or use that address in the URL: fedtui peers edit."
        return Fault("forbidden", str(error), fix)
    if error is None or isinstance(error, TimeoutError):
        words = f"Nothing comes back from {at} within {timeout.total_seconds():g} s."
        return Fault("timeout", words, "See firewalls and routes on the way, and whether the machine is up.")
    if isinstance(error, ConnectionRefusedError):
        return Fault("refused", f"Nothing listens at {at}.", "See that its daemon runs: fedtui serve, there.")
    if isinstance(error, ConnectionResetError):
        return tls_inspect.fault("disconnected", f"{at} hangs up: {error.strerror}.")
    return Fault("unreachable", f"There is no way to {at}: {error}.", "See this machine's network and routes.")


def _verdict(wanted: Target, timeout: timedelta) -> ServerRefused | None:
    """Why this node's TLS refuses the server, by every set of anchors that it may be judged by."""
    alone = replace(wanted.connection, urls=(wanted.url,), pair=None)
    refused = client.refusal_of_server(alone, timeout=timeout)
    if refused is not None and wanted.also_by:
        return client.refusal_of_server(replace(alone, anchors_pem=wanted.also_by), timeout=timeout) and refused
    return refused


def _certificate(wanted: Target, report: Report, now: datetime, timeout: timedelta) -> tuple[Report, bool]:
    host, _ = urls.host_port(wanted.url)
    chain, trusted = report.sight.chain, wanted.trusted
    try:
        found = tls_inspect.explained(_verdict(wanted, timeout), chain, host, trusted, now)
    except RemoteFailed as failure:  # it was reached a moment ago
        return _failed(report, "certificate", Fault("timeout", failure.problem, failure.fix), 0.0), True
    anchor = chains_to(chain[0], chain[1:], trusted.anchors) if chain else None
    report = replace(report, anchor=fingerprint(anchor) if anchor is not None else None)
    if found:
        report = replace(report, faults=(*report.faults, *found))
        return _step(report, "certificate", False, " ".join(one.words for one in found), 0.0), True
    until = chain[0].not_valid_after_utc
    said = f"{chain[0].subject.rfc4514_string()}, until {until:%F}, chains to {report.anchor or 'a public CA'}"
    return _passed(report, "certificate", said, 0.0), report.sight.fault is not None


def _client_certificate(wanted: Target, report: Report, _now: datetime, timeout: timedelta) -> tuple[Report, bool]:
    """Present our certificate to the real API, and tell by a call without it whether it was that which failed."""
    connection = wanted.connection
    if connection.pair is None:
        return _step(report, "client_certificate", None, f"Not tried: {wanted.no_pair}.", 0.0), True
    began = time.monotonic()
    one = replace(connection, urls=connection.urls[:1])
    try:
        client.call(one, DIAGNOSIS, None, timeout=timeout, method="GET")
    except RemoteFailed as failure:
        return _judged(report, failure, one, timeout, time.monotonic() - began), True
    report = replace(report, accepts_ours=True)
    return _passed(
        report, "client_certificate", "It takes our certificate and answers.", time.monotonic() - began
    ), True


DECIDED = {
    ENDED_THERE: "Its operators have ended the peering. Ask them for a new invite, if it is to go on.",
    TERM_ENDED: "The agreed term is over. Agree on another with its operators, and extend it on each side.",
}
"""Answers that tell of no fault: what helps, by code."""


def _judged(
    report: Report, failure: RemoteFailed, connection: Connection, timeout: timedelta, seconds: float
) -> Report:
    name = "client_certificate"
    if failure.code in DECIDED:
        return _failed(report, name, Fault(failure.code, failure.problem, DECIDED[failure.code]), seconds)
    if failure.code == "remote_rejecting_auth":
        words = f"TLS takes our certificate, the API does not: {failure.problem}"
        rejected = Fault("own_certificate_rejected", words, f"Ask for a new one: fedtui certs rotate {report.peer_id}")
        return _failed(replace(report, accepts_ours=False), name, rejected, seconds)
    if failure.code in ("remote_rejecting", "remote_rate_limited", "remote_body_refused", "remote_failing"):
        # Whatever it says, it says so to a caller whose certificate it has taken.
        return _passed(replace(report, accepts_ours=True), name, failure.problem, seconds)
    if failure.code == "remote_timeout":
        # A certificate that is not taken ends the connection; it does not make it slow.
        slow = Fault("timeout", f"With our certificate: {failure.problem} {failure.cause}", failure.fix)
        return _failed(report, name, slow, seconds)
    if _answers(replace(connection, pair=None), timeout):
        words = (
            f"With our certificate it ends the connection ({failure.cause or failure.problem}); without, it answers."
        )
        fix = f"See their record of it (fedtui decisions list), then: fedtui certs rotate {report.peer_id}"
        rejected = Fault("own_certificate_rejected", words, fix)
        return _failed(replace(report, accepts_ours=False), name, rejected, seconds)
    # What the node's own call finds wrong and the steps before did not: a CRL, a rule of OpenSSL's.
    code = "handshake_failed" if failure.code == "remote_tls_failed" else "disconnected"
    broke = Fault(code, f"{failure.problem} {failure.cause}".strip(), failure.fix)
    return _failed(report, name, broke, seconds)


def _answers(connection: Connection, timeout: timedelta) -> bool:
    try:
        client.call(connection, DIAGNOSIS, None, timeout=timeout, method="GET")
    except RemoteFailed as failure:
        return failure.code in (
            "remote_rejecting_auth",
            "remote_rejecting",
            "remote_rate_limited",
            "remote_failing",
            *DECIDED,
        )
    return True


def _timed(timeout: timedelta, work: Any) -> tuple[Any, float, OSError | None]:
    """What `work` came to, or None; how long it took; and the error, None for a time-out."""
    began = time.monotonic()
    try:
        return within(timeout, work), time.monotonic() - began, None
    except TimeoutError:
        return None, time.monotonic() - began, None
    except OSError as error:
        return None, time.monotonic() - began, error


def _step(report: Report, name: str, ok: bool | None, said: str, seconds: float) -> Report:
    return replace(report, steps=(*report.steps, Step(name, ok, said, round(seconds, 3))))


def _passed(report: Report, name: str, said: str, seconds: float) -> Report:
    return _step(report, name, True, said, seconds)


def _failed(report: Report, name: str, fault: Fault, seconds: float) -> Report:
    return _step(replace(report, faults=(*report.faults, fault)), name, False, fault.words, seconds)


def _read(pem: str) -> list[x509.Certificate]:
    return read_certificates(pem, field="certificate")


def shape(report: Report) -> dict[str, Any]:
    """A report as JSON."""
    sight = report.sight
    return {
        "ok": report.ok,
        "url": report.url,
        "peer_id": report.peer_id,
        "steps": [{"step": one.name, "ok": one.ok, "detail": one.said, "seconds": one.seconds} for one in report.steps],
        "protocol": sight.protocol or None,
        "cipher": sight.cipher or None,
        "chain": [_certificate_shape(one) for one in sight.chain],
        "anchor": report.anchor,
        "asks_for_client_certificate": sight.asks,
        "client_cas": list(sight.names),
        "accepts_our_certificate": report.accepts_ours,
        "faults": [{"code": one.code, "problem": one.words, "fix": one.fix} for one in report.faults],
    }


def _certificate_shape(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": serial_text(certificate),
        "fingerprint": fingerprint(certificate),
        "names": tls_inspect.names_of(certificate),
        "key": tls_inspect.key_words(certificate),
        "ca": is_ca(certificate),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
    }
