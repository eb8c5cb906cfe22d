"""Reading X.509: fingerprints, parsing with a named error, and whether a chain holds."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from fedtui.core.errors import WrongUsage

PEM_LIMIT = 64 * 1024
"""Longest PEM text that is looked at, in characters."""
CHAIN_DEPTH = 5
INSTANCE_URI = "powernode://instance/"
"""What the URI SAN of a peer's certificate begins with; the instance's id follows."""
UNREADABLE = (
    ValueError,
    TypeError,  # for a name of a type that its attribute cannot have
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for X.509 that it does not take."""


def pem_fingerprint(pem: str) -> str | None:
    """The fingerprint of the first certificate of a PEM text, which is not parsed; None where there is none."""
    found = _FIRST_PEM.search(pem)
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True) if found is not None else b""
    except ValueError:
        return None
    return f"sha256:{hashlib.sha256(der).hexdigest()}" if der else None


_FIRST_PEM = re.compile("-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]+)-----END CERTIFICATE-----")


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, as `sha256:<64 hex digits>`: the only name a CA is known by."""
    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def key_fingerprint(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, as hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


class CertificateSummary(NamedTuple):
    """What tells one certificate from another in a record."""

    fingerprint: str
    subject: str
    issuer: str


def described(certificate: x509.Certificate) -> CertificateSummary:
    """Fingerprint, subject and issuer of a certificate."""
    subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    return CertificateSummary(fingerprint(certificate), subject, issuer)


def to_pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def serial_text(certificate: x509.Certificate) -> str:
    """The serial number in lower-case hex, as openssl prints it but for the case."""
    return f"{certificate.serial_number:x}"


def read_certificates(pem: str, *, field: str) -> list[x509.Certificate]:
    """Every certificate in a PEM text. Raises `WrongUsage` naming `field`."""
    try:
        if len(pem) > PEM_LIMIT:
            raise _OurWords(f"It is longer than {PEM_LIMIT} characters.")
        return [_parsed(certificate) for certificate in x509.load_pem_x509_certificates(pem.encode())]
    except UNREADABLE as error:
        raise _invalid(field, "a PEM certificate", error) from error


def read_der(der: bytes) -> x509.Certificate:
    """One certificate from DER. Raises one of `UNREADABLE`."""
    return _parsed(x509.load_der_x509_certificate(der))


def _parsed(certificate: x509.Certificate) -> x509.Certificate:
    """The library parses lazily: look at every part now, so that a broken one is found here and nowhere else."""
    certificate.public_key()
    for part in ("subject", "issuer", "extensions", "not_valid_before_utc", "not_valid_after_utc"):
        getattr(certificate, part)
    return certificate


def read_csr(pem: str, *, field: str = "csr_pem") -> x509.CertificateSigningRequest:
    """A certificate signing request whose signature holds and whose key is strong enough.

    Taken: ECDSA P-256/384/521, Ed25519, RSA of 2048 to 8192 bits. Raises `WrongUsage`.
    """
    try:
        if len(pem) > PEM_LIMIT:
            raise _OurWords(f"It is longer than {PEM_LIMIT} characters.")
        csr = x509.load_pem_x509_csr(pem.encode())
        _require_taken(field, csr)
        valid, key = csr.is_signature_valid, csr.public_key()
    except (*UNREADABLE, InvalidSignature) as error:
        raise _invalid(field, "a PEM certificate signing request", error) from error
    if not valid:
        raise _invalid(field, "a valid signing request", _OurWords("Its signature does not match its key."))
    if not _strong(key):
        taken = "Taken are P-256/384/521, Ed25519, and RSA of 2048 to 8192 bits."
        raise _not_taken(field, "is for another kind of key", taken, NEW_KEY)
    return csr


WEAK_HASHES = (hashes.MD5, hashes.SHA1)


def _require_taken(field: str, csr: x509.CertificateSigningRequest) -> None:
    """Raise `WrongUsage` for a request whose signature or key is of a kind that is not taken, naming the kind."""
    hashed = csr.signature_hash_algorithm
    if isinstance(hashed, WEAK_HASHES):
        name = "SHA-1" if isinstance(hashed, hashes.SHA1) else hashed.name.upper()
        raise _not_taken(
            field, f"is signed with {name}", "Signatures by it can be forged.", "openssl req -new -sha256 ..."
        )
    if csr.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:  # type: ignore[attr-defined]  # not in stubs
        raise _not_taken(field, "is for an RSA-PSS key", "The certificate could not keep the key's type.", NEW_KEY)


NEW_KEY = "openssl genpkey -algorithm ed25519"


def _not_taken(field: str, what: str, why: str, command: str) -> WrongUsage:
    return WrongUsage(
        f"{field} {what}, which is not taken.", cause=why, fix=f"Make another: {command}", code=f"{field}_invalid"
    )


def chains_to(
    leaf: x509.Certificate, between: Iterable[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """The anchor that `leaf` chains to by signatures, or None. Dates are not looked at."""
    middle = list(between)
    current = leaf
    for _ in range(CHAIN_DEPTH):
        for anchor in anchors:
            if issued_by(current, anchor):
                return anchor
        step = next((one for one in middle if one != current and is_ca(one) and issued_by(current, one)), None)
        if step is None:
            return None
        current = step
    return None


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether the certificate may certify others (basic constraints)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def presentable(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it can be presented to a TLS server: valid now, no CA, and for client authentication."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        for_clients = ExtendedKeyUsageOID.CLIENT_AUTH in usages
    except x509.ExtensionNotFound:
        for_clients = True
    valid = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
    return for_clients and valid and not is_ca(certificate)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `certificate`: names and signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return 2048 <= key.key_size <= 8192
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


class _OurWords(ValueError):
    """What is wrong, as it may be answered; the library's words may change, and name its own workings."""


def _invalid(field: str, what: str, error: Exception) -> WrongUsage:
    cause = "Its content is damaged, is not what its label says, or has a field that is not supported."
    if isinstance(error, _OurWords):
        cause = str(error)
    elif "PEM" in str(error):
        cause = "It holds no PEM block that can be read."
    return WrongUsage(
        f"{field} is not {what}.",
        cause=cause,
        fix=f"Send {field} whole and unchanged, from -----BEGIN to END-----.",
        code=f"{field}_invalid",
    )


@lru_cache(maxsize=4096)
def instance_of(cert_pem: str) -> str | None:
    """The node instance that a certificate stands for (URI SAN `powernode://instance/<id>`), or None."""
    try:
        [certificate] = read_certificates(cert_pem, field="certificate")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (WrongUsage, ValueError, x509.ExtensionNotFound):
        return None
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if uri.startswith(INSTANCE_URI):
            return uri.removeprefix(INSTANCE_URI)
    return None
