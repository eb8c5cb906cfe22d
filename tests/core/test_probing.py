"""The probe: every reason for a failing TLS told apart, on real sockets, and as the openssl command sees it."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.pki import tls_inspect
from fedtui.core.pki.crl import PeerCrl
from fedtui.core.pki.signing import key_pem, new_key
from fedtui.core.pki.tls_inspect import Trusted
from fedtui.core.pki.x509 import fingerprint, to_pem
from fedtui.core.protocol import probe
from fedtui.core.protocol.client import Connection
from fedtui.core.protocol.probe import Report, Target

NOW = datetime.now(UTC)
LIMIT = timedelta(seconds=5)
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


@dataclass
class Authority:
    """A CA made for a test."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def leaf(
        self,
        *,
        start: timedelta = timedelta(days=-1),
        end: timedelta = timedelta(days=30),
        name: x509.GeneralName | None = None,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A certificate for 127.0.0.1, unless told otherwise."""
        key = new_key()
        builder = x509.CertificateBuilder(
            self.certificate.subject,
            _name("leaf"),
            key.public_key(),
            x509.random_serial_number(),
            NOW + start,
            NOW + end,
        )
        names = x509.SubjectAlternativeName([name or x509.IPAddress(ip_address("127.0.0.1"))])
        purpose = x509.ExtendedKeyUsage([usage])
        made = builder.add_extension(names, critical=False).add_extension(purpose, critical=False)
        return made.sign(self.key, hashes.SHA256()), key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def authority(name: str = "a test CA") -> Authority:
    key = new_key()
    builder = x509.CertificateBuilder(
        _name(name),
        _name(name),
        key.public_key(),
        x509.random_serial_number(),
        NOW - timedelta(days=9),
        NOW + timedelta(days=99),
    )
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(made.sign(key, hashes.SHA256()), key)


@contextmanager
def serving(
    context: ssl.SSLContext | None,
    answer: bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    before: Callable[[ssl.SSLSocket], object] = lambda _connection: None,
) -> Iterator[int]:
    """A server that shakes hands as `context` says, does what comes `before`, answers once, and closes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    if context is None:
                        connection.recv(1)
                        connection.sendall(answer)
                        continue
                    with context.wrap_socket(connection, server_side=True) as secured:
                        if secured.recv(1):  # else it left without a word
                            before(secured)
                            secured.sendall(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def server(
    leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey, *above: x509.Certificate, folder: Path
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "pair.pem"
    file.write_bytes("".join(map(to_pem, (leaf, *above))).encode() + key_pem(key))
    context.load_cert_chain(file)
    return context


def probed(
    port: int, trusted: Trusted, *, host: str = "127.0.0.1", pair: Any = None, timeout: timedelta = LIMIT
) -> Report:
    url = f"https://{host}:{port}"
    pems = tuple(to_pem(one) for one in trusted.anchors)
    target = Target(url, None, trusted, Connection((url,), pems, pair), "no pair")
    return probe.run(target, datetime.now(UTC), timeout, lambda _step: None)


def codes(report: Report) -> list[str]:
    return [fault.code for fault in report.faults]


FAULTY: dict[str, dict[str, Any]] = {
    "expired": {"end": timedelta(hours=-1)},
    "not_yet_valid": {"start": timedelta(hours=1)},
    "name_mismatch": {"name": x509.DNSName("other.example")},
    "wrong_purpose": {"usage": ExtendedKeyUsageOID.CLIENT_AUTH},
}


@pytest.mark.parametrize("code", FAULTY)
def test_each_fault_of_a_certificate_by_its_name(code: str, tmp_path: Path) -> None:
    """Dates, name and purpose: exactly that fault, with the chain as it was presented."""
    ca = authority()
    leaf, key = ca.leaf(**FAULTY[code])
    with serving(server(leaf, key, ca.certificate, folder=tmp_path)) as port:
        report = probed(port, Trusted([ca.certificate]))
    assert codes(report) == [code]
    assert [fingerprint(one) for one in report.sight.chain] == [fingerprint(leaf), fingerprint(ca.certificate)]
    assert report.faults[0].fix


def test_a_good_certificate_has_no_fault(tmp_path: Path) -> None:
    """Name resolved, TLS spoken, chain to the anchor; without a pair of ours the last step is not tried."""
    ca = authority()
    leaf, key = ca.leaf()
    with serving(server(leaf, key, ca.certificate, folder=tmp_path)) as port:
        report = probed(port, Trusted([ca.certificate]))
    assert (codes(report), report.anchor, report.sight.protocol) == ([], fingerprint(ca.certificate), "TLSv1.3")
    assert [(step.name, step.ok) for step in report.steps] == [
        ("dns", True),
        ("tls", True),
        ("certificate", True),
        ("client_certificate", None),
    ]
    shape = probe.shape(report)
    assert (shape["ok"], shape["chain"][0]["key"], shape["chain"][0]["names"]) == (True, "EC secp256r1", ["127.0.0.1"])


def test_all_faults_are_told_not_only_the_first(tmp_path: Path) -> None:
    """OpenSSL stops at the first; here dates, name, purpose and CA come together."""
    ca, other = authority("one"), authority("two")
    leaf, key = ca.leaf(end=timedelta(hours=-1), name=x509.DNSName("x.example"), usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    with serving(server(leaf, key, folder=tmp_path)) as port:
        report = probed(port, Trusted([other.certificate]))
    assert codes(report) == ["expired", "name_mismatch", "wrong_purpose", "unknown_ca"]


def test_self_signed_unknown_and_namesake_cas_are_told_apart(tmp_path: Path) -> None:
    """A certificate that signed itself, a CA that nobody knows, and one with a trusted one's name."""
    trusted, stranger, namesake = authority(), authority("a stranger"), authority()
    alone = stranger.certificate
    for chain, key, code, words in (
        ((alone,), stranger.key, "self_signed", "self-signed"),
        ((stranger.leaf()[0], alone), None, "unknown_ca", "not trusted here"),
        ((namesake.leaf()[0], namesake.certificate), None, "unknown_ca", "bears the name"),
    ):
        found = tls_inspect.faults(chain, "127.0.0.1", Trusted([trusted.certificate]), NOW)
        assert (found[-1].code, words in found[-1].words) == (code, True), (key, found)


def test_revoked_by_the_crl_that_is_kept() -> None:
    """The serial stands on the CA's list; the same serial on a namesake's list would be another's affair."""
    ca = authority()
    leaf, _ = ca.leaf()
    entry = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(NOW).build()
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(ca.key, hashes.SHA256())
    )
    kept = PeerCrl(peer_id="p", der=crl.public_bytes(Encoding.DER), revoked=1, covers=True, tried_at=NOW)
    found = tls_inspect.faults([leaf, ca.certificate], "127.0.0.1", Trusted([ca.certificate], kept), NOW)
    assert [one.code for one in found] == ["revoked"]


def test_nothing_listens_nothing_answers_no_such_name() -> None:
    """refused, silent and dns are three things: where TCP connects, no firewall is to blame."""
    trusted = Trusted([authority().certificate])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert codes(probed(port, trusted)) == ["refused"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = probed(silent.getsockname()[1], trusted, timeout=timedelta(seconds=0.5))
    assert codes(report) == ["silent"]
    assert "accepts the connection and sends nothing" in report.faults[0].words
    report = probed(443, trusted, host="no-such-host.invalid")
    assert (codes(report), [step.name for step in report.steps]) == (["dns"], ["dns"])


def test_what_speaks_no_tls_is_said_to() -> None:
    """A plain HTTP server, and one that hangs up."""
    trusted = Trusted([authority().certificate])
    with serving(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert codes(probed(port, trusted)) == ["not_tls"]
    with serving(None, b"") as port:
        assert codes(probed(port, trusted)) == ["disconnected"]


@openssl
@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_mismatch"),
        (("-tls1_2", "-cipher", "AES128-SHA256"), "disconnected"),
    ],
)
def test_a_server_that_speaks_only_what_is_not_taken(extra: tuple[str, ...], code: str, tmp_path: Path) -> None:
    """TLS 1.1 only: the versions do not meet. A certificate for another cipher suite: the handshake ends."""
    ca = authority()
    with s_server(ca, tmp_path, *extra) as port:
        assert codes(probed(port, Trusted([ca.certificate])))[0] == code


@contextmanager
def s_server(ca: Authority, folder: Path, *extra: str) -> Iterator[int]:
    """`openssl s_server` with a leaf of `ca`; its port."""
    leaf, key = ca.leaf()
    (folder / "leaf.pem").write_text(to_pem(leaf))
    (folder / "leaf.key").write_bytes(key_pem(key))
    (folder / "ca.pem").write_text(to_pem(ca.certificate))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        "openssl",
        "s_server",
        "-accept",
        f"127.0.0.1:{port}",
        "-cert",
        "leaf.pem",
        "-key",
        "leaf.key",
        "-cert_chain",
        "ca.pem",
        "-www",
        *extra,
    ]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        while "ACCEPT" not in (line := process.stdout.readline()):
            assert line, "openssl s_server did not start"
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


@openssl
def test_the_probe_agrees_with_openssl(tmp_path: Path) -> None:
    """Chain, protocol, cipher, the CAs that are asked for, and the verdict are those of `openssl s_client`."""
    ca = authority()
    with s_server(ca, tmp_path, "-verify", "1", "-CAfile", "ca.pem") as port:
        report = probed(port, Trusted([ca.certificate]))
        told = subprocess.run(
            ["openssl", "s_client", "-showcerts", "-connect", f"127.0.0.1:{port}", "-CAfile", "ca.pem"],
            cwd=tmp_path,
            input="",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout
    shown = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", told, re.DOTALL)
    assert [to_pem(one) for one in report.sight.chain] == shown
    assert f"New, {report.sight.protocol}, Cipher is {report.sight.cipher}" in told
    assert (report.sight.asks, report.sight.names) == (True, ("CN=a test CA",))
    assert "Acceptable client certificate CA names\nCN = a test CA" in told
    assert ("Verify return code: 0 (ok)" in told, report.ok) == (True, True)


@openssl
@pytest.mark.parametrize("code", ["expired", "not_yet_valid", "self_signed"])
def test_the_verdict_is_openssls_too(code: str, tmp_path: Path) -> None:
    """Where this probe names a fault, `openssl verify` fails, and names the same."""
    ca = authority()
    leaf = ca.certificate if code == "self_signed" else ca.leaf(**FAULTY[code])[0]
    known = authority("other") if code == "self_signed" else ca
    (tmp_path / "leaf.pem").write_text(to_pem(leaf))
    (tmp_path / "ca.pem").write_text(to_pem(known.certificate))
    said = subprocess.run(
        ["openssl", "verify", "-CAfile", "ca.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    words = {"expired": "certificate has expired", "not_yet_valid": "not yet valid", "self_signed": "self-signed"}
    assert words[code] in said.stderr
    found = [one.code for one in tls_inspect.faults([leaf], "127.0.0.1", Trusted([known.certificate]), NOW)]
    assert code in found


@openssl
def test_a_server_that_insists_on_a_certificate(tmp_path: Path) -> None:
    """Under TLS 1.2 it ends a handshake without one; what it presented is judged all the same."""
    ca = authority()
    with s_server(ca, tmp_path, "-tls1_2", "-Verify", "1", "-CAfile", "ca.pem") as port:
        report = probed(port, Trusted([ca.certificate]))
    assert report.sight.asks
    assert (codes(report), report.anchor) == ([], fingerprint(ca.certificate))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_our_certificate_rejected_is_told_from_theirs(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """The server is in order, and ends the connection for what we present: that is said, in both versions of TLS."""
    ca, foreign = authority(), authority("foreign")
    leaf, key = ca.leaf()
    context = server(leaf, key, ca.certificate, folder=tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=to_pem(ca.certificate))
    context.minimum_version = context.maximum_version = version
    ours, our_key = foreign.leaf(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    with serving(context) as port:
        report = probed(port, Trusted([ca.certificate]), pair=(to_pem(ours), key_pem(our_key)))
    assert (codes(report), report.accepts_ours) == (["own_certificate_rejected"], False)


def test_a_server_that_is_slow_to_answer_is_not_one_that_rejects(tmp_path: Path) -> None:
    """It takes our certificate and then says nothing in time: a time-out, and no verdict on what we present."""
    ca = authority()
    leaf, key = ca.leaf()
    context = server(leaf, key, ca.certificate, folder=tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=to_pem(ca.certificate))
    ours, our_key = ca.leaf(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    never = threading.Event()

    def hold_back(connection: ssl.SSLSocket) -> None:
        if connection.getpeercert(binary_form=True):
            never.wait(10)

    with serving(context, before=hold_back) as port:
        report = probed(
            port, Trusted([ca.certificate]), pair=(to_pem(ours), key_pem(our_key)), timeout=timedelta(seconds=2)
        )
        never.set()
    assert (codes(report), report.accepts_ours) == (["timeout"], None)


HOSTS = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.){1,3}[a-z][a-z0-9]{0,8}", fullmatch=True)


@given(HOSTS)
def test_names_match_as_rfc_9525_says(host: str) -> None:
    """A name stands for itself in any case; a wildcard for exactly one label."""
    ca = authority()
    _, _, parent = host.partition(".")

    def stands(name: str, wanted: str) -> bool:
        leaf, _ = ca.leaf(name=x509.DNSName(name))
        found = tls_inspect.faults([leaf], wanted, Trusted([ca.certificate]), NOW)
        return "name_mismatch" not in [one.code for one in found]

    assert stands(host, host.upper())
    assert stands(f"*.{parent}", host)
    assert not stands("*.0.0.1", "127.0.0.1"), "an address is no name"
    assert not stands(f"*.{parent}", f"a.{host}")
    assert not stands(f"*.{host}", host)


def test_hostile_bytes_are_a_fault_and_no_traceback() -> None:
    """A server that answers with anything at all gets a named fault."""
    trusted = Trusted([authority().certificate])
    for answer in (b"\x16\x03\x03\xff\xff" + b"\0" * 100, b"\x15\x03\x03\0\x02\x02\x28", b"\0" * 64):
        with serving(None, answer) as port:
            report = probed(port, trusted)
        assert len(report.faults) == 1
        assert report.faults[0].code in ("not_tls", "disconnected", "protocol_mismatch")
