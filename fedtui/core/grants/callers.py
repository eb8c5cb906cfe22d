"""Who calls, and from where: what of a call may be believed.

A client certificate that came by TLS is believed as it is. What a header says (a forwarded
certificate, an instance, a network, an address) is believed only from a configured proxy
that authenticated itself with a certificate of its own; from anyone else it is ignored, and
the record says so.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import unquote_to_bytes

from cryptography import x509
from sqlalchemy.orm import Session

from fedtui.core.pki import certificates
from fedtui.core.pki.x509 import UNREADABLE, CertificateSummary, described, read_der

CLIENT_CERT, ESCAPED_CERT = "client-cert", "x-ssl-client-cert"
INSTANCE, NETWORK, FORWARDED_FOR = "x-calling-instance", "x-sdwan-network", "x-forwarded-for"
FORWARDED = (CLIENT_CERT, ESCAPED_CERT, INSTANCE, NETWORK, FORWARDED_FOR)
"""Headers that a proxy may set (RFC 9440; nginx's `$ssl_client_escaped_cert`; de facto)."""
LONGEST = 16 * 1024
PROXY_KIND = "instance"
"""The kind of certificate a proxy has: this node signs it, and it stands for no peer."""

Headers = Mapping[str, Sequence[str]]
"""Each header's values, by its name in lower case."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as it may be believed.

    `fingerprint` (`sha256:...`), `subject` and `issuer` are of the client certificate, None and
    empty without one; `instance_id`
    is what a proxy says, else the certificate does; `ignored` are headers that nobody may
    believe; `unreadable` says what a proxy forwarded that cannot be read; `proxy` is the
    fingerprint of the proxy. `described` says that the call was not made but put in words:
    then `peer_id` is who would make it.
    """

    fingerprint: str | None = None
    source_ip: str | None = None
    instance_id: str | None = None
    network_id: str | None = None
    proxy: str | None = None
    ignored: tuple[str, ...] = ()
    unreadable: str = ""
    described: bool = False
    peer_id: str | None = None
    subject: str = ""
    issuer: str = ""


def is_trusted_proxy(session: Session, presented: str | None, configured: Collection[str], now: datetime) -> bool:
    """Whether this certificate is that of a configured proxy, ours, in force."""
    if presented is None or presented not in configured:
        return False
    row = certificates.by_fingerprint(session, presented)
    return (
        row is not None
        and row.subject_kind == PROXY_KIND
        and row.revoked_at is None
        and row.not_before <= now < row.not_after
    )


def resolve_forwarded_caller(direct: Caller, headers: Headers, *, proxied: bool) -> Caller:
    """The caller behind a connection: `direct` itself, or, behind a trusted proxy, whom it speaks for."""
    given = tuple(name for name in FORWARDED if name in headers)
    if not proxied:
        return replace(direct, ignored=given)
    found, unreadable = _certificate(headers)
    return replace(
        direct,
        fingerprint=found.fingerprint if found else None,
        subject=found.subject if found else "",
        issuer=found.issuer if found else "",
        source_ip=_last_hop(headers),
        instance_id=_only(headers, INSTANCE),
        network_id=_only(headers, NETWORK) or direct.network_id,
        proxy=direct.fingerprint,
        unreadable=unreadable,
    )


def _certificate(headers: Headers) -> tuple[CertificateSummary | None, str]:
    """Fingerprint, subject and issuer of the forwarded certificate; or what is wrong with it."""
    named = [name for name in (CLIENT_CERT, ESCAPED_CERT) if name in headers]
    given = [name for name in named if any(headers.get(name, ()))]
    if not given:
        return None, f"{named[0]} is empty" if named else ""
    if len(given) > 1 or len(headers[given[0]]) > 1:
        return None, "more than one forwarded certificate"
    [name] = given
    try:
        return described(_READERS[name](headers[name][0][:LONGEST])), ""
    except UNREADABLE:
        return None, f"what {name} holds is no certificate"


def _structured(text: str) -> x509.Certificate:
    """A byte sequence of structured fields (RFC 9440, RFC 8941): base64 between colons."""
    inner = text.strip()
    if len(inner) < 2 or inner[0] != ":" or inner[-1] != ":":
        raise ValueError("not a byte sequence")
    return read_der(base64.b64decode(inner[1:-1], validate=True))


def _escaped(text: str) -> x509.Certificate:
    """A PEM in percent-encoding, as nginx forwards it."""
    return x509.load_pem_x509_certificate(unquote_to_bytes(text.strip()))


_READERS = {CLIENT_CERT: _structured, ESCAPED_CERT: _escaped}


def _only(headers: Headers, name: str) -> str | None:
    """A header's value if it was given once: of two, nobody knows which one the proxy set."""
    values = [value.strip() for value in headers.get(name, ()) if value.strip()]
    return values[0][:200] if len(values) == 1 else None


def _last_hop(headers: Headers) -> str | None:
    """The address that the proxy itself has seen: the last one it wrote."""
    hops = ",".join(headers.get(FORWARDED_FOR, ())).split(",")
    try:
        return str(ipaddress.ip_address(hops[-1].strip().strip("[]")))
    except ValueError:
        return None
