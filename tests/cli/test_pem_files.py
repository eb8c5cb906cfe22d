"""Signing requests as people have them in files: taken, or refused with what is wrong and the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fedtui.cli.pem_files import CERTIFICATE, PRIVATE_KEY, REQUEST, Kind, read_pem
from fedtui.core.errors import WrongUsage
from fedtui.core.pki.signing import new_key, signing_request
from fedtui.core.pki.x509 import read_csr
from tests.homes import MakeHome

CSR = signing_request(new_key(), "edge")
DER = x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER)
RSA_PSS = """\
-----BEGIN CERTIFICATE REQUEST-----
MIIChzCCAToCAQAwDzENMAsGA1UEAwwEZWRnZTCCASAwCwYJKoZIhvcNAQEKA4IB
DwAwggEKAoIBAQCYSVr1p7j65qT0SI6KAnN6h/5Ufue1mt9hBB06Wepu23xepl4Q
+bLH7QZ3XKaLbFvzx6LX8b3Eq2acBWAnlIxgCxGms1vEbpM+h5dINhq4qEixxNQs
86VZpgOVXHCewvgi6HvbEioRCdXw3ZxSehDvK4XsB+n8/fmVIy8umU8mLSfvMnWY
FwW2BARZFg4oZbNxwJXqGjBJZarCYFz94krshyphSwBnc38mXbPfeDYNmTBF1REs
er/kzYPUhNGHTtWzkFcyRJ462yT+0ODpLPx+hu46nxCcXxKTSaiHTCDzpf9VcQQt
PSU/SR53Ztaiyy8mYoRzLk1A1QAuvvfWt2d1AgMBAAGgADBCBgkqhkiG9w0BAQow
NaAPMA0GCWCGSAFlAwQCAQUAoRwwGgYJKoZIhvcNAQEIMA0GCWCGSAFlAwQCAQUA
ogQCAgDeA4IBAQCAy52Wq+YVSfiFNIb6Z80Qhf644pPjc48mq8X+80gINdLADonV
vYtrMxPJPhSvG4bvobbAED2i7nHq+45yAkqy8r87KDBI44dLCLQlPXMYkVVXPmKS
qBIZa2dw2rrVTHfbZfPeW5JR/9q5EBl3UJ6DhkCS1sKOPS6nVhmp0z/NrBLz7roN
l85T09bfF2fE6fKkWVuFNAAMjau9qVhLsn0T+VF8/32zecNRO0oHApuUoDxLx7sc
RzMIpTkIS2VrlhK7+pim3dlC9uzMeRGpXlvkj7zQxIsn0eihpU9JInAuWf622evo
cVqc6R3kCGy5pUpKPYSWnPKpCBFYsczR/ocB
-----END CERTIFICATE REQUEST-----
"""


SAVED = {
    "PEM": CSR.encode(),
    "DER": DER,
    "UTF-16": CSR.encode("utf-16"),
    "little-endian": CSR.encode("utf-16-le"),
    "big-endian": CSR.encode("utf-16-be"),
    "byte order mark": b"\xef\xbb\xbf" + CSR.encode(),
    "line ends of Windows": CSR.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_a_request_is_read_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    """The same request comes out of each."""
    file = tmp_path / "a.csr"
    file.write_bytes(content)
    assert read_csr(read_pem(file, REQUEST)).public_key() == read_csr(CSR).public_key()


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", REQUEST, "is empty"),
        (b" \n\n", CERTIFICATE, "is empty"),
        (b"x" * 70_000, REQUEST, "larger than"),
        (b"\x89PNG\r\n\x1a\n", CERTIFICATE, "no text"),
        (DER, PRIVATE_KEY, "no text"),
        (CSR.encode(), CERTIFICATE, "holds a certificate request"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", REQUEST, "never leaves its owner"),
        (CSR.encode() * 2, REQUEST, "2 requests"),
    ],
    ids=["nothing", "blank", "huge", "a picture", "a key in DER", "another kind", "a private key", "two"],
)
def test_what_cannot_be_pem_is_refused_with_what_helps(tmp_path: Path, content: bytes, kind: Kind, words: str) -> None:
    """An empty, huge or binary file is named as such, with the command that makes or converts one."""
    file = tmp_path / "a file"
    file.write_bytes(content)
    with pytest.raises(WrongUsage) as refused:
        read_pem(file, kind)
    assert words in refused.value.cause
    assert any(word in refused.value.fix for word in ("openssl", "fedtui certs", "of its own"))
    assert "codec" not in refused.value.cause


def with_sha1() -> bytes:
    """A request that says it is signed with SHA-1: its algorithm is looked at before its signature."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    der = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    sha256_rsa, sha1_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    return der.public_bytes(Encoding.DER).replace(sha256_rsa, sha1_rsa)


def of_rsa_pss() -> bytes:
    """A request for a key that is for RSA-PSS alone, made by `openssl req -new -newkey rsa-pss`."""
    return RSA_PSS.encode()


@pytest.mark.parametrize(("make", "words"), [(with_sha1, "SHA-1"), (of_rsa_pss, "RSA-PSS"), (bytes, "is empty")])
def test_kinds_that_are_not_taken_are_named(
    make_home: MakeHome, tmp_path: Path, make: Callable[[], bytes], words: str
) -> None:
    """Exit 2 with the kind, never a wrong reason, and nothing is asked for or signed."""
    home, file = make_home(), tmp_path / "edge.csr"
    file.write_bytes(make())
    ran = home.run("certs", "proxy", "edge", "--csr", str(file), "--json")
    error = ran.json["error"]
    assert ran.code == 2
    assert words in error["problem"] + error["cause"]
    assert home.ok("approvals", "list") == []
    assert "Warning" not in ran.err


def test_an_empty_request_is_not_taken_for_none(make_home: MakeHome) -> None:
    """From standard input as from a file: nothing is signed in its place."""
    home = make_home()
    refused = home.ok("certs", "proxy", "edge", "--csr", "-", code=2)
    assert "empty" in refused["error"]["cause"]
