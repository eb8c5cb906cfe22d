"""Fuzz everything that reads what a remote says, for as long as you like.

    python -m tests.fuzz.remote_words --minutes 5 [--seed 1]

Not part of the test run. Each target gets damaged forms of documents that are in order, and
what came of it must be a value or a named refusal, in little time and memory. A finding is
printed with the input that made it, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from fedtui.api import bodies
from fedtui.core.errors import Problem
from fedtui.core.grants import allowlists, callers, chain
from fedtui.core.grants.callers import Caller
from fedtui.core.peers import tokens
from fedtui.core.peers.peers import Peer
from fedtui.core.peers.tokens import Invite
from fedtui.core.pki import signing, tls
from fedtui.core.pki.x509 import (
    UNREADABLE,
    chains_to,
    described,
    fingerprint,
    instance_of,
    presentable,
    read_certificates,
    read_csr,
    read_der,
)
from fedtui.core.protocol import client, heartbeats
from fedtui.core.protocol.client import HttpResponse
from fedtui.core.runtime import urls
from tests.api.test_edge import signed

SLOW_SECONDS = 0.5
MEMORY_GROWTH_KIB = 200 * 1024
ROOT = signed("root")
LEAF = signed("leaf", ROOT, ca=False)
CERT = LEAF.certificate.public_bytes(serialization.Encoding.DER)
CSR = signing.signing_request(signing.new_key(), "x")
PIN = "sha256:" + "ab" * 32
TOKEN = tokens._spell(tokens.TOKEN_PREFIX, b"k" * 32)
INVITE = tokens.write_invite(Invite("https://a.example", TOKEN, datetime(2030, 1, 1, tzinfo=UTC), PIN))
GENERATOR = random.Random()  # noqa: S311 - repeatable by its seed
NASTY = ("\x00", "\ud800", "²", "٣", "\x1b[2J", "9" * 5000, "[" * 3000, "%00", "\r\n", "0x", "::ffff:", "1e999", "-1")


def crl() -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(ROOT.certificate.subject, now, now + timedelta(days=1))
    revoked = x509.RevokedCertificateBuilder(7, now).build()
    return (
        builder.add_revoked_certificate(revoked)
        .sign(ROOT.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


CRL = crl()


def damage(data: bytes) -> bytes:
    """One to four changes: a byte, a piece lost, moved or doubled, bytes put in, a length field made wrong."""
    for _ in range(GENERATOR.randint(1, 4)):
        at, to = sorted(GENERATOR.randrange(len(data) + 1) for _ in range(2))
        way = GENERATOR.randrange(6)
        if way == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([GENERATOR.randrange(256)]) + data[at + 1 :]
        elif way == 1:
            data = data[:at] + data[min(to, at + 20) :]
        elif way == 2:
            data = data[:to] + data[at : at + 40] + data[to:]
        elif way == 3:
            data = data[:at] + GENERATOR.randbytes(GENERATOR.randint(1, 6)) + data[at:]
        elif way == 4:
            data = (
                data[:at]
                + GENERATOR.choice((b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"\x02\x01", b"\x00"))
                + data[at:]
            )
        else:
            data = data[:at]
    return data


def damage_text(text: str) -> str:
    for _ in range(GENERATOR.randint(1, 3)):
        at = GENERATOR.randrange(len(text) + 1)
        cut = GENERATOR.choice((0, 0, 1, 5))
        text = text[:at] + GENERATOR.choice((*NASTY, chr(GENERATOR.randrange(0x110000)), "")) + text[at + cut :]
    return text


def pem(der: bytes, label: str) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def certificates(text: str) -> None:
    for one in read_certificates(text, field="x"):
        if chains_to(one, [], [ROOT.certificate]) is not None and fingerprint(one) != fingerprint(LEAF.certificate):
            raise AssertionError("a certificate that nobody signed chains to the root")
        described(one)
    instance_of(text)


def shown(der: bytes) -> None:
    try:
        found = read_der(der)
    except UNREADABLE:
        return
    described(found)
    presentable(found, datetime.now(UTC))
    tls.find_pinned([found], PIN)


def revocations(der: bytes) -> None:
    """As `crls.keep` looks at one, and `revoked_in` later."""
    try:
        found = x509.load_der_x509_crl(der)
        issuer = ROOT.certificate
        good = found.issuer == issuer.subject and found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        _ = found.last_update_utc, found.next_update_utc, len(found)
    except UNREADABLE:
        return
    if good and der[: len(CRL)] != CRL:
        raise AssertionError("a CRL that nobody signed is taken")
    if good:
        found.get_revoked_certificate_by_serial_number(7)


def forwarded(der: bytes) -> None:
    for name, text in (
        ("client-cert", f":{base64.b64encode(der).decode()}:"),
        ("x-ssl-client-cert", quote(pem(der, "CERTIFICATE"))),
    ):
        callers.resolve_forwarded_caller(Caller(), {name: [text]}, proxied=True)


def headers(text: str) -> None:
    given = {name: [part] for name, part in zip(callers.FORWARDED, text.split("|"), strict=False)}
    callers.resolve_forwarded_caller(Caller(source_ip="192.0.2.1"), given, proxied=True)
    chain.grant_id(text)
    allowlists.allows_address(["10.0.0.0/8", "fd00::/48"], text)
    allowlists.allows_id([text.strip().lower()], text)


def any_body(content: bytes) -> None:
    for model in (bodies.AcceptBody, bodies.HeartbeatBody, bodies.EnrollBody, bodies.RenewBody):
        try:
            bodies.parse(model, content)
        except Problem:
            continue
    bodies.document(content)


def answer(content: bytes) -> None:
    for status in (200, 503):
        try:
            client._answer(HttpResponse(status, content, content[:20].decode("latin-1"), None))
        except Problem as problem:
            if not (problem.problem + problem.cause).isprintable():
                raise AssertionError("words that cannot be printed") from problem


def places(text: str) -> None:
    peer = Peer(remote_instance_url="https://b.example", endpoints=[{"url": text}], confirmed_endpoints=[])
    if len(client.endpoint_urls(peer)) > 2:
        raise AssertionError("one endpoint, and more than two places")
    heartbeats.schema_compatibility("1.2", text)
    urls.normalize(text)


BODY = json.dumps(
    {
        "contract_version": 1,
        "remote_instance_url": "https://b.example",
        "acceptance_token": "t",
        "csr_pem": CSR,
        "endpoints": [{"url": "https://b.example", "priority": 1}],
        "capabilities": {"x": 1},
        "sent_at": "2026-01-01T00:00:00Z",
        "certificate": {"cert_pem": "x"},
    }
)
ANSWER = json.dumps({"data": {"status": "active", "x": [1, {"y": None}]}, "error": "no"})
HEADERS = f":{base64.b64encode(CERT).decode()}:|%2D|10.0.0.1|0195d3a2-7c1e-7000-8000-0000000000aa|1.2.3.4, ::1"


@dataclass(frozen=True)
class Target:
    """What is tried: a document in order, how it is damaged, and who reads it."""

    name: str
    make: Callable[[], bytes | str]
    read: Callable[[Any], object]


def texts(*seeds: str) -> Callable[[], str]:
    return lambda: damage_text(GENERATOR.choice(seeds))


def binaries(*seeds: bytes) -> Callable[[], bytes]:
    return lambda: damage(GENERATOR.choice(seeds))


TARGETS: Sequence[Target] = (
    Target("token", texts(TOKEN), tokens.clean_token),
    Target("invite", texts(INVITE), tokens.read_invite),
    Target(
        "csr",
        lambda: pem(
            damage(x509.load_pem_x509_csr(CSR.encode()).public_bytes(serialization.Encoding.DER)), "CERTIFICATE REQUEST"
        ),
        read_csr,
    ),
    Target("csr text", texts(CSR), read_csr),
    Target("certificate", lambda: pem(damage(CERT), "CERTIFICATE"), certificates),
    Target("bundle text", texts(pem(CERT, "CERTIFICATE") * 2), certificates),
    Target("certificate shown", binaries(CERT), shown),
    Target("crl", binaries(CRL), revocations),
    Target("forwarded certificate", binaries(CERT), forwarded),
    Target("headers", texts(HEADERS), headers),
    Target("body", binaries(BODY.encode()), any_body),
    Target("body text", lambda: damage_text(BODY).encode("utf-8", "surrogatepass"), any_body),
    Target("answer", binaries(ANSWER.encode()), answer),
    Target("answer text", lambda: damage_text(ANSWER).encode("utf-8", "surrogatepass"), answer),
    Target("url", texts("https://b.example:8443/x", "https://[fd00::1]:1/", "1.2.3"), places),
)


def findings(until: float, tried: Counter[str]) -> Iterator[str]:
    """Try targets in turn; what went wrong, with the input."""
    while time.monotonic() < until:
        for target in TARGETS:
            given = target.make()
            began = time.process_time()
            try:
                target.read(given)
            except Problem:
                pass
            except Exception:
                yield f"{target.name}: {given!r}\n{traceback.format_exc()}"
            if (took := time.process_time() - began) > SLOW_SECONDS:
                yield f"{target.name}: {took:.2f} s for {given!r}"
            tried[target.name] += 1


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    GENERATOR.seed(seed)
    tried: Counter[str] = Counter()
    before, found = peak_kib(), 0
    for finding in findings(time.monotonic() + options.minutes * 60, tried):
        found += 1
        sys.stdout.write(f"{finding[:4000]}\n")
    if (grown := peak_kib() - before) > MEMORY_GROWTH_KIB:
        found += 1
        sys.stdout.write(f"memory grew by {grown} KiB\n")
    sys.stdout.write(
        f"seed {seed}: {sum(tried.values())} inputs of {len(tried)} kinds, {found} findings, {grown} KiB\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
