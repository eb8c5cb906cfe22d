"""Reading X.509: chains that prove something, requests worth signing, and garbage refused by name."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from fedtui.core.errors import WrongUsage
from fedtui.core.node import Node
from fedtui.core.pki.signing import new_key, signing_request
from fedtui.core.pki.x509 import PEM_LIMIT, chains_to, is_ca, read_certificates, read_csr
from tests.conftest import START
from tests.core.test_certificates import ca, parsed
from tests.core.test_credentials import sign


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(by, hashes.SHA256())
    )


@pytest.mark.parametrize(("middle_is_ca", "found"), [(True, True), (False, False)])
def test_only_a_ca_may_stand_between(middle_is_ca: bool, found: bool) -> None:
    """A chain through an intermediate holds if that is a CA; a leaf that signed another leaf proves nothing."""
    root, middle, leaf = new_key(), new_key(), new_key()
    top = certificate("root", root, "root", root, ca=True)
    between = certificate("middle", middle, "root", root, ca=middle_is_ca)
    end = certificate("leaf", leaf, "middle", middle, ca=False)
    assert chains_to(end, [between], [top]) == (top if found else None)
    assert chains_to(end, [], [top]) is None
    assert chains_to(end, [between], []) is None


def test_a_circle_of_certificates_ends() -> None:
    """Two CAs that certify each other lead nowhere, in finite time."""
    one, two, leaf = new_key(), new_key(), new_key()
    circle = [certificate("one", one, "two", two, ca=True), certificate("two", two, "one", one, ca=True)]
    end = certificate("leaf", leaf, "one", one, ca=False)
    stranger = certificate("stranger", leaf, "stranger", leaf, ca=True)
    assert chains_to(end, circle, [stranger]) is None


Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def request(key: object, **extensions: x509.ExtensionType) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fed:whoever-i-like")])
    )
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]


def test_nothing_of_the_request_but_the_key_is_taken(node: Node) -> None:
    """A CSR asking for a CA, another name and every usage gets none of it."""
    key = new_key()
    signed = parsed(
        sign(
            node,
            request(
                key,
                constraints=x509.BasicConstraints(ca=True, path_length=3),
                names=x509.SubjectAlternativeName([x509.DNSName("alpha.example")]),
                usage=x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
                ),
            ),
        )
    )
    plain = parsed(sign(node, signing_request(key, "x")))
    assert [one.value for one in signed.extensions] == [one.value for one in plain.extensions]
    assert signed.subject == plain.subject
    assert "whoever" not in signed.subject.rfc4514_string()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-521", "Ed25519", "RSA-2048"],
)
def test_strong_requests_are_taken(make: Callable[[], Key]) -> None:
    """Requests for the keys we sign are read back with the key they were made for."""
    key = make()
    assert read_csr(request(key)).public_key() == key.public_key()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is there to be refused
        lambda: ec.generate_private_key(ec.SECP224R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: dsa.generate_private_key(2048),
        ed448.Ed448PrivateKey.generate,
    ],
    ids=["RSA-1024", "P-224", "secp256k1", "DSA", "Ed448"],
)
def test_weak_or_foreign_keys_are_refused(make: Callable[[], object]) -> None:
    """A request for a weak or unusual key is refused, and the cause names which keys are taken."""
    with pytest.raises(WrongUsage, match="csr_pem") as raised:
        read_csr(request(make()))
    assert raised.value.code == "csr_pem_invalid"
    assert "P-256" in raised.value.cause


VALID = request(new_key())


@given(st.data())
def test_broken_requests_are_refused_by_name(data: st.DataObject) -> None:
    """A valid request with any byte of its DER changed is refused, or is not a request at all: never a traceback,
    never taken (a signature that does not hold proves no key)."""
    der = bytearray(x509.load_pem_x509_csr(VALID.encode()).public_bytes(serialization.Encoding.DER))
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    body = base64.b64encode(der).decode()
    with pytest.raises(WrongUsage):
        read_csr(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")


ROOT, LEAF = new_key(), new_key()
TOP = certificate("root", ROOT, "root", ROOT, ca=True)
SIGNED = certificate("leaf", LEAF, "root", ROOT, ca=False)


@given(st.data())
def test_broken_certificates_are_refused_or_prove_nothing(data: st.DataObject) -> None:
    """A certificate with any byte changed is refused by name, or is read whole and chains to nobody; the library's
    lazy parsing brings no surprise later."""
    der = bytearray(SIGNED.public_bytes(serialization.Encoding.DER))
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    body = base64.b64encode(der).decode()
    try:
        [changed] = read_certificates(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", field="leaf")
    except WrongUsage as problem:
        assert problem.code == "leaf_invalid"
    else:
        assert chains_to(changed, [], [TOP]) is None
        assert not is_ca(changed) or b"\xff" in bytes(der)
        assert changed.subject.rfc4514_string() is not None
    assert chains_to(SIGNED, [], [TOP]) == TOP


def test_a_name_of_an_impossible_type_is_refused_by_name() -> None:
    """A subject whose common name is a bit string, which the library has a TypeError for."""
    der = SIGNED.public_bytes(serialization.Encoding.DER)
    utf8, bits = bytes.fromhex("0c04") + b"leaf", bytes.fromhex("030400") + b"eaf"
    assert utf8 in der
    body = base64.b64encode(der.replace(utf8, bits)).decode()
    with pytest.raises(WrongUsage) as raised:
        read_certificates(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", field="leaf")
    assert raised.value.code == "leaf_invalid"


LABELS = st.sampled_from(["CERTIFICATE REQUEST", "CERTIFICATE", "PRIVATE KEY", "NEW CERTIFICATE REQUEST"])
PEMLIKE = st.builds(
    lambda label, body, end: f"-----BEGIN {label}-----\n{body}\n-----END {end}-----\n",
    LABELS,
    st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()) | st.text(max_size=80),
    LABELS,
)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | PEMLIKE)
def test_garbage_is_refused_by_name(text: str) -> None:
    """Whatever text arrives for a CSR or a certificate: it is refused as wrong usage, naming the field."""
    for read, field in ((read_csr, "csr_pem"), (read_certificates, "ca_bundle_pem")):
        with pytest.raises(WrongUsage, match=f"^{field} is not") as raised:
            read(text, field=field)  # type: ignore[operator]
        assert raised.value.code == f"{field}_invalid"
        assert raised.value.cause


def test_what_is_too_long_is_not_parsed(node: Node) -> None:
    """PEM text beyond the limit is refused, however valid what it begins with."""
    padding = "\n" * PEM_LIMIT
    assert read_csr(VALID + "\n")
    with pytest.raises(WrongUsage, match="csr_pem"):
        read_csr(VALID + padding)
    with pytest.raises(WrongUsage, match="bundle"):
        read_certificates(ca(node).cert_pem + padding, field="bundle")


@pytest.mark.parametrize("text", ["", "root:x:0:0", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"])
def test_what_is_no_pem_is_told_in_words_of_our_own(text: str) -> None:
    """No link into a library's documentation, and nothing of what was given."""
    for read in (lambda: read_certificates(text, field="cert"), lambda: read_csr(text)):
        with pytest.raises(WrongUsage) as caught:
            read()
        assert caught.value.cause
        assert "http" not in caught.value.cause
        assert "root:" not in str(caught.value)
