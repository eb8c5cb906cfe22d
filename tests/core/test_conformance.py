"""Conformance: what the field's linter (pkilint) and OpenSSL say about what our CA signs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkilint.bin import lint_crl, lint_pkix_cert, lint_pkix_signer_signee_cert_chain

from fedtui.core.node import Node
from tests.conftest import ManualClock
from tests.core.test_certificates import MAKERS, ca, crl_of, for_peer, for_server, listed, parsed, revoke, server

pytestmark = pytest.mark.filterwarnings(  # pkilint leaves the files it reads to the garbage collector
    "ignore:[^']*'[^']*/linted-:pytest.PytestUnraisableExceptionWarning"
)
OPENSSL = shutil.which("openssl") or ""
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="the openssl command is not installed")
FORCED = {
    "peer": {"pkix.invalid_uri_syntax"},
    "local": {"pkix.invalid_domain_name_syntax"},
}
"""The linter's findings that we cannot mend: `powernode://instance/<uuid>` is the contract's (RFC 5280
wants a dot in a URI's host), and a node on `localhost` has a name without a dot."""


def lint(program: Callable[[Sequence[str]], int], content: bytes, node: Node, *before: str) -> set[str]:
    """The codes of what a pkilint program finds, at WARNING and above."""
    file = node.settings.home / "linted-file"
    file.write_bytes(content)
    report = node.settings.home / "report"
    with report.open("w") as out, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", out)
        program(["lint", "-s", "WARNING", "-f", "JSON", *before, str(file)])
    results = json.loads(report.read_text())["results"]
    return {finding["code"] for result in results for finding in result["finding_descriptions"]}


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    ],
    ids=["P-384", "Ed25519", "RSA-2048"],
)
def test_other_keys_are_certified(node: Node, key: object) -> None:
    """A peer may bring any key that a CSR is taken for; the certificate is for that key."""
    row = for_peer(node, key)
    assert parsed(row).public_key() == key
    assert lint(lint_pkix_cert.main, row.cert_pem.encode(), node) == FORCED["peer"]


@pytest.mark.parametrize("kind", [*MAKERS, "local"])
def test_the_linter_finds_nothing(node: Node, kind: str) -> None:
    """pkilint has nothing to say about any certificate or its place in the chain, but what is forced upon us."""
    makers = MAKERS | {"local": lambda node: for_server(node, ["localhost", "127.0.0.1", "::1"])}
    row = makers[kind](node)
    assert lint(lint_pkix_cert.main, row.cert_pem.encode(), node) == FORCED.get(kind, set())
    issuer = node.settings.home / "linted-issuer"
    issuer.write_text(ca(node).cert_pem)
    assert lint(lint_pkix_signer_signee_cert_chain.main, row.cert_pem.encode(), node, str(issuer)) == set()


@pytest.mark.parametrize("revoked", [0, 3])
def test_the_linter_finds_nothing_in_the_crl(node: Node, revoked: int) -> None:
    """pkilint has nothing to say about the CRL, empty or not."""
    for _ in range(revoked):
        for_peer(node)
    revoke(node)
    assert len(listed(node)) == revoked
    assert lint(lint_crl.main, crl_of(node), node, "-t", "CRL", "-p", "PKIX") == set()


def openssl(*arguments: object) -> str:
    done = subprocess.run([OPENSSL, *map(str, arguments)], capture_output=True, text=True, check=False)
    return f"{done.returncode} {done.stdout}{done.stderr}"


@needs_openssl
def test_openssl_verifies_leaves_for_their_purpose_only(node: Node, clock: ManualClock, tmp_path: Path) -> None:
    """`openssl verify -x509_strict` takes each leaf for its own purpose and name, and for no other."""
    anchor, moment = tmp_path / "ca.pem", int(clock.now().timestamp())
    anchor.write_text(ca(node).cert_pem)
    for row, right, wrong in ((server(node), "sslserver", "sslclient"), (for_peer(node), "sslclient", "sslserver")):
        file = tmp_path / right
        file.write_text(row.cert_pem)
        common = ("-x509_strict", "-check_ss_sig", "-attime", moment, "-CAfile", anchor)
        assert openssl("verify", *common, "-purpose", right, file) == f"0 {file}: OK\n"
        assert "certificate purpose" in openssl("verify", *common, "-purpose", wrong, file)
        late = ("-x509_strict", "-attime", int(row.not_after.timestamp()) + 1, "-CAfile", anchor)
        assert "certificate has expired" in openssl("verify", *late, file)
    served = ("-x509_strict", "-attime", moment, "-CAfile", anchor, "-verify_hostname")
    assert openssl("verify", *served, "alpha.example", tmp_path / "sslserver").startswith("0 ")
    assert "hostname mismatch" in openssl("verify", *served, "other.example", tmp_path / "sslserver")


@needs_openssl
def test_openssl_verifies_the_crl(node: Node, clock: ManualClock, tmp_path: Path) -> None:
    """The CRL's signature holds under the CA, and a revoked leaf is refused when it is consulted."""
    row = for_peer(node)
    revoke(node)
    for name, content in (("ca", ca(node).cert_pem.encode()), ("leaf", row.cert_pem.encode()), ("crl", crl_of(node))):
        (tmp_path / name).write_bytes(content)
    said = openssl(
        "crl",
        "-inform",
        "DER",
        "-in",
        tmp_path / "crl",
        "-CAfile",
        tmp_path / "ca",
        "-verify",
        "-out",
        tmp_path / "crl.pem",
    )
    assert "verify OK" in said
    moment = int(clock.now().timestamp())
    assert "certificate revoked" in openssl(
        "verify",
        "-x509_strict",
        "-crl_check",
        "-attime",
        moment,
        "-CAfile",
        tmp_path / "ca",
        "-CRLfile",
        tmp_path / "crl.pem",
        tmp_path / "leaf",
    )
