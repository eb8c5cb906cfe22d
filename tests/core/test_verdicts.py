"""The probe and a call judge a server's certificate alike: what OpenSSL refuses has a fault, what it takes has none."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fedtui.core.errors import RemoteFailed
from fedtui.core.pki.signing import new_key
from fedtui.core.pki.tls import ServerRefused
from fedtui.core.pki.tls_inspect import Trusted
from fedtui.core.pki.x509 import to_pem
from fedtui.core.protocol import client
from fedtui.core.protocol.client import Connection
from tests.core.test_probing import LIMIT, NOW, codes, probed, serving

CA = (x509.BasicConstraints(ca=True, path_length=None), True)
Extension = tuple[x509.ExtensionType, bool]


@dataclass
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any


def made(
    name: str,
    *extensions: Extension,
    by: Made | None = None,
    key: Any = None,
    start: timedelta = timedelta(days=-9),
    end: timedelta = timedelta(days=99),
) -> Made:
    """A certificate with these extensions, signed by itself or `by` another."""
    own = key or new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(by.certificate.subject if by else _name(name))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Made(builder.sign(by.key if by else own, hashes.SHA256()), own)


def leaf(by: Made, *extensions: Extension, **options: Any) -> Made:
    """A server's certificate for localhost and 127.0.0.1."""
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    return made("leaf", (names, False), *extensions, by=by, **options)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


Chain = tuple[Sequence[Made], Made]
"""What is presented, leaf first, and the anchor."""


def constrained() -> Chain:
    allowed = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)
    root = made("root", CA, (allowed, True))
    return [leaf(root), root], root


def excluded() -> Chain:
    root = made("root", CA, (x509.NameConstraints(None, [x509.DNSName("localhost")]), True))
    return [leaf(root), root], root


def too_deep() -> Chain:
    root = made("root", (x509.BasicConstraints(ca=True, path_length=0), True))
    between = made("between", CA, by=root)
    return [leaf(between), between, root], root


def unknown_critical() -> Chain:
    root = made("root", CA)
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    return [leaf(root, (unknown, True)), root], root


def issued_by_a_leaf() -> Chain:
    root = made("root", CA)
    no_ca = made("no CA", (x509.BasicConstraints(ca=False, path_length=None), True), by=root)
    return [leaf(no_ca), no_ca, root], root


def weak() -> Chain:
    root = made("root", CA)
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the fault
    return [leaf(root, key=key), root], root


def common_name_alone() -> Chain:
    root = made("root", CA)
    return [made("localhost", by=root), root], root


def for_clients_by_its_ca() -> Chain:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    root = made("root", CA)
    between = made("between", CA, (usage, False), by=root)
    return [leaf(between), between, root], root


def a_ca_as_leaf() -> Chain:
    root = made("root", CA)
    return [leaf(root, CA), root], root


def forged() -> Chain:
    root, namesake = made("root", CA), made("root", CA)
    return [leaf(namesake), root], root


def old_cross_signature() -> Chain:
    root, older = made("root", CA), made("older", CA)
    crossed = made("root", CA, by=older, key=root.key, end=timedelta(days=-1))
    between = made("between", CA, by=root)
    return [leaf(between), between, crossed], root


def something_beside() -> Chain:
    root = made("root", CA)
    beside = made("beside", CA, end=timedelta(days=-1))
    return [leaf(root), beside, root], root


def pinned_between() -> Chain:
    root = made("root", CA, end=timedelta(days=-1))
    between = made("between", CA, by=root)
    return [leaf(between), between], between


CASES: dict[Callable[[], Chain], tuple[str, ...]] = {
    constrained: ("name_constraints",),
    excluded: ("name_constraints",),
    too_deep: ("path_too_long",),
    unknown_critical: ("critical_extension",),
    issued_by_a_leaf: ("invalid_ca", "unknown_ca"),
    weak: (),
    common_name_alone: ("name_mismatch",),
    for_clients_by_its_ca: ("wrong_purpose",),
    a_ca_as_leaf: (),
    forged: ("unknown_ca",),
    old_cross_signature: ("none",),
    something_beside: ("none",),
    pinned_between: ("none",),
}
"""Chains, and the faults of which one has to be named; `none`: it is taken. () depends on the machine's OpenSSL."""


@pytest.mark.parametrize("chain", CASES, ids=lambda chain: chain.__name__)
def test_a_probe_and_a_call_never_disagree(chain: Callable[[], Chain], tmp_path: Path) -> None:
    """Each chain is refused by both with a fault that names why, or taken by both without a fault."""
    presented, anchor = chain()
    with serving(_context(presented, tmp_path)) as port:
        connection = Connection((f"https://localhost:{port}",), (to_pem(anchor.certificate),), None)
        with pytest.raises(RemoteFailed) as raised:
            client.call(connection, "/x", None, timeout=LIMIT, method="GET")
        report = probed(port, Trusted([anchor.certificate]), host="localhost")
    refused = isinstance(raised.value, ServerRefused)
    assert raised.value.code == ("remote_tls_failed" if refused else "remote_rejecting"), raised.value.cause
    assert report.ok is not refused, (codes(report), raised.value.cause)
    if expected := CASES[chain]:
        assert set(codes(report) or ["none"]) & set(expected), (codes(report), raised.value.cause)
    assert all(fault.fix for fault in report.faults)


def _context(presented: Sequence[Made], folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # a server may be as weak as it likes
    file = folder / "pair.pem"
    key = presented[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes("".join(to_pem(one.certificate) for one in presented).encode() + key)
    context.load_cert_chain(file)
    return context
