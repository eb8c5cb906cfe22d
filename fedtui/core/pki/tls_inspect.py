"""Looking at a TLS server without trusting it: what it presents, what it asks for, and every fault in that.

Does what `openssl s_client -showcerts` does, and explains. The handshake is pyOpenSSL's: the
standard library tells neither whether a server asks for a client certificate nor which CAs it names.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedtui.core.pki import crl as crls
from fedtui.core.pki.crl import PeerCrl
from fedtui.core.pki.tls import ServerRefused
from fedtui.core.pki.x509 import UNREADABLE, chains_to, fingerprint, is_ca, read_der, serial_text
from fedtui.core.runtime.dial import is_address

READ_BYTES = 64 * 1024
MOST_NAMED = 3
"""So many anchors are told one by one."""
ASKED = b"read server certificate request"
"""In the name of OpenSSL's state while it reads the server's request for a client certificate."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why TLS with a server fails, or will: a code, what is wrong, and what helps."""

    code: str
    words: str
    fix: str


@dataclass(frozen=True, slots=True)
class TlsInspection:
    """What a server showed. `asks` is whether it wants a client certificate, `names` which CAs it names."""

    chain: tuple[x509.Certificate, ...] = ()
    protocol: str = ""
    cipher: str = ""
    asks: bool = False
    names: tuple[str, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a server is judged by: the anchors it must chain to, and the CRL kept of it."""

    anchors: Sequence[x509.Certificate]
    crl: PeerCrl | None = None


FIXES = {
    "not_tls": "See that the URL names the federation API's port, and what else listens there.",
    "protocol_mismatch": "The other side must speak TLS 1.2 or 1.3, with ECDHE and AES-GCM or ChaCha20.",
    "disconnected": "See the other side's log of this moment: it hung up.",
    "expired": "The other side renews its server certificate: fedtui serve does so by itself while it runs.",
    "not_yet_valid": "Compare the clocks of both machines.",
    "name_mismatch": "Use a name the certificate stands for, or have the other side set its URL: fedtui peers edit.",
    "unknown_ca": "Compare fingerprints over another channel, then: fedtui certs trust PEER --ca-fingerprint sha256:..",
    "self_signed": "Compare its fingerprint over another channel; a server needs a certificate of its platform's CA.",
    "wrong_purpose": "The other side must present a certificate for servers (extended key usage serverAuth).",
    "revoked": "The other side revoked this very certificate: it has to present another one.",
    "no_certificate": "The other side must present a certificate; see its configuration.",
    "invalid_ca": "The other side's certificate must be issued by a CA certificate (basic constraints: CA).",
    "path_too_long": "The other side's CA must be allowed to certify so many CAs below it, or certify directly.",
    "name_constraints": "The other side needs a certificate of a CA that may certify this name.",
    "critical_extension": "The other side needs a certificate without extensions that TLS does not know.",
    "weak_key": "The other side needs a certificate with a stronger key: P-256, Ed25519, or RSA of 2048 bits.",
    "weak_signature": "The other side needs a certificate that is signed with SHA-256 or better.",
    "crl_unusable": "Have the other side publish a CRL that is valid now; see both clocks.",
}
"""What helps, by fault."""
VERDICTS: Mapping[int, str] = {
    2: "unknown_ca",
    3: "crl_unusable",
    7: "unknown_ca",
    8: "crl_unusable",
    9: "not_yet_valid",
    10: "expired",
    11: "crl_unusable",
    12: "crl_unusable",
    18: "self_signed",
    19: "unknown_ca",
    20: "unknown_ca",
    21: "unknown_ca",
    23: "revoked",
    24: "invalid_ca",
    25: "path_too_long",
    26: "wrong_purpose",
    34: "critical_extension",
    37: "path_too_long",
    41: "name_constraints",
    47: "name_constraints",
    48: "name_constraints",
    49: "name_constraints",
    51: "name_constraints",
    52: "name_constraints",
    53: "name_constraints",
    62: "name_mismatch",
    63: "name_mismatch",
    64: "name_mismatch",
    66: "weak_key",
    67: "weak_key",
    68: "weak_signature",
    79: "invalid_ca",
}
"""Our code of a fault, by OpenSSL's verification result (x509_vfy.h, X509_V_ERR_..)."""


def fault(code: str, words: str) -> Fault:
    """A fault with what helps against it."""
    return Fault(code, words, FIXES.get(code, ""))


async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> TlsInspection:
    """Shake hands as a client that verifies nothing and presents nothing.

    The streams are plain TCP. Faults of the handshake come back in the sight; `OSError` is raised
    where the connection itself breaks.
    """
    from OpenSSL import SSL  # here: only a probe needs it

    states: set[bytes] = set()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_info_callback(lambda connection, _where, _result: states.add(connection.get_state_string()))
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    if not is_address(host):
        connection.set_tlsext_host_name(host.encode("idna"))
    found = await _shake(connection, reader, writer, SSL)
    asks = any(ASKED in state for state in states)
    try:
        presented = connection.get_peer_cert_chain(as_cryptography=True) or ()
        chain = tuple(read_der(one.public_bytes(Encoding.DER)) for one in presented)
    except UNREADABLE as error:
        return TlsInspection(
            asks=asks, fault=fault("unreadable", f"A certificate that it presents cannot be read: {error}.")
        )
    names = tuple(_name(one) for one in connection.get_client_ca_list())
    if found is not None and asks and chain:
        found = None  # it insists on a client certificate: then this is as far as one gets without
    done = found is None
    return TlsInspection(
        chain=chain,
        protocol=connection.get_protocol_version_name() if done else "",
        cipher=connection.get_cipher_name() or "" if done else "",
        asks=asks,
        names=names,
        fault=found,
    )


async def _shake(
    connection: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ssl_: Any
) -> Fault | None:
    """The handshake, to its end; what ended it otherwise."""
    while True:
        try:
            connection.do_handshake()
        except ssl_.WantReadError:
            await _flush(connection, writer, ssl_)
            received = await reader.read(READ_BYTES)
            if not received:
                return fault("disconnected", "It hangs up during the TLS handshake.")
            connection.bio_write(received)
        except ssl_.Error as error:
            await _flush(connection, writer, ssl_)
            return _handshake_fault(" ".join(str(part) for one in error.args[0] for part in one if part))
        else:
            await _flush(connection, writer, ssl_)
            return None


async def _flush(connection: Any, writer: asyncio.StreamWriter, ssl_: Any) -> None:
    while True:
        try:
            writer.write(connection.bio_read(READ_BYTES))
        except ssl_.WantReadError:
            break
    await writer.drain()


_NOT_TLS = (
    "wrong version number",
    "http request",
    "packet length too long",
    "record layer failure",
    "unknown protocol",
)
_MISMATCH = ("protocol version", "unsupported protocol", "no shared cipher", "no protocols available")


def _handshake_fault(said: str) -> Fault | None:
    if any(words in said for words in _NOT_TLS):
        return fault("not_tls", f"What answers there does not speak TLS ({said}).")
    if any(words in said for words in _MISMATCH):
        return fault("protocol_mismatch", f"It offers no version or cipher of TLS that this node takes ({said}).")
    return fault("disconnected", f"It ends the TLS handshake: {said}.")


def explained(
    refusal: ServerRefused | None, chain: Sequence[x509.Certificate], host: str, trusted: Trusted, now: datetime
) -> list[Fault]:
    """Return what is wrong with a server's certificate, where TLS as this node's calls use it refuses it.

    OpenSSL gives the verdict: what it takes has no fault, also where a certificate that the path does not use has run
    out. What it refuses has at least the fault that it names, and whatever else can be seen.
    """
    if refusal is None:
        return []
    seen = faults(chain, host, trusted, now)
    code = VERDICTS.get(refusal.verify_code, "refused_by_tls")
    named = [] if any(one.code == code for one in seen) else [fault(code, f"TLS refuses it: {refusal.cause}.")]
    return [*named, *seen]


def faults(chain: Sequence[x509.Certificate], host: str, trusted: Trusted, now: datetime) -> list[Fault]:
    """Every fault of what a server presented, not only the first: dates, name, purpose, CA, revocation."""
    if not chain:
        return [fault("no_certificate", "It presents no certificate.")]
    leaf, *between = chain
    found = [one for certificate in _used(chain, trusted.anchors) for one in _dates(certificate, now)]
    if not _stands_for(leaf, host):
        found.append(fault("name_mismatch", f"The certificate stands for {_shown(names_of(leaf))}, not for {host}."))
    if not _for_servers(leaf):
        found.append(fault("wrong_purpose", "The certificate is not for servers."))
    if chains_to(leaf, between, trusted.anchors) is None:
        found.append(_untrusted(chain, trusted.anchors))
    if crls.revoked_in(trusted.crl, leaf):
        found.append(fault("revoked", f"Its CA has revoked it (serial {serial_text(leaf)})."))
    return found


def _used(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The leaf, what stands between, and the anchor that it comes to."""
    leaf, *between = chain
    anchor = chains_to(leaf, between, anchors)
    path = [leaf, *(one for one in between if is_ca(one) and one not in anchors)]
    return [*path, anchor] if anchor is not None else path


def _dates(certificate: x509.Certificate, now: datetime) -> list[Fault]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    who = certificate.subject.rfc4514_string() or "the certificate"
    if now > end:
        return [fault("expired", f"{who} ran out on {end:%F %H:%M} UTC.")]
    if now < start:
        return [
            fault("not_yet_valid", f"{who} is valid only from {start:%F %H:%M} UTC; here it is {now:%F %H:%M} UTC.")
        ]
    return []


def _untrusted(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> Fault:
    leaf, top = chain[0], chain[-1]
    namesake = next((one for one in anchors if one.subject == top.issuer or one.subject == leaf.issuer), None)
    if namesake is not None:
        return fault(
            "unknown_ca",
            f"Its CA bears the name of one that is trusted ({namesake.subject.rfc4514_string()}) but is another: "
            f"it shows {fingerprint(top)}, and {fingerprint(namesake)} is trusted.",
        )
    if len(chain) == 1 and leaf.subject == leaf.issuer:
        return fault("self_signed", f"It presents a self-signed certificate ({fingerprint(leaf)}).")
    known = ", ".join(fingerprint(one) for one in anchors) or "none"
    trusted = known if len(anchors) <= MOST_NAMED else f"{len(anchors)} others"
    return fault(
        "unknown_ca",
        f"It chains to {top.issuer.rfc4514_string()} ({fingerprint(top) if is_ca(top) else 'not shown'}), "
        f"which is not trusted here (trusted: {trusted}).",
    )


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate stands for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in names if isinstance(one, x509.DNSName | x509.IPAddress)]


def key_words(certificate: x509.Certificate) -> str:
    """The kind of a certificate's key: `EC secp256r1`, `RSA 2048`, `Ed25519`."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else type(key).__name__


def public_anchors() -> list[x509.Certificate]:
    """The machine's publicly trusted CAs."""
    context = ssl.create_default_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some old roots bend the rules; they are trusted all the same
        return [x509.load_der_x509_certificate(der) for der in context.get_ca_certs(binary_form=True)]


def _stands_for(leaf: x509.Certificate, host: str) -> bool:
    """RFC 9525: a name in the SAN equals the host; a wildcard stands for one whole label."""
    wanted = host.partition("%")[0].lower()
    for name in names_of(leaf):
        low = name.lower()
        if low == wanted:
            return True
        head, dot, rest = wanted.partition(".")
        if low.startswith("*.") and dot and head and low[2:] == rest and not is_address(wanted):
            return True
    return is_address(wanted) and str(ipaddress.ip_address(wanted)) in names_of(leaf)


def _for_servers(leaf: x509.Certificate) -> bool:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _name(one: Any) -> str:
    return ",".join(f"{key.decode()}={value.decode(errors='replace')}" for key, value in one.get_components())


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) or "no name"
